"""The table back-end: our own faces file, OpenFace's CSV, plain CSV; what is missing, and what is wrong."""

import pickle

import numpy as np
import pandas as pd
import pytest

from auformer.faces import POINT_COLUMNS, make_detector

IMAGE = np.zeros((100, 100, 3), np.uint8)
POINTS = np.array([(30.0, 40.0), (50.0, 41.0), (40.0, 52.0), (33.0, 62.0), (47.0, 63.0)])


def write(path, rows):
    pd.DataFrame(rows).to_csv(path, index=False)
    return make_detector(f"table:{path}")


def with_points(points=POINTS, **more):
    return {**more, **dict(zip(POINT_COLUMNS, points.ravel(), strict=True))}


class TestPlain:
    def test_points_and_boxes_of_images(self, tmp_path):
        rows = [
            with_points(file="a/1.jpg", x=5, y=6, w=60, h=70, score=0.8),
            with_points(POINTS + 1, file="b/1.jpg", x=1, y=1, w=9, h=9),
        ]
        detector = write(tmp_path / "t.csv", rows)
        (face,) = detector(IMAGE, file="a/1.jpg")
        assert (face.box, face.score, face.points_source) == ((5, 6, 60, 70), 0.8, "table")
        assert np.array_equal(face.points, POINTS)
        (other,) = detector(IMAGE, file="b/1.jpg", frame=7)  # an image's row may have a number of its own
        assert np.array_equal(other.points, POINTS + 1) and other.score == 1.0
        assert detector.name == "table" and detector.version.startswith("t.csv ")

    def test_frames_of_a_video_count_as_the_manifest_does(self, tmp_path):
        detector = write(tmp_path / "t.csv", [with_points(POINTS + k, file="v.avi", frame=k) for k in (1, 2, 5)])
        assert all(np.array_equal(detector(IMAGE, file="v.avi", frame=k)[0].points, POINTS + k) for k in (1, 2, 5))
        assert detector(IMAGE, file="v.avi", frame=0) == [] and detector(IMAGE, file="v.avi", frame=3) == []

    def test_points_alone_get_a_box(self, tmp_path):
        """Pupils 40 apart: a box of 100, they at 0.413 of its height."""
        points = np.array([(80.0, 50.0), (120.0, 50.0), (100, 70), (90, 90), (110, 90)])
        (face,) = write(tmp_path / "t.csv", [with_points(points, file="a.png")])(IMAGE, file="a.png")
        assert np.allclose(face.box, (50, 8.7, 100, 100))

    def test_boxes_alone_get_points_from_the_network(self, tmp_path, portrait):
        image, points = portrait
        (x, y), unit = points[:2].mean(0), np.hypot(*(points[1] - points[0]))
        row = {"file": "a.png", "x": x - 1.25 * unit, "y": y - unit, "w": 2.5 * unit, "h": 2.5 * unit}
        (face,) = write(tmp_path / "t.csv", [row])(image, file="a.png")
        assert face.points_source == "regressor" and np.hypot(*(face.points - points).T).max() < 0.08 * unit

    def test_missing_entries_have_no_face(self, tmp_path):
        nothing = dict.fromkeys(POINT_COLUMNS, np.nan)
        detector = write(tmp_path / "t.csv", [with_points(file="a.jpg"), {"file": "b.jpg", **nothing}])
        assert detector(IMAGE, file="b.jpg") == [] and detector(IMAGE, file="c.jpg") == []

    def test_an_image_without_a_name(self, tmp_path):
        with pytest.raises(ValueError, match="the name of the image's file"):
            write(tmp_path / "t.csv", [with_points(file="a.jpg")])(IMAGE)

    def test_several_faces(self, tmp_path):
        box = {"file": "a.jpg", "y": 0, "h": 30}
        rows = [{**box, "x": x, "w": w, **with_points(POINTS + x)} for x, w in ((0, 20), (50, 30))]
        assert [face.box[2] for face in write(tmp_path / "t.csv", rows)(IMAGE, file="a.jpg")] == [30, 20]
        detector = make_detector(f"table:{tmp_path / 't.csv'}", min_size=25)
        assert [face.box[2] for face in detector(IMAGE, file="a.jpg")] == [30]

    @pytest.mark.parametrize("asked", ["s1/x/1.jpg", "/data/s1/x/1.jpg", "x/1.jpg", "./s1/x/1.jpg", "s1\\x\\1.jpg"])
    def test_files_are_compared_from_the_end(self, tmp_path, asked):
        rows = [with_points(file="s1/x/1.jpg"), with_points(POINTS + 9, file="s1/y/1.jpg")]
        detector = write(tmp_path / "t.csv", rows)
        assert np.array_equal(detector(IMAGE, file=asked)[0].points, POINTS)
        assert detector(IMAGE, file="s2/x/1.jpg") == []
        with pytest.raises(ValueError, match=r"may be s1/x/1.jpg or s1/y/1.jpg: name more folders"):
            detector(IMAGE, file="1.jpg")

    def test_it_travels(self, tmp_path):
        detector = pickle.loads(pickle.dumps(write(tmp_path / "t.csv", [with_points(file="a.jpg")])))
        assert len(detector(IMAGE, file="a.jpg")) == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,x,y,w\na,1,2,3\n", r"x, y, w, h or pupil_left_x \.\. mouth_right_y, but got file, x, y, w"),
            ("name,x,y,w,h\na,1,2,3,4\n", "but got name, x, y, w, h"),
            ("file,x,y,w,h\na,1,2,wide,4\n", "t.csv, line 2: expected `w` to be a number or empty, but got 'wide'"),
            ("file,x,y,w,h\na,1,2,0,4\n", "w and h above 0"),
            ("file,frame,x,y,w,h\na,1.5,1,2,3,4\n", "frames of .* whole numbers, but got 1.5"),
            ("", "the file is empty"),
            ('file,x\n"a', "line 2: the cells cannot be told apart"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, message):
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            make_detector(f"table:{tmp_path / 't.csv'}")

    def test_bad_specifications(self, tmp_path):
        write(tmp_path / "t.csv", [with_points(file="a.jpg")])
        for spec, message in (
            (f"{tmp_path}/nothing.csv", "there is no"),
            (f"{tmp_path}/t.csv?start=1", r"\?first=N"),
            (f"{tmp_path}/t.csv?first=1", "with an OpenFace table only"),
            (str(tmp_path / "empty"), "OpenFace tables"),
        ):
            (tmp_path / "empty").mkdir(exist_ok=True)
            with pytest.raises(ValueError, match=message):
                make_detector(f"table:{spec}")
        (tmp_path / "t.parquet").write_bytes(b"no Parquet")
        with pytest.raises(ValueError, match="cannot be read as a parquet"):
            make_detector(f"table:{tmp_path / 't.parquet'}")


class TestFacesFile:
    """As `write_faces` leaves it beside a manifest."""

    def write(self, tmp_path, **columns):
        key = {"dataset": "x", "subject": ["001", "001", "2"], "sequence": "s", "frame": [4, 5, 4], "face": 0}
        values = {name: POINTS.ravel()[i] + np.arange(3.0) for i, name in enumerate(POINT_COLUMNS)}
        boxes = {"x": 1.0, "y": 2.0, "w": 60.0, "h": 60.0, "score": 0.9, "points_source": "eyes"}
        pd.DataFrame({**key, **boxes, **values}).to_parquet(tmp_path / "m.faces.parquet")
        if columns:
            pd.DataFrame({**key, **columns}).to_csv(tmp_path / "m.csv", index=False)
        return f"table:{tmp_path / 'm.faces.parquet'}"

    def test_with_the_manifests_files(self, tmp_path):
        files = ["a.avi", "a.avi", "b.avi"]
        detector = make_detector(self.write(tmp_path, file=files, image=["1.jpg", "2.jpg", "3.jpg"]))
        for number, (file, frame) in enumerate((("a.avi", 4), ("a.avi", 5), ("b.avi", 4))):
            (face,) = detector(IMAGE, file=file, frame=frame)
            assert np.array_equal(face.points, POINTS + number) and face.points_source == "table" and face.score == 0.9
        assert detector(IMAGE, file="b.avi", frame=5) == []

    def test_a_manifest_without_files_is_known_by_its_images(self, tmp_path):
        detector = make_detector(self.write(tmp_path, image=["c/1.jpg", "c/2.jpg", "c/3.jpg"]))
        assert np.array_equal(detector(IMAGE, file="c/2.jpg", frame=0)[0].points, POINTS + 1)

    def test_without_its_manifest(self, tmp_path):
        with pytest.raises(ValueError, match=r"the manifest m.csv or m.parquet beside"):
            make_detector(self.write(tmp_path))

    def test_a_manifest_of_other_rows(self, tmp_path):
        spec = self.write(tmp_path, file=["a", "b", "c"])
        other = pd.read_csv(tmp_path / "m.csv", dtype=str)
        other.loc[1, "frame"] = "6"
        other.to_csv(tmp_path / "m.csv", index=False)
        with pytest.raises(ValueError, match="1 have none"):
            make_detector(spec)


def landmarks(shift=0.0):
    """68 landmarks: eye contours around (30, 40) and (60, 40), nose (45, 55), mouth (36, 70) and (54, 70)."""
    marks = np.full((68, 2), (45.0, 50.0))
    marks[0], marks[8] = (10, 30), (45, 90)
    ring = 4 * np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], 1)
    marks[36:42], marks[42:48] = np.add(ring, (30, 40)), np.add(ring, (60, 40))
    marks[30], marks[48], marks[54] = (45, 55), (36, 70), (54, 70)
    return marks + shift


# OpenFace's origin is a pixel's centre.
FIVE = np.array([(30.5, 40.5), (60.5, 40.5), (45.5, 55.5), (36.5, 70.5), (54.5, 70.5)])


def write_openface(path, frames=(1, 2, 3), success=(1, 1, 1), space=" "):
    """FeatureExtraction's columns that matter, a space before the names as OpenFace 2.0 writes them."""
    names = ["frame", "face_id", "timestamp", "confidence", "success"]
    lines = [("," + space).join([*names, *(f"{axis}_{i}" for axis in "xy" for i in range(68))])]
    for frame, good in zip(frames, success, strict=True):
        values = [frame, 0, (frame - 1) / 30, 0.98 if good else 0.1, good, *landmarks(10.0 * frame).T.ravel()]
        lines.append(("," + space).join(str(value) for value in values))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class TestOpenFace:
    @pytest.mark.parametrize("space", ["", " "])
    def test_a_video_by_frame(self, tmp_path, space):
        detector = make_detector(f"table:{write_openface(tmp_path / 'clip.csv', space=space)}")
        for frame in range(3):  # the first frame of the manifest is 0, of OpenFace 1
            (face,) = detector(IMAGE, file="videos/clip.avi", frame=frame)
            assert np.allclose(face.points, FIVE + 10 * (frame + 1))
            assert face.points_source == "table" and face.score == pytest.approx(0.98)
            # from landmark 0 to the eyes and the chin
            assert np.allclose(face.box, (10 * frame + 20.5, 10 * frame + 40.5, 54, 60))

    def test_frames_counted_from_one(self, tmp_path):
        detector = make_detector(f"table:{write_openface(tmp_path / 'clip.csv')}?first=1")
        assert np.allclose(detector(IMAGE, file="clip.avi", frame=1)[0].points, FIVE + 10)
        assert detector.version.endswith("first frame 1")

    def test_a_wrong_base_is_noticed(self, tmp_path):
        path = write_openface(tmp_path / "clip.csv")
        for spec, frame in ((f"table:{path}", 3), (f"table:{path}?first=1", 0)):
            with pytest.raises(ValueError, match=r"has 1 to 3, but got \d\. Frames are counted from 0 on, or from N"):
                make_detector(spec)(IMAGE, file="clip.avi", frame=frame)

    def test_frames_that_the_table_counts_from_zero(self, tmp_path):
        """As pyfaceau writes them; without a frame 0 their times say so."""
        path = write_openface(tmp_path / "clip.csv", frames=(0, 1, 2))
        detector = make_detector(f"table:{path}")
        assert [detector(IMAGE, file="clip.avi", frame=n)[0].points[0, 0] for n in range(3)] == [30.5, 40.5, 50.5]
        later = pd.read_csv(write_openface(tmp_path / "b.csv", frames=(3, 4, 5)), skipinitialspace=True)
        later.assign(timestamp=later["frame"] / 30).to_csv(tmp_path / "b.csv", index=False)
        detector = make_detector(f"table:{tmp_path / 'b.csv'}")
        assert [len(detector(IMAGE, file="b.avi", frame=n)) for n in range(6)] == [0, 0, 0, 1, 1, 1]

    def test_nobody_was_seen(self, tmp_path):
        """OpenFace then writes a header and nothing else."""
        detector = make_detector(f"table:{write_openface(tmp_path / 'clip.csv', frames=(), success=())}")
        assert [detector(IMAGE, file="clip.avi", frame=frame) for frame in (0, 99)] == [[], []]

    def test_saved_by_a_european_spreadsheet(self, tmp_path):
        path = write_openface(tmp_path / "clip.csv")
        text = path.read_text(encoding="utf-8").replace(", ", ";").replace(".", ",")
        path.write_bytes(b"\xff\xfe" + ("sep=;\r\n" + text.replace("\n", "\r\n")).encode("utf-16-le"))
        (face,) = make_detector(f"table:{path}")(IMAGE, file="clip.avi", frame=1)
        assert np.allclose(face.points, FIVE + 20) and face.score == pytest.approx(0.98)

    def test_a_failed_landmark_is_no_face(self, tmp_path):
        path = write_openface(tmp_path / "clip.csv")
        path.write_text(path.read_text(encoding="utf-8").replace(" 65.0", " -nan(ind)", 1), encoding="utf-8")
        detector = make_detector(f"table:{path}")
        assert sorted(len(detector(IMAGE, file="clip.avi", frame=n)) for n in range(3)) == [0, 1, 1]

    def test_lost_and_left_out_frames(self, tmp_path):
        detector = make_detector(f"table:{write_openface(tmp_path / 'clip.csv', frames=(1, 2, 4), success=(1, 0, 1))}")
        assert [len(detector(IMAGE, file="clip.avi", frame=frame)) for frame in range(4)] == [1, 0, 0, 1]

    def test_another_video(self, tmp_path):
        with pytest.raises(ValueError, match=r"asked for clip, by its name, but got other.avi: name the folder"):
            make_detector(f"table:{write_openface(tmp_path / 'clip.csv')}")(IMAGE, file="other.avi", frame=0)

    def test_a_folder_of_tables(self, tmp_path):
        write_openface(tmp_path / "s1" / "clip.csv")
        write_openface(tmp_path / "s2" / "clip.csv", frames=(2, 3, 4))
        write_openface(tmp_path / "only.csv")
        detector = make_detector(f"table:{tmp_path}")
        assert np.allclose(detector(IMAGE, file="s2/clip.mp4", frame=3)[0].points, FIVE + 40)
        assert len(detector(IMAGE, file="videos/only.mp4", frame=0)) == 1
        assert detector(IMAGE, file="s3/none.mp4", frame=0) == []
        with pytest.raises(ValueError, match="one table clip.csv"):
            detector(IMAGE, file="clip.mp4", frame=0)

    def test_images_have_a_table_each(self, tmp_path):
        """FaceLandmarkImg: a row per face, no frame, no success."""
        video = pd.read_csv(write_openface(tmp_path / "a.csv"), skipinitialspace=True)
        table = video.drop(columns=["frame", "face_id", "timestamp", "success"])
        pd.concat([table[:1], table[2:] + 200]).assign(confidence=0.9).rename_axis("face").to_csv(tmp_path / "a.csv")
        faces = make_detector(f"table:{tmp_path}")(IMAGE, file="photos/a.jpg", frame=17)
        assert len(faces) == 2 and np.allclose(sorted(face.points[0, 0] for face in faces), (40.5, 260.5))

    def test_damaged(self, tmp_path):
        path = write_openface(tmp_path / "clip.csv")
        path.write_text(path.read_text(encoding="utf-8").replace("0.98", "high", 1), encoding="utf-8")
        with pytest.raises(
            ValueError, match="clip.csv, line 2: expected `confidence` to be a number or empty, but got 'high'"
        ):
            make_detector(f"table:{path}")(IMAGE, file="clip.avi", frame=0)
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "x.csv").write_text("frame,success\n1,1\n", encoding="utf-8")
        with pytest.raises(ValueError, match="x_0 .. y_67, but got frame, success"):
            make_detector(f"table:{tmp_path / 'more'}")(IMAGE, file="x.avi", frame=0)
