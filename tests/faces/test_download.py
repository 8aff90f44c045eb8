"""Fetching a file once: from a server of this machine that breaks off, forgets ranges, lies, or is not there."""

from __future__ import annotations

import hashlib
import http.server
import threading
import urllib.error

import numpy as np
import pytest

from auformer.faces import yunet as download
from auformer.faces.yunet import Remote, cache_folder, fetch

BODY = np.random.default_rng(0).bytes(200_000)


class Server:
    """Serves BODY; `cut` is how many bytes each of the next answers gives before it breaks off."""

    def __init__(self) -> None:
        self.cut: list[int] = []
        self.ranges, self.knows_ranges, self.status, self.body = [], True, 200, BODY
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                if outer.status != 200:
                    self.send_error(outer.status)
                    return
                first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and outer.knows_ranges else 0
                rest = outer.body[first:]
                self.send_response(206 if asked and outer.knows_ranges else 200)
                if asked and outer.knows_ranges:
                    self.send_header("Content-Range", f"bytes {first}-{len(outer.body) - 1}/{len(outer.body)}")
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest[: outer.cut.pop(0)] if outer.cut else rest)

            def log_message(self, *words):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/model.onnx"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def server():
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


def remote(*urls, body=BODY):
    return Remote("model.onnx", urls, hashlib.sha256(body).hexdigest(), len(body), "Without: put it at {path}.")


def test_fetched_once(server, tmp_path):
    path = fetch(remote(server.url), tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "model.onnx" and path.read_bytes() == BODY
    assert fetch(remote(server.url), tmp_path / "new" / "cache") == path and server.ranges == [None]
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]


def test_a_broken_transfer_goes_on(server, tmp_path):
    server.cut = [70_000, 50_000]
    assert fetch(remote(server.url), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=70000-", "bytes=120000-"]


def test_a_later_run_goes_on(server, tmp_path):
    server.cut = [30_000, 0]
    with pytest.raises(ConnectionError, match=r"broke off after 30,000 of 200,000 bytes.*put it at .*model\.onnx\."):
        fetch(remote(server.url), tmp_path)
    assert (tmp_path / "model.onnx.part").stat().st_size == 30_000 and not (tmp_path / "model.onnx").exists()
    assert fetch(remote(server.url), tmp_path).read_bytes() == BODY and server.ranges[-1] == "bytes=30000-"


def test_a_server_without_ranges(server, tmp_path):
    server.cut, server.knows_ranges = [30_000], False
    assert fetch(remote(server.url), tmp_path).read_bytes() == BODY and server.ranges == [None, "bytes=30000-"]


def test_a_complete_part_file_needs_no_network(tmp_path):
    (tmp_path / "model.onnx.part").write_bytes(BODY)
    assert fetch(remote("http://127.0.0.1:9/nothing"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("body", [BODY[:-1] + b"?", BODY + b"more"])
def test_another_file_is_refused(server, tmp_path, body):
    server.body = body
    with pytest.raises(ValueError, match=f"SHA-256 {hashlib.sha256(BODY).hexdigest()}.*it was removed, try again"):
        fetch(remote(server.url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_is_told(tmp_path):
    (tmp_path / "model.onnx").write_bytes(BODY[:99])
    with pytest.raises(ValueError, match=r"remove it, so that it is fetched again"):
        fetch(remote("http://127.0.0.1:9/nothing"), tmp_path)


def test_the_next_address(server, tmp_path):
    gone = Server()
    gone.status = 404
    assert fetch(remote(gone.url, server.url), tmp_path).read_bytes() == BODY
    assert len(gone.ranges) == 1  # what is not there is not asked for again
    gone.http.shutdown()
    gone.http.server_close()


def test_without_a_network(tmp_path, monkeypatch):
    def none(*words, **names):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(download.urllib.request, "urlopen", none)
    with pytest.raises(ConnectionError, match=r"200,000 bytes.*https://x/a: .*not known.*Without: put it at "):
        fetch(remote("https://x/a"), tmp_path)


def test_where_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("AUFORMER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "auformer"
    monkeypatch.setenv("AUFORMER_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" and cache_folder(tmp_path / "given") == tmp_path / "given"
