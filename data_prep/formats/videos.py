"""Frames of a video by position, and which position a frame number of a label file means.

A position counts the images that a video shows, from 0, in presentation order. It is found by time stamps where the
container has them, so that damage and frames that cannot be decoded shift nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from auformer.data.packets import frame_times, nearest_index
from auformer.data.video import Video
from auformer.errors import DatasetLayoutError

NUMBERINGS = ("auto", "time", "order")
_GRID = 0.2  # frame lengths by which a time stamp may lie beside a constant rate's [ours]


@dataclass(frozen=True)
class Places:
    """Where the images of a video are.

    Args:
        times: Seconds of each image from the first one.
        slots: Number of each image if one is counted per frame time of a constant rate, so that dropped frames have
            numbers of their own; None where none was dropped or the rate varies.
    """

    times: Sequence[float]
    slots: Sequence[int] | None

    @property
    def length(self) -> int:
        """How many frames can be numbered: images, and dropped frames where there are any."""
        return len(self.times) if self.slots is None else self.slots[-1] + 1


def read_places(path: Path) -> Places | None:
    """The places of a video's images, by its packets; None where it cannot be read as a video."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _read_places(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)  # clips of one video ask again and again [ours]
def _read_places(path: Path, size: int, changed: int) -> Places | None:
    try:
        times = frame_times(path)
    except ValueError:
        return None
    return Places(times, count_slots(times)) if times else None


def count_slots(times: Sequence[float]) -> list[int] | None:
    """Number of each image on the grid of a constant frame rate; None where no frame time is left out.

    >>> count_slots([0.0, 0.04, 0.08, 0.2, 0.24]), count_slots([0.0, 0.04, 0.08]), count_slots([0.0, 0.04, 0.1, 0.2])
    ([0, 1, 2, 5, 6], None, None)
    """
    steps = np.diff(np.asarray(times, np.float64))
    if not len(steps):
        return None
    lengths = steps / np.median(steps)
    whole = np.rint(lengths)
    if whole.max() < 2 or whole.min() < 1 or np.abs(lengths - whole).max() > _GRID:
        return None
    return [0, *np.cumsum(whole).astype(int).tolist()]


def match_numbers(numbers: np.ndarray, places: Places, name: str, numbering: str = "auto") -> np.ndarray:
    """Positions of the images that frame numbers mean.

    Args:
        numbers: (K,) frame numbers from 0.
        places: Where the video's images are.
        name: What messages call the video.
        numbering: `time` counts frame times, dropped ones too; `order` counts images; `auto` is either where both say
            the same, or where one alone is possible.

    Returns:
        (K,) positions, -1 where there is no image.

    Raises:
        DatasetLayoutError: Both are possible and differ.
    """
    shown = len(places.times)
    by_order = np.where((numbers >= 0) & (numbers < shown), numbers, -1)
    if places.slots is None or numbering == "order" or not len(numbers):
        return by_order
    position = np.full(places.length, -1)
    position[np.asarray(places.slots)] = np.arange(shown)
    by_time = np.where(numbers < places.length, position[np.clip(numbers, 0, places.length - 1)], -1)
    by_time[numbers < 0] = -1
    if numbering == "time" or numbers.max() >= shown or (by_time == by_order).all():
        return by_time
    dropped = places.length - shown
    first = int(np.flatnonzero(np.diff(places.slots) > 1)[0]) + 1
    raise DatasetLayoutError(
        f"{name}: expected labels that show how they count frames, but {dropped} frames were dropped while recording, "
        f"the first of them frame {first} (from 0). Either the numbers count frame times, dropped ones too "
        f"({places.length} of them): then --numbering time. Or they count the images that are there ({shown}): then "
        "--numbering order. Compare a blink behind the gap in both"
    )


def numbering_option() -> dict[str, object]:
    """The option `--numbering` of readers that pair labels with videos."""
    return {
        "choices": NUMBERINGS,
        "help": "how labels number the frames of a video in which some were dropped: time counts those too, order only "
        "the images (default: auto, what is possible; an error where both are)",
    }


def read_frames(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray | None, str, str]]:
    """Decode a video up to the last wanted position; they rise, each once. Others never become images.

    Yields:
        (position, image, status, message) for each wanted position, rising: (H, W, 3) uint8 RGB with `ok`; None with
        `unreadable` where the video is damaged or ends earlier than its header says, or with `no_image` where it has no
        such frame.
    """
    left, damage, count = list(reversed(wanted)), "", 0
    places = read_places(path)
    times = [] if places is None else places.times

    def reason(position: int) -> tuple[str, str]:
        if damage or position < len(times):
            return "unreadable", f"{path.name}: {damage or f'frame {position} cannot be decoded'}"
        return "no_image", f"{path.name}: it has {count} frames"

    try:
        with Video(path, threads=1) as video:  # workers share the cores among them
            for frame in video.sound_frames():
                if isinstance(frame, str):
                    damage = damage or frame
                    if not _go_on(video, times):
                        break
                    continue
                position = nearest_index(times, frame.time_s) if video.timed and times else frame.index
                if position < count:
                    continue
                count = position + 1
                while left and left[-1] < position:
                    yield left[-1], None, *reason(left.pop())
                if left and left[-1] == position:
                    yield left.pop(), frame.image(), "ok", ""
                if not left:  # leave before the next frame is decoded
                    return
    except ValueError as error:
        damage = damage or f"it cannot be read ({str(error).replace(str(path), path.name)})"
    while left:
        yield left[-1], None, *reason(left.pop())


def _go_on(video: Video, times: Sequence[float]) -> bool:
    """Whether the times of frames behind damage can be believed.

    Not where frames are only counted; and an AVI file numbers what it finds, which must be what its header says.
    """
    if not video.timed or not times:
        return False
    return not video.numbers_packets or video.facts.frames == round(times[-1] * (video.facts.fps or 0)) + 1
