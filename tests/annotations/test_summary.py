"""Statistics by hand, against plain loops, and in R."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.annotations import collect, cooccurrence, episode_table, summarise
from auformer.cli import main
from auformer.predict import read_predictions
from tests.helpers.annotated import AUS, EPISODES, rows, talk, write_predictions_of

PAGE = Path(__file__).parents[2] / "docs" / "r.md"


def of(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    return read_predictions(write_predictions_of(table, folder))


def row(table: pd.DataFrame, **wanted) -> pd.Series:
    (found,) = [each for _, each in table.iterrows() if all(each[name] == value for name, value in wanted.items())]
    return found


class TestSummary:
    def test_by_hand(self, tmp_path):
        """Face 1: 9 of 21 frames are seen, 0.36 s; AU12 in 7 of them, in two episodes of 0.2 and 0.08 s."""
        table = summarise(of(talk(), tmp_path))
        assert len(table) == 4
        one = row(table, face=1, au="AU12")
        assert (one["frames"], one["usable_frames"], one["usable_s"]) == (21, 9, 0.36)
        assert one["usable_share"] == round(9 / 21, 4) and one["active_share"] == round(7 / 9, 4)
        assert one["episodes"] == 2 and one["episodes_per_minute"] == round(2 / 0.36 * 60, 4)
        assert one["mean_duration_s"] == 0.14 and one["mean_prob"] == round((7 * 0.75 + 2 * 0.25) / 9, 4)
        assert one["mean_intensity"] == round(7 / 9, 4) and one["mean_intensity_active"] == one["peak_intensity"] == 1.0
        never = row(table, face=0, au="AU1")
        assert never["episodes"] == 0 and never["active_share"] == 0 and np.isnan(never["mean_duration_s"])

    def test_shares_are_of_time_where_frames_differ_in_length(self, tmp_path):
        table = rows(range(4), {"AU12": [1]})
        table["time_s"] = [0.0, 0.1, 0.15, 0.25]
        one = row(summarise(of(table, tmp_path)), au="AU12")
        assert one["usable_s"] == 0.35 and one["active_share"] == round(0.05 / 0.35, 4)

    def test_without_times_shares_are_of_images(self, tmp_path):
        table = rows(range(4), {"AU12": [1]}).assign(time_s=np.nan)
        one = row(summarise(of(table, tmp_path)), au="AU12")
        assert one["active_share"] == 0.25 and one["usable_frames"] == 4
        assert all(pd.isna(one[name]) for name in ("usable_s", "episodes", "episodes_per_minute", "mean_duration_s"))

    def test_without_intensities(self, tmp_path):
        table = summarise(of(rows(range(4), {"AU12": [1]}, intensity=None), tmp_path))
        assert table[["mean_intensity", "mean_intensity_active", "peak_intensity"]].isna().all(axis=None)

    def test_nobody(self, tmp_path):
        with pytest.raises(ValueError, match="Expected a face in some image"):
            summarise(of(rows(range(4), {}, status="no_face"), tmp_path))


class TestPairs:
    def test_by_hand(self, tmp_path):
        """Face 1: AU1 in 1 of 9 frames, always with AU12, which is active in 7."""
        one = row(cooccurrence(of(talk(), tmp_path)), face=1)
        assert (one["au_1"], one["au_2"]) == ("AU1", "AU12")
        assert one["both_share"] == round(1 / 9, 4) and one["expected_share"] == round(7 / 81, 4)
        assert one["jaccard"] == round(1 / 7, 4) and one["share_of_1"] == 1.0 and one["share_of_2"] == round(1 / 7, 4)
        never = row(cooccurrence(of(talk(), tmp_path)), face=0)
        assert never["jaccard"] == 0 and np.isnan(never["share_of_1"])


class TestVideos:
    @pytest.mark.parametrize("seed", range(5))
    def test_numbers_of_episodes_are_those_of_a_loop(self, seed, tmp_path):
        rng = np.random.default_rng(seed)
        frames = np.flatnonzero(rng.random(80) < 0.9)
        table = rows(frames.tolist(), {"AU1": frames[rng.random(len(frames)) < 0.6].tolist()})
        table["AU1_prob"] = rng.random(len(table)).round(6)
        table["AU1_intensity_pred"] = np.where(
            rng.random(len(table)) < 0.2, np.nan, rng.uniform(0, 5, len(table)).round(6)
        )
        (video,) = collect(of(table, tmp_path)).videos
        for found in episode_table(video, video.people[0]).query("au == 'AU1'").to_dict("records"):
            own = table[(table["time_s"] >= found["begin_s"]) & (table["time_s"] < found["end_s"] - 1e-9)]
            assert len(own) == found["frames"] and own["AU1_active"].eq(1).all()
            assert found["mean_prob"] == pytest.approx(own["AU1_prob"].mean())
            for name, value in (("mean", own["AU1_intensity_pred"].mean()), ("peak", own["AU1_intensity_pred"].max())):
                assert found[f"{name}_intensity"] == pytest.approx(value, nan_ok=True)

    def test_people_and_files_of_a_data_set_are_named_by_subject(self, tmp_path):
        table = rows(range(3), {"AU1": [1]}).assign(dataset="bp4d", subject="F 001", sequence="T1").drop(columns="file")
        (video,) = collect(of(table, tmp_path)).videos
        assert video.stem == "F_001_T1" and video.people[0].label == "F_001" and video.file == ""

    def test_all_faces_and_no_rows_without_times(self, tmp_path):
        photo = rows([0], {}, name="photo.jpg").assign(time_s=np.nan)
        found = collect(of(pd.concat([talk(), photo]), tmp_path))
        assert (found.rows_without_times, found.sources_without_times) == (1, 1) and len(found.videos) == 1
        for person in found.videos[0].people:
            for au in AUS:
                table = episode_table(found.videos[0], person).query(f"au == '{au}'")
                spans = list(zip((1000 * table["begin_s"]).round(), (1000 * table["end_s"]).round(), strict=True))
                assert spans == EPISODES[person.face, au]


class TestCommand:
    def test_it_prints_means_and_writes_both_tables(self, tmp_path, capsys):
        path = write_predictions_of(talk(), tmp_path)
        words = ["summarise", str(path), "--out", str(tmp_path / "s.csv"), "--pairs", str(tmp_path / "p.parquet")]
        assert main(words) == 0
        said = capsys.readouterr().out
        assert "2 people in 1 sources; seen in 29 of 42 frames" in said
        (line,) = [line for line in said.splitlines() if line.startswith("AU12")]
        assert line.split()[1] == f"{100 * np.mean([4 / 20, 7 / 9]):.1f}"
        assert len(pd.read_csv(tmp_path / "s.csv")) == 4 and len(pd.read_parquet(tmp_path / "p.parquet")) == 2
        assert main(words) == 1 and "--overwrite" in capsys.readouterr().err
        assert main([*words, "--overwrite"]) == 0

    @pytest.mark.parametrize("words", [["--out", "a.txt"], ["--out", "a.csv", "--pairs", "a.csv"]])
    def test_outputs_that_cannot_be(self, words, tmp_path, capsys):
        path = write_predictions_of(talk(), tmp_path)
        assert main(["summarise", str(path), *words]) == 1
        assert "Expected" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_the_code_of_the_page_runs_in_r(tmp_path):
    table = pd.concat([talk(), rows(range(30), {"AU1": [1], "AU12": [2, 3, 4]}, name="b.mp4")])
    path = write_predictions_of(table.assign(status="ok").dropna(subset="AU1_prob"), tmp_path)
    words = ["summarise", str(path), "--out", str(tmp_path / "summary.csv"), "--pairs", str(tmp_path / "pairs.csv")]
    assert main(words) == 0
    (code,) = re.findall(r"```r\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "page.R").write_text(code, encoding="utf-8")
    done = subprocess.run(["Rscript", "--vanilla", "page.R"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Wilcoxon" in done.stdout and "AU12" in done.stdout and "excess" in done.stdout


def test_the_page_names_every_column(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    table = of(talk(), tmp_path)
    missing = [name for each in (summarise(table), cooccurrence(table)) for name in each if name not in text]
    assert [name for name in missing if name not in ("au_1", "au_2", "share_of_1", "share_of_2")] == []
