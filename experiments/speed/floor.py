"""The floor on paper: multiplications and bytes that a ViT and the experts beside it cannot do without, per image.

Letters: `T` patches, `P` prefix tokens, `S = P + T`, `D` width, `N` experts of width `R`, `M = N R`, `k` window, `L`
blocks. A multiplication with its addition counts as 2. Zeros of the padding count as work, as torch's own counter takes
them; zeros off the blocks of a block-diagonal map do not. Each stage reads its inputs once and writes its outputs once;
what is done element by element (GELU, addition, bias) rides along with its neighbour and counts as bytes alone, but for
the context operator's sums: `pointwise` operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

FLOAT = 4  # bytes of a float32


class Work(NamedTuple):
    """Amount of work: operations of products and convolutions, other operations, numbers read and written."""

    matrix: float = 0.0
    pointwise: float = 0.0
    elements: float = 0.0

    def plus(self, *others: Work) -> Work:
        """Sum of this and others."""
        return Work(*(sum(values) for values in zip(self, *others, strict=True)))

    @property
    def flops(self) -> float:
        """All operations."""
        return self.matrix + self.pointwise

    @property
    def bytes(self) -> float:
        """Bytes moved, in float32."""
        return FLOAT * self.elements


class Stage(NamedTuple):
    """One stage: work of its forward pass, of the gradients of its inputs, and of the gradients of its weights."""

    name: str
    forward: Work
    to_inputs: Work = Work()
    to_weights: Work = Work()

    @property
    def training(self) -> Work:
        """Forward and backward."""
        return self.forward.plus(self.to_inputs, self.to_weights)


def linear(
    name: str,
    matrix: float,
    inputs: float,
    outputs: float,
    weights: float,
    *,
    trained: bool = False,
    passes: bool = True,
    added: float = 0,
) -> Stage:
    """A stage that is linear in its inputs: each of the two gradients costs as many products as the forward pass.

    It reads `inputs` and `weights` (their number over the batch), adds `outputs` to `added` numbers, and `passes` a
    gradient on to its inputs; its weights have one where they are `trained`.
    """
    gradient = Work(matrix, 0.0, inputs + outputs + weights)
    return Stage(
        name, gradient.plus(Work(elements=added)), gradient if passes else Work(), gradient if trained else Work()
    )


def total(stages: Sequence[Stage], *, training: bool = False) -> Work:
    """Sum over stages, of the forward pass or of forward and backward."""
    return Work().plus(*(stage.training if training else stage.forward for stage in stages))


CHANNELS = 3  # RGB
KERNEL = 9  # places of a 3x3 kernel


class ViT(NamedTuple):
    """Sizes of a ViT: blocks `L`, width `D`, side of a patch in pixels, prefix tokens `P`, MLP width over `D`."""

    depth: int
    dim: int
    patch: int = 16
    prefix: int = 1
    ratio: int = 4


# Dosovitskiy et al., ICLR 2021, table 1 (B and L); Touvron et al., ICML 2021, table 1 (S)
VITS = {"ViT-S/16": ViT(12, 384), "ViT-B/16": ViT(12, 768), "ViT-L/16": ViT(24, 1024)}
EXPERTS = (8, 12, 17, 41)  # of DISFA, of BP4D, of the set `all`, of a coding of most of FACS
WIDTH = 8  # R


def vit_stages(vit: ViT, size: int, batch: int = 1) -> list[list[Stage]]:
    """Stages of the bare frozen ViT on images of `size` pixels: the patch embedding, then two sub-layers per block.

    The images of a batch share one reading of the weights.
    """
    patches, dim = (size // vit.patch) ** 2, vit.dim
    tokens = vit.prefix + patches
    wide, square = tokens * dim, dim * dim / batch
    norm = Stage(
        "norm", Work(elements=2 * wide), Work(elements=4 * wide)
    )  # back: gradient, input, the residual's gradient; written
    scores = 4.0 * tokens * tokens * dim  # of attention: queries by keys, weights by values
    attention = Stage(
        "attention", Work(scores, 0.0, 4 * wide), Work(2 * scores, 0.0, 8 * wide)
    )  # back: out, its gradient, q, k, v
    product = 2.0 * tokens * dim * dim
    first = [
        norm,
        linear("qkv", 3 * product, wide, 3 * wide, 3 * square),
        attention,
        linear("projection", product, wide, wide, square, added=wide),
    ]
    mlp = vit.ratio
    kept = Work(
        elements=2 * mlp * wide
    )  # the input of GELU, written in the forward pass of training and read in the backward pass
    widened = linear("mlp 1", mlp * product, wide, mlp * wide, mlp * square)
    second = [
        norm,
        widened._replace(to_inputs=widened.to_inputs.plus(kept)),
        linear("mlp 2", mlp * product, mlp * wide, wide, mlp * square, added=wide),
    ]
    pixels = CHANNELS * vit.patch**2
    embedding = linear(
        "patches", 2.0 * patches * pixels * dim, patches * pixels, wide, pixels * dim / batch, passes=False
    )
    return [[embedding], *([first, second] * vit.depth)]


def group_stages(
    vit: ViT, num_experts: int, width: int, size: int, *,
    batch: int = 1, first: bool = False, training: bool = False, dilations: int = 3, window: int = 3,
) -> list[Stage]:  # fmt: skip
    """Stages of one group of `N` experts of width `R`, with fields of several dilations and a window of side `k`.

    To the `first` of the chain nothing is carried, and its input needs no gradient. The composed maps are made in every
    step of `training`; they are kept while predicting.
    """
    patches, dim, inner = (size // vit.patch) ** 2, vit.dim, num_experts * width
    narrow, wide = patches * inner, patches * dim
    own = inner * width / batch  # weights of a 1x1 map of each expert
    across = 2.0 * narrow * width  # operations of such a map
    places = window * window
    stages = [linear("down", 2.0 * wide * inner, wide, narrow, dim * inner / batch, trained=True, passes=not first)]
    if not first:
        stages.append(linear("own", across, narrow, narrow, own, trained=True, added=narrow))
    stages.append(linear("convolution", KERNEL * across, narrow, narrow, KERNEL * own, trained=True))
    branches = 0
    if dilations:
        branches += 1
        stages.append(
            linear("fields", dilations * KERNEL * across, narrow, narrow, dilations * KERNEL * own, trained=True)
        )
    if window:
        branches += 1
        stages.append(linear("query, key, value", 3 * across, narrow, 3 * narrow, 3 * own, trained=True))
        # per neighbour: product, maximum, difference, exponential, sum, and a multiplication with its addition; back,
        # the weights at hand: weight x gradient, (value - out) x that, and two multiplications with additions and one
        # addition
        context = Work(0.0, 7.0 * places * narrow, 4 * narrow)
        stages.append(Stage("context", context, Work(0.0, 8.0 * places * narrow, (1 + 3 + 3) * narrow)))
    if branches:
        stages.append(Stage("sum and GELU", Work(elements=(branches + 2) * narrow), Work(elements=3 * narrow)))
    stages.append(linear("up", 2.0 * wide * inner, narrow, wide, dim * inner / batch, trained=True, added=wide))
    if training:
        stages.append(_composing(vit, num_experts, width, 0 if first else 1, dilations, batch))
    return stages


def _composing(vit: ViT, num_experts: int, width: int, carried: int, dilations: int, batch: int) -> Stage:
    """Products of weights with weights, once per step: `C U` of the carried output, `fuse` into the dilated kernels."""
    inner = num_experts * width
    matrix = 2.0 * inner * width * (carried * vit.dim + dilations * KERNEL * width) / batch
    elements = inner * (carried * (2 * vit.dim + width) + dilations * (2 * KERNEL + 1) * width) / batch
    work = Work(matrix, 0.0, elements)
    return Stage("composing", work, work, work)


class Floor(NamedTuple):
    """The floor of one configuration."""

    forward: Work  # of the bare ViT's forward pass, `f`
    training: Work  # of its forward and backward pass to a bias on the patch tokens before block 1, `F`
    groups: Work  # of all groups, forward
    groups_training: Work  # of all groups, forward and backward
    spared: Work  # of `F`, what AUFormer does not pay: the way back through the first attention

    def ratios(self) -> dict[str, float]:
        """AUFormer over the bare ViT, by operations and by bytes, for `f` and for `F`."""
        whole, step = self.forward.plus(self.groups), self.training.plus(self.groups_training)
        return {
            "forward, operations": whole.flops / self.forward.flops,
            "training, operations": (step.flops - self.spared.flops) / self.training.flops,
            "forward, bytes": whole.bytes / self.forward.bytes,
            "training, bytes": (step.bytes - self.spared.bytes) / self.training.bytes,
        }


def floor(vit: ViT, num_experts: int, width: int = WIDTH, size: int = 224, batch: int = 1) -> Floor:
    """The floor of a ViT with `2L` groups of `N` experts of width `R`, per image of `size` pixels."""
    parts = vit_stages(vit, size, batch)
    stages = [stage for part in parts for stage in part]
    groups, steps = [], []
    for number in range(2 * vit.depth):
        plain = {"batch": batch, "first": number == 0}
        groups += group_stages(vit, num_experts, width, size, **plain)
        steps += group_stages(vit, num_experts, width, size, training=True, **plain)
    spared = Work().plus(*(stage.to_inputs for stage in parts[1]))
    return Floor(total(stages), total(stages, training=True), total(groups), total(steps, training=True), spared)
