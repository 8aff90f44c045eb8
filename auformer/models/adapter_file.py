"""Adapter files: what people share of a trained network, how it describes itself, and the only writer.

A `.safetensors` file with every tensor outside the frozen backbone in float32, and in its header one JSON string (see
`describe`). `auformer.models.checkpoints` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from auformer import __version__
from auformer.errors import CheckpointError
from auformer.files import atomic_path
from auformer.models.header import FORMAT_VERSION, HEADER, check_thresholds, parse_header
from auformer.models.network import AUNetwork, TensorForm

_DTYPES = {"F32": torch.float32, "BOOL": torch.bool, "I64": torch.int64}  # all that this package writes


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
    check_thresholds(thresholds, network.au_names)
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
