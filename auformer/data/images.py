"""Images on disk: uint8 RGB in, uint8 RGB out, whatever the file holds."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from auformer.files import atomic_path

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_JPEG_SCAN, _JPEG_END, _PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND\xaeB`\x82"


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file, JPEG, PNG, WebP, TIFF, BMP or another format that OpenCV reads.

    Grey becomes RGB, 16 bits become 8 (65,535 is white), palettes are resolved, alpha is dropped, and the image is
    turned the way its EXIF orientation says. Paths may hold any characters.

    Returns:
        uint8 RGB, `(H, W, 3)`, contiguous.

    Raises:
        ValueError: There is no such file, it cannot be read, or it is no image or a damaged one.
    """
    name = os.fspath(path)
    try:
        data = np.fromfile(name, dtype=np.uint8)  # cv2.imread cannot open every path on Windows
    except FileNotFoundError as error:
        raise ValueError(f"Expected an image at {name}, but there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected an image at {name}, but it cannot be read ({error})") from error
    return decode_image(data.tobytes(), name)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """As `read_image`, of a file's content in memory; `name` is what messages call it.

    Raises:
        ValueError: It is no image or a damaged one.
    """
    if _is_truncated(data):
        raise ValueError(
            f"Expected a complete image at {name}, but the file ends early ({len(data):,} bytes); copy it again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded ({error.err})") from error
    if image is None:
        why = "it is damaged or no image; copy or convert it again"
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded: {why}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end, which older decoders fill with grey in silence."""
    if data.startswith(_JPEG):  # a thumbnail has an end of its own, so look behind the last scan
        return data.find(_JPEG_END, data.rfind(_JPEG_SCAN) + 1) < 0
    if data.startswith(_PNG):
        return data.rfind(_PNG_END) < 0
    return not data


def write_image(path: str | os.PathLike[str], image: np.ndarray, *, quality: int = 95) -> None:
    """Write uint8 RGB `(H, W, 3)` as an image file, atomically, in the format of the suffix (`.png`, `.jpg`, ...).

    `quality` of JPEG and WebP is 1 to 100 [ours].

    Raises:
        ValueError: The image has another form, or OpenCV does not know the suffix.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"Expected `image` to be uint8 (H, W, 3), but got {image.dtype} {image.shape}")
    suffix = Path(path).suffix.lower()
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options = {".jpg": jpeg, ".jpeg": jpeg, ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality]}
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options.get(suffix, []))
    except cv2.error as error:
        raise ValueError(
            f"Expected `path` to end in an image suffix such as .png or .jpg, but got {os.fspath(path)}"
        ) from error
    if not done:
        raise ValueError(
            f"Expected {os.fspath(path)} to be a format that can be written, but OpenCV could not encode it"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())  # `tofile` leaves a full disk unnoticed
