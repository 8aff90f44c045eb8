import pytest

from auformer.scoring.provenance import commit, machine, provenance_lines


def test_lines():
    sidecar = {
        "checkpoint": "folder", "adapter": {"sha256": "0123456789abcdef"}, "crop_recipe": "eyes",
        "aus_not_in_checkpoint": ["AU4"],
        "epoch_selection": {"epoch": 7, "epochs": 16, "rule": "best", "monitor": "val/f1 on the validation split"},
        "manifest": {"file": "manifest.csv", "fold": "P1", "crop_recipe": "box"}, "warnings": ["w"], "notice": "n\nm",
    }  # fmt: skip
    assert provenance_lines(sidecar) == [
        "Checkpoint: folder, SHA-256 0123456789ab; epoch: 7 of 16 (best, val/f1 on the validation split).",
        "Manifest: manifest.csv, fold P1; crop recipe: box (trained on: eyes).",
        "AUs that the checkpoint lacks: AU4.",
        "Warning: w",
        "n",
        "m",
    ]


@pytest.mark.parametrize(
    "selection, text", [({}, "unknown"), ("by hand", "by hand"), ({"epoch": 3, "rule": "last"}, "3 of unknown (last)")]
)
def test_selection_in_words(selection, text):
    assert provenance_lines({"epoch_selection": selection}) == [
        f"Checkpoint: unknown; epoch: {text}.",
        "Manifest: unknown; crop recipe: unknown (trained on: unknown).",
    ]


def test_machine_and_commit_are_one_line():
    assert "Python 3" in machine() and "\n" not in machine() + commit()
