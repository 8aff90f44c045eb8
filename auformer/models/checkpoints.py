"""The one reader of checkpoints, whoever wrote them.

Two kinds, told apart by their first bytes: adapter files (safetensors), and run checkpoints (written by Lightning, read
with `weights_only`). Nothing in a file is executed and nothing is allocated before names, shapes and types of its
tensors have been compared with a network on torch's meta device. Of the classes that a file names, only those below
`auformer.models` (networks) and `auformer.training` (Lightning modules) are looked up.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from auformer.errors import CheckpointError
from auformer.models.adapter_file import HEADER, describe, open_adapter, parse_header, read_adapter_header, tensor_forms
from auformer.models.auformer import AUFormer
from auformer.models.checkpoint_path import ADAPTER_NAME, resolve_checkpoint
from auformer.models.map_head import read_map_head
from auformer.models.network import AUNetwork, check_tensors, forms
from auformer.models.onnx_file import ONNX, OnnxDetector

# arguments that say where frozen weights come from; never in an adapter file
WEIGHT_SOURCES = ("pretrained", "checkpoint_path")
NETWORKS, MODULES = "auformer.models", "auformer.training"  # the allow-list: what a file may name a class below
CLASS_PATH, INSTANTIATOR = "_class_path", "_instantiator"  # Lightning's names for how to build a module again
_INSTANTIATORS = ("pytorch_lightning.cli.instantiate_module", "lightning.pytorch.cli.instantiate_module")
_ZIP = b"PK\x03\x04"  # what torch.save writes
_FREE = ("img_size", "average_heads")  # arguments that may differ between a file and the network it is loaded onto

Class = TypeVar("Class", bound=nn.Module)


# what a file may name
# ----------------------------------------------------------------------------------------------------------------


def allowed_class(path: Any, base: type[Class], below: str, where: str) -> type[Class]:
    """The class that a file names, a subclass of `base` in a module below `below`; nothing else is imported.

    Raises:
        CheckpointError: Any other name.
    """
    refusal = f"{where} names the class {path!r}, which is not one of {below}; nothing else is built from a file"
    if not isinstance(path, str) or not re.fullmatch(rf"{re.escape(below)}(\.[a-z][a-z0-9_]*)+\.[A-Za-z]\w*", path):
        raise CheckpointError(refusal)
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(refusal) from error
    if not (isinstance(found, type) and issubclass(found, base) and found.__module__ == module):
        raise CheckpointError(refusal)
    return found


def network_class(path: Any, where: str) -> type[AUNetwork]:
    """The network of this package that a file or a configuration names, by its dotted path.

    Raises:
        CheckpointError: Another name.
    """
    found = allowed_class(path, AUNetwork, NETWORKS, where)
    if found is AUNetwork:
        raise CheckpointError(f"{where} names {path}, which is only the base of the networks")
    return found


def _skeleton(path: Any, arguments: Mapping[str, Any], where: str) -> AUNetwork:
    """The network that a file describes, without memory."""
    kind = network_class(path, where)
    odd = sorted(set(arguments) - (set(inspect.signature(kind).parameters) - set(WEIGHT_SOURCES)))
    if odd or not {"backbone", "au_names"} <= set(arguments):
        unknown = f"has arguments that {kind.__name__} does not take: {', '.join(odd)}"
        raise CheckpointError(f"{where} {unknown if odd else 'lacks `backbone` or `au_names`'}")
    try:
        with torch.device("meta"):
            return kind(**arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{where} describes a network that cannot be built: {error}") from error


def check_header(header: Mapping[str, Any], network: AUNetwork, where: str) -> None:
    """Compare a header with a network: action units, arguments, backbone, frozen weights, normalisation.

    Raises:
        CheckpointError: Says what differs.
    """
    own, theirs, name = describe(network), header["backbone"], network.backbone_name
    parameters = inspect.signature(type(network)).parameters
    defaults = {"intensity": "none", **{key: one.default for key, one in parameters.items()}}  # newer than the file
    pairs = [
        ("action units", header["au_names"], own["au_names"]),
        ("backbone", theirs.get("name"), own["backbone"]["name"]),
        ("network class", header["network"], own["network"]),
        *(
            (f"`{key}`", header["arguments"].get(key, defaults.get(key)), value)
            for key, value in {"intensity": "none", **own["arguments"]}.items()
            if key not in ("backbone", *_FREE)
        ),
        *((f"`{key}` of the images", header[key], own[key]) for key in ("mean", "std") if network.frozen),
    ]
    for what, found, wanted in pairs:
        if found != wanted:
            raise CheckpointError(
                f"{where} does not fit this network: expected {what} {_text(wanted)}, but got {_text(found)}"
            )
    if network.frozen and network.fingerprint and theirs["fingerprint"] != network.fingerprint:
        raise CheckpointError(
            f"{where} belongs to other frozen weights of {name}: their fingerprint is {theirs['fingerprint'][:12]}, "
            f"this network's is {network.fingerprint[:12]}. Two ways out: build the network with the weights that the "
            f"file was trained on (tag {theirs.get('tag') or 'unknown'!r}, `pretrained=True`), or pass a file of them "
            f"(`checkpoint_path=`, in load_detector `backbone_checkpoint=`)"
        )


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else repr(value)


def adopt_header(header: Mapping[str, Any], network: AUNetwork) -> None:
    """Take over what a header says beside the tensors.

    Thresholds, crop recipe, whose intensities were trained, and the header itself as `metadata`.
    """
    network.thresholds = {au: float(header["thresholds"][au]) for au in network.au_names}
    recipe = header.get("crop_recipe")
    network.crop_recipe = recipe if isinstance(recipe, str) else None
    if network.intensity != "none":
        network.intensity_aus = tuple(header.get("intensity_aus", network.au_names))
    network.metadata = dict(header)


# the two kinds of files
# --------------------------------------------------------------------------------------------------------------


def read_run_checkpoint(path: str | Path, map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """Read a run checkpoint.

    Args:
        path: A `.ckpt` file.
        map_location: Where to put the tensors.
        mmap: Map the file instead of reading it, so that nothing is allocated until it is used; for files of strangers.

    Returns:
        The checkpoint: `state_dict`, `hyper_parameters` without Lightning's instantiator, the header as text, and what
        else there is.

    Raises:
        CheckpointError: The file is missing or damaged, holds more than tensors and plain values, names a function or a
            class that is not ours, was written by an earlier build, or its network, header and tensors do not fit each
            other.
    """
    return _examined(Path(path), map_location, mmap)[0]


def _examined(path: Path, map_location: Any, mmap: bool) -> tuple[dict[str, Any], dict[str, Any], AUNetwork]:
    """A run checkpoint, its header, and its network without memory."""
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap or None)
    except FileNotFoundError as error:
        raise CheckpointError(f"Expected {path} to be a run checkpoint, but there is no such file") from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a run checkpoint: it is damaged, or holds more than tensors and plain values, "
            f"and auformer executes nothing that a checkpoint holds. Use the {ADAPTER_NAME} beside it, or get the file "
            "again"
        ) from error
    given = checkpoint if isinstance(checkpoint, dict) else {}
    state, settings = given.get("state_dict"), given.get("hyper_parameters")
    if not isinstance(state, dict) or not isinstance(settings, dict):
        raise CheckpointError(
            f"{path} is not a run checkpoint of auformer: it has no `state_dict` and `hyper_parameters`"
        )
    maker, module = settings.pop(INSTANTIATOR, None), settings.get(CLASS_PATH)
    if (maker is not None and maker not in _INSTANTIATORS) or (
        module is not None and not str(module).startswith("auformer.")
    ):
        raise CheckpointError(
            f"{path} names {maker!r} and {module!r} to be called, which auformer does not do; the file is not safe"
        )
    network = settings.get("network")
    if not isinstance(network, dict) or not isinstance(checkpoint.get(HEADER), str):
        raise CheckpointError(
            f"{path} is a run checkpoint of an earlier build of auformer, which is not read any more, or none at all: "
            f"use the {ADAPTER_NAME} beside it, which holds the same network, or train again"
        )
    if module is not None and not str(module).startswith(f"{MODULES}."):
        raise CheckpointError(f"{path} names the class {module!r}, and only modules of {MODULES} are built")
    header = parse_header(checkpoint[HEADER], str(path))
    arguments = {"au_names": settings.get("au_names"), **(network.get("init_args") or {})}
    arguments = {name: value for name, value in arguments.items() if name not in WEIGHT_SOURCES}
    skeleton = _skeleton(network.get("class_path"), arguments, str(path))
    check_header(header, skeleton, str(path))
    wanted = {f"network.{name}": form for name, form in forms(skeleton.adapter_state_dict()).items()}
    check_tensors(wanted, forms(state), f"{path} does not fit {type(skeleton).__name__}")
    return checkpoint, header, skeleton


def _is_run_checkpoint(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)  # of an adapter file: the length of its header, and the brace that opens it
    return head.startswith(_ZIP) or (path.suffix.lower() == ".ckpt" and head[8:] != b"{")


def inspect_checkpoint(path: Path) -> tuple[dict[str, Any], AUNetwork]:
    """What a checkpoint of either kind, or an ONNX file of ours, says about itself, and its network without memory.

    Raises:
        CheckpointError: The file is damaged, not ours, or contradicts itself.
    """
    if _is_run_checkpoint(path):
        return _examined(path, "cpu", True)[1:]
    exported = path.suffix.lower() == ONNX
    header = OnnxDetector(path).metadata if exported else read_adapter_header(path)
    skeleton = _skeleton(header["network"], header["arguments"], str(path))
    if not exported:
        _check_file(path, skeleton)
    return header, skeleton


def _check_file(path: Path, network: AUNetwork) -> None:
    wanted = forms(network.adapter_state_dict(), stored=True)
    check_tensors(wanted, tensor_forms(path), f"{path} does not fit {type(network).__name__}")


def load_adapter(path: str | Path, network: AUNetwork) -> None:
    """Load an adapter file onto a built network; nothing is changed unless everything fits.

    The network is of the same class, action units, arguments and frozen weights, of any floating-point type and size.

    Raises:
        CheckpointError: The file is damaged or belongs to something else; says what differs.
    """
    path = Path(path)
    header = read_adapter_header(path)
    check_header(header, network, str(path))
    _check_file(path, network)
    own = network.adapter_state_dict()
    with open_adapter(path) as file:
        state = {name: file.get_tensor(name).to(own[name].dtype) for name in own}
    network.load_adapter_state_dict(state)
    adopt_header(header, network)


def load_detector(
    checkpoint: str | Path, *, device: str | torch.device = "cpu", backbone_checkpoint: str | Path | None = None
) -> AUNetwork:
    """Rebuild a trained network from a checkpoint.

    Args:
        checkpoint: An adapter file, a run checkpoint of Lightning (`.ckpt`), a folder with `adapter.safetensors`,
            `demo` (the packaged AU detector), or `hf://owner/name`.
        device: Where to put it.
        backbone_checkpoint: Local file with the frozen weights, where timm cannot fetch them.

    Returns:
        The network in eval mode, with `au_names`, `thresholds`, `crop_recipe` and `metadata`.

    Raises:
        CheckpointError: The file is missing, damaged, not ours, or its frozen weights are not to be had; the message
            says what to do.
    """
    path = resolve_checkpoint(checkpoint)
    if path.suffix.lower() == ONNX:
        raise CheckpointError(f"{path} is an ONNX model, which predicts only; here its adapter file is needed")
    if not _is_run_checkpoint(path):
        network = _build(inspect_checkpoint(path)[1], backbone_checkpoint)
        load_adapter(path, network)
        if isinstance(network, AUFormer):
            network.map_head = read_map_head(path, network)
        return network.to(device).eval()
    content, header, skeleton = _examined(path, "cpu", True)
    local = content["hyper_parameters"]["network"]["init_args"].get("checkpoint_path")
    if backbone_checkpoint is None and isinstance(local, str) and Path(local).is_file():
        backbone_checkpoint = local
    network = _build(skeleton, backbone_checkpoint)
    check_header(header, network, str(path))
    network.load_adapter_state_dict({name.removeprefix("network."): one for name, one in content["state_dict"].items()})
    adopt_header(header, network)
    return network.to(device).eval()


def _build(skeleton: AUNetwork, backbone_checkpoint: str | Path | None) -> AUNetwork:
    """The network with its frozen weights; a network that is trained as a whole needs none, its file has them all."""
    source = backbone_checkpoint if skeleton.frozen else None
    try:
        pretrained = skeleton.frozen and source is None
        return type(skeleton)(**skeleton.arguments, pretrained=pretrained, checkpoint_path=source)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. With load_detector, pass the file as `backbone_checkpoint=`") from error


def open_detector(
    checkpoint: str | Path, *, device: str | torch.device = "cpu", backbone_checkpoint: str | Path | None = None
) -> AUNetwork | OnnxDetector:
    """As `load_detector`, and ONNX files that `auformer export` wrote besides: anything that predicts.

    Raises:
        CheckpointError: As `load_detector`; or an ONNX file and a device other than the CPU.
    """
    path = resolve_checkpoint(checkpoint)
    if path.suffix.lower() != ONNX:
        return load_detector(checkpoint, device=device, backbone_checkpoint=backbone_checkpoint)
    if torch.device(device).type != "cpu":
        raise CheckpointError(
            f"{path} is an ONNX model, which is run on the CPU here, but got the device {device}; use --device cpu"
        )
    return OnnxDetector(path).eval()
