"""AU45 in tables of videos: whose AU43, in which rows, and where it stays empty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.predict.blinks import blinking, with_blinks

CUT = np.array([0.5, 0.6])  # of AU12 and AU43
BLINK = [0, 0, 4, 5, 3, 0, 0, 0, 0, 0]  # three frames of 40 ms


def video(closure, *, face=0, name="talk.mp4", fps=25.0, first=0, levels=True):
    """Rows of one face whose AU43 has these intensities (a fifth of them as probabilities); nan: not seen."""
    closure = np.asarray(closure, float)
    frames = first + np.arange(len(closure))
    table = pd.DataFrame({"subject": name, "frame": frames, "face": face, "time_s": frames / fps})
    table["status"] = np.where(np.isnan(closure), "no_face", "ok")
    table["AU43_prob"] = closure / 5
    return table.assign(AU43_intensity_pred=closure) if levels else table


def found(*parts, aus=("AU12", "AU43"), cuts=CUT, videos=("talk.mp4",)):
    """`AU45_active` as a list with -1 where it is empty, and what the sidecar says."""
    active, facts = blinking(pd.concat(parts, ignore_index=True), aus, cuts, videos)
    return None if active is None else active.fillna(-1).tolist(), facts


def test_a_blink_of_intensities_or_of_probabilities():
    expected = [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    active, facts = found(video(BLINK))
    assert active == expected and "AU43_intensity_pred reaches 2.5" in facts["AU45"]["rule"]
    active, facts = found(video(BLINK, levels=False))
    assert active == expected and "AU43_prob reaches 0.6 and falls to 0.3" in facts["AU45"]["rule"]
    assert facts["AU45"]["not_counted"] == {}
    assert found(video(np.array(BLINK) * 0.55, levels=False))[0] == [0] * 10  # .55 is below the threshold of .6


def test_two_faces_whose_rows_alternate():
    """Each has its own blink; one that comes later is looked at in its own frames, with those beside them."""
    first, second = video(BLINK), video(BLINK[::-1], face=1, first=3)
    table = pd.concat([first, second]).sort_values(["frame", "face"], kind="stable", ignore_index=True)
    active, _ = blinking(table, ("AU12", "AU43"), CUT, ["talk.mp4"])
    table = with_blinks(table, active)
    assert table.loc[table["face"] == 0, "AU45_active"].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert table.loc[table["face"] == 1, "AU45_active"].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert table.loc[table["face"] == 1, "AU45_intensity_pred"].tolist() == [0, 0, 0, 0, 0, 3, 5, 4, 0, 0]


def test_a_closure_that_is_not_seen_whole_is_empty():
    """The face is lost while the eyes are shut, or the video ends."""
    lost = [0, 0, 5, np.nan, np.nan, 0, 0, 0, 5, 5]
    table = video(lost)
    active, _ = blinking(table, ("AU12", "AU43"), CUT, ["talk.mp4"])
    assert active.fillna(-1).tolist() == [0, 0, -1, -1, -1, 0, 0, 0, -1, -1]
    levels = with_blinks(table, active)["AU45_intensity_pred"]
    assert levels.isna().tolist() == [False, False, True, True, True, False, False, False, True, True]


def test_a_resting_level_changes_how_strong_not_how_many():
    table = video(BLINK)
    active, _ = blinking(table, ("AU12", "AU43"), CUT, ["talk.mp4"])
    lower = table.assign(AU43_intensity_pred=(table["AU43_intensity_pred"] - 1).clip(0))
    assert with_blinks(lower, active)["AU45_intensity_pred"].tolist() == [0, 0, 3, 4, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (video(BLINK, fps=5), "blinks need at least 20 frames a second, but there are 5"),
        (video(BLINK[:2]), "blinks need at least 3 frames"),
        (video(BLINK).assign(time_s=lambda rows: rows["time_s"] % 0.2), "its time stamps do not rise"),
    ],
)
def test_why_not(table, reason):
    active, facts = found(table)
    assert active is None and facts["AU45"]["not_counted"]["talk.mp4"].startswith(reason)
    assert with_blinks(table, None) is table


def test_one_video_can_be_counted_and_another_not():
    active, facts = found(video(BLINK), video(BLINK, name="slow.mp4", fps=10), videos=("talk.mp4", "slow.mp4"))
    assert active == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, *[-1] * 10] and list(facts["AU45"]["not_counted"]) == ["slow.mp4"]


def test_no_time_no_blink():
    """Photos, frames without time stamps, networks without AU43 or with an AU45 of their own."""
    assert found(video(BLINK), videos=()) == (None, {})
    assert found(video(BLINK).assign(time_s=np.nan)) == (None, {})
    assert found(video(BLINK), aus=("AU12", "AU1")) == (None, {})
    assert found(video(BLINK), aus=("AU45", "AU43")) == (None, {})
    active, _ = found(video(BLINK), video([5, 5], name="photo.jpg"))
    assert active == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, -1, -1]


def test_a_threshold_of_zero_has_no_open_eye():
    active, facts = found(video(BLINK, levels=False), cuts=np.array([0.5, 0.0]))
    assert active is None and "threshold of AU43 is 0" in facts["AU45"]["not_counted"]["talk.mp4"]
