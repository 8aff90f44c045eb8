"""Writes the frames of one rendered video as MP4 (H.264), through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

# Nearly without loss, so that camera noise and faint AUs stay; one thread, so that the bytes do not depend on the
# machine's cores; without macroblock trees, with which libx264 now and then codes the same frames otherwise
# (`findings/x264_macroblock_tree.sh`); a key frame every 25, so that any frame is soon found. [ours]
OPTIONS = {"crf": "14", "preset": "veryfast", "threads": "1", "g": "25", "x264-params": "mbtree=0"}
TICKS = 90_000  # a second in the file's time base, that of MPEG


class VideoFile:
    """A video file that is being written; a context manager.

    Args:
        path: The file.
        size: Pixels per side, even.
        fps: Frames a second.

    Raises:
        ValueError: This FFmpeg cannot write H.264.
    """

    def __init__(self, path: Path, size: int, fps: float) -> None:
        self._step = TICKS / fps
        self._count = 0
        self._container: Any = av.open(str(path), "w")
        rate = Fraction(fps).limit_denominator(1001)
        try:
            self._stream = self._container.add_stream("libx264", rate=rate, options=OPTIONS)
        except (ValueError, av.error.FFmpegError) as error:
            self._container.close()
            path.unlink(missing_ok=True)
            raise ValueError(
                "Expected an FFmpeg with the encoder libx264, but this one has none: install PyAV from its wheels"
            ) from error
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def add(self, image: np.ndarray) -> None:
        """Append an RGB image `(size, size, 3)` uint8."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = round(self._count * self._step), Fraction(1, TICKS)
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
