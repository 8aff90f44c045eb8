"""The process that predicts: spawned once, so that networks are imported once, and ended with the page.

It works in the folder of the uploads, so that tables name files as `auformer predict` does when it is run there. What
it is told, and what it tells, goes through one pipe, as tuples that begin with a word.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from auformer.errors import MissingExtraError

_OFTEN = 0.2  # seconds between two reports of progress [ours]


class Cancelled(Exception):
    """The user does not want it any more."""


class Reports:
    """Tells how far the work is; implements `auformer.predict.Progress`.

    Args:
        pipe: To the page.
        cancelled: Set where the work is to stop.
    """

    def __init__(self, pipe: connection.Connection, cancelled: Any) -> None:
        self._pipe, self._cancelled = pipe, cancelled
        self._done, self._total = 0, 0
        self._told = 0.0

    def loaded(self, predictor: Any, notice: str | None) -> None:
        """The checkpoint is loaded."""
        self._look()

    def begun(self, unit: str, total: int | None, done: int, *, finished: int, sources: int) -> None:
        """Say how much there is to do, and how much of it an interrupted run has done."""
        self._done, self._total = done, total or 0
        self._pipe.send(("begun", self._done, self._total))

    def advanced(self, image: Any) -> None:
        """Count a frame; from time to time, say so."""
        self._done += 1
        self._look()
        if time.monotonic() - self._told >= _OFTEN:
            self._told = time.monotonic()
            self._pipe.send(("advanced", self._done, self._total))

    def _look(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled


def work(pipe: connection.Connection, cancelled: Any, options: Mapping[str, Any]) -> None:
    """Do one thing after another until the pipe closes.

    Args:
        pipe: Gives `(folder, files, choices)` of each run.
        cancelled: An event of the page.
        options: Arguments of `predict_to_files` that are the same in every run, the `checkpoint` among them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's
    _end_with_parent()
    try:
        pipe.send(("header", _header(options["checkpoint"])))
        while True:
            folder, files, choices = pipe.recv()
            os.chdir(folder)
            try:
                pipe.send(_predict(files, Reports(pipe, cancelled), options, choices))
            except Cancelled:
                pipe.send(("cancelled",))
            except (ValueError, OSError, MissingExtraError) as error:
                pipe.send(("failed", str(error)))
            finally:
                os.chdir(Path(folder).parent)  # so that the folder can be removed
    except (EOFError, BrokenPipeError):
        return


def _header(checkpoint: str) -> dict[str, Any]:
    """What a checkpoint says of itself, and the error where it cannot be read; loads what predictions need besides."""
    import auformer.predict.run  # noqa: F401
    from auformer.models import read_adapter_header
    from auformer.models.checkpoints import resolve_checkpoint

    try:
        path = resolve_checkpoint(checkpoint)
        return {"header": read_adapter_header(path) if path.suffix == ".safetensors" else {}}
    except (ValueError, OSError, MissingExtraError) as error:
        return {"error": str(error)}


def _predict(
    files: list[str], reports: Reports, options: Mapping[str, Any], choices: Mapping[str, Any]
) -> tuple[Any, ...]:
    """`auformer predict FILES --out .` in the folder of the files."""
    from auformer.predict import Selection, predict_to_files
    from auformer.predict.progress import about

    selection = Selection(every=choices.get("every", 1))
    smooth, faces = choices.get("smooth"), choices.get("faces")
    written = predict_to_files(
        files, ".", plot=False, selection=selection, faces=faces, smooth=smooth, progress=reports, **options
    )
    problems = [about(source.file, problem) for source, problem in written.problems]
    return ("done", [*problems, *written.notes])


def _end_with_parent() -> None:
    """Leave at once when the page is gone, however it ended."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
