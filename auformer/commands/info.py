"""Say what a checkpoint is: network, action units with thresholds, backbone, sizes, crop recipe, training data.

  auformer info runs/demo/adapter.safetensors
  auformer info demo

Reads the header of an adapter file, of the one in a folder, or of a run checkpoint (.ckpt); loads no weights and executes nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer info`."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="adapter file, .ckpt, folder with adapter.safetensors, demo, or hf://owner/name",
    )


def run(args: argparse.Namespace) -> int:
    """Print what the checkpoint says about itself.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it is not ours.
    """
    from auformer.models.checkpoints import DEMO_DETECTOR, resolve_checkpoint
    from auformer.report.html import DEMO_NOTE

    path = resolve_checkpoint(args.checkpoint)
    header = _read_header(path)
    print(f"{args.checkpoint}")
    for label, value in _facts(path, header):
        print(
            f"  {label:<14} {''.join(sign if sign.isprintable() else '?' for sign in value)}"
        )  # a stranger's text steers no terminal
    print()
    for line in _units(header):
        print(line)
    if path == DEMO_DETECTOR:
        print(f"\n{DEMO_NOTE}")
    return 0


def _read_header(path: Path) -> dict[str, Any]:
    """Header of an adapter file, or the same header as a run checkpoint carries it; tensors stay on disk.

    Raises:
        CheckpointError: Neither of the two, or damaged.
    """
    from auformer.models import read_adapter_header
    from auformer.models.adapter_file import parse_header

    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # what torch.save writes
            return read_adapter_header(path)
    from auformer.models.checkpoints import HEADER, read_checkpoint

    return parse_header(read_checkpoint(path, mmap=True).get(HEADER), str(path))


def _facts(path: Path, header: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of every line about the whole checkpoint."""
    backbone, version = header["backbone"], header.get("package_version") or "unknown"
    trained, total = _parameters(path, header)
    facts = [
        ("network", header["network"].rpartition(".")[2]),
        ("file", f"{path.stat().st_size / 1e6:.2f} MB, format {header['format_version']}, auformer {version}"),
        ("parameters", f"{trained:,} trained, {total:,} in all"),
        (
            "backbone",
            " ".join(filter(None, (backbone.get("name"), f"({backbone['tag']})" if backbone.get("tag") else ""))),
        ),
        ("frozen weights", backbone["fingerprint"] or "unknown"),
        ("images", f"{header['image_size'][0]} x {header['image_size'][1]} pixels (height x width)"),
        ("mean, std", f"{_numbers(header['mean'])} and {_numbers(header['std'])}"),
        ("crop recipe", header.get("crop_recipe") or "unknown"),
    ]
    own = {key: value for key, value in header["arguments"].items() if key not in ("backbone", "au_names", "img_size")}
    facts.append(("arguments", ", ".join(f"{key}={value}" for key, value in own.items()) or "none"))
    facts += _nested("trained on", header.get("training_data"))
    return facts + (_nested("also", header["extra"]) if header.get("extra") else [])


def _nested(label: str, value: Any) -> list[tuple[str, str]]:
    """One line per entry of a dict, the label on the first of them only."""
    if not value:
        return [(label, "unknown")]
    entries = [f"{key}: {_text(item)}" for key, item in value.items()] if isinstance(value, dict) else [_text(value)]
    return [(label if number == 0 else "", entry) for number, entry in enumerate(entries)]


def _text(value: Any) -> str:
    """A JSON value on one line, text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _numbers(values: list[float]) -> str:
    """Numbers between brackets, without trailing zeros."""
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _parameters(path: Path, header: dict[str, Any]) -> tuple[int, int]:
    """Trained and all parameters of the network, counted on a network that holds no memory."""
    import torch

    from auformer.models.adapter_file import check_arguments, network_class

    kind = network_class(header["network"], str(path))
    check_arguments(kind, header["arguments"], str(path))
    with torch.device("meta"):
        return kind(**header["arguments"]).num_parameters()


def _units(header: dict[str, Any]) -> list[str]:
    """A table of the action units."""
    from auformer.aus import ACTION_UNITS

    lines = [f"  {'AU':<5} {'name':<24} {'region':<7} threshold"]
    for au in header["au_names"]:
        unit = ACTION_UNITS[au]
        lines.append(f"  {au:<5} {unit.name:<24} {unit.region:<7} {header['thresholds'][au]:.3f}")
    return lines
