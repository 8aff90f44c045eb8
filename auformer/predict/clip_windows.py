"""Tracked faces of a video as clips, for networks that see consecutive frames.

The frames of a video are cut into windows of `T`, and again after so many frames that a killed run can resume; in each,
the consecutive frames of a track are a clip. Where a face is lost a clip ends; a short one repeats its last frame as
padding, which is predicted and left out. So a frame's values depend on the frames of its window only, a video predicted
whole, in pieces and after an interruption gives the same, and no more than a window and a batch of crops is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from auformer.predict.pipeline import RESUME_FRAMES, Task

_log = logging.getLogger(__name__)


def resume_step(detect_every: int | None) -> int:
    """Frames from one place where a killed run can resume to the next, as `Pipeline` has them."""
    every = detect_every or 1
    return every * -(-RESUME_FRAMES // every)


def window_number(ordinal: int, length: int, step: int) -> tuple[int, int]:
    """Which window a frame is in, by its place among the frames that are predicted.

    >>> [window_number(at, 16, 250) for at in (0, 15, 16, 249, 250)]
    [(0, 0), (0, 0), (0, 1), (0, 15), (1, 0)]
    """
    return ordinal // step, ordinal % step // length


def closes(task: Task, length: int, step: int) -> bool:
    """Whether no clip goes on after a task: it ends a window or its source, or is a photo."""
    if task.frame is None or task.source.kind == "photo":
        return True
    now, after = (window_number(task.frame.ordinal + more, length, step) for more in (0, 1))
    return now != after


def clips_of(tasks: Sequence[Task], length: int, step: int) -> list[list[int]]:
    """The clips among the faces of tasks that end with one that `closes`.

    Returns:
        Places of the faces of each clip, in the flat list of the faces of all tasks, at most `length`.
    """
    clips: dict[tuple[str, int, tuple[int, int]], list[list[tuple[int, int]]]] = {}
    place = 0
    for task in tasks:
        for found in task.found:
            assert task.frame is not None  # faces are found in frames
            at = task.frame.ordinal
            alone = task.source.kind == "photo"
            track = place if alone else found.track
            parts = clips.setdefault((task.source.name, track, window_number(at, length, step)), [])
            if parts and parts[-1][-1][1] == at - 1:
                parts[-1].append((place, at))
            else:
                parts.append([(place, at)])
            place += 1
    return [[place for place, _ in part] for parts in clips.values() for part in parts]


def warn_of_photos(length: int) -> None:
    """Say that a single image tells a network that sees clips nothing about movement."""
    _log.warning(
        "This checkpoint was trained on clips of %d frames: a photo is predicted as a clip in which nothing moves, and "
        "less well than a video. Use a checkpoint for single images where there are only photos.",
        length,
    )
