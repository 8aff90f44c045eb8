"""Checkpoints on the hub: two files and no more, a pinned revision, which is recorded."""

from __future__ import annotations

import json
import logging

import huggingface_hub
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.errors import CheckpointError
from auformer.models.checkpoints import resolve_checkpoint
from tests.helpers.photos import face_image, write_detector

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache as huggingface_hub lays it out; notes what is asked for."""
    folder = tmp_path / "models--me--aus" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    write_detector(folder)
    asked = []

    def download(repo_id, filename, revision=None):
        logging.getLogger("huggingface_hub").warning("Retrying in 1s")
        asked.append((repo_id, filename, revision))
        if filename == "README.md":
            raise OSError("no card")
        return str(folder / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return folder, asked


def test_two_files_of_a_revision(hub, caplog):
    folder, asked = hub
    assert resolve_checkpoint("hf://me/aus") == folder / "adapter.safetensors"
    assert resolve_checkpoint("hf://me/a.us@v1.0") == folder / "adapter.safetensors"
    files = ("adapter.safetensors", "README.md")
    assert asked == [*(("me/aus", name, None) for name in files), *(("me/a.us", name, "v1.0") for name in files)]
    for wrong in ("hf://me", "hf://me/aus@", "hf://me/aus/deep/file"):
        with pytest.raises(CheckpointError, match="owner/name@revision"):
            resolve_checkpoint(wrong)
    assert not caplog.records


def test_the_commit_is_in_the_sidecar(hub, tmp_path):
    photo = tmp_path / "in" / "a.png"
    write_image(photo, face_image())
    words = ["predict", str(photo), "--out", str(tmp_path / "out"), "--checkpoint", "hf://me/aus@main"]
    words += ["--device", "cpu"]
    assert main([*words, "--backbone-checkpoint", str(hub[0] / "backbone.safetensors")]) == 0
    side = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert side["checkpoint"] == "hf://me/aus@main" and side["adapter"]["revision"] == COMMIT
