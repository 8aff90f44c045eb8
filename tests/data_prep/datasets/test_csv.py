"""Tables of anybody's making: spellings of columns, unknown values, thresholds, videos, damage; and plain photos."""

import datetime
from pathlib import Path

import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import csv
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, write_text
from tests.helpers.trees.images import face_image, plain_image, write_video
from tests.helpers.trees.micro import write_table
from tests.helpers.videos import write_slots


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three photos, one of them in a folder with blanks and accents, and a video of four frames."""
    root = tmp_path_factory.mktemp("mine") / "Fotos é"
    write_image(root / "a.jpg", face_image(0, 1))
    write_image(root / "b 1" / "é.png", face_image(1, 1))
    write_image(root / "wall.png", plain_image(1))
    write_video(root / "film.avi", [face_image(2, k) for k in range(4)])
    return root


def read(
    root: Path, text: str, findings: Findings | None = None, *, name: str = "labels.csv", **options: object
) -> pd.DataFrame:
    path = root.parent / name
    path.write_text(text, encoding="utf-8")
    return csv.read(root, findings or Findings(), table=str(path), **options)


def test_every_spelling_of_a_label(root):
    header = "path, AU01, AU2 ,AU04_c,au12_c,AU12_r,AU6_r,AU14_left,AU14_right\n"
    table = read(root, header + "a.jpg,1,0,1,1,2.5,1.9,0,1\nb 1/é.png,,-1,9,999,,5,1,\n")
    expected = {
        "AU1": [1, -1], "AU2": [0, -1], "AU4": [1, -1], "AU6": [0, 1], "AU6_intensity": [1.9, 5], "AU12": [1, -1],
        "AU12_intensity": [2.5, None], "AU14": [1, 1], "AU14_left": [0, 1], "AU14_right": [1, -1],
    }  # fmt: skip
    assert_rows(table, pd.DataFrame(expected))
    assert [name for name in table.columns if name.startswith("AU")] == list(expected)


@pytest.mark.parametrize(
    ("threshold", "expected"), [(2.0, [0, 0, 1, 1]), (1.0, [0, 1, 1, 1]), (0.5, [1, 1, 1, 1]), (5.0, [0, 0, 0, 1])]
)
def test_intensities_become_labels_from_the_threshold_on(root, threshold, expected):
    text = "path,frame,AU12_r\n" + "".join(f"film.avi,{k},{value}\n" for k, value in enumerate((0.5, 1.0, 2.0, 5)))
    assert read(root, text, threshold=threshold)["AU12"].tolist() == expected


def test_values_that_mean_not_annotated_are_a_choice_and_are_told(root):
    found = Findings()
    table = read(root, "path,AU1,AU12_r\na.jpg,9,9\nwall.png,999,0\n", found)
    assert_rows(table, pd.DataFrame({"AU1": [-1, -1], "AU12": [-1, 0], "AU12_intensity": [None, 0]}))
    texts = ["9 in 1 rows of AU1", "999 in 1 rows of AU1", "9 in 1 rows of AU12_r"]
    assert [text for kind, _, text in found.notes if kind == "read as not annotated"] == texts
    wanted = r"labels.csv, line 3: expected `AU1` to be 0, 1 or empty, but got '999'.*--missing-values"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read(root, "path,AU1\na.jpg,9\nwall.png,999\n", missing_values="9")
    assert read(root, "path,AU1\na.jpg,7\n", missing_values="7, 8")["AU1"].tolist() == [-1]
    assert read(root, "path,AU1\na.jpg,Nine\n", missing_values="7,nine")["AU1"].tolist() == [-1]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("path,AU1\na.jpg,2\n", r"line 2: expected `AU1` to be 0, 1 or empty, but got '2'"),
        ("path,AU1\na.jpg,yes\n", r"line 2: expected `AU1` to be a number or empty, but got 'yes'"),
        ("path,AU1_r\na.jpg,5.5\n", r"expected `AU1_r` to be an intensity of 0 to 5"),
        ("path,AU1\na.jpg,inf\n", r"a number or empty"),
        ("path,AU3\na.jpg,1\n", r"column `AU3` names an unknown action unit"),
        ("path,AU1,AU01_c\na.jpg,1,1\n", r"columns `AU1` and `AU01_c` mean the same"),
        ("path,AU1,AU1\na.jpg,1,1\n", r"every column once"),
        ("name,AU1\na.jpg,1\n", r"one column of paths, called path, .*but got none among name, AU1"),
        ("path,video,AU1\na.jpg,film.avi,1\n", r"but got path, video"),
        ("path,AU1\n../secret.jpg,1\n", r"line 2: expected the path of an image inside --root"),
        ("path,AU1\n/etc/passwd,1\n", r"inside --root"),
        ("path,AU1\nC:/a.jpg,1\n", r"inside --root"),
        ("path,AU1\n,1\n", r"inside --root, but got ''"),
        ("path,AU1\na.jpg,1\nwall.png,0\na.jpg,0\n", r"line 4: subject a.jpg, .* is that of line 2 already"),
        ("video,AU1\nfilm.avi,1\n", r"a column `frame`"),
        ("video,frame,AU1\nfilm.avi,one,1\n", r"line 2: expected `frame` to be a whole number, but got 'one'"),
        ("video,frame,AU1\nfilm.avi,-1,1\n", r"line 2: frame -1 comes before the first, 0"),
        ("path,AU1,split,fold\na.jpg,1,a,b\n", r"`split` and `fold` mean the same"),
        ("path,AU1\na.jpg,1\n\nwall.png,3\n\n", r"line 4: expected `AU1`"),
        ("path,AU1\n", r"to hold rows"),
        ("", r"the file is empty"),
    ],
)
def test_damaged_tables(root, text, match):
    with pytest.raises(DatasetLayoutError, match=match):
        read(root, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.tsv", "path\tAU1\na.jpg\t1\n"),
        ("l.txt", "\ufeffpath;AU1\r\na.jpg;1\r\n"),
        ("l.csv", " path, AU1\na.jpg, 1\n"),
    ],
)
def test_separators_and_byte_order_marks(root, name, text):
    assert read(root, text, name=name)["AU1"].tolist() == [1]


def test_tables_in_parquet_and_absolute_paths(root):
    path = root.parent / "l.parquet"
    pd.DataFrame({"path": ["a.jpg", "wall.png"], "AU1": [1, None], "AU12_r": [2.0, 1.5]}).to_parquet(path)
    table = csv.read(root, Findings(), table=str(path))
    assert table["AU1"].tolist() == [1, -1] and table["AU12"].tolist() == [1, 0]
    assert read(root, f"path,AU1\n{root / 'a.jpg'},1\n")["source"].tolist() == ["a.jpg"]


def test_subjects_splits_and_groups(root):
    header = "path,subject,split,group_age,clip,onset,time_s,remark,AU1"
    text = f"{header}\na.jpg,007,train,30-40,c1,0,0.5,x,1\nwall.png,008,test,,,,,y,0\n"
    table = read(root, text)
    keys = table[["subject", "sequence", "frame", "fold"]].to_numpy().tolist()
    assert keys == [["007", "a.jpg", 0, "train"], ["008", "wall.png", 0, "test"]]
    assert table["group_age"][0] == "30-40" and table["group_age"].isna()[1] and table["onset"].tolist()[0] == 0
    assert "remark" not in table.columns
    bare = Findings()
    assert read(root, "path,AU1\nb 1\\é.png,1\n".replace("\\", "/"), bare)["subject"].tolist() == ["b 1/é.png"]
    assert bare.notes[0][0] == "no subjects"


def test_frames_of_a_video(root):
    found = Findings()
    table = read(root, "video,frame,AU1\nfilm.avi,2,1\nfilm.avi,1,0\nfilm.avi,9,0\n", found)
    expected = {"frame": [1, 2, 9], "source_frame": [1, 2, 9], "AU1": [0, 1, 0], "status": ["ok", "ok", "no_image"]}
    assert_rows(table, pd.DataFrame(expected))
    assert ("labels beyond the end of a video", "film.avi", "up to frame 9 from 0; it has 4 frames") in found.notes
    one = read(root, "video,frame,AU1\nfilm.avi,1,1\nfilm.avi,2,1\n", found, first_frame=1)
    assert one["frame"].tolist() == [1, 2] and one["source_frame"].tolist() == [0, 1]
    assert ("frames behind the last label", "film.avi", "2 of 4") in found.notes


@pytest.fixture(scope="module")
def dropped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dropped")
    write_slots(folder / "film.avi", [face_image(2, k) for k in range(35)], [*range(10), *range(15, 40)])
    return folder


class TestDroppedFrames:
    """A video of 40 frame times of which 10 to 14 have no image."""

    def table(self, folder, numbers, found=None, **options):
        lines = "".join(f"film.avi,{number},{number % 2}\n" for number in numbers)
        return read(folder, "video,frame,AU1\n" + lines, Findings() if found is None else found, **options)

    def test_labels_of_all_frame_times(self, dropped):
        found = Findings()
        table = self.table(dropped, range(40), found)
        assert table["status"].tolist() == ["ok"] * 10 + ["no_image"] * 5 + ["ok"] * 25
        assert table.loc[table["status"] == "ok", "source_frame"].tolist() == list(range(35))
        text = "5 of 40 frame times have no image"
        assert ("frames dropped while recording", "film.avi", text) in found.notes

    def test_counted_from_one(self, dropped):
        table = self.table(dropped, range(1, 41), first_frame=1)
        assert table["status"].tolist() == ["ok"] * 10 + ["no_image"] * 5 + ["ok"] * 25

    def test_labels_that_may_count_either_way(self, dropped):
        with pytest.raises(DatasetLayoutError, match=r"film\.avi.*5 frames were dropped.*frame 10.*--numbering order"):
            self.table(dropped, range(35))
        assert self.table(dropped, range(35), numbering="order")["status"].tolist() == ["ok"] * 35
        by_time = self.table(dropped, range(8, 35), numbering="time")
        assert by_time["source_frame"].tolist()[-1] == 29 and (by_time["status"] == "no_image").sum() == 5


def test_missing_files_are_rows_and_told_once(root):
    found = Findings()
    table = read(root, "path,frame,AU1\na.jpg,0,1\ngone.avi,1,1\ngone.avi,2,1\n", found)
    assert dict(zip(table["source"], table["status"], strict=True)) == {"a.jpg": "ok", "gone.avi": "no_image"}
    assert found.incomplete == [("gone.avi", "named by labels.csv, line 3")]


def test_a_table_from_images_to_a_manifest(root, tmp_path):
    rows = "a.jpg,0,p1,1,2\nwall.png,0,p1,0,\nfilm.avi,3,p2,9,1\n"
    write_text(root / "labels.csv", "path,frame,subject,AU1,AU12_r\n" + rows)
    done = prepare("csv", root, tmp_path / "out", options={"table": "labels.csv"}, size=64)
    table = read_manifest(tmp_path / "out" / "manifest.csv")
    expected = {
        "dataset": ["csv"] * 3, "subject": ["p1", "p1", "p2"], "status": ["ok", "no_face", "ok"], "AU1": [1, 0, -1],
        "AU12": [1, -1, 0], "file": ["a.jpg", "wall.png", "film.avi"],
    }  # fmt: skip
    assert_rows(table, pd.DataFrame(expected))
    assert done.made == 3


def test_a_folder_of_photos_through_the_command_line(root, tmp_path, capsys):
    assert main(["prepare", "csv", "--root", str(root), "--out", str(tmp_path / "out"), "--size", "64"]) == 0
    said = capsys.readouterr().out
    assert "3 rows of 3 subjects in 3 sequences\n2 with an image, 1 no_face\n" in said
    assert "videos without labels are left out" in said
    table = read_manifest(tmp_path / "out" / "manifest.csv")
    assert table["file"].tolist() == ["a.jpg", "b 1/é.png", "wall.png"] and table.attrs["au_names"] == []
    assert all((tmp_path / "out" / image).is_file() for image in table["image"].dropna())


def test_folders_without_images(tmp_path):
    for folder, options, match in (
        (tmp_path, {}, "Expected images in"),
        (tmp_path / "gone", {}, "Expected `--root` to be a folder"),
        (tmp_path, {"table": "gone.csv"}, "there is no such file"),
    ):
        with pytest.raises(DatasetLayoutError, match=match):
            csv.read(folder, Findings(), **options)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_table_saved_by_a_european_spreadsheet_program(root, encoding):
    text = "sep=;\r\nStudy of 2020;;\r\npath;AU1;AU12_r\r\nb 1/é.png;WAHR;1,5\r\na.jpg;FALSCH;NA\r\npath;AU1;AU12_r\r\n"
    (root.parent / "e.csv").write_bytes(text.encode(encoding))
    found = Findings()
    table = csv.read(root, found, table=str(root.parent / "e.csv"))
    assert_rows(table, pd.DataFrame({"AU1": [0, 1], "AU12": [-1, 0], "AU12_intensity": [None, 1.5]}))
    notes = [text for kind, _, text in found.notes if kind == "how the table is read"]
    assert notes[-4:] == [
        "the header stands 1 more time among the rows and is passed over", "numbers have decimal commas",
        "TRUE and FALSE read as 1 and 0 (2 cells)", "`NA` read as missing",
    ]  # fmt: skip


def test_a_spreadsheet_and_its_dates(root):
    path = root.parent / "l.xlsx"
    write_table(path, {"labels": [["path", "AU1", "AU12_r"], ["a.jpg", True, 2.5], ["wall.png", 0, None]]})
    table = csv.read(root, Findings(), table=str(path))
    assert_rows(table, pd.DataFrame({"AU1": [1, 0], "AU12": [1, -1], "AU12_intensity": [2.5, None]}))
    write_table(path, {"labels": [["path", "AU1", "AU12_r"], ["a.jpg", 1, datetime.datetime(2026, 2, 1)]]})
    wanted = (
        r"sheet 'labels', row 2: expected `AU12_r` to be a number or empty, but got 2026-02-01; a spreadsheet program"
    )
    with pytest.raises(DatasetLayoutError, match=wanted):
        csv.read(root, Findings(), table=str(path))


def test_openface_s_table_of_a_video(root):
    """Its frames count from 1, and where no face was followed its zeros say nothing."""
    rows = [f"film.avi,{k + 1},{k / 25:.3f},0.9,{int(k != 2)},{int(k == 1)},{float(k == 1)}\n" for k in range(4)]
    text = "file,frame,timestamp,confidence,success,AU01_c,AU12_r\n" + "".join(rows)
    found = Findings()
    table = read(root, text, found)
    expected = {"frame": [1, 2, 3, 4], "source_frame": [0, 1, 2, 3], "AU1": [0, 1, -1, 0], "AU12": [0, 0, -1, 0]}
    assert_rows(table, pd.DataFrame({**expected, "AU12_intensity": [0, 1, None, 0]}))
    kinds = [kind for kind, _, _ in found.notes]
    assert {"no face was followed, so nothing is annotated", "frames count from 1, as OpenFace's do"} <= set(kinds)
    from_0 = text.replace("film.avi,1,", "film.avi,0,").replace("film.avi,2,", "film.avi,1,")
    from_0 = from_0.replace("film.avi,3,", "film.avi,2,").replace("film.avi,4,", "film.avi,3,")
    assert read(root, from_0)["source_frame"].tolist() == [0, 1, 2, 3]
