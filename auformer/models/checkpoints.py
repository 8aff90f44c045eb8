"""The one reader of checkpoints, whoever wrote them: nothing in a file is executed, nothing outside this package is built."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import _IncompatibleKeys

from auformer.errors import CheckpointError
from auformer.models.adapter_file import (
    WEIGHT_SOURCES,
    adopt_header,
    check_arguments,
    check_file,
    check_header,
    describe,
    load_adapter,
    network_class,
    parse_header,
    read_adapter_header,
)
from auformer.models.export import FORMATS, OnnxDetector
from auformer.models.network import AUNetwork, check_tensors

if TYPE_CHECKING:
    from auformer.training.module import AUModule

ADAPTER_NAME = "adapter.safetensors"
DEMO_DETECTOR = Path(__file__).parent.parent / "assets" / "demo_detector.safetensors"
_ZIP = b"PK\x03\x04"  # what torch.save writes
_INSTANTIATORS = ("pytorch_lightning.cli.instantiate_module", "lightning.pytorch.cli.instantiate_module")
# which network each module of `auformer.training` and `auformer.training.baselines` trains, for run checkpoints without a header of their own
_MODULES = {
    "AUModule": "auformer.models.auformer.AUFormer",
    "LinearProbeModule": "auformer.models.baselines.LinearProbe",
    "FullFineTuningModule": "auformer.models.baselines.FullFineTuning",
    "LastBlocksModule": "auformer.models.baselines.LastBlocks",
    "BitFitModule": "auformer.models.baselines.BitFit",
    "LoRAModule": "auformer.models.baselines.LoRA",
    "HoulsbyAdapterModule": "auformer.models.baselines.HoulsbyAdapter",
    "AdaptFormerModule": "auformer.models.baselines.AdaptFormer",
    "ConvpassModule": "auformer.models.baselines.Convpass",
    "VPTDeepModule": "auformer.models.baselines.VPTDeep",
    "SSFModule": "auformer.models.baselines.SSF",
}


def resolve_checkpoint(checkpoint: str | Path) -> Path:
    """The file that a CHECKPOINT means: itself, the adapter file of a folder, `demo`, or `hf://owner/name`.

    Raises:
        CheckpointError: There is no such file.
    """
    text = str(checkpoint)
    if text == "demo":
        path = DEMO_DETECTOR
    elif text.startswith("hf://"):
        path = _from_hub(text)
    else:
        path = Path(checkpoint)
        if path.is_dir():
            path = path / ADAPTER_NAME
    if not path.is_file():
        raise CheckpointError(
            f"Expected `checkpoint` to be an adapter file, a .ckpt, a folder with {ADAPTER_NAME}, 'demo' or 'hf://owner/name', "
            f"but {path} does not exist"
        )
    return path


def _from_hub(text: str) -> Path:
    """Fetch a model folder's two files, and nothing else, from the Hugging Face hub, or take them from the cache.

    `hf://owner/name@revision` pins a branch, tag or commit. The folder of the file that is returned is named after the commit.
    """
    match = re.fullmatch(r"hf://([\w.\-]+/[\w.\-]+?)(?:@([\w.\-/]+))?/?", text)
    if match is None:
        raise CheckpointError(
            f"Expected `checkpoint` to be like 'hf://owner/name' or 'hf://owner/name@revision', but got {text!r}"
        )
    from huggingface_hub import hf_hub_download

    name, revision = match.groups()
    try:
        path = Path(hf_hub_download(repo_id=name, filename=ADAPTER_NAME, revision=revision))
    except Exception as error:
        raise CheckpointError(f"Cannot fetch {ADAPTER_NAME} from {text}: {error}") from error
    with contextlib.suppress(Exception):  # the card is for people; a model without one works as well
        hf_hub_download(repo_id=name, filename="README.md", revision=revision)
    return path


def load_detector(
    checkpoint: str | Path, *, device: str | torch.device = "cpu", backbone_checkpoint: str | Path | None = None
) -> AUNetwork:
    """Rebuild a trained network from a checkpoint.

    Args:
        checkpoint: An adapter file, a run checkpoint of Lightning (`.ckpt`), a folder with `adapter.safetensors`, `demo` (the packaged
            detector), or `hf://owner/name`.
        device: Where to put it.
        backbone_checkpoint: Local file with the frozen weights, where timm cannot fetch them.

    Returns:
        The network in eval mode, with `au_names`, `thresholds`, `crop_recipe` and `metadata`.

    Raises:
        CheckpointError: The file is missing, damaged, not ours, or its frozen weights are not to be had; the message says what to do.
    """
    path = resolve_checkpoint(checkpoint)
    if path.suffix.lower() == FORMATS["onnx"]:
        raise CheckpointError(f"{path} is an ONNX model, which predicts only; here its adapter file is needed")
    with path.open("rb") as file:
        is_run_checkpoint = file.read(4) == _ZIP
    network = (_from_run_checkpoint if is_run_checkpoint else _from_adapter_file)(path, backbone_checkpoint)
    return network.to(device).eval()


def open_detector(
    checkpoint: str | Path, *, device: str | torch.device = "cpu", backbone_checkpoint: str | Path | None = None
) -> AUNetwork | OnnxDetector:
    """As `load_detector`, and ONNX files that `auformer export` wrote besides: anything that predicts.

    Raises:
        CheckpointError: As `load_detector`; or an ONNX file and a device other than the CPU.
        MissingExtraError: An ONNX file, and onnxruntime is not installed.
    """
    path = resolve_checkpoint(checkpoint)
    if path.suffix.lower() != FORMATS["onnx"]:
        return load_detector(checkpoint, device=device, backbone_checkpoint=backbone_checkpoint)
    if torch.device(device).type != "cpu":
        raise CheckpointError(
            f"{path} is an ONNX model, which is run on the CPU here, but got the device {device}; use --device cpu"
        )
    return OnnxDetector(path).eval()


def _from_adapter_file(path: Path, backbone_checkpoint: str | Path | None) -> AUNetwork:
    header = read_adapter_header(path)
    kind = network_class(header["network"], str(path))
    check_file(path, _skeleton(kind, header["arguments"], str(path)))
    network = _build(kind, header["arguments"], backbone_checkpoint)
    load_adapter(path, network)
    return network


def _skeleton(kind: type[AUNetwork], arguments: Mapping[str, Any], where: str) -> AUNetwork:
    """The network without memory, to compare shapes with a file before anything is allocated."""
    check_arguments(kind, arguments, where)
    try:
        with torch.device("meta"):
            return kind(**arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{where} describes a network that cannot be built: {error}") from error


def _build(kind: type[AUNetwork], arguments: Mapping[str, Any], backbone_checkpoint: str | Path | None) -> AUNetwork:
    """The network with its frozen weights; a network that is trained as a whole needs none, its file has them all."""
    pretrained = kind.frozen and backbone_checkpoint is None
    try:
        return kind(**arguments, pretrained=pretrained, checkpoint_path=backbone_checkpoint if kind.frozen else None)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. With load_detector, pass the file as `backbone_checkpoint=`") from error


def _from_run_checkpoint(path: Path, backbone_checkpoint: str | Path | None) -> AUNetwork:
    """A checkpoint of Lightning: memory-mapped and `weights_only`, so it allocates and executes nothing by itself."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a run checkpoint: {error}") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    settings = content.get("hyper_parameters") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not isinstance(settings, dict):
        raise CheckpointError(
            f"{path} is not a run checkpoint of auformer: it has no `state_dict` and `hyper_parameters`"
        )
    header = content.get("auformer")
    header = parse_header(header, str(path)) if isinstance(header, str) else None
    kind, arguments = _what_to_build(header, settings, str(path))
    tensors = {
        name.removeprefix("network."): value for name, value in state.items() if str(name).startswith("network.")
    }
    skeleton = _skeleton(kind, arguments, str(path))
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in skeleton.adapter_state_dict().items()}
    found = {
        name: (tuple(value.shape), value.dtype) for name, value in tensors.items() if isinstance(value, torch.Tensor)
    }
    check_tensors(wanted, found, f"{path} does not fit {kind.__name__}")
    local = settings.get("checkpoint_path")
    if backbone_checkpoint is None and isinstance(local, str) and Path(local).is_file():
        backbone_checkpoint = local
    network = _build(kind, arguments, backbone_checkpoint)
    if header is not None:
        check_header(header, network, str(path))
        adopt_header(header, network)
    network.load_adapter_state_dict(tensors)
    return network


def _what_to_build(
    header: dict[str, Any] | None, settings: Mapping[str, Any], where: str
) -> tuple[type[AUNetwork], dict[str, Any]]:
    """Class and arguments of the network: from the header that a run checkpoint carries, else from the module's own arguments.

    Raises:
        CheckpointError: The checkpoint names something to call that is not ours or Lightning's.
    """
    maker, module = settings.get("_instantiator"), settings.get("_class_path")
    if (maker is not None and maker not in _INSTANTIATORS) or (
        module is not None and not str(module).startswith("auformer.")
    ):
        raise CheckpointError(
            f"{where} names {maker!r} and {module!r} to be called, which auformer does not do; the file is not safe"
        )
    if header is not None:
        return network_class(header["network"], where), header["arguments"]
    name = str(module).rpartition(".")[2] if module is not None else "AUModule"
    if name not in _MODULES:
        raise CheckpointError(f"{where} was made by {module}, whose network is not known")
    kind = network_class(_MODULES[name], where)
    known = set(inspect.signature(kind).parameters) - set(WEIGHT_SOURCES)
    arguments = {key: value for key, value in settings.items() if key in known}
    if "expert_heads" in known and settings.get("expert_loss_weight") == 0:
        arguments["expert_heads"] = False
    return kind, arguments


HEADER = "auformer"  # key of the same header that an adapter file has, as one JSON string
CLASS_PATH, INSTANTIATOR = (
    "_class_path",
    "_instantiator",
)  # Lightning's names for how to rebuild a class; ours never hold the second


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
        raise CheckpointError(
            f"Cannot read {path}: it is damaged, or holds more than tensors and plain values ({first})"
        ) from error
    if not isinstance(checkpoint, dict) or not all(
        isinstance(checkpoint.get(key), dict) for key in ("state_dict", "hyper_parameters")
    ):
        raise CheckpointError(
            f"Expected {path} to be a run checkpoint with `state_dict` and `hyper_parameters`, but got something else"
        )
    plain = checkpoint["hyper_parameters"]
    maker, class_path = plain.pop(INSTANTIATOR, None), plain.get(CLASS_PATH)
    if maker not in (None, "pytorch_lightning.cli.instantiate_module"):
        raise CheckpointError(f"{path} names {maker!r} to be called, which auformer does not do; the file is not safe")
    if class_path is not None and not str(class_path).startswith("auformer."):
        raise CheckpointError(
            f"{path} names the class {class_path!r}, and only classes of auformer are built; the file is not safe"
        )
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
    found = {
        name: (tuple(value.shape), value.dtype) for name, value in state.items() if isinstance(value, torch.Tensor)
    }
    check_tensors(
        wanted,
        found,
        f"The checkpoint does not fit {type(module).__name__} with {len(module.network.au_names)} action units",
    )
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
            raise CheckpointError(
                f"{where} contradicts itself: its header says {name}={value!r}, its hyper-parameters {plain[name]!r}"
            )
    kind = network_class(header["network"], where)
    check_arguments(kind, header["arguments"], where)
    try:
        with torch.device("meta"):
            skeleton = kind(**header["arguments"])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{where} describes a network that cannot be built: {error}") from error
    wanted = {
        f"network.{name}": (tuple(tensor.shape), tensor.dtype) for name, tensor in skeleton.adapter_state_dict().items()
    }
    tensors = checkpoint["state_dict"]
    found = {
        name: (tuple(value.shape), value.dtype) for name, value in tensors.items() if isinstance(value, torch.Tensor)
    }
    check_tensors(wanted, found, f"{where} does not fit {kind.__name__}")


def _class_of(class_path: Any, cls: type[AUModule], path: str | Path) -> type[AUModule]:
    """The class to build: the one that the file names, if it is `cls` or below it."""
    if class_path is None:
        return cls
    module_name, _, name = str(class_path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"Expected {path} to name a class of this version of auformer, but got {class_path!r}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, cls)):
        raise CheckpointError(f"Expected {path} to hold a {cls.__name__}, but got {class_path!r}")
    return found
