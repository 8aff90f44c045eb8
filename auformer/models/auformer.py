"""AUFormer: a frozen ViT with a group of experts, one per action unit, beside every sub-layer (method.md 3 [F]).

Yuan et al., "AUFormer: Vision Transformers are Parameter-Efficient Facial Action Unit Detectors", ECCV 2024,
arxiv.org/abs/2403.04697.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from auformer.errors import CheckpointError
from auformer.models.backbone import SubLayer, attention_for_training, rotary, sub_layers
from auformer.models.experts import MAX_DILATION, MAX_WIDTH, Carried, ExpertGroup
from auformer.models.heads import ExpertHeads, MLPHead
from auformer.models.map_head import MapHead
from auformer.models.network import AUNetwork

# has attention, has the MLP a group of experts?
BESIDE = {"both": (True, True), "attention": (True, False), "mlp": (False, True)}
BLOCKS = ("all", "first_half", "last_half")
RECOMPUTE = ("nothing", "experts", "blocks")


def places(num_blocks: int, experts_beside: str, blocks: str) -> list[bool]:
    """Which of the `2L` sub-layers have a group of experts, in order.

    >>> places(3, "mlp", "first_half")
    [False, True, False, True, False, False]
    """
    half = (num_blocks + 1) // 2
    chosen = {"all": range(num_blocks), "first_half": range(half), "last_half": range(half, num_blocks)}[blocks]
    return [beside and block in chosen for block in range(num_blocks) for beside in BESIDE[experts_beside]]


def _check_options(
    expert_width: int, dilations: tuple[int, ...], window: int, experts_beside: str, blocks: str, recompute: str
) -> None:
    """Refuse what is out of its range, before anything is built."""
    if type(expert_width) is not int or not 1 <= expert_width <= MAX_WIDTH:
        raise ValueError(
            f"Expected `expert_width` to be a whole number from 1 to {MAX_WIDTH}, but got {expert_width!r}"
        )
    known = all(type(each) is int and 1 <= each <= MAX_DILATION for each in dilations)
    if not known or len(set(dilations)) != len(dilations):
        raise ValueError(
            f"Expected `dilations` to be different whole numbers from 1 to {MAX_DILATION}, but got {dilations!r}"
        )
    if type(window) is not int or window not in (0, *range(1, 2 * MAX_DILATION, 2)):
        raise ValueError(f"Expected `window` to be 0 or an odd number below {2 * MAX_DILATION}, but got {window!r}")
    words = ("experts_beside", experts_beside, BESIDE), ("blocks", blocks, BLOCKS), ("recompute", recompute, RECOMPUTE)
    for name, value, choices in words:
        if value not in choices:
            raise ValueError(f"Expected `{name}` to be one of {', '.join(choices)}, but got {value!r}")


Steps = list[tuple[SubLayer, Any, "ExpertGroup | None"]]  # of a block: sub-layer, rotary embedding, group beside it


class AUFormer(AUNetwork):
    """Frozen ViT, `2L` expert groups, a main head and one head per expert.

    Groups are numbered `g = 2 * block + (0 beside attention, 1 beside MLP)`; with `experts_beside` and `blocks`, which
    leave some out, in that order. A fresh model equals the plain ViT.

    Args:
        backbone: Name of a timm ViT, see `create_backbone`.
        au_names: Action units, or the name of a set; one expert each per group.
        pretrained: Load the backbone's weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, an int or `(H, W)`; the backbone's own by default.
        expert_width: Bottleneck channels `R` of one expert.
        dilations: Dilations of the multi-receptive-field branch; `()` leaves it out.
        window: Odd side of the context operator's neighbourhood; 0 leaves it out.
        pool: `avg` (mean of the patch tokens [ours]) or `token` (the class token).
        intensity: Predict intensities of 0 to 5 too [ours]: `none`, `regression` or `ordinal`.
        expert_heads: Build the expert heads (a training signal).
        average_heads: Predict the mean of both heads' probabilities, where there are expert heads, instead of the main
            head's [ours: it ranks better wherever we compared them, experiments/results/ablations.md].
        experts_beside: `both` sub-layers of a block [F], or only its `attention` or its `mlp` (an ablation).
        carry: Each expert sees its own output in the previous group [F]; without, normed tokens only (an ablation).
        shared_expert: One expert per group for all action units instead of one each (an ablation); the expert heads
            stay one each.
        blocks: Which blocks have experts: `all` [F], or the `first_half` (rounded up) or `last_half` (rounded down) of
            them (an ablation).
        recompute: What is computed again for the backward pass instead of being kept: `nothing`, the narrow inside of
            the `experts`, or whole `blocks` [ours]. Results are the same.

    Attributes:
        map_head: What `change_maps` are made by; None for a network that has none fitted, as most.

    Raises:
        ValueError: An argument is out of its range, or the backbone cannot carry experts.
    """

    map_head: MapHead | None = None

    def __init__(
        self,
        backbone: str,
        au_names: str | Sequence[str],
        *,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        img_size: int | Sequence[int] | None = None,
        expert_width: int = 8,
        dilations: Sequence[int] = (1, 3, 5),
        window: int = 3,
        pool: str = "avg",
        intensity: str = "none",
        expert_heads: bool = True,
        average_heads: bool = True,
        experts_beside: str = "both",
        carry: bool = True,
        shared_expert: bool = False,
        blocks: str = "all",
        recompute: str = "nothing",
    ) -> None:
        dilations = tuple(dilations)
        _check_options(expert_width, dilations, window, experts_beside, blocks, recompute)
        super().__init__(
            backbone, au_names, pretrained=pretrained, checkpoint_path=checkpoint_path, img_size=img_size, pool=pool,
            intensity=intensity,
        )  # fmt: skip
        num_aus, dim = len(self.au_names), self.embed_dim
        self._places = places(len(self.backbone.blocks), experts_beside, blocks)
        if not any(self._places):
            raise ValueError(
                f"Expected `blocks` to be 'all' or 'first_half' for {backbone}, which has one block, but got {blocks!r}"
            )
        num_experts = 1 if shared_expert else num_aus
        new_group = partial(ExpertGroup, num_experts, dim, expert_width, dilations=dilations, window=window)
        self.groups = nn.ModuleList([new_group() for _ in range(sum(self._places))])
        self.head = MLPHead(dim, num_aus)
        self.expert_heads = ExpertHeads(num_aus, dim) if expert_heads else None
        self.average_heads = average_heads and expert_heads
        self.arguments |= {
            "expert_width": expert_width, "dilations": list(dilations), "window": window,
            "expert_heads": expert_heads, "average_heads": self.average_heads, "experts_beside": experts_beside,
            "carry": carry, "shared_expert": shared_expert, "blocks": blocks,
        }  # fmt: skip
        self.carry, self.shared_expert, self.recompute = carry, shared_expert, recompute
        self._experts_enabled = True
        self.add_intensity_head(expert_width=expert_width)
        self.train()

    def tokens(self, images: Tensor, visit: Callable[[Carried], None] | None = None) -> tuple[Tensor, Carried | None]:
        """The block loop of method.md 3.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].
            visit: Called with what each group hands on, in the order of the groups.

        Returns:
            Tokens before the final norm `(B, P+T, D)`, and what the last group handed on (None with experts disabled).
        """
        x, carried = self.embed(images), None
        again = self.recompute == "blocks" and torch.is_grad_enabled() and self._experts_enabled
        for steps in self._blocks():
            run = partial(self._block, steps, visit=visit)
            x, carried = checkpoint(run, x, carried, use_reentrant=False) if again else run(x, carried)
        return x, carried

    def _blocks(self) -> Iterator[Steps]:
        """The sub-layers of each block and what stands beside them."""
        groups: Iterator[Any] = iter(self.groups)
        has_group = iter(self._places)
        for block, rope in zip(self.backbone.blocks, rotary(self.backbone), strict=True):
            yield [(layer, rope, next(groups) if next(has_group) else None) for layer in sub_layers(block)]

    def _block(
        self, steps: Steps, x: Tensor, carried: Carried | None, visit: Callable[[Carried], None] | None
    ) -> tuple[Tensor, Carried | None]:
        with attention_for_training(self.backbone) if self._experts_enabled else nullcontext():
            for layer, rope, group in steps:
                y = layer.norm(x)
                x = x + layer.branch(y, rope)
                if self._experts_enabled and group is not None:
                    handed = carried if self.carry else None
                    x, carried = group(x, y, handed, self.grid_size, recompute=self.recompute == "experts")
                    if visit is not None:
                        visit(carried)
        return x, carried

    def streams(self, images: Tensor) -> tuple[Tensor, Carried | None]:
        """Images `(B, 3, H, W)` float in [0, 1] to pooled features `(B, D)` and what the last group handed on."""
        x, carried = self.tokens(images)
        return self.pool_tokens(x), carried

    def expert_logits(self, carried: Carried | None) -> Tensor | None:
        """Logits of the expert heads `(B, N)`; None without expert heads and while experts are disabled."""
        if self.expert_heads is None or carried is None:
            return None
        return self.expert_heads(carried.means, *carried.group.up.stacked())

    @contextmanager
    def disable_experts(self) -> Iterator[None]:
        """Inside, the network is the bare ViT below the main head, to the bit; afterwards it is what it was before."""
        before = self._experts_enabled
        self._experts_enabled = False
        try:
            yield
        finally:
            self._experts_enabled = before

    @torch.no_grad()
    def expert_maps(self, images: Tensor) -> Tensor:
        """Evidence of the network itself, per action unit: the norm of each expert's output, summed over the groups.

        `|U g + b|^2 = g'(U'U)g + 2 (U'b)'g + b'b`, so nothing of shape `(B, N, T, D)` is built.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].

        Returns:
            `(B, N, h, w)` on the patch grid, 0 or more; zeros while experts are disabled. The same for all with
            `shared_expert`.
        """
        maps: list[Tensor] = []

        def visit(carried: Carried) -> None:
            up, bias = carried.group.up.stacked()  # (N, D, R), (N, D)
            g = carried.g.unflatten(2, (up.shape[0], up.shape[2]))  # (B, T, N, R)
            gram, cross = torch.einsum("ndr,nds->nrs", up, up), torch.einsum("ndr,nd->nr", up, bias)
            outer = (torch.einsum("btnr,nrs->btns", g, gram) * g).sum(-1)
            square = outer + 2 * (g * cross).sum(-1) + bias.square().sum(-1)
            maps.append(square.clamp_min(0).sqrt())

        x, _ = self.tokens(images, visit)
        shape = (x.shape[0], len(self.au_names), *self.grid_size)
        if not maps:
            return x.new_zeros(shape)
        return sum(maps[1:], maps[0]).transpose(1, 2).unflatten(2, self.grid_size).expand(shape).contiguous()

    @torch.no_grad()
    def patch_features(self, images: Tensor) -> Tensor:
        """What each patch carries: `(B, T, F)`, the normed last token, then what each group of experts handed on.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].
        """
        handed: list[Tensor] = []
        x, _ = self.tokens(images, lambda carried: handed.append(carried.g))
        return torch.cat([self.backbone.norm(x)[:, self.backbone.num_prefix_tokens :], *handed], dim=2)

    def change_maps(self, images: Tensor) -> Tensor:
        """Where each action unit shows, or would show: `(B, N, h, w)` on the patch grid, each of sum 1.

        Args:
            images: `(B, 3, H, W)` float in [0, 1].

        Raises:
            ValueError: The network has no `map_head`; `expert_maps` are what it has.
        """
        if self.map_head is None:
            raise ValueError("Expected a network with a map head, but this one has none: use `expert_maps`.")
        return self.map_head(self.patch_features(images)).unflatten(2, self.grid_size)

    def expert_weights(self, g: int, au_name: str) -> dict[str, Tensor]:
        """Detached copies of one expert's parameters in group `g`, by name (`auformer.models.experts.ExpertGroup`)."""
        return {name: view.detach().clone() for name, view in self._expert(g, au_name).items()}

    @torch.no_grad()
    def load_expert_weights(self, g: int, au_name: str, weights: Mapping[str, Tensor]) -> None:
        """Copy into one expert what `expert_weights` gives, of any floating-point type; all of it or nothing.

        Raises:
            ValueError: A key is missing or not expected, or a tensor has another shape or is not floating-point.
        """
        views = self._expert(g, au_name)
        if odd := sorted(weights.keys() ^ views.keys()):
            raise ValueError(f"Expected `weights` to have the keys of one expert, but missing or unexpected are {odd}")
        for name, view in views.items():
            found = weights[name]
            if found.shape != view.shape or not found.is_floating_point():
                raise ValueError(
                    f"Expected `{name}` as floating-point {tuple(view.shape)}, "
                    f"but got {found.dtype} {tuple(found.shape)}"
                )
        for name, view in views.items():
            view.copy_(weights[name])

    def _expert(self, g: int, au_name: str) -> dict[str, Tensor]:
        if not isinstance(g, int) or not 0 <= g < len(self.groups):
            raise ValueError(f"Expected `g` to be a group from 0 to {len(self.groups) - 1}, but got {g!r}")
        if au_name not in self.au_names:
            raise ValueError(f"Expected `au_name` to be one of {', '.join(self.au_names)}, but got {au_name!r}")
        group: Any = self.groups[g]
        return group.expert_views(0 if self.shared_expert else self.au_names.index(au_name))


# arguments in which two networks may differ; the others shape the experts or say where they are
FREE = (
    *("backbone", "au_names", "img_size", "pool", "intensity", "expert_heads", "average_heads"),
    *("clip_length", "time", "dim", "taps", "reach", "ends"),  # of an AUFormer that sees clips
)


def transfer_experts(source: AUNetwork, target: AUNetwork) -> list[str]:
    """Copy the experts of shared action units, as the start of another AUFormer; the rest stays as it was [ours].

    The paper transfers what was learnt on macro-expressions to micro-expressions and does not say how [P]. An expert
    belongs to an AU, so whatever belongs to an AU that both have is taken over: its expert in every group, its expert
    head, and what an intensity head of the same form reads of it. The main head is not: it rests on feature statistics
    of its own training images.

    Args:
        source: A trained AUFormer.
        target: An AUFormer on the same frozen ViT, of another or the same list of action units; it is changed.

    Returns:
        The action units whose experts were taken over, in the order of the target.

    Raises:
        CheckpointError: One of them is no AUFormer, they differ in backbone or expert shape, or share no action unit;
            nothing is changed.
    """
    if not isinstance(source, AUFormer) or not isinstance(target, AUFormer):
        kinds = f"{type(source).__name__} and {type(target).__name__}"
        raise CheckpointError(
            f"Expected two AUFormers to move experts between, but got {kinds}: other networks have none"
        )
    for name in [name for name in target.arguments if name not in FREE]:
        mine, theirs = target.arguments[name], source.arguments[name]
        if mine != theirs:
            raise CheckpointError(
                f"Expected a checkpoint with experts of `{name}` {mine}, but got {theirs}; set `network.{name}` to that"
            )
    if source.fingerprint != target.fingerprint or len(source.groups) != len(target.groups):
        raise CheckpointError(
            f"Expected a checkpoint on the same frozen weights as {target.backbone_name}, "
            f"but got one on {source.backbone_name} with others"
        )
    shared = [au for au in target.au_names if au in source.au_names]
    if not shared:
        raise CheckpointError(
            f"Expected a checkpoint with experts for {', '.join(target.au_names)}, but got {', '.join(source.au_names)}"
        )
    for au in shared:
        for group in range(len(target.groups)):
            target.load_expert_weights(group, au, source.expert_weights(group, au))
    here, there = ([network.au_names.index(au) for au in shared] for network in (target, source))
    if source.expert_heads is not None and target.expert_heads is not None:
        with torch.no_grad():
            target.expert_heads.weight[here] = source.expert_heads.weight[there].to(target.expert_heads.weight)
            target.expert_heads.bias[here] = source.expert_heads.bias[there].to(target.expert_heads.bias)
    mine, theirs = target.intensity_head, source.intensity_head
    if mine is not None and theirs is not None and mine.form == theirs.form:
        assert mine.expert_weight is not None and theirs.expert_weight is not None
        with torch.no_grad():
            mine.expert_weight[here] = theirs.expert_weight[there].to(mine.expert_weight)
    return shared


def continue_from(source: AUNetwork, target: AUNetwork) -> list[str]:
    """Begin with all that another AUFormer has learnt about shared action units: experts and heads [ours].

    For training on one's own coding: the main head and its feature statistics come along, which `transfer_experts`
    leaves out, and the rows of AUs that the source does not know keep their random start.

    Args:
        source: A trained AUFormer.
        target: An AUFormer on the same frozen ViT; it is changed.

    Returns:
        The action units that both have, in the order of the target.

    Raises:
        CheckpointError: As `transfer_experts`; nothing is changed.
    """
    shared = transfer_experts(source, target)
    here, there = ([network.au_names.index(au) for au in shared] for network in (target, source))
    pairs: list[tuple[nn.Module, nn.Module]] = [(target.head, source.head)]
    mine, theirs = target.intensity_head, source.intensity_head
    if mine is not None and theirs is not None and mine.form == theirs.form:
        pairs.append((mine.main, theirs.main))
        if mine.form == "ordinal":
            with torch.no_grad():
                mine.gap_bias[here] = theirs.gap_bias[there].to(mine.gap_bias)
    for one, other in pairs:
        known = dict(other.state_dict())
        last = [name for name in known if name.split(".")[-2] in ("fc2", "2")]  # rows that belong to AUs
        with torch.no_grad():
            for name, tensor in one.state_dict(keep_vars=True).items():
                if name in last:
                    tensor[here] = known[name][there].to(tensor)
                else:
                    tensor.copy_(known[name])
    return shared
