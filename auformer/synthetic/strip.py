"""One rendered video on a page, to be looked at: faces above what the muscles do over time [ours].

Each tenth of the video is shown by its frame with most movement, which a line marks below. A row per action unit that
acts, darker the stronger (full black at level 5); then talk, and how far the head is turned to either side.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from auformer.data.images import write_image
from auformer.synthetic.frames import SceneOptions
from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.sheet import Studio
from auformer.synthetic.videos import fewest_frames, plan_video

FACES, ROW, MARGIN, AXIS = 10, 16, 64, 18  # faces; pixels: height of a row, names on the left, seconds below
TALKS, TURNED = 0.45, 0.25  # what is shown as black: the widest mouth of talk, radians of the head's turn


def video_strip(
    lab: str, number: int, frames: int, fps: float, *, size: int = 112, seed: int = 0,
    options: SceneOptions | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw the first video of a subject of a lab: RGB uint8 `(H, 64 + 10 size, 3)`; arguments as of `plan_video`."""
    plan = plan_video(lab, number, 0, frames, fps, seed=seed, options=options or SceneOptions())
    strength = np.stack([frame.intensity for frame in plan]).max(2)  # (frames, N)
    moved = np.delete(strength, INDEX["AU43"], axis=1).sum(1)
    parts = np.array_split(np.arange(frames), FACES)
    chosen = [int(part[moved[part].argmax()] if moved[part].any() else part[len(part) // 2]) for part in parts]
    studio = Studio(size, seed)
    faces = np.hstack([studio.draw(lab, number, plan[t]) for t in chosen])
    rows = {name: strength[:, au] for au, name in enumerate(AU_NAMES) if strength[:, au].any()}
    rows["talk"] = np.array([frame.scene["speech"]["open"] for frame in plan]) / TALKS
    rows["turn"] = np.abs([frame.scene["pose"][0] for frame in plan]) / TURNED
    width = faces.shape[1]
    bars = np.vstack([_bar(values, width) for values in rows.values()])
    for t in chosen:
        cv2.line(bars, (t * width // frames, 0), (t * width // frames, len(bars)), (200, 60, 50), 1)
    names = np.full((len(bars), MARGIN, 3), 255, np.uint8)
    for place, name in enumerate(rows):
        _write(names, name, 4, ROW * place + ROW - 4)
    return np.vstack([_padded(faces), np.hstack([names, bars]), _axis(frames / fps, width)])


def write_strip(path: Path, lab: str, number: int, frames: int, fps: float, **options: Any) -> Path:
    """Write the strip as PNG; arguments as in `video_strip`.

    Raises:
        ValueError: There are fewer frames than a video has at least.
        OSError: The file cannot be written.
    """
    if frames < (fewest := fewest_frames(fps)):
        raise ValueError(f"Expected at least {fewest} `frames` in a video of {fps:g} a second, but got {frames}")
    write_image(path, video_strip(lab, number, frames, fps, **options))
    return path


def _bar(values: np.ndarray, width: int) -> np.ndarray:
    """One row `(ROW, width, 3)`: the highest value in each column's time, 1 is black."""
    at = np.arange(width + 1) * len(values) // width
    highest = np.array([values[a : max(b, a + 1)].max() for a, b in pairwise(at.tolist())])
    shade = (235 * (1 - np.clip(highest, 0, 1))).astype(np.uint8)
    row = np.repeat(shade[None, :, None], ROW, 0).repeat(3, 2)
    row[-1] = 255
    return row


def _axis(seconds: float, width: int) -> np.ndarray:
    """The line of seconds."""
    line = np.full((AXIS, MARGIN + width, 3), 255, np.uint8)
    step = next((step for step in (1, 2, 5, 10, 20, 60) if seconds / step <= 2 * FACES), 300)
    for second in range(0, int(seconds) + 1, step):
        _write(line, f"{second} s", MARGIN + int(second / seconds * width), AXIS - 5)
    return line


def _padded(faces: np.ndarray) -> np.ndarray:
    return np.hstack([np.full((len(faces), MARGIN, 3), 255, np.uint8), faces])


def _write(image: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
