"""Where numbers come from: the checkpoint, the manifest, the machine and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"


def machine() -> str:
    """Processor, cores and Python of this machine in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor that does not say
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def commit() -> str:
    """Short hash of this code's commit, with `+` where the working tree differs from it; empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty=+", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def provenance_lines(sidecar: Mapping[str, Any]) -> list[str]:
    """What stands above the scores of a predictions file, from its sidecar: source, warnings, notice."""
    adapter, source = sidecar.get("adapter") or {}, sidecar.get("manifest") or {}
    sha256 = f", SHA-256 {adapter['sha256'][:12]}" if adapter.get("sha256") else ""
    lines = [
        f"Checkpoint: {sidecar.get('checkpoint') or UNKNOWN}{sha256}; epoch: "
        f"{_selection_text(sidecar.get('epoch_selection'))}."
    ]
    fold = f", fold {source['fold']}" if source.get("fold") else ""
    found, trained = source.get("crop_recipe") or UNKNOWN, sidecar.get("crop_recipe") or UNKNOWN
    lines.append(f"Manifest: {source.get('file') or UNKNOWN}{fold}; crop recipe: {found} (trained on: {trained}).")
    if sidecar.get("aus_not_in_checkpoint"):
        lines.append(f"AUs that the checkpoint lacks: {', '.join(sidecar['aus_not_in_checkpoint'])}.")
    lines += [f"Warning: {warning}" for warning in sidecar.get("warnings") or []]
    return lines + (str(sidecar["notice"]).splitlines() if sidecar.get("notice") else [])


def _selection_text(selection: Any) -> str:
    """How the epoch was chosen, in words: from what training writes, or a text of another tool."""
    if not selection or not isinstance(selection, Mapping):
        return str(selection or UNKNOWN)
    how = ", ".join(str(selection[name]) for name in ("rule", "monitor") if selection.get(name))
    return f"{selection.get('epoch') or UNKNOWN} of {selection.get('epochs') or UNKNOWN} ({how or UNKNOWN})"
