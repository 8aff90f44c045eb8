"""The frozen ViT: how timm is asked for it, what we require of it, and the fingerprint of its weights (method.md 2).

ViT: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arxiv.org/abs/2010.11929).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import load_state_dict
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

import auformer.models.demo_vit  # noqa: F401 (registers the demo backbone with timm)
from auformer.errors import CheckpointError

MAX_IMAGE_SIDE = 4096  # pixels; a stranger's file must not ask for gigabytes of position embedding [ours]
BLOCKS: dict[type, type] = {VisionTransformer: Block, Eva: EvaBlock}  # the ViTs that can carry experts


class SubLayer(NamedTuple):
    """One residual sub-layer of a block: `x + tail(f(norm(x)))`.

    Args:
        norm: The norm before the sub-layer.
        body: Attention or MLP.
        tail: What follows it inside the residual branch (layer scale, stochastic depth), in order.
        rotary: Whether the body takes a rotary embedding.
    """

    norm: nn.Module
    body: nn.Module
    tail: tuple[Callable[[Tensor], Tensor], ...]
    rotary: bool = False

    def branch(self, y: Tensor, rope: Tensor | None) -> Tensor:
        """Normed tokens `(B, P+T, D)` to what the sub-layer adds to the residual stream, of the same shape."""
        out = self.body(y, rope=rope) if self.rotary else self.body(y)
        for each in self.tail:
            out = each(out)
        return out


def sub_layers(block: Any) -> tuple[SubLayer, SubLayer]:
    """The two (norm, sub-layer) pairs of a block, attention first. A later family of ViTs is one more case here.

    Raises:
        ValueError: `block` is not exactly timm's `vision_transformer.Block` or `eva.EvaBlock`.
    """
    if type(block) is Block:
        return (
            SubLayer(block.norm1, block.attn, (block.ls1, block.drop_path1)),
            SubLayer(block.norm2, block.mlp, (block.ls2, block.drop_path2)),
        )
    if type(block) is EvaBlock:
        scales = [() if gamma is None else (partial(torch.mul, gamma),) for gamma in (block.gamma_1, block.gamma_2)]
        return (
            SubLayer(block.norm1, block.attn, (*scales[0], block.drop_path1), rotary=True),
            SubLayer(block.norm2, block.mlp, (*scales[1], block.drop_path2)),
        )
    raise ValueError(
        f"Expected `block` to be timm's vision_transformer.Block or eva.EvaBlock, but got {type(block).__name__}"
    )


def embed_images(model: Any, images: Tensor) -> Tensor:
    """Normalised images `(B, 3, H, W)` to the tokens before block 1 `(B, P+T, D)`."""
    x = model._pos_embed(model.patch_embed(images))
    return model.norm_pre(x[0] if type(model) is Eva else model.patch_drop(x))


def rotary(model: Any) -> list[Tensor | None]:
    """The rotary embedding that each block's attention takes, as EVA's does; None where a ViT has none."""
    rope = getattr(model, "rope", None)
    if rope is None:
        return [None] * len(model.blocks)
    own_grid = hasattr(rope, "feat_shape") and not model.dynamic_img_size
    embedding = rope.get_embed() if own_grid else rope.get_embed(shape=model.patch_embed.grid_size)
    return list(embedding) if model.rope_mixed else [embedding] * len(model.blocks)


def check_backbone(model: Any, name: str) -> None:
    """Refuse a timm model that cannot carry experts, by its exact classes (method.md 2).

    Raises:
        ValueError: The model is no plain `VisionTransformer` or `Eva` of plain blocks, or has no final norm; says
            which.
    """
    block = next((type(each).__name__ for each in model.modules() if "Block" in type(each).__name__), "none")
    wanted = "Expected `backbone` to be a timm VisionTransformer or Eva made of plain pre-norm blocks"
    if type(model) not in BLOCKS:
        raise ValueError(f"{wanted}, but got {name}: a {type(model).__name__} (block class: {block})")
    odd = sorted({type(each).__name__ for each in model.blocks if type(each) is not BLOCKS[type(model)]})
    if odd or not len(model.blocks):
        raise ValueError(f"{wanted}, but got {name}: its block class is {', '.join(odd) or block}")
    if isinstance(model.norm, nn.Identity) and isinstance(model.fc_norm, nn.Identity):
        raise ValueError(
            f"{wanted}, but got {name}: it has no final norm, neither `norm` nor `fc_norm` (block class: {block})"
        )


@lru_cache(maxsize=64)
def _skeleton(name: str, size: tuple[int, int] | None) -> Any:
    """A model without memory, to know before any weight is fetched whether it can carry experts at this size.

    Raises:
        ValueError: timm does not know the name, the model cannot carry experts, or it cannot be built for the size.
    """
    # names of other sources, `hf-hub:...` and `local-dir:...`, would read a stranger's configuration
    if not re.fullmatch(r"[\w.\-]+", name):
        raise ValueError(f"Expected `backbone` to be the name of a timm model, but got {name!r}")
    try:
        with torch.device("meta"):
            model: Any = timm.create_model(name, num_classes=0, **_size_argument(size))
    except Exception as error:
        if size is not None:
            raise ValueError(
                f"Expected `img_size` to be a size that {name} can be built for, but got {size} ({error})"
            ) from error
        close = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        hint = f"; names like it: {close}" if close else ""
        raise ValueError(
            f"Expected `backbone` to be the name of a timm model, but got {name!r} ({error}{hint})"
        ) from error
    check_backbone(model, name)
    stem = model.patch_embed
    (height, width), (rows, columns), (down, across) = stem.img_size, stem.grid_size, stem.feat_ratio(as_scalar=False)
    if not rows or not columns or (height, width) != (rows * down, columns * across):
        raise ValueError(
            f"Expected `img_size` to be a multiple of the patch size {down}x{across} of {name}, "
            f"but got {height}x{width}"
        )
    return model


def _size_argument(size: tuple[int, int] | None) -> dict[str, Any]:
    """Image size as timm takes it: an int where it is square, since not every patch embedding takes a pair."""
    return {} if size is None else {"img_size": size[0] if size[0] == size[1] else size}


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
            f"Expected `img_size` in pixels to be a number or a pair (H, W), up to {MAX_IMAGE_SIDE}, but got {size!r}"
        )
    return pair[0], pair[1]


def create_backbone(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint_path: str | Path | None = None,
    img_size: int | Sequence[int] | None = None,
) -> VisionTransformer | Eva:
    """Build a ViT that can carry experts: without classifier and pooling head, frozen, in eval mode.

    Args:
        name: Name of a timm model, with or without a weight tag, for example `vit_base_patch16_224.augreg_in21k`.
        pretrained: Load the weights of the tag through timm (a download, its cache, or the package for the demo
            backbone).
        checkpoint_path: A local `.safetensors`, `.pth` or `.npz` file instead, with or without classifier, of any image
            size.
        img_size: Image size in pixels, an int or `(H, W)`; the model's own by default.

    Returns:
        The model, every parameter with `requires_grad=False`.

    Raises:
        ValueError: The name is unknown, the model cannot carry experts, or the image size does not fit it.
        CheckpointError: The weights cannot be had; the message says both ways out.
    """
    size = parse_image_size(img_size)
    native = _skeleton(name, None).pos_embed
    _skeleton(name, size)
    overlay = weight_overlay(Path(checkpoint_path)) if checkpoint_path is not None else None
    try:
        model: Any = timm.create_model(
            name,
            num_classes=0,
            pretrained=pretrained or overlay is not None,
            pretrained_cfg_overlay=overlay,
            **_size_argument(size),
        )
    except Exception as error:
        if overlay is not None:
            raise CheckpointError(f"Cannot load the backbone weights {checkpoint_path} into {name}: {error}") from error
        if not pretrained:
            raise
        raise CheckpointError(
            f"Cannot fetch the pretrained weights of {name} ({type(error).__name__}: {error}). Two ways out: run once "
            f"with network access, so that they lie in timm's cache, or pass a local file as `checkpoint_path=` "
            f"(.safetensors, .pth or .npz)"
        ) from error
    if model.attn_pool is not None:
        model.reset_classifier(0, "")  # a `map` pooling head is neither used nor counted
    kept = {
        key: value for key, value in model.pretrained_cfg.items() if key != "state_dict"
    }  # else the file stays alive
    model.pretrained_cfg = kept
    model.default_cfg = model.pretrained_cfg
    model.native_pos_embed = tuple(native.shape) if native is not None else ()
    return model.requires_grad_(False).eval()


@contextmanager
def attention_for_training(model: Any) -> Iterator[None]:
    """Inside, attention is written out where that trains faster: with gradients, on the CPU under autocast.

    The backward pass of torch's fused attention on the CPU is slow in bfloat16 (measured: forward and backward of the
    demo ViT take 1.5 times as long, of ViT-B 1.15; no difference in float32, nor without gradients). Results differ by
    rounding only.
    """
    device = next(model.parameters()).device.type
    blocks: list[Any] = []
    if (
        device == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    ):
        blocks = [block for block in model.blocks if getattr(block.attn, "fused_attn", False)]
    try:
        for block in blocks:
            block.attn.fused_attn = False
        yield
    finally:
        for block in blocks:
            block.attn.fused_attn = True


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over name, shape and float32 bytes of the frozen tensors in name order, without position embeddings.

    Position embeddings are left out because they are resampled to the image size. A model on the meta device has the
    fingerprint "".
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not tensor.is_floating_point() or name.endswith("pos_embed"):
            continue
        if tensor.is_meta:
            return ""
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


_CLASSIFIERS = ("head.", "head_dist.")  # names that timm's plain ViTs give to what comes after pooling


def weight_overlay(path: Path) -> dict[str, Any]:
    """What of timm's `pretrained_cfg` loads a local file into a model without a classifier, of any image size.

    timm resamples patch and position embedding. The classifier is taken out here, because with its own `file=` route
    timm stops being strict about every other key as soon as it has to drop a classifier itself. Pickles are read with
    `weights_only`.

    Args:
        path: `.safetensors`, `.pth` (or any file of `torch.save`), or `.npz` as Google publishes them.

    Raises:
        CheckpointError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise CheckpointError(
            f"Expected `checkpoint_path` to be a .safetensors, .pth or .npz file, but {path} does not exist"
        )
    if path.suffix == ".npz":
        return {"file": str(path), "custom_load": True}
    try:
        tensors = load_state_dict(str(path))
    except Exception as error:
        raise CheckpointError(f"Cannot read the backbone weights {path}: {error}") from error
    kept = {name: value for name, value in tensors.items() if not name.startswith(_CLASSIFIERS)}
    return {"state_dict": kept, "classifier": None, "custom_load": False}
