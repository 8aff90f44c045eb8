"""Small valid videos of many kinds, made by PyAV: which frame it is stands in each image, and when, is known."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition

SIZE = (96, 64)  # width and height of what is seen, in square pixels
BITS = 6  # of the number in each image, one block per bit
FRAMES = 12
# (a, b, c, d) of the display matrix (FFmpeg, libavutil/display.h): a point x, y is shown at a x + c y, b x + d y.
TURNS = (
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0),
    (0, -1, -1, 0),
)  # fmt: skip


@cache
def seen(number: int) -> np.ndarray:
    """What frame `number` shows, (64, 96, 3) uint8 RGB: its bits above, red on the left and blue on the right below."""
    image = np.full((SIZE[1], SIZE[0], 3), 30, np.uint8)
    side = SIZE[0] // BITS
    for bit in range(BITS):
        image[: SIZE[1] // 2, bit * side : (bit + 1) * side] = 225 if number >> bit & 1 else 30
    image[SIZE[1] // 2 :, : SIZE[0] // 2] = (200, 40, 40)
    image[SIZE[1] // 2 :, SIZE[0] // 2 :] = (40, 40, 200)
    image.flags.writeable = False
    return image


def number_in(image: np.ndarray) -> int | None:
    """The number that an image shows; None where it does not stand upright or has not its colours."""
    height, width = image.shape[:2]
    left, right = (image[3 * height // 4, x].astype(int) for x in (width // 4, 3 * width // 4))
    if left[0] - left[2] < 80 or right[2] - right[0] < 80:
        return None
    return sum(1 << bit for bit in range(BITS) if image[height // 4, int((bit + 0.5) * width / BITS)].mean() > 128)


@dataclass(frozen=True)
class Film:
    """What one video is made of; `slots` are the frame times at which there are frames, in frame lengths.

    Attributes:
        order: Streams before and beside the one that is meant: `cover`, `attached`, `depth`, `default` (the second),
            `sound`.
        joined: How often the file stands in a row.
        parts: Of these, how many FFmpeg reads; that the others are missing is to be said.
        cut: So many frames at the beginning are hidden by an edit list.
    """

    suffix: str
    codec: str
    bframes: int = 0
    rate: Fraction = Fraction(25)
    slots: tuple[int, ...] = tuple(range(FRAMES))
    pixel: Fraction = Fraction(1)
    turn: int = 0
    order: str = ""
    joined: int = 1
    parts: int = 0
    cut: int = 0

    @property
    def name(self) -> str:
        """What tests call it."""
        said = [self.suffix.strip("."), self.codec, f"b{self.bframes}", f"{float(self.rate):.5g}"]
        said += [f"sar{float(self.pixel):.3g}"] if self.pixel != 1 else []
        said += [f"turn{self.turn}"] if self.turn else []
        said += ["gap"] if self.slots != tuple(range(FRAMES)) else []
        said += [self.order] if self.order else []
        said += [f"joined{self.joined}"] if self.joined > 1 else []
        return "-".join([*said, f"cut{self.cut}"] if self.cut else said)

    @property
    def numbers(self) -> list[int]:
        """The numbers that are seen, in order."""
        return list(range(self.cut, len(self.slots))) * (self.parts or self.joined)

    @property
    def times(self) -> list[float]:
        """When they are seen, in seconds from the first."""
        rate = 25 if self.suffix == ".mjpeg" else self.rate  # it says none
        part = [float((slot - self.slots[self.cut]) / rate) for slot in self.slots[self.cut :]]
        length = part[-1] + float(1 / rate)
        return [length * k + time for k in range(self.parts or self.joined) for time in part]

    @property
    def untold(self) -> int:
        """How many of the last times the file does not say: AVI has no other than those at which frames are decoded."""
        return self.bframes if self.suffix == ".avi" and self.slots == VARIABLE else 0

    @property
    def said(self) -> str:
        """What the reader has to say about it; empty where there is nothing."""
        if self.parts and self.parts < self.joined:
            return f"{self.joined} videos that were joined byte by byte"
        return "says no frame rate" if self.suffix == ".mjpeg" else ""


PIXELS = {
    "mjpeg": "yuvj420p", "ffv1": "bgr0", "huffyuv": "rgb24", "rawvideo": "bgr24", "png": "rgb24", "gif": "rgb8",
    "prores_ks": "yuv422p10le", "dnxhd": "yuv422p", "qtrle": "rgb24",
}  # fmt: skip
QUICK = {
    "libx264": {"preset": "ultrafast", "crf": "12"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"}, "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}  # fmt: skip


def write_film(film: Film, folder: Path) -> Path:
    """Write a film; its sound, where it has any, lasts a second longer than its images."""
    path = folder / f"film{film.suffix}"
    forms = {".m4v": "m4v", ".m2v": "mpeg2video"}
    with av.open(str(path), "w", format=forms.get(film.suffix)) as container:
        cover = _cover(container) if film.order == "cover" else None
        if film.order == "attached":
            container.add_attachment("cover.jpg", "image/jpeg", cv2.imencode(".jpg", seen(63))[1].tobytes())
        other = _other(container, film) if film.order in ("depth", "default") else None
        sound = container.add_stream(_SOUND[film.suffix], rate=48000, layout="mono") if film.order == "sound" else None
        if sound is not None:
            sound.codec_context.bit_rate = 64_000
        stream = _main(container, film)
        if cover is not None:
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux([*cover.encode(frame), *cover.encode(None)])
        for number, slot in enumerate(film.slots):
            if other is not None:
                _put(container, other, np.full((SIZE[1], SIZE[0], 3), 60, np.uint8), slot, film)
            _put(container, stream, _stored(seen(number), film), slot, film)
        for one in (other, stream):
            container.mux(one.encode(None) if one is not None else [])
        if sound is not None:
            _silence(container, sound, float((film.slots[-1] + 1) / film.rate) + 1)
    if film.cut:
        _cut(path, film)
    if film.turn:
        _turn(path, film)
    if film.joined > 1:
        path.write_bytes(path.read_bytes() * film.joined)
    return path


def _main(container, film):
    """The stream that is meant."""
    options = {**QUICK.get(film.codec, {}), **({"bf": str(film.bframes)} if film.codec == "libx264" else {})}
    stream = container.add_stream(film.codec, rate=film.rate, options=options)
    stream.height, stream.width = _stored(seen(0), film).shape[:2]
    stream.pix_fmt = PIXELS.get(film.codec, "yuv420p")
    stream.codec_context.gop_size = 6
    if film.bframes:
        stream.codec_context.max_b_frames = film.bframes
    if film.pixel != 1:
        stream.codec_context.sample_aspect_ratio = film.pixel
    if film.order in ("depth", "default"):
        stream.disposition = Disposition.default
    return stream


_SOUND = {".mkv": "aac", ".webm": "libopus", ".mp4": "aac", ".mov": "pcm_s16le", ".avi": "pcm_s16le", ".ts": "aac",
          ".wmv": "wmav2", ".flv": "aac", ".mpg": "mp2"}  # fmt: skip


def _put(container, stream, image, slot, film) -> None:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame.pts, frame.time_base = slot, 1 / film.rate
    container.mux(stream.encode(frame))


def _cover(container):
    """A stream for a JPEG image that is attached."""
    stream = container.add_stream("mjpeg", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    return stream


def _other(container, film):
    """A stream before the one that is meant: a depth map (16 bits of grey), or one that is not the default."""
    codec, pixels = ("ffv1", "gray16le") if film.order == "depth" else (film.codec, PIXELS.get(film.codec, "yuv420p"))
    stream = container.add_stream(codec, rate=film.rate, options=QUICK.get(codec, {}))
    (stream.width, stream.height), stream.pix_fmt = SIZE, pixels
    stream.disposition = Disposition.default if film.order == "depth" else Disposition(0)
    return stream


def _silence(container, stream, seconds: float) -> None:
    context = stream.codec_context
    size = context.frame_size or 1024
    for start in range(0, int(seconds * context.sample_rate), size):
        frame = av.AudioFrame(format=context.format.name, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = context.sample_rate, start, Fraction(1, context.sample_rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _stored(image: np.ndarray, film: Film) -> np.ndarray:
    """An image as it is coded: turned back point by point, with pixels that are not square."""
    a, b, c, d = TURNS[film.turn]
    height, width = image.shape[:2] if a else image.shape[1::-1]
    y, x = np.mgrid[:height, :width]
    across, down = a * x + c * y, b * x + d * y
    stored = image[down - down.min(), across - across.min()]
    if film.pixel == 1:
        return np.ascontiguousarray(stored)
    wide, high = (round(width / film.pixel), height) if film.pixel > 1 else (width, round(height * film.pixel))
    return cv2.resize(stored, (wide, high), interpolation=cv2.INTER_AREA)


def _turn(path: Path, film: Film) -> None:
    """Write a display matrix into the header of the last track of an MP4 or QuickTime file."""
    data = path.read_bytes()
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = data.index(plain, data.rindex(b"tkhd"))
    a, b, c, d = TURNS[film.turn]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + matrix + data[place + 36 :])


def _cut(path: Path, film: Film) -> None:
    """Hide the first frames without coding anew: times before 0 make an edit list."""
    whole = path.rename(path.with_name(f"whole{path.suffix}"))
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy, step = target.add_stream_from_template(stream), int(1 / (film.rate * stream.time_base))
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - film.cut * step, packet.dts - film.cut * step
                packet.stream = copy
                target.mux(packet)
    whole.unlink()


GAPS = ((0, 1, 2, 3, 4, 8, 9, 10, 11, 12), (0, 1, 4, 5, 6, 7, 8, 14, 15, 16, 17))
VARIABLE = (0, 1, 2, 4, 5, 9, 10, 11, 17, 18)
RATES = tuple(map(Fraction, (25, 30, 60, "30000/1001", 50)))
_CODECS = {
    ".mp4": (("libx264", 0), ("libx264", 2), ("mpeg4", 0), ("mpeg4", 2), ("libx265", 2), ("mjpeg", 0),
             ("libvpx-vp9", 0)),
    ".mov": (("libx264", 2), ("mpeg4", 0), ("mjpeg", 0), ("prores_ks", 0), ("png", 0), ("qtrle", 0)),
    ".avi": (("libx264", 0), ("libx264", 2), ("mpeg4", 0), ("mpeg4", 2), ("mjpeg", 0), ("huffyuv", 0), ("ffv1", 0),
             ("rawvideo", 0), ("msmpeg4", 0)),
    ".mkv": (("libx264", 0), ("libx264", 2), ("mpeg4", 2), ("ffv1", 0), ("libvpx", 0), ("mjpeg", 0), ("libx265", 2)),
    ".webm": (("libvpx", 0), ("libvpx-vp9", 0)),
    ".ts": (("libx264", 0), ("libx264", 2), ("mpeg2video", 0), ("mpeg2video", 2)),
    ".mpg": (("mpeg2video", 0), ("mpeg2video", 2), ("mpeg1video", 0)),
    ".wmv": (("wmv2", 0), ("msmpeg4", 0)),
    ".flv": (("flv", 0), ("libx264", 0), ("libx264", 2)),
    ".3gp": (("libx264", 0), ("mpeg4", 0)),
    ".nut": (("libx264", 2), ("ffv1", 0)),
    ".h264": (("libx264", 0), ("libx264", 2)),
    ".hevc": (("libx265", 2),),
    ".m4v": (("mpeg4", 0), ("mpeg4", 2)),
    ".m2v": (("mpeg2video", 0), ("mpeg2video", 2)),
    ".mjpeg": (("mjpeg", 0),),
    ".gif": (("gif", 0),),
}  # fmt: skip
JOINED = {
    ".ts": 9,
    ".mpg": 9,
    ".h264": 9,
    ".m2v": 9,
    ".m4v": 9,
    ".avi": 9,
    ".gif": 9,
    ".mjpeg": 9,
    ".mkv": 2,
    ".webm": 2,
    ".mp4": 1,
    ".mov": 1,
    ".3gp": 1,
    ".flv": 1,
    ".wmv": 1,
}  # how many of several that are joined FFmpeg reads
BARE = frozenset({".h264", ".hevc", ".m4v", ".m2v", ".mjpeg"})  # streams without a container and its times
_CONSTANT = BARE | {".mpg"}
_ASPECT = frozenset({".mp4", ".mov", ".mkv", ".ts", ".mpg", ".m2v", ".m4v", ".h264", ".3gp"})
_SAYS_ASPECT = frozenset({"libx264", "libx265", "mpeg4", "mjpeg", "prores_ks", "png", "qtrle"})


def all_films() -> Iterator[Film]:
    """The corpus, in a fixed order."""
    for suffix, codecs in _CODECS.items():
        for place, (codec, bframes) in enumerate(codecs):
            plain = Film(suffix, codec, bframes)
            yield from _by_time(plain, place)
            yield from _by_shape(plain, place)
            yield from _by_streams(plain)


def _by_time(plain: Film, place: int) -> Iterator[Film]:
    """Rates, dropped frames, varying distances, files joined by copying."""
    suffix = plain.suffix
    rates = (Fraction(25), Fraction(50)) if suffix == ".gif" else RATES  # hundredths of a second
    rates = rates if suffix in BARE else rates[: 2 + place % 2]
    yield from (replace(plain, rate=rate) for rate in rates)
    if suffix not in _CONSTANT:
        yield replace(plain, slots=GAPS[0])
        yield replace(plain, slots=GAPS[1], rate=Fraction(50 if suffix == ".gif" else 30))
        yield replace(plain, slots=VARIABLE, rate=Fraction(25 if suffix == ".gif" else 50))
    if suffix in JOINED:
        read = JOINED[suffix]
        yield replace(plain, joined=2, parts=min(read, 2))
        yield replace(plain, joined=3, parts=min(read, 3), rate=Fraction(25 if suffix in (".gif", ".mjpeg") else 30))


def _by_shape(plain: Film, place: int) -> Iterator[Film]:
    """Pixels that are not square, display matrices."""
    if plain.suffix in _ASPECT and plain.codec in _SAYS_ASPECT:
        yield replace(plain, pixel=Fraction(4, 3))
        yield replace(plain, pixel=Fraction(3, 4), rate=Fraction(30))
    if plain.suffix in (".mp4", ".mov", ".3gp"):
        turns = range(1, 8) if place == 1 else (1 + place % 7, 1 + (place + 3) % 7)
        yield from (replace(plain, turn=turn) for turn in turns)


def _by_streams(plain: Film) -> Iterator[Film]:
    """Covers, depth maps, a second stream that is the default one, longer sound; frames hidden by an edit list."""
    suffix, common = plain.suffix, plain.codec in ("libx264", "mpeg4")
    if suffix in (".mp4", ".mov", ".3gp") and common:
        yield replace(plain, cut=4)
    orders = (
        (["cover"] if suffix == ".mp4" and common else [])
        + (["attached"] if suffix == ".mkv" else [])
        + (["depth"] if suffix in (".mkv", ".nut") else [])
    )
    orders += (["default"] if suffix in (".mkv", ".mp4") else []) + (["sound"] if suffix in _SOUND else [])
    yield from (replace(plain, order=order) for order in orders)
