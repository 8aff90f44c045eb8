"""What an action unit changes in a rendered image: only where it acts, and nothing where nothing differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.data.manifest import read_manifest
from auformer.errors import ManifestError
from auformer.synthetic import AU_NAMES
from auformer.synthetic.change import (
    Pairs,
    change_path,
    difference,
    fixed_regions,
    mean_changes,
    read_changes,
    without,
    write_changes,
)
from auformer.synthetic.muscles import INDEX
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.writing import render_dataset

AUS = ("AU4", "AU12", "AU25")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("change")
    return render_dataset(folder / "faces", lab="A", subjects=2, frames=6, au_names=AUS, size=64)


def parameters(manifest: Path) -> DatasetParameters:
    plain = dict(read_manifest(manifest).attrs["side"]["parameters"])
    plain.pop("renderer")
    return DatasetParameters(**{**plain, "au_names": tuple(plain["au_names"])})


def test_only_the_one_muscle_differs(manifest: Path) -> None:
    pairs = Pairs(parameters(manifest))
    face = pairs.bake(0)
    for frame in pairs.parameters.plan(0):
        again = pairs.draw(face, frame)
        assert (again == pairs.draw(face, frame)).all()
        other = without(frame, "AU12")
        assert other.intensity[INDEX["AU12"]].tolist() == [0, 0]
        rest = [place for place in range(len(AU_NAMES)) if place != INDEX["AU12"]]
        assert (other.intensity[rest] == frame.intensity[rest]).all()
        assert other.seed == frame.seed and other.scene == frame.scene
        if not frame.intensity[INDEX["AU12"]].any():
            assert pairs.change(face, frame, "AU12", again).max() == 0
    with pytest.raises(ValueError, match="Expected `au` to be one of AU1"):
        without(frame, "AU99")


def test_maps_lie_where_the_muscle_acts(manifest: Path) -> None:
    """Brows change the upper half of the aligned face, lips the lower one."""
    path = write_changes(manifest)
    assert path == change_path(manifest)
    table, maps = read_manifest(manifest), read_changes(manifest, AUS)
    assert maps is not None and maps.shape == (12, 3, 7, 7)
    for place, au in enumerate(AUS):
        active = (table[au] == 1).to_numpy()
        assert maps[~active, place].max(initial=0) == 0
        assert active.any() and (maps[active, place].max((1, 2)) > 0).all()
        upper = maps[active, place, :3].sum() / maps[active, place].sum()
        assert upper > 0.75 if au == "AU4" else upper < 0.5
    means = mean_changes(maps)
    np.testing.assert_allclose(means.sum((1, 2)), 1, rtol=1e-5)
    assert read_changes(manifest, ["AU12", "AU1"])[:, 1].max() == 0  # type: ignore[index]


def test_maps_of_other_rows_are_refused(manifest: Path, tmp_path: Path) -> None:
    write_changes(manifest)
    text = manifest.read_text().splitlines()
    other = tmp_path / "manifest.csv"
    other.write_text("\n".join(text[:-1]) + "\n")
    change_path(other).write_bytes(change_path(manifest).read_bytes())
    with pytest.raises(ManifestError, match="belongs to other rows"):
        read_changes(other, AUS)
    change_path(other).write_bytes(b"PK damaged")
    with pytest.raises(ManifestError, match="is damaged"):
        read_changes(other, AUS)
    change_path(other).unlink()
    assert read_changes(other, AUS) is None
    with pytest.raises(ManifestError, match="stills that `auformer synth` rendered"):
        write_changes(other)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "no.csv")


def test_differences_are_means_over_cells(rng: np.random.Generator) -> None:
    one, other = (rng.integers(0, 256, (28, 28, 3)).astype(np.uint8) for _ in range(2))
    found = difference(one, other, 7)
    cell = np.abs(one[4:8, 8:12].astype(float) - other[4:8, 8:12]).mean() / 255
    assert found[1, 2] == pytest.approx(cell, abs=1e-6)


def test_fixed_regions_hold_every_rendered_au() -> None:
    found = fixed_regions([*AU_NAMES, "AU13"], (14, 14))
    assert found.shape == (len(AU_NAMES) + 1, 14, 14)
    np.testing.assert_allclose(found.sum((1, 2)), 1, rtol=1e-5)
    assert found[-1].std() < 1e-9  # not rendered: anywhere
    assert found[AU_NAMES.index("AU4"), :7].sum() > 0.7 and found[AU_NAMES.index("AU12"), 7:].sum() > 0.7
    np.testing.assert_allclose(found, found[:, :, ::-1], atol=0.012)  # nearly the same on both sides
