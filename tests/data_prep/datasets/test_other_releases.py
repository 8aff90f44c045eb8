"""CK+, UNBC-McMaster, Aff-Wild2, EmotioNet, RAF-AU, FEAFA+ and Bosphorus from release to manifest, and what all seven have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets.catalogue import load
from auformer.data_prep.pipeline.prepare import own_options, prepare
from auformer.data_prep.release import Findings
from auformer.data_prep.verify.manifest import verify
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import others, photo_sets

TREES: dict[str, Callable[..., pd.DataFrame]] = {
    "ckplus": others.write_ckplus,
    "unbc": others.write_unbc,
    "affwild2": others.write_affwild2,
    "emotionet": photo_sets.write_emotionet,
    "rafau": photo_sets.write_rafau,
    "feafa": photo_sets.write_feafa,
    "bosphorus": photo_sets.write_bosphorus,
}


def options(name: str) -> dict[str, Any]:
    """What the data set needs to be told."""
    return {"columns": ",".join(photo_sets.FEAFA_COLUMNS.split()[3:])} if name == "feafa" else {}


@pytest.mark.parametrize("name", list(TREES))
def test_from_release_to_manifest(tmp_path: Path, name: str) -> None:
    """Blanks and non-ASCII in the path, an untouched release, faces in all pictures that are there, nothing that `verify` finds wrong."""
    root = tmp_path / "données é 1" / name
    expected = TREES[name](root, faces=True)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    done = prepare(name, root, tmp_path / "out", size=48, options=options(name))
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    manifest = read_manifest(done.manifest)
    assert manifest["status"].tolist() == expected["status"].tolist() and (manifest["dataset"] == name).all()
    assert (
        manifest["frame"].tolist() == expected["frame"].tolist()
        and manifest["subject"].tolist() == expected["subject"].tolist()
    )
    assert manifest["fold"].notna().all()
    ok = manifest[manifest["status"] == "ok"]
    assert all((done.manifest.parent / image).is_file() for image in ok["image"])
    for au in load(name).RELEASE.au_names:
        assert manifest[au].isin([-1, 0, 1]).all()
    assert verify(done.manifest)["problems"] == []


@pytest.mark.parametrize("name", list(TREES))
def test_the_wrong_folder_is_named(tmp_path: Path, name: str) -> None:
    """It says what was looked for and what is there."""
    (tmp_path / "holiday").mkdir()
    with pytest.raises(
        DatasetLayoutError, match=r"Expected .* in .*, but none of .* is there; the folder holds .*holiday/"
    ):
        load(name).read(tmp_path, Findings(), **options(name))
    with pytest.raises(DatasetLayoutError, match="there is none at"):
        load(name).read(tmp_path / "nowhere", Findings(), **options(name))


@pytest.mark.parametrize("name", list(TREES))
def test_options_have_the_reader_s_defaults(name: str) -> None:
    """The words of the command and the arguments of `read` are the same, with the same defaults."""
    import inspect

    reader = load(name)
    parser = argparse.ArgumentParser()
    reader.add_arguments(parser)
    given = vars(parser.parse_args([]))
    assert set(given) == set(own_options(reader))
    parameters = inspect.signature(reader.read).parameters
    assert given == {option: parameters[option].default for option in given}
