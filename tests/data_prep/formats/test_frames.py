"""Images and label files by the number in their name, photos by name, the length of a video."""

from pathlib import Path

import pytest

from auformer.data_prep.formats.frames import find_photo, frame_number, index_frames, index_photos
from auformer.errors import DatasetLayoutError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("2440.jpg", 2440), ("0999.jpg", 999), ("reg_img46.jpg", 46), ("006_05562.jpg", 5562), ("frame_1.jpg", 1),
        ("S005_001_00000011.png", 11), ("0001_aligned.jpg", 1),
        ("LeftVideoSN001_comp_00000001.jpg", 1), ("12.5.png", 5), ("none.png", None), ("٣.png", None),
    ],
)  # fmt: skip
def test_the_number_is_the_last_run_of_digits(name, number):
    assert frame_number(name) == number


def test_frames_come_in_the_order_of_their_numbers_whatever_the_padding(tmp_path):
    names = ("img10.jpg", "img9.JPG", "img100.jpg", "Thumbs.db", "notes 3.txt", ".hidden7.jpg", "cover.jpg")
    folder = touch(tmp_path / "F001 é", *names)
    (folder / "img5.jpg").mkdir()
    found = [(number, path.name) for number, path in index_frames(folder).items()]
    assert found == [(9, "img9.JPG"), (10, "img10.jpg"), (100, "img100.jpg")]
    names = ("b010_facs.txt", "b9_facs.txt", "readme_facs.txt", ".b1_facs.txt", "b3.txt")
    found = index_frames(touch(tmp_path / "labels", *names), "*_facs.txt")
    assert [(number, path.name) for number, path in found.items()] == [(9, "b9_facs.txt"), (10, "b010_facs.txt")]


@pytest.mark.parametrize("index", [index_frames, index_photos])
def test_a_folder_that_is_not_there(tmp_path, index):
    with pytest.raises(DatasetLayoutError, match="folder of images at"):
        index(tmp_path / "T9")


def test_photos_at_any_depth_and_suffix(tmp_path):
    touch(tmp_path, "b/é 2.PNG", "a/c/1.jpg", "1.jpeg", "notes.txt", ".hidden.jpg", ".cache/1.jpg", "a/x.y.jpg")
    found = index_photos(tmp_path)
    relative = {name: [path.relative_to(tmp_path).as_posix() for path in paths] for name, paths in found.items()}
    assert relative == {"1": ["1.jpeg", "a/c/1.jpg"], "é 2": ["b/é 2.PNG"], "x.y": ["a/x.y.jpg"]}


def test_the_folders_of_a_path_decide_between_images_of_one_name(tmp_path):
    photos = index_photos(touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/c/1.jpg", "2.png"))
    for name, expected in (
        ("2.jpg", "2.png"), ("elsewhere/2.jpg", "2.png"), ("3.jpg", None), ("a/1.png", "a/1.jpg"),
        ("x/b/c/1.jpg", "b/c/1.jpg"), ("b/1.jpg", "b/1.jpg"),
    ):  # fmt: skip
        assert find_photo(photos, name) == (expected and tmp_path / expected)
    with pytest.raises(DatasetLayoutError, match=r"one image for 1\.jpg"):
        find_photo(photos, "1.jpg")
