"""What requests to the page hold: JSON, choices of a run, thresholds, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from auformer.page.users import Refused

_MOST_JSON = 1_000_000  # bytes of a request that is no file [ours]


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Choices of a run: `every` N-th frame, how many `faces` of the largest (None: all), `smooth` in seconds.

    Raises:
        Refused: One is unknown or out of range.
    """
    every, faces, smooth = (options.get(name) for name in ("every", "faces", "smooth"))
    if unknown := set(options) - {"every", "faces", "smooth"}:
        raise Refused(f"There is no option {', '.join(sorted(unknown))}.")
    for name, value, most in (("every", every, 1000), ("faces", faces, 100)):
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise Refused(f"Expected `{name}` to be a whole number from 1 to {most}, but got {value!r}.")
    if smooth is not None and not (isinstance(smooth, int | float) and 0 < smooth <= 60):
        raise Refused(f"Expected `smooth` to be seconds up to 60, but got {smooth!r}.")
    return {"every": every or 1, "faces": faces, "smooth": smooth}


def numbers(given: Any) -> dict[str, float]:
    """Numbers by name.

    Raises:
        Refused: It is none.
    """
    if not isinstance(given, dict) or not all(type(value) in (int, float) for value in given.values()):
        raise Refused("Expected thresholds by AU.")
    return {str(name): float(value) for name, value in given.items()}


async def read_json(request: Request) -> dict[str, Any]:
    """The object that a request holds."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_JSON:
            raise Refused("The request is too large.", 413)
    try:
        asked = json.loads(body or b"{}")
    except ValueError as error:
        raise Refused("Expected JSON.") from error
    if not isinstance(asked, dict):
        raise Refused("Expected a JSON object.")
    return asked


async def receive_file(request: Request, path: Path, size: int) -> None:
    """Write a request's bytes into a file, which takes its name when all of them are there."""
    partial, count = path.with_name(f".{path.name}.part"), 0
    try:
        with partial.open("wb") as file:
            async for piece in request.stream():
                count += len(piece)
                if count > size:
                    raise Refused("More bytes came than were announced.", 413)
                await run_in_threadpool(file.write, piece)
        if count != size:
            raise Refused(f"Of {size:,} bytes {count:,} came; drop the file again.")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_size(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
