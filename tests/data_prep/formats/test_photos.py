"""Images by name: any depth and suffix, the folders of a path decide between images of one name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from auformer.data_prep.formats.frames import find_photo, index_photos, pair_photos
from auformer.errors import DatasetLayoutError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_index(tmp_path: Path) -> None:
    touch(tmp_path, "b/é 2.PNG", "a/c/1.jpg", "1.jpeg", "notes.txt", ".hidden.jpg", ".cache/1.jpg", "a/x.y.jpg")
    photos = index_photos(tmp_path)
    assert {name: [path.relative_to(tmp_path).as_posix() for path in paths] for name, paths in photos.items()} == {
        "1": ["1.jpeg", "a/c/1.jpg"],
        "é 2": ["b/é 2.PNG"],
        "x.y": ["a/x.y.jpg"],
    }
    with pytest.raises(DatasetLayoutError, match="a folder of images"):
        index_photos(tmp_path / "none")


def test_find(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/c/1.jpg", "2.png")
    photos = index_photos(tmp_path)

    def found(name: str) -> str | None:
        path = find_photo(photos, name)
        return None if path is None else path.relative_to(tmp_path).as_posix()

    assert found("2.jpg") == "2.png" and found("elsewhere/2.jpg") == "2.png" and found("3.jpg") is None
    assert found("a/1.png") == "a/1.jpg" and found("x/b/c/1.jpg") == "b/c/1.jpg" and found("b/1.jpg") == "b/1.jpg"
    with pytest.raises(DatasetLayoutError, match=r"one image for 1\.jpg"):
        found("1.jpg")


def test_pair_keeps_the_frame_numbers(tmp_path: Path) -> None:
    rows = pd.DataFrame({"subject": ["x", "y"], "frame": [7, 7]})
    paired = pair_photos(rows, tmp_path, [None, tmp_path / "a" / "1.jpg"])
    assert paired["frame"].tolist() == [7, 7]
    assert paired["status"].tolist() == ["no_image", "ok"] and paired["source"].tolist() == ["", "a/1.jpg"]
