"""What the arguments of AUFormer may be, and which sub-layers they put a group of experts beside."""

from __future__ import annotations

from auformer.models.experts import MAX_DILATION, MAX_WIDTH

BESIDE = {"both": (True, True), "attention": (True, False), "mlp": (False, True)}  # has attention, has the MLP a group of experts?
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


def check_options(expert_width: int, dilations: tuple[int, ...], window: int, experts_beside: str, blocks: str, recompute: str) -> None:
    """Ranges and names.

    Raises:
        ValueError: An argument is out of its range.
    """
    if type(expert_width) is not int or not 1 <= expert_width <= MAX_WIDTH:
        raise ValueError(f"Expected `expert_width` to be a whole number from 1 to {MAX_WIDTH}, but got {expert_width!r}")
    if not all(type(each) is int and 1 <= each <= MAX_DILATION for each in dilations) or len(set(dilations)) != len(dilations):
        raise ValueError(f"Expected `dilations` to be different whole numbers from 1 to {MAX_DILATION}, but got {dilations!r}")
    if type(window) is not int or window not in (0, *range(1, 2 * MAX_DILATION, 2)):
        raise ValueError(f"Expected `window` to be 0 or an odd number below {2 * MAX_DILATION}, but got {window!r}")
    for name, value, known in (("experts_beside", experts_beside, BESIDE), ("blocks", blocks, BLOCKS), ("recompute", recompute, RECOMPUTE)):
        if value not in known:
            raise ValueError(f"Expected `{name}` to be one of {', '.join(known)}, but got {value!r}")
