"""The server of the page: who may ask, and what is answered.

Only this machine can reach it (127.0.0.1), only requests for that name are answered (a page elsewhere cannot send its
visitors here under a name of its own), and only browsers that have opened the address with the token, which makes them
a user with a secret cookie. Whatever changes something needs a header that no page of another origin can send.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import mimetypes
import secrets
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import resources
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import cv2
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auformer import __version__
from auformer.errors import MissingExtraError
from auformer.page.forms import check_options, file_size, numbers, read_json, receive_file
from auformer.page.jobs import Jobs
from auformer.page.results import TABLES, Result, open_result
from auformer.page.second import CODINGS, ReadCoding, compare, overlay, read_second
from auformer.page.statement import card_of, statement
from auformer.page.users import LONGEST_NAME, Item, Refused, User, Users, check_names
from auformer.page.viewing import Copies

HOST = "127.0.0.1"
ASSETS = {
    "page.css": "text/css", "app.js": "text/javascript", "episodes.js": "text/javascript",
    "timeline.js": "text/javascript", "player.js": "text/javascript", "tables.js": "text/javascript",
}  # fmt: skip
HEADER = "x-auformer"  # of whatever changes something
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}  # fmt: skip
_NAMES = (HOST, "localhost")
_QUALITY = 90  # of JPEG [ours]
_DENIED = (
    "This page belongs to whoever started it. Open the address that `auformer page` printed, with its token; or start "
    "it again."
)
Handler = Callable[[Request, User], Awaitable[Response]]


class Guard:
    """Refuses requests under another name, and adds headers to all answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        host = Headers(scope=scope).get("host", "").rsplit(":", 1)[0]
        if host not in _NAMES:
            await PlainTextResponse("Wrong host.", 421)(scope, receive, answer)
            return
        await self.app(scope, receive, answer)


class Page:
    """The state behind the page.

    Args:
        users: Who uses it.
        jobs: Their runs.
        results: Name and predictions file of what was named when it was started.
        checkpoint: That of new runs, as it was given.
        read_coding: Reads coding of ELAN and Praat.

    Attributes:
        token: What the address has to hold.
        closed: Set when the page ends.
    """

    def __init__(
        self, users: Users, jobs: Jobs, *, results: Sequence[tuple[str, Path]] = (), checkpoint: str = "demo",
        read_coding: ReadCoding | None = None,
    ) -> None:  # fmt: skip
        self.users, self.jobs, self.results, self.checkpoint = users, jobs, list(results), checkpoint
        self.read_coding = read_coding
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"auformer-{secrets.token_hex(4)}"  # of this page only: cookies do not know ports
        self.copies = Copies()
        self.closed = threading.Event()
        self._card = card_of(checkpoint)
        self._shared: dict[Path, Result] = {}
        self._opening = threading.Lock()

    def app(self) -> Starlette:
        """The web application."""
        api, item = "/api", "/api/items/{id}"
        routes: list[tuple[str, str, Handler]] = [
            ("GET", f"{api}/state", self.state),
            ("POST", f"{api}/items", self.new_item),
            ("DELETE", item, self.remove),
            ("PUT", f"{item}/files/{{number:int}}", self.upload),
            ("POST", f"{item}/start", self.start),
            ("POST", f"{item}/cancel", self.cancel),
            ("GET", f"{item}/about", self.about),
            ("GET", f"{item}/sources/{{number:int}}", self.source),
            ("GET", f"{item}/sources/{{number:int}}/media", self.media),
            ("GET", f"{item}/sources/{{number:int}}/copy", self.copy),
            ("GET", f"{item}/sources/{{number:int}}/view", self.view),
            ("GET", f"{item}/sources/{{number:int}}/frames/{{frame:int}}", self.frame),
            ("PUT", f"{item}/second", self.add_second),
            ("DELETE", f"{item}/second", self.remove_second),
            ("POST", f"{item}/agreement", self.agreement),
            ("GET", f"{item}/downloads/{{key}}", self.download),
        ]  # fmt: skip
        return Starlette(
            routes=[
                Route("/", self.first, methods=["GET"]),
                Route("/assets/{name}", self.asset, methods=["GET"]),
                *(Route(path, self._for_users(handler), methods=[method]) for method, path, handler in routes),
            ],
            lifespan=self._life,
        )

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        """Whatever ends the server, the process that predicts ends and all files go."""
        warm = threading.Thread(target=self._warm, daemon=True)
        warm.start()
        try:
            yield
        finally:
            self.closed.set()
            await run_in_threadpool(self.jobs.close)
            await run_in_threadpool(self.users.close)

    def _warm(self) -> None:
        """Open the results that were named, so that the first view of them does not wait; errors are shown later."""
        import auformer.annotations.export  # noqa: F401

        for _, path in self.results:
            with contextlib.suppress(ValueError, OSError):
                self._open_shared(path)

    def _for_users(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Let users in, and say errors as JSON."""

        async def answer(request: Request) -> Response:
            user = self.users.find(request.cookies.get(self.cookie, ""))
            if user is None:
                return JSONResponse({"error": _DENIED}, 403)
            if request.method != "GET" and request.headers.get(HEADER) != "1":
                return JSONResponse({"error": f"Expected the header {HEADER}."}, 403)
            try:
                return await handler(request, user)
            except Refused as error:
                return JSONResponse({"error": str(error)}, error.status)
            except (ValueError, OSError, MissingExtraError) as error:
                return JSONResponse({"error": self._plain(error, user)}, 422)
            except ClientDisconnect:
                return Response(status_code=400)

        return answer

    def _plain(self, error: Exception, user: User) -> str:
        """The text of an error without folders of this machine."""
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        for item in user.items.values():
            if item.folder is not None:
                said = said.replace(f"{item.folder}/", "").replace(f"{item.folder}\\", "")
        return said

    async def first(self, request: Request) -> Response:
        """The page; with the token, whoever asks becomes a user."""
        if self.users.find(request.cookies.get(self.cookie, "")) is None:
            if not hmac.compare_digest(request.query_params.get("token", "").encode(), self.token.encode()):
                return PlainTextResponse(_DENIED, 403)
            secret, _ = self.users.new(self.results)
            response = Response(_asset("index.html"), media_type="text/html")
            response.set_cookie(self.cookie, secret, httponly=True, samesite="strict", path="/")
            return response
        return Response(_asset("index.html"), media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """Scripts and styles; they hold nothing secret."""
        name = request.path_params["name"]
        if name not in ASSETS:
            return PlainTextResponse("There is no such file.", 404)
        return Response(_asset(name), media_type=ASSETS[name])

    async def state(self, request: Request, user: User) -> Response:
        """What the list and the first screen show."""
        header = self.jobs.header
        told = statement(self._card, (header or {}).get("header"))
        items = [
            {**item.about(), "before": self.jobs.before(item) if item.state == "waiting" else 0}
            for item in reversed(user.items.values())
        ]
        return JSONResponse({
            "version": __version__, "checkpoint": PurePath(self.checkpoint).name, "statement": told,
            "ready": header is not None, "problem": (header or {}).get("error", ""), "items": items,
            "most_bytes": self.users.most_bytes, "used_bytes": user.bytes_used(), "keep_s": self.users.keep_s,
        })  # fmt: skip

    async def new_item(self, request: Request, user: User) -> Response:
        """Announce files that are to be uploaded."""
        asked = await read_json(request)
        files = asked.get("files")
        if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
            raise Refused("Expected a list of files.")
        pairs = [(one.get("name"), one.get("size")) for one in files]
        if not all(isinstance(name, str) and isinstance(size, int) for name, size in pairs):
            raise Refused("Expected the name and the size of each file.")
        item = self.users.new_item(user, pairs, check_options(asked.get("options") or {}))  # type: ignore[arg-type]
        return JSONResponse({"id": item.id}, 201)

    async def upload(self, request: Request, user: User) -> Response:
        """Take one announced file, and not a byte more than was announced."""
        item, number = user.item(request.path_params["id"]), request.path_params["number"]
        names = list(item.files)
        if item.state != "uploading" or item.folder is None or not 0 <= number < len(names):
            raise Refused("This file was not announced.", 409)
        await receive_file(request, item.folder / names[number], item.files[names[number]])
        return JSONResponse({})

    async def start(self, request: Request, user: User) -> Response:
        """Begin or resume: predict, or open a table."""
        item = user.item(request.path_params["id"])
        if item.state not in ("uploading", "cancelled", "failed") or item.folder is None:
            raise Refused("This is done or under way.", 409)
        missing = [name for name, size in item.files.items() if file_size(item.folder / name) != size]
        if missing:
            raise Refused(f"{missing[0]} has not arrived completely; drop it again.", 409)
        if item.kind == "run":
            self.jobs.add(item)
            return JSONResponse({})
        table = next(name for name in item.files if PurePath(name).suffix.lower() in TABLES)
        item.media = {name: item.folder / name for name in item.files if name != table}
        item.table = item.folder / table
        try:
            await run_in_threadpool(self._open, item)
        except (ValueError, OSError, MissingExtraError) as error:
            item.state, item.message = "failed", self._plain(error, user)
            raise
        item.state = "done"
        return JSONResponse({})

    async def cancel(self, request: Request, user: User) -> Response:
        """Stop a run."""
        item = user.item(request.path_params["id"])
        self.jobs.cancel(item)
        await run_in_threadpool(self.jobs.settle, item)
        return JSONResponse({"state": item.state})

    async def remove(self, request: Request, user: User) -> Response:
        """Stop and delete."""
        item = user.item(request.path_params["id"])
        self.jobs.cancel(item)
        await run_in_threadpool(self.jobs.settle, item)
        await run_in_threadpool(self.users.remove, user, item)
        return JSONResponse({})

    async def about(self, request: Request, user: User) -> Response:
        """A result's sources, AUs and downloads."""
        from auformer.page.downloads import available

        result = await self._result(request, user)
        item = user.item(request.path_params["id"])
        return JSONResponse({**result.about(), "name": item.name, "downloads": available(result)})

    async def source(self, request: Request, user: User) -> Response:
        """All values of a source."""
        result, number = await self._source(request, user)
        data = await run_in_threadpool(result.payload, number)
        return Response(data, media_type="application/octet-stream")

    async def media(self, request: Request, user: User) -> Response:
        """The video of a source, or a part of it."""
        result, number = await self._source(request, user)
        path = result.path_of(result.videos[number])
        if path is None:
            raise Refused("The video is not here.", 404)
        return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    async def copy(self, request: Request, user: User) -> Response:
        """How far the copy for viewing is."""
        told = await self._copy(request, user)
        return JSONResponse({name: value for name, value in told.items() if name != "file"})

    async def view(self, request: Request, user: User) -> Response:
        """The copy for viewing."""
        told = await self._copy(request, user)
        if told["file"] is None:
            raise Refused("The copy is not finished.", 409)
        return FileResponse(told["file"], media_type="video/mp4")

    async def _copy(self, request: Request, user: User) -> dict[str, Any]:
        result, number = await self._source(request, user)
        path = result.path_of(result.videos[number])
        if path is None:
            raise Refused("The video is not here.", 404)
        item = user.item(request.path_params["id"])
        folder, removed = (
            (self.users.folder / "view", self.closed) if item.folder is None else (item.folder, item.removed)
        )
        return self.copies.ask(path, folder, removed)

    async def frame(self, request: Request, user: User) -> Response:
        """One image as JPEG."""
        result, number = await self._source(request, user)
        image = await run_in_threadpool(result.image, number, request.path_params["frame"])
        if image is None:
            raise Refused("There is no such image.", 404)
        shown = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        return Response(shown.tobytes(), media_type="image/jpeg")

    async def add_second(self, request: Request, user: User) -> Response:
        """Take a second file."""
        result, item = await self._result(request, user), user.item(request.path_params["id"])
        name, size = request.query_params.get("name", ""), int(request.headers.get("content-length") or 0)
        check_names([name], TABLES | CODINGS)
        self.users.check_more(user, size)
        folder = user.folder / f"{item.id}-second"
        await run_in_threadpool(shutil.rmtree, folder, True)
        folder.mkdir(parents=True)
        try:
            await receive_file(request, folder / name, size)
            second = await run_in_threadpool(read_second, folder / name, result, self.read_coding)
            told, _ = await run_in_threadpool(compare, result, second, {})
        except Refused:
            raise
        except (ValueError, OSError, MissingExtraError) as error:
            raise Refused(self._plain(error, user).replace(f"{folder}/", ""), 422) from error
        finally:
            await run_in_threadpool(shutil.rmtree, folder, True)
        item.second = second
        return JSONResponse(told)

    async def remove_second(self, request: Request, user: User) -> Response:
        """Forget the second file."""
        user.item(request.path_params["id"]).second = None
        return JSONResponse({})

    async def agreement(self, request: Request, user: User) -> Response:
        """Agreement with the second file at some thresholds, and what it says of a source."""
        from auformer.page.downloads import check_thresholds

        result, item = await self._result(request, user), user.item(request.path_params["id"])
        asked = await read_json(request)
        thresholds, number = numbers(asked.get("thresholds") or {}), asked.get("source", 0)
        if item.second is None:
            raise Refused("There is no second file.", 409)
        if not isinstance(number, int) or not 0 <= number < len(result.videos):
            raise Refused("There is no such source.", 404)
        check_thresholds(result, thresholds)

        def work() -> dict[str, Any]:
            told, pairs = compare(result, item.second, thresholds)
            return {**told, "people": overlay(result, pairs, number)}

        return JSONResponse(await run_in_threadpool(work))

    async def download(self, request: Request, user: User) -> Response:
        """What a command would write."""
        from auformer.page.downloads import write_download

        result, key = await self._result(request, user), request.path_params["key"]
        try:
            thresholds = numbers(json.loads(request.query_params.get("thresholds") or "{}"))
        except ValueError as error:
            raise Refused("Expected thresholds by AU.") from error
        folder = user.folder / f"download-{secrets.token_hex(8)}"
        folder.mkdir(parents=True)

        def work() -> Path:
            with result.lock:
                return write_download(result, key, thresholds, folder)

        try:
            path = await run_in_threadpool(work)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        item = user.item(request.path_params["id"])
        name = f"{PurePath(item.name).stem[:LONGEST_NAME]}-{path.name}" if path.suffix == ".zip" else path.name
        about = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        after = BackgroundTask(shutil.rmtree, folder, True)
        return FileResponse(path, headers=about, media_type="application/octet-stream", background=after)

    async def _source(self, request: Request, user: User) -> tuple[Result, int]:
        result, number = await self._result(request, user), request.path_params["number"]
        if not 0 <= number < len(result.videos):
            raise Refused("There is no such source.", 404)
        return result, number

    async def _result(self, request: Request, user: User) -> Result:
        """The result that is asked for, opened where it is not."""
        item = user.item(request.path_params["id"])
        if item.state != "done" or item.table is None:
            raise Refused("This is not finished.", 409)
        return await run_in_threadpool(self._open, item)

    def _open(self, item: Item) -> Result:
        assert item.table is not None
        if item.result is None:
            shared = item.folder is None
            item.result = self._open_shared(item.table) if shared else open_result(item.table, item.media)
        return item.result

    def _open_shared(self, path: Path) -> Result:
        with self._opening:
            if path not in self._shared:
                self._shared[path] = open_result(path)
            return self._shared[path]


def listen(port: int) -> socket.socket:
    """A socket on this machine; 0 takes a port that is free.

    Raises:
        ValueError: The port is taken or not allowed.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.bind((HOST, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise ValueError(
            f"Expected --port to be free, but {port} is not ({getattr(error, 'strerror', None) or error}): another "
            "program, perhaps another page, uses it; leave the option out, and a free one is taken"
        ) from error
    found.listen(128)
    return found


def make_server(page: Page) -> uvicorn.Server:
    """The server of a page; its `run(sockets=[...])` answers until Ctrl-C or the system's wish to end."""
    return uvicorn.Server(
        uvicorn.Config(
            Guard(page.app()),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            lifespan="on",
            ws="none",
        )
    )


def _asset(name: str) -> bytes:
    return resources.files("auformer").joinpath("assets", "page", name).read_bytes()


def address(page: Page, where: socket.socket) -> str:
    """What to open in a browser."""
    return f"http://{HOST}:{where.getsockname()[1]}/?token={page.token}"
