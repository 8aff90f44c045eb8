"""`auformer info`: every kind of checkpoint, without weights, without execution."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from auformer.cli import main
from auformer.models import AUFormer, LinearProbe, read_adapter_header, save_adapter
from auformer.models.checkpoint_path import DEMO_DETECTOR
from tests.helpers.runs import write_run_checkpoint


@pytest.fixture(scope="module")
def network() -> AUFormer:
    return AUFormer("test_vit", "samm", img_size=32, expert_width=2, dilations=(1,), expert_heads=False)


@pytest.fixture
def adapter(network: AUFormer, tmp_path: Path) -> Path:
    path = tmp_path / "adapter.safetensors"
    thresholds = {"AU2": 0.5, "AU4": 0.25, "AU7": 0.5, "AU12": 0.625}
    data = {"manifests": ["lab_a.csv"], "rows": 7}
    save_adapter(path, network, thresholds=thresholds, crop_recipe="eyes", training_data=data, extra={"epoch": 3})
    return path


def _lines(text: str) -> dict[str, str]:
    """First word(s) of each line to the rest of it."""
    return {
        line[2:16].strip(): line[17:]
        for line in text.splitlines()
        if line.startswith("  ") and not line.startswith("  AU")
    }


def test_an_adapter_file_is_described(adapter: Path, network: AUFormer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(adapter)]) == 0
    text = capsys.readouterr().out
    lines, (trained, total) = _lines(text), network.num_parameters()
    assert text.splitlines()[0] == str(adapter)
    assert lines["network"] == "AUFormer"
    assert lines["parameters"] == f"{trained:,} trained, {total:,} in all"
    assert 0 < trained < total
    assert lines["backbone"].startswith("test_vit")
    assert lines["frozen weights"] == network.fingerprint
    assert lines["images"] == "32 x 32 pixels (height x width)"
    assert lines["crop recipe"] == "eyes"
    assert "expert_width=2, dilations=[1], window=3" in lines["arguments"]
    assert lines["trained on"] == 'manifests: ["lab_a.csv"]'
    assert "rows: 7" in text
    assert lines["also"] == "epoch: 3"
    assert "  AU4   Brow lowerer             brow    0.250\n" in text
    assert "  AU12  Lip corner puller        mouth   0.625\n" in text
    assert "rendered faces" not in text, "that note belongs to the demo detector"


def test_a_folder_is_its_adapter_file(adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(adapter)]) == 0
    of_file = capsys.readouterr().out.splitlines()[1:]
    assert main(["info", str(adapter.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == of_file


def test_a_run_checkpoint_is_described_by_the_header_it_carries(
    adapter: Path, network: AUFormer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run_checkpoint(
        network, adapter.with_name("best.ckpt"), auformer=json.dumps(read_adapter_header(adapter))
    )
    assert main(["info", str(run)]) == 0
    said = capsys.readouterr().out
    assert main(["info", str(adapter)]) == 0
    differing = {"file"}
    own, others = _lines(said), _lines(capsys.readouterr().out)
    assert {key for key in own if own[key] != others[key]} == differing


def test_a_rival_is_named_and_unknown_things_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, LinearProbe("test_vit", ["AU12"], img_size=32))
    assert main(["info", str(path)]) == 0
    lines = _lines(capsys.readouterr().out)
    assert lines["network"] == "LinearProbe"
    assert (lines["crop recipe"], lines["trained on"]) == ("unknown", "unknown")
    assert "also" not in lines


def test_text_of_a_stranger_steers_no_terminal(
    network: AUFormer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, network, training_data={"note": "faces\x1b[2Jgone\nAU99"})
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "note: faces?[2Jgone?AU99" in text


class _Opens:
    """A pickle that opens a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def test_what_is_no_checkpoint_is_refused_in_one_line(
    tmp_path: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a checkpoint, whatever it is called", encoding="utf-8")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(adapter.read_bytes()[:-100])
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(struct.pack("<Q", 2) + b"{}")
    other = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, other)
    junk = tmp_path / "junk.ckpt"
    junk.write_bytes(text.read_bytes())
    what = {
        tmp_path / "missing.safetensors": "does not exist", tmp_path / "missing.ckpt": "does not exist",
        text: "not a complete", cut: "copy or download it again", foreign: "", other: "not a run checkpoint",
        junk: "cannot be read as a run checkpoint: it is damaged",
    }  # fmt: skip
    for path, words in what.items():
        assert main(["info", str(path)]) == 1, path
        said = capsys.readouterr()
        assert said.err.startswith("auformer: error: ") and words in said.err and "weights_only" not in said.err
        assert path.name in said.err
        assert said.out == ""


def test_a_pickle_payload_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil, proof = tmp_path / "evil.ckpt", tmp_path / "proof"
    torch.save({"auformer": _Opens(proof), "state_dict": {}}, evil)
    assert main(["info", str(evil)]) == 1
    assert not proof.exists()
    said = capsys.readouterr().err
    assert "evil.ckpt" in said and "executes nothing" in said and "weights_only" not in said
    plain = tmp_path / "plain.ckpt"
    plain.write_bytes(pickle.dumps(_Opens(proof)))
    assert main(["info", str(plain)]) == 1
    assert not proof.exists()


def test_the_demo_detector_says_what_it_has_seen_and_what_it_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert DEMO_DETECTOR.is_file()
    assert main(["info", "demo"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "demo"
    assert "rendered faces only" in text
    assert "and its intensity, 0 to 5" in text and "not intensities" not in text
    aus = [line for line in text.splitlines() if line.startswith("  AU") and line.endswith("0 to 5")]
    assert len(aus) == 24 and aus[-1].startswith("  AU43  Eyes closed")
