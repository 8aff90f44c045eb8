"""The targets of the speed page: what each figure is, its bound, and why one may miss it."""

from __future__ import annotations

from typing import NamedTuple

GPU_ABSENT = "not measured: no GPU at hand, `experiments/gpu_speed.sh` is ready"


class Target(NamedTuple):
    """One row of the table of verdicts.

    Args:
        part: Part that measures it.
        figure: Its name among the part's ratios.
        what: What is over what.
        bound: Largest ratio that meets the target; None where it is reported only.
        reason: What keeps it from the bound, shown beside a figure that misses it.
    """

    part: str
    figure: str
    what: str
    bound: float | None = None
    reason: str = ""


SMALL = "the groups' many small operations run below the rate of the ViT's large products, on which the floor rests"
FORWARD_REASON = f"{SMALL}: see where the time goes"
SINGLE_REASON = (
    "a group takes about twice as long between the blocks of the ViT as by itself, where its two wide products run at the ViT's rate: "
    "probably because the ViT's weights (0.34 GB) pass through the caches in between; compiling changes little"
)
TRAINING_REASON = f"{SMALL}: see where the time goes, and what recomputing and LoRA take"
CPU = (
    Target("forward", "forward/1", "forward, batch 1, over `f`", 1.10, SINGLE_REASON),
    Target("forward", "forward/4", "forward, batch 4, over `f`"),
    Target("forward", "forward/16", "forward, batch 16, over `f`", 1.10, FORWARD_REASON),
    Target("forward", "forward bf16/4", "forward, batch 4, bfloat16 by autocast, over the bare ViT's"),
    Target("compiled", "forward compiled/1", "forward, batch 1, `torch.compile`, over the compiled bare ViT's"),
    Target("compiled", "forward compiled/4", "forward, batch 4, `torch.compile`, over the compiled bare ViT's"),
    Target("training", "training/4", "forward and backward, batch 4, over `F`", 1.20, TRAINING_REASON),
    Target("training", "training/16", "forward and backward, batch 16, over `F`", 1.20, TRAINING_REASON),
    Target("training", "lora/4", "forward and backward, batch 4, over LoRA's (r = 8)", 1.10, TRAINING_REASON),
    Target("training", "lora/16", "forward and backward, batch 16, over LoRA's (r = 8)", 1.10, TRAINING_REASON),
    Target("training", "loop/4", "forward and backward, batch 4, over the plain loop's"),
    Target("training", "full/4", "forward and backward, batch 4, over full fine-tuning's"),
    Target("training", "recompute experts/4", "a step with the groups' interior recomputed, batch 4, over one without"),
    Target("training", "recompute blocks/4", "a step with every block recomputed, batch 4, over one without"),
    Target("memory", "peak nothing/4", "peak memory of a step over the plain loop's, nothing recomputed", 0.45),
    Target(
        "memory", "peak experts/4", "peak memory of a step over the plain loop's, the groups' interior recomputed", 0.35
    ),
    Target("memory", "peak blocks/4", "peak memory of a step over the plain loop's, every block recomputed"),
    Target("memory", "kept nothing/4", "bytes kept for the backward pass over the plain loop's, nothing recomputed"),
    Target(
        "memory",
        "kept experts/4",
        "bytes kept for the backward pass over the plain loop's, the groups' interior recomputed",
    ),
    Target("memory", "peak lora/4", "peak memory of LoRA's step over the plain loop's"),
)
GPU = (
    Target(
        "compiled",
        "forward compiled/64",
        "forward, batch 64, `torch.compile`, over the compiled bare ViT's",
        1.10,
        FORWARD_REASON,
    ),
    Target("forward", "forward/64", "forward, batch 64, eager, over `f`"),
    Target("forward", "forward bf16/64", "forward, batch 64, eager, bfloat16 by autocast, over the bare ViT's"),
    Target("forward", "forward/1", "forward, batch 1, eager, over `f`"),
    Target("compiled", "forward CUDA graphs/1", "forward, batch 1, CUDA graphs, over the bare ViT's with CUDA graphs"),
    Target("training", "training/64", "forward and backward, batch 64, bfloat16, over `F`", 1.30, TRAINING_REASON),
    Target(
        "compiled",
        "training compiled/64",
        "forward and backward, batch 64, bfloat16, `torch.compile`, over the compiled `F`",
    ),
    Target(
        "training", "lora/64", "forward and backward, batch 64, bfloat16, over LoRA's (r = 8)", 1.10, TRAINING_REASON
    ),
    Target("training", "full/64", "forward and backward, batch 64, bfloat16, over full fine-tuning's"),
)


def verdict(target: Target, value: float | None) -> str:
    """`met`, or `missed` and why; nothing where there is no bound or no value.

    >>> verdict(Target("", "", "", 1.1, "few channels"), 1.2)
    'missed: few channels'
    """
    if target.bound is None or value is None:
        return ""
    if value <= target.bound:
        return "met"
    return f"missed: {target.reason}" if target.reason else "missed"
