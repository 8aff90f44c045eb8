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


def test_faces_by_boxes_whatever_their_numbers():
    first = table([(0, 0, 0.0), (0, 1, 50.0), (1, 0, None)], AU1_prob=[0.1, 0.9, np.nan])
    second = table(
        [(0, 0, 52.0), (0, 7, 1.0), (1, 0, 3.0), (9, 0, 0.0)], AU1_prob=[0.8, 0.2, 0.5, 0.5], source="other/talk.avi"
    )
    pairs = pair_rows(first, second)
    assert list(zip(pairs.first["AU1_prob"], pairs.second["AU1_prob"], strict=True)) == [(0.1, 0.2), (0.9, 0.8)]
    assert pairs.counts == {"images": 2, "in_both": 2, "only_first": 0, "only_second": 1}


def test_faces_far_apart_are_two():
    pairs = pair_rows(table([(0, 0, 0.0)], AU1_prob=0.1), table([(0, 0, 90.0)], AU1_prob=0.1))
    assert pairs.counts == {"images": 1, "in_both": 0, "only_first": 1, "only_second": 1}


def test_without_boxes_by_order():
    first = table([(0, 3, 0.0), (0, 5, 50.0), (1, 3, 0.0)], AU1_prob=[0.1, 0.9, 0.4])
    pairs = pair_rows(first, table([(0, 0, 1.0), (0, 1, 1.0), (1, 1, 1.0)], boxes=False, AU1_active=[0, 1, 0]))
    assert pairs.second["AU1_active"].tolist() == [0, 1, 0] and pairs.first["AU1_prob"].tolist() == [0.1, 0.9, 0.4]


def test_several_sources_by_name():
    both = pd.concat([table([(0, 0, 0.0)], "a/one.mp4", AU1_prob=0.1), table([(0, 0, 0.0)], "b/two.mp4", AU1_prob=0.2)])
    pairs = pair_rows(both, table([(0, 0, 0.0)], "two.csv", AU1_prob=0.9))
    assert pairs.first["AU1_prob"].tolist() == [0.2]
    with pytest.raises(ValueError, match="about the same images, but got sources one, two"):
        pair_rows(both, table([(0, 0, 0.0)], "three.csv", AU1_prob=0.9))


def test_agreement_by_hand():
    """Active 1 1 0 0 and 1 0 0 0: they agree on 3 of 4; by chance 0.5 * 0.25 + 0.5 * 0.75 = 0.5, so kappa is 0.5."""
    rows = [(k, 0, 0.0) for k in range(5)]
    nan = np.nan
    first = table(rows, AU1_active=[1, 1, 0, 0, 1], AU1_prob=[0.9, 0.8, 0.2, 0.1, 0.7], AU2_prob=0.1, AU4_prob=0.5)
    second = table(
        rows,
        AU1_active=pd.array([1, 0, 0, 0, None], "Int8"),
        AU1_intensity=[4.0, 3.5, 0.5, 0.0, nan],
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
