"""A file that is fetched when it is first needed: where it is kept, and how it gets there whole.

A transfer that breaks off goes on where it stopped, in the same run or a later one; a file takes its place only when its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "AUFORMER_CACHE"
_ATTEMPTS = 5  # per address, as long as something comes: connections break off [ours]
_TIMEOUT = 30.0  # seconds without an answer [ours]
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file on the net.

    Args:
        name: what it is called here.
        urls: where it lies, asked one after the other.
        sha256: of its bytes, in hex.
        size: in bytes.
        instead: what to do without a network, a sentence for the error message.
    """

    name: str
    urls: Sequence[str]
    sha256: str
    size: int
    instead: str


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where fetched files are kept: `cache`, or `$AUFORMER_CACHE`, or `$XDG_CACHE_HOME/auformer`, or `~/.cache/auformer`."""
    if cache is not None:
        return Path(cache)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auformer"


def fetch(remote: Remote, cache: str | Path | None = None) -> Path:
    """The file in the cache folder, fetched if it is not there.

    Args:
        remote: what, and from where.
        cache: folder; None as `cache_folder` says.

    Raises:
        ConnectionError: it cannot be fetched; the message says what to do without.
        ValueError: what lies in the cache, or came over the net, is another file.
    """
    path = cache_folder(cache) / remote.name
    if path.exists():
        _require_right(path, remote)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for url in remote.urls:
        for _ in range(_ATTEMPTS):
            before = _size(part)
            try:
                _continue(url, part, remote.size)
            except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
                reasons.append(f"{url}: {error}")
                _log.info("fetching %s broke off: %s", url, error)
                if _size(part) <= before:
                    break  # nothing came: the next address
                continue
            _require_right(part, remote, remove=True)
            os.replace(part, path)
            return path
    raise ConnectionError(
        f"Expected to fetch {remote.name} ({remote.size:,} bytes), but got no whole file ({'; '.join(dict.fromkeys(reasons))}). "
        f"{remote.instead.format(path=path)}"
    )


def _continue(url: str, part: Path, size: int) -> None:
    """Fetch what is missing of a part file.

    Raises:
        OSError: the connection failed or broke off; the part keeps what has come.
    """
    have = _size(part)
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        resumed = have and answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while have <= size and (chunk := answer.read(_CHUNK)):
                file.write(chunk)
                have += len(chunk)
    if have < size:
        raise ConnectionError(f"broke off after {have:,} of {size:,} bytes")


def _size(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _require_right(path: Path, remote: Remote, *, remove: bool = False) -> None:
    """Raise if a file is not the one that is meant."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != remote.sha256:
        if remove:
            path.unlink()
        raise ValueError(
            f"Expected {path} to be {remote.name} with SHA-256 {remote.sha256}, but got {found}: "
            f"{'it was removed, try again' if remove else 'remove it, so that it is fetched again'}. {remote.instead.format(path=path)}"
        )
