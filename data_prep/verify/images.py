"""The images of a manifest: which are missing or unreadable, and which are the same file under several names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from auformer.data.images import read_image
from auformer.data.manifest import au_columns
from auformer.data.splits import people
from auformer.files import sha256

from .problem import Problem, named

_BATCH = 512  # images in work at once, so that no more of them are held [ours]


@dataclass
class ImageCheck:
    """What the images of a manifest are.

    Args:
        checked: Rows whose image was opened.
        missing: Paths without a file.
        unreadable: Paths of files that are no complete image, with the reason.
        sizes: `112 x 112` (width x height) -> number of images.
        duplicates: Groups of rows, by position, whose images have the same bytes.
    """

    checked: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    duplicates: list[list[int]] = field(default_factory=list)


def check_images(frame: pd.DataFrame, folder: Path, *, workers: int = 1, progress: bool = False) -> ImageCheck:
    """Open every image of a manifest that lies in `folder`, in several threads; results keep the order of the rows."""
    found = ImageCheck()
    sizes: dict[str, int] = defaultdict(int)
    same: dict[str, list[int]] = defaultdict(list)
    rows = [int(row) for row in (frame["status"] == "ok").to_numpy(bool).nonzero()[0]]
    paths = frame["image"].to_numpy()
    with (
        ThreadPoolExecutor(max_workers=workers) as pool,
        tqdm(total=len(rows), desc="images", unit="img", disable=not progress) as bar,
    ):
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            looks = pool.map(_look, [folder / str(paths[row]) for row in batch])
            for row, (digest, size, reason) in zip(batch, looks, strict=True):
                if size:
                    sizes[size] += 1
                elif reason:
                    found.unreadable.append(f"{paths[row]}: {reason}")
                else:
                    found.missing.append(str(paths[row]))
                if digest:
                    same[digest].append(row)
            bar.update(len(batch))
    found.checked = len(rows)
    found.sizes = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    found.duplicates = [group for group in same.values() if len(group) > 1]
    return found


def _look(path: Path) -> tuple[str, str, str]:
    """Digest of the bytes, size, and why it cannot be read; all empty where there is no file."""
    if not path.is_file():
        return "", "", ""
    try:
        digest = sha256(path)
        height, width = read_image(path).shape[:2]
    except (OSError, ValueError) as error:
        return "", "", str(error).removeprefix(f"Expected an image at {path}, but ") or "it cannot be read"
    return digest, f"{width} x {height}", ""


def image_problems(frame: pd.DataFrame, found: ImageCheck) -> Iterator[Problem]:
    """What is wrong with the images.

    The same bytes for two people are wrong, and for one person with different labels, unless they are neighbours in one
    sequence: videos repeat frames. Others are only noted.
    """
    if found.missing:
        text = f"images that are not there: {len(found.missing):,} ({named(found.missing)})"
        yield Problem("missing_image", "images", f"{text}; copy them, or prepare the data set again")
    if found.unreadable:
        text = f"images that cannot be read: {len(found.unreadable):,} ({named(found.unreadable, 3)})"
        yield Problem("unreadable_image", "images", text)
    if len(found.sizes) > 1:
        shown = named([f"{size}: {count:,}" for size, count in found.sizes.items()])
        yield Problem("image_sizes", "images", f"images of {len(found.sizes)} sizes ({shown})", wrong=False)
    yield from _duplicate_problems(frame, found.duplicates)


def _duplicate_problems(frame: pd.DataFrame, groups: list[list[int]]) -> Iterator[Problem]:
    names = au_columns(frame)
    members = [row for group in groups for row in group]
    who = dict(zip(members, people(frame.iloc[members]), strict=True)) if members else {}
    strange: list[str] = []
    differing: list[str] = []
    harmless = 0
    for group in groups:
        rows = frame.iloc[group]
        if len({who[row] for row in group}) > 1:
            strange.append(" = ".join(rows["image"].head(2)))
        elif len(rows[names].drop_duplicates()) > 1 and not _neighbours(rows):
            differing.append(" = ".join(rows["image"].head(2)))
        else:
            harmless += 1
    if strange:
        text = f"the same image under several people: {len(strange):,} ({named(strange, 3)})"
        yield Problem("duplicate_image", "images", f"{text}; mixed up, or twice in the release")
    if differing:
        text = f"the same image with different labels: {len(differing):,} ({named(differing, 3)})"
        yield Problem("duplicate_image", "images", text)
    if harmless:
        text = (
            "the same image more than once, in neighbouring frames or with one label, as where a video repeats frames"
        )
        yield Problem("duplicate_image", "images", f"{text}: {harmless:,}", wrong=False)


def _neighbours(rows: pd.DataFrame) -> bool:
    frames = rows["frame"].to_numpy()
    one = len(rows[["dataset", "sequence"]].drop_duplicates()) == 1
    return one and int(frames.max() - frames.min()) == len(frames) - 1
