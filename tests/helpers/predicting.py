"""What tests of `auformer predict` share: a checkpoint, clips, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.manifest import read_predictions
from auformer.predict.predictor import AUPredictor
from tests.helpers.photos import write_detector
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving, scene


def make_checkpoint(folder: Path, **header: Any) -> Path:
    """A folder with a small adapter file and its frozen weights; arguments as of `write_detector`."""
    write_detector(folder, **header)
    return folder


def make_clips(folder: Path) -> Path:
    """`talk.mp4` (12 frames, no face in frames 4 and 5), `pair.mp4` (two faces cross), `empty_room.avi`."""
    write_video(folder / "talk.mp4", moving(12, without=[4, 5]), fps=10)
    pair = [scene((30_001, 6 + 3 * k, 16), (30_002, 170 - 3 * k, 20), size=(288, 136)) for k in range(6)]
    write_video(folder / "pair.mp4", pair, fps=10)
    write_video(folder / "empty_room.avi", [scene()] * 4, fps=10)
    return folder


def options(checkpoint: Path) -> list[str]:
    """Words that name a checkpoint of `make_checkpoint`."""
    frozen = str(checkpoint / "backbone.safetensors")
    return ["--checkpoint", str(checkpoint), "--backbone-checkpoint", frozen, "--device", "cpu"]


def predict_with(checkpoint: Path, *words: object) -> int:
    """Exit code of `auformer predict`."""
    return main(["predict", *map(str, words), *options(checkpoint)])


def dying(monkeypatch: pytest.MonkeyPatch, call: int, error: type[BaseException] = KeyboardInterrupt) -> list[int]:
    """Let the network fail in its call of this number; sizes of all batches so far are in the list returned."""
    real: Callable[..., Any] = AUPredictor.predict_proba
    seen: list[int] = []

    def predict_proba(self: AUPredictor, crops: Any) -> Any:
        seen.append(len(crops))
        if len(seen) == call:
            raise error("no room")
        return real(self, crops)

    monkeypatch.setattr(AUPredictor, "predict_proba", predict_proba)
    return seen


def files(folder: Path) -> list[str]:
    """Names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def rows(folder: Path, name: str = "predictions.csv") -> pd.DataFrame:
    """The table of an output folder."""
    return read_predictions(folder / name)


def sidecar(folder: Path, name: str = "predictions.json") -> dict[str, Any]:
    """The sidecar of an output folder's table."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Two tables hold the same, numbers to 1e-5."""
    pd.testing.assert_frame_equal(a, b, rtol=0, atol=1e-5)
