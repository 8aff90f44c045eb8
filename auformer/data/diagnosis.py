"""What a file is that cannot be read as a video, and what to do about it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from auformer.data.containers import has_box
from auformer.data.images import image_kind

_HEAD = 4096  # bytes that are looked at [ours]
_POINTER = b"version https://git-lfs"
_STARTS = {b"PK\x03\x04": "a ZIP file (or one of Office)", b"Rar!": "a RAR file", b"7z\xbc\xaf": "a 7-Zip file",
           b"\x1f\x8b": "a gzip file"}  # fmt: skip
_PACKED = "unpack it, and give what is inside"


def not_opened(path: str | Path, error: BaseException) -> ValueError:
    """The error for a file that is no video, with what it is and what to do where that can be seen."""
    return ValueError(f"Expected a video at {path}, but it cannot be read as one: {_diagnosis(path) or _plain(error)}")


def reason(error: BaseException) -> str:
    """What FFmpeg or the system says, without its numbers."""
    return str(getattr(error, "strerror", None) or error).rstrip(".") or type(error).__name__


def _plain(error: BaseException) -> str:
    """What is known where the file itself does not say; our own messages have their remedy."""
    if not getattr(error, "strerror", None) or isinstance(error, PermissionError):
        return reason(error)
    return (
        f"it is none that FFmpeg knows, or its beginning is damaged ({reason(error)}); copy it again, or convert it to "
        "MP4 (H.264) where it was made"
    )


def _diagnosis(path: str | Path) -> str:
    """What a file is that FFmpeg does not open; empty where that cannot be seen."""
    with contextlib.suppress(OSError):
        if not Path(path).is_file() or not Path(path).stat().st_size:
            return ""
        kind = image_kind(path)
        if kind:
            return f"this is an image, {kind}; name it as one"
        if has_box(Path(path), "moov") is False and not has_box(Path(path), "moof"):
            return (
                "the video was not closed (no moov atom): the recording or the copy stopped before the list of its "
                "frames was written; copy it again, or let a repair program write the list by another video of the "
                "same camera"
            )
        with open(path, "rb") as file:
            return _no_video(file.read(_HEAD))
    return ""


def _no_video(head: bytes) -> str:
    """What the first bytes of a file say that is no video at all."""
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros, as after a copy that broke off; copy it again"
    if head.startswith(_POINTER):
        return "this is what Git LFS leaves in place of a file; fetch the file itself (git lfs pull)"
    packed = next((name for start, name in _STARTS.items() if head.startswith(start)), "")
    if packed:
        return f"this is {packed}; {_PACKED}"
    if b"<html" in head[:1024].lower():
        return "this is a web page, as servers send in place of a file that they refuse; fetch it again"
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else "\0"
    return "" if any(ord(sign) < 9 for sign in text) else "this is text; check which file was meant"
