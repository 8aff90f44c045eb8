"""Annotated images and videos: boxes and bars, written through PyAV (FFmpeg) in pieces joined without re-encoding.

H.264 files cannot be appended to, so each stretch between two states of a run is a file of its own: a killed run keeps
the complete ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from auformer.aus import MAX_INTENSITY
from auformer.files import atomic_path
from auformer.predict.types import FacePrediction, ImagePrediction
from auformer.report.inks import SERIES, THEMES, au_order

# The first that this FFmpeg has is used; the last one is MPEG-4 Part 2, which browsers do not play.
ENCODERS = ("libx264", "h264", "mpeg4")
_OPTIONS = {"libx264": {"crf": "20", "preset": "veryfast"}, "h264": {}, "mpeg4": {"qscale": "3"}}
_BASE = Fraction(1, 1000)  # time base: milliseconds, as Matroska has it; MPEG-4 allows no finer than 1/65535 [ours]
_ONLY_FRAME = 40  # milliseconds that the only frame of a video is shown [ours]
_PIECE = "annotated-{:012d}.mkv"  # Matroska keeps times as they are; the number is that of the first frame


def find_encoder() -> str:
    """The best encoder of this FFmpeg: H.264 where there is one.

    Raises:
        ValueError: There is none.
    """
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
            return name
        except (av.codec.codec.UnknownCodecError, ValueError):
            continue
    raise ValueError(
        f"Expected an FFmpeg with an encoder {' or '.join(ENCODERS)}, but this one has none: leave out --annotate."
    )


class VideoWriter:
    """A video file of images with their own times; it takes its name when it is complete.

    There are no B-frames, so that packets come in presentation order and files can be joined. All images are fitted to
    `shape` (height, width), both even; by default to that of the first.
    """

    def __init__(self, path: Path, encoder: str, shape: tuple[int, int] | None = None) -> None:
        self.path, self.encoder, self.shape = path, encoder, shape
        self._temporary = path.with_name(f".{path.stem}.part{path.suffix}")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def add(self, image: np.ndarray, time_s: float) -> None:
        """Append an image (H, W, 3) uint8 RGB, both sides even, shown from a time in seconds on."""
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
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._last = max(self._last + 1, round(time_s / _BASE))
        frame.pts, frame.time_base = self._last, _BASE
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write the end and give the file its name; without an image there is none."""
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
    """Join files of `VideoWriter` of one encoder and shape, packet by packet, into a file that begins at time 0."""
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as joined:
        with av.open(str(pieces[0])) as first:
            stream = joined.add_stream_from_template(first.streams.video[0])
        held, length, start = None, _ONLY_FRAME, 0
        for packet in _packets(pieces):
            if held is None:
                start = packet.pts
                packet.pts = packet.dts = 0
            else:  # one packet is held back, as its length depends on the next one
                packet.pts = packet.dts = max(held.pts + 1, packet.pts - start)
                held.duration = length = packet.pts - held.pts
                joined.mux_one(held)
            packet.stream, held = stream, packet
        if held is not None:
            held.duration = length
            joined.mux_one(held)


class VideoPieces:
    """The annotated video of a source, in pieces in a folder until `path` is complete; `cut` before a state is saved.

    Pieces of an interrupted run with frames later than number `after` are removed.
    """

    def __init__(self, folder: Path, path: Path, encoder: str, *, after: int = -1) -> None:
        self.folder, self.path, self.encoder = folder, path, encoder
        for piece in self._all():
            if int(piece.stem.split("-")[1]) > after:
                piece.unlink()
        kept = self._all()
        self._shape = shape_of(kept[0]) if kept else None
        self._writer: VideoWriter | None = None

    def add(self, image: np.ndarray, frame: int, time_s: float) -> None:
        """Append an image (H, W, 3) uint8 RGB, both sides even; frame number and time in seconds rise."""
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self.folder / _PIECE.format(frame), self.encoder, self._shape)
        self._writer.add(image, time_s)
        self._shape = self._writer.shape

    def cut(self) -> None:
        """End a piece."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None

    def finish(self) -> None:
        """Write the video; without an image there is none."""
        self.cut()
        if pieces := self._all():
            join_videos(pieces, self.path)

    def remove(self) -> None:
        """Remove the pieces."""
        for piece in self._all():
            piece.unlink()

    def abandon(self) -> None:
        """Close the piece at hand, which does not count."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _all(self) -> list[Path]:
        """The complete pieces in their order."""
        return sorted(self.folder.glob(_PIECE.replace("{:012d}", "*")))


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
_LEVEL = 26  # pixels beside the bars for an intensity's number [ours]
_SMALLEST = 360  # pixels of the canvas' height, so that letters stay legible beside tiny images [ours]


def _rgb(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as red, green, blue."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def draw(
    image: ImagePrediction, au_names: Sequence[str], thresholds: np.ndarray, *, notice: str = "",
    intensity: bool = False,
) -> np.ndarray:  # fmt: skip
    """Draw the predictions of an image into it.

    Args:
        image: A prediction whose `image` is there.
        au_names: The N AUs of its probabilities.
        thresholds: (N,) decision threshold per AU.
        notice: One short line at the bottom, such as what the network was trained on.
        intensity: Leave room for intensities, also in an image without a face.

    Returns:
        (H', W', 3) uint8 RGB, both even: the image with its boxes, enlarged by a whole number where it is small, and
        the panel of the largest face to its right.
    """
    assert image.image is not None
    factor = max(1, -(-_SMALLEST // image.image.shape[0]))
    canvas = cv2.resize(image.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    unit = max(1.0, canvas.shape[0] / 480)
    for found in image.faces:
        active = {au for au, on in zip(au_names, found.probs >= thresholds, strict=True) if on}
        _box(canvas, found, factor, unit, [au for au in au_order(au_names) if au in active])
    largest = max(image.faces, key=lambda found: found.face.box[2], default=None)
    panel = _panel(canvas.shape[0], au_names, thresholds, largest, notice, intensity=intensity)
    canvas = np.concatenate([canvas, panel], axis=1)
    return np.pad(canvas, ((0, canvas.shape[0] % 2), (0, canvas.shape[1] % 2), (0, 0)), mode="edge")


def _box(canvas: np.ndarray, found: FacePrediction, factor: int, unit: float, active: list[str]) -> None:
    """Draw a face's box, and above it (below, where there is no room) its number and active AUs."""
    colour, thick = _rgb(SERIES["dark"][found.track % 6]), max(1, round(1.5 * unit))
    x, y, w, h = (round(value * factor) for value in found.face.box)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), (0, 0, 0), thick + 2)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, thick)
    text = f"#{found.track} " + " ".join(name.removeprefix("AU") for name in active)
    scale = 0.45 * unit
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thick)
    left = max(0, min(x, canvas.shape[1] - width - 4))
    top = y - height - below - 4 if y > height + below + 4 else min(y + h + 2, canvas.shape[0] - height - below - 4)
    cv2.rectangle(canvas, (left, top), (left + width + 4, top + height + below + 4), (0, 0, 0), -1)
    cv2.putText(canvas, text, (left + 2, top + height + 2), _FONT, scale, colour, max(1, round(unit)), cv2.LINE_AA)


def _panel(
    height: int, au_names: Sequence[str], thresholds: np.ndarray, found: FacePrediction | None, notice: str, *,
    intensity: bool,
) -> np.ndarray:  # fmt: skip
    """The bars of one face: full where an AU is active, hollow where it is not, an upright line at the threshold.

    With intensities a bar of 0 to 5 lies under that of the probability, its number beside it.
    """
    unit = height / (_LINE * (len(au_names) + 3))  # one line for the head, two for the foot
    panel = np.full((height, round(_PANEL * unit), 3), _rgb(THEMES["dark"]["background"]), np.uint8)
    ink, quiet, blue = (_rgb(colour) for colour in (THEMES["dark"]["ink"], THEMES["dark"]["quiet"], SERIES["dark"][0]))

    def say(text: str, line: float, colour: tuple[int, int, int], left: float = 8.0, scale: float = 0.42) -> None:
        place = (round(left * unit), round((line + 0.75) * _LINE * unit))
        cv2.putText(panel, text, place, _FONT, scale * unit, colour, max(1, round(unit)), cv2.LINE_AA)

    unknown = np.full(len(au_names), np.nan)
    levels = unknown if found is None or found.intensity is None else found.intensity
    told = "probability, intensity" if intensity else "probability"
    say("no face" if found is None else f"face #{found.track}: {told}", 0, quiet)
    for line, au in enumerate(au_order(au_names), 1):
        place = list(au_names).index(au)
        prob, cut = (0.0 if found is None else float(found.probs[place])), float(thresholds[place])
        on = found is not None and prob >= cut
        say(au, line, ink if on else quiet)
        left, right = 58 * unit, (_PANEL - 10 - (_LEVEL if intensity else 0)) * unit
        tall = _LINE - 9 if intensity else _LINE - 4
        top, bottom = round((line * _LINE + 4) * unit), round((line * _LINE + tall) * unit)
        end = round(left + prob * (right - left))
        cv2.rectangle(panel, (round(left), top), (round(right), bottom), _rgb(THEMES["dark"]["grid"]), 1)
        if found is not None:
            cv2.rectangle(panel, (round(left), top), (end, bottom), blue, -1 if on else 1)
        tick = round(left + cut * (right - left))
        cv2.line(panel, (tick, top - 2), (tick, bottom + 2), ink, 1)
        if intensity and not np.isnan(levels[place]):
            level = float(levels[place])
            end, foot = round(left + level / MAX_INTENSITY * (right - left)), round((line * _LINE + _LINE - 3) * unit)
            cv2.rectangle(
                panel, (round(left), bottom + max(1, round(2 * unit))), (end, foot), _rgb(SERIES["dark"][1]), -1
            )
            say(f"{level:.1f}", line, ink if on else quiet, left=_PANEL - 4 - _LEVEL, scale=0.36)
    what = "orange: intensity, 0 to 5" if intensity else "occurrence, not intensity"
    for row, text in enumerate([notice, what] if notice and intensity else [notice or what]):
        say(text, len(au_names) + 1.2 + 0.85 * row, quiet, scale=0.36)
    return panel
