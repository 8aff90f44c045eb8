"""Regions of the face and their combinations of action units (AUs): the first level of MDHR's hierarchy.

Each region has a head that says which of its AUs are active together: one class per combination, whose bits are the
AUs, the first one highest. Each AU gets a feature from the rows of the token grid that its region spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auformer.aus import ACTION_UNITS, AU_SETS
from auformer.models.temporal.blocks import Block

MOST = 5  # AUs of one head: it has a class per combination [ours]
# Rows of the grid that a region spans, as fractions of its height: 0-2, 2-4 and 4-6 of 7 rows in the released code
SPANS = {"upper": (0, 3), "middle": (2, 5), "lower": (4, 7)}
SEVENTHS = 7
# Which AUs a head has: the released list of BP4D, with the AUs that it lacks [ours]
_NUMBERS = {
    "upper": (1, 2, 4, 5, 7, 43), "middle": (6, 9, 11), "lower-a": (12, 13, 14, 15, 16, 18, 20),
    "lower-b": (10, 17, 22, 23, 24, 25, 26, 27, 28),
}  # fmt: skip
_DISFA = {"upper": (1, 2, 4), "middle": (6, 9), "lower": (12, 25, 26)}  # the released list of DISFA
_BY_PLACE = {
    "brows": "upper",
    "eyes": "upper",
    "cheeks": "middle",
    "nose": "middle",
    "mouth": "lower-b",
    "jaw": "lower-b",
}


class Region(NamedTuple):
    """One head.

    Args:
        name: `upper`, `middle`, `lower`, `lower-a` or `lower-b`, with a number behind where one list has several heads.
        aus: Places of its AUs among the network's, the most significant bit first.
    """

    name: str
    aus: tuple[int, ...]

    @property
    def classes(self) -> int:
        """Combinations of its AUs."""
        return 2 ** len(self.aus)

    @property
    def span(self) -> tuple[int, int]:
        """First row and the row after the last, of seven."""
        return SPANS[self.name.partition("-")[0]]

    def rows(self, height: int) -> tuple[int, int]:
        """The same of a grid of another height: `[0, 3h/7)`, `[2h/7, 5h/7)`, `[4h/7, h)`, rounded to whole rows.

        >>> [Region(name, ()).rows(14) for name in ("upper", "middle", "lower")]
        [(0, 6), (4, 10), (8, 14)]
        """
        first, last = self.span
        begin = first * height // SEVENTHS
        return begin, max(begin + 1, -(-last * height // SEVENTHS))


def regions_of(au_names: Sequence[str]) -> list[Region]:
    """The regions of a list of AUs, from the brows to the chin; only those that have one.

    The eight AUs of DISFA have the released list of DISFA, all others BP4D's with additions [ours].

    Raises:
        ValueError: An AU is on no part of the face that has a region.

    >>> [(region.name, region.aus) for region in regions_of(["AU1", "AU12", "AU17", "AU2"])]
    [('upper', (0, 3)), ('lower-a', (1,)), ('lower-b', (2,))]
    """
    disfa = set(au_names) == set(AU_SETS["disfa"])
    members: dict[str, list[int]] = {name: [] for name in (_DISFA if disfa else _NUMBERS)}
    for place, au in enumerate(au_names):
        members[_region_name(au, disfa=disfa)].append(place)
    found = []
    for name, places in members.items():
        places.sort(key=lambda place: int(au_names[place][2:]))
        heads = -(-len(places) // MOST)
        for head in range(heads):
            own = places[head * len(places) // heads : (head + 1) * len(places) // heads]
            found.append(Region(name if heads == 1 else f"{name}-{head + 1}", tuple(own)))
    return found


def _region_name(au: str, *, disfa: bool) -> str:
    """The list that an AU is in."""
    number = int(au[2:])
    for name, numbers in (_DISFA if disfa else _NUMBERS).items():
        if number in numbers:
            return name
    place = ACTION_UNITS[au].region
    if place not in _BY_PLACE:
        raise ValueError(f"Expected action units of the face for its regions, but got {au} ({place})")
    return _BY_PLACE[place]


def bits(region: Region, device: torch.device | None = None) -> Tensor:
    """Which AUs are active in each class of a region: `(classes, AUs)` of 0 and 1.

    >>> bits(Region("middle", (4, 5))).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    shifts = range(len(region.aus) - 1, -1, -1)
    rows = [[number >> shift & 1 for shift in shifts] for number in range(region.classes)]
    return torch.tensor(rows, device=device)


class RegionLearning(nn.Module):
    """Local regional features (LRM): logits of each region's combinations, and one feature per AU.

    Args:
        regions: As `regions_of` gives them.
        dim: Channels `C` of the tokens.
        num_aus: Action units `N`.
        blocks: Each region has a block of its own before its rows are read, as in the released network of BP4D; that of
            DISFA reads the rows themselves.
    """

    def __init__(self, regions: Sequence[Region], dim: int, num_aus: int, *, blocks: bool = True) -> None:
        super().__init__()
        self.regions = list(regions)
        self.au_blocks = nn.ModuleList([Block(dim, dim) for _ in range(num_aus)])
        self.region_blocks = nn.ModuleList([Block(dim, dim) for _ in self.regions] if blocks else [])
        self.heads = nn.ModuleList([nn.Linear(dim, region.classes) for region in self.regions])

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        """Tokens `(B, h w, C)` on a grid `(h, w)` to AU features `(B, N, C)` and logits `(B, classes)` per region."""
        nodes: list[Tensor] = [tokens] * len(self.au_blocks)  # each is replaced: every AU is in a region
        logits = []
        for number, region in enumerate(self.regions):
            first, last = region.rows(grid[0])
            own = tokens[:, first * grid[1] : last * grid[1]]
            if self.region_blocks:
                own = self.region_blocks[number](own)
            logits.append(self.heads[number](own.mean(1)))
            for au in region.aus:
                nodes[au] = self.au_blocks[au](own).mean(1)
        return torch.stack(nodes, 1), logits

    def active(self, logits: Sequence[Tensor]) -> Tensor:
        """Which AUs the most likely combinations say are active: `(B, N)` of 0 and 1, without gradient."""
        pairs = zip(self.regions, logits, strict=True)
        found = torch.cat([bits(region, each.device)[each.detach().argmax(1)] for region, each in pairs], 1)
        places = [au for region in self.regions for au in region.aus]
        return found[:, [places.index(au) for au in range(len(places))]]
