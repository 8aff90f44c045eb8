"""Which of a container's streams is the video that is meant."""

from __future__ import annotations

from typing import Any

# Bits of AVStream.disposition (FFmpeg, libavformat/avformat.h): covers, thumbnails, stills, layers of another stream.
_DEFAULT, _NO_VIDEO = 0x1, 0x400 | 0x800 | 0x40000 | 0x80000 | 0x100000
_MAPS = ("depth", "disparity", "infrared", "thermal", "alpha", "mask", "thumbnail")  # words in a stream's title [ours]
_DEEP_GREY = ("gray9", "gray1", "grayf", "b16g")  # pixel formats of depth maps where another stream has colours [ours]
_UNKNOWN_CODEC = "its images are coded in a way that this FFmpeg does not know; convert it to MP4 (H.264)"


def choose_stream(container: Any) -> tuple[Any, str]:
    """The stream of a container (PyAV's) to read, and what to say about others that might have been meant.

    It is the default one of those that show moving images, else the first; covers, thumbnails and stills never, depth
    and other maps where there is anything else.

    Raises:
        ValueError: There is none; the message says what is there.
    """
    known = [one for one in container.streams.video if one.codec_context is not None]
    moving = [one for one in known if not _flags(one) & _NO_VIDEO]
    longer = [one for one in moving if one.frames != 1]
    plain = [one for one in longer or moving if not _is_map(one)]
    if any(not _is_deep_grey(one) for one in plain):
        plain = [one for one in plain if not _is_deep_grey(one)]
    found = plain or longer or moving
    if not found:  # a sound file; its cover is no video
        kinds = ", ".join(sorted({str(one.type) for one in container.streams})) or "nothing"
        what = f"it has no moving pictures, only {kinds}" if known or not container.streams.video else _UNKNOWN_CODEC
        raise ValueError(what)
    marked = [one for one in found if _flags(one) & _DEFAULT]
    stream = (marked or found)[0]
    if len(found) == 1:
        return stream, ""
    rest = ", ".join(_description(one) for one in found if one is not stream)
    why = "the default one" if marked else "the first"
    return stream, f"has {len(found)} video streams: {_description(stream)}, {why}, is read, and not {rest}"


def _flags(stream: Any) -> int:
    """The bits of a stream's disposition; PyAV has had several kinds of enumeration for them."""
    return int(getattr(stream.disposition, "value", stream.disposition))


def _description(stream: Any) -> str:
    """A stream for messages."""
    title = stream.metadata.get("title")
    return f"stream {stream.index} ({stream.width} x {stream.height}{f', {title}' if title else ''})"


def _is_map(stream: Any) -> bool:
    """Whether a stream's title says that it is no image of what was filmed."""
    said = " ".join(stream.metadata.get(key, "") for key in ("title", "handler_name", "name")).lower()
    return any(word in said for word in _MAPS)


def _is_deep_grey(stream: Any) -> bool:
    return str(stream.codec_context.pix_fmt or "").startswith(_DEEP_GREY)
