"""The page served to tests: in a thread with a stand-in for the runs, or as `auformer page` in a process."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auformer.commands.page import read_coding
from auformer.page.server import Page, address, listen, make_server
from auformer.page.users import Item, Users

ROOT = Path(__file__).resolve().parents[2]


class NoJobs:
    """Takes runs and leaves them waiting."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = {"header": {}}
        self.closed = False

    def add(self, item: Item) -> None:
        item.state = "waiting"

    def cancel(self, item: Item) -> None:
        item.state = "cancelled" if item.state == "waiting" else item.state

    def before(self, item: Item) -> int:
        return 0

    def settle(self, item: Item) -> None:
        return

    def close(self) -> None:
        self.closed = True


class Client:
    """A browser without a screen: one user with a cookie."""

    def __init__(self, served: Served, *, token: str | None = None) -> None:
        self.served, self.cookie = served, ""
        status, headers, _ = self.ask("GET", f"/?token={served.page.token if token is None else token}")
        self.status = status
        self.cookie = headers.get("set-cookie", "").split(";")[0]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        own = {"x-auformer": "1", **({"cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        try:
            connection.request(method, path, body, {name: value for name, value in own.items() if value})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, value: Any = None, **headers: str) -> tuple[int, Any]:
        body = None if value is None else json.dumps(value).encode()
        status, _, said = self.ask(method, path, body, headers)
        return status, json.loads(said)

    def items(self) -> list[dict[str, Any]]:
        return self.json("GET", "/api/state")[1]["items"]

    def announce(self, **files: int) -> tuple[int, Any]:
        """Files by name; `talk__mp4` is `talk.mp4`."""
        named = [{"name": name.replace("__", "."), "size": size} for name, size in files.items()]
        return self.json("POST", "/api/items", {"files": named})

    def drop(self, paths: Sequence[Path]) -> tuple[int, str, Any]:
        """Upload files and start: the last status, the id, what was answered."""
        files = [{"name": path.name, "size": path.stat().st_size} for path in paths]
        status, said = self.json("POST", "/api/items", {"files": files})
        if status != 201:
            return status, "", said
        for number, path in enumerate(paths):
            status, _, answer = self.ask("PUT", f"/api/items/{said['id']}/files/{number}", path.read_bytes())
            assert status == 200, answer
        status, answer = self.json("POST", f"/api/items/{said['id']}/start", {})
        return status, said["id"], answer


class Served:
    """A page in a thread."""

    def __init__(self, folder: Path, *, results: Sequence[tuple[str, Path]] = (), most_bytes: int = 50_000_000) -> None:
        self.users = Users(most_bytes=most_bytes, keep_s=3600, parent=folder)
        self.jobs = NoJobs()
        self.page = Page(self.users, self.jobs, results=results, read_coding=read_coding)  # type: ignore[arg-type]
        self.socket = listen(0)
        self.port = self.socket.getsockname()[1]
        self.server = make_server(self.page)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        wait_for(lambda: self.server.started)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def url(self) -> str:
        return address(self.page, self.socket)


@contextmanager
def page_process(*words: object, folder: Path) -> Iterator[str]:
    """`auformer page` as people start it; its address. Temporary files lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "auformer", "page", "--no-browser", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(20)


def wait_for(ready: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `ready` returns as soon as that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := ready():
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came of it")
