"""Human coding in ELAN, Praat, BORIS and other tables becomes labels of the right frames; the unclear is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.annotations import export_annotations
from auformer.cli import main
from auformer.data_prep.datasets import annotations
from auformer.data_prep.formats.marks import tier_au
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from auformer.predict import read_predictions
from auformer.predict.agreement import pair_rows
from tests.helpers.annotated import AUS, NAME, rows, talk, write_film, write_predictions_of

FILM = "talk.mp4"


def read(root: Path, table: str, **options) -> tuple[pd.DataFrame, Findings]:
    findings = Findings()
    return annotations.read(root, findings, table=table, **options), findings


def active(table: pd.DataFrame, column: str) -> list[int]:
    """Frames in which a label is 1."""
    return table.loc[table[column] == 1, "frame"].tolist()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a video of 25 frames, 40 ms each."""
    write_film(tmp_path / FILM, 25)
    return tmp_path


def eaf(
    folder: Path, tiers: dict[str, list[tuple[int, int, str]]], people: dict[str, str] | None = None,
    media: str = f"./{FILM}", origin: int | None = None, name: str = "talk.eaf",
) -> str:  # fmt: skip
    """An ELAN file as pympi writes it."""
    pympi = pytest.importorskip("pympi")
    file = pympi.Eaf(author="a coder")
    file.remove_tier("default")
    for tier, spans in tiers.items():
        file.add_tier(tier, part=(people or {}).get(tier))
        for begin, end, value in spans:
            file.add_annotation(tier, begin, end, value)
    if media:
        file.add_linked_file(f"file:///elsewhere/{FILM}", relpath=media, mimetype="video/mp4", time_origin=origin)
    file.to_file(str(folder / name))
    return name


def boris(folder: Path, lines: list[str], name: str = "talk.tsv") -> str:
    header = "Observation id\tTime offset (s)\tSubject\tBehavior\tModifier #1\tBehavior type\tTime\tMedia file name"
    (folder / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return name


class TestRoundTrip:
    """What `export-annotations` writes comes back as the frames that were active."""

    @pytest.mark.parametrize("to", ["elan", "praat", "boris", "bids", "csv-episodes"])
    @pytest.mark.parametrize("delay_s", [0.0, 0.52])
    @pytest.mark.parametrize("fps", [25, 30])
    def test_every_frame(self, to, delay_s, fps, tmp_path):
        film = write_film(tmp_path / NAME, 30, fps=fps, delay_s=delay_s)
        wanted = {"AU1": [0, 1, 2, 29], "AU12": [4, 6, 7, 8, 13, 14, 20]}
        path = write_predictions_of(rows(range(30), wanted, fps=fps, intensity=4.0), tmp_path)
        (file, *_) = export_annotations(read_predictions(path), tmp_path / "out", to).files
        table, _ = read(tmp_path, f"out/{file.name}", video=NAME)
        assert {au: active(table, au) for au in AUS} == wanted
        assert table["frame"].tolist() == list(range(30)) and set(table["source"]) == {film.name}
        if to != "bids":
            assert table.loc[table["AU12"] == 1, "AU12_intensity"].eq(4.0).all()
            assert table.loc[table["AU12"] == 0, "AU12_intensity"].eq(0.0).all()

    @pytest.mark.parametrize("to", ["elan", "praat", "boris"])
    def test_two_people(self, to, tmp_path):
        write_film(tmp_path / NAME, 21)
        path = write_predictions_of(talk(), tmp_path)
        (file,) = export_annotations(read_predictions(path), tmp_path / "out", to).files
        with pytest.raises(DatasetLayoutError, match="of face0, face1; name one with --person"):
            read(tmp_path, f"out/{file.name}")
        table, _ = read(tmp_path, f"out/{file.name}", person="face1")
        assert active(table, "AU1") == [7] and active(table, "AU12") == [5, 6, 7, 8, 9, 16, 17]
        with pytest.raises(DatasetLayoutError, match="expected the coding of Anna"):
            read(tmp_path, f"out/{file.name}", person="Anna")


class TestElan:
    def test_names_and_values_of_tiers(self, root):
        spans = {
            "AU12": [(80, 160, "C"), (400, 480, "12E"), (800, 880, "?")],
            "4": [(0, 40, "")],
            "L14": [(40, 80, "x")],
            "Inner brow raiser": [(0, 80, "active"), (80, 120, "0")],
            "AU 25 (lips)": [],
            "speech": [(0, 400, "hello there")],
        }
        table, findings = read(root, eaf(root, spans))
        assert active(table, "AU12") == [2, 3, 10, 11] and table.loc[[20, 21], "AU12"].tolist() == [-1, -1]
        assert table.loc[[0, 2, 10], "AU12_intensity"].tolist() == [0.0, 3.0, 5.0]
        assert np.isnan(table.loc[20, "AU12_intensity"])
        assert active(table, "AU4") == [0] and active(table, "AU1") == [0, 1]
        assert active(table, "AU14_left") == [1] and active(table, "AU14_right") == [] and active(table, "AU14") == [1]
        assert (table["AU25"] == 0).all() and "AU4_intensity" not in table
        assert ("tiers that are about no action unit", "talk.eaf", "speech") in findings.notes
        assert set(table["subject"]) == {"talk"} and np.allclose(table["time_s"], np.arange(25) / 25)

    def test_a_tier_of_codes(self, root):
        table, _ = read(root, eaf(root, {"FACS": [(0, 80, "1+2"), (80, 120, "R12B+25")]}))
        assert active(table, "AU1") == [0, 1] and active(table, "AU25") == [2]
        assert active(table, "AU12_right") == [2] and active(table, "AU12_left") == []
        assert table.loc[2, "AU12_intensity"] == 2.0

    def test_ones_mark_and_larger_numbers_are_intensities(self, root):
        table, _ = read(root, eaf(root, {"AU12": [(0, 80, "1")]}))
        assert active(table, "AU12") == [0, 1] and "AU12_intensity" not in table
        table, _ = read(root, eaf(root, {"AU12": [(0, 80, "1")], "AU4": [(0, 40, "3")]}, name="b.eaf"))
        assert table.loc[0, "AU12_intensity"] == 1.0 and table.loc[0, "AU4_intensity"] == 3.0

    def test_names_that_the_user_explains(self, root):
        spans = {"smile": [(0, 80, "big")], "notes": [(0, 40, "AU4")]}
        with pytest.raises(DatasetLayoutError, match="Expected|expected tiers named after action units"):
            read(root, eaf(root, {"smile": [(0, 80, "big")]}, name="b.eaf"))
        table, findings = read(root, eaf(root, spans), tiers="smile=AU12, notes=")
        assert active(table, "AU12") == [0, 1] and "AU4" not in table
        assert any(kind.startswith("texts that are no codes") for kind, _, _ in findings.notes)
        with pytest.raises(ValueError, match='as in "smile=AU12'):
            read(root, "talk.eaf", tiers="smile=joy")

    def test_two_coders_of_one_action_unit(self, root):
        name = eaf(root, {"AU12": [(0, 80, "")], "Lip corner puller": [(40, 120, "")]})
        with pytest.raises(DatasetLayoutError, match="tiers AU12 and Lip corner puller both code AU12"):
            read(root, name)
        assert active(read(root, name, tiers="Lip corner puller=")[0], "AU12") == [0, 1]

    def test_participants(self, root):
        name = eaf(root, {"AU12": [(0, 80, "")], "AU12@Ben": [(80, 120, "")]}, {"AU12": "Änne"})
        with pytest.raises(DatasetLayoutError, match="of Ben, Änne"):
            read(root, name)
        table, _ = read(root, name, person="Änne")
        assert active(table, "AU12") == [0, 1] and set(table["subject"]) == {"Änne"}
        assert active(read(root, name, person="Ben", subject="B")[0], "AU12") == [2]

    def test_a_time_line_that_begins_in_the_middle_of_the_video(self, root):
        table, _ = read(root, eaf(root, {"AU12": [(0, 80, "")]}, origin=400))
        assert active(table, "AU12") == [10, 11]

    def test_the_coded_part(self, root):
        table, _ = read(root, eaf(root, {"AU12": [(80, 160, "")]}), start=0.08, end=0.4, every=2)
        assert table["frame"].tolist() == [2, 4, 6, 8] and active(table, "AU12") == [2]
        with pytest.raises(ValueError, match="the video lasts"):
            read(root, "talk.eaf", start=3.0)

    def test_a_short_annotation_gets_its_frame(self, root):
        table, _ = read(root, eaf(root, {"AU12": [(85, 90, ""), (199, 200, "")]}))
        assert active(table, "AU12") == [2, 4]

    def test_the_video(self, root):
        (root / "films").mkdir()
        shutil.move(root / FILM, root / "films" / FILM)
        name = eaf(root, {"AU12": [(0, 80, "")]})
        assert set(read(root, name)[0]["source"]) == {f"films/{FILM}"}, "found by its name"
        assert set(read(root, name, video=f"films/{FILM}")[0]["source"]) == {f"films/{FILM}"}
        (root / "films" / FILM).unlink()
        with pytest.raises(DatasetLayoutError, match="found no ./talk.mp4 below .*--video"):
            read(root, name)

    def test_the_coding_of_another_video(self, root):
        with pytest.raises(DatasetLayoutError, match="coding of another video"):
            read(root, eaf(root, {"AU12": [(60_000, 61_000, "")]}))
        _, findings = read(root, eaf(root, {"AU12": [(0, 40, ""), (60_000, 61_000, "")]}, name="b.eaf"))
        assert any(kind == "annotations beyond the end of the video" for kind, _, _ in findings.notes)

    @pytest.mark.parametrize(
        "text", ["no XML", "<a/>", '<!DOCTYPE x [<!ENTITY a "b">]><ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>']
    )
    def test_no_elan_file(self, text, root):
        (root / "talk.eaf").write_text(text, encoding="utf-8")
        with pytest.raises(DatasetLayoutError, match="talk.eaf: "):
            read(root, "talk.eaf")


class TestPraat:
    @pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
    def test_intervals_and_points(self, form, root):
        textgrid = pytest.importorskip("praatio.textgrid")
        grid = textgrid.Textgrid(0, 1.0)
        grid.addTier(textgrid.IntervalTier("AU12", [(0.08, 0.16, "C")], 0, 1.0))
        grid.addTier(textgrid.PointTier("AU45", [(0.5, "")], 0, 1.0))
        grid.save(str(root / "talk.TextGrid"), form, includeBlankSpaces=True)
        table, _ = read(root, "talk.TextGrid")
        assert active(table, "AU12") == [2, 3] and active(table, "AU45") == [12]

    def test_no_textgrid(self, root):
        pytest.importorskip("praatio")
        (root / "talk.TextGrid").write_text("nothing", encoding="utf-8")
        with pytest.raises(DatasetLayoutError, match="cannot be read as a TextGrid"):
            read(root, "talk.TextGrid")


class TestTables:
    def test_boris(self, root):
        lines = [
            "o\t1.0\tAnna\tAU12\tD\tSTART\t1.080\ttalk.mp4",
            "o\t1.0\tAnna\tAU4\t\tPOINT\t1.400\ttalk.mp4",
            "o\t1.0\tAnna\tAU12\t\tSTOP\t1.160\ttalk.mp4",
        ]
        table, _ = read(root, boris(root, lines))
        assert active(table, "AU12") == [2, 3] and active(table, "AU4") == [10]
        assert table.loc[2, "AU12_intensity"] == 4.0 and set(table["subject"]) == {"Anna"}

    def test_a_state_that_never_stops(self, root):
        with pytest.raises(DatasetLayoutError, match=r"line 2: AU12 starts at 0.08 s and never stops"):
            read(root, boris(root, ["o\t0\t\tAU12\t\tSTART\t0.080\ttalk.mp4"]))
        twice = ["o\t0\t\tAU12\t\tSTART\t0.080\ttalk.mp4"] * 2
        with pytest.raises(DatasetLayoutError, match="line 3: AU12 starts, but it has not stopped since 0.08 s"):
            read(root, boris(root, twice))

    def test_several_observations(self, root):
        lines = [f"{name}\t0\t\tAU12\t\tPOINT\t{time}\ttalk.mp4" for name, time in (("a", 0.08), ("b", 0.4))]
        with pytest.raises(DatasetLayoutError, match=r"it holds 2 \(a, b\)"):
            read(root, boris(root, lines))
        assert active(read(root, "talk.tsv", observation="b")[0], "AU12") == [10]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_the_observer_with_decimal_commas(self, separator, root):
        names = ["Time_Relative_sf", "Duration_sf", "Observation", "Subject", "Behavior", "Modifier_1", "Event_Type"]
        cells = [
            ["0,08", "0,08", "one", "", "AU 12", "B", "State start"],
            ["0,16", "", "one", "", "AU 12", "", "State stop"],
        ]
        text = "\n".join(separator.join(row) for row in (names, *cells)) + "\n"
        (root / "log.csv").write_text(text, encoding="utf-16")
        table, _ = read(root, "log.csv", video=FILM)
        assert active(table, "AU12") == [2, 3] and table.loc[2, "AU12_intensity"] == 2.0

    def test_overlapping_events_and_aggregated_columns(self, root):
        header = "Behavior,Modifier #1,Behavior type,Start (s),Stop (s),Duration (s)"
        text = "\n".join([header, "AU12,B,STATE,0,0.12,0.12", "AU12,D,STATE,0.08,0.2,0.12", ""])
        (root / "a.csv").write_text(text, encoding="utf-8")
        table, findings = read(root, "a.csv", video=FILM)
        assert active(table, "AU12") == [0, 1, 2, 3, 4]
        assert table.loc[[1, 2, 4], "AU12_intensity"].tolist() == [2.0, 4.0, 4.0]
        assert any("overlap" in kind for kind, _, _ in findings.notes)

    def test_no_table_of_events(self, root):
        (root / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
        with pytest.raises(DatasetLayoutError, match="a.csv"):
            read(root, "a.csv", video=FILM)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("AU12", ("AU12", "")), ("au 12", ("AU12", "")), ("AU012", ("AU12", "")), ("12", ("AU12", "")),
        ("L12", ("AU12", "left")), ("12R", ("AU12", "right")), ("AU12_left", ("AU12", "left")),
        ("left AU12", ("AU12", "left")), ("AU12L", ("AU12", "left")), ("AU12-R", ("AU12", "right")),
        ("lip corner puller", ("AU12", "")),
        ("AU12 Lip Corner Puller", ("AU12", "")), ("Brow_lowerer", ("AU4", "")), ("AU99", None),
        ("smile", None), ("", None), ("speaker 1", None), ("1+2", None),
    ],
)  # fmt: skip
def test_names_of_tiers(name, wanted):
    assert tier_au(name) == wanted


def test_the_command(root, capsys):
    name = eaf(root, {"AU12": [(80, 160, "C")]})
    words = ["prepare", "annotations", "--root", str(root), "--table", name]
    assert main([*words, "--dry-run"]) == 0
    assert "25 rows of 1 subjects in 1 sequences" in capsys.readouterr().out
    assert main(["prepare", "annotations", "--root", str(root), "--out", str(root.parent / "out")]) == 1
    assert "Expected `--table`" in capsys.readouterr().err


class TestCompare:
    """Labels of a manifest beside predictions: the coder's own file is one of the two."""

    def manifest(self, folder: Path, faces: bool) -> Path:
        from auformer.data.manifest import write_faces, write_manifest

        folder.mkdir()
        key = {"dataset": "annotations", "subject": "Anna", "sequence": "talk", "frame": range(6), "face": 0}
        table = pd.DataFrame({**key, "file": FILM, "status": ["ok"] * 5 + ["no_face"]})
        table["image"] = [f"crops/{number}.jpg" if number < 5 else None for number in range(6)]
        table["AU12"], table["AU12_intensity"] = [0, 0, 1, 1, -1, 1], [0, 0, 3.0, 3.0, np.nan, 2.0]
        write_manifest(table, folder / "manifest.csv", {})
        if faces:
            boxes = table.loc[:4, list(key)].assign(x=100.0, y=10.0, w=50.0, h=50.0, score=1.0)
            write_faces(boxes, folder / "manifest.csv")
        return folder / "manifest.csv"

    def test_agreement_with_a_person(self, tmp_path, capsys):
        coded = self.manifest(tmp_path / "m", faces=False)
        predicted = write_predictions_of(rows(range(6), {"AU12": [1, 2, 3, 4, 5]}, name=FILM), tmp_path)
        assert main(["compare", str(predicted), str(coded), "--out", str(tmp_path / "agreement.csv")]) == 0
        said = capsys.readouterr().out
        assert "(manifest)" in said
        (row,) = pd.read_csv(tmp_path / "agreement.csv").query("au == 'AU12'").to_dict("records")
        assert row["faces"] == 5 and row["agree"] == 0.8, "of frames 0, 1, 2, 3 and 5 only 1 differs; 4 is not coded"

    def test_of_two_people_the_one_in_the_box_is_compared(self, tmp_path):
        coded = read_predictions(self.manifest(tmp_path / "m", faces=True))
        assert coded["subject"].unique().tolist() == [FILM] and coded["x"].tolist()[:5] == [100.0] * 5
        other = rows(range(5), {}, name=FILM).assign(x=0.0, y=10.0, w=50.0, h=50.0)
        same = rows(range(5), {"AU12": [2, 3]}, name=FILM, face=1).assign(x=102.0, y=10.0, w=50.0, h=50.0)
        pairs = pair_rows(pd.concat([other, same], ignore_index=True), coded)
        assert set(pairs.first["face"]) == {1} and pairs.counts["in_both"] == 5
