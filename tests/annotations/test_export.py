"""Exports read back by the programs' own libraries: exact times, values, people; and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.annotations import export_annotations
from auformer.cli import main
from auformer.predict import read_predictions
from tests.helpers.annotated import AUS, EPISODES, NAME, rows, talk, write_film, write_predictions_of

STEM = "Gespräch mit Zoë"


def export(table: pd.DataFrame, folder: Path, to: str, **options):
    """Write a table as a file, read it as the command does, export it to `folder/TO`."""
    path = write_predictions_of(table, folder)
    return export_annotations(read_predictions(path), folder / to, to, **options)


class TestElan:
    pympi = pytest.importorskip("pympi")

    def eaf(self, folder: Path, stem: str = STEM):
        return self.pympi.Eaf(str(folder / "elan" / f"{stem}.eaf"), suppress_version_warning=True)

    def test_tiers_times_and_values_as_pympi_reads_them(self, tmp_path):
        done = export(talk(), tmp_path, "elan")
        eaf = self.eaf(tmp_path)
        assert list(eaf.get_tier_names()) == ["AU1@face0", "AU12@face0", "AU1@face1", "AU12@face1"]
        for (face, au), spans in EPISODES.items():
            found = eaf.get_annotation_data_for_tier(f"{au}@face{face}")
            assert sorted((begin, end) for begin, end, _ in found) == spans
            assert {value for _, _, value in found} <= {"C" if face == 0 else "A"}
            assert eaf.get_parameters_for_tier(f"{au}@face{face}")["PARTICIPANT"] == f"face{face}"
        assert done.videos == 1 and done.people == 2 and done.files == [tmp_path / "elan" / f"{STEM}.eaf"]

    def test_a_single_person_has_plain_tiers_and_without_intensity_the_word_is_active(self, tmp_path):
        export(rows(range(5), {"AU1": [1, 2]}, intensity=None), tmp_path, "elan")
        eaf = self.eaf(tmp_path)
        assert list(eaf.get_tier_names()) == list(AUS)
        assert eaf.get_annotation_data_for_tier("AU1") == [(40, 120, "active")]
        assert eaf.get_annotation_data_for_tier("AU12") == []

    def test_every_value_is_of_the_vocabulary_and_linked_to_its_word(self, tmp_path):
        export(talk(), tmp_path, "elan")
        root = ET.parse(tmp_path / "elan" / f"{STEM}.eaf").getroot()
        words = {entry.get("CVE_ID"): entry.findtext("CVE_VALUE") for entry in root.iter("CV_ENTRY_ML")}
        assert set(words.values()) == {*"ABCDE", "active"}
        for annotation in root.iter("ALIGNABLE_ANNOTATION"):
            assert words[annotation.get("CVE_REF")] == annotation.findtext("ANNOTATION_VALUE")
        times = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
        assert times == sorted(times) and len(times) == 2 * sum(map(len, EPISODES.values()))
        order = [child.tag for child in root]
        assert order == ["HEADER", "TIME_ORDER", *["TIER"] * 4, "LINGUISTIC_TYPE", "LANGUAGE", "CONTROLLED_VOCABULARY"]

    def test_the_video_is_linked_relative_to_the_file(self, tmp_path, monkeypatch):
        """Found as given, or beside the predictions; a lost one is said and linked as if it lay beside the file."""
        monkeypatch.chdir(tmp_path)
        done = export(talk(), tmp_path / "p", "elan")
        assert any("was not found" in note for note in done.notes)
        links = {}
        for place in ("", "p"):
            film = write_film(tmp_path / place / NAME)
            done = export(talk(), tmp_path / "p", "elan", overwrite=True)
            assert done.notes == []
            links[place] = self.eaf(tmp_path / "p").media_descriptors[0]
            film.unlink()
        assert links[""]["RELATIVE_MEDIA_URL"] == f"../../{NAME}" and links["p"]["RELATIVE_MEDIA_URL"] == f"../{NAME}"
        assert all(link["MEDIA_URL"] == link["RELATIVE_MEDIA_URL"] for link in links.values()), "no folder of a machine"
        assert links[""]["MIME_TYPE"] == "video/mp4"

    def test_times_are_those_of_a_player_where_the_first_frame_comes_late(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_film(tmp_path / NAME, delay_s=0.52)
        done = export(talk(), tmp_path, "elan")
        found = self.eaf(tmp_path).get_annotation_data_for_tier("AU12@face0")
        assert [(begin, end) for begin, end, _ in sorted(found)] == [(600, 720), (840, 880)]
        assert any("0.52 s after its sound" in note for note in done.notes)

    def test_episodes_below_a_millisecond(self, tmp_path):
        """At 4,000 frames a second: one frame lasts a quarter of a millisecond, and gets a whole one."""
        export(rows(range(40), {"AU1": [4, 20, 21], "AU12": [8, 10, 16]}, fps=4000), tmp_path, "elan")
        eaf = self.eaf(tmp_path)
        assert eaf.get_annotation_data_for_tier("AU1") == [(1, 2, "C"), (5, 6, "C")]
        assert sorted(eaf.get_annotation_data_for_tier("AU12")) == [(2, 3, "C"), (4, 5, "C")]

    def test_the_same_predictions_give_the_same_bytes(self, tmp_path):
        table = read_predictions(write_predictions_of(talk(), tmp_path))
        for name in "ab":
            export_annotations(table, tmp_path / name, "elan")
        assert (tmp_path / "a" / f"{STEM}.eaf").read_bytes() == (tmp_path / "b" / f"{STEM}.eaf").read_bytes()


class TestPraat:
    def grid(self, folder: Path):
        textgrid = pytest.importorskip("praatio.textgrid")
        return textgrid.openTextgrid(str(folder / "praat" / f"{STEM}.TextGrid"), includeEmptyIntervals=False)

    def test_tiers_times_and_values_as_praatio_reads_them(self, tmp_path):
        export(talk(), tmp_path, "praat")
        grid = self.grid(tmp_path)
        assert list(grid.tierNames) == ["AU1@face0", "AU12@face0", "AU1@face1", "AU12@face1"]
        for (face, au), spans in EPISODES.items():
            entries = grid.getTier(f"{au}@face{face}").entries
            assert [(entry.start, entry.end) for entry in entries] == [(a / 1000, b / 1000) for a, b in spans]
            assert {entry.label for entry in entries} <= {"C" if face == 0 else "A"}

    def test_every_tier_is_as_long_as_the_video(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        export(talk(), tmp_path, "praat")
        grid = self.grid(tmp_path)
        assert {tier.maxTimestamp for tier in grid.tiers} == {grid.maxTimestamp} == {0.84}
        write_film(tmp_path / NAME, frames=50)
        export(talk(), tmp_path, "praat", overwrite=True)
        grid = self.grid(tmp_path)
        assert {tier.maxTimestamp for tier in grid.tiers} == {2.0} and {tier.minTimestamp for tier in grid.tiers} == {0}

    def test_times_to_the_microsecond_and_an_offset(self, tmp_path):
        table = rows(range(200), {"AU12": [101]}, fps=30_000 / 1001)
        export(table, tmp_path, "praat", offset_s=2.5)
        (entry,) = self.grid(tmp_path).getTier("AU12").entries
        assert entry.start == round(table["time_s"][101] + 2.5, 6) and entry.end == round(table["time_s"][102] + 2.5, 6)
        with pytest.raises(ValueError, match="at least 0 with Praat"):
            export(table, tmp_path / "b", "praat", offset_s=-1.0)


class TestBids:
    def test_events_by_hand(self, tmp_path):
        export(talk(), tmp_path, "bids", offset_s=-1.0)
        table = pd.read_csv(tmp_path / "bids" / f"{STEM}-face1_events.tsv", sep="\t")
        assert table["onset"].tolist() == [-0.8, -0.72, -0.36] and table["duration"].tolist() == [0.2, 0.04, 0.08]
        assert table["trial_type"].tolist() == ["AU12", "AU1", "AU12"] and table["frames"].tolist() == [5, 1, 2]
        assert (table["mean_prob"] == 0.75).all() and (table["mean_intensity"] == 1.0).all()
        side = json.loads((tmp_path / "bids" / f"{STEM}-face1_events.json").read_text(encoding="utf-8"))
        assert side["trial_type"]["Levels"] == {"AU1": "Inner brow raiser", "AU12": "Lip corner puller"}
        assert set(side) <= set(table.columns)

    def continuous(self, folder: Path, stem: str) -> tuple[list[list[str]], dict]:
        with gzip.open(folder / "bids" / f"{stem}_physio.tsv.gz", "rt", encoding="utf-8") as file:
            cells = [line.rstrip("\n").split("\t") for line in file]
        return cells, json.loads((folder / "bids" / f"{stem}_physio.json").read_text(encoding="utf-8"))

    def test_continuous_values_on_an_even_grid(self, tmp_path):
        """What the validator does not look at: no header line, `n/a` and numbers only, as many columns as named."""
        export(talk(), tmp_path, "bids", continuous=True, offset_s=1.5)
        cells, side = self.continuous(tmp_path, f"{STEM}-face1")
        assert side["Columns"] == ["AU1_prob", "AU12_prob", "AU1_intensity", "AU12_intensity"]
        assert side["SamplingFrequency"] == 25.0 and side["StartTime"] == 1.5
        assert len(cells) == 21 and {len(row) for row in cells} == {4}
        seen = {5, 6, 7, 8, 9, 16, 17, 18, 19}
        for frame, row in enumerate(cells):
            if frame in seen:
                on = frame in {5, 6, 7, 8, 9, 16, 17}
                assert float(row[1]) == (0.75 if on else 0.25) and float(row[3]) == (1.0 if on else 0.0)
            else:
                assert row == ["n/a"] * 4
        raw = (tmp_path / "bids" / f"{STEM}-face1_physio.tsv.gz").read_bytes()
        assert raw[3] == 0 and raw[4:8] == bytes(4), "neither a file name nor a date in the gzip header"

    def test_dropped_frames_leave_samples_free_and_the_rate_does_not_drift(self, tmp_path):
        kept = [frame for frame in range(9000) if frame % 1000 != 999]
        export(rows(kept, {}, fps=30_000 / 1001, intensity=None), tmp_path, "bids", continuous=True)
        cells, side = self.continuous(tmp_path, STEM)
        assert [place for place, row in enumerate(cells) if row == ["n/a", "n/a"]] == list(range(999, 8999, 1000))
        assert side["SamplingFrequency"] == pytest.approx(30_000 / 1001, abs=1e-5)
        assert len(cells) == 8999 and len(cells) / side["SamplingFrequency"] == pytest.approx(
            8999 * 1001 / 30_000, abs=1e-3
        )

    def test_at_a_variable_rate_shared_samples_are_told(self, tmp_path):
        table = rows(range(10), {}, intensity=None)
        table["time_s"] = [0.0, 0.04, 0.08, 0.09, 0.12, 0.16, 0.2, 0.24, 0.28, 0.32]
        done = export(table, tmp_path, "bids", continuous=True)
        assert any("share a sample" in note for note in done.notes)

    @pytest.mark.slow
    def test_the_official_validator_and_pybids_accept_them(self, tmp_path):
        program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
            "bids-validator-deno"
        )
        if program is None:
            pytest.skip("bids-validator-deno is not installed")
        bids = pytest.importorskip("bids")
        data = tmp_path / "data"
        folder = data / "sub-01" / "beh"
        folder.mkdir(parents=True)
        about = {"Name": "Action units", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
        (data / "dataset_description.json").write_text(json.dumps(about), encoding="utf-8")
        (data / "README").write_text("Action units of a made-up video, for a test of their export.\n", encoding="utf-8")
        export(talk(), tmp_path, "bids")
        export(talk(), tmp_path, "bids", continuous=True)
        for kind in ("events.tsv", "events.json", "physio.tsv.gz", "physio.json"):
            shutil.copy(tmp_path / "bids" / f"{STEM}-face1_{kind}", folder / f"sub-01_task-talk_{kind}")
        words = [program, str(data), "--format", "json"]
        said = json.loads(subprocess.run(words, capture_output=True, text=True, check=False).stdout)
        wrong = [issue for issue in said["issues"]["issues"] if issue["severity"] == "error"]
        assert wrong == []
        assert not [issue for issue in said["issues"]["issues"] if "GZIP" in issue["code"]]
        (folder / "sub-01_task-talk_events.tsv").write_text("duration\tonset\n1\tNaN\n", encoding="utf-8")
        said = json.loads(subprocess.run(words, capture_output=True, text=True, check=False).stdout)
        assert [issue for issue in said["issues"]["issues"] if issue["severity"] == "error"], "it can refuse"
        shutil.copy(tmp_path / "bids" / f"{STEM}-face1_events.tsv", folder / "sub-01_task-talk_events.tsv")
        layout = bids.BIDSLayout(data)
        (events,) = layout.get(suffix="events", extension=".tsv")
        assert events.get_df()["onset"].tolist() == [0.2, 0.28, 0.64]
        (physio,) = layout.get(suffix="physio", extension=".tsv.gz")
        assert physio.get_metadata()["SamplingFrequency"] == 25.0


class TestMne:
    def test_fif_and_text_as_mne_reads_them(self, tmp_path):
        mne = pytest.importorskip("mne")
        for text, suffix in ((False, "fif"), (True, "txt")):
            export(talk(), tmp_path / suffix, "mne", text=text, offset_s=12.5)
            for face in (0, 1):
                path = tmp_path / suffix / "mne" / f"{STEM}-face{face}-annot.{suffix}"
                found = mne.read_annotations(path)
                spans = sorted((a, b, au) for (number, au), each in EPISODES.items() if number == face for a, b in each)
                assert found.onset == pytest.approx([12.5 + a / 1000 for a, _, _ in spans], abs=1e-6)
                assert found.duration == pytest.approx([(b - a) / 1000 for a, b, _ in spans], abs=1e-6)
                assert list(found.description) == [au for _, _, au in spans] and found.orig_time is None

    def test_after_an_hour_text_is_exact_and_fif_is_off_by_less_than_a_fifth_of_a_millisecond(self, tmp_path):
        mne = pytest.importorskip("mne")
        table = rows(range(107_000, 107_040), {"AU1": [107_010]}, fps=30_000 / 1001)
        for text, suffix, error in ((True, "txt", 0.0), (False, "fif", 2e-4)):
            export(table, tmp_path / suffix, "mne", text=text)
            (onset,) = mne.read_annotations(tmp_path / suffix / "mne" / f"{STEM}-annot.{suffix}").onset
            assert abs(onset - table["time_s"][10]) <= error

    def test_nobody_active_is_an_empty_file(self, tmp_path):
        mne = pytest.importorskip("mne")
        for text, suffix in ((False, "fif"), (True, "txt")):
            export(rows(range(3), {}), tmp_path / suffix, "mne", text=text)
            assert len(mne.read_annotations(tmp_path / suffix / "mne" / f"{STEM}-annot.{suffix}")) == 0

    def test_without_mne_it_says_what_to_install_and_text_works(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "mne", None)
        path = write_predictions_of(talk(), tmp_path)
        assert main(["export-annotations", str(path), "--to", "mne", "--out", str(tmp_path / "out")]) == 1
        assert '".[annotations]"' in capsys.readouterr().err and not (tmp_path / "out").exists()
        assert main(["export-annotations", str(path), "--to", "mne", "--text", "--out", str(tmp_path / "out")]) == 0


class TestBoris:
    def test_starts_and_stops(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_film(tmp_path / NAME)
        export(talk(), tmp_path, "boris", offset_s=1.0)
        table = pd.read_csv(tmp_path / "boris" / f"{STEM}.tsv", sep="\t", keep_default_na=False)
        assert table["Time"].is_monotonic_increasing and set(table["Time offset (s)"]) == {1}
        for (face, au), spans in EPISODES.items():
            own = table[(table["Subject"] == f"face{face}") & (table["Behavior"] == au)]
            assert own["Behavior type"].tolist() == ["START", "STOP"] * len(spans)
            assert own["Time"].tolist() == [round(1 + time / 1000, 3) for span in spans for time in span]
            assert set(own["Modifier #1"]) <= {"C" if face == 0 else "A"}
        first = table[(table["Subject"] == "face0") & (table["Behavior"] == "AU12")]
        assert first["Image index"].tolist() == [2, 5, 8, 9]
        assert set(table["FPS"]) == {25.0} and set(table["Source"]) == {f"player #1:../{NAME}"}

    def test_one_stops_before_the_next_starts(self, tmp_path):
        table = rows([0, 1, 2, 7, 8, 9], {"AU1": [0, 1, 2], "AU12": [7, 8, 9]})
        table["time_s"] = [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
        export(table, tmp_path, "boris")
        read = pd.read_csv(tmp_path / "boris" / f"{STEM}.tsv", sep="\t")
        assert read[["Behavior", "Behavior type"]].to_numpy().tolist() == [
            ["AU1", "START"], ["AU1", "STOP"], ["AU12", "START"], ["AU12", "STOP"],
        ]  # fmt: skip


class TestTable:
    def test_all_videos_and_people_in_one(self, tmp_path):
        export(pd.concat([talk(), rows(range(4), {"AU1": [0]}, name="b.mp4")]), tmp_path, "csv-episodes")
        table = pd.read_csv(tmp_path / "csv-episodes" / "episodes.csv")
        assert len(table) == sum(map(len, EPISODES.values())) + 1
        one = table[(table["file"] == NAME) & (table["face"] == 1) & (table["au"] == "AU12")]
        assert one[["begin_s", "end_s", "duration_s"]].to_numpy().tolist() == [[0.2, 0.4, 0.2], [0.64, 0.72, 0.08]]


class TestWhatIsRefused:
    def test_photographs_are_left_out_and_counted(self, tmp_path, capsys):
        photo = rows([0], {}, name="photo.jpg").assign(time_s=np.nan)
        path = write_predictions_of(pd.concat([talk(), photo]), tmp_path)
        assert main(["export-annotations", str(path), "--to", "elan", "--out", str(tmp_path / "out")]) == 0
        assert "left out: rows without a time: 1 of 1 photographs" in capsys.readouterr().out
        assert [file.name for file in (tmp_path / "out").iterdir()] == [f"{STEM}.eaf"]
        path = write_predictions_of(photo, tmp_path / "photos")
        assert main(["export-annotations", str(path), "--to", "elan", "--out", str(tmp_path / "none")]) == 1
        assert "Expected rows with a time" in capsys.readouterr().err and not (tmp_path / "none").exists()

    def test_a_video_without_a_face(self, tmp_path):
        empty = rows(range(3), {}, name="room.mp4", status="no_face")
        done = export(pd.concat([talk(), empty]), tmp_path, "praat")
        assert any("room.mp4: no face was seen" in note for note in done.notes) and len(done.files) == 1
        with pytest.raises(ValueError, match="Expected a face in some video"):
            export(empty, tmp_path / "b", "praat")

    def test_existing_files_stay(self, tmp_path):
        export(talk(), tmp_path, "bids")
        before = {path: path.read_bytes() for path in (tmp_path / "bids").iterdir()}
        with pytest.raises(ValueError, match="--overwrite"):
            export(talk().assign(AU12_active=0), tmp_path, "bids")
        assert {path: path.read_bytes() for path in (tmp_path / "bids").iterdir()} == before

    def test_a_failed_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        from auformer.annotations import praat

        export(talk(), tmp_path, "praat")
        before = {path.name: path.read_bytes() for path in (tmp_path / "praat").iterdir()}

        def fails(*words):
            raise OSError("no room")

        monkeypatch.setattr(praat, "_filled", fails)
        with pytest.raises(OSError, match="no room"):
            export(talk(), tmp_path, "praat", overwrite=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "praat").iterdir()} == before

    def test_options_of_another_format(self, tmp_path):
        for options, to in (({"continuous": True}, "elan"), ({"text": True}, "bids"), ({"offset_s": 1.0}, "elan")):
            with pytest.raises(ValueError, match="Expected"):
                export(talk(), tmp_path / to, to, **options)
        with pytest.raises(ValueError, match="one of elan, praat"):
            export(talk(), tmp_path, "word")

    def test_times_that_run_backwards(self, tmp_path):
        table = rows(range(4), {})
        table["time_s"] = [0.0, 0.08, 0.04, 0.12]
        with pytest.raises(ValueError, match="frame 1 is at 0.08 s and frame 2 at 0.04 s"):
            export(table, tmp_path, "elan")

    def test_two_videos_of_one_name(self, tmp_path):
        table = pd.concat([rows(range(4), {"AU1": [n]}, name=f"{folder}/talk.mp4") for n, folder in enumerate("ab")])
        done = export(table, tmp_path, "elan")
        assert [path.name for path in done.files] == ["talk.eaf", "talk-2.eaf"]
        assert "../b/talk.mp4" not in (tmp_path / "elan" / "talk.eaf").read_text(encoding="utf-8")


def test_predictions_of_other_tools(tmp_path):
    """OpenFace counts frames from 1, has times and `_c`."""
    table = pd.DataFrame({"frame": range(1, 6), "face_id": 0, "timestamp": np.arange(5) / 25, "confidence": 0.9})
    table["success"], table["AU12_r"], table["AU12_c"] = 1, [0, 2.2, 4.1, 0, 0], [0, 1, 1, 0, 0]
    (tmp_path / "of").mkdir()
    table.to_csv(tmp_path / "of" / "talk.csv", index=False)
    done = export_annotations(read_predictions(tmp_path / "of" / "talk.csv"), tmp_path, "csv-episodes")
    read = pd.read_csv(done.files[0])
    assert read[["au", "begin_s", "end_s", "peak_intensity"]].to_numpy().tolist() == [["AU12", 0.04, 0.12, 4.1]]
