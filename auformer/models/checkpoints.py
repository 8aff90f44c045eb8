"""`load_detector`: any kind of checkpoint to a network in eval mode, without Lightning, nothing executed."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from auformer.errors import CheckpointError
from auformer.models.adapter_file import adopt_header, check_file, check_header, load_adapter, read_adapter_header
from auformer.models.adapter_header import WEIGHT_SOURCES, check_arguments, network_class, parse_header
from auformer.models.export import FORMATS
from auformer.models.network import AUNetwork, check_tensors
from auformer.models.onnx_detector import OnnxDetector

ADAPTER_NAME = "adapter.safetensors"
DEMO_DETECTOR = Path(__file__).parent.parent / "assets" / "demo_detector.safetensors"
_ZIP = b"PK\x03\x04"  # what torch.save writes
_INSTANTIATORS = ("pytorch_lightning.cli.instantiate_module", "lightning.pytorch.cli.instantiate_module")
# which network each module of `auformer.lit` and `auformer.training.baselines` trains, for run checkpoints without a header of their own
_MODULES = {
    "AUModule": "auformer.models.auformer.AUFormer",
    "LinearProbeModule": "auformer.models.rivals.linear_probe.LinearProbe",
    "FullFineTuningModule": "auformer.models.rivals.full_finetuning.FullFineTuning",
    "LastBlocksModule": "auformer.models.rivals.last_blocks.LastBlocks",
    "BitFitModule": "auformer.models.rivals.bitfit.BitFit",
    "LoRAModule": "auformer.models.rivals.lora.LoRA",
    "HoulsbyAdapterModule": "auformer.models.rivals.houlsby_adapter.HoulsbyAdapter",
    "AdaptFormerModule": "auformer.models.rivals.adaptformer.AdaptFormer",
    "ConvpassModule": "auformer.models.rivals.convpass.Convpass",
    "VPTDeepModule": "auformer.models.rivals.vpt_deep.VPTDeep",
    "SSFModule": "auformer.models.rivals.ssf.SSF",
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
        raise CheckpointError(f"Expected `checkpoint` to be like 'hf://owner/name' or 'hf://owner/name@revision', but got {text!r}")
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
        raise CheckpointError(f"{path} is an ONNX model, which is run on the CPU here, but got the device {device}; use --device cpu")
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
        raise CheckpointError(f"{path} is not a run checkpoint of auformer: it has no `state_dict` and `hyper_parameters`")
    header = content.get("auformer")
    header = parse_header(header, str(path)) if isinstance(header, str) else None
    kind, arguments = _what_to_build(header, settings, str(path))
    tensors = {name.removeprefix("network."): value for name, value in state.items() if str(name).startswith("network.")}
    skeleton = _skeleton(kind, arguments, str(path))
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in skeleton.adapter_state_dict().items()}
    found = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items() if isinstance(value, torch.Tensor)}
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


def _what_to_build(header: dict[str, Any] | None, settings: Mapping[str, Any], where: str) -> tuple[type[AUNetwork], dict[str, Any]]:
    """Class and arguments of the network: from the header that a run checkpoint carries, else from the module's own arguments.

    Raises:
        CheckpointError: The checkpoint names something to call that is not ours or Lightning's.
    """
    maker, module = settings.get("_instantiator"), settings.get("_class_path")
    if (maker is not None and maker not in _INSTANTIATORS) or (module is not None and not str(module).startswith("auformer.")):
        raise CheckpointError(f"{where} names {maker!r} and {module!r} to be called, which auformer does not do; the file is not safe")
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
