"""The benchmark of 8-bit files runs on a tiny network, its forms are what they say, and its verdict is the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from auformer.models import OnnxDetector
from experiments.speed import bench_int8 as bench
from tests.helpers.photos import write_detector


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any], Path]:
    """Words for a detector for 32 px, what is measured with them, and the folder of the exported files."""
    folder = tmp_path_factory.mktemp("int8")
    write_detector(folder)
    words = [
        "--checkpoint",
        str(folder),
        "--backbone-checkpoint",
        str(folder / "backbone.safetensors"),
        "--large",
        "test_vit",
    ]
    words += [
        "--subjects",
        "2",
        "--frames",
        "6",
        "--batches",
        "2",
        "1",
        "--threads",
        "1",
        "--rounds",
        "2",
        "--data",
        str(folder / "data"),
    ]
    patch = pytest.MonkeyPatch()
    patch.setattr(bench, "CALIBRATION", 8)
    try:
        return words, bench.measure(bench.parse_arguments(words), folder), folder
    finally:
        patch.undo()


def test_every_form_is_measured(rig: tuple[list[str], dict[str, Any], Path]) -> None:
    found = rig[1]
    for network in ("detector", "large"):
        assert (
            all(value > 0 for value in found[network]["faster"].values())
            and found[network]["faster"].keys() == bench.FORMS.keys()
        )
        assert found[network]["megabytes"].keys() == {"float32", *bench.FORMS}
    for lab in "AB":
        assert found["loss"][lab]["float32"]["differ"] == 0 and set(found["loss"][lab]) == {"float32", *bench.FORMS}


def test_both_files_are_written(
    rig: tuple[list[str], dict[str, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "measure", lambda args, folder: rig[1])
    found = bench.main([*rig[0], "--out", str(tmp_path)])
    assert json.loads((tmp_path / "int8.json").read_text(encoding="utf-8"))["pays"] == found["pays"]
    written = (tmp_path / "int8.md").read_text(encoding="utf-8")
    assert written == capsys.readouterr().out
    assert written.count("\n|") == 2 + 1 + len(bench.FORMS) and all(what in written for what in bench.FORMS.values())


def test_people_of_the_test_and_of_the_calibration_are_others(rig: tuple[list[str], dict[str, Any], Path]) -> None:
    people = {
        part: {path.name for path in (rig[2] / "data" / part / "images").iterdir()}
        for part in ("test_A", "calibration_A")
    }
    assert len(people["test_A"]) == 2 and not people["test_A"] & people["calibration_A"]


def test_the_forms_hold_8_bits_and_the_header(rig: tuple[list[str], dict[str, Any], Path]) -> None:
    paths = {name: rig[2] / "detector" / f"{name}.onnx" for name in ("float32", *bench.FORMS)}
    images = torch.rand(8, 3, 32, 32)
    wanted = OnnxDetector(paths["float32"])
    for name in bench.FORMS:
        assert TensorProto.INT8 in {each.data_type for each in onnx.load(paths[name]).graph.initializer}
        detector = OnnxDetector(paths[name])
        assert detector.metadata == wanted.metadata
        assert 1e-7 < (detector.predict_probs(images) - wanted.predict_probs(images)).abs().max() < 0.2
    kinds = {name: {node.op_type for node in onnx.load(path).graph.node} for name, path in paths.items()}
    assert "QuantizeLinear" in kinds["static"] and "DynamicQuantizeLinear" in kinds["dynamic"] - kinds["static"]


def test_a_form_pays_by_speed_on_a_network_and_loss_in_both_labs() -> None:
    def one(f1: float) -> dict[str, float]:
        return {"f1": f1, "differ": 0.0}

    fast = dict.fromkeys(bench.FORMS, 1.3)
    loss = {lab: {"float32": one(80.0), **dict.fromkeys(bench.FORMS, one(79.5))} for lab in "AB"}
    found: dict[str, Any] = {"detector": {"faster": fast}, "large": {"faster": dict(fast)}, "loss": loss}
    both = ["detector", "large"]
    assert bench.verdict(found) == {"dynamic": both, "static": both}
    found["large"]["faster"]["static"] = 1.29
    assert bench.verdict(found) == {"dynamic": both, "static": ["detector"]}
    found["loss"]["B"]["dynamic"] = one(79.4)
    assert bench.verdict(found) == {"dynamic": [], "static": ["detector"]}
