from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.data.windows import (
    check_runs,
    cut_chunks,
    evaluation_windows,
    find_runs,
    label_frames,
    training_window,
    window,
    window_subset,
)
from auformer.errors import ManifestError


def rows(*runs: tuple[str, str, int, range], **columns) -> pd.DataFrame:
    """A row per frame of `(subject, sequence, face, frames)`."""
    keys = [
        {"dataset": "d", "subject": subject, "sequence": sequence, "face": face, "frame": frame}
        for subject, sequence, face, frames in runs
        for frame in frames
    ]
    return pd.DataFrame(keys).assign(status="ok", **columns)


def lists(runs) -> list[list[int]]:
    return [run.tolist() for run in runs]


def test_runs_end_at_faces_sequences_gaps_and_rows_without_a_face():
    frame = rows(("b", "q", 0, range(3)), ("a", "q", 0, range(5)), ("a", "q", 1, range(2)), ("a", "r", 0, range(7, 9)))
    assert lists(find_runs(frame)) == [[3, 4, 5, 6, 7], [8, 9], [10, 11], [0, 1, 2]]
    gap = frame.drop(index=5)
    assert [len(run) for run in find_runs(gap)] == [2, 2, 2, 2, 3]
    lost = frame.assign(status=np.where(frame.index == 5, "no_face", "ok"))
    assert lists(find_runs(lost)) == [[3, 4], [6, 7], [8, 9], [10, 11], [0, 1, 2]]
    clips = rows(("a", "q", 0, range(6))).assign(clip=["x"] * 3 + ["y"] * 3)
    assert lists(find_runs(clips)) == [[0, 1, 2], [3, 4, 5]]
    assert find_runs(frame[:0]) == [] and find_runs(lost[lost["status"] == "no_face"]) == []


def test_runs_do_not_depend_on_the_order_of_rows():
    frame = rows(("b", "q", 0, range(4)), ("a", "q", 0, range(5)), ("a", "q", 1, range(3)))
    shuffled = frame.sample(frac=1, random_state=3)
    keys = ["subject", "sequence", "face", "frame"]
    want = [frame.iloc[run][keys].to_numpy().tolist() for run in find_runs(frame)]
    assert [shuffled.iloc[run][keys].to_numpy().tolist() for run in find_runs(shuffled)] == want


def test_rows_without_neighbours_are_refused():
    alone = find_runs(rows(("a", "q", 0, range(0, 20, 2))))
    with pytest.raises(ManifestError, match="expected consecutive frames for clips of 4.* number the frames 0, 1, 2"):
        check_runs(alone, 4, "m.csv")
    check_runs(find_runs(rows(("a", "q", 0, range(2)))), 4, "m.csv")


def test_windows_of_evaluation_by_hand():
    places, counts = evaluation_windows([np.arange(5), np.array([9])], 4)
    assert places.tolist() == [[0, 1, 2, 3], [4, 4, 4, 4], [9, 9, 9, 9]]
    assert counts.tolist() == [[True] * 4, [True, False, False, False], [True, False, False, False]]
    places, counts = evaluation_windows([np.arange(10)], 4, step=2)
    assert places[:, 0].tolist() == [0, 2, 4, 6]
    assert [row[count].tolist() for row, count in zip(places, counts, strict=True)] == [
        [0, 1, 2],
        [3, 4],
        [5, 6],
        [7, 8, 9],
    ]
    assert evaluation_windows([], 4)[0].shape == (0, 4)


@pytest.mark.parametrize("step", [None, 1, 3, 8])
@pytest.mark.parametrize("lengths", [(1,), (7, 8, 9), (40, 3, 17)])
def test_every_row_counts_once_and_no_window_leaves_its_run(step, lengths):
    ends = np.cumsum(lengths)
    runs = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    places, counts = evaluation_windows(runs, 8, step)
    assert sorted(places[counts].tolist()) == list(range(ends[-1]))
    home = np.searchsorted(ends, places, side="right")
    assert (home == home[:, :1]).all()
    inside = places[:, 1:] - places[:, :-1]
    assert ((inside == 1) | ((inside == 0) & ~counts[:, 1:])).all()


def test_windows_of_training():
    run = np.arange(100, 120)
    starts = {int(training_window(run, 16, np.random.default_rng(seed))[0][0]) for seed in range(200)}
    assert starts == set(range(100, 105))  # both ends included
    places, real = training_window(run[:3], 5, np.random.default_rng(0))
    assert places.tolist() == [100, 101, 102, 102, 102] and real.tolist() == [True] * 3 + [False] * 2
    assert window(run, 18, 4)[0].tolist() == [118, 119, 119, 119]


def test_counts_of_the_released_lists():
    """DISFA: 18 training videos, 26 of 27 with 4,845 rows and one with 4,844; clips per epoch in both states of the
    released code, and windows of the whole list's third (nine videos, 2,727)."""
    videos = [np.arange(4845)] * 17 + [np.arange(4844)]
    assert len(cut_chunks(videos, None)) == 18 and len(cut_chunks(videos, 607)) == 144
    assert len(evaluation_windows([np.arange(4845)] * 9, 16)[0]) == 2727
    padded = (~evaluation_windows([np.arange(4845)] * 9, 16)[1]).sum()
    assert padded == 27


def test_subsets_keep_windows_and_nest():
    frame = rows(("a", "q", 0, range(30)), ("b", "q", 0, range(20)))
    few, many = (window_subset(frame, size, 8, seed=1) for size in (10, 26))
    assert len(few) == 10 and len(many) == 26 and set(few.index) < set(many.index)
    assert {len(run) for run in find_runs(few)} == {8, 2}
    assert len(window_subset(frame, 1.0, 8)) == 50
    assert not few.index.equals(window_subset(frame, 10, 8, seed=2).index)
    for size in (0, 51, 1.5, True):
        with pytest.raises(ValueError, match="Expected `size`"):
            window_subset(frame, size, 8)


def test_labels_of_frames():
    frame = rows(("a", "q", 0, range(4)), AU1=1, AU4=1, AU1_intensity=[0.4, 0.5, np.nan, 3.0])
    found = label_frames(frame, ["AU1", "AU4"], 1)
    assert found["AU1"].tolist() == [0, 1, -1, 1] and found["AU4"].tolist() == [-1] * 4
    assert frame["AU1"].tolist() == [1] * 4
    assert label_frames(frame, ["AU1"], 3)["AU1"].tolist() == [0, 0, -1, 1]
    with pytest.raises(ManifestError, match="Expected intensities per frame"):
        label_frames(frame[["frame", "AU1"]], ["AU1"], 1)
