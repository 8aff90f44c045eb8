"""Small images and videos for the miniature releases: a rendered face on a plain wall, at a place that is known."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from auformer.synthetic import AU_NAMES, Identity, Renderer

SIZE = (160, 120)  # width and height of an image
FACES = 3  # different faces; others repeat them
_FIRST = 30_001  # identity number of the first
_SHARE = 0.8  # side of the face's square in heights of the image

# codec of a video by the suffix of its file
CODECS = {".avi": "mpeg4", ".mp4": "libx264", ".mkv": "ffv1"}
_FORMATS = {"ffv1": "bgr0", "mjpeg": "yuvj420p"}
_FINE = {"qmin": "1", "qmax": "2"}
_OPTIONS = {"mpeg4": _FINE, "mjpeg": _FINE, "libx264": {"crf": "12", "preset": "ultrafast"}}


@cache
def _face(number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A frontal face that fills its image, and its five points; read-only."""
    renderer = Renderer(side)
    drawn = renderer.render(renderer.bake(Identity.sample(_FIRST + number)), np.zeros(len(AU_NAMES)), points=True)
    assert drawn.points is not None
    drawn.image.flags.writeable = drawn.points.flags.writeable = False
    return drawn.image, drawn.points


def _place(subject: int, frame: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Face, points on it, and where its upper left corner is in the image."""
    width, height = size
    side = int(_SHARE * min(width, height)) // 4 * 4
    image, points = _face(subject % FACES, side)
    x, y = (width - side) // 2 + (3 * frame) % 13 - 6, (height - side) // 2 + (5 * frame) % 7 - 3
    return image, points, (max(0, min(x, width - side)), max(0, min(y, height - side)))


def face_image(subject: int, frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A rendered face on a plain wall, which the default detector finds."""
    face, _, (x, y) = _place(subject, frame, size)
    image = np.full((size[1], size[0], 3), 90 + 2 * (frame % 20), np.uint8)
    image[y : y + face.shape[0], x : x + face.shape[1]] = face
    return image


def face_points(subject: int, frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The five points of `face_image`: (5, 2) pupils, nose tip, mouth corners, image left first, in pixels."""
    _, points, corner = _place(subject, frame, size)
    return np.asarray(points + np.array(corner), dtype=np.float64)


def plain_image(frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A wall without a face, (H, W, 3) uint8 RGB."""
    return np.full((size[1], size[0], 3), 90 + 2 * (frame % 20), np.uint8)


def sample_image(subject: int, frame: int, faces: bool, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A face where it matters, else a wall."""
    return face_image(subject, frame, size) if faces else plain_image(frame, size)


def write_video(path: Path, images: Sequence[np.ndarray], *, fps: int = 20, codec: str | None = None) -> Path:
    """Write a video; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or CODECS[path.suffix.lower()]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=dict(_OPTIONS.get(codec, {})))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = _FORMATS.get(codec, "yuv420p")
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return path
