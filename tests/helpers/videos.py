"""Small videos with rendered faces at known places, written once per test session where they can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from auformer.predict.sources import Source
from tests.helpers.photos import face_image

FACE = 96  # pixels of a face's square
SIZE = (160, 128)  # width and height


def scene(*places: tuple[int, int, int], size: tuple[int, int] = SIZE, wall: int = 90) -> np.ndarray:
    """A wall with faces: `places` are identity, x and y of the upper left corner; later ones are in front."""
    width, height = size
    wide = np.full((height + 2 * FACE, width + 2 * FACE, 3), wall, np.uint8)
    for identity, x, y in places:
        if -FACE < x < width and -FACE < y < height:
            wide[y + FACE : y + 2 * FACE, x + FACE : x + 2 * FACE] = face_image(identity, FACE)
    return wide[FACE:-FACE, FACE:-FACE].copy()


def moving(frames: int, *, without: Sequence[int] = ()) -> list[np.ndarray]:
    """One face that moves 2 pixels to the right per frame; a bare wall in the frames of `without`."""
    return [scene() if k in without else scene((30_001, 8 + 2 * k % 50, 16)) for k in range(frames)]


def write_times(
    path: Path, images: Sequence[np.ndarray], times_ms: Sequence[int], codec: str = "libx264", pix_fmt: str = "yuv420p"
) -> Path:
    """A video whose frames have their own times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_slots(
    path: Path, images: Sequence[np.ndarray], slots: Sequence[int], codec: str = "mpeg4", **options: str
) -> Path:
    """A video of 25 frames a second in which some frames are missing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image, slot in zip(images, slots, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = slot
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A WAV file of a tenth of a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def photo_source(name: str = "a.jpg") -> Source:
    """A photo that need not be there."""
    return Source(f"in/{name}", name, "photo")
