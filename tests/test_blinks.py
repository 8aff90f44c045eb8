"""Blinks from closure over time: hand-worked cases, and properties over frame rates, noise and scales."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auformer.blinks import CLOSED, LONGEST_S, OPENED, blink_columns, blinks, why_not


def course(time_s, *closures):
    """Closure 0 to 5 at times in seconds: a trapezium (begin, end) with a fifth of its length to close and to open."""
    time_s, out = np.asarray(time_s, float), np.zeros(len(time_s))
    for begin, end in closures:
        ramp = (end - begin) / 5
        out = np.maximum(out, 5 * np.clip(np.minimum(time_s - begin, end - time_s) / ramp, 0, 1))
    return out


def test_by_hand():
    """At 25 frames a second: open, 2 frames that stay half open, a blink of 5 frames, a closure of 20 frames."""
    level = np.zeros(60)
    level[5:7] = 2.0  # never reaches 2.5
    level[10:15] = 1.0, 1.5, 4.0, 2.0, 1.25  # from above 1.25 on, until 1.25 again
    level[30:50] = 5.0
    time_s = np.arange(60) / 25
    assert blinks(level, time_s) == [(11, 13)]
    columns = blink_columns(level, time_s)
    assert np.flatnonzero(columns["AU45"]).tolist() == [11, 12, 13] and columns["AU45"].dtype == np.int8
    assert columns["AU45_intensity"].sum() == pytest.approx(7.5)


def test_half_a_second_is_the_limit():
    """Length counts from halfway to the frame before until halfway to the one after: 12 frames at 25 are 0.48 s."""
    for frames, found in ((12, [(5, 16)]), (13, [])):
        level = np.zeros(40)
        level[5 : 5 + frames] = 5
        assert blinks(level, np.arange(40) / 25) == found
    assert LONGEST_S == 0.5


def test_what_is_not_seen_whole_is_no_blink():
    time_s, level = np.arange(40) / 25, np.zeros(40)
    level[[0, 1, 38, 39]] = 5  # cut off by either end
    level[10:13], level[13:16] = 5, np.nan  # the face goes while the eyes are shut
    level[20:23] = 5
    assert blinks(level, time_s) == [(20, 22)]
    active = blink_columns(level, time_s)["AU45"]
    assert active[[0, 1, 38, 39]].tolist() == [-1] * 4 and (active[10:16] == -1).all()
    assert np.flatnonzero(active == 1).tolist() == [20, 21, 22] and np.flatnonzero(active == 0).size == 40 - 13
    gap = np.where(np.arange(40) >= 22, time_s + 1.0, time_s)  # frames are missing inside it
    assert blinks(level, gap) == []


def test_one_dropped_frame_does_not_make_two_blinks_of_one():
    time_s, level = np.arange(40) / 25, np.zeros(40)
    level[10:17] = 5
    for lost in (0.0, np.nan):
        level[13] = lost
        assert blinks(level, time_s) == [(10, 16)]
    level[12:15] = 0  # three frames, 0.16 s: two blinks
    assert blinks(level, time_s) == [(10, 11), (15, 16)]
    fine = np.zeros(200)
    fine[50:90], fine[70:76] = 5, 0  # at 200 frames a second a dropout may be longer than a frame
    assert blinks(fine, np.arange(200) / 200) == [(50, 89)]
    fine[68:80] = 0
    assert len(blinks(fine, np.arange(200) / 200)) == 2


@settings(max_examples=40)
@given(st.floats(25, 240), st.lists(st.floats(0.1, 0.4), min_size=1, max_size=6), st.integers(0, 999))
def test_the_count_does_not_depend_on_the_frame_rate(fps, lengths, seed):
    """Also with unequal frame times and a wavering intensity."""
    rng = np.random.default_rng(seed)
    begins = 0.5 + np.cumsum([0.0, *(length + 0.4 for length in lengths[:-1])])
    spans = [(begin, begin + length) for begin, length in zip(begins, lengths, strict=True)]
    count = int((begins[-1] + lengths[-1] + 0.5) * fps) + 2
    time_s = (np.arange(count) + rng.uniform(-0.1, 0.1, count)) / fps
    level = course(time_s, *spans) + rng.uniform(0, 1.0, count)
    found = blinks(level, time_s)
    assert len(found) == len(spans)
    for (first, last), (begin, end) in zip(found, spans, strict=True):
        assert begin - 2 / fps <= time_s[first] <= time_s[last] <= end + 2 / fps


@given(st.lists(st.floats(0, 5) | st.just(np.nan), min_size=3, max_size=80))
def test_columns_and_list_say_the_same(level):
    level, time_s = np.array(level), np.arange(len(level)) / 30
    active = blink_columns(level, time_s)["AU45"]
    marked = np.zeros(len(level), bool)
    for first, last in blinks(level, time_s):
        assert (level[first : last + 1] >= CLOSED).any() and level[first - 1] <= OPENED and level[last + 1] <= OPENED
        marked[first : last + 1] = True
    assert np.array_equal(active == 1, marked) and (active[np.isnan(level) & ~marked] == -1).all()


def test_probabilities_with_their_own_thresholds():
    time_s = np.arange(50) / 25
    level = course(time_s, (0.5, 0.8), (1.2, 1.4))
    assert blinks(level / 5, time_s, closed=0.5, opened=0.25) == blinks(level, time_s) != []


def test_too_few_frames_a_second_are_said():
    time_s = np.arange(30) / 12.5
    assert "at least 20 frames a second, but there are 12.5" in why_not(time_s)
    with pytest.raises(ValueError, match=r"at least 20 frames a second, but there are 12\.5"):
        blinks(np.zeros(30), time_s)
    assert (blink_columns(np.zeros(30), time_s)["AU45"] == -1).all()
    assert np.isnan(blink_columns(np.zeros(30), time_s)["AU45_intensity"]).all()
    assert why_not(np.round(np.arange(30) / 19.98, 3)) == "" and "3 frames" in why_not(np.arange(2.0))


@pytest.mark.parametrize(
    ("closure", "time_s", "options", "message"),
    [
        (np.zeros(4), np.arange(5) / 25, {}, r"one length, but got shapes \(4,\) and \(5,\)"),
        (np.zeros((4, 1)), np.arange(4) / 25, {}, "one length"),
        (np.zeros(4), np.array([0.0, 0.04, 0.04, 0.08]), {}, "rise from frame to frame"),
        (np.zeros(4), np.array([0.0, 0.04, np.nan, 0.08]), {}, "finite"),
        (np.zeros(4), np.arange(4) / 25, {"closed": 0.5}, "`opened` to be below `closed`, but got 1.25 and 0.5"),
    ],
)
def test_what_does_not_fit_is_said(closure, time_s, options, message):
    with pytest.raises(ValueError, match=message):
        blinks(closure, time_s, **options)
