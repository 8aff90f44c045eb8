"""The pipeline on a made-up release: equal crops from files, video and archive, statuses, sidecars, options."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from auformer.data.images import read_image, write_image
from auformer.data.manifest import read_manifest
from auformer.data_prep.pipeline import prepare as pipeline
from auformer.data_prep.pipeline.prepare import prepare
from auformer.errors import DatasetLayoutError, ManifestError
from auformer.faces import CROP_RECIPES, align
from tests.helpers.trees import files
from tests.helpers.trees.images import face_image, plain_image, write_video
from tests.helpers.trees.tiny import SEQUENCES, TinyDetector, TinyReader


@pytest.fixture
def reader(monkeypatch):
    """The made-up release is read, with a fast face detector."""
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: TinyDetector())
    return use(TinyReader(), monkeypatch)


def use(reader: TinyReader, monkeypatch: pytest.MonkeyPatch) -> TinyReader:
    monkeypatch.setattr(pipeline, "load", lambda name: reader)
    return reader


def test_every_form_of_source_gives_the_rows_and_the_crops_of_the_images(tree, tmp_path, monkeypatch):
    """With the default face detector."""
    use(TinyReader(), monkeypatch)
    before = files(tree)
    done = prepare("tiny", tree, tmp_path / "out", size=64)
    table = read_manifest(tmp_path / "out" / "manifest.csv")
    assert table[["subject", "sequence"]].drop_duplicates().to_numpy().tolist() == [list(each) for each in SEQUENCES]
    assert table["status"].tolist() == ["ok", "ok", "no_face", "ok"] * 4 and done.made == 16
    assert table["frame"].tolist() == [1, 2, 3, 4] * 4 and table["AU1"].tolist() == [0, 1, 1, 1] * 4
    assert table["AU12_intensity"].tolist() == [0.5, 1, 1.5, 2] * 4  # a frame without a face keeps its labels
    assert table["file"].tolist()[7::4] == ["S1/weinen é/1/img004.png", "film.mkv", "packed.zip/S3/0004.png"]
    assert table["image"].iloc[8] == "crops/S2/film/1.jpg" and table["image"][table["status"] != "ok"].isna().all()
    assert all(image.isascii() and " " not in image and image.count("/") == 3 for image in table["image"].dropna())
    assert files(tree) == before

    faces = pd.read_parquet(tmp_path / "out" / "manifest.faces.parquet")
    assert len(faces) == 12 and (faces["faces_found"] == 1).all() and (faces["points_frame"] == faces["frame"]).all()
    for (_, row), (_, face) in zip(table[table["status"] == "ok"].iterrows(), faces.iterrows(), strict=True):
        pupils = [f"pupil_{side}_{axis}" for side in ("left", "right") for axis in "xy"]
        points = face[pupils].to_numpy(float).reshape(2, 2)
        wanted, _ = align(face_image(int(row["subject"][1]), row["frame"]), points, "eyes", 64)
        crop = read_image(tmp_path / "out" / row["image"])
        assert np.abs(crop.astype(int) - wanted).mean() < 3  # the JPEG's loss


def test_frame_k_of_a_video_and_image_k_give_one_crop(reader, tmp_path):
    """Three images in a folder, by name, and in a lossless video, by position: the crops are equal to the byte."""
    root, numbers = tmp_path / "release", (1, 2, 4)
    for n in numbers:
        write_image(root / "frames" / f"{n}.png", face_image(1, n))
    write_video(root / "frames.mkv", [face_image(2 if n == 3 else 1, n) for n in range(1, 5)])
    rows = [{"sequence": "files", "frame": n, "source": f"frames/{n}.png"} for n in numbers]
    rows += [{"sequence": "video", "frame": n, "source": "frames.mkv", "source_frame": n - 1} for n in numbers]
    reader.read = lambda root, findings: pd.DataFrame(rows).assign(subject="S", AU1=0)
    prepare("tiny", root, tmp_path / "out", size=64)
    crops = files(tmp_path / "out" / "crops" / "S")
    assert len(crops) == 6 and all(crops[f"video/{n}.jpg"] == crops[f"files/{n}.jpg"] for n in numbers)


def test_the_sidecar_says_how_the_crops_were_made(tree, reader, tmp_path):
    prepare("tiny", tree, tmp_path, size=48, border="constant", parquet=True, options={"threshold": 3})
    side = read_manifest(tmp_path / "manifest.parquet").attrs["side"]
    how = (side["dataset"], side["crop_recipe"], side["image_size"], side["border"])
    assert how == ("tiny", "eyes", [48, 48], "constant")
    assert side["detector"] == {"name": "tiny", "version": "1"} and side["points_sources"] == {"fixed": 12}
    assert side["label_rates"]["AU1"] == {"positives": 8, "known": 16, "measured": 0.5}
    assert side["label_rates"]["AU12"] == {"positives": 4, "known": 12, "measured": 0.3333}
    assert side["status"] == {"no_face": 4, "ok": 12}
    assert (side["rows"], side["subjects"], side["sequences"]) == (16, 3, 4)
    assert side["corrected"] == [{"table": "tiny", "row": "3", "text": "frame 7 is frame 3"}]
    assert side["prepared_with"]["threshold"] == 3 and side["limit"] is None
    notes = [note for note in side["findings"]["notes"] if note["kind"] == "no face found"]
    assert [note["where"] for note in notes] == ["S1/smile", "S1/weinen é/1", "film.mkv", "packed.zip"]
    assert notes[0]["text"] == "frame 3" and str(tree) not in json.dumps(side) and str(tmp_path) not in json.dumps(side)
    assert not (tmp_path / "manifest.csv").exists() and not (tmp_path / ".prepare").exists()


def test_one_transform_per_clip(tree, reader, monkeypatch, tmp_path):
    """That of the first frame with a face from the onset on (frame 3 shows none), for every frame."""
    reader = use(TinyReader(per_clip=True, onset=3), monkeypatch)
    done = prepare("tiny", tree, tmp_path, size=64)
    assert done.table["status"].tolist() == ["ok"] * 16
    faces = pd.read_parquet(tmp_path / "manifest.faces.parquet")
    assert (faces["points_frame"] == 4).all()
    points = ["pupil_left_x", "pupil_left_y", "pupil_right_x", "pupil_right_y"]
    assert len(faces.drop_duplicates(["subject", "sequence", *points])) == len(SEQUENCES)
    points = faces[points].to_numpy()[0].reshape(2, 2)
    wanted, _ = align(face_image(1, 1), points, "eyes", 64)
    assert np.abs(read_image(tmp_path / "crops" / "S1" / "smile" / "1.jpg").astype(int) - wanted).mean() < 3
    notes = [note for note in done.findings.notes if note[0].startswith("clips cropped by")]
    assert len(notes) == 4 and notes[0][2] == "no face in frame 3, taken from 4"
    reader.onset = 2
    done = prepare("tiny", tree, tmp_path / "plain", size=64)
    assert done.findings.notes == []
    assert (pd.read_parquet(tmp_path / "plain" / "manifest.faces.parquet")["points_frame"] == 2).all()


def test_damaged_and_missing_images_are_rows_with_a_reason(tree, reader, monkeypatch, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tree, root)
    use(TinyReader(frames=6), monkeypatch)
    video = root / "film.mkv"
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 6 // 10])
    broken = root / "S1" / "smile" / "img002.png"
    broken.write_bytes(broken.read_bytes()[:200])
    done = prepare("tiny", root, tmp_path / "out", size=64)
    status = {str(name): group["status"].tolist() for name, group in done.table.groupby("sequence")}
    assert status["smile"] == ["ok", "unreadable", "no_face", "ok", "no_image", "no_image"]
    assert status["packed"] == ["ok", "ok", "no_face", "ok", "no_image", "no_image"]
    assert status["film"][0] == "ok" and set(status["film"][2:]) <= {"unreadable", "no_image"}
    text = "\n".join(done.findings.lines())
    assert "img002.png" in text and "film.mkv" in text and str(root) not in text
    assert "labels without an image" not in text  # the reader knows of those


def test_a_release_without_any_face(reader, tmp_path):
    """Every row keeps its labels; there is no table of faces."""
    for number in (1, 2):
        write_image(tmp_path / "release" / f"{number}.png", plain_image(number))
    rows = {"subject": "S", "sequence": "s", "frame": [1, 2], "AU1": 1, "source": ["1.png", "2.png"]}
    reader.read = lambda root, findings: pd.DataFrame(rows)
    for made in (2, 0):
        done = prepare("tiny", tmp_path / "release", tmp_path / "out", size=64)
        assert done.made == made and done.table["status"].tolist() == ["no_face"] * 2
        assert done.table["AU1"].tolist() == [1, 1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.csv", "manifest.json"]


def test_a_video_that_ends_before_its_labels(tree, reader, tmp_path):
    rows = pd.DataFrame({"subject": "S2", "sequence": "film", "frame": [4, 5, 6], "AU1": 0, "source": "film.mkv"})
    reader.read = lambda root, findings: rows.assign(source_frame=rows["frame"] - 1)
    done = prepare("tiny", tree, tmp_path, size=64)
    assert done.table["status"].tolist() == ["ok", "no_image", "no_image"]
    text = "2 frames, 5 to 6: film.mkv: it has 4 frames"
    assert done.findings.notes == [("labels without an image", "film.mkv", text)]


def test_missing_files_stop_unless_partial(tree, reader, tmp_path):
    read = reader.read

    def incomplete(root, findings, **options):
        findings.miss("S9/labels.csv", "its images are not there")
        return read(root, findings)

    reader.read = incomplete
    with pytest.raises(DatasetLayoutError, match=r"S9/labels.csv: its images are not there\n.*--partial"):
        prepare("tiny", tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert prepare("tiny", tree, tmp_path / "out", partial=True, limit=1, size=64).manifest is not None
    assert prepare("tiny", tree, None, dry_run=True).findings.incomplete


def test_out_stays_away_from_the_release(tree, reader, tmp_path):
    before = files(tree)
    for out in (tree, tree / "crops", tree / ".." / tree.name / "a" / "b"):
        with pytest.raises(DatasetLayoutError, match="`--out` to lie outside `--root`"):
            prepare("tiny", tree, out)
    with pytest.raises(DatasetLayoutError, match="where crops are written"):
        prepare("tiny", tmp_path / "crops" / "Tiny", tmp_path)
    assert files(tree) == before


def test_a_source_outside_the_root_is_refused(tree, reader, tmp_path):
    for source in ("../secret.png", "/etc/passwd", "a/../../b.png", "C:/x.png"):
        rows = [{"subject": "S", "sequence": "s", "frame": 1, "AU1": 0, "source": source}]
        reader.read = lambda root, findings, rows=rows: pd.DataFrame(rows)
        with pytest.raises(DatasetLayoutError, match="inside `--root`"):
            prepare("tiny", tree, tmp_path)


def test_labels_that_break_the_contract_stop_before_any_image_is_read(tree, reader, tmp_path):
    row = {"subject": "S", "sequence": "s", "frame": 1, "source": "x.png"}
    for rows, error, match in (
        ([row | {"AU1": 9}], ManifestError, "AU1"),
        ([row | {"AU1": 1}, row | {"AU1": 0}], DatasetLayoutError, "one row per frame"),
        ([], DatasetLayoutError, "not one row"),
    ):
        reader.read = lambda root, findings, rows=rows: pd.DataFrame(rows)
        with pytest.raises(error, match=match):
            prepare("tiny", tree, tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"workers": 0}, "--workers"),
        ({"size": 8}, "--size"),
        ({"size": 4096}, "--size"),
        ({"border": "blue"}, "--border"),
        ({"recipe": "face"}, "recipe"),
        ({"limit": 0}, "--limit"),
        ({"options": {"camera": "left"}}, "threshold, corrections"),
    ],
)
def test_arguments_out_of_range(tree, reader, tmp_path, arguments, match):
    with pytest.raises(ValueError, match=match):
        prepare("tiny", tree, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tree, reader, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="cannot write here"):
        prepare("tiny", tree, tmp_path / "file" / "out")


def test_limit_takes_the_first_rows_with_an_image(tree, reader, monkeypatch, tmp_path):
    use(TinyReader(frames=6), monkeypatch)  # frames 5 and 6 have no image
    done = prepare("tiny", tree, tmp_path, limit=6, size=64)
    assert done.table["sequence"].tolist() == ["smile"] * 4 + ["weinen é/1"] * 2
    assert done.table["frame"].tolist() == [1, 2, 3, 4, 1, 2]
    assert read_manifest(tmp_path / "manifest.csv").attrs["side"]["limit"] == 6


def test_a_dry_run_opens_no_image_and_writes_nothing(tree, reader, tmp_path, monkeypatch):
    monkeypatch.setattr("auformer.data_prep.pipeline.crops.read_image", lambda path: pytest.fail("an image was opened"))
    monkeypatch.setattr("auformer.data_prep.formats.videos.Video", lambda *_, **__: pytest.fail("a video was opened"))
    done = prepare("tiny", tree, tmp_path / "out", dry_run=True)
    assert len(done.table) == 16 and done.manifest is None and not list(tmp_path.iterdir())


def test_every_recipe_gives_crops(tree, reader, tmp_path):
    for recipe in CROP_RECIPES:
        done = prepare("tiny", tree, tmp_path / recipe, limit=1, recipe=recipe, size=64)
        assert read_image(tmp_path / recipe / done.table["image"][0]).shape == (64, 64, 3)
