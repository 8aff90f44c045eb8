"""Pairs of rows and agreement, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.predict.agreement import agreement, pair_rows


def table(rows, source="talk.mp4", boxes=True, **columns):
    """Rows of frame, face and x; a face is 10 pixels wide; x None is a frame without a face."""
    out = pd.DataFrame(rows, columns=["frame", "face", "x"])
    out["subject"] = source
    out["status"] = ["no_face" if x is None or x != x else "ok" for x in out["x"]]
    if boxes:
        out = out.assign(y=0.0, w=10.0, h=10.0)
    else:
        out = out.drop(columns="x")
    return out.assign(**columns)


def told(pairs):
    """The counts that are not 0."""
    return {name: count for name, count in pairs.counts.items() if count}


def test_faces_by_boxes_whatever_their_numbers():
    first = table([(0, 0, 0.0), (0, 1, 50.0), (1, 0, None)], AU1_prob=[0.1, 0.9, np.nan])
    second = table(
        [(0, 0, 52.0), (0, 7, 1.0), (1, 0, 3.0), (9, 0, 0.0)], AU1_prob=[0.8, 0.2, 0.5, 0.5], source="other/talk.avi"
    )
    pairs = pair_rows(first, second)
    assert list(zip(pairs.first["AU1_prob"], pairs.second["AU1_prob"], strict=True)) == [(0.1, 0.2), (0.9, 0.8)]
    assert told(pairs) == {"images": 2, "images_second": 1, "in_both": 2, "only_second": 1}


def test_faces_far_apart_are_two():
    pairs = pair_rows(table([(0, 0, 0.0)], AU1_prob=0.1), table([(0, 0, 90.0)], AU1_prob=0.1))
    assert told(pairs) == {"images": 1, "only_first": 1, "only_second": 1}


def test_a_box_inside_the_other_is_of_the_same_face():
    """Boxes of landmarks are smaller than those of detectors, and lie inside them."""
    first = table([(0, 0, 0.0), (0, 1, 50.0)], AU1_prob=[0.1, 0.9]).assign(w=30.0, h=30.0)
    second = table([(0, 0, 60.0), (0, 1, 10.0)], AU1_prob=[0.8, 0.2]).assign(y=10.0)
    pairs = pair_rows(first, second)
    assert list(zip(pairs.first["AU1_prob"], pairs.second["AU1_prob"], strict=True)) == [(0.1, 0.2), (0.9, 0.8)]


def test_without_places_one_face_is_the_same_and_several_are_not_guessed():
    first = table([(0, 3, 0.0), (0, 5, 50.0), (1, 3, 0.0)], AU1_prob=[0.1, 0.9, 0.4])
    pairs = pair_rows(first, table([(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0)], boxes=False, AU1_active=[0, 1, 0]))
    assert pairs.second["AU1_active"].tolist() == [0] and pairs.first["AU1_prob"].tolist() == [0.4]
    assert told(pairs) == {"images": 2, "in_both": 1, "undecided": 2}


def test_images_in_one_file_only_and_unreadable_ones_are_counted():
    first = pd.concat([
        table([(0, 0, 0.0), (1, 0, 0.0), (2, 0, 0.0)], "a.mp4", AU1_prob=0.1),
        table([(0, 0, None)], "b.mp4").assign(status="unreadable"), table([(0, 0, 0.0)], "c.mp4", AU1_prob=0.1),
    ])  # fmt: skip
    second = pd.concat([
        table([(1, 0, 0.0), (2, 0, 0.0), (3, 0, 0.0)], "a.mp4", AU1_prob=0.1),
        table([(0, 0, 0.0)], "b.mp4", AU1_prob=0.1), table([(0, 0, 0.0)], "d.mp4", AU1_prob=0.1),
    ])  # fmt: skip
    pairs = pair_rows(first, second)
    expected = {"images": 2, "images_first": 2, "images_second": 3, "in_both": 2, "unreadable_first": 1}
    assert told(pairs) == expected and pairs.alone == (["c.mp4"], ["d.mp4"])


def test_sources_of_one_name_in_two_folders():
    ours = pd.concat([table([(0, 0, 0.0)], f"p{k}/a.jpg", AU1_prob=k / 10) for k in (1, 2)])
    theirs = pd.concat([table([(0, 0, 0.0)], f"/data/p{k}/a.jpg", AU1_prob=k / 10) for k in (2, 1)])
    pairs = pair_rows(ours, theirs)
    assert pairs.first["AU1_prob"].tolist() == pairs.second["AU1_prob"].tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match=r"a may be p1/a.jpg or p2/a.jpg; rename"):
        pair_rows(ours, table([(0, 0, 0.0)], "a", AU1_prob=0.1))


def test_a_film_and_a_photograph_of_one_name():
    both = pd.concat([table([(0, 0, 0.0)], name, AU1_prob=p) for name, p in (("a.jpg", 0.1), ("a.mp4", 0.2))])
    assert pair_rows(both, table([(0, 0, 0.0)], "x/a.mp4", AU1_prob=0.9)).first["AU1_prob"].tolist() == [0.2]


def test_several_sources_by_name():
    both = pd.concat([table([(0, 0, 0.0)], "a/one.mp4", AU1_prob=0.1), table([(0, 0, 0.0)], "b/two.mp4", AU1_prob=0.2)])
    pairs = pair_rows(both, table([(0, 0, 0.0)], "two.csv", AU1_prob=0.9))
    assert pairs.first["AU1_prob"].tolist() == [0.2]
    with pytest.raises(ValueError, match="about the same images, but got sources a/one.mp4, b/two.mp4"):
        pair_rows(both, table([(0, 0, 0.0)], "three.csv", AU1_prob=0.9))


def test_agreement_by_hand():
    """Active 1 1 0 0 and 1 0 0 0: they agree on 3 of 4; by chance 0.5 * 0.25 + 0.5 * 0.75 = 0.5, so kappa is 0.5."""
    rows = [(k, 0, 0.0) for k in range(5)]
    nan = np.nan
    first = table(rows, AU1_active=[1, 1, 0, 0, 1], AU1_prob=[0.9, 0.8, 0.2, 0.1, 0.7], AU2_prob=0.1, AU4_prob=0.5)
    second = table(
        rows,
        AU1_active=pd.array([1, 0, 0, 0, None], "Int8"),
        AU1_intensity_pred=[4.0, 3.5, 0.5, 0.0, nan],
        AU2_prob=[0.1, 0.2, 0.3, 0.4, 0.5],
    )
    found = agreement(pair_rows(first, second)).set_index("au")
    assert list(found.index) == ["AU1", "AU2"]
    assert found.loc["AU1", ["faces", "active_first", "active_second", "agree", "kappa"]].tolist() == [
        4,
        0.5,
        0.25,
        0.75,
        0.5,
    ]
    assert found.loc["AU1", "correlation"] == pytest.approx(np.corrcoef([0.9, 0.8, 0.2, 0.1], [4, 3.5, 0.5, 0])[0, 1])
    assert found.loc["AU2", "agree"] == pytest.approx(0.8)
    assert np.isnan(found.loc["AU2", "correlation"])
    assert found.loc["AU2", "kappa"] == 0
