"""A made-up release in every form that the pipeline reads, and its reader, so that the pipeline is tested by itself."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.images import write_image
from auformer.data_prep.formats.archives import list_members
from auformer.data_prep.formats.frames import index_frames
from auformer.data_prep.release import Findings, Release
from auformer.faces import Face
from tests.helpers.trees.images import face_image, plain_image, write_video

FRAMES = 4  # of each sequence
SEQUENCES = (("S1", "smile"), ("S1", "weinen é/1"), ("S2", "film"), ("S3", "packed"))

RELEASE = Release(
    name="tiny", title="Tiny", request="nothing, from nobody", terms="none",
    tree="S1/<sequence>/<frame>.png\nfilm.mkv\npacked.zip", au_names=("AU1", "AU12"),
    frames="numbers of the label table, from 1", source="[ours]",
    options={"threshold": {"type": int, "help": "label from which AU1 is present"}},
)  # fmt: skip


def write_tiny(root: Path) -> Path:
    """S1: two folders of images; S2: a lossless video of that size; S3: an archive. Frame 3 of each shows no face."""
    for subject, sequence in SEQUENCES:
        images = [plain_image(k) if k == 3 else face_image(int(subject[1]), k) for k in range(1, FRAMES + 1)]
        if subject == "S1":
            for number, image in enumerate(images, 1):
                write_image(root / "S1" / sequence / f"img{number:03d}.png", image)
        elif subject == "S2":
            write_video(root / "film.mkv", images)
        else:
            write_image(root / "member.png", images[0])
            with zipfile.ZipFile(root / "packed.zip", "w") as archive:
                for number, image in enumerate(images, 1):
                    write_image(root / "member.png", image)
                    archive.write(root / "member.png", f"S3/{number:04d}.png")
            (root / "member.png").unlink()
    return root


def _sources(root: Path, subject: str, sequence: str) -> dict[int, dict[str, Any]]:
    """Where the image of each frame is."""
    if subject == "S1":
        return {
            number: {"source": path.relative_to(root).as_posix()}
            for number, path in index_frames(root / "S1" / sequence).items()
        }
    if subject == "S2":
        return {number: {"source": "film.mkv", "source_frame": number - 1} for number in range(1, FRAMES + 1)}
    return {
        int(Path(name).stem): {"source": "packed.zip", "source_member": name}
        for name in list_members(root / "packed.zip")
    }


@dataclass(frozen=True)
class TinyDetector:
    """A fast one for tests of everything else: a face at one place in every image that is not plain."""

    name: str = "tiny"
    version: str = "1"

    def __call__(self, image: np.ndarray, *, file: str = "", frame: int | None = None) -> list[Face]:
        points = np.array([[66, 48], [94, 48], [80, 64], [70, 78], [90, 78]], float)
        return [Face((50.0, 30.0, 60.0, 60.0), 0.9, points, "fixed")] if image.std() > 8 else []


@dataclass(frozen=True)
class DeadlyDetector(TinyDetector):
    """Its process ends at the first image, as one does that runs out of memory."""

    def __call__(self, image: np.ndarray, *, file: str = "", frame: int | None = None) -> list[Face]:
        os._exit(3)


class TinyReader:
    """A reader like the modules of `data_prep`; `frames` labels per sequence."""

    def __init__(self, frames: int = FRAMES, *, per_clip: bool = False, onset: int = 1) -> None:
        self.RELEASE = replace(RELEASE, per_clip=per_clip)
        self.frames, self.onset = frames, onset

    def read(self, root: Path, findings: Findings, *, threshold: int = 2, corrections: bool = True) -> pd.DataFrame:
        rows = []
        for subject, sequence in SEQUENCES:
            sources = _sources(root, subject, sequence)
            for frame in range(1, self.frames + 1):
                where = sources.get(frame)
                row = {
                    "subject": subject, "sequence": sequence, "frame": frame,
                    "status": "ok" if where else "no_image",
                }  # fmt: skip
                row |= {"AU1": int(frame >= threshold), "AU12": (1, 0, -1)[frame % 3], "AU12_intensity": frame / 2} | (
                    where or {}
                )
                if self.RELEASE.per_clip:
                    row |= {"AU1": 1, "AU12": 0, "clip": "1", "onset": self.onset, "offset": self.frames}
                rows.append(row)
        if not corrections:
            findings.note("corrections are off", "labels", "as released")
        findings.correct("tiny", 3, "frame 7 is frame 3")
        return pd.DataFrame(rows)
