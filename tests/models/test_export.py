"""Exported files: the network's probabilities for any batch, what they say about themselves, and files that are not
ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from auformer.errors import CheckpointError
from auformer.models import AUFormer, OnnxDetector, export_detector, load_detector, open_detector
from auformer.models.adapter_file import HEADER
from tests.helpers import vits

NAMES = ("AU1", "AU12", "AU25")

pytestmark = pytest.mark.slow  # the export to ONNX takes a while


@pytest.fixture(scope="module")
def network() -> AUFormer:
    network = vits.shaken(vits.network("token", NAMES)).eval()
    network.thresholds, network.crop_recipe = {"AU1": 0.4, "AU12": 0.5, "AU25": 0.6}, "eyes"
    return network


@pytest.fixture(scope="module")
def exported(network: AUFormer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_detector(network, tmp_path_factory.mktemp("exported") / "a.onnx", source={"checkpoint": "x"})


def _images(batch: int) -> torch.Tensor:
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_gives_the_networks_probabilities(network: AUFormer, exported: Path, batch: int) -> None:
    detector = open_detector(exported)
    assert isinstance(detector, OnnxDetector)
    with torch.no_grad():
        wanted = network.predict_probs(_images(batch))
    assert torch.allclose(detector.predict_probs(_images(batch)), wanted, atol=1e-4, rtol=0)
    assert wanted.amax() - wanted.amin() > 0.01


def test_onnx_says_what_the_adapter_file_would(network: AUFormer, exported: Path) -> None:
    detector = OnnxDetector(exported)
    assert detector.au_names == NAMES and detector.thresholds == network.thresholds and detector.crop_recipe == "eyes"
    assert detector.image_size == (32, 32) and detector.metadata["backbone"]["fingerprint"] == network.fingerprint
    assert detector.metadata["exported"] == {"kind": "onnx", "int8": False, "source": {"checkpoint": "x"}}


def test_program_of_torch(network: AUFormer, tmp_path: Path) -> None:
    path = export_detector(network, tmp_path / "a.pt2", kind="torch")
    found = {HEADER: ""}
    program = torch.export.load(path, extra_files=found).module()
    with torch.no_grad():
        assert torch.allclose(program(_images(4)), network.predict_probs(_images(4)), atol=1e-5, rtol=0)
    assert json.loads(found[HEADER])["au_names"] == list(NAMES)


def test_maps_are_composed_once_and_the_network_is_left_as_it_was(network: AUFormer, exported: Path) -> None:
    """Nothing in the file composes maps, and constants are folded: no product of two of them is left, and no
    sequences of tensors."""
    graph = onnx.load(exported).graph
    stored = {each.name for each in graph.initializer}
    assert not [node.name for node in graph.node if set(node.input) and set(node.input) <= stored]
    assert not [node.op_type for node in graph.node if "Sequence" in node.op_type or node.domain]
    assert not any("_composed" in vars(group) for group in network.groups)
    before = network.predict_probs(_images(2))
    with torch.no_grad():
        network.groups[0].up.weight.add_(0.1)
        assert not torch.allclose(network.predict_probs(_images(2)), before)  # nothing exported is kept in the network
        network.groups[0].up.weight.sub_(0.1)


def test_eight_bits_are_near(network: AUFormer, tmp_path: Path) -> None:
    path = export_detector(network, tmp_path / "a8.onnx", int8=True)
    assert TensorProto.INT8 in {each.data_type for each in onnx.load(path).graph.initializer}
    with torch.no_grad():
        difference = (OnnxDetector(path).predict_probs(_images(4)) - network.predict_probs(_images(4))).abs()
    assert 1e-6 < difference.max() < 0.1


def test_arguments_are_checked(network: AUFormer, tmp_path: Path) -> None:
    for name, options, match in (
        ("a.pt2", {}, "Expected `out` to end in .onnx"),
        ("a.tflite", {"kind": "tflite"}, "Expected `kind` to be one of onnx, torch, but got 'tflite'"),
        ("a.pt2", {"kind": "torch", "int8": True}, "for the format onnx only"),
    ):
        with pytest.raises(ValueError, match=match):
            export_detector(network, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def strengths(tmp_path_factory: pytest.TempPathFactory) -> tuple[AUFormer, Path]:
    """A network with an intensity head, and its file."""
    network = vits.shaken(vits.network("token", NAMES, intensity="ordinal")).eval()
    network.intensity_aus = ("AU1", "AU25")
    return network, export_detector(network, tmp_path_factory.mktemp("exported") / "i.onnx")


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_gives_intensities_beside_probabilities(strengths: tuple[AUFormer, Path], batch: int) -> None:
    network, path = strengths
    detector = open_detector(path)
    assert (detector.intensity, detector.intensity_aus) == ("ordinal", ("AU1", "AU25"))
    with torch.no_grad():
        wanted, found = network.outputs(_images(batch)), detector.outputs(_images(batch))
    assert set(found) == {"probs", "intensity"} and wanted["intensity"].std() > 1e-2
    for name, values in found.items():
        assert torch.allclose(values, wanted[name], atol=1e-5, rtol=0)
    assert torch.equal(detector.predict_probs(_images(batch)), found["probs"])


def test_a_file_without_intensities_gives_none(exported: Path) -> None:
    detector = OnnxDetector(exported)
    assert set(detector.outputs(_images(1))) == {"probs"}
    assert (detector.intensity, detector.intensity_aus) == ("none", ())


def test_program_of_torch_gives_both(tmp_path: Path) -> None:
    network = vits.shaken(vits.network("token", NAMES, intensity="regression")).eval()
    program = torch.export.load(export_detector(network, tmp_path / "a.pt2", kind="torch")).module()
    with torch.no_grad():
        wanted = network.outputs(_images(4))
        for name, found in zip(("probs", "intensity"), program(_images(4)), strict=True):
            assert torch.allclose(found, wanted[name], atol=1e-5, rtol=0)


def test_outputs_and_metadata_fit_each_other(exported: Path, strengths: tuple[AUFormer, Path], tmp_path: Path) -> None:
    for source, intensity, match in (
        (exported, "ordinal", r"give `probs` and `intensity`, but it takes .* and gives \['probs'\]"),
        (strengths[1], "none", r"give `probs`, but it takes .* and gives \['probs', 'intensity'\]"),
    ):
        header = json.loads(onnx.load(source).metadata_props[-1].value)
        header["arguments"]["intensity"] = intensity
        (tmp_path / "a.onnx").write_bytes(_with_header(source, header))
        with pytest.raises(CheckpointError, match=match):
            OnnxDetector(tmp_path / "a.onnx")


def test_foreign_models_are_refused(exported: Path, tmp_path: Path) -> None:
    plain = onnx.load(exported)
    header = json.loads(plain.metadata_props[-1].value)
    del plain.metadata_props[:]
    for content, match in (
        (plain.SerializeToString(), "only those written by `auformer export`"),
        (b"no model", "cannot be read as an ONNX model"),
        (exported.read_bytes()[:-2000], "a.onnx"),
        (_with_header(exported, header | {"format_version": 99}), "format 99"),
        (_with_header(exported, header | {"image_size": [64, 64]}), "as its metadata says"),
    ):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=match):
            OnnxDetector(tmp_path / "a.onnx")


def _with_header(source: Path, header: dict) -> bytes:
    model = onnx.load(source)
    model.metadata_props[-1].value = json.dumps(header)
    return model.SerializeToString()


def test_no_other_file_is_read(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may say that its weights lie in another file; a stranger's could name any file of this machine."""
    secret = np.arange(4, dtype=np.float32)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], secret.tobytes(), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "16")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    probs = helper.make_tensor_value_info("probs", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["probs"])], "g", [], [probs], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    (tmp_path / "sly.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError):
        OnnxDetector(tmp_path / "sly.onnx")


def test_where_an_onnx_file_does_not_fit(exported: Path) -> None:
    with pytest.raises(CheckpointError, match="predicts only; here its adapter file is needed"):
        load_detector(exported)
    with pytest.raises(CheckpointError, match="run on the CPU here"):
        open_detector(exported, device="meta")
