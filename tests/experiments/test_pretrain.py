"""Pre-training on some of the targets: what is read, what is written where, a resumed training, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from auformer.synthetic import CHANNELS
from experiments.pretraining import pretrain_data, pretrain_demo_backbone
from experiments.pretraining.pretrain_demo_backbone import WEIGHTS, Data

IMAGES, SIZE, CELLS = 30, 112, 28
SOME = ["brow", "template_x", "face"]  # `face` stands before `brow` in the data
WORDS = ["--processes", "1", "--batch", "4", "--images", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for i in range(IMAGES):
        cv2.imwrite(str(out / f"{i}.png"), rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    pd.DataFrame({"image": [f"{i}.png" for i in range(IMAGES)]}).to_csv(out / "manifest.csv", index=False)
    rng.normal(size=(IMAGES, CELLS, CELLS, len(CHANNELS))).astype(np.float16).tofile(out / "targets.f16")
    meta = {"images": IMAGES, "size": SIZE, "cells": CELLS, "channels": list(CHANNELS)}
    (out / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return out


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain_demo_backbone, "HELD_OUT", 6)
    monkeypatch.setattr(pretrain_demo_backbone, "CHECKPOINT_STEPS", 1)


def _train(folder: Path, out: Path, *words: str) -> None:
    torch.manual_seed(5)  # the training has a seed of its own
    pretrain_demo_backbone.main([str(folder), "--out", str(out), *WORDS, *words])


def test_only_the_chosen_targets_are_learnt(folder: Path) -> None:
    everything, some = Data([folder]), Data([folder], SOME)
    assert everything.channels == list(CHANNELS) and some.channels == ["face", "brow", "template_x"]
    columns = [CHANNELS.index(name) for name in some.channels]
    for name in ("mean", "std", "constant", "sign"):
        torch.testing.assert_close(getattr(some, name), getattr(everything, name)[columns])
    assert some.sign.tolist() == [1, 1, -1] and some.weights.sum() == pytest.approx(1)
    assert some.weights[1] / some.weights[0] == pytest.approx(WEIGHTS["brow"] / WEIGHTS["face"])
    for seed in (None, 0, 1, 2, 3):  # some of them flip
        draws = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        both = [data.batch(np.array([2, 5, 6]), rng) for data, rng in zip((everything, some), draws, strict=True)]
        assert torch.equal(both[0][0], both[1][0]) and torch.equal(both[0][1][..., columns], both[1][1])


def test_what_is_written_where_and_a_killed_training_is_resumed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    _train(folder, tmp_path / "whole", "--channels", *SOME)
    save = pretrain_demo_backbone.save

    def killed(*args: Any) -> None:
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain_demo_backbone, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        _train(folder, tmp_path / "resumed", "--channels", *SOME)
    monkeypatch.setattr(pretrain_demo_backbone, "save", save)
    assert torch.load(tmp_path / "resumed" / "pretrain.ckpt")["step"] == 1
    _train(folder, tmp_path / "resumed", "--channels", *reversed(SOME))  # in another order they are the same
    for name in ("whole", "resumed"):
        found = sorted(path.name for path in (tmp_path / name).iterdir())
        assert found == ["demo_backbone.safetensors", "pretrain.ckpt", "pretrain.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == before
    whole, resumed = (load_file(tmp_path / name / "demo_backbone.safetensors") for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys() and all(torch.equal(value, resumed[name]) for name, value in whole.items())
    state = torch.load(tmp_path / "whole" / "pretrain.ckpt")
    assert state["step"] == 3 and state["net"]["decoder.weight"].shape == (16 * 3, 192)
    (line,) = (tmp_path / "whole" / "pretrain.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)) == ["images", "seconds", "held_out", "face", "brow", "template_x"]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Expected --channels among face hair .* furrow, but got nose"):
        _train(folder, tmp_path / "none", "--channels", "face", "nose")
    assert not (tmp_path / "none").exists()
    torch.save({"channels": ["face", "brow"]}, tmp_path / "pretrain.ckpt")
    with pytest.raises(SystemExit, match="on the channels face brow: choose another --out, or the same channels"):
        _train(folder, tmp_path, "--channels", "face", "hair")
    torch.save({"step": 0}, tmp_path / "pretrain.ckpt")  # of an earlier version, which took all
    with pytest.raises(SystemExit, match="holds a training on the channels face hair .* furrow"):
        _train(folder, tmp_path, "--channels", "face", "hair")


def test_rendered_data_can_be_learnt_from(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path), "--identities", "2", "--per-identity", "4", "--workers", "1"]
    for _ in range(2):  # the second time all is there
        pretrain_data.main(words)
    data = Data([tmp_path, tmp_path], SOME)
    images, targets = data.batch(np.array([0, 15]))
    assert len(data.files) == 16 and data.training.tolist() == [0, 1, 8, 9] and data.held_out.tolist() == [2, 10]
    torch.testing.assert_close(targets[1], data.batch(np.array([7]))[1][0])
    assert images.shape == (2, 3, SIZE, SIZE) and targets.shape == (2, CELLS, CELLS, 3)
    assert images.std() > 0.1 and targets[..., 0].max() == 1  # a face is there
    with pytest.raises(SystemExit, match="holds another set"):
        pretrain_data.main([*words, "--identities", "3"])


def test_pixels_and_targets_move_together(folder: Path) -> None:
    """A disc that is both seen and told lies in the same place after any augmentation."""
    data = Data([folder], ["face"])
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    seen = torch.from_numpy(np.hypot(x - 40, y - 60) < 16).float()
    told = seen.view(CELLS, 4, CELLS, 4).mean((1, 3))
    images, targets = seen.expand(8, 3, -1, -1), told.expand(8, -1, -1)[..., None]
    for seed in range(4):
        moved, also = data._move(images.clone(), targets.clone(), np.random.default_rng(seed))
        cells = moved[:, 0].view(8, CELLS, 4, CELLS, 4).mean((2, 4))
        assert (moved - images).abs().mean() > 0.02 and (cells - also[..., 0]).abs().mean() < 0.01


def test_a_training_begins_with_given_weights(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path / "first")
    start = str(tmp_path / "first" / "demo_backbone.safetensors")
    _train(folder, tmp_path / "second", "--start", start, "--lr", "1e-12")
    first, second = (load_file(tmp_path / name / "demo_backbone.safetensors") for name in ("first", "second"))
    weights = [name for name in first if name.endswith("weight")]
    assert all(torch.allclose(first[name].float(), second[name].float(), atol=1e-3) for name in weights)
