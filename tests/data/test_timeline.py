"""Times of frames: gaps stay, restarts go on, single stamps that are out of place move nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.data.timeline import Slots, Timeline


def placed(stamps, step=0.04):
    line = Timeline(step)
    return [line.place(stamp) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([3.0, 3.04, 3.08], [0, 0.04, 0.08]),
        ([0, 0.04, 2.0, 2.04], [0, 0.04, 2.0, 2.04]),  # a gap
        ([0, 0.01, 0.5, 0.52], [0, 0.01, 0.5, 0.52]),  # a rate that varies
        ([0, 0.04, 0.08, 0, 0.04, 0.08], [0, 0.04, 0.08, 0.12, 0.16, 0.20]),  # joined
        ([5, 5.04, 0, 0.04, 9, 9.04], [0, 0.04, 0.08, 0.12, 9.08, 9.12]),  # joined, the second with a gap
        ([0, 0.04, 0.03, 0.12, 0.16], [0, 0.04, 0.08, 0.12, 0.16]),  # one stamp too early
        ([0, 0.04, 0.04, 0.12], [0, 0.04, 0.08, 0.12]),  # one twice
        ([None, None, None], [0, 0.04, 0.08]),
        ([0, None, 0.08], [0, 0.04, 0.08]),
    ],
)
def test_places(stamps, times):
    assert np.allclose(placed(stamps), times)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e4))), st.floats(0.001, 1))
def test_times_always_rise(stamps, step):
    times = placed(stamps, step)
    assert all(b > a for a, b in pairwise(times))


@given(st.lists(st.integers(1, 30), min_size=1))
def test_rising_stamps_are_kept(steps):
    stamps = np.cumsum(steps) / 25
    assert np.allclose(placed(stamps.tolist()), stamps - stamps[0])


def test_slots_of_packets_that_wait_two_turns():
    """Frames leave the decoder with the packet two turns later; three slots are empty."""
    slots, given_out = Slots(), []
    packets = [0, 1, 2, 3, 4, 5, 6, 10, 11, 12]
    for number, slot in enumerate(packets):
        slots.packet(slot)
        if number >= 2:
            given_out.append(slots.frame(slot))
    given_out += [slots.frame(None), slots.frame(None)]
    assert given_out == [*packets[2:], None, None] == slots.in_order(10) and slots.delay == 2
