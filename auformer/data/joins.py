"""Files that were joined byte by byte: where each part begins, by the container's own structure.

FFmpeg reads all parts of some formats (AVI, MPEG), and of others the first or the first two without a word. MP4 and
QuickTime: ISO/IEC 14496-12; Matroska: RFC 8794 and 9559; FLV: Adobe's Video File Format, annex E; ASF: Microsoft's
Advanced Systems Format, 3.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from auformer.data.containers import boxes, variable

_EBML = 0x1A45DFA3
_FLV_TAGS = frozenset({8, 9, 18})  # sound, images, data
_ASF_HEADER = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")


def part_starts(path: Path, kind: str) -> list[int]:
    """First byte of each of several files that were joined into one.

    Args:
        path: The file.
        kind: FFmpeg's name of its format.

    Returns:
        One number for a plain file; none where the format is another or its structure cannot be followed.
    """
    ways = {"mp4": _of_mp4, "matroska": _of_matroska, "flv": _of_flv, "asf": _of_asf}
    way = next((way for name, way in ways.items() if name in kind), None)
    found: list[int] = []
    if way is not None:
        try:
            with path.open("rb") as file:
                for start in way(file, path.stat().st_size):
                    found.append(start)
        except (OSError, ValueError, struct.error, IndexError):
            return found  # damage ends what can be followed
    return found


def _of_mp4(file: BinaryIO, end: int) -> Iterator[int]:
    """Each part has one list of its frames; it begins with its brand, where it has one."""
    start = 0
    for name, at, _ in boxes(file, 0, end):
        if name == "ftyp":
            start = at - 8
        if name == "moov":
            yield start


def _of_matroska(file: BinaryIO, end: int) -> Iterator[int]:
    """What has no known length is gone through element by element."""
    at = 0
    while at < end:
        file.seek(at)
        number, used = variable(file, keep=True)
        size, more = variable(file, keep=False)
        if number == _EBML:
            yield at
        at += used + more + (0 if size == (1 << 7 * more) - 1 else size)


def _of_flv(file: BinaryIO, end: int) -> Iterator[int]:
    at = 0
    while at + 11 <= end:
        file.seek(at)
        head = file.read(11)
        if head[:3] == b"FLV":
            yield at
            at += int.from_bytes(head[5:9], "big") + 4
        elif head[0] & 0x1F in _FLV_TAGS:
            at += 11 + int.from_bytes(head[1:4], "big") + 4
        else:
            return


def _of_asf(file: BinaryIO, end: int) -> Iterator[int]:
    at = 0
    while at + 24 <= end:
        file.seek(at)
        name, size = struct.unpack("<16sQ", file.read(24))
        if name == _ASF_HEADER:
            yield at
        if size < 24:  # of unknown length
            return
        at += size
