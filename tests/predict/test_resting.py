"""The resting level of a face: by hand, per track, and where it declines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.predict.resting import FEWEST, resting_level, resting_notes, subtract_resting_levels


def rows(levels, face=0, name="talk.mp4", status="ok"):
    """Rows of one face whose AU12 has these intensities; AU1 has 5 less."""
    levels = np.asarray(levels, float)
    table = pd.DataFrame({"subject": name, "frame": np.arange(len(levels)), "face": face, "status": status})
    return table.assign(AU12_prob=0.5, AU12_intensity_pred=levels, AU1_intensity_pred=5 - levels)


def subtracted(*parts, videos=("talk.mp4",)):
    table = pd.concat(parts, ignore_index=True)
    return subtract_resting_levels(table, ["AU12", "AU1"], videos)


def test_the_level_is_the_value_a_tenth_from_below():
    values = np.column_stack([np.arange(100.0), np.full(100, 2.0)])
    assert resting_level(np.random.default_rng(0).permutation(values)).tolist() == [10, 2]
    assert resting_level(np.array([[3.0], [1.0]])).tolist() == [1]  # few values: the lowest


def test_a_track_by_hand():
    """20 of 100 frames at 1, the rest at 4: the level of AU12 is 1, that of AU1 (4 and 1) is 1."""
    levels = np.where(np.arange(100) % 5 == 0, 1.0, 4.0)
    table, facts = subtracted(rows(levels))
    assert table["AU12_intensity_pred"].tolist() == (levels - 1).tolist()
    assert table["AU1_intensity_pred"].tolist() == (5 - levels - 1).tolist()
    assert (table["AU12_prob"] == 0.5).all()
    assert facts == {"talk.mp4": {"0": {"frames": 100, "levels": {"AU12": 1.0, "AU1": 1.0}}}}


def test_never_below_zero():
    levels = np.concatenate([np.full(5, 0.2), np.full(95, 3.0)])  # fewer than a tenth are lower
    table, _ = subtracted(rows(levels))
    assert table["AU12_intensity_pred"].unique().tolist() == [0.0]


def test_each_track_has_its_own_level_and_a_short_one_none():
    calm, slight, short = np.full(FEWEST, 0.5), np.full(FEWEST + 7, 2.0), np.full(FEWEST - 1, 2.0)
    table, facts = subtracted(
        rows(calm), rows(slight, 1), rows(short, 2), rows(slight, 0, "b.mp4"), videos={"talk.mp4"}
    )
    found = table.groupby(["subject", "face"])["AU12_intensity_pred"].first()
    assert found.tolist() == [2.0, 0.0, 0.0, 2.0]  # b.mp4 is no video here: as it was
    tracks = facts["talk.mp4"]
    assert list(facts) == ["talk.mp4"] and [one["frames"] for one in tracks.values()] == [100, 107, 99]
    assert tracks["2"]["levels"] is None and tracks["1"]["levels"] == {"AU12": 2.0, "AU1": 3.0}


def test_frames_without_the_face_count_for_nothing():
    """They are in the table with nan; a track that returns under its number is one track."""
    seen = rows(np.full(FEWEST, 1.5))
    lost = rows(np.full(40, np.nan), status="no_face")
    table, facts = subtracted(seen.iloc[:60], lost, seen.iloc[60:])
    assert facts["talk.mp4"]["0"]["frames"] == FEWEST
    assert (table.loc[table["status"] == "ok", "AU12_intensity_pred"] == 0).all()
    assert table.loc[table["status"] != "ok", "AU12_intensity_pred"].isna().all()


def test_the_order_of_rows_does_not_matter():
    levels = np.random.default_rng(1).uniform(0, 5, 150)
    table = rows(levels)
    shuffled = table.sample(frac=1, random_state=0)
    plain, _ = subtract_resting_levels(table, ["AU12"], ["talk.mp4"])
    other, _ = subtract_resting_levels(shuffled, ["AU12"], ["talk.mp4"])
    pd.testing.assert_frame_equal(other.sort_index(), plain)
    assert table["AU12_intensity_pred"].tolist() == levels.tolist()  # what it was given stays


@pytest.mark.parametrize(
    ("levels", "photos", "intensity", "said"),
    [
        ({}, False, False, ["this checkpoint predicts no intensities"]),
        ({}, True, True, ["no resting level was subtracted from photos"]),
        ({"a.mp4": {"0": {"frames": 300, "levels": {"AU1": 0.1}}}}, False, True, []),
        (
            {"a.mp4": {"3": {"frames": 40, "levels": None}}},
            False,
            True,
            ["a.mp4: .* face 3 .40 frames.: .* 100 frames"],
        ),
        (
            {"a.mp4": {str(k): {"frames": k, "levels": None} for k in range(7)}},
            True,
            True,
            ["photos", "faces 0 .0 frames., .*, 4 .4 frames. and 2 more"],
        ),
    ],
)
def test_what_it_says(levels, photos, intensity, said):
    notes = resting_notes(levels, photos=photos, intensity=intensity)
    assert len(notes) == len(said)
    for note, words in zip(notes, said, strict=True):
        assert pd.Series([note]).str.contains(words).all()
