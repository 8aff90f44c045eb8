"""Names of sources: relative to what they share, unique, the same whatever the spelling."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.predict.sources import (
    Source,
    find_sources,
    in_shard,
    left_out,
    name_sources,
    sequence_files,
    unique_stems,
)

PARTS = st.lists(st.sampled_from(["a", "b", "c d", "é"]), min_size=1, max_size=4)


def test_one_photo_is_called_by_its_file_name(tmp_path):
    assert name_sources([tmp_path / "x" / "a b.jpg"]) == [(str(tmp_path / "x" / "a b.jpg"), "a b.jpg")]


def test_names_start_where_the_paths_part():
    names = name_sources(["/d/one/s/a.jpg", "/d/two/a.jpg", "/d/one/s/b.jpg"])
    assert [name for _, name in names] == ["one/s/a.jpg", "two/a.jpg", "one/s/b.jpg"]


def test_relative_and_absolute_paths_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = name_sources(["a.jpg", tmp_path / "sub" / "b.jpg", os.path.join("sub", "..", "c.jpg")])
    assert [name for _, name in names] == ["a.jpg", "sub/b.jpg", "c.jpg"]
    assert names[0] == ("a.jpg", "a.jpg")


def test_the_same_file_twice_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_sources(["a.jpg", "b.jpg", "./a.jpg", str(tmp_path / "b.jpg")]) == [
        ("a.jpg", "a.jpg"),
        ("b.jpg", "b.jpg"),
    ]


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_names_are_unique_and_lead_back(paths):
    given_paths = ["/data/" + "/".join(parts) + ".png" for parts in paths]
    names = name_sources(given_paths)
    assert len({name for _, name in names}) == len(names) == len(set(given_paths))
    common = {os.path.abspath(file).removesuffix(name) for file, name in names}
    assert len(common) == 1 and all("\\" not in name and not Path(name).is_absolute() for _, name in names)


def test_drives_that_share_nothing(monkeypatch):
    def apart(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", apart)
    assert [name for _, name in name_sources(["/c/a.jpg", "/d/a.jpg"])] == ["/c/a.jpg", "/d/a.jpg"]


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one source"):
        name_sources([])


class TestWhatIsNamed:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in (
            "b.jpg",
            "a.PNG",
            "talk.mp4",
            "notes.md",
            ".hidden.jpg",
            "deep/c.webp",
            "f/10.png",
            "f/9.png",
            "f/x.png",
            "f/010.png",
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    def names(self, *words):
        return [(source.name, source.kind) for source in find_sources(words)]

    def test_folders(self, folder):
        found = [("a.PNG", "photo"), ("b.jpg", "photo"), ("deep/c.webp", "photo")]
        frames = [(f"f/{name}.png", "photo") for name in ("010", "10", "9", "x")]
        assert self.names(folder) == [*found, *frames, ("talk.mp4", "video")]

    def test_patterns(self, folder):
        assert self.names(folder / "*.jpg") == [("b.jpg", "photo")]
        assert self.names(folder / "**" / "*.webp") == [("c.webp", "photo")]
        with pytest.raises(ValueError, match="files that match"):
            find_sources([folder / "*.gif"])

    def test_a_file_with_a_pattern_as_its_name(self, folder):
        (folder / "a[1].jpg").touch()
        assert self.names(folder / "a[1].jpg") == [("a[1].jpg", "photo")]

    def test_lists(self, folder):
        (folder / "list.txt").write_text("\ufeff# mine\n\ntalk.mp4\n  b.jpg\nmissing.jpg\n", encoding="utf-8")
        assert self.names(folder / "list.txt") == [("talk.mp4", "video"), ("b.jpg", "photo"), ("missing.jpg", "photo")]
        (folder / "empty.txt").write_text("# nothing\n")
        with pytest.raises(ValueError, match="names none"):
            find_sources([folder / "empty.txt"])

    def test_numbered_images_are_one_video(self, folder):
        assert self.names(folder / "f" / "%d.png") == [("%d.png", "sequence")]
        (folder / "f" / "010.png").unlink()
        assert list(sequence_files(str(folder / "f" / "%d.png"))) == [9, 10]
        assert list(sequence_files(str(folder / "f" / "%02d.png"))) == [10]
        with pytest.raises(ValueError, match="Expected images that match"):
            sequence_files(str(folder / "g" / "%d.png"))

    def test_cameras_stand_alone(self, folder):
        (source,) = find_sources(["camera:3"])
        assert (source.kind, source.file, source.name) == ("camera", "camera:3", "camera3")
        with pytest.raises(ValueError, match="only source"):
            find_sources(["camera:0", folder / "b.jpg"])

    @pytest.mark.parametrize("closed", ["deep", "."])
    def test_a_folder_that_cannot_be_read(self, folder, monkeypatch, closed):
        """One below is named, so that it is reported among the others; the one asked for is refused."""
        real = os.scandir

        def scandir(path):
            if Path(path) == folder / closed:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        if closed == ".":
            with pytest.raises(ValueError, match="can be read.*Permission denied"):
                find_sources([folder])
        else:
            assert ("deep", "photo") in self.names(folder) and ("talk.mp4", "video") in self.names(folder)

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(ValueError, match="found none in"):
            find_sources([tmp_path])


def test_shards_share_everything_out_once():
    names = [f"s{k}/talk.mp4" for k in range(60)]
    shares = [[name for name in names if in_shard(name, part, 4)] for part in (1, 2, 3, 4)]
    assert sorted(name for share in shares for name in share) == sorted(names) and min(map(len, shares)) >= 5
    assert in_shard("talk.mp4", 1, 3)  # never another one: jobs on many machines rely on it


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg"], ["a"]),
        (["p/a.jpg", "q/a.jpg", "q/b.c.jpg"], ["a", "a-2", "b.c"]),
        (["a.jpg", "A.png", "a-2.png", "a.bmp"], ["a", "A-2", "a-2-2", "a-3"]),
        (["f/%05d.png", "predictions.mp4"], ["_05d", "predictions-2"]),
    ],
)
def test_names_of_outputs_never_meet(names, stems):
    assert unique_stems([Source(name, name, "photo") for name in names], taken=("predictions",)) == stems
    assert len({stem.lower() for stem in stems}) == len(names)


def test_files_of_a_folder_that_are_not_read_are_named(tmp_path):
    names = ("a.jpg", "b.MP4", "c.xmp", "notes.txt", "p/d.psd", ".hidden.txt", ".git/config", "out/predictions.csv")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [str(tmp_path / name) for name in ("c.xmp", "notes.txt", "p/d.psd")]
    assert left_out([tmp_path, tmp_path / "p"], tmp_path / "out") == expected
    assert left_out([tmp_path / "a.jpg", tmp_path / "notes.txt"], tmp_path / "out") == []


def test_a_link_to_a_video_that_is_gone_is_a_source(tmp_path):
    """It is reported then; left out it would be missing in silence."""
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "disk" / "gone.mp4")
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert [source.name for source in find_sources([str(tmp_path)])] == ["a.jpg", "gone.mp4"]
