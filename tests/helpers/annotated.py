"""Predictions with hand-made episodes, and videos whose first frame comes after their sound."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd

NAME = "Gespräch mit Zoë.mp4"
FPS = 25
AUS = ("AU1", "AU12")


def rows(
    frames: Sequence[int],
    active: dict[str, Sequence[int]],
    *,
    name: str = NAME,
    face: int = 0,
    fps: float = FPS,
    intensity: float | None = 3.0,
    status: str = "ok",
) -> pd.DataFrame:
    """Rows of one face in some frames: probability .75 in the active frames of each AU, else .25; intensity or 0."""
    table = pd.DataFrame({"dataset": "user", "subject": name, "sequence": name, "frame": list(frames), "face": face})
    table["file"], table["time_s"], table["status"] = name, (table["frame"] / fps).round(6), status
    for au in AUS:
        on = table["frame"].isin(active.get(au, ())).to_numpy()
        table[f"{au}_prob"] = np.where(on, 0.75, 0.25) if status == "ok" else np.nan
        table[f"{au}_active"] = (
            pd.array(on.astype(int), "Int8") if status == "ok" else pd.array([pd.NA] * len(on), "Int8")
        )
        if intensity is not None:
            table[f"{au}_intensity_pred"] = np.where(on, intensity, 0.0) if status == "ok" else np.nan
    return table


def talk() -> pd.DataFrame:
    """20 frames of 40 ms. Face 0 is seen throughout, face 1 in frames 5 to 9 and 16 to 19; nobody in frame 20.

    Face 0: AU12 in 80 to 200 and 320 to 360 ms. Face 1: AU1 in 280 to 320, AU12 in 200 to 400 and 640 to 720 ms.
    """
    return pd.concat(
        [
            rows(range(20), {"AU12": [2, 3, 4, 8]}),
            rows([*range(5, 10), *range(16, 20)], {"AU1": [7], "AU12": [5, 6, 7, 8, 9, 16, 17]}, face=1, intensity=1.0),
            rows([20], {}, status="no_face"),
        ],
        ignore_index=True,
    )


#: Begin and end in milliseconds by face and AU, of `talk`.
EPISODES = {
    (0, "AU1"): [], (0, "AU12"): [(80, 200), (320, 360)],
    (1, "AU1"): [(280, 320)], (1, "AU12"): [(200, 400), (640, 720)],
}  # fmt: skip


def write_predictions_of(table: pd.DataFrame, folder: Path, name: str = "predictions.csv") -> Path:
    """The table as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / name, index=False)
    return folder / name


def write_film(
    path: Path, frames: int = 21, *, fps: int = FPS, delay_s: float = 0.0, seconds: float | None = None
) -> Path:
    """A small MP4 video of grey images; with a delay, or a length in seconds of its sound, it has sound from 0 on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = seconds if seconds is not None else (delay_s + frames / fps if delay_s else 0.0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=48_000) if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + number % 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + round(delay_s * fps), Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for number in range(int(sound * 48_000 / 1024)):
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                silence.sample_rate, silence.pts, silence.time_base = 48_000, number * 1024, Fraction(1, 48_000)
                container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
    return path
