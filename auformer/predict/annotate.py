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
from auformer.predict.types import FacePrediction, ImagePrediction
from auformer.report.style import SERIES, THEMES, au_order

ENCODERS = (
    "libx264",
    "h264",
    "mpeg4",
)  # the first that this FFmpeg has; the last one is MPEG-4 Part 2, which browsers do not play
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
    raise ValueError(
        f"Expected an FFmpeg with one of the encoders {', '.join(ENCODERS)}, but this one has none: leave out --annotate."
    )


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
            self._stream = self._container.add_stream(
                self.encoder, rate=Fraction(25), options=dict(_OPTIONS[self.encoder])
            )
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


_LINE = 18  # pixels per AU in the panel where there is room [ours]
_PANEL = 230  # pixels of the panel's width for lines of that height [ours]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST = 360  # pixels of the canvas' height, so that letters stay legible beside tiny pictures [ours]


def _rgb(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as red, green, blue."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def draw(image: ImagePrediction, au_names: Sequence[str], thresholds: np.ndarray, *, notice: str = "") -> np.ndarray:
    """Draw what was found into a picture that was kept.

    Args:
        image: a prediction whose `image` is there.
        au_names: the N AUs of its probabilities.
        thresholds: (N,) from which probability on each counts as active.
        notice: one short line at the bottom, such as what the network was trained on.

    Returns:
        (H', W', 3) uint8 RGB, both even: the picture with its boxes, enlarged by a whole number where it is small, and the panel of the
        largest face to its right.
    """
    assert image.image is not None
    factor = max(1, -(-_SMALLEST // image.image.shape[0]))
    picture = (
        cv2.resize(image.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        if factor > 1
        else image.image.copy()
    )
    unit = max(1.0, picture.shape[0] / 480)
    for found in image.faces:
        _box(
            picture,
            found,
            factor,
            unit,
            [au for au in au_order(au_names) if _is_active(au, found, au_names, thresholds)],
        )
    largest = max(image.faces, key=lambda found: found.face.box[2], default=None)
    panel = _panel(picture.shape[0], au_names, thresholds, largest, notice)
    canvas = np.concatenate([picture, panel], axis=1)
    return np.pad(canvas, ((0, canvas.shape[0] % 2), (0, canvas.shape[1] % 2), (0, 0)), mode="edge")


def _is_active(au: str, found: FacePrediction, au_names: Sequence[str], thresholds: np.ndarray) -> bool:
    """Whether a face shows an AU."""
    place = list(au_names).index(au)
    return bool(found.probs[place] >= thresholds[place])


def _box(picture: np.ndarray, found: FacePrediction, factor: int, unit: float, active: list[str]) -> None:
    """Draw one face's box, and above it (below, where there is no room) its number and active AUs."""
    colour, thick = _rgb(SERIES["dark"][found.identity % 6]), max(1, round(1.5 * unit))
    x, y, w, h = (round(value * factor) for value in found.face.box)
    cv2.rectangle(picture, (x, y), (x + w, y + h), (0, 0, 0), thick + 2)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick)
    text = f"#{found.identity} " + " ".join(name.removeprefix("AU") for name in active)
    scale = 0.45 * unit
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thick)
    left = max(0, min(x, picture.shape[1] - width - 4))
    top = y - height - below - 4 if y > height + below + 4 else min(y + h + 2, picture.shape[0] - height - below - 4)
    cv2.rectangle(picture, (left, top), (left + width + 4, top + height + below + 4), (0, 0, 0), -1)
    cv2.putText(picture, text, (left + 2, top + height + 2), _FONT, scale, colour, max(1, round(unit)), cv2.LINE_AA)


def _panel(
    height: int, au_names: Sequence[str], thresholds: np.ndarray, found: FacePrediction | None, notice: str
) -> np.ndarray:
    """The bars of one face: full where an AU is active, hollow where it is not, an upright line at the threshold."""
    unit = height / (_LINE * (len(au_names) + 3))  # one line for the head, two for the foot
    panel = np.full((height, round(_PANEL * unit), 3), _rgb(THEMES["dark"]["background"]), np.uint8)
    ink, quiet, blue = (_rgb(colour) for colour in (THEMES["dark"]["ink"], THEMES["dark"]["quiet"], SERIES["dark"][0]))

    def say(text: str, line: float, colour: tuple[int, int, int], left: float = 8.0, scale: float = 0.42) -> None:
        """Write at a line of the panel."""
        place = (round(left * unit), round((line + 0.75) * _LINE * unit))
        cv2.putText(panel, text, place, _FONT, scale * unit, colour, max(1, round(unit)), cv2.LINE_AA)

    say("no face" if found is None else f"face #{found.identity}: probability", 0, quiet)
    for line, au in enumerate(au_order(au_names), 1):
        place = list(au_names).index(au)
        prob, cut = (0.0 if found is None else float(found.probs[place])), float(thresholds[place])
        on = found is not None and prob >= cut
        say(au, line, ink if on else quiet)
        left, right = 58 * unit, (_PANEL - 10) * unit
        top, bottom = round((line * _LINE + 4) * unit), round((line * _LINE + _LINE - 4) * unit)
        end = round(left + prob * (right - left))
        cv2.rectangle(panel, (round(left), top), (round(right), bottom), _rgb(THEMES["dark"]["grid"]), 1)
        if found is not None:
            cv2.rectangle(panel, (round(left), top), (end, bottom), blue, -1 if on else 1)
        tick = round(left + cut * (right - left))
        cv2.line(panel, (tick, top - 2), (tick, bottom + 2), ink, 1)
    say(notice or "occurrence, not intensity", len(au_names) + 1.2, quiet, scale=0.36)
    return panel
