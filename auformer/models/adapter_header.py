"""What an adapter file says about itself: one JSON string in the safetensors header, under the key `auformer`."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from auformer import __version__
from auformer.aus import parse_au_names
from auformer.errors import CheckpointError
from auformer.models.network import AUNetwork

FORMAT_VERSION = 1
WEIGHT_SOURCES = ("pretrained", "checkpoint_path")  # arguments that say where frozen weights come from; never in a file
_REQUIRED = {
    "network": str,
    "arguments": dict,
    "au_names": list,
    "thresholds": dict,
    "backbone": dict,
    "image_size": list,
    "mean": list,
    "std": list,
}


def describe(
    network: AUNetwork,
    *,
    thresholds: Mapping[str, float] | None = None,
    crop_recipe: str | None = None,
    training_data: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The header of a network, a dict of plain JSON types.

    Args:
        network: The network.
        thresholds: Probability from which an action unit counts as active, per name; the network's own by default.
        crop_recipe: Crop recipe of the training images; the network's own by default.
        training_data: What it was trained on.
        extra: Anything else worth keeping.

    Raises:
        ValueError: A threshold is missing, for another action unit, or outside [0, 1].
    """
    kind = type(network)
    name, _, tag = network.backbone_name.partition(".")
    config = network.backbone.pretrained_cfg
    thresholds = dict(network.thresholds if thresholds is None else thresholds)
    _check_thresholds(thresholds, network.au_names)
    return {
        "format_version": FORMAT_VERSION,
        "network": f"{kind.__module__}.{kind.__qualname__}",
        "arguments": dict(network.arguments),
        "au_names": list(network.au_names),
        "thresholds": {au: float(value) for au, value in thresholds.items()},
        "backbone": {
            "name": name,
            "tag": tag or config.get("tag") or "",
            "fingerprint": network.fingerprint,
            "pos_embed": list(network.backbone.native_pos_embed),
        },
        "image_size": list(network.image_size),
        "mean": [float(value) for value in config["mean"]],
        "std": [float(value) for value in config["std"]],
        "crop_recipe": crop_recipe if crop_recipe is not None else network.crop_recipe,
        "training_data": dict(training_data) if training_data is not None else network.metadata.get("training_data"),
        "package_version": __version__,
        "extra": dict(extra) if extra is not None else dict(network.metadata.get("extra") or {}),
    }


def _check_thresholds(thresholds: Mapping[str, Any], au_names: tuple[str, ...]) -> None:
    """One number in [0, 1] per action unit."""
    if set(thresholds) != set(au_names):
        raise ValueError(f"Expected `thresholds` to be for {', '.join(au_names)}, but got {', '.join(map(str, thresholds)) or 'none'}")
    for au, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"Expected the threshold of {au} to be between 0 and 1, but got {value!r}")


def parse_header(text: str | None, where: str) -> dict[str, Any]:
    """Read and check the JSON string of a file that may come from a stranger.

    Args:
        text: The string, or None where there is none.
        where: Name of the file, for messages.

    Raises:
        CheckpointError: Not an auformer header, a newer format, or a value of another kind than expected.
    """
    if text is None:
        raise CheckpointError(f"{where} is not an auformer adapter file: its header has no key `auformer`")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The header of {where} is damaged: {error}") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        writer = header.get("package_version") if isinstance(header, dict) else None
        known = isinstance(writer, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", writer)
        raise CheckpointError(
            f"{where} has adapter format {version!r}, and this version of auformer ({__version__}) reads format {FORMAT_VERSION}: use "
            f"{f'auformer {writer}' if known else 'the version'} that wrote it, or write the file again with this one"
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(header.get(key), kind):
            raise CheckpointError(f"Expected `{key}` in the header of {where} to be a {kind.__name__}, but got {header.get(key)!r}")
    try:
        names = parse_au_names(header["au_names"])
        if list(names) != header["au_names"] or header["arguments"].get("au_names") != header["au_names"]:
            raise ValueError("Expected `au_names` to be canonical and equal to the network's argument")
        _check_thresholds(header["thresholds"], names)
    except ValueError as error:
        raise CheckpointError(f"The header of {where} is not usable: {error}") from error
    if not isinstance(header["backbone"].get("fingerprint"), str):
        raise CheckpointError(f"The header of {where} has no fingerprint of the frozen weights")
    return header


def network_class(path: str, where: str) -> type[AUNetwork]:
    """The class that a header names. Only subclasses of `AUNetwork` below `auformer.models` are looked up; nothing else is imported.

    Raises:
        CheckpointError: Another name.
    """
    refusal = f"{where} names the network class {path!r}, which is not one of this package's networks"
    if not re.fullmatch(r"auformer\.models(\.[a-z][a-z0-9_]*)+\.[A-Za-z][A-Za-z0-9]*", path):
        raise CheckpointError(refusal)
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(refusal) from error
    if not (isinstance(found, type) and issubclass(found, AUNetwork) and found is not AUNetwork and found.__module__ == module):
        raise CheckpointError(refusal)
    return found


def check_arguments(kind: type[AUNetwork], arguments: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that the class does not have, or that say where weights come from.

    Raises:
        CheckpointError: Says which.
    """
    known = set(inspect.signature(kind).parameters) - set(WEIGHT_SOURCES)
    odd = sorted(set(arguments) - known)
    if odd or not {"backbone", "au_names"} <= set(arguments):
        raise CheckpointError(
            f"{where} has arguments that {kind.__name__} does not take, or lacks some it needs: {', '.join(odd) or 'backbone, au_names'}"
        )
