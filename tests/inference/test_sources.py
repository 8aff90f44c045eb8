"""Names of sources: relative to what they share, unique, the same whatever the spelling."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.inference.sources import name_sources

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
    assert name_sources(["a.jpg", "b.jpg", "./a.jpg", str(tmp_path / "b.jpg")]) == [("a.jpg", "a.jpg"), ("b.jpg", "b.jpg")]


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
    with pytest.raises(ValueError, match="at least one photo"):
        name_sources([])
