"""Videos written through PyAV (FFmpeg): pictures with their own times, and pieces put together without being coded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from auformer.files import atomic_path

ENCODERS = ("libx264", "h264", "mpeg4")  # the first that this FFmpeg has; the last one is MPEG-4 Part 2, which browsers do not play
_OPTIONS = {"libx264": {"crf": "20", "preset": "veryfast"}, "h264": {}, "mpeg4": {"qscale": "3"}}
_BASE = Fraction(1, 1000)  # time base: milliseconds, as Matroska has it; MPEG-4 allows no finer than 1/65535 [ours]
_ONLY_FRAME = 40  # milliseconds that the only frame of a video is shown [ours]


def find_encoder() -> str:
    """The best encoder of this FFmpeg: H.264 where there is one.

    Raises:
        ValueError: there is none.
    """
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
            return name
        except (av.codec.codec.UnknownCodecError, ValueError):
            continue
    raise ValueError(f"Expected an FFmpeg with one of the encoders {', '.join(ENCODERS)}, but this one has none: leave out --annotate.")


class VideoWriter:
    """A video file of pictures with their own times; it takes its name when it is complete.

    No frame is coded from later ones (no B-frames), so that packets come in the order of their showing and files can be joined.

    Args:
        path: `.mkv` or `.mp4`; an existing one is replaced.
        encoder: as `find_encoder` gives it.
        shape: (height, width), both even, to which all pictures are fitted; the first picture's where not given.

    Attributes:
        shape: (height, width) of the video; None before the first picture.
    """

    def __init__(self, path: Path, encoder: str, shape: tuple[int, int] | None = None) -> None:
        self.path, self.encoder, self.shape = path, encoder, shape
        self._temporary = path.with_name(f".{path.stem}.part{path.suffix}")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def add(self, image: np.ndarray, time_s: float) -> None:
        """Append a picture (H, W, 3) uint8 RGB, both sides even, shown from a time in seconds on."""
        self.shape = self.shape or (image.shape[0], image.shape[1])
        if self._container is None:
            self._container = av.open(str(self._temporary), "w")
            self._stream = self._container.add_stream(self.encoder, rate=Fraction(25), options=dict(_OPTIONS[self.encoder]))
            self._stream.height, self._stream.width, self._stream.pix_fmt = *self.shape, "yuv420p"
            self._stream.codec_context.time_base, self._stream.codec_context.max_b_frames = _BASE, 0
        if image.shape[:2] != self.shape:
            image = cv2.resize(image, self.shape[::-1], interpolation=cv2.INTER_AREA)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._last = max(self._last + 1, round(time_s / _BASE))
        picture.pts, picture.time_base = self._last, _BASE
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Write the end and give the file its name; without a picture there is none."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            self._temporary.replace(self.path)

    def abandon(self) -> None:
        """Close and remove what is not complete."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._temporary.unlink(missing_ok=True)


def join_videos(pieces: Sequence[Path], path: Path) -> None:
    """Put videos one after the other into one file, packet by packet.

    Args:
        pieces: files of `VideoWriter`, all with one encoder and shape, in the order of their times; at least one.
        path: the new file, whose first frame is shown from time 0 on; an existing one is replaced.
    """
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as joined:
        with av.open(str(pieces[0])) as first:
            stream = joined.add_stream_from_template(first.streams.video[0])
        held, length, start = None, _ONLY_FRAME, 0
        for packet in _packets(pieces):
            if held is None:
                start = packet.pts
                packet.pts = packet.dts = 0
            else:  # one packet is held back, because its length is known when the next one comes
                packet.pts = packet.dts = max(held.pts + 1, packet.pts - start)
                held.duration = length = packet.pts - held.pts
                joined.mux_one(held)
            packet.stream, held = stream, packet
        if held is not None:
            held.duration = length
            joined.mux_one(held)


def shape_of(path: Path) -> tuple[int, int]:
    """(height, width) of a video file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.height, stream.width


def _packets(pieces: Sequence[Path]) -> Iterator[Any]:
    """Coded frames of several files, with times in milliseconds."""
    for piece in pieces:
        with av.open(str(piece)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.dts is not None:  # the last one is empty
                    packet.pts = packet.dts = round((packet.pts or 0) * packet.time_base / _BASE)
                    packet.time_base = _BASE
                    yield packet
