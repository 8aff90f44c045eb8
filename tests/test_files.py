"""Files that are there whole or not at all, digests, and what is known before one writes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from auformer.files import atomic_path, check_writable, digest, leads_outside, read_json, sha256, write_json, write_text


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.tar.gz"
    with atomic_path(target) as temporary:
        temporary.write_text("whole", encoding="utf-8")
        assert not target.exists() and temporary.parent == target.parent and temporary.suffix == target.suffix
    assert content(target.parent) == {"a.tar.gz": b"whole"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")

    def fail_halfway() -> None:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert content(tmp_path) == {"a.txt": b"old"}
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "nothing_written.txt"):
        pass


def test_text_is_utf8_with_newlines_as_given(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "Ä\nb\n")
    assert content(tmp_path / "new") == {"a.txt": b"\xc3\x84\nb\n"}
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new" / "a.txt", "half \ud800")
    assert content(tmp_path / "new") == {"a.txt": b"\xc3\x84\nb\n"}


def test_json_is_read_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "ä": "ß"})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None], "ä": "ß"}
    before = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "ß" in before and before.endswith("}\n")
    for value, error in ((float("nan"), ValueError), (Path("x"), TypeError)):
        with pytest.raises(error):
            write_json(tmp_path / "a.json", {"b": value})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("text", [None, b"", b"{", b"[1]", b"\xff"])
def test_what_holds_no_json_object_reads_as_none(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "a.json").write_bytes(text)
    assert read_json(tmp_path / "a.json") is None


def test_digests(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)  # more than one piece
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    assert digest("a") == hashlib.sha256(b"a").hexdigest() != digest("b")
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [2.5]})


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert content(tmp_path / "a" / "b") == {}
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write here.*choose another folder") as caught:
        check_writable(tmp_path / "file" / "x")
    assert caught.value.filename == str(tmp_path / "file" / "x") and "free space" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "outside"),
    [
        ("a/b.jpg", False), ("a..b/..c/d..", False), (".hidden/a b", False), ("ab:c/d", False),
        ("/etc/passwd", True), ("../a", True), ("a/../../b", True), ("a/..", True), ("..", True),
        ("C:/a", True), ("c:a/b", True), ("a\\b", True), ("\\\\host\\a", True),
    ],
)  # fmt: skip
def test_paths_that_lead_outside(path: str, outside: Any) -> None:
    assert leads_outside(path) is outside
