"""Interrupted, killed, repeated and parallel preparations end in the same files; other options are refused."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auformer.data import images
from auformer.data_prep.pipeline import crops, units
from auformer.data_prep.pipeline import prepare as pipeline
from auformer.data_prep.pipeline.prepare import prepare
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import files
from tests.helpers.trees.tiny import DeadlyDetector, TinyDetector, TinyReader

ROOT = Path(__file__).resolve().parents[3]

# A process of its own: prepare the made-up release with two workers, slowly, so that it can be killed at any moment.
SCRIPT = """
import sys, time
from auformer.data_prep.pipeline import prepare as pipeline, units
from tests.helpers.trees.tiny import TinyDetector, TinyReader

if __name__ == "__main__":
    units.UNIT_ROWS = 2
    pipeline.load = lambda name: TinyReader()
    pipeline.make_detector = lambda spec, largest: TinyDetector()
    pipeline.prepare("tiny", sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), size=64)
"""


def use_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pipeline read the made-up release with a fast detector."""
    monkeypatch.setattr(pipeline, "load", lambda name: TinyReader())
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: TinyDetector())


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    use_tiny(monkeypatch)
    monkeypatch.setattr(units, "UNIT_ROWS", 2)


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """The files of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny(monkeypatch)
        prepare("tiny", tree, out, size=64)
    return files(out)


def interrupt(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted before its manifest is written."""
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_manifest", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare("tiny", tree, out, size=64)


def wait_for_group(leader: int) -> None:
    """Wait until no process of a group is left; fail if one stays."""
    for _ in range(1000):
        try:
            os.killpg(leader, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.02)
    pytest.fail("a worker outlives its parent")


def test_two_workers_and_one_write_the_same_bytes(tree, tmp_path, whole):
    prepare("tiny", tree, tmp_path, size=64, workers=2)
    assert files(tmp_path) == whole


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_files(tree, tmp_path, whole):
    """SIGKILL of the parent as soon as there is one more crop than the last time; no worker outlives it."""
    out, kills = tmp_path / "out", 0
    while not (out / "manifest.csv").exists():
        before = len(list(out.rglob("*.jpg")))
        words = [sys.executable, "-c", SCRIPT, str(tree), str(out), str(1 + kills % 2)]
        process = subprocess.Popen(words, cwd=ROOT, env=dict(os.environ, PYTHONPATH="."), start_new_session=True)
        while process.poll() is None and (kills > 1 or len(list(out.rglob("*.jpg"))) <= before):
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
            kills += 1
            assert not (out / "manifest.csv").exists() or files(out) == whole
        assert process.wait() in (0, -signal.SIGKILL)
        wait_for_group(process.pid)
    assert kills
    prepare("tiny", tree, out, size=64)
    assert files(out) == whole


@pytest.mark.parametrize("at", [1, 4, 9])
def test_an_error_in_the_middle_leaves_what_is_done(tree, tmp_path, whole, monkeypatch, at):
    """The disk is full at the n-th crop: no manifest, no partial file; afterwards only what is missing is done."""
    count = 0

    def full(path, image, **options):
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        images.write_image(path, image, **options)

    with monkeypatch.context() as patch:
        patch.setattr(crops, "write_image", full)
        with pytest.raises(OSError, match="No space left"):
            prepare("tiny", tree, tmp_path, size=64)
    assert not (tmp_path / "manifest.csv").exists() and not (tmp_path / "manifest.json").exists()
    done = prepare("tiny", tree, tmp_path, size=64)
    assert done.made <= 16 - 2 * (at // 2) and files(tmp_path) == whole


@pytest.mark.parametrize("number", [1, 2])
def test_partial_files_of_a_killed_run_are_cleared(tree, tmp_path, whole, monkeypatch, number):
    """Also a crop that has gone since its unit was done is made again."""
    interrupt(tree, tmp_path, monkeypatch)
    shutil.copy(tmp_path / "crops" / "S2" / "film" / "1.jpg", tmp_path / "crops" / "S2" / "film" / ".4.99999.jpg")
    for name in (".manifest.4711.csv", ".manifest.4711.json", ".manifest.faces.4711.parquet"):
        (tmp_path / name).write_text("half", encoding="utf-8")
    for unit in ("000003", "000004"):
        shutil.rmtree(tmp_path / ".prepare" / unit)
    for crop in ("S1/smile/1.jpg", "S2/film/4.jpg"):
        (tmp_path / "crops" / crop).unlink()
    prepare("tiny", tree, tmp_path, size=64, workers=number)
    assert files(tmp_path) == whole


def test_a_complete_folder_is_left_alone_and_a_lost_crop_is_made_again(tree, tmp_path, whole):
    first = prepare("tiny", tree, tmp_path, size=64)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = prepare("tiny", tree, tmp_path, size=64)
    assert again.made == 0 and again.findings.lines() == first.findings.lines()
    assert again.table["status"].tolist() == first.table["status"].tolist() == ["ok", "ok", "no_face", "ok"] * 4
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    (tmp_path / "crops" / "S3" / "packed" / "2.jpg").unlink()
    assert prepare("tiny", tree, tmp_path, size=64).made > 0
    assert files(tmp_path) == whole


@pytest.mark.parametrize("finished", [True, False])
def test_other_options_are_refused_by_name(tree, tmp_path, monkeypatch, finished):
    if finished:
        prepare("tiny", tree, tmp_path, size=64)
    else:
        interrupt(tree, tmp_path, monkeypatch)
    before = files(tmp_path)
    for options, match in (
        ({"size": 48}, r"size was 64 and is now 48\. Choose"),
        ({"border": "constant"}, r"border was reflect and is now constant\. "),
        ({"limit": 3}, r"limit was None and is now 3\. "),
        ({"options": {"threshold": 1}}, r"threshold was 2 and is now 1\. "),
        ({"size": 48, "options": {"corrections": False}}, r"size .*; corrections was True and is now False"),
    ):
        with pytest.raises(DatasetLayoutError, match=match):
            prepare("tiny", tree, tmp_path, **{"size": 64, **options})
    monkeypatch.setattr(pipeline, "load", lambda name: TinyReader(frames=3))
    with pytest.raises(DatasetLayoutError, match="labels or files of the release have changed"):
        prepare("tiny", tree, tmp_path, size=64)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json", "crops"])
def test_a_folder_of_somebody_else_is_refused(tree, tmp_path, name):
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetLayoutError, match=f"holds {name}"):
        prepare("tiny", tree, tmp_path, size=64)
    assert files(tmp_path) == {name: b"{}"}


def test_a_worker_that_is_killed_is_an_error_for_people(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: DeadlyDetector())
    with pytest.raises(ChildProcessError, match="Run the same command again"):
        prepare("tiny", tree, tmp_path, size=64, workers=2)
