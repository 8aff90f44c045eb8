"""Miniature copies of BP4D and BP4D+: coded tables, images with mixed padding, archives, videos."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from auformer.data.images import write_image
from tests.helpers.trees import write_text
from tests.helpers.trees.images import sample_image, write_video

CODED = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39)
PLUS = (*(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24), *range(27, 40))
INTENSITY = (6, 10, 12, 14, 17)

# subject, task, first coded frame, last one, digits in the names of the images
SEQUENCES = (
    ("F001", "T1", 8, 11, 4), ("F001", "T5", 98, 101, 3), ("M018", "T1", 1, 3, 1),
    ("M018", "T5", 2440, 2442, 4),
)  # fmt: skip


def code(au: int, frame: int) -> int:
    """The code of an AU in a frame: the twelve AUs that papers report have 0 and 1 only, the others 9 too."""
    if au not in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24) and (au + frame) % 4 == 0:
        return 9
    return int((7 * au + 3 * frame) % 5 == 0)


def level(au: int, frame: int) -> int:
    """The intensity code of an AU in a frame."""
    return 9 if frame % 5 == 0 else (au + frame) % 6


def label(value: int) -> int:
    return -1 if value == 9 else value


def _write_codes(path: Path, header: list[str], aus: list[int], first: int, last: int) -> None:
    """One occurrence table; columns of numbers that are no coded AU hold 9."""
    coded = {*CODED, *PLUS}
    rows = [[frame, *(code(au, frame) if au in coded else 9 for au in aus)] for frame in range(first, last + 1)]
    write_text(path, pd.DataFrame(rows, columns=header).to_csv(index=False, lineterminator="\n"))


def _write_intensities(folder: Path, subject: str, task: str, first: int, last: int) -> None:
    for au in INTENSITY:
        lines = [f"{frame},{level(au, frame)}\n" for frame in range(first, last + 1)]
        write_text(folder / f"AU{au:02d}" / f"{subject}_{task}_AU{au:02d}.csv", "".join(lines))


def _expected(
    aus: tuple[int, ...], sources: dict[tuple[str, str, int], tuple[str, int | None, str | None]], *, intensity: bool
) -> pd.DataFrame:
    """Rows that a reader should give, from where the image of each coded frame is."""
    rows = []
    for (subject, task, frame), (source, position, member) in sources.items():
        row: dict[str, object] = {"subject": subject, "sequence": task, "frame": frame}
        row |= {f"AU{au}": label(code(au, frame)) for au in aus}
        if intensity:
            row |= {
                f"AU{au}_intensity": np.nan if level(au, frame) == 9 else float(level(au, frame)) for au in INTENSITY
            }
        rows.append(row | {"status": "ok", "source": source, "source_frame": position, "source_member": member})
    return pd.DataFrame(rows)


def write_bp4d(
    root: Path,
    *,
    images: str = "",
    occurrence: str = "AUCoding/AU_OCC",
    intensity: str = "AU-Intensity-Codes3.0",
    videos: str | None = None,
    faces: bool = False,
) -> pd.DataFrame:
    """Two people with two tasks each."""
    sources: dict[tuple[str, str, int], tuple[str, int | None, str | None]] = {}
    for number, (subject, task, first, last, digits) in enumerate(SEQUENCES):
        header, aus = [str(i) for i in range(100)], list(range(1, 100))
        _write_codes(root / occurrence / f"{subject}_{task}.csv", header, aus, first, last)
        if intensity:
            _write_intensities(root / intensity, subject, task, first, last)
        if videos is None:
            for frame in range(max(1, first - 1), last + 2):  # there are images before and after the coded frames
                path = root / images / subject / task / f"{frame:0{digits}d}.jpg"
                write_image(path, sample_image(number, frame, faces))
                if first <= frame <= last:
                    sources[(subject, task, frame)] = (path.relative_to(root).as_posix(), None, None)
        elif first < 100:
            path = root / videos / f"2{subject[0]}{subject[2:]}_{task}.avi"
            write_video(path, [sample_image(number, frame, faces) for frame in range(1, last + 2)], fps=25)
            for frame in range(first, last + 1):
                sources[(subject, task, frame)] = (path.relative_to(root).as_posix(), frame - 1, None)
        else:  # a video of 2,443 frames is too long here; the sequence is left out
            (root / occurrence / f"{subject}_{task}.csv").unlink()
    (root / "readme.txt").write_text("as released", encoding="utf-8")
    return _expected(CODED, sources, intensity=bool(intensity))


# subject, task, first coded frame, last one; F041/T7 and F042/T11 are the known faults
PLUS_SEQUENCES = (("F041", "T6", 3, 5), ("F041", "T7", 2, 4), ("F042", "T1", 9, 11))


def write_bp4dplus(
    root: Path,
    *,
    base: str = "RawData",
    named: bool = True,
    videos: bool = False,
    first_number: int = 1,
    phantom: bool = False,
    faces: bool = False,
) -> pd.DataFrame:
    """Two people: an archive each, one occurrence table per coded task."""
    header = ["0", *(map(str, PLUS) if named else map(str, range(1, len(PLUS) + 1)))]
    codes, archives = root / base / "AUCoding" / "AU_OCC", root / base / "2D+3D"
    sources: dict[tuple[str, str, int], tuple[str, int | None, str | None]] = {}
    archives.mkdir(parents=True)
    below = archives.relative_to(root).as_posix()
    for number, (subject, task, first, last) in enumerate(PLUS_SEQUENCES):
        _write_codes(codes / f"{subject}_{task}.csv", header, list(PLUS), first, last)
        _write_intensities(root / base / "AUCoding" / "AU_INT", subject, task, first, last)
        images = [sample_image(number, frame, faces) for frame in range(1, last + 2)]
        if videos:
            path = write_video(root / base / "Videos" / f"{subject}_{task}.mp4", images, fps=25)
        else:
            _add_members(archives / f"{subject}.zip", f"{subject}/{task}", images, first_number)
        for frame in range(first, last + 1):
            member = f"{subject}/{task}/{frame - 1 + first_number:04d}.jpg"
            video = (path.relative_to(root).as_posix(), frame - 1, None) if videos else None
            sources[(subject, task, frame)] = video or (f"{below}/{subject}.zip", None, member)
    if phantom:
        _write_codes(codes / "F042_T11.csv", header, list(PLUS), 1, 2)
    return _expected(PLUS, sources, intensity=True)


def _add_members(archive: Path, folder: str, images: list[np.ndarray], first: int) -> None:
    """Append images to an archive, the last one first, since archives need not be in order."""
    loose = archive.with_suffix(".jpg")
    with zipfile.ZipFile(archive, "a") as opened:
        for number, image in reversed(list(enumerate(images, start=first))):
            write_image(loose, image)
            opened.write(loose, f"{folder}/{number:04d}.jpg")
    loose.unlink()
