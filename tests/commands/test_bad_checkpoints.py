"""Checkpoints that cannot be used, and missing packages: one line that says what to do, and nothing written."""

from __future__ import annotations

import json

import onnx
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import auformer.errors
from auformer.cli import main
from auformer.models import export_detector
from tests.helpers.photos import write_detector, write_photos
from tests.helpers.predictions import write_faces_manifest

pytestmark = pytest.mark.slow  # exports to ONNX


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """An adapter file of a later version, an ONNX file of ours, one without our metadata; a manifest and photos."""
    folder = tmp_path_factory.mktemp("bad")
    network = write_detector(folder)
    write_later_version(folder, "later.safetensors", "9.1.0")
    export_detector(network, folder / "ours.onnx")
    model = onnx.load(folder / "ours.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "plain.onnx")
    write_faces_manifest(folder / "faces", size=(32, 32))
    (folder / "photos").mkdir()
    write_photos(folder / "photos")
    return folder


def write_later_version(folder, name, version):
    """The same adapter file as a later version of the package would write it."""
    source = folder / "adapter.safetensors"
    with safe_open(source, "pt") as file:
        header = json.loads(file.metadata()["auformer"]) | {"format_version": 2, "package_version": version}
    save_file(load_file(source), folder / name, metadata={"auformer": json.dumps(header)})


def said(capsys, *words):
    """The one line on stderr of a command that fails."""
    assert main([str(word) for word in words]) == 1
    err = capsys.readouterr().err
    lines = err.removeprefix("loading the AU detector ...\n")  # `predict` says so first
    assert lines.startswith("auformer: error: ") and lines.count("\n") == 1 and "Traceback" not in err
    return err


def commands(bad, checkpoint, out):
    """`evaluate` and `predict` with a checkpoint."""
    cpu = ["--device", "cpu"]
    return [
        ["evaluate", bad / checkpoint, bad / "faces" / "manifest.csv", "--out", out / "a.csv", *cpu],
        ["predict", bad / "photos", "--checkpoint", bad / checkpoint, "--out", out / "b", *cpu],
    ]


def nothing_in(folder):
    return not [path for path in folder.rglob("*") if path.is_file()]


def test_an_adapter_of_another_version_names_the_one_that_wrote_it(bad, tmp_path, capsys):
    export = ["export", bad / "later.safetensors", "--out", tmp_path / "c.onnx"]
    for words in (*commands(bad, "later.safetensors", tmp_path), export, ["info", bad / "later.safetensors"]):
        line = said(capsys, *words)
        assert "later.safetensors has adapter format 2, and this version of auformer" in line
        assert "use auformer 9.1.0 that wrote it, or write the file again with this one" in line
    assert nothing_in(tmp_path)


def test_a_strangers_version_is_not_repeated(bad, capsys):
    write_later_version(bad, "stranger.safetensors", "1; now run\nthis")
    line = said(capsys, "info", bad / "stranger.safetensors")
    assert "now run" not in line and "use the version that wrote it" in line


def test_an_onnx_file_without_our_metadata(bad, tmp_path, capsys):
    for words in commands(bad, "plain.onnx", tmp_path):
        line = said(capsys, *words)
        assert "plain.onnx is an ONNX model without action units" in line and "`auformer export`" in line
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("missing", ["onnxscript", "onnx"])
def test_a_missing_package_is_named_with_what_installs_it(bad, tmp_path, capsys, monkeypatch, missing):
    real = auformer.errors.importlib.import_module

    def without(name):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr(auformer.errors.importlib, "import_module", without)
    words = [bad / "adapter.safetensors", "--backbone-checkpoint", bad / "backbone.safetensors"]
    line = said(capsys, "export", *words, "--out", tmp_path / "c.onnx")
    assert f"`{missing}` to be installed, but it is not" in line and 'pip install ".[export]"' in line
    assert nothing_in(tmp_path)
