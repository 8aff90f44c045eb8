"""What the process of the page does in tests of the queue: counts instead of predicting."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def work(pipe: Any, cancelled: Any, options: dict[str, Any]) -> None:
    """Report `frames` of an item, slowly; `die` ends the process, `fail` the run."""
    pipe.send(("header", {"header": {"who": options["checkpoint"]}}))
    while True:
        try:
            folder, _, choices = pipe.recv()
        except EOFError:
            return
        done = int((Path(folder) / "kept").read_text()) if (Path(folder) / "kept").is_file() else 0
        pipe.send(("begun", done, choices["frames"]))
        for k in range(done, choices["frames"]):
            time.sleep(0.01)
            if choices.get("die") == k:
                os._exit(1)
            (Path(folder) / "kept").write_text(str(k + 1))
            pipe.send(("advanced", k + 1, choices["frames"]))
            if cancelled.is_set():
                pipe.send(("cancelled",))
                break
        else:
            pipe.send(("failed", "no room") if choices.get("fail") else ("done", ["a note"]))
