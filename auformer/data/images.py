"""Images on disk: uint8 RGB in, uint8 RGB out, upright, whatever the file holds."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from auformer.errors import MissingExtraError, require
from auformer.files import atomic_path

#: Suffixes of the formats that `read_image` reads; GIF counts among the videos.
IMAGES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib"}
    | {".pgm", ".ppm", ".pnm", ".heic", ".heif", ".hif", ".avif"}
)
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)  # in a JPEG scan: no stuffed zero, no restart
_SIGNATURES = {
    _JPEG: "JPEG", _PNG: "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"8BPS": "Photoshop",
    b"%PDF": "PDF", b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
}  # fmt: skip
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})  # brands, ISO/IEC 23008-12
_AVIF = frozenset({b"avif", b"avis"})
_TAGS = (b"Exif", b"eXIf", b"EXIF", b"xmp", b"Raw profile type")  # without one of them a file says no orientation
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_SMALL_FILE = 100_000  # bytes of a file that is decoded as a whole in any case [ours]
_ORIENTATION = 0x0112  # of EXIF and TIFF


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file: JPEG, PNG, WebP, TIFF, BMP, AVIF, HEIC (with the extra `heic`) or another that OpenCV reads.

    Grey becomes RGB, 16 bits become 8 (65,535 is white), palettes and inks are resolved, alpha is dropped, of an
    animation the first image is taken. The image is turned and mirrored as its EXIF or XMP data or its container says.
    Paths may hold any characters.

    Returns:
        uint8 RGB, `(H, W, 3)`, contiguous.

    Raises:
        ValueError: There is no such file, it cannot be read, it is no image or a damaged one, or its format needs a
            package that is not installed.
    """
    name = os.fspath(path)
    return decode_image(_content(name), name)


def read_reduced(path: str | os.PathLike[str], enough: int) -> tuple[np.ndarray, int]:
    """As `read_image`, smaller where that is cheaper: JPEG gives a half, a quarter or an eighth while it is decoded.

    Args:
        path: The file.
        enough: Pixels that the longer side keeps at least.

    Returns:
        The image, and by which factor it is smaller than the whole, whose sides that factor divides; 1 of other files.

    Raises:
        ValueError: As `read_image`.
    """
    name = os.fspath(path)
    data = _content(name)
    factor = _reduction(data, enough)
    return decode_image(data, name, reduced=factor), factor


def _content(name: str) -> bytes:
    """What a file holds."""
    try:
        return np.fromfile(name, dtype=np.uint8).tobytes()  # cv2.imread cannot open every path on Windows
    except FileNotFoundError as error:
        raise ValueError(f"Expected an image at {name}, but there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected an image at {name}, but it cannot be read ({error})") from error


def _reduction(data: bytes, enough: int) -> int:
    """The largest factor by which an image may be made smaller while it is decoded."""
    if len(data) < _SMALL_FILE or not data.startswith(_JPEG):
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1
    fits = (factor for factor in _REDUCED if max(size) >= enough * factor and not any(side % factor for side in size))
    return max(fits, default=1)


def decode_image(data: bytes, name: str, *, reduced: int = 1) -> np.ndarray:
    """As `read_image`, of a file's content in memory; `name` is what messages call it.

    `reduced`: smaller by 2, 4 or 8, of JPEG.

    Raises:
        ValueError: As `read_image`.
    """
    if _is_truncated(data):
        raise ValueError(
            f"Expected a complete image at {name}, but the file ends early ({len(data):,} bytes); copy it again"
        )
    kind = _kind(data)
    if kind == "HEIC":
        return _decode_heic(data, name)
    if kind == "AVIF":
        return _decode_pillow(data, name, kind)
    header = _header(data, kind)
    if header is not None and header.mode == "LAB":  # OpenCV takes its numbers for colours
        return _decode_pillow(data, name, kind)
    flags = _REDUCED.get(reduced, cv2.IMREAD_COLOR)
    flags = flags if header is None else flags | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded: {_remedy(kind)}")
    turn = 1 if header is None or kind == "TIFF" else header.getexif().get(_ORIENTATION, 1)  # OpenCV turns TIFF itself
    return _turned(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), turn)


def image_kind(path: str | os.PathLike[str]) -> str:
    """What image a file is by its first bytes, such as `JPEG` or `HEIC`; empty where it is none that is known.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        kind = _kind(file.read(64))
    return "" if kind == "video" else kind


def _kind(data: bytes) -> str:
    """The format by the first bytes; `video` of MP4 and its kin, empty where it is unknown."""
    if data[4:8] == b"ftyp":
        size = min(max(int.from_bytes(data[:4], "big"), 12), 64)
        brands = {data[8:12]} | {data[at : at + 4] for at in range(16, size, 4)}
        if data[8:12] in _AVIF or (data[8:12] in _HEIC and brands & _AVIF):
            return "AVIF"
        return "HEIC" if data[8:12] in _HEIC else "video"
    if data[:4] == b"RIFF":
        return "WebP" if data[8:12] == b"WEBP" else "video" if data[8:12] == b"AVI " else ""
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), "")


def _remedy(kind: str) -> str:
    """Why an image cannot be decoded, and what to do."""
    if kind == "video":
        return "this is a video; give it the suffix of one, such as .mp4"
    if kind in ("Photoshop", "PDF", "JPEG XL"):
        return f"this is {kind}; save it as PNG or JPEG"
    what = f"this is {kind}, and damaged" if kind else "it is damaged or no image"
    return f"{what}; copy or convert it again"


def _header(data: bytes, kind: str) -> Image.Image | None:
    """A file's header where it may say an orientation, or colours that OpenCV does not know; nothing is decoded."""
    if kind != "TIFF" and not any(tag in data for tag in _TAGS):
        return None
    try:
        with warnings.catch_warnings():  # 100 megapixels are no attack, damage is found by the decoder
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # OpenCV, which turns by EXIF, decides


def _decode_pillow(data: bytes, name: str, kind: str) -> np.ndarray:
    """The first image of a file by Pillow."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            turn = image.getexif().get(_ORIENTATION, 1)
            return _turned(np.asarray(image.convert("RGB")), turn)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = _remedy(kind) if "identify" not in str(error) else f"this is {kind}, which this Pillow was built without"
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded: {why}") from error


def _decode_heic(data: bytes, name: str) -> np.ndarray:
    """The primary image of a HEIC file; its container's turns are made by the library."""
    try:
        heif = require("pillow_heif", "heic")
    except MissingExtraError as error:
        raise ValueError(
            f"Expected an image at {name} that can be decoded, but this is HEIC, as telephones write it. {error}; or "
            "convert it to JPEG"
        ) from error
    try:
        image = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True).to_pillow()
        return np.ascontiguousarray(np.asarray(image.convert("RGB")))
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError) as error:
        raise ValueError(f"Expected an image at {name}, but it cannot be decoded: {_remedy('HEIC')}") from error


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, 3) as its EXIF orientation (1 to 8, EXIF 2.32, 4.6.4) means it; another number means 1."""
    if orientation not in range(2, 9):
        return np.ascontiguousarray(image)
    if orientation > 4:
        image = image.swapaxes(0, 1)
    down, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(image[:: -1 if down else 1, :: -1 if right else 1])


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end, which older decoders fill with grey in silence."""
    if data.startswith(_JPEG):
        return not _jpeg_ends(data)
    if data.startswith(_PNG):
        return data.rfind(_PNG_END) < 0
    return not data


def _jpeg_ends(data: bytes) -> bool:
    """Whether the segments of a JPEG file lead to its end; thumbnails in them, and what follows the end, do not count.

    A file with bytes between segments that are no marker is followed no further and believed.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return True
        if data[at + 1] == 0xFF:  # filled up
            at += 1
            continue
        if data[at + 1] == 0xD9:
            return True
        scan = data[at + 1] == 0xDA
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if scan:
            found = _MARKER.search(data, at)
            if found is None:
                return False
            at = found.start()
    return data[at : at + 2] == b"\xff\xd9"


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
