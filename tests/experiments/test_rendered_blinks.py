"""Blinks counted in rendered videos: by hand, and with predictions that are the truth, miss some, or add some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auformer.files import read_json
from auformer.synthetic.writing import render_dataset
from experiments.ablations import rendered_blinks
from experiments.ablations.rendered_blinks import compare, count, summarise


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos") / "set"
    return render_dataset(folder, lab="A", subjects=1, videos=3, frames=150, au_names="AU43", size=32).parent


def predicted(folder: Path) -> pd.DataFrame:
    """What a detector that knows the truth would have written."""
    table = pd.read_csv(folder / "manifest.csv")
    table = table[["dataset", "subject", "sequence", "frame", "face", "file", "time_s", "AU45"]]
    table["file"] = str(folder) + "/" + table["file"]
    return table.rename(columns={"AU45": "AU45_active"}).assign(AU43_prob=0.5)


def test_blinks_of_one_video_by_hand() -> None:
    assert compare([], [(1, 2)]) == {"rendered": 0, "counted": 1, "right": 0}
    assert compare([(1, 5)], [(1, 2), (4, 5)]) == {"rendered": 1, "counted": 2, "right": 1}  # one blink in two parts
    assert compare([(1, 5), (9, 12)], [(4, 10)]) == {"rendered": 2, "counted": 1, "right": 1}
    row = {"frames": 9, "with_face": 8, "rendered": 3, "counted": 4, "right": 2, "whole": 2, "whole_right": 1}
    assert summarise([row] * 2) == {
        "videos": 2, "frames": 18, "with_face": 16, "rendered": 6, "counted": 8, "right": 4, "whole": 4,
        "whole_right": 2, "counted_over_rendered": 1.3333, "sensitivity": 0.6667, "precision": 0.5,
    }  # fmt: skip


def test_the_truth_counts_every_blink_and_errors_are_seen(videos: Path) -> None:
    table = predicted(videos)
    perfect = summarise(count(videos, table))
    assert perfect["rendered"] == perfect["counted"] == perfect["right"] > 3 and perfect["videos"] == 3
    first = table["frame"][table["AU45_active"] == 1].iloc[0]
    blind, eager = table.copy(), table.copy()
    blind.loc[blind["sequence"] == "video000", "AU45_active"] = 0
    assert summarise(count(videos, blind))["right"] < perfect["right"]
    eager.loc[(eager["frame"] < 3), "AU45_active"] = 1
    assert summarise(count(videos, eager))["counted"] == perfect["counted"] + 3 and first > 4
    assert perfect["whole"] == perfect["whole_right"] == perfect["rendered"] and perfect["with_face"] == 450
    lost = table.mask((table["frame"] == first) & (table["sequence"] == "video000"))
    lost = lost.assign(file=table["file"], frame=table["frame"])
    assert summarise(count(videos, lost))["whole"] == perfect["whole"] - 1
    assert summarise(count(videos, lost))["with_face"] == 449
    with pytest.raises(SystemExit, match="must predict AU43"):
        count(videos, table.drop(columns="AU45_active"))


def test_the_script_renders_predicts_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def stand_in(words: list[str]) -> int:
        calls.append(words)
        folder, out = Path(words[1]).parent, Path(words[words.index("--out") + 1])
        out.mkdir()
        predicted(folder).to_csv(out / "predictions.csv", index=False)
        return 0

    monkeypatch.setattr(rendered_blinks, "auformer", stand_in)
    monkeypatch.setattr(rendered_blinks, "SIZE", 32)
    words = ["--folder", str(tmp_path / "run"), "--out", str(tmp_path), "--subjects", "1", "--seconds", "5"]
    result: dict[str, Any] = rendered_blinks.main(words)
    assert read_json(tmp_path / "rendered_blinks.json") == result and len(calls) == 2
    assert all(lab["counted_over_rendered"] == 1 and lab["videos"] == 2 for lab in result["labs"].values())
    assert (tmp_path / "rendered_blinks.md").read_text(encoding="utf-8") == rendered_blinks.page(result)
    monkeypatch.setattr(rendered_blinks, "auformer", lambda words: 1)
    with pytest.raises(SystemExit, match="not all videos"):
        rendered_blinks.main(words)
