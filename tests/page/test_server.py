"""Who may ask the page what: tokens, users, names of files, bounds; and that nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.page.server import ASSETS, HEADER, Page, listen
from auformer.page.users import PREFIX, Users, remove_left_behind
from tests.helpers.annotated import NAME, rows, talk, write_film, write_predictions_of
from tests.helpers.page import Client, NoJobs, Served, page_process, wait_for


@pytest.fixture
def served(tmp_path: Path):
    out = tmp_path / "out"
    write_predictions_of(talk(), out)
    write_film(out / NAME)
    found = Served(tmp_path, results=[("out", out / "predictions.csv")])
    yield found
    found.close()


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served)


def uploads(served: Served) -> list[str]:
    """Files of all users."""
    return [path.name for path in served.users.folder.rglob("*") if path.is_file() and path.name != "lock"]


class TestWhoMayAsk:
    def test_the_token_makes_a_user_and_nothing_else_does(self, served: Served) -> None:
        assert Client(served).status == 200
        for token in ("", "wrong", served.page.token[:-1], served.page.token + "x"):
            stranger = Client(served, token=token)
            assert stranger.status == 403 and stranger.cookie == ""
            for path in ("/api/state", f"/api/items/{'0' * 16}/about"):
                assert stranger.ask("GET", path)[0] == 403
            assert stranger.json("POST", "/api/items", {"files": []})[0] == 403

    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, served: Served) -> None:
        _, headers, _ = Client(served).ask("GET", f"/?token={served.page.token}", headers={"cookie": ""})
        cookie = headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and served.page.token not in cookie

    def test_another_name_of_this_machine_is_refused(self, client: Client) -> None:
        """A page elsewhere whose name leads here (DNS rebinding) gets nothing, cookie or not."""
        for host, status in (("evil.example", 421), ("evil.example:80", 421), ("localhost", 200), ("127.0.0.1:1", 200)):
            assert client.ask("GET", "/api/state", headers={"host": host})[0] == status

    def test_what_changes_something_needs_a_header_that_other_pages_cannot_send(self, client: Client) -> None:
        (item,) = client.items()
        assert client.json("POST", "/api/items", {"files": []}, **{HEADER: ""})[0] == 403
        assert client.json("DELETE", f"/api/items/{item['id']}", **{HEADER: ""})[0] == 403
        assert len(client.items()) == 1

    def test_answers_allow_nothing_from_elsewhere(self, client: Client) -> None:
        for path in ("/", "/api/state", "/assets/app.js", "/nothing"):
            _, headers, _ = client.ask("GET", path)
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
            assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers and "server" not in headers

    def test_two_users_do_not_see_each_other(self, served: Served, tmp_path: Path) -> None:
        one, two = Client(served), Client(served)
        write_image(tmp_path / "me.png", np.zeros((8, 8, 3), np.uint8))
        status, id_, _ = one.drop([tmp_path / "me.png"])
        assert status == 200 and [item["name"] for item in one.items()] == ["me.png", "out"]
        assert [item["name"] for item in two.items()] == ["out"]
        for method, end in (
            ("GET", "/about"), ("GET", "/sources/0"), ("GET", "/sources/0/media"), ("POST", "/start"), ("DELETE", ""),
            ("PUT", "/files/0"), ("GET", "/downloads/predictions"), ("POST", "/cancel"), ("PUT", "/second?name=a.csv"),
            ("POST", "/agreement"), ("GET", "/sources/0/frames/0"), ("GET", "/sources/0/copy"),
        ):  # fmt: skip
            status, _, said = two.ask(method, f"/api/items/{id_}{end}", b"{}")
            assert status == 404 and b"no such result" in said, (method, end)
        ids = [{item["id"] for item in client.items()} for client in (one, two)]
        assert not ids[0] & ids[1]  # not even of what both see
        assert uploads(served) == ["me.png"]


class TestNamesAndBounds:
    @pytest.mark.parametrize(
        "name",
        ["../a.mp4", "a/b.mp4", "..\\a.mp4", "/etc/a.mp4", "C:\\a.mp4", "a\x00.mp4", "..", ".a.mp4", "", " ", "con.mp4",
         "a%2f.mp4", "a%05d.png", "a?.png", "a.mp4 ", f"{'a' * 200}.mp4"],
    )  # fmt: skip
    def test_names_that_lead_elsewhere_are_refused(self, name: str, client: Client, served: Served) -> None:
        status, said = client.json("POST", "/api/items", {"files": [{"name": name, "size": 4}]})
        assert status == 400 and re.search("plain file name|name of a file", said["error"])
        (item,) = client.items()
        status, said = client.json("PUT", f"/api/items/{item['id']}/second?name={name.encode().hex()}%2F..%2Fa.csv", {})
        assert status == 400 and uploads(served) == []

    def test_assets_are_those_that_are_listed(self, client: Client) -> None:
        for name in ASSETS:
            assert client.ask("GET", f"/assets/{name}")[0] == 200
        for path in ("/assets/../demo_detector.safetensors", "/assets/..%2f..%2fcli.py", "/assets/%2e%2e/cli.py",
                     "/assets//etc/passwd", "/../../etc/passwd", "/assets/index.html"):  # fmt: skip
            assert client.ask("GET", path)[0] in (404, 405)

    def test_other_kinds_of_files_are_named(self, client: Client) -> None:
        status, said = client.announce(notes__docx=3)
        assert status == 415 and "notes.docx" in said["error"]
        status, said = client.announce(a__csv=3, b__csv=4)
        assert status == 400 and "one table at a time" in said["error"]
        status, said = client.announce(a__mp4=3, b__json=4)
        assert status == 400 and "b.json to come with the table" in said["error"]
        status, said = client.announce(a__mp4=3, A__MP4=4)
        assert status == 400 and "Two files are called" in said["error"]
        status, said = client.announce(a__mp4=0)
        assert status == 400 and "a.mp4 is empty" in said["error"]
        assert client.json("POST", "/api/items", {"files": [{"name": "a.mp4"}]})[0] == 400
        assert client.json("POST", "/api/items", {"files": []})[0] == 400
        assert client.ask("POST", "/api/items", b"no json")[0] == 400

    def test_two_gigabytes_are_refused_before_a_byte_is_sent(self, client: Client, served: Served) -> None:
        status, said = client.announce(talk__mp4=2_147_483_648)
        assert status == 413 and "2,147 MB are more than this page takes (50 MB at a time)" in said["error"]
        assert "--max-upload" in said["error"] and "auformer predict" in said["error"]
        assert len(client.items()) == 1 and uploads(served) == []

    def test_uploads_count_together(self, client: Client) -> None:
        assert client.announce(a__mp4=30_000_000)[0] == 201
        status, said = client.announce(b__mp4=30_000_000)
        assert status == 413 and "30 MB are here already; remove one" in said["error"]
        client.json("DELETE", f"/api/items/{client.items()[0]['id']}")
        assert client.announce(b__mp4=30_000_000)[0] == 201

    def test_more_or_fewer_bytes_than_announced_leave_nothing(self, client: Client, served: Served) -> None:
        _, said = client.announce(a__mp4=10)
        path = f"/api/items/{said['id']}"
        assert client.ask("PUT", f"{path}/files/0", b"x" * 11)[0] == 413 and uploads(served) == []
        assert client.ask("PUT", f"{path}/files/0", b"x" * 9)[0] == 400 and uploads(served) == []
        assert client.ask("PUT", f"{path}/files/1", b"x" * 10)[0] == 409
        status, said = client.json("POST", f"{path}/start", {})
        assert status == 409 and "a.mp4 has not arrived completely" in said["error"]
        assert client.ask("PUT", f"{path}/files/0", b"x" * 10)[0] == 200 and uploads(served) == ["a.mp4"]
        assert client.json("POST", f"{path}/start", {})[0] == 200
        assert client.ask("PUT", f"{path}/files/0", b"y" * 10)[0] == 409  # it is being worked on

    @pytest.mark.parametrize(
        "options",
        [{"every": 0}, {"every": 1.5}, {"every": True}, {"faces": -1}, {"smooth": -1}, {"smooth": "x"}, {"out": "/"}],
    )  # fmt: skip
    def test_options_out_of_range(self, options: dict, client: Client) -> None:
        asked = {"files": [{"name": "a.mp4", "size": 3}], "options": options}
        assert client.json("POST", "/api/items", asked)[0] == 400


class TestWhatIsLeft:
    def test_removing_deletes_the_files(self, client: Client, served: Served, tmp_path: Path) -> None:
        write_image(tmp_path / "me.png", np.zeros((8, 8, 3), np.uint8))
        _, id_, _ = client.drop([tmp_path / "me.png"])
        assert uploads(served) == ["me.png"]
        assert client.json("DELETE", f"/api/items/{id_}")[0] == 200
        assert uploads(served) == [] and len(client.items()) == 1

    def test_removing_deletes_the_copy_for_viewing_too(self, client: Client, served: Served, tmp_path: Path) -> None:
        folder = tmp_path / "up"
        _, id_, _ = client.drop([write_predictions_of(talk(), folder), write_film(folder / NAME)])
        path = f"/api/items/{id_}/sources/0"
        wait_for(lambda: client.json("GET", f"{path}/copy")[1]["state"] == "done")
        status, headers, copy = client.ask("GET", f"{path}/view")
        assert status == 200 and headers["content-type"] == "video/mp4" and b"ftyp" in copy[:16]
        assert len(uploads(served)) == 3
        client.json("DELETE", f"/api/items/{id_}")
        assert uploads(served) == []

    def test_what_was_named_at_the_start_stays(self, client: Client, tmp_path: Path) -> None:
        (item,) = client.items()
        client.json("DELETE", f"/api/items/{item['id']}")
        assert client.items() == [] and (tmp_path / "out" / "predictions.csv").is_file()

    def test_closing_deletes_everything_and_ends_the_runs(self, served: Served, tmp_path: Path) -> None:
        write_image(tmp_path / "me.png", np.zeros((8, 8, 3), np.uint8))
        Client(served).drop([tmp_path / "me.png"])
        served.close()
        assert not served.users.folder.exists() and served.jobs.closed
        assert (tmp_path / "out" / NAME).is_file()

    def test_a_silent_user_is_forgotten_unless_work_goes_on(self, served: Served, tmp_path: Path) -> None:
        write_image(tmp_path / "me.png", np.zeros((8, 8, 3), np.uint8))
        quiet, waiting = Client(served), Client(served)
        _, id_, _ = quiet.drop([tmp_path / "me.png"])
        quiet.json("POST", f"/api/items/{id_}/cancel")
        waiting.drop([tmp_path / "me.png"])
        for user in served.users._users.values():
            user.seen -= 3601
        assert Client(served).status == 200 and quiet.ask("GET", "/api/state")[0] == 403
        assert waiting.ask("GET", "/api/state")[0] == 200 and uploads(served) == ["me.png"]

    def test_what_a_killed_page_left_is_deleted_at_the_next_start(self, tmp_path: Path) -> None:
        alive = Users(most_bytes=1, keep_s=1, parent=tmp_path)
        dead, foreign = tmp_path / f"{PREFIX}dead", tmp_path / f"{PREFIX}foreign"
        for folder in (dead, foreign):
            (folder / "user").mkdir(parents=True)
        (dead / "lock").touch()
        remove_left_behind(tmp_path)
        assert alive.folder.exists() and foreign.exists() and not dead.exists()
        alive.close()
        assert not alive.folder.exists()

    @pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
    def test_uploads_are_their_owner_s_alone(self, served: Served) -> None:
        assert served.users.folder.stat().st_mode & 0o077 == 0


class TestTables:
    def test_a_table_with_its_video(self, client: Client, tmp_path: Path) -> None:
        table = write_predictions_of(talk(), tmp_path / "up", "talk.csv")
        film = write_film(tmp_path / "up" / NAME)
        status, id_, said = client.drop([table, film])
        assert status == 200, said
        _, about = client.json("GET", f"/api/items/{id_}/about")
        (source,) = about["sources"]
        assert (
            source["media"]
            and source["kind"] == "video"
            and [one["label"] for one in source["people"]] == ["face0", "face1"]
        )
        status, headers, part = client.ask("GET", f"/api/items/{id_}/sources/0/media", headers={"range": "bytes=4-7"})
        assert status == 206 and part == film.read_bytes()[4:8] and headers["content-type"] == "video/mp4"

    def test_a_stranger_s_table_shows_no_file_of_this_machine(self, client: Client, tmp_path: Path) -> None:
        secret = write_film(tmp_path / "secret.mp4")
        table = talk().assign(file=str(secret), subject="secret.mp4", sequence="secret.mp4")
        path = write_predictions_of(table, tmp_path / "up")
        _, id_, _ = client.drop([path])
        assert client.json("GET", f"/api/items/{id_}/about")[1]["sources"][0]["media"] is False
        for end in ("media", "copy", "frames/0", "view"):
            assert client.ask("GET", f"/api/items/{id_}/sources/0/{end}")[0] == 404, end
        status, _, eaf = client.ask("GET", f"/api/items/{id_}/downloads/elan")
        assert status == 200 and str(tmp_path) not in eaf.decode()

    @pytest.mark.parametrize(
        ("text", "said"),
        [("a,b\n1,2\n", "expected the predictions of auformer"), ("", "empty"),
         ("dataset,subject,sequence,frame,AU1_prob\nuser,a,a,0,7\n", "AU1_prob"),
         ("dataset,subject,sequence,frame,status,AU1_prob\nuser,a,a,0,no_face,\n", "no face was seen")],
    )  # fmt: skip
    def test_bad_tables(self, text: str, said: str, client: Client, tmp_path: Path, served: Served) -> None:
        (tmp_path / "bad.csv").write_text(text)
        status, id_, answer = client.drop([tmp_path / "bad.csv"])
        assert status in (400, 422) and said in answer["error"]
        assert str(served.users.folder) not in answer["error"]  # no folder of this machine
        if id_:
            assert client.items()[0]["state"] == "failed"
            assert client.json("GET", f"/api/items/{id_}/about")[0] == 409

    def test_a_table_without_times(self, client: Client, tmp_path: Path) -> None:
        path = write_predictions_of(talk().drop(columns="time_s"), tmp_path / "up")
        film = write_film(tmp_path / "up" / NAME)
        status, id_, _ = client.drop([path, film])
        _, about = client.json("GET", f"/api/items/{id_}/about")
        assert status == 200 and about["sources"][0]["kind"] == "frames"
        status, said = client.json("GET", f"/api/items/{id_}/downloads/elan")
        assert status == 422 and "Expected rows with a time" in said["error"]
        assert client.ask("GET", f"/api/items/{id_}/downloads/summary")[0] == 200

    def test_photos(self, client: Client, tmp_path: Path) -> None:
        folder = tmp_path / "up"
        parts = [rows([0], {"AU12": [0]}, name=name).drop(columns="time_s") for name in ("a.png", "b.png")]
        table = write_predictions_of(pd.concat(parts), folder)
        for name, level in (("a.png", 40), ("b.png", 200)):
            write_image(folder / name, np.full((30, 40, 3), level, np.uint8))
        _, id_, _ = client.drop([table, folder / "a.png", folder / "b.png"])
        _, about = client.json("GET", f"/api/items/{id_}/about")
        assert [(one["kind"], one["media"]) for one in about["sources"]] == [("photo", True)] * 2
        status, headers, image = client.ask("GET", f"/api/items/{id_}/sources/1/frames/0")
        assert status == 200 and headers["content-type"] == "image/jpeg" and image[:2] == b"\xff\xd8"
        assert client.ask("GET", f"/api/items/{id_}/sources/1/frames/1")[0] == 404
        assert client.ask("GET", f"/api/items/{id_}/sources/2/frames/0")[0] == 404


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    taken = listen(0)
    try:
        assert main(["page", "--no-browser", "--port", str(taken.getsockname()[1])]) == 1
    finally:
        taken.close()
    said = capsys.readouterr().err
    assert "Expected --port to be free" in said and "leave the option out" in said


@pytest.mark.kill
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the children of a process are found in /proc")
def test_a_page_that_is_killed_takes_its_process_along_and_is_tidied_at_the_next_start(tmp_path: Path) -> None:
    with page_process(folder=tmp_path / "tmp") as url:
        host = re.match(r"http://127\.0\.0\.1:(\d+)/", url)
        pid = wait_for(lambda: _only_page(str(tmp_path).encode()))
        workers = wait_for(lambda: _workers(pid))
        (left,) = (tmp_path / "tmp").glob(f"{PREFIX}*")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(_read(Path(f"/proc/{one}/cmdline")) for one in workers))
        assert host and left.is_dir()
    with page_process(folder=tmp_path / "tmp"):
        assert not left.exists()
    assert list((tmp_path / "tmp").glob(f"{PREFIX}*")) == []  # an orderly end leaves nothing


def _only_page(mark: bytes) -> int | None:
    """The process of the page; None while a child of it that has just begun looks like it."""
    found = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdecimal() and mark in _read(path / "environ") and b"page" in _read(path / "cmdline")
    ]
    return found[0] if len(found) == 1 else None


def _workers(pid: int) -> list[str]:
    """Spawned children of all threads of a process."""
    found = [one for path in Path(f"/proc/{pid}/task").glob("*/children") for one in path.read_text().split()]
    return [one for one in found if b"spawn_main" in _read(Path(f"/proc/{one}/cmdline"))]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("words", "said"), [(["nothing-here"], "does not exist"), (["."], "holds none"), (["--max-upload", "0"], "above 0")]
)
def test_bad_arguments(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["page", "--no-browser", *words]) == 1 and said in capsys.readouterr().err


def test_the_page_names_no_other_place() -> None:
    """No address of another machine in anything that a browser is given."""
    folder = Path(__file__).resolve().parents[2] / "auformer" / "assets" / "page"
    found = {
        path.name: re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text(encoding="utf-8"))
        for path in folder.iterdir()
    }
    assert set(found) == {*ASSETS, "index.html"} and not any(found.values())


def test_the_secret_changes_with_every_start(tmp_path: Path) -> None:
    pages = [Page(Users(most_bytes=1, keep_s=1, parent=tmp_path), NoJobs()) for _ in range(2)]  # type: ignore[arg-type]
    assert pages[0].token != pages[1].token and min(len(page.token) for page in pages) >= 40
    assert pages[0].cookie != pages[1].cookie
    for page in pages:
        page.users.close()
