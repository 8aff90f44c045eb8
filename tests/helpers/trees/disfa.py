"""Miniature copies of DISFA and DISFA+: a file of intensities per AU, videos of two cameras, images of trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.images import write_image
from tests.helpers.trees import write_text
from tests.helpers.trees.images import face_image, plain_image, write_video

AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
FRAMES = 4  # of each video; the release has 4,845
FOLDERS = {"left": "Videos_LeftCamera", "right": "Video_RightCamera"}  # plural and singular, as in the release

PLUS_TRIALS = (("SN003", "A1_AU1_TrailNo_1"), ("SN003", "Y_a sad face é"), ("SN010", "A1_AU1_TrailNo_1"))


def level(au: int, frame: int, subject: str = "SN001") -> int:
    """The intensity of an AU in a frame."""
    return (au * 5 + frame * 3 + int(subject[2:])) % 6


def _row(subject: str, sequence: str, frame: int, threshold: int) -> dict[str, object]:
    row: dict[str, object] = {"subject": subject, "sequence": sequence, "frame": frame}
    for au in AUS:
        value = level(au, frame, subject)
        row |= {f"AU{au}": int(value >= threshold), f"AU{au}_intensity": float(value)}
    return row


def write_disfa(
    root: Path,
    *,
    camera: str = "left",
    threshold: int = 2,
    frames: int = FRAMES,
    faces: bool = False,
    subjects: tuple[str, ...] = ("SN001", "SN021"),
) -> pd.DataFrame:
    """A few people, `frames` frames each."""
    rows = []
    for number, subject in enumerate(subjects):
        for au in AUS:
            lines = [f"{frame},{level(au, frame, subject)}\r\n" for frame in range(1, FRAMES + 1)]
            write_text(root / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt", "".join(lines))
        video = f"{FOLDERS[camera]}/{camera.capitalize()}Video{subject}_comp.avi"
        write_video(root / video, [face_image(number, k) if faces else plain_image(k) for k in range(1, frames + 1)])
        for frame in range(1, FRAMES + 1):
            source = {"status": "ok", "source": video, "source_frame": frame - 1}
            if frame > frames:
                source = {"status": "no_image", "source": "", "source_frame": None}
            rows.append(_row(subject, camera, frame, threshold) | source | {"source_member": None})
    return pd.DataFrame(rows)


def write_disfaplus(
    root: Path, *, base: str = "DISFAPlusDataset", threshold: int = 2, faces: bool = False
) -> pd.DataFrame:
    """Two people, three trials; a trial lacks the file of AU20, and the names of images begin with 000."""
    rows = []
    for number, (subject, trial) in enumerate(PLUS_TRIALS):
        labels, images = root / base / "Labels" / subject / trial, root / base / "Images" / subject / trial
        lacks = {20} if number == 1 else set()
        for au in sorted(set(AUS) - lacks):
            lines = [f"{frame:03d}.jpg   {level(au, frame, subject)}\n" for frame in range(3)]
            write_text(labels / f"AU{au}.txt", "# frame intensity\n" + "".join(lines))
        for frame in range(3):
            write_image(images / f"{frame:03d}.jpg", face_image(number, frame) if faces else plain_image(frame))
            row = _row(subject, trial, frame, threshold)
            for au in lacks:
                row |= {f"AU{au}": -1, f"AU{au}_intensity": np.nan}
            source = (images / f"{frame:03d}.jpg").relative_to(root).as_posix()
            rows.append(row | {"status": "ok", "source": source, "source_frame": None, "source_member": None})
    return pd.DataFrame(rows)
