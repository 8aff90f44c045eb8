"""Episodes as tiers: a row of spans per action unit and person, in whole steps of time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auformer.annotations.job import Item
from auformer.annotations.videos import Person, episode_table, letters

ACTIVE = "active"  # the word of an episode whose intensity is not known


class Tier(NamedTuple):
    """The episodes of one action unit of one person.

    Args:
        name: As `Video.track` gives it.
        person: Whose.
        au: Of which action unit.
        begin: (k,) steps, rising.
        end: (k,) steps, after `begin` and no later than the next.
        values: The FACS letter of each episode's peak, or `ACTIVE`.
    """

    name: str
    person: Person
    au: str
    begin: np.ndarray
    end: np.ndarray
    values: list[str]


def steps(begin_s: np.ndarray, end_s: np.ndarray, per_second: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spans of one tier in whole steps of time, for formats in which a span must have a length.

    Args:
        begin_s: (k,) seconds, rising.
        end_s: (k,) no later than the next begin.
        per_second: Steps per second.

    Returns:
        Begin and end (j,), int64, each span at least one step long and none reaching into the next; and which of the k
        spans they are: of those that begin in one step, the last is kept.

    >>> [part.tolist() for part in steps(np.array([0.04, 0.5, 0.5001]), np.array([0.08, 0.5, 0.6]), 1000)]
    [[40, 500], [80, 600], [0, 2]]
    """
    begin = np.rint(np.asarray(begin_s, float) * per_second).astype(np.int64)
    end = np.maximum(np.rint(np.asarray(end_s, float) * per_second).astype(np.int64), begin + 1)
    end[:-1] = np.minimum(end[:-1], begin[1:])
    kept = np.flatnonzero(end > begin)
    return begin[kept], end[kept], kept


def tiers(item: Item, per_second: int, offset_s: float = 0.0) -> tuple[list[Tier], str]:
    """The tiers of a video, by person and AU, also those without an episode.

    Args:
        item: The video.
        per_second: Steps per second.
        offset_s: Seconds that are added to every time, besides the delay of the video's first frame.

    Returns:
        The tiers, and a note about episodes that were too short to be told apart; empty where there is none.
    """
    found, lost, shift = [], 0, item.media.delay_s + offset_s
    for person in item.video.people:
        table = episode_table(item.video, person)
        groups = table.groupby("au").indices
        begin_s, end_s = (table[name].to_numpy(float) + shift for name in ("begin_s", "end_s"))
        words = letters(table["peak_intensity"].to_numpy(float))
        for au in item.video.au_names:
            rows = groups.get(au, np.empty(0, np.int64))
            begin, end, kept = steps(begin_s[rows], end_s[rows], per_second)
            lost += len(rows) - len(kept)
            values = [word or ACTIVE for word in words[rows[kept]].tolist()]
            found.append(Tier(item.video.track(au, person), person, au, begin, end, values))
    name = item.media.name or item.video.stem
    unit = {1000: "millisecond", 1_000_000: "microsecond"}[per_second]
    note = (
        f"{name}: {lost:,} episodes begin in the same {unit} as the next of their AU and are left out" if lost else ""
    )
    return found, note
