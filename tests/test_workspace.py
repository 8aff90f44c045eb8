"""A folder that is claimed, killed, resumed, finished, overwritten, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auformer.errors import DatasetLayoutError
from auformer.workspace import Workspace, differences

RECORD: dict[str, Any] = {"command": "bake", "seed": 1, "faces": {"size": (2, 3)}}
OWNED = ("table.csv", "images")


@pytest.fixture(params=["hidden", "plain.yaml"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A workspace whose record goes with its state, or stays beside the results."""
    record = None if request.param == "hidden" else request.param
    owned = OWNED if record is None else (*OWNED, record)
    return lambda **options: Workspace(tmp_path / "out", kind="a cake", owned=owned, record=record, **options)


def write_part(text: str) -> Any:
    return lambda folder: (folder / "a.txt").write_text(text)


def files(workspace: Workspace) -> set[str]:
    return {path.relative_to(workspace.path).as_posix() for path in workspace.path.rglob("*") if path.is_file()}


def test_parts_are_kept_until_the_work_is_finished(make: Any) -> None:
    make().claim(RECORD)
    make().keep("one", write_part("1"))
    make().keep("one", write_part("again"))
    make().claim(dict(reversed(RECORD.items())))
    kept = make().kept("one")
    assert kept is not None and (kept / "a.txt").read_text() == "again" and make().kept("two") is None
    assert make().recorded() == {**RECORD, "faces": {"size": [2, 3]}}
    make().finish()
    assert make().kept("one") is None and not make().state.exists()


def test_a_part_that_fails_is_not_kept(make: Any) -> None:
    make().claim(RECORD)

    def fail(folder: Path) -> None:
        write_part("half")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().keep("one", fail)
    assert make().kept("one") is None
    make().keep("one", write_part("whole"))
    assert make().kept("one") is not None


def test_another_record_is_refused_and_named(make: Any) -> None:
    make().claim(RECORD)
    make().keep("one", write_part("1"))
    before = files(make())
    other = {"command": "bake", "seed": 1.0, "faces": {"size": (2, 4)}, "more": True}
    with pytest.raises(DatasetLayoutError) as caught:
        make(error=DatasetLayoutError).claim(other)
    for difference in ("seed was 1 and is now 1.0", "size was [2, 3] and is now [2, 4]", "more was (absent)", "a cake"):
        assert difference in str(caught.value)
    assert files(make()) == before
    make().claim({**RECORD, "seed": 2}, free=["seed"])
    assert make().recorded()["seed"] == 2 and make().kept("one") is not None


def test_finished_results_carry_the_record(make: Any) -> None:
    workspace = make()
    workspace.claim(RECORD)
    (workspace.path / "table.csv").write_text("done")
    workspace.finish()
    workspace.path.chmod(0o555)  # finished work may lie where nobody can write
    make().claim(RECORD, finished=RECORD)
    workspace.path.chmod(0o755)
    assert make().kept("one") is None and (workspace.path / "table.csv").read_text() == "done"
    with pytest.raises(ValueError, match="seed was 1 and is now 2"):
        make().claim({**RECORD, "seed": 2}, finished=RECORD)


def test_overwrite_removes_what_such_work_wrote_and_nothing_else(make: Any) -> None:
    workspace = make()
    workspace.claim(RECORD)
    workspace.keep("one", write_part("1"))
    (workspace.path / "images").mkdir()
    for name in ("table.csv", "images/a.jpg", "mine.txt"):
        (workspace.path / name).write_text("old")
    workspace.claim({"seed": 2}, overwrite=True)
    assert files(workspace) == {"mine.txt", workspace.record.relative_to(workspace.path).as_posix()}
    assert workspace.recorded() == {"seed": 2}


@pytest.mark.parametrize("step", ["unlink", "rmtree", "rename"])
def test_an_interrupted_overwrite_can_only_be_repeated(make: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever step it is killed in, the old work is never taken for the new."""
    workspace = make()
    workspace.claim(RECORD)
    workspace.keep("one", write_part("1"))
    for name in ("images/a.jpg", "table.csv"):
        (workspace.path / name).parent.mkdir(exist_ok=True)
        (workspace.path / name).write_text("old")

    def interrupted(*_: Any, **options: Any) -> None:
        if not options.get("ignore_errors"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree" if step == "rmtree" else f"pathlib.Path.{step}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make().claim({"seed": 2}, overwrite=True)
    with pytest.raises(ValueError, match="is now 2"):
        make().claim({"seed": 2})
    make().claim({"seed": 2}, overwrite=True)
    assert make().kept("one") is None and not any((workspace.path / name).exists() for name in OWNED)


def test_an_interrupted_overwrite_of_finished_work_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path, kind="a cake", owned=OWNED)
    (tmp_path / "images").mkdir()
    (tmp_path / "table.csv").write_text("it carries the record")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path, ignore_errors=False: ignore_errors or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workspace.claim({"seed": 2}, finished=RECORD, overwrite=True)
    assert not (tmp_path / "table.csv").exists() and (tmp_path / "images").exists()
    with pytest.raises(ValueError, match="being overwritten"):
        workspace.claim({"seed": 2})
    workspace.claim({"seed": 2}, overwrite=True)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_refused(make: Any, overwrite: bool) -> None:
    workspace = make()
    workspace.path.mkdir()
    (workspace.path / "table.csv").write_text("mine")
    (workspace.path / "other.csv").write_text("mine too")
    with pytest.raises(ValueError, match=r"holds table\.csv; choose another folder"):
        workspace.claim(RECORD, overwrite=overwrite)
    assert files(workspace) == {"table.csv", "other.csv"}
    (workspace.path / "table.csv").unlink()
    workspace.claim(RECORD, overwrite=overwrite)
    assert "other.csv" in files(workspace)


@pytest.mark.parametrize("text", ["command: another\nseed: 1\n", "- a list\n", "{not: [yaml", "\x00"])
def test_a_foreign_file_of_the_record_s_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    workspace = Workspace(
        tmp_path, kind="a cake", owned=("config.yaml",), record="config.yaml", mark={"command": "bake"}
    )
    with pytest.raises(ValueError, match=r"holds config\.yaml"):
        workspace.claim(RECORD, overwrite=True)
    assert (tmp_path / "config.yaml").read_text() == text


def test_a_folder_that_cannot_be_written_is_named(make: Any) -> None:
    workspace = make()
    workspace.path.write_text("a file in the way")
    with pytest.raises(OSError, match="out"):
        workspace.claim(RECORD)


def test_settings_that_are_free_or_new_or_gone() -> None:
    old, new = {"a": {"b": 1, "c": 2}, "gone": 0}, {"a": {"b": 2, "c": 2}, "new": None}
    assert differences(old, new, ["a.b"]) == ["gone was 0 and is now (absent)", "new was (absent) and is now None"]
    assert differences(old, {"a": {"b": 1, "c": 2}, "gone": 0}) == []
    assert differences({"a": "x" * 61}, {"a": "y" * 60}) == [f"a was {'x' * 60} ... and is now {'y' * 60}"]
