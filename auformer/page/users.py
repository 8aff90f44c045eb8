"""Who uses the page, and what each has uploaded: bounded, unknown to the others, deleted in the end.

FOLDER/lock           held while the page runs, so that another start can tell what a killed page left behind
FOLDER/USER/ITEM/     uploads of one drop, and `predictions.csv` beside them
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout

from auformer.data.images import IMAGES
from auformer.data.video import VIDEOS
from auformer.page.results import TABLES, Result

PREFIX, LOCK = "auformer-page-", "lock"
MEGABYTE = 1_000_000
MOST_FILES = 2000  # of one drop [ours]
MOST_ITEMS = 200  # of one user [ours]
LONGEST_NAME = 150  # characters: file systems take 255 bytes, and outputs add endings [ours]
SPARE = 200 * MEGABYTE  # bytes of the disk that uploads leave free [ours]
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # names that Windows keeps for itself
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]')
SIDECAR = ".json"  # comes with a table only


class Refused(ValueError):
    """What the page does not do; `status` is that of HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Item:
    """What one drop of files became, or a result that was there.

    Attributes:
        name: What the page calls it.
        folder: Where its files are; None for results that were named when the page was started.
        files: Names of its files, and how many bytes each was announced with.
        table: The predictions file; None until there is one.
        media: Files by name, as of `open_result`; None looks for them.
        kind: `run` or `table`.
        state: `uploading`, `waiting`, `running`, `cancelled`, `failed`, `done`.
        progress: What the page shows of a run.
        message: Why it failed; of a finished one, problems and notes, a line each.
        options: Of a run.
        result: The table, once it is open.
        second: The second file's table, once there is one.
    """

    id: str
    name: str
    folder: Path | None
    files: dict[str, int]
    kind: str
    state: str = "uploading"
    table: Path | None = None
    media: dict[str, Path] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    second: Any = None
    removed: threading.Event = field(default_factory=threading.Event)

    def about(self) -> dict[str, Any]:
        """What the list of the page shows."""
        kept = self.folder is None
        facts = {"id": self.id, "name": self.name, "kind": self.kind, "state": self.state, "message": self.message}
        return {**facts, "progress": self.progress, "kept": kept, "files": list(self.files)}


@dataclass
class User:
    """One browser.

    Attributes:
        folder: Where its items lie.
        items: By their ids, in the order in which they came.
        seen: When it asked for something last, by `time.monotonic`.
    """

    folder: Path
    items: dict[str, Item] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)

    def item(self, id_: str) -> Item:
        """One of its items.

        Raises:
            Refused: It has none of that id, whoever else may have.
        """
        try:
            return self.items[id_]
        except KeyError:
            raise Refused("There is no such result any more.", 404) from None

    def bytes_used(self) -> int:
        """Announced bytes of its uploads."""
        return sum(sum(item.files.values()) for item in self.items.values() if item.folder is not None)


class Users:
    """All users of one page, and the folder of their files.

    Args:
        most_bytes: Uploads of one user at a time.
        keep_s: Seconds after which the files of a user who is silent are deleted.
        parent: Where the folder is made; the system's place for temporary files by default.
    """

    def __init__(self, *, most_bytes: int, keep_s: float, parent: Path | None = None) -> None:
        remove_left_behind(parent)
        self.most_bytes, self.keep_s = most_bytes, keep_s
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # its owner's alone
        self._hold = FileLock(self.folder / LOCK)
        self._hold.acquire()
        self._users: dict[str, User] = {}
        self._lock = threading.RLock()

    def new(self, results: Iterable[tuple[str, Path]] = ()) -> tuple[str, User]:
        """A new user, who sees the results that the page was started with; its secret, and itself."""
        secret, folder = secrets.token_urlsafe(32), self.folder / secrets.token_hex(8)
        user = User(folder)
        for name, path in results:
            item = Item(secrets.token_hex(8), name, None, {}, "table", "done", path)
            user.items[item.id] = item
        with self._lock:
            self._users[secret] = user
        return secret, user

    def find(self, secret: str) -> User | None:
        """The user of a secret; None where there is none."""
        with self._lock:
            self._forget_silent()
            user = self._users.get(secret)
            if user is not None:
                user.seen = time.monotonic()
            return user

    def new_item(self, user: User, files: Sequence[tuple[str, int]], options: dict[str, Any]) -> Item:
        """Make room for a drop of files, each a name and its bytes.

        Raises:
            Refused: A name or a kind is not taken, the files are too large together, or the disk is too full.
        """
        names = check_names([name for name, _ in files])
        sizes = [size for _, size in files]
        tables = [name for name in names if PurePath(name).suffix.lower() in TABLES]
        if len(tables) > 1:
            raise Refused(f"Expected one table at a time, but got {', '.join(tables)}.")
        sides = [name for name in names if PurePath(name).suffix.lower() == SIDECAR]
        if sides and [PurePath(name).stem for name in sides] != [PurePath(name).stem for name in tables]:
            raise Refused(f"Expected {sides[0]} to come with the table that it describes.")
        with self._lock:
            self._check_room(user, names, sizes)
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            name = tables[0] if tables else f"{names[0]}{more}"
            item = Item(secrets.token_hex(8), name, user.folder, {}, "table" if tables else "run", options=options)
            item.folder = user.folder / item.id
            item.folder.mkdir(parents=True)
            item.files = dict(zip(names, sizes, strict=True))
            user.items[item.id] = item
        return item

    def remove(self, user: User, item: Item) -> None:
        """Forget an item and delete its files."""
        item.removed.set()
        user.items.pop(item.id, None)
        if item.folder is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        self._hold.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_more(self, user: User, size: int) -> None:
        """Raise `Refused` where a further file of so many bytes is too much."""
        if user.bytes_used() + size > self.most_bytes:
            have = f"uploads of {_megabytes(user.bytes_used())} are here already; remove one, or " if user.items else ""
            raise Refused(
                f"{_megabytes(size)} are more than this page takes ({_megabytes(self.most_bytes)} at a time): {have}"
                "start it with a higher --max-upload, or run `auformer predict` and open its folder: auformer page DIR",
                413,
            )
        if shutil.disk_usage(self.folder).free < size + SPARE:
            raise Refused("There is too little free space on the disk of this machine.", 507)

    def _check_room(self, user: User, names: Sequence[str], sizes: Sequence[int]) -> None:
        if min(sizes, default=0) < 0 or not all(isinstance(size, int) for size in sizes):
            raise Refused("Expected the size of each file in bytes.")
        if len(user.items) >= MOST_ITEMS:
            raise Refused(f"There are {MOST_ITEMS} results here already: remove some.", 413)
        if empty := [name for name, size in zip(names, sizes, strict=True) if not size]:
            raise Refused(f"{empty[0]} is empty; copy it again.")
        self.check_more(user, sum(sizes))

    def _forget_silent(self) -> None:
        """Delete the files of users who have not asked for anything for long; of running work its end is awaited."""
        now = time.monotonic()
        for secret, user in list(self._users.items()):
            busy = any(item.state in ("waiting", "running") for item in user.items.values())
            if now - user.seen > self.keep_s and not busy:
                for item in list(user.items.values()):
                    self.remove(user, item)
                shutil.rmtree(user.folder, ignore_errors=True)
                del self._users[secret]


KINDS = IMAGES | VIDEOS | TABLES | {SIDECAR}


def check_names(names: Sequence[str], kinds: frozenset[str] = KINDS) -> list[str]:
    """File names that can be files of one folder, of these kinds by their suffix.

    Raises:
        Refused: One is no plain name, of a kind that is not read, or there twice; or there are too many or none.
    """
    if not 0 < len(names) <= MOST_FILES:
        raise Refused(f"Expected 1 to {MOST_FILES:,} files, but got {len(names):,}.")
    for name in names:
        if not isinstance(name, str) or not name.strip() or name.startswith(".") or name[-1] in " .":
            raise Refused(f"Expected the name of a file, but got {name!r}.")
        if _FORBIDDEN.search(name) or _RESERVED.match(name) or len(name) > LONGEST_NAME:
            raise Refused(f"Expected a plain file name of at most {LONGEST_NAME} characters, but got {name!r}.")
        if PurePath(name).suffix.lower() not in kinds:
            raise Refused(f"{name} is of no kind that is read here, by its name.", 415)
    small = [name.lower() for name in names]
    if len(set(small)) < len(small):
        twice = next(name for name in names if small.count(name.lower()) > 1)
        raise Refused(f"Two files are called {twice}: rename one.")
    return list(names)


def remove_left_behind(parent: Path | None) -> None:
    """Delete the folders of pages that were killed: nobody holds their lock."""
    place = Path(parent or tempfile.gettempdir())
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):
            if (folder / LOCK).is_file():
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _megabytes(number: int) -> str:
    return f"{number / MEGABYTE:,.0f} MB" if number >= MEGABYTE else f"{number / 1000:,.1f} kB"
