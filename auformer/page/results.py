"""A predictions file as the page needs it: its sources and people, and all values of one source as bytes.

What the browser is sent of a source is one JSON object, padded to a multiple of eight bytes, behind its length as a
32-bit number (little-endian, as all arrays are), then the arrays that it names, each with its type, place and length.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from auformer.annotations.videos import Person, Video, au_text, collect
from auformer.data.images import IMAGES, read_image
from auformer.data.video import VIDEOS, images_at
from auformer.data.video import Video as VideoReader
from auformer.errors import ManifestError
from auformer.predict.agreement import ACTIVE
from auformer.predict.compare import read_predictions
from auformer.predict.sources import sequence_files

TABLES = frozenset({".csv", ".tsv", ".parquet", ".xlsx"})
# What browsers play, as far as the file says it; the browser has the last word. [ours]
PLAYED = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".ogv"})
PLAYED_CODECS = frozenset({"h264", "vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9", "theora"})
_EARLIER = 0.4  # of a frame's length: the first image from there on is the frame [ours]
_BOX = ["x", "y", "w", "h"]
_PAD = 8  # bytes at whose multiples arrays begin


@dataclass
class Result:
    """A predictions file that is open.

    Args:
        path: The file.
        table: As `read_predictions` gives it.
        videos: Its sources.
        media: Where images and videos are, by the `file` that the table gives them.
    """

    path: Path
    table: pd.DataFrame
    videos: list[Video]
    media: dict[str, Path]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def side(self) -> dict[str, Any]:
        """The sidecar; empty where there is none."""
        return dict(self.table.attrs.get("side") or {})

    def thresholds(self) -> dict[str, float | None]:
        """Decision threshold of each AU with probabilities; None where the file does not say.

        Py-Feat's files have none: activity is what reaches one half.
        """
        known = self.side.get("thresholds") or {}
        default = None if self.table.attrs.get("format") == "native" else ACTIVE
        aus = self.videos[0].au_names
        return {au: known.get(au, default) for au in aus if f"{au}_prob" in self.table}

    def about(self) -> dict[str, Any]:
        """What the page shows before a source is chosen, as plain JSON values."""
        side, kind = self.side, str(self.table.attrs.get("format", "native"))
        adapter = side.get("adapter") if isinstance(side.get("adapter"), dict) else None
        makers = {"openface": "OpenFace", "pyfeat": "Py-Feat", "manifest": "a manifest (coded labels)"}
        made = makers.get(kind, f"auformer {side.get('package_version', '')}".strip())
        known = [au for au in self.videos[0].au_names if f"{au}_intensity_pred" in self.table]
        return {
            "format": kind,
            "made_by": made + (f" with {adapter.get('file')}" if adapter else ""),
            "notice": side.get("notice") or "",
            "notes": list(self.table.attrs.get("notes") or []),
            "aus": [{"au": au, "name": au_text(au), "intensity": au in known} for au in self.videos[0].au_names],
            "thresholds": self.thresholds(),
            "sources": [self._source(video) for video in self.videos],
        }

    def _source(self, video: Video) -> dict[str, Any]:
        kind = "video" if video.timed else "photo" if len(video.times) == 1 else "frames"
        return {
            "name": video.key[2], "kind": kind, "frames": len(video.times),
            "people": [{"label": person.label, "frames": len(person.times)} for person in video.people],
            "media": self.path_of(video) is not None,
        }  # fmt: skip

    def path_of(self, video: Video, frame: int = 0) -> Path | None:
        """The video of a source, or its image at the k-th frame; None where it is not there."""
        path = self.media.get(video.file)
        if path is not None and not path.is_file() and _numbered(path):
            files, numbers = sequence_files(str(path)), np.unique(self.rows_of(video)["frame"].to_numpy(np.int64))
            path = files.get(int(numbers[frame]))
        return path if path is not None and path.is_file() else None

    def payload(self, number: int) -> bytes:
        """Everything about a source, see the module."""
        video = self.videos[number]
        arrays = _Arrays()
        head: dict[str, Any] = {
            **self._source(video), "times": arrays.add(video.times), "media": self.media_facts(video), "people": [],
        }  # fmt: skip
        rows = self.rows_of(video)
        head["numbers"] = arrays.add(np.unique(rows["frame"].to_numpy(np.int32)))
        seen = rows[rows["status"] == "ok"]
        for person in video.people:
            own = seen[seen["face"] == person.face].sort_values("frame", kind="stable")
            boxes = own[_BOX].to_numpy(np.float64) if set(_BOX) <= set(own) else np.empty((0, 4))
            head["people"].append(_person(person, boxes, arrays))
        return arrays.with_head(head)

    def rows_of(self, video: Video) -> pd.DataFrame:
        """The rows that a source is made of, in the order of the table."""
        table = self.table
        mine = np.ones(len(table), bool)
        for name, value in zip(("dataset", "subject", "sequence"), video.key, strict=True):
            mine &= (table[name].astype(str) == value).to_numpy(bool)
        if video.timed:
            mine &= table["time_s"].notna().to_numpy(bool)
        return table[mine]

    def media_facts(self, video: Video) -> dict[str, Any] | None:
        """What the page has to know of the file of a source; None where it is not there."""
        path = self.path_of(video)
        if path is None:
            return None
        facts: dict[str, Any] = {"name": path.name, "kind": "image", "delay": 0.0, "plays": False, "width": 0}
        try:
            if path.suffix.lower() in VIDEOS:
                with VideoReader(path) as reader:
                    codec, delay, first = reader.facts.codec, reader.facts.delay_s, reader.nearest([0.0])[0]
                plays = path.suffix.lower() in PLAYED and codec in PLAYED_CODECS
                facts |= {"kind": "video", "delay": delay, "plays": plays, "codec": codec}
            else:
                first = read_image(path)
        except (ValueError, OSError) as error:
            return {**facts, "kind": "unreadable", "problem": str(error).replace(str(path), path.name)}
        if first is not None:
            facts |= {"height": first.shape[0], "width": first.shape[1]}
        return facts

    def image(self, number: int, frame: int) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB of a source at its k-th frame; None where there is none."""
        video = self.videos[number]
        path = self.path_of(video, frame) if 0 <= frame < len(video.times) else None
        if path is None:
            return None
        if path.suffix.lower() in VIDEOS:
            if not video.timed:
                return None
            before = _EARLIER * video.usual  # times of the table are rounded
            return images_at(path, [max(0.0, float(video.times[frame]) - before)])[0]
        return read_image(path)

    def with_thresholds(self, thresholds: Mapping[str, float]) -> pd.DataFrame:
        """The table whose activity follows other thresholds; the very table where there are none."""
        if not thresholds:
            return self.table
        columns = {}
        for au, threshold in thresholds.items():
            prob = self.table[f"{au}_prob"]
            columns[f"{au}_active"] = (prob >= threshold).astype("Int8").mask(prob.isna())
        changed = self.table.assign(**columns)
        side = {**self.side, "thresholds": {**(self.side.get("thresholds") or {}), **thresholds}}
        changed.attrs = {**self.table.attrs, "side": side}
        return changed


def _person(person: Person, boxes: np.ndarray, arrays: _Arrays) -> dict[str, Any]:
    """A person's arrays: values AU by AU, so that each is one piece of the bytes."""
    return {
        "face": person.face, "label": person.label, "frames": len(person.times),
        "places": arrays.add(person.places.astype(np.int32)),
        "probs": arrays.add(person.probs.T),
        "intensity": arrays.add(person.intensity.T),
        "active": arrays.add(person.active.T.astype(np.uint8)),
        "boxes": arrays.add(boxes if len(boxes) == len(person.times) else np.empty((0, 4))),
    }  # fmt: skip


class _Arrays:
    """Arrays one behind the other, each beginning at a multiple of `_PAD` bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, values: np.ndarray) -> dict[str, Any]:
        """Append an array, and say where it is."""
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        place = {"type": values.dtype.name, "at": self._length, "length": int(values.size)}
        padded = raw + bytes(-len(raw) % _PAD)
        self._parts.append(padded)
        self._length += len(padded)
        return place

    def with_head(self, head: Mapping[str, Any]) -> bytes:
        """All of it; arrays count from the end of the head."""
        text = json.dumps(head, allow_nan=False).encode()
        text += b" " * (-(4 + len(text)) % _PAD)
        return b"".join([struct.pack("<I", len(text)), text, *self._parts])


def open_result(path: Path, media: Mapping[str, Path] | None = None) -> Result:
    """Read a predictions file.

    Args:
        path: Of any form that `read_predictions` takes.
        media: Files by their names, the only ones that are shown: a table from elsewhere may name any file of this
            machine. None for a table of one's own, whose files are looked for as given, and beside it.

    Raises:
        ManifestError: It cannot be read, or shows nobody.
    """
    table = read_predictions(path)
    if "frame" not in table or table.empty:
        raise ManifestError(f"{path.name}: expected rows of images or videos, but there is none")
    videos = collect(table, untimed=True).videos
    if not any(video.people for video in videos):
        raise ManifestError(f"{path.name}: no face was seen in any of its {len(table):,} rows, so there is no timeline")
    return Result(path, table, videos, {video.file: place for video in videos if (place := _place(video, path, media))})


def _place(video: Video, table: Path, media: Mapping[str, Path] | None) -> Path | None:
    """The file of a source, where it is an image or a video."""
    file = video.file or video.key[2]
    name = PurePath(file.replace("\\", "/")).name
    if PurePath(name).suffix.lower() not in IMAGES | VIDEOS and media is not None:  # OpenFace names no file
        stems = [path for own, path in media.items() if PurePath(own).stem == PurePath(name).stem]
        return stems[0] if len(stems) == 1 else None
    if media is not None:
        return media.get(name)
    with contextlib.suppress(OSError):
        for place in (Path(file), table.parent / name):
            if place.suffix.lower() in IMAGES | VIDEOS and (place.is_file() or _numbered(place)):
                return place
    return None


def _numbered(path: Path) -> bool:
    """Whether a path names numbered images that are there, as `frames/%05d.png`."""
    with contextlib.suppress(ValueError):
        return bool(sequence_files(str(path)))
    return False


def find_tables(out: Path) -> list[Path]:
    """The predictions files that a path means: itself, or in a folder `predictions.csv`, else every table of it.

    Raises:
        ValueError: There is none.
    """
    if out.is_file():
        return [out]
    own = [out / f"predictions{suffix}" for suffix in (".csv", ".parquet")]
    found = [path for path in own if path.is_file()]
    found = found or sorted(path for path in out.glob("*") if path.suffix.lower() in TABLES and path.is_file())
    if not found:
        why = "holds none" if out.is_dir() else "does not exist"
        raise ValueError(f"Expected a predictions file, or a folder of `auformer predict`, but {out} {why}")
    return found
