"""Faces that act more on one side: how many, how much, and nothing else about a data set changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auformer.aus import AU_SETS
from auformer.cli import main
from auformer.data.manifest import read_manifest
from auformer.synthetic.asymmetry import WEAKER
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.scanned.expressions import ONE_PIECE


def parameters(asymmetry: float = 0.0, **given: Any) -> DatasetParameters:
    values = {"lab": "A", "subjects": 2, "frames": 40, "clips": 0, "au_names": AU_SETS["bp4d"], "size": 64, "seed": 3,
              "first_subject": 0, "pose_scale": 1.0, "jitter": True, "roll": True}  # fmt: skip
    return DatasetParameters(**{**values, **given}, asymmetry=asymmetry)


def test_some_muscles_act_more_on_one_side() -> None:
    plain, uneven = parameters(), parameters(0.5)
    before, after = (np.stack([f.intensity for n in p.numbers for f in p.plan(n)]) for p in (plain, uneven))
    changed = (before != after).any(2) & (before.max(2) > 0)
    one_piece = np.isin(AU_NAMES, ONE_PIECE)
    assert not changed[:, one_piece].any()
    active = (before.max(2) > 0.1) & ~one_piece
    assert 0.4 < changed[active].mean() < 0.6
    assert (after.max(2)[changed] == before.max(2)[changed]).all()
    assert (after.min(2)[changed] <= WEAKER * after.max(2)[changed] + 1e-6).all()
    stronger = after[changed & active].argmax(1).mean()
    assert 0.4 < stronger < 0.6
    scenes = [[frame.scene for frame in p.plan(0)] for p in (plain, uneven)]
    assert scenes[0] == scenes[1]


def test_a_data_set_without_it_is_what_it_was() -> None:
    assert "asymmetry" not in parameters().as_dict()
    assert parameters(0.3).as_dict()["asymmetry"] == 0.3
    assert parameters(0.3).as_dict()["renderer"] != parameters().as_dict()["renderer"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"asymmetry": 1.5}, "`asymmetry` to be 0 to 1, but got 1.5"),
        ({"asymmetry": 0.3, "frames": 0, "clips": 2}, "stills of drawn faces with `asymmetry`"),
        ({"asymmetry": 0.3, "geometry": "scanned"}, "stills of drawn faces with `asymmetry`"),
    ],
)
def test_what_it_is_not_for_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parameters(**given)


def test_the_command_renders_them(tmp_path: Path) -> None:
    words = ["synth", "--subjects", "1", "--frames", "6", "--size", "32", "--asymmetry", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    table = read_manifest(tmp_path / "manifest.csv")
    alone = sum(int((table[f"{au}_left"] != table[f"{au}_right"]).sum()) for au in AU_SETS["bp4d"])
    assert alone >= 3
    assert table.attrs["side"]["parameters"]["asymmetry"] == 1.0
    assert "expected" not in table.attrs["side"]["label_rates"]["AU12"]
