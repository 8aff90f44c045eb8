"""Say what a checkpoint is: network, action units, thresholds, intensities, backbone, crop recipe, training data.

  auformer info runs/demo/adapter.safetensors
  auformer info demo

Reads the header of an adapter file, of the one in a folder, or of a run checkpoint (.ckpt); loads no weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from auformer.aus import ACTION_UNITS


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
    from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
    from auformer.models.checkpoints import inspect_checkpoint
    from auformer.report.html import demo_note

    path = resolve_checkpoint(args.checkpoint)
    header, network = inspect_checkpoint(path)
    print(args.checkpoint)
    for label, value in _facts(path, header, network.num_parameters()):
        shown = "".join(sign if sign.isprintable() else "?" for sign in value)  # a stranger's text steers no terminal
        print(f"  {label:<14} {shown}")
    learned = header.get("intensity_aus", network.intensity_aus) if network.intensity_aus else None
    print(f"\n  {'AU':<5} {'name':<24} {'region':<7} threshold{'' if learned is None else '  intensity'}")
    for au in header["au_names"]:
        unit = ACTION_UNITS[au]
        strength = "" if learned is None else f"{'0 to 5' if au in learned else '-':>{len('    intensity')}}"
        print(f"  {au:<5} {unit.name:<24} {unit.region:<7} {header['thresholds'][au]:.3f}{strength}")
    if path == DEMO_DETECTOR:
        print("\n" + demo_note(intensity=bool(network.intensity_aus)))
    return 0


def _facts(path: Path, header: dict[str, Any], parameters: tuple[int, int]) -> list[tuple[str, str]]:
    """Label and value of every line about the whole checkpoint."""
    backbone, version = header["backbone"], header.get("package_version") or "unknown"
    own = {key: value for key, value in header["arguments"].items() if key not in ("backbone", "au_names", "img_size")}
    tag = f"({backbone['tag']})" if backbone.get("tag") else ""
    return [
        ("network", header["network"].rpartition(".")[2]),
        ("file", f"{path.stat().st_size / 1e6:.2f} MB, format {header['format_version']}, auformer {version}"),
        ("parameters", f"{parameters[0]:,} trained, {parameters[1]:,} in all"),
        ("backbone", " ".join(filter(None, (backbone.get("name"), tag)))),
        ("frozen weights", backbone["fingerprint"] or "unknown"),
        ("images", f"{header['image_size'][0]} x {header['image_size'][1]} pixels (height x width)"),
        *([("clips", _clips(header["arguments"]))] if header["arguments"].get("clip_length", 1) > 1 else []),
        ("mean, std", f"{_numbers(header['mean'])} and {_numbers(header['std'])}"),
        ("crop recipe", header.get("crop_recipe") or "unknown"),
        ("intensity", _intensity(header)),
        ("arguments", ", ".join(f"{key}={value}" for key, value in own.items()) or "none"),
        *_nested("trained on", header.get("training_data")),
        *(_nested("also", header["extra"]) if header.get("extra") else []),
    ]


def _clips(arguments: dict[str, Any]) -> str:
    """How many frames a network sees at once, and how far it looks for movement."""
    reach = arguments.get("reach")
    around = "" if reach is None else f", movement over {reach} frames on either side"
    return f"of {arguments['clip_length']} consecutive frames of one face{around}"


def _intensity(header: dict[str, Any]) -> str:
    """Whether a checkpoint gives intensities, and of how many action units."""
    form, names = header["arguments"].get("intensity", "none"), header["au_names"]
    if form == "none":
        return "no: occurrence only"
    return f"of {len(header.get('intensity_aus', names))} of {len(names)} action units, 0 to 5 ({form})"


def _nested(label: str, value: Any) -> list[tuple[str, str]]:
    """One line per entry of a dict, the label on the first of them only; text as it is, all else as JSON."""
    if not value:
        return [(label, "unknown")]
    entries = value.items() if isinstance(value, dict) else [("", value)]
    texts = [(key, item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)) for key, item in entries]
    lines = [f"{key}: {text}" if key else text for key, text in texts]
    return [(label if number == 0 else "", line) for number, line in enumerate(lines)]


def _numbers(values: list[float]) -> str:
    """Numbers between brackets, without trailing zeros."""
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
