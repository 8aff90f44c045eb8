"""Frames of a video by their position, decoded once and in order; only those that are asked for become pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

_ERRORS = (av.error.FFmpegError, OSError, ValueError)


def read_frames(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None, str, str]]:
    """Decode a video up to the last frame that is wanted.

    Positions can be trusted up to the first sign of damage only, so nothing behind it is handed out.

    Args:
        path: a video file.
        wanted: positions in decoding order, counted from 0, rising, each once.

    Yields:
        (position, picture, status, message) for each wanted position, rising: (H, W, 3) uint8 RGB with `ok`; None with `unreadable`
        where the video is damaged or ends earlier than its header says, or with `no_image` where it has no such frame.
    """
    left = list(reversed(wanted))
    decoder = _Decoder(path)
    for position, frame in enumerate(decoder.frames()):
        if not left:
            return
        if position == left[-1]:
            yield left.pop(), decoder.picture(frame), "ok", ""
        if not left:  # leave before the next frame is decoded
            return
    while left:
        position = left.pop()
        yield position, None, *decoder.reason(position)


class _Decoder:
    """The frames of one video in order, and afterwards why there are no more.

    Args:
        path: a video file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0  # frames decoded
        self.promised = 0  # frames by the header, 0 where it does not say
        self.damage = ""
        self._reformatter = VideoReformatter()

    def frames(self) -> Iterator[av.VideoFrame]:
        """Decode until the end, or the first damage."""
        try:
            with av.open(str(self.path), metadata_errors="replace") as container:
                if not container.streams.video:
                    self.damage = "it holds no video"
                    return
                stream = container.streams.video[0]
                self.promised = stream.frames
                stream.codec_context.thread_count = 1  # workers share the cores among them
                stream.codec_context.flags |= Flags.output_corrupt  # a frame that is left out would shift those behind it
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        self.damage = f"it is damaged at frame {self.count}"
                        return
                    yield frame
                    self.count += 1
        except _ERRORS as error:
            self.damage = f"it cannot be decoded beyond frame {self.count - 1} ({error})" if self.count else f"it cannot be read ({error})"

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame as (H, W, 3) uint8 RGB, turned as the video says."""
        image = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees against the clock; PyAV knows it since 14
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def reason(self, position: int) -> tuple[str, str]:
        """Status and message of a position that was not reached."""
        if self.damage:
            return "unreadable", f"{self.path.name}: {self.damage}"
        if position < self.promised:
            return "unreadable", f"{self.path.name}: it ends after {self.count} of {self.promised} frames; copy it again"
        return "no_image", f"{self.path.name}: it has {self.count} frames"
