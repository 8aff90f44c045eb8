"""Frames of a video by position, decoded once and in presentation order; only those that are wanted become images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_OUTPUT_CORRUPT = 1 << 3  # AV_CODEC_FLAG_OUTPUT_CORRUPT of libavcodec/avcodec.h; PyAV 13 and 14 name it differently
_ERRORS = (av.error.FFmpegError, OSError, ValueError)


def read_frames(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None, str, str]]:
    """Decode a video up to the last wanted position; they are in presentation order, from 0, rising, each once.

    Yields:
        (position, image, status, message) for each wanted position, rising: (H, W, 3) uint8 RGB with `ok`; None with
        `unreadable` where the video is damaged or ends earlier than its header says, or with `no_image` where it has no
        such frame.
    """
    left = list(reversed(wanted))
    decoder = _Decoder(path)
    for position, frame in decoder.frames():
        while left and left[-1] < position:
            yield left.pop(), None, *decoder.reason(position)
        if left and left[-1] == position:
            yield left.pop(), decoder.image(frame), "ok", ""
        if not left:  # leave before the next frame is decoded
            return
    while left:
        position = left.pop()
        yield position, None, *decoder.reason(position)


class _Decoder:
    """The frames of one video in order, and afterwards why there are no more.

    Positions are counted. Frames may be lost in damage, and then those behind it would be shifted. So behind damage the
    time stamps say the position, from the next whole key frame on; but only if they have agreed with the count so far
    and the file still holds as many packets as its header says (an AVI file numbers what it finds). If not, nothing
    more is handed out. Damage that the decoder silently ignores shows only at the end, by frames that are missing
    there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0  # position of the next frame
        self.promised = 0  # frames by the header, 0 where it does not say (Matroska)
        self.expected = 0  # the same, or where it does not say, by its duration
        self.damage = ""
        self._step = self._start = 0.0  # time stamps per frame, and that of the first
        self._timed = True  # whether time stamps agree with the count so far
        self._waiting = False  # for a key frame
        self._reformatter = VideoReformatter()

    def frames(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode until the end, or until positions cannot be trusted: (position, frame), rising."""
        try:
            with av.open(str(self.path), metadata_errors="replace") as container:
                if not container.streams.video:
                    self.damage = "it holds no video"
                    return
                stream = container.streams.video[0]
                self.promised = stream.frames
                seconds = (container.duration or 0) / av.time_base
                self.expected = self.promised or round(seconds * float(stream.average_rate or 0))
                if stream.average_rate and stream.time_base:
                    self._step = float(1 / (stream.average_rate * stream.time_base))
                codec = stream.codec_context
                codec.thread_count = 1  # workers share the cores among them
                codec.flags |= _OUTPUT_CORRUPT  # a frame that is left out would shift those behind it
                for packet in container.demux(stream):
                    yield from self._placed(codec, packet)
                    if packet.is_corrupt or (self.damage and not self._timed):
                        return
        except _ERRORS as error:
            self._hurt(f"it cannot be read{f' beyond frame {self.count - 1}' if self.count else ''} ({error})")

    def _placed(self, codec: av.VideoCodecContext, packet: av.Packet) -> Iterator[tuple[int, av.VideoFrame]]:
        """The whole frames that come out of the decoder with a packet, with their positions."""
        if packet.is_corrupt:  # by the end of the file; decoders do not all notice
            self._hurt(f"it is damaged at frame {self.count}")
        try:
            decoded = codec.decode(None if packet.is_corrupt else packet)
        except av.error.InvalidDataError:
            self._hurt(f"it is damaged at frame {self.count}")
            return
        for frame in decoded:
            if frame.is_corrupt:
                self._hurt(f"it is damaged at frame {self.count}")
            elif not self._waiting or frame.key_frame:
                position = self._position(frame)
                if position >= self.count:
                    self._waiting, self.count = False, position + 1
                    yield position, frame

    def _position(self, frame: av.VideoFrame) -> int:
        """Position of a frame: counted, or by its time stamp behind damage."""
        if self.count == 0 and not self.damage:
            self._start = float(frame.pts or 0)
        timed = -1 if frame.pts is None or not self._step else round((frame.pts - self._start) / self._step)
        if self.damage:
            return timed
        self._timed &= timed == self.count
        return self.count

    def _hurt(self, message: str) -> None:
        """Note the first damage, and wait for a key frame."""
        if not self.damage:
            self.damage = message
            self._timed &= self.count > 0 and 0 < self.promised == _count_packets(self.path)
        self._waiting = True

    def image(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame as (H, W, 3) uint8 RGB, turned as the video says."""
        image = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        return turned(image, getattr(frame, "rotation", 0))  # PyAV knows it since 14

    def reason(self, position: int) -> tuple[str, str]:
        """Status and message of a position that was not reached."""
        if self.damage:
            return "unreadable", f"{self.path.name}: {self.damage}"
        if position < self.expected:
            text = f"only {self.count} of {self.expected} frames are there, and lost ones may lie before the end"
            return "unreadable", f"{self.path.name}: {text}; copy it again"
        return "no_image", f"{self.path.name}: it has {self.count} frames"


def _count_packets(path: Path) -> int:
    """How many packets the video in a file has, counted; -1 where it cannot be read to its end."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    except _ERRORS:
        return -1


def turned(image: np.ndarray, rotation: float) -> np.ndarray:
    """A frame (H, W, 3) turned counter-clockwise by a multiple of 90 degrees, as of telephones held upright."""
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
