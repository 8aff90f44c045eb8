"""What containers say and FFmpeg keeps to itself: the visible part of the coded image, and whether a file is whole.

ISO/IEC 14496-12 (MP4, QuickTime), box `clap`; Matroska (RFC 9559), elements `PixelCrop...`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

_DEEP = ("mdia", "minf", "stbl", "stsd")  # boxes on the way from a track to its sample entries
_ENTRY = 78  # bytes of a VisualSampleEntry before its own boxes, behind its header
_LARGEST = 64 * 2**20  # bytes of a header that are looked through [ours]
_SEGMENT, _TRACKS, _TRACK, _VIDEO, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
_SIDES = {0x54CC: 0, 0x54BB: 1, 0x54DD: 2, 0x54AA: 3}  # PixelCropLeft, Top, Right, Bottom


class Aperture(NamedTuple):
    """Pixels to leave away on each side of the coded image."""

    left: int
    top: int
    right: int
    bottom: int


def clean_aperture(path: Path, kind: str, *, track: int, index: int, size: tuple[int, int]) -> Aperture | None:
    """What a file's header says about the visible part of a video stream.

    Args:
        path: The file.
        kind: FFmpeg's name of its format.
        track: The stream's number in MP4 and QuickTime files.
        index: Its place among all streams.
        size: Width and height of the coded image in pixels.

    Returns:
        None where it says nothing, the whole image, or nothing sensible.
    """
    try:
        with path.open("rb") as file:
            if "mp4" in kind:
                found = _of_mp4(file, track, size)
            elif "matroska" in kind:
                found = _of_matroska(file, index)
            else:
                return None
    except (OSError, ValueError, struct.error, IndexError, ZeroDivisionError, StopIteration):
        return None
    fits = found is not None and min(found) >= 0
    if found is None or not fits or found.left + found.right >= size[0] or found.top + found.bottom >= size[1]:
        return None
    return found if any(found) else None


def has_box(path: Path, name: str) -> bool | None:
    """Whether an MP4 or QuickTime file has an outermost box; None where the file is no such file."""
    with path.open("rb") as file:
        size = path.stat().st_size
        names = [box for box, _, _ in boxes(file, 0, size)]
    return name in names if names and names[0] in ("ftyp", "moov", "mdat", "wide", "free", "skip") else None


def is_cut_avi(path: Path) -> bool:
    """Whether an AVI file is shorter than its outermost chunks say; FFmpeg takes the length that is left for the whole.

    A file that was not closed says nothing.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name != b"RIFF" or length in (0, 0xFFFFFFFF):
                return False
            at += 8 + length + length % 2
    return at > size + 1


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Name, first and last byte of the contents of each box in a range of the file."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        stop = start + size if size else end
        if stop < start + head:
            return
        yield name.decode("latin-1"), start + head, min(stop, end)
        start = stop


def _of_mp4(file: BinaryIO, track: int, size: tuple[int, int]) -> Aperture | None:
    file.seek(0, 2)
    moov = next(((a, b) for name, a, b in boxes(file, 0, file.tell()) if name == "moov"), None)
    for name, start, end in boxes(file, *moov) if moov else ():
        if name != "trak" or _track_number(file, start, end) != track:
            continue
        for step in _DEEP:
            start, end = next((a, b) for box, a, b in boxes(file, start, end) if box == step)
        _, start, end = next(boxes(file, start + 8, end))  # the first sample entry
        found = next((a for box, a, _ in boxes(file, start + _ENTRY, end) if box == "clap"), None)
        if found is None:
            return None
        file.seek(found)
        values = struct.unpack(">IIIIiIiI", file.read(32))
        width, height, right, down = (Fraction(a, b) for a, b in zip(values[::2], values[1::2], strict=True))
        left, top = round(right + (size[0] - width) / 2), round(down + (size[1] - height) / 2)
        return Aperture(left, top, size[0] - left - round(width), size[1] - top - round(height))
    return None


def _track_number(file: BinaryIO, start: int, end: int) -> int:
    """The number in a track's header."""
    head = next((a for name, a, _ in boxes(file, start, end) if name == "tkhd"), None)
    if head is None:
        return -1
    file.seek(head)
    long = file.read(1) == b"\x01"
    file.seek(head + (20 if long else 12))
    return int(struct.unpack(">I", file.read(4))[0])


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, first and last byte of the contents of each element in a range of a Matroska file."""
    while start < end:
        file.seek(start)
        number, used = variable(file, keep=True)
        size, more = variable(file, keep=False)
        start += used + more
        stop = end if size == (1 << 7 * more) - 1 else start + size  # all ones: of unknown length
        yield number, start, min(stop, end)
        start = stop


def variable(file: BinaryIO, *, keep: bool) -> tuple[int, int]:
    """A number of variable length, with (`keep`) or without its marker, and its length in bytes."""
    first = file.read(1)[0]
    length = 9 - first.bit_length()
    if length > 8:
        raise ValueError("no element begins here")
    value = first if keep else first & (0xFF >> length)
    return int.from_bytes(bytes([value]) + file.read(length - 1), "big"), length


def _of_matroska(file: BinaryIO, index: int) -> Aperture | None:
    file.seek(0, 2)
    end = file.tell()
    segment = next(((a, b) for number, a, b in _elements(file, 0, end) if number == _SEGMENT), None)
    for number, start, stop in _elements(file, *segment) if segment else ():
        if number == _CLUSTER or start > _LARGEST:
            return None
        if number == _TRACKS:
            tracks = [(a, b) for inner, a, b in _elements(file, start, stop) if inner == _TRACK]
            video = next((a, b) for inner, a, b in _elements(file, *tracks[index]) if inner == _VIDEO)
            sides = [0, 0, 0, 0]
            for inner, a, b in _elements(file, *video):
                if inner in _SIDES:
                    file.seek(a)
                    sides[_SIDES[inner]] = int.from_bytes(file.read(b - a), "big")
            return Aperture(*sides)
    return None
