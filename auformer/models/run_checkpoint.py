"""Run checkpoints: Lightning's own files without frozen weights, read with `weights_only`, building only classes of this package."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import _IncompatibleKeys

from auformer.errors import CheckpointError
from auformer.models.adapter_file import adopt_header, check_header
from auformer.models.adapter_header import check_arguments, describe, network_class, parse_header
from auformer.models.network import check_tensors

if TYPE_CHECKING:
    from auformer.training.module import AUModule

HEADER = "auformer"  # key of the same header that an adapter file has, as one JSON string
CLASS_PATH, INSTANTIATOR = "_class_path", "_instantiator"  # Lightning's names for how to rebuild a class; ours never hold the second


def read_checkpoint(path: str | Path, map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """Read a run checkpoint; nothing in it is executed.

    Args:
        path: A `.ckpt` file.
        map_location: Where to put the tensors.
        mmap: Map the file instead of reading it, so that nothing is allocated until it is used; for files of strangers.

    Returns:
        The checkpoint; its `hyper_parameters` never hold `_instantiator`, and `_class_path` only if that is a class of this package.

    Raises:
        CheckpointError: The file is missing, damaged, holds other objects than tensors and plain values, names a function or a class
            outside this package, or was not written by `AUModule`.
    """
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap or None)
    except FileNotFoundError as error:
        raise CheckpointError(f"Expected {path} to be a run checkpoint, but there is no such file") from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"Cannot read {path}: it is damaged, or holds more than tensors and plain values ({first})") from error
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(key), dict) for key in ("state_dict", "hyper_parameters")):
        raise CheckpointError(f"Expected {path} to be a run checkpoint with `state_dict` and `hyper_parameters`, but got something else")
    plain = checkpoint["hyper_parameters"]
    maker, class_path = plain.pop(INSTANTIATOR, None), plain.get(CLASS_PATH)
    if maker not in (None, "pytorch_lightning.cli.instantiate_module"):
        raise CheckpointError(f"{path} names {maker!r} to be called, which auformer does not do; the file is not safe")
    if class_path is not None and not str(class_path).startswith("auformer."):
        raise CheckpointError(f"{path} names the class {class_path!r}, and only classes of auformer are built; the file is not safe")
    return checkpoint


def complete_checkpoint(module: AUModule, checkpoint: dict[str, Any]) -> None:
    """Take frozen weights out of a checkpoint before it is written; add the header of an adapter file and the class that writes."""
    frozen = _frozen(module)
    checkpoint["state_dict"] = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name not in frozen}
    checkpoint[HEADER] = json.dumps(describe(module.network))
    plain = {name: value for name, value in module.hparams.items() if name not in (CLASS_PATH, INSTANTIATOR)}
    own = type(module)
    if own.__module__.partition(".")[0] == "auformer":
        plain[CLASS_PATH] = f"{own.__module__}.{own.__qualname__}"
    checkpoint["hyper_parameters"] = plain


def _frozen(module: AUModule) -> set[str]:
    """Names of what the module does not train, as in its state."""
    return {f"network.{name}" for name in module.network.frozen_names()}


def check_checkpoint(module: AUModule, checkpoint: Mapping[str, Any]) -> None:
    """Compare the header of a checkpoint with the module's network, and take over thresholds and crop recipe.

    Raises:
        CheckpointError: Other action units, another network, backbone or frozen weights, or no header.
    """
    header = checkpoint.get(HEADER)
    header = parse_header(header if isinstance(header, str) else None, "the run checkpoint")
    check_header(header, module.network, "The run checkpoint")
    adopt_header(header, module.network)


def load_weights(module: AUModule, state: Mapping[str, Any]) -> _IncompatibleKeys:
    """Load a state dict; nothing is changed unless everything fits.

    Args:
        module: The module.
        state: Tensors by name; those that are frozen may be left out, all of them.

    Returns:
        What `torch.nn.Module.load_state_dict` gives.

    Raises:
        CheckpointError: A key is missing or not expected, or a tensor has another shape or type.
    """
    own, frozen = module.state_dict(), _frozen(module)
    spared = frozen if not frozen & state.keys() else set()
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in own.items() if name not in spared}
    found = {name: (tuple(value.shape), value.dtype) for name, value in state.items() if isinstance(value, torch.Tensor)}
    check_tensors(wanted, found, f"The checkpoint does not fit {type(module).__name__} with {len(module.network.au_names)} action units")
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(state[name])
    return _IncompatibleKeys(sorted(spared), [])


def load_module(cls: type[AUModule], path: str | Path, map_location: Any, overrides: Mapping[str, Any]) -> AUModule:
    """Build the module that a run checkpoint holds.

    Args:
        cls: `AUModule`, a rival, or a user's own subclass; the class named by the file must be it or below it.
        path: A `.ckpt` file.
        map_location: Where to put the tensors; the CPU by default.
        overrides: Hyper-parameters that replace those of the file.

    Returns:
        The module.

    Raises:
        CheckpointError: See `read_checkpoint`, `check_checkpoint` and `load_weights`.
    """
    checkpoint = read_checkpoint(path, map_location or "cpu", mmap=map_location is None)
    plain = checkpoint["hyper_parameters"]
    _check_sizes(checkpoint, str(path))
    target = _class_of(plain.pop(CLASS_PATH, None), cls, path)
    odd = sorted(map(str, (plain.keys() | overrides.keys()) - inspect.signature(target).parameters.keys()))
    if odd:
        raise CheckpointError(f"Expected {path} to hold arguments of {target.__name__}, but got {', '.join(odd[:5])}")
    module = target(**{**plain, **overrides})
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    return module if map_location is None else module.to(next(iter(checkpoint["state_dict"].values())).device)


def _check_sizes(checkpoint: Mapping[str, Any], where: str) -> None:
    """Compare header, hyper-parameters and tensors before anything is allocated: a stranger's file may ask for an enormous network."""
    text, plain = checkpoint.get(HEADER), checkpoint["hyper_parameters"]
    header = parse_header(text if isinstance(text, str) else None, where)
    for name, value in header["arguments"].items():
        if name != "img_size" and name in plain and plain[name] != value:
            raise CheckpointError(f"{where} contradicts itself: its header says {name}={value!r}, its hyper-parameters {plain[name]!r}")
    kind = network_class(header["network"], where)
    check_arguments(kind, header["arguments"], where)
    try:
        with torch.device("meta"):
            skeleton = kind(**header["arguments"])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{where} describes a network that cannot be built: {error}") from error
    wanted = {f"network.{name}": (tuple(tensor.shape), tensor.dtype) for name, tensor in skeleton.adapter_state_dict().items()}
    tensors = checkpoint["state_dict"]
    found = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    check_tensors(wanted, found, f"{where} does not fit {kind.__name__}")


def _class_of(class_path: Any, cls: type[AUModule], path: str | Path) -> type[AUModule]:
    """The class to build: the one that the file names, if it is `cls` or below it."""
    if class_path is None:
        return cls
    module_name, _, name = str(class_path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"Expected {path} to name a class of this version of auformer, but got {class_path!r}") from error
    if not (isinstance(found, type) and issubclass(found, cls)):
        raise CheckpointError(f"Expected {path} to hold a {cls.__name__}, but got {class_path!r}")
    return found
