"""What every benchmark says of where it ran, and the two files that it writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from auformer.files import write_text
from auformer.scoring.machine import commit, machine


def circumstances() -> dict[str, Any]:
    """Version of torch, machine, commit, day, and the load of the machine over the last minute; None where the system does not say it."""
    return {
        "torch": torch.__version__,
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def write_result(folder: Path, name: str, result: Mapping[str, Any], page: str) -> None:
    """Write a result as `NAME.json` and its page as `NAME.md`, each completely or not at all.

    Args:
        folder: Where; it is made if it is missing.
        name: Of both files.
        result: Plain values.
        page: Markdown.
    """
    write_text(folder / f"{name}.json", json.dumps(result, indent=2) + "\n")
    write_text(folder / f"{name}.md", page)
