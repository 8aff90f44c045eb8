"""Adapter files: the only writer, and what their header says about the network.

Adapter files: the only reader and writer (architecture: the file contracts).

A `.safetensors` file with every tensor outside the frozen backbone in float32, and in its header one JSON string (`adapter_header`).
Nothing in such a file is ever executed. Names, shapes and types are compared with the network before any tensor is read.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from auformer import __version__
from auformer.aus import parse_au_names
from auformer.errors import CheckpointError
from auformer.models.network import AUNetwork, check_tensors

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
        raise ValueError(
            f"Expected `thresholds` to be for {', '.join(au_names)}, but got {', '.join(map(str, thresholds)) or 'none'}"
        )
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
            raise CheckpointError(
                f"Expected `{key}` in the header of {where} to be a {kind.__name__}, but got {header.get(key)!r}"
            )
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
    if not (
        isinstance(found, type)
        and issubclass(found, AUNetwork)
        and found is not AUNetwork
        and found.__module__ == module
    ):
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


_DTYPES = {"F32": torch.float32, "BOOL": torch.bool, "I64": torch.int64}  # all that this package writes
_FREE = ("img_size", "average_heads")  # arguments that may differ between a file and the network it is loaded onto


def save_adapter(
    path: str | Path,
    network: AUNetwork,
    *,
    thresholds: Mapping[str, float] | None = None,
    crop_recipe: str | None = None,
    training_data: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter file, atomically; a file of that name is replaced.

    Args:
        path: Where to, usually `adapter.safetensors`.
        network: The network. Floating-point tensors are kept in float32 whatever its type is.
        thresholds: Probability from which an action unit counts as active, per name; the network's own by default.
        crop_recipe: Crop recipe of the training images; the network's own by default.
        training_data: What it was trained on, plain JSON types.
        extra: Anything else worth keeping, plain JSON types.
    """
    path = Path(path)
    header = describe(network, thresholds=thresholds, crop_recipe=crop_recipe, training_data=training_data, extra=extra)
    text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    tensors = {name: _as_stored(tensor) for name, tensor in network.adapter_state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(
            save(tensors, metadata={"auformer": text})
        )  # `save_file` would make it readable by its owner only
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _as_stored(tensor: Tensor) -> Tensor:
    """A copy as it lies in the file."""
    return (
        tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()
    )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a safetensors file, memory-mapped; the library checks offsets and length against its header."""
    if not path.is_file():
        raise CheckpointError(f"Expected an adapter file, but {path} does not exist")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {error}") from error


def read_adapter_header(path: str | Path) -> dict[str, Any]:
    """Header of an adapter file as a dict, without reading any tensor.

    Args:
        path: The file.

    Raises:
        CheckpointError: Not an adapter file, damaged, or of a newer format.
    """
    with _open(Path(path)) as file:
        return parse_header((file.metadata() or {}).get("auformer"), str(path))


def check_file(path: Path, network: AUNetwork) -> None:
    """Compare names, shapes and types of a file's tensors with a network, which may be on the meta device; reads no tensor.

    Raises:
        CheckpointError: Says what differs.
    """
    with _open(path) as file:
        found: dict[str, tuple[tuple[int, ...], torch.dtype | None]] = {}
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            part = file.get_slice(name)
            found[name] = (tuple(part.get_shape()), _DTYPES.get(part.get_dtype()))
    wanted = {
        name: (tuple(tensor.shape), torch.float32 if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in network.adapter_state_dict().items()
    }
    check_tensors(wanted, found, f"{path} does not fit {type(network).__name__}")


def check_header(header: Mapping[str, Any], network: AUNetwork, where: str) -> None:
    """Compare a header with a network: action units, arguments, backbone, frozen weights, normalisation.

    Raises:
        CheckpointError: Says what differs.
    """
    own, theirs, name = describe(network), header["backbone"], network.backbone_name
    defaults = {
        key: value.default for key, value in inspect.signature(type(network)).parameters.items()
    }  # of arguments newer than the file
    pairs = [
        ("action units", header["au_names"], own["au_names"]),
        ("backbone", theirs.get("name"), own["backbone"]["name"]),
        ("network class", header["network"], own["network"]),
        *(
            (f"`{key}`", header["arguments"].get(key, defaults.get(key)), value)
            for key, value in own["arguments"].items()
            if key not in ("backbone", *_FREE)
        ),
        *((f"`{key}` of the images", header[key], own[key]) for key in ("mean", "std") if network.frozen),
    ]
    for what, found, wanted in pairs:
        if found != wanted:
            raise CheckpointError(
                f"{where} does not fit this network: expected {what} {_text(wanted)}, but got {_text(found)}"
            )
    if network.frozen and theirs["fingerprint"] != network.fingerprint:
        raise CheckpointError(
            f"{where} belongs to other frozen weights of {name}: their fingerprint is {theirs['fingerprint'][:12]}, this network's is "
            f"{network.fingerprint[:12]}. Two ways out: build the network with the weights that the file was trained on (tag "
            f"{theirs.get('tag') or 'unknown'!r}, `pretrained=True`), or pass a file of them (`checkpoint_path=`, in load_detector "
            f"`backbone_checkpoint=`)"
        )


def _text(value: Any) -> str:
    """A value for a message: names with commas between them, anything else as Python writes it."""
    return ", ".join(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else repr(value)


def load_adapter(path: str | Path, network: AUNetwork) -> None:
    """Load an adapter file onto a built network, with its thresholds, crop recipe and header; nothing is changed unless everything fits.

    Args:
        path: The file.
        network: A network of the same class, action units, arguments and frozen weights, of any floating-point type; its image size may
            be another.

    Raises:
        CheckpointError: The file is damaged or belongs to something else; says what differs.
    """
    path = Path(path)
    header = read_adapter_header(path)
    check_header(header, network, str(path))
    check_file(path, network)
    own = network.adapter_state_dict()
    with _open(path) as file:
        state = {name: file.get_tensor(name).to(own[name].dtype) for name in own}
    network.load_adapter_state_dict(state)
    adopt_header(header, network)


def adopt_header(header: Mapping[str, Any], network: AUNetwork) -> None:
    """Take over what a header says beside the tensors: thresholds, crop recipe, and the header itself as `metadata`."""
    network.thresholds = {au: float(header["thresholds"][au]) for au in network.au_names}
    recipe = header.get("crop_recipe")
    network.crop_recipe = recipe if isinstance(recipe, str) else None
    network.metadata = dict(header)
