"""Frames by the number in their name; what lies beside them; two files for one number; the length of a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.data_prep.formats.frames import count_video_frames, frame_number, index_frames
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.images import plain_image, write_video


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
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
def test_the_number_is_the_last_run_of_digits(name: str, number: int | None) -> None:
    assert frame_number(name) == number


def test_frames_come_in_the_order_of_their_numbers_whatever_the_padding(tmp_path: Path) -> None:
    folder = touch(
        tmp_path / "F001 é",
        "img10.jpg",
        "img9.JPG",
        "img100.jpg",
        "Thumbs.db",
        "notes 3.txt",
        ".hidden7.jpg",
        "cover.jpg",
    )
    (folder / "img5.jpg").mkdir()
    assert {number: path.name for number, path in index_frames(folder).items()} == {
        9: "img9.JPG",
        10: "img10.jpg",
        100: "img100.jpg",
    }
    assert list(index_frames(folder)) == [9, 10, 100]


@pytest.mark.parametrize("pair", [("7.jpg", "007.jpg"), ("img7.jpg", "img7.png"), ("a_7.jpg", "b_7.jpg")])
def test_two_images_of_one_number_are_named(tmp_path: Path, pair: tuple[str, str]) -> None:
    folder = touch(tmp_path / "T1", "1.jpg", *pair)
    with pytest.raises(DatasetLayoutError, match="are both frame 7; remove one") as error:
        index_frames(folder)
    assert all(name in str(error.value) for name in pair)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="folder of images at"):
        index_frames(tmp_path / "T9")


def test_the_length_of_a_video_by_its_header(tmp_path: Path) -> None:
    images = [plain_image(k, (64, 48)) for k in range(7)]
    assert count_video_frames(write_video(tmp_path / "é 1.avi", images)) == 7
    assert count_video_frames(write_video(tmp_path / "a.mp4", images)) == 7
    assert count_video_frames(write_video(tmp_path / "a.mkv", images)) is None  # Matroska does not say
    (tmp_path / "b.avi").write_bytes(b"no video")
    assert count_video_frames(tmp_path / "b.avi") is None
    assert count_video_frames(tmp_path / "missing.avi") is None
