"""The frozen ViT: how timm is asked for it, what we require of it, and the fingerprint of its weights (method.md 2 [P][F])."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from timm.models import load_state_dict as read_state_dict
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from auformer.errors import CheckpointError
from auformer.models import demo_vit as demo_vit  # registers `vit_auformer_demo_112` with timm

MAX_IMAGE_SIDE = 4096  # pixels; a size read from a stranger's file must not allocate gigabytes of position embedding [ours]


class SubLayer(NamedTuple):
    """One residual sub-layer of a block: `x + tail(f(norm(x)))`.

    Args:
        norm: The norm before the sub-layer.
        body: Attention or MLP.
        tail: What follows it inside the residual branch (layer scale, stochastic depth), in order.
    """

    norm: nn.Module
    body: nn.Module
    tail: tuple[nn.Module, ...]


def sub_layers(block: nn.Module) -> tuple[SubLayer, SubLayer]:
    """The two (norm, sub-layer) pairs of a block, attention first. A later family of ViTs is one more case here.

    Raises:
        ValueError: `block` is not exactly timm's `vision_transformer.Block`.
    """
    if type(block) is Block:
        return (
            SubLayer(block.norm1, block.attn, (block.ls1, block.drop_path1)),
            SubLayer(block.norm2, block.mlp, (block.ls2, block.drop_path2)),
        )
    raise ValueError(f"Expected `block` to be a timm.models.vision_transformer.Block, but got {type(block).__name__}")


def check_backbone(model: nn.Module, name: str) -> None:
    """Refuse what cannot carry experts, by the exact classes of timm (method.md 2).

    Args:
        model: A model built by timm.
        name: Its name, for the message.

    Raises:
        ValueError: The model is no plain `VisionTransformer` of plain `Block`s, or has no final norm; says which.
    """
    blocks = getattr(model, "blocks", None)
    first = next(iter(blocks), None) if isinstance(blocks, nn.Sequential) else None
    block = type(first).__name__ if first is not None else "no `blocks`"
    wanted = "Expected `backbone` to be a timm VisionTransformer made of plain pre-norm `Block`s"
    if type(model) is not VisionTransformer:
        raise ValueError(f"{wanted}, but got {name}: a {type(model).__name__} (block class: {block})")
    odd = sorted({type(each).__name__ for each in model.blocks if type(each) is not Block})
    if odd or not len(model.blocks):
        raise ValueError(f"{wanted}, but got {name}: its block class is {', '.join(odd) or block}")
    if isinstance(model.norm, nn.Identity) and isinstance(model.fc_norm, nn.Identity):
        raise ValueError(f"{wanted}, but got {name}: it has no final norm, neither `norm` nor `fc_norm` (block class: {block})")


@lru_cache(maxsize=64)
def _native_pos_embed(name: str) -> tuple[int, ...]:
    """Build `name` without memory, check that it can carry experts, and return the shape of its own position embedding.

    Raises:
        ValueError: timm does not know the name, or the model cannot carry experts.
    """
    if not re.fullmatch(r"[\w.\-]+", name):
        raise ValueError(f"Expected `backbone` to be the name of a timm model, but got {name!r}")
    try:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=0)
    except RuntimeError as error:
        close = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        hint = f"; names like it: {close}" if close else ""
        raise ValueError(f"Expected `backbone` to be the name of a timm model, but got {name!r} ({error}{hint})") from error
    check_backbone(model, name)
    return tuple(model.pos_embed.shape) if model.pos_embed is not None else ()


def parse_image_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """An int or a pair to `(H, W)` in pixels; None stays None.

    Raises:
        ValueError: Not one or two whole numbers between 1 and 4096.

    >>> parse_image_size(224), parse_image_size([96, 64])
    ((224, 224), (96, 64))
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, (list, tuple)) else ()
    if len(pair) != 2 or not all(type(side) is int and 0 < side <= MAX_IMAGE_SIDE for side in pair):
        raise ValueError(
            f"Expected `img_size` to be a whole number of pixels or a pair (H, W), each up to {MAX_IMAGE_SIDE}, but got {size!r}"
        )
    return pair[0], pair[1]


def _local_weights(path: Path) -> dict[str, object]:
    """What timm needs to load a local file into a model without a classifier, whatever the file's image size.

    The tensors are handed to timm without the classifier and as if they were all of the model, so timm resamples patch and position
    embedding and is strict about every other key; its own `file=` route tolerates missing keys as soon as the classifier is dropped.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected `checkpoint_path` to be a .safetensors, .pth or .npz file, but got {path}, which does not exist")
    if path.suffix == ".npz":
        return {"file": str(path), "custom_load": True}
    try:
        tensors = read_state_dict(str(path))
    except Exception as error:
        raise CheckpointError(f"Cannot read the backbone weights {path}: {error}") from error
    kept = {name: value for name, value in tensors.items() if not name.startswith(("head.", "head_dist."))}
    return {"state_dict": kept, "classifier": None, "custom_load": False}


def create_backbone(
    name: str, *, pretrained: bool = False, checkpoint_path: str | Path | None = None, img_size: int | Sequence[int] | None = None
) -> VisionTransformer:
    """Build a ViT that can carry experts: without classifier and pooling head, frozen, in eval mode.

    Args:
        name: Name of a timm model, with or without a weight tag, for example `vit_base_patch16_224.augreg_in21k`.
        pretrained: Load the weights of the tag through timm (a download, its cache, or the package for the demo backbone).
        checkpoint_path: A local `.safetensors`, `.pth` or `.npz` file instead, with or without classifier, of any image size.
        img_size: Image size in pixels, an int or `(H, W)`; the model's own by default.

    Returns:
        The model, every parameter with `requires_grad=False`.

    Raises:
        ValueError: The name is unknown, the model cannot carry experts, or the image size does not fit it.
        CheckpointError: The weights cannot be had; the message says both ways out.
    """
    native = _native_pos_embed(name)
    overlay = _local_weights(Path(checkpoint_path)) if checkpoint_path is not None else None
    size = parse_image_size(img_size)
    arguments = {} if size is None else {"img_size": size[0] if size[0] == size[1] else size}
    try:
        model = timm.create_model(
            name, num_classes=0, pretrained=pretrained or overlay is not None, pretrained_cfg_overlay=overlay, **arguments
        )
    except Exception as error:
        if overlay is not None:
            raise CheckpointError(f"Cannot load the backbone weights {checkpoint_path} into {name}: {error}") from error
        if pretrained:
            raise CheckpointError(
                f"Cannot fetch the pretrained weights of {name} ({type(error).__name__}: {error}). Two ways out: run once with network access, so "
                f"that they lie in timm's cache, or download the file elsewhere and pass it as `checkpoint_path=` (.safetensors, .pth or .npz)"
            ) from error
        raise ValueError(f"Expected `img_size` to be a size that {name} can be built for, but got {img_size!r} ({error})") from error
    check_backbone(model, name)
    if model.attn_pool is not None:
        model.reset_classifier(0, "")  # a `map` pooling head is neither used nor counted
    model.pretrained_cfg = {key: value for key, value in model.pretrained_cfg.items() if key != "state_dict"}
    model.default_cfg = model.pretrained_cfg
    model.native_pos_embed = native
    _check_grid(model, name)
    return model.requires_grad_(False).eval()


def _check_grid(model: VisionTransformer, name: str) -> None:
    """The token grid must be fixed and cover the image."""
    (height, width), (rows, columns) = model.patch_embed.img_size, model.patch_embed.grid_size
    if not rows or not columns or height % rows or width % columns:
        raise ValueError(
            f"Expected `img_size` to be a multiple of the patch size of {name}, but got {height}x{width} for a {rows}x{columns} grid"
        )


def _frozen_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Floating-point tensors of the state in name order, without position embeddings."""
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point() and not name.endswith("pos_embed"):
            yield name, tensor


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over name, shape and float32 bytes of the frozen tensors in name order, without position embeddings.

    Position embeddings are left out because they are resampled to the image size. A model on the meta device has the fingerprint "".
    """
    digest = hashlib.sha256()
    for name, tensor in _frozen_tensors(model):
        if tensor.is_meta:
            return ""
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()
