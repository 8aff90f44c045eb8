"""`auformer predict --cluster ray` on two processes of a Ray on this machine; addresses where no cluster is."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

import auformer.predict.cluster.ray as cluster_ray
from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import read_predictions
from tests.helpers.photos import face_image
from tests.helpers.predicting import files, same
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving

ray = pytest.importorskip("ray")
FRAMES = 120  # of the clip whose process is killed: some seconds of work


def predict(*words):
    """Exit code with the packaged detector: the processes of a cluster do not know the networks of the tests."""
    return main(["predict", *map(str, words), "--checkpoint", "demo", "--device", "cpu"])


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A long clip, a short one, a photo, and a damaged clip."""
    folder = tmp_path_factory.mktemp("collection")
    write_video(folder / "long.mp4", moving(FRAMES, without=[90]), fps=10)
    write_video(folder / "short.mp4", moving(5), fps=10)
    write_image(folder / "one.png", face_image())
    (folder / "damaged.mp4").write_bytes((folder / "short.mp4").read_bytes()[:200])
    return folder


def skip_where_ray_does_not_start(said: str) -> None:
    """Ray gives its own processes 30 seconds, which a machine with other work may not keep."""
    if "timed out during startup" in said:
        pytest.skip("Ray did not start on this machine within its 30 seconds")


class Killer(threading.Thread):
    """Kills the process that works on a source, as soon as it has begun with it."""

    def __init__(self, out: Path, name: str) -> None:
        super().__init__(daemon=True)
        self.out, self.source, self.killed, self.stop = out, name, 0, False

    def run(self) -> None:
        while not self.killed and not self.stop:
            for path in self.out.glob(".predict/*/journal.jsonl"):
                lines, record = path.read_text(encoding="utf-8").splitlines(), path.with_name("record.json")
                if (
                    any('"image"' in line for line in lines)
                    and json.loads(record.read_text(encoding="utf-8"))["source"] == self.source
                ):
                    self.killed = json.loads(lines[0])["pid"]
                    os.kill(self.killed, signal.SIGKILL)
            time.sleep(0.005)


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
def test_two_processes_one_killed_and_a_second_time(collection, tmp_path, capfd):
    assert predict(collection, "--out", tmp_path / "clean") == 1
    out, words = (
        tmp_path / "out",
        (collection, "--cluster", "ray", "--workers", 2, "--batch-size", 4, "--out", tmp_path / "out"),
    )
    killer = Killer(out, "long.mp4")
    killer.start()
    capfd.readouterr()
    code = predict(*words)
    killer.stop = True
    said = capfd.readouterr()
    skip_where_ray_does_not_start(said.err)
    assert code == 1 and killer.killed and killer.killed != os.getpid(), said.err
    assert "started more than once, because a process died: 1 of 4 sources" in said.out
    assert "damaged.mp4" in said.err
    assert "problems with 1 of 4 sources" in said.err
    assert "Traceback" not in said.err
    rows, clean = (read_predictions(folder / "predictions.csv") for folder in (out, tmp_path / "clean"))
    same(rows, clean)
    assert rows["subject"].value_counts()["long.mp4"] == FRAMES
    parts = [f"{name}.{kind}" for name in ("damaged", "long", "one", "short") for kind in ("json", "parquet")]
    assert files(out) == sorted([*parts, "predictions.csv", "predictions.json"])

    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    (collection / "damaged.mp4").unlink()  # a source that is gone; what is finished needs no process
    assert predict(*words) == 0 and "3 of 3 sources are done already" in capfd.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    same(read_predictions(out / "predictions.csv"), clean[clean["subject"] != "damaged.mp4"].reset_index(drop=True))


@pytest.mark.slow
def test_workers_that_cannot_work_say_why_in_a_line(collection, tmp_path, monkeypatch, capfd):
    """Here they are told of another checkpoint than they find."""
    monkeypatch.setattr("auformer.predict.sidecar.sha256", lambda path: "0" * 64)
    assert predict(collection / "one.png", "--cluster", "ray", "--workers", 1, "--out", tmp_path / "out") == 1
    said = capfd.readouterr().err
    skip_where_ray_does_not_start(said)
    assert "the workers of the cluster" in said
    assert "the same checkpoint on every machine" in said
    assert "Traceback" not in said


class TestAddress:
    def connect(self, tmp_path, address):
        return predict("one.png", "--cluster", "ray", "--address", address, "--out", tmp_path / "out")

    def test_nobody_listens(self, tmp_path, capsys):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        start = time.monotonic()
        assert self.connect(tmp_path, f"127.0.0.1:{port}") == 1
        said = capsys.readouterr().err
        assert f"Expected a Ray cluster at 127.0.0.1:{port}, but nothing answers" in said and "Traceback" not in said
        assert time.monotonic() - start < 60 and not (tmp_path / "out").exists()

    @pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", "http://head:8265", ":6379"])
    def test_no_address(self, tmp_path, capsys, address):
        assert self.connect(tmp_path, address) == 1
        assert (
            f"Expected `--address` to be HOST:PORT of the cluster's head (often port 6379) or auto, but got {address!r}"
            in capsys.readouterr().err
        )


def test_without_ray_the_message_holds_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["predict", "one.png", "--cluster", "ray", "--out", str(tmp_path / "out")]) == 1
    assert 'pip install ".[cluster]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "expected"),
    [
        ([{"CPU": 2.0}], 2, "auto", (2, 2, 0)),
        ([{"CPU": 1.0}, {"CPU": 1.0}], None, "cpu", (2, 1, 0)),
        ([{"CPU": 64.0}, {"memory": 1e9}], None, "auto", (32, 2, 0)),
        ([{"CPU": 8.0, "GPU": 1.0}], None, "cpu", (4, 2, 0)),
        ([{"CPU": 8.0, "GPU": 4.0}], None, "cuda", (4, 2, 1)),
        ([{"CPU": 8.0, "GPU": 4.0}], 3, "auto", (3, 2, 1)),
        ([{"CPU": 4.0, "GPU": 4.0}, {"CPU": 64.0}], None, "auto", (4, 1, 1)),
    ],
)
def test_how_machines_are_shared_out(nodes, workers, device, expected):
    assert cluster_ray.share(nodes, workers, device) == expected


def test_a_gpu_that_no_machine_has():
    with pytest.raises(ValueError, match="Ray knows of none"):
        cluster_ray.share([{"CPU": 4.0}], None, "cuda")


def test_nothing_is_reported_to_anybody(monkeypatch):
    """The variable that switches Ray's usage statistics off is set before Ray starts anything."""
    seen = []
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: seen.append((os.environ["RAY_USAGE_STATS_ENABLED"], options)))
    with cluster_ray.connected(None, None):
        pass
    assert seen[0][0] == "0" and seen[0][1]["address"] == "local" and seen[0][1]["include_dashboard"] is False
    with cluster_ray.connected("head:6379", None):
        pass
    assert seen[1][1]["address"] == "head:6379" and "num_cpus" not in seen[1][1]  # a running cluster has its own
