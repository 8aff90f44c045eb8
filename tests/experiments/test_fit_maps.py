"""Maps of the packaged AU detector: changes move with their images, what is fitted, and the controls."""

from __future__ import annotations

import numpy as np
import torch

from experiments.pretraining import fit_maps, maps_scores
from experiments.pretraining.maps_data import FINE, Faces
from tests.helpers.vits import network, shaken


def marked(places: list[tuple[int, int]]) -> Faces:
    """Grey images in which one cell of 7 x 7 is white, and a change of the one action unit (AU) there."""
    images, changes = (
        np.full((len(places), 112, 112, 3), 90, np.uint8),
        np.zeros((len(places), 1, FINE, FINE), np.float32),
    )
    for i, (row, column) in enumerate(places):
        images[i, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 250
        changes[i, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0.5
    return Faces(images, changes, np.ones((len(places), 1), bool))


def test_changes_move_with_their_images() -> None:
    faces = marked([(2, 3), (3, 2), (4, 4), (3, 4)] * 5)
    moved, away = fit_maps.move(faces, np.random.default_rng(0)), 0
    for image, change in zip(moved.images, moved.changes, strict=True):
        white, there = np.argwhere(image[..., 0] > 170), np.argwhere(change[0] > 0.25)
        assert np.abs((white.mean(0) + 0.5) / 112 - (there.mean(0) + 0.5) / FINE).max() < 0.012
        away += np.abs((white.mean(0) + 0.5) / 16 - 3.5).max() > 0.3
    assert away > 5


def test_targets_are_means_of_cells() -> None:
    target = fit_maps.on_grid(marked([(2, 3)]).changes, 7)
    assert target.shape == (1, 1, 49) and target[0, 0, 2 * 7 + 3] == 1 and target.sum() == 1
    assert fit_maps.on_grid(np.zeros((1, 1, FINE, FINE), np.float32), 7).sum() == 0


def test_the_head_learns_what_a_patch_carries(monkeypatch) -> None:
    """Two AUs: one where its feature is high, one always at a place; the usual place alone would miss the first."""
    monkeypatch.setattr(fit_maps, "STEPS", 80)
    monkeypatch.setattr(fit_maps, "LEARNING_RATE", 3e-2)
    rng = torch.Generator().manual_seed(0)
    features, spots = torch.randn(200, 49, 6, generator=rng), torch.randint(49, (200,), generator=rng)
    features[torch.arange(200), spots, 2] += 6
    target = torch.zeros(200, 2, 49)
    target[torch.arange(200), 0, spots] = 1
    target[:100, 1, 11] = 1  # in the others it does not show
    usual = target.sum(0) / target.sum((0, 2))[:, None]
    head = fit_maps.fit(features, target, usual)
    maps = head(features)
    assert (maps[:, 0].argmax(1) == spots).float().mean() > 0.95 and (maps[:, 1].argmax(1) == 11).all()


def test_scores_and_controls(monkeypatch) -> None:
    model = shaken(network("token")).eval()
    count, (rows, columns) = len(model.au_names), model.grid_size
    rng = np.random.default_rng(0)
    changes = np.zeros((8, count, FINE, FINE), np.float32)
    cells = FINE // rows
    for i in range(8):
        for au in range(count):
            row, column = rng.integers(rows), rng.integers(columns)
            changes[i, au, row * cells : (row + 1) * cells, column * cells : (column + 1) * cells] = 0.4
    faces = Faces(rng.integers(0, 256, (8, *model.image_size, 3), dtype=np.uint8), changes, changes.max((2, 3)) > 0)
    truth = torch.from_numpy(changes.reshape(8, count, rows, cells, columns, cells).mean((3, 5)))
    usual = torch.full((count, rows * columns), 0.1)
    usual[:, 1] = 0.7
    monkeypatch.setattr(type(model), "change_maps", lambda self, images: truth)
    found = maps_scores.score(model, faces, usual, deleted=3)
    own, fixed = found["maps"]["own"], found["maps"]["fixed per AU"]
    assert own["pointing"] == own["energy"] == found["maps"]["the change itself"]["pointing"] == 1
    right = truth.flatten(2).argmax(2) == 1
    assert abs(fixed["pointing"] - float(right.float().mean())) < 1e-6
    assert found["fixed_misses"] == {"pairs": int((~right).sum()), "own_hits": 1.0} and found["pairs"] == 8 * count
    assert found["maps"]["another AU's"]["pointing"] < 0.7 and found["cells_that_changed"] == 1 / (rows * columns)
    sets = {"sets": {"a": found, "a, moved": found}}
    said = maps_scores.page({
        **sets, "command": "c", "training_images": 1, "views": 1, "parameters": 2, "seconds": 3, "machine": "m",
        "commit": "x",
    })  # fmt: skip
    assert f"* a: 1.000 against {fixed['pointing']:.3f} of the fixed map" in said and "sees more than" in said
