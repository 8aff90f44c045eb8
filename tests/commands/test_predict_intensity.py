"""`auformer predict` with a checkpoint that has an intensity head, and with one that has none."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.models import load_detector
from auformer.predict import AUPredictor, Selection, find_sources, predict_to_files
from auformer.predict import read_predictions as read_any
from auformer.predict import resting as resting_module
from tests.helpers.photos import write_photos
from tests.helpers.predicting import files, make_checkpoint, make_clips, predict_with, rows, same, sidecar
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving

AUS = ("AU12", "AU43", "AU1")
LEVELS = [f"{au}_intensity_pred" for au in AUS]
STEP = "auformer.predict.pipeline.RESUME_FRAMES"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny AUFormer with an ordinal head."""
    return make_checkpoint(tmp_path_factory.mktemp("levels"), au_names=AUS, intensity="ordinal")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One without a head."""
    return make_checkpoint(tmp_path_factory.mktemp("plain"), au_names=AUS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """`talk.mp4` and `pair.mp4` at 10 frames a second, `quick.mp4` at 25."""
    folder = make_clips(tmp_path_factory.mktemp("clips"))
    write_video(folder / "quick.mp4", moving(14), fps=25)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def few(monkeypatch):
    """A resting level of four frames, so that clips are short."""
    monkeypatch.setattr(resting_module, "FEWEST", 4)


@pytest.fixture
def lids(monkeypatch):
    """Predictions without a network: AU43's intensity is 4.5 in three of 14 frames."""
    seen = []

    def outputs(self, crops, clips=None):
        levels = []
        for _ in crops:
            seen.append(len(seen))
            levels.append([1.0 + len(seen) % 3, 4.5 if len(seen) % 14 in (5, 6, 7) else 0.25, 0.5])
        levels = np.array(levels).reshape(-1, 3)
        return {"probs": levels / 5, "intensity": levels}

    monkeypatch.setattr(AUPredictor, "outputs", outputs)
    return seen


class TestColumns:
    def test_the_network_s_intensities_stand_behind_each_au(self, clips, checkpoint, out, capsys):
        assert predict_with(checkpoint, clips / "talk.mp4", "--out", out, "--every", 3) == 0
        table = rows(out)
        kinds = ("prob", "active", "intensity_pred")
        assert list(table)[-9:] == [f"{au}_{kind}" for au in AUS for kind in kinds]
        assert table.loc[table["status"] != "ok", LEVELS].isna().all(axis=None)
        network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
        predictor = AUPredictor(network)
        found = list(predictor.stream(find_sources([clips / "talk.mp4"]), selection=Selection(every=3)))[:-1]
        crops = [image.faces[0].crop for image in found if image.faces]
        expected = predictor.outputs(crops)
        seen = table[table["status"] == "ok"]
        assert np.allclose(seen[LEVELS], expected["intensity"], atol=1e-5)
        assert np.allclose(seen[[f"{au}_prob" for au in AUS]], predictor.predict_proba(crops), atol=1e-6)
        assert ((expected["intensity"] > 0) & (expected["intensity"] < 5)).all()
        assert "its intensity, 0 to 5, are two outputs" in capsys.readouterr().out

    def test_without_a_head_there_is_no_column_and_no_word_of_it(self, clips, plain, out, capsys):
        assert predict_with(plain, clips / "talk.mp4", "--out", out, "--report") == 0
        assert not [name for name in rows(out) if "intensity" in name]
        assert "not intensities" in capsys.readouterr().out
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "not intensities" in page and "0 to 5" not in page

    def test_openface_and_pyfeat(self, clips, checkpoint, plain, tmp_path):
        for kind, name in (("openface", "of"), ("pyfeat", "feat")):
            words = (clips / "talk.mp4", "--format", kind, "--out")
            assert predict_with(checkpoint, *words, tmp_path / name) == 0
            assert predict_with(plain, *words, tmp_path / f"{name}-plain") == 0
        assert predict_with(checkpoint, clips / "talk.mp4", "--out", tmp_path / "own") == 0
        back, own = read_any(tmp_path / "of" / "talk.csv"), rows(tmp_path / "own")
        for au in ("AU1", "AU12"):
            assert np.allclose(back[f"{au}_intensity_pred"], own[f"{au}_intensity_pred"].round(2), equal_nan=True)
        assert sidecar(tmp_path / "of", "talk.json")["values"].endswith("AU.._r: intensity, 0 to 5")
        empty = pd.read_csv(tmp_path / "of-plain" / "talk.csv")
        assert len(empty.filter(regex="_r$").columns) == 17 and empty.filter(regex="_r$").isna().all(axis=None)
        assert empty["AU12_c"].notna().sum() == 10
        assert "predicts no intensities" in sidecar(tmp_path / "of-plain", "talk.json")["values"]
        a, b = (list(pd.read_csv(tmp_path / name / "talk.csv")) for name in ("feat", "feat-plain"))
        assert a == b  # Py-Feat's columns are as they were

    def test_photos_say_it_and_have_no_blinks(self, checkpoint, tmp_path, out, capsys):
        assert predict_with(checkpoint, write_photos(tmp_path)["two"], "--out", out, "--report", "--annotate") == 0
        table, said = rows(out), capsys.readouterr().out
        assert f"{table['AU12_intensity_pred'][0]:4.2f} of 5" in said and "AU45_active" not in table
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "Probability and intensity, the largest face first" in page
        assert f"{table['AU1_intensity_pred'][0]:.1f} of 5</td>" in page


class TestBlinks:
    def test_tables_sidecar_timeline_and_page(self, clips, checkpoint, lids, out):
        assert (
            predict_with(checkpoint, clips / "quick.mp4", clips / "talk.mp4", "--out", out, "--report", "--plot") == 0
        )
        table = rows(out)
        quick, talk = (table[table["subject"] == f"{name}.mp4"] for name in ("quick", "talk"))
        assert quick["AU45_active"].tolist() == [0] * 4 + [1] * 3 + [0] * 7
        assert quick["AU45_intensity_pred"].tolist() == [0] * 4 + [4.5] * 3 + [0] * 7
        assert talk[["AU45_active", "AU45_intensity_pred"]].isna().all(axis=None) and "AU45_prob" not in table
        facts = sidecar(out)["AU45"]
        assert list(facts["not_counted"]) == ["talk.mp4"] and "less than 0.5 s" in facts["rule"]
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "AU45 Blink" in page and "each episode is a blink" in page and (out / "quick_timeline.png").is_file()
        assert "Intensity, 0 to 5, of each person" in page

    def test_openface_has_its_columns(self, clips, checkpoint, lids, out):
        assert predict_with(checkpoint, clips / "quick.mp4", "--out", out, "--format", "openface") == 0
        table = pd.read_csv(out / "quick.csv")
        assert table["AU45_c"].tolist() == [0] * 4 + [1] * 3 + [0] * 7
        assert table["AU45_r"].tolist() == [0] * 4 + [4.5] * 3 + [0] * 7
        assert not {"AU45_r", "AU45_c"} & set(sidecar(out, "quick.json")["columns_without_values"])


class TestRestingLevel:
    def test_it_is_subtracted_and_told(self, clips, checkpoint, few, out, tmp_path, capsys):
        """Each track by its own level; what occurs stays; the page says so."""
        words = (clips / "talk.mp4", clips / "pair.mp4", "--out")
        assert predict_with(checkpoint, *words, tmp_path / "raw") == 0
        capsys.readouterr()
        assert predict_with(checkpoint, *words, out, "--subtract-resting-level", "--report") == 0
        table, raw, side = rows(out), rows(tmp_path / "raw"), sidecar(out)
        assert side["settings"]["resting_level"]["quantile"] == 0.1
        assert sidecar(tmp_path / "raw")["settings"]["resting_level"] is None
        assert {name: set(tracks) for name, tracks in side["resting_levels"].items()} == {
            "talk.mp4": {"0"},
            "pair.mp4": {"0", "1"},
        }
        seen = raw[raw["status"] == "ok"]
        for (name, face), track in seen.groupby(["subject", "face"]):
            for column in LEVELS:
                level = side["resting_levels"][name][str(face)]["levels"][column.partition("_")[0]]
                assert level == np.sort(track[column])[len(track) // 10]
                expected = (track[column] - level).clip(0, 5)
                assert np.allclose(table.loc[track.index, column], expected, atol=1e-6)
        pd.testing.assert_frame_equal(table.drop(columns=LEVELS), raw.drop(columns=LEVELS))
        assert "resting level of each face was subtracted" in (out / "report.html").read_text(encoding="utf-8")
        assert "no resting level" not in capsys.readouterr().out

    def test_what_it_declines(self, clips, checkpoint, plain, tmp_path, out, capsys):
        """Too few frames, a photo, no head: a message, the sidecar says so, and nothing else changes."""
        photo, words = write_photos(tmp_path / "p")["one"], ("--no-plot", "--out")
        assert predict_with(checkpoint, clips / "talk.mp4", photo, *words, tmp_path / "raw") == 0
        option = "--subtract-resting-level"
        assert predict_with(checkpoint, clips / "talk.mp4", photo, *words, out, option) == 0
        same(rows(out), rows(tmp_path / "raw"))
        said = capsys.readouterr().out
        assert "face 0 (10 frames): it takes 100 frames" in said and "subtracted from photos" in said
        side = sidecar(out)
        assert list(side["resting_levels"].values()) == [{"0": {"frames": 10, "levels": None}}]
        assert len(side["resting_notes"]) == 2
        assert predict_with(plain, clips / "talk.mp4", *words, tmp_path / "none", option) == 0
        assert "this checkpoint predicts no intensities" in capsys.readouterr().out
        assert sidecar(tmp_path / "none")["resting_levels"] == {}

    def test_a_camera_is_refused(self, checkpoint, out, capsys):
        assert predict_with(checkpoint, "camera:0", "--out", out, "--subtract-resting-level") == 1
        assert "resting level" in capsys.readouterr().err

    def test_an_interrupted_run_ends_with_the_same_file(self, clips, checkpoint, few, out, tmp_path, monkeypatch):
        """With smoothing, tracking between detections, fewer frames, and blinks."""
        monkeypatch.setattr(STEP, 4)
        words = (clips / "quick.mp4", clips / "talk.mp4", "--batch-size", 1, "--detect-every", 2, "--smooth", 0.1)
        words = (*words, "--subtract-resting-level", "--out")
        assert predict_with(checkpoint, *words, tmp_path / "clean") == 0
        real, calls = AUPredictor.outputs, []

        def dying(self, crops, clips=None):
            calls.append(len(crops))
            if len(calls) in (11, 20):
                raise KeyboardInterrupt
            return real(self, crops)

        monkeypatch.setattr(AUPredictor, "outputs", dying)
        assert predict_with(checkpoint, *words, out) == 130 and files(out) == [".predict"]
        assert predict_with(checkpoint, *words, out) == 130 and files(out) == [".predict"]
        assert predict_with(checkpoint, *words, out) == 0 and len(calls) < 45
        for name in ("predictions.csv", "predictions.json"):
            assert (out / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
        assert rows(out)["AU45_active"].notna().any()

    def test_shards_joined_are_one_run(self, clips, checkpoint, few, out, tmp_path):
        words = (clips / "quick.mp4", clips / "talk.mp4", clips / "pair.mp4", "--subtract-resting-level", "--out")
        assert predict_with(checkpoint, *words, tmp_path / "whole") == 0
        for shard in ("1/2", "2/2"):
            assert predict_with(checkpoint, *words, out, "--shard", shard) == 0
        assert main(["predict", "--merge", str(out)]) == 0
        joined, whole = sidecar(out), sidecar(tmp_path / "whole")
        same(rows(out), rows(tmp_path / "whole").sort_values(["subject", "frame", "face"], ignore_index=True))
        assert joined["resting_levels"] == whole["resting_levels"]
        assert joined["AU45"] == whole["AU45"]


def test_a_library_call_gives_notes(clips, checkpoint, out):
    call = {"checkpoint": checkpoint, "backbone_checkpoint": checkpoint / "backbone.safetensors", "device": "cpu"}
    written = predict_to_files(
        clips / "talk.mp4", out, selection=Selection(every=4), subtract_resting_level=True, **call
    )
    assert len(written.notes) == 1 and "talk.mp4" in written.notes[0]
    assert json.loads((out / "predictions.json").read_text())["resting_notes"] == written.notes
