"""Episodes: hand-worked spans, and the same as a plain loop over frames for any times and activity."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auformer.episodes import GAP, episodes, frame_ends, runs, usual_length


def loop(times: list[float], active: list[bool]) -> list[tuple[float, float]]:
    """The same, frame by frame."""
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    middle = len(steps) // 2
    usual = 1.0 if not steps else steps[middle] if len(steps) % 2 else (steps[middle - 1] + steps[middle]) / 2
    spans: list[list[float]] = []
    last = None  # the active frame before, if no inactive one came since
    for k, (time, on) in enumerate(zip(times, active, strict=True)):
        end = time + usual if k + 1 == len(times) else min(times[k + 1], time + usual)
        if on and last is not None and time - times[last] <= GAP * usual:
            spans[-1][1] = end
        elif on:
            spans.append([time, end])
        last = k if on else None
    return [(begin, end) for begin, end in spans]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_any_times_and_activity(frames):
    times, active = np.cumsum([step for step, _ in frames]).astype(float), np.array([on for _, on in frames], bool)
    found = episodes(times, active)
    assert found == loop(times.tolist(), active.tolist())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found)), "episodes of one AU never overlap"


def test_a_gap_ends_an_episode():
    """Frames last 1; between 2 and 7 the face was away."""
    times = np.array([0.0, 1.0, 2.0, 7.0, 8.0, 9.0])
    assert episodes(times, np.ones(6, bool)) == [(0.0, 3.0), (7.0, 10.0)]
    assert episodes(times, np.zeros(6, bool)) == [] and episodes(times[:1], np.ones(1, bool)) == [(0.0, 1.0)]


def test_a_short_gap_does_not_end_one():
    times = np.array([0.0, 1.0, 2.0, 5.4, 6.4])
    assert episodes(times, np.ones(5, bool)) == [(0.0, 7.4)]


def test_a_frame_ends_where_the_next_begins():
    """At a variable frame rate a frame of 10 ms does not reach over the next two."""
    times = np.array([0.0, 0.01, 0.02, 0.06, 0.10, 0.14])
    assert np.isclose(usual_length(times), 0.04)
    assert np.allclose(frame_ends(times), [0.01, 0.02, 0.06, 0.10, 0.14, 0.18])
    assert np.allclose(episodes(times, np.array([1, 0, 1, 1, 0, 0], bool)), [(0.0, 0.01), (0.02, 0.10)])


def test_nothing():
    assert episodes(np.empty(0), np.empty(0, bool)) == [] and frame_ends(np.empty(0)).shape == (0,)
    assert runs(np.empty(0), np.empty(0, bool), 1.0).shape == (0, 2)
