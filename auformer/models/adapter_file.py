"""Adapter files: what people share of a trained network, how it describes itself, and the only writer.

A `.safetensors` file with every tensor outside the frozen backbone in float32, and in its header one JSON string (see
`describe`). `auformer.models.checkpoints` reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from auformer import __version__
from auformer.aus import parse_au_names
from auformer.errors import CheckpointError
from auformer.files import atomic_path
from auformer.models.network import AUNetwork, TensorForm

HEADER = "auformer"  # key of the JSON string, in adapter files, run checkpoints and exported files
FORMAT_VERSION = 1
_REQUIRED = {
    "network": str, "arguments": dict, "au_names": list, "thresholds": dict, "backbone": dict, "image_size": list,
    "mean": list, "std": list,
}  # fmt: skip
_DTYPES = {"F32": torch.float32, "BOOL": torch.bool, "I64": torch.int64}  # all that this package writes
_MOVED = re.compile(r"auformer\.models\.rivals\.\w+\.(?=\w+$)")  # where earlier builds kept the baselines


def describe(
    network: AUNetwork,
    *,
    thresholds: Mapping[str, float] | None = None,
    crop_recipe: str | None = None,
    training_data: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The header of a network, a dict of plain JSON types; arguments as of `save_adapter`.

    Raises:
        ValueError: A threshold is missing, for another action unit, or outside [0, 1].
    """
    kind = type(network)
    name, _, tag = network.backbone_name.partition(".")
    config = network.backbone.pretrained_cfg
    thresholds = network.thresholds if thresholds is None else thresholds
    _check_thresholds(thresholds, network.au_names)
    strengths = {} if network.intensity == "none" else {"intensity_aus": list(network.intensity_aus)}
    return {
        "format_version": FORMAT_VERSION,
        "network": f"{kind.__module__}.{kind.__qualname__}",
        "arguments": dict(network.arguments),
        "au_names": list(network.au_names),
        "thresholds": {au: float(value) for au, value in thresholds.items()},
        **strengths,  # a file without an intensity head is what it was before there were any
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
        thresholds: Decision threshold per AU; the network's own by default.
        crop_recipe: Crop recipe of the training images; the network's own by default.
        training_data: What it was trained on, plain JSON types; by default what the file that it was loaded from said.
        extra: Anything else worth keeping, plain JSON types; the same default.
    """
    header = describe(network, thresholds=thresholds, crop_recipe=crop_recipe, training_data=training_data, extra=extra)
    text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    tensors = {
        name: tensor.to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()
        for name, tensor in network.adapter_state_dict().items()
    }
    with atomic_path(path) as temporary:  # not `save_file`, whose files only their owner can read
        temporary.write_bytes(save(tensors, metadata={HEADER: text}))


def parse_header(text: Any, where: str) -> dict[str, Any]:
    """Read and check the JSON string of a file that may come from a stranger; `where` names the file in messages.

    Raises:
        CheckpointError: Not an auformer header, another format, or a value of another kind than expected.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{where} is not an auformer adapter file: its header has no key `{HEADER}`")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The header of {where} is damaged: {error}") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        writer = header.get("package_version") if isinstance(header, dict) else None
        known = isinstance(writer, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", writer)
        ours = f"auformer {writer}" if known else "the version"
        raise CheckpointError(
            f"{where} has adapter format {version!r}, and this version of auformer ({__version__}) reads format "
            f"{FORMAT_VERSION}: use {ours} that wrote it, or write the file again with this one"
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
        _check_strengths(header.get("intensity_aus"), names)
    except ValueError as error:
        raise CheckpointError(f"The header of {where} is not usable: {error}") from error
    if not isinstance(header["backbone"].get("fingerprint"), str):
        raise CheckpointError(f"The header of {where} has no fingerprint of the frozen weights")
    header["network"] = _MOVED.sub("auformer.models.baselines.", header["network"])
    return header


def _check_thresholds(thresholds: Mapping[str, Any], au_names: tuple[str, ...]) -> None:
    if set(thresholds) != set(au_names):
        raise ValueError(
            f"Expected `thresholds` for {', '.join(au_names)}, but got {', '.join(map(str, thresholds)) or 'none'}"
        )
    for au, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"Expected the threshold of {au} to be between 0 and 1, but got {value!r}")


def _check_strengths(found: Any, au_names: tuple[str, ...]) -> None:
    if found is not None and (not isinstance(found, list) or found != [au for au in au_names if au in found]):
        raise ValueError(
            f"Expected `intensity_aus` to be some of {', '.join(au_names)} in their order, but got {found!r}"
        )


@contextmanager
def open_adapter(path: Path) -> Iterator[Any]:
    """Open a safetensors file, memory-mapped; the library checks offsets and length against its header.

    Raises:
        CheckpointError: There is no such file, or it is not complete.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected an adapter file, but {path} does not exist")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}): copy or download it again"
        ) from error


def read_adapter_header(path: str | Path) -> dict[str, Any]:
    """Header of an adapter file as a dict, without reading any tensor.

    Raises:
        CheckpointError: Not an adapter file, damaged, or of another format.
    """
    with open_adapter(Path(path)) as file:
        return parse_header((file.metadata() or {}).get(HEADER), str(path))


def tensor_forms(path: Path) -> dict[str, TensorForm]:
    """Shape and type of each tensor in an adapter file by name, without reading any."""
    forms: dict[str, TensorForm] = {}
    with open_adapter(path) as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            tensor = file.get_slice(name)
            forms[name] = tuple(tensor.get_shape()), _DTYPES.get(tensor.get_dtype())
    return forms
