"""What tests of `auformer predict` on videos share: a checkpoint, clips, the command."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.cli import main
from tests.helpers.photos import write_detector
from tests.helpers.trees.pictures import write_video
from tests.helpers.videos import moving, scene


def make_checkpoint(folder: Path) -> Path:
    """A folder with a small adapter file and its frozen weights."""
    write_detector(folder)
    return folder


def make_clips(folder: Path) -> Path:
    """`talk.mp4` (12 frames, none in frames 4 and 5), `pair.mp4` (two faces cross), `empty_room.avi`."""
    write_video(folder / "talk.mp4", moving(12, without=[4, 5]), fps=10)
    pair = [scene((30_001, 6 + 3 * k, 16), (30_002, 170 - 3 * k, 20), size=(288, 136)) for k in range(6)]
    write_video(folder / "pair.mp4", pair, fps=10)
    write_video(folder / "empty_room.avi", [scene()] * 4, fps=10)
    return folder


def options(checkpoint: Path) -> list[str]:
    """Words that name a checkpoint of `make_checkpoint`."""
    return [
        "--checkpoint",
        str(checkpoint),
        "--backbone-checkpoint",
        str(checkpoint / "backbone.safetensors"),
        "--device",
        "cpu",
    ]


def predict_with(checkpoint: Path, *words: object) -> int:
    """Exit code of `auformer predict`."""
    return main(["predict", *map(str, words), *options(checkpoint)])


def files(folder: Path) -> list[str]:
    """Names of what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Two tables hold the same, numbers to 1e-5."""
    pd.testing.assert_frame_equal(a, b, rtol=0, atol=1e-5)
