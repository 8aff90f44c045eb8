"""Every data set from its miniature release to a manifest that `auformer verify` finds nothing wrong with, by the words of the README."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auformer.cli import main
from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import catalogue as readers
from auformer.data_prep.pipeline import prepare as pipeline
from tests.helpers.trees import bp4d, casme, disfa, micro, others, photo_sets
from tests.helpers.trees.pictures import face_picture, write_picture
from tests.helpers.trees.tiny import TinyDetector


def write_photos(root: Path) -> None:
    for number in range(2):
        write_picture(root / f"photo {number}.jpg", face_picture(number, 0))


TREES: dict[str, Callable[[Path], object]] = {
    "bp4d": bp4d.write_bp4d,
    "bp4dplus": bp4d.write_bp4dplus,
    "disfa": disfa.write_disfa,
    "disfaplus": disfa.write_disfaplus,
    "casme": casme.write_casme,
    "casme2": casme.write_casme2,
    "casme3": casme.write_casme3,
    "casme_sq": casme.write_casme_sq,
    "samm": micro.write_samm,
    "mmew": micro.write_mmew,
    "fourdme": micro.write_fourdme,
    "ckplus": others.write_ckplus,
    "unbc": others.write_unbc,
    "affwild2": others.write_affwild2,
    "emotionet": photo_sets.write_emotionet,
    "rafau": photo_sets.write_rafau,
    "feafa": photo_sets.write_feafa,
    "bosphorus": photo_sets.write_bosphorus,
    "csv": write_photos,
}


class EverywhereDetector(TinyDetector):
    """A face in plain pictures too."""

    def __call__(self, image, **where):  # type: ignore[no-untyped-def]
        noise = image.copy()
        noise[::2] = 255 - noise[::2]
        noise[0, :2] = (0, 255, 0), (255, 0, 255)
        return super().__call__(noise, **where)


def test_the_list_is_complete() -> None:
    assert set(TREES) == set(readers.NAMES)


@pytest.mark.parametrize("name", readers.NAMES)
def test_from_release_to_verified_manifest(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: EverywhereDetector())
    root, out = tmp_path / "Release é 1", tmp_path / "out"
    root.mkdir()
    TREES[name](root)
    words = ["prepare", name, "--root", str(root)]
    if name == "feafa":  # whose order of values nobody has published
        (tmp_path / "columns.txt").write_text(photo_sets.FEAFA_COLUMNS, encoding="utf-8")
        words += ["--columns", str(tmp_path / "columns.txt")]
    assert main([*words, "--dry-run", "--partial"]) == 0, capsys.readouterr().err
    counted = capsys.readouterr().out.splitlines()
    assert not out.exists()
    assert main([*words, "--out", str(out), "--size", "32", "--partial"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert counted[1] in said and said.endswith(f"{out / 'manifest.csv'}\n")
    manifest = read_manifest(out / "manifest.csv")
    side = manifest.attrs["side"]
    assert side["dataset"] == name and side["crop_recipe"] == "eyes" and str(tmp_path) not in json.dumps(side)
    assert (manifest["status"] == "ok").any() and all((out / image).is_file() for image in manifest["image"].dropna())
    main(["verify", str(out / "manifest.csv"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert {problem["kind"] for problem in report["problems"]} <= {"duplicate_image"}  # plain pictures are alike
