"""Checkpoints that cannot be used, and packages that are missing: one line that says what to do, before any work, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import auformer.errors
from auformer.cli import main
from auformer.models import AUFormer, export_detector
from tests.helpers.photos import write_detector, write_photos
from tests.helpers.predictions import write_faces_manifest


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter file of a later version, an ONNX file of ours, and one without our metadata; a manifest and photos to use them on."""
    folder = tmp_path_factory.mktemp("bad")
    network: AUFormer = write_detector(folder)
    write_later_version(folder / "adapter.safetensors", folder / "later.safetensors")
    export_detector(network, folder / "ours.onnx")
    model = onnx.load(folder / "ours.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "plain.onnx")
    write_faces_manifest(folder / "faces", size=(32, 32))
    (folder / "photos").mkdir()
    write_photos(folder / "photos")
    return folder


def write_later_version(source: Path, path: Path) -> None:
    """The same adapter file as a later version of the package would write it."""
    with safe_open(source, "pt") as file:
        header = json.loads(file.metadata()["auformer"])
    save_file(
        load_file(source),
        path,
        metadata={"auformer": json.dumps(header | {"format_version": 2, "package_version": "9.1.0"})},
    )


def _said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on stderr of a command that fails."""
    assert main([str(word) for word in words]) == 1
    err = capsys.readouterr().err
    assert err.startswith("auformer: error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def _commands(bad: Path, checkpoint: str, out: Path) -> list[list[object]]:
    """`evaluate` and `predict` with a checkpoint."""
    common = ["--device", "cpu"]
    return [
        ["evaluate", bad / checkpoint, bad / "faces" / "manifest.csv", "--out", out / "a.csv", *common],
        ["predict", bad / "photos", "--checkpoint", bad / checkpoint, "--out", out / "b", *common],
    ]


def test_an_adapter_of_another_version_names_the_one_that_wrote_it(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["export", bad / "later.safetensors", "--out", tmp_path / "c.onnx"]
    for words in (*_commands(bad, "later.safetensors", tmp_path), export, ["info", bad / "later.safetensors"]):
        said = _said(capsys, *words)
        assert "later.safetensors has adapter format 2, and this version of auformer" in said
        assert "use auformer 9.1.0 that wrote it, or write the file again with this one" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_strangers_version_is_not_repeated(bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_later_version(bad / "adapter.safetensors", tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        header = json.loads(file.metadata()["auformer"]) | {"package_version": "1; now run\nthis"}
    save_file(
        load_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", metadata={"auformer": json.dumps(header)}
    )
    said = _said(capsys, "info", tmp_path / "b.safetensors")
    assert "now run" not in said and "use the version that wrote it" in said


def test_an_onnx_file_without_our_metadata(bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in _commands(bad, "plain.onnx", tmp_path):
        said = _said(capsys, *words)
        assert "plain.onnx is an ONNX model without action units" in said and "`auformer export`" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("missing", ["onnxruntime", "onnxscript", "onnx"])
def test_a_missing_package_is_named_with_what_installs_it(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = auformer.errors.importlib.import_module

    def without(name: str) -> object:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr(auformer.errors.importlib, "import_module", without)
    words = [bad / "adapter.safetensors", "--backbone-checkpoint", bad / "backbone.safetensors"]
    commands = [["export", *words, "--out", tmp_path / "c.onnx"]]
    for command in commands + (_commands(bad, "ours.onnx", tmp_path) if missing == "onnxruntime" else []):
        said = _said(capsys, *command)
        assert f'`{missing}` to be installed, but it is not. From a clone of the repository: pip install ".[export]"' in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
