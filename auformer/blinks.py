"""Blinks (AU45): eyes that close (AU43) and open again within half a second, counted over time.

A blink is not seen on one image: AU43 and AU45 look alike, and the Facial Action Coding System (Ekman, Friesen and
Hager, 2002) tells them apart by time alone. The one rule, for rendered truth and for predictions.
"""

from __future__ import annotations

import numpy as np

from auformer.episodes import GAP, runs, usual_length

#: Eyes that stay closed for half a second or longer are AU43 and no blink (the manual of 2002). In dry-eye research
#: blinks from half a second on are "superextended": 0.2 % of those of healthy subjects (Ousler et al., Clinical
#: Ophthalmology 8, 2014, 869-874).
LONGEST_S = 0.5
#: Levels of AU43 at which an eye counts as shut, and below which it counts as open again. Half closed and a quarter
#: closed; two levels, so that an intensity that wavers about one of them is not several blinks. [ours]
CLOSED, OPENED = 2.5, 1.25
#: An eye does not open and shut again within a tenth of a second: it takes longer than that to open alone. One frame
#: between two closures, or as many as pass in half that time, is an error of measurement. [ours]
DROPOUT_S = 0.1
#: Blinks last 0.1 to 0.4 s (BioNumbers, "average duration of a single eye blink") and show a lid at least half down for
#: half of that: with fewer frames a second the short ones fall between two frames.
FEWEST_FPS = 20.0
_TOLERANCE = 1.02  # frame times are rounded: 19.98 frames a second will do [ours]


def why_not(time_s: np.ndarray) -> str:
    """Why blinks cannot be counted at these times `(n,)` in seconds; empty where they can.

    >>> why_not(np.arange(100) / 25.0), why_not(np.arange(100) / 12.5)
    ('', 'blinks need at least 20 frames a second, but there are 12.5')
    """
    if len(time_s) < 3:
        return f"blinks need at least 3 frames, but there are {len(time_s)}"
    usual = usual_length(np.asarray(time_s, float))
    if usual > _TOLERANCE / FEWEST_FPS:
        return f"blinks need at least {FEWEST_FPS:g} frames a second, but there are {1 / usual:.3g}"
    return ""


def blinks(
    closure: np.ndarray, time_s: np.ndarray, *, closed: float = CLOSED, opened: float = OPENED
) -> list[tuple[int, int]]:
    """First and last frame of every blink.

    A blink begins where the closure rises above `opened` and goes on to reach `closed`, and ends where it falls to
    `opened` again, within less than half a second. One whose beginning or end is not seen (the first or last frame, a
    frame without the face, a gap in time) has no known length and is none.

    Args:
        closure: (n,) how far the eyes are closed: AU43's level from 0 to 5, or with thresholds of its own a
            probability; nan where the face is not seen.
        time_s: (n,) rising, seconds; frames need not be equally long.
        closed: From here on an eye is shut.
        opened: Up to here it is open, below `closed`.

    Returns:
        Positions, rising.

    Raises:
        ValueError: Shapes or thresholds do not fit, times do not rise, or too few frames a second (`why_not`).

    >>> level = np.array([0, 0, 2, 5, 4, 1, 0, 0, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0, 0.0])
    >>> blinks(level, np.arange(24) / 25)
    [(2, 4)]
    """
    shut, known = _episodes(closure, time_s, closed, opened)
    return [pair for pair, seen in zip(shut, known, strict=True) if seen and _lasts(pair, time_s) < LONGEST_S]


def blink_columns(
    closure: np.ndarray, time_s: np.ndarray, *, closed: float = CLOSED, opened: float = OPENED
) -> dict[str, np.ndarray]:
    """The columns `AU45` and `AU45_intensity` of a video; arguments as in `blinks`.

    Returns:
        `AU45`, int8 (n,): 1 in frames of a blink, 0 elsewhere, -1 where it cannot be known: without the face, in a
        closure of unknown length, and everywhere where there are too few frames a second. `AU45_intensity`, float64
        (n,): the closure in frames of a blink, 0 elsewhere, nan where it cannot be known.

    Raises:
        ValueError: As `blinks`, but not for too few frames a second.
    """
    closure = np.asarray(closure, float)
    active = np.where(np.isnan(closure), -1, 0).astype(np.int8)
    if why_not(time_s):
        active[:] = -1
    else:
        shut, known = _episodes(closure, time_s, closed, opened)
        for (first, last), seen in zip(shut, known, strict=True):
            if not seen:
                active[first : last + 1] = -1
            elif _lasts((first, last), time_s) < LONGEST_S:
                active[first : last + 1] = 1
    strength = np.where(active == 1, closure, 0.0)
    strength[active == -1] = np.nan
    return {"AU45": active, "AU45_intensity": strength}


def _episodes(
    closure: np.ndarray, time_s: np.ndarray, closed: float, opened: float
) -> tuple[list[tuple[int, int]], list[bool]]:
    """First and last frame of every closure, of whatever length, and whether its beginning and end are seen."""
    closure, time_s = np.asarray(closure, float), np.asarray(time_s, float)
    if closure.ndim != 1 or closure.shape != time_s.shape:
        raise ValueError(
            f"Expected `closure` and `time_s` to be of one length, but got shapes {closure.shape} and {time_s.shape}"
        )
    if not opened < closed:
        raise ValueError(f"Expected `opened` to be below `closed`, but got {opened:g} and {closed:g}")
    if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
        raise ValueError("Expected `time_s` to be finite and to rise from frame to frame; sort the frames by time")
    if reason := why_not(time_s):
        raise ValueError(f"Expected a video in which blinks can be counted: {reason}")
    usual = usual_length(time_s)
    broken = np.diff(time_s) > GAP * usual  # (n - 1,) frames are missing here
    found: list[tuple[int, int]] = []
    for first, last in runs(time_s, closure > opened, usual).tolist():
        if (closure[first : last + 1] >= closed).any():
            if found and _is_dropout(found[-1][1], first, closure, time_s, broken):
                found[-1] = (found[-1][0], last)
            else:
                found.append((first, last))
    return found, [_is_known(pair, closure, broken) for pair in found]


def _is_dropout(last: int, first: int, closure: np.ndarray, time_s: np.ndarray, broken: np.ndarray) -> bool:
    """Whether what lies between two closures is an error of measurement."""
    between = float(time_s[first] - time_s[last])
    brief = between <= DROPOUT_S * _TOLERANCE if first - last == 2 else between <= DROPOUT_S / 2
    return brief and not broken[last:first].any()


def _is_known(pair: tuple[int, int], closure: np.ndarray, broken: np.ndarray) -> bool:
    """Whether the frames before and after a closure are there, without a gap, and show the face."""
    before, after = pair[0] - 1, pair[1] + 1
    if before < 0 or after >= len(closure) or broken[before] or broken[pair[1]]:
        return False
    return not (np.isnan(closure[before]) or np.isnan(closure[after]))


def _lasts(pair: tuple[int, int], time_s: np.ndarray) -> float:
    """Seconds of a closure, from halfway to the frame before it until halfway to the frame after it."""
    time_s, (first, last) = np.asarray(time_s, float), pair
    return float(time_s[last] + time_s[last + 1] - time_s[first - 1] - time_s[first]) / 2
