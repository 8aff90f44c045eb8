"""The landmark regressor's data, network and measurement, small; the committed pages follow from their numbers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from auformer.faces.regressor import INPUT, SIDE
from auformer.synthetic import Renderer
from experiments.harness import RESULTS
from experiments.pretraining import measure_points, points_data, train_demo_detector, train_points
from experiments.pretraining.points_data import SIZE, batch, render_shards, render_subject, vary
from experiments.pretraining.train_points import Layer, PointNet, cells, write_onnx


@pytest.fixture(scope="module")
def drawn():
    return render_subject(Renderer(SIZE), 389_999, 4)


class TestData:
    def test_a_subject(self, drawn):
        images, points = drawn
        assert images.shape == (4, SIZE, SIZE) and points.shape == (4, 5, 2) and ((points > 0) & (points < SIZE)).all()
        again, _ = render_subject(Renderer(SIZE), 389_999, 2)
        assert np.array_equal(again, images[:2])

    @pytest.mark.parametrize("near", [True, False])
    def test_points_go_with_their_pixels(self, monkeypatch, near):
        """Dots on a black image lie where the moved landmarks say."""
        monkeypatch.setattr(points_data, "_worsen", lambda crop, rng: crop)
        points = np.array([(42.0, 45.0), (72.0, 47.0), (58.0, 63.0), (47.0, 80.0), (70.0, 79.0)])
        rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
        image = sum(250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in points).astype(np.uint8)
        for seed in range(8):
            crop, where = vary(image, points, np.random.default_rng(seed), near=near)
            for x, y in where * INPUT:
                if 4 < x < INPUT - 4 and 4 < y < INPUT - 4:
                    top, left = int(y) - 3, int(x) - 3
                    piece = crop[top : top + 7, left : left + 7].astype(float)
                    rows, columns = np.mgrid[top : top + 7, left : left + 7] + 0.5
                    middle = np.array([(columns * piece).sum(), (rows * piece).sum()]) / piece.sum()
                    assert np.abs(middle - (x, y)).max() < 0.25
            assert where[0, 0] < where[1, 0] and where[3, 0] < where[4, 0], "image left first, mirrored or not"

    def test_near_inputs_lie_as_first_points_leave_them(self, drawn):
        images, points = drawn
        draws = [np.random.default_rng(i) for i in range(40)]
        where = np.array([vary(images[i % 4], points[i % 4], rng, near=True)[1] for i, rng in enumerate(draws)])
        slope = np.degrees(np.arctan2(*(where[:, 1] - where[:, 0]).T[::-1]))
        assert np.abs(slope).max() < 9 and np.abs(where[:, :2].mean((0, 1)) - (0.5, 0.5 - 0.42 / SIDE)).max() < 0.03

    def test_batches_are_a_function_of_their_arguments(self, drawn):
        one, two, other = (batch(*drawn, np.arange(4), seed) for seed in (3, 3, 4))
        assert one[0].shape == (4, 1, INPUT, INPUT) and one[0].dtype == np.float32
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        assert not np.array_equal(one[0], other[0])

    def test_files_that_are_there_are_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(points_data, "SHARD", 1)
        first = render_shards(tmp_path, 389_990, 2, 2)
        monkeypatch.setattr(points_data, "render_subject", lambda *words: pytest.fail("rendered again"))
        assert all(np.array_equal(a, b) for a, b in zip(first, render_shards(tmp_path, 389_990, 2, 2), strict=True))


@pytest.fixture
def net():
    """Random weights and norms, in eval mode."""
    torch.manual_seed(0)
    net = PointNet()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
    torch.nn.init.normal_(net.head.weight)
    return net.eval()


def test_opencv_computes_what_torch_does(net, tmp_path):
    write_onnx(net, tmp_path / "x.onnx", "tests")
    assert (tmp_path / "x.onnx").stat().st_size <= 2**20
    runner = cv2.dnn.readNetFromONNX(str(tmp_path / "x.onnx"))
    inputs = np.random.default_rng(0).standard_normal((3, 1, 1, INPUT, INPUT)).astype(np.float32)
    with torch.no_grad():
        wanted = [net(torch.from_numpy(each)).numpy() for each in inputs]
    for each, want in zip(inputs, wanted, strict=True):
        runner.setInput(each)
        assert np.abs(runner.forward() - want).max() < 1e-4
    assert np.std(wanted) > 0.01, "not all the same point"


def test_layers(net):
    layer = Layer((2, 2), skip=True).eval()
    x = torch.rand(1, 2, 5, 5)
    weight, bias = (torch.from_numpy(each) for each in layer.folded())
    assert torch.allclose(layer(x), torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1) + x), atol=1e-6)
    assert cells().shape == (256, 2) and np.allclose(cells().mean(0), 0.5)
    assert cells()[0, 0] < 0 and cells()[1, 0] > cells()[0, 0]


def test_a_killed_training_is_resumed(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(train_points, "render_shards", lambda *words: drawn)
    monkeypatch.setattr(train_points, "BATCH", 4)
    monkeypatch.setattr(train_points, "KEEP_EVERY", 2)
    monkeypatch.setattr(train_points, "CHECKS", 4)
    whole, _ = train_points.train(tmp_path / "whole", 4, log=False)
    real = train_points.batch

    def killed(images, points, rows, seed):
        if seed == 3:
            raise KeyboardInterrupt
        return real(images, points, rows, seed)

    monkeypatch.setattr(train_points, "batch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_points.train(tmp_path / "killed", 4, log=False)
    monkeypatch.setattr(train_points, "batch", real)
    again, _ = train_points.train(tmp_path / "killed", 4, log=False)
    pairs = zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(measure_points, "SIZES", (96,))
    monkeypatch.setattr(measure_points, "FRAMES", 3)
    measure_points.main(["--faces", "1", "--clips", "1", "--out", str(tmp_path), "--training", "none"])
    result = json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))
    assert [row["faces"] for row in result["errors"]] == [1] * 6 + [6] and result["errors"][-1]["regressor"][0] < 0.05
    page = (tmp_path / "points.md").read_text(encoding="utf-8")
    assert "| A | frontal | 96 | 1 | 1 | 0.0" in page and "Training: none." in page


def test_the_committed_pages_follow_from_their_numbers():
    for name, module in (("points", measure_points), ("demo_detector", train_demo_detector)):
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        assert module.page(result) == (RESULTS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_au_detector_is_trained_and_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(train_demo_detector, "PACKAGED", tmp_path / "packaged.safetensors")
    tiny = {"train": (2, 16), "val": (2, 6), "test": (2, 6)}
    monkeypatch.setattr(train_demo_detector, "SPLITS", {split: {"A": n, "B": n} for split, n in tiny.items()})
    words = ["--folder", str(tmp_path / "run"), "--out", str(tmp_path), "--epochs", "1", "--threads", "1"]
    train_demo_detector.main(words)
    result = json.loads((tmp_path / "demo_detector.json").read_text(encoding="utf-8"))
    assert result["training_images"] == 64 and len(result["lab_a"]["per_au"]) == 24
    assert (tmp_path / "packaged.safetensors").stat().st_size > 10**6
    assert (tmp_path / "demo_detector.md").read_text(encoding="utf-8").count("| AU") == 25
