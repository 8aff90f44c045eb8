"""Which of timm's ViTs can carry experts: a table with sizes, parameters and the share that AUFormer trains.

    python -m experiments.speed.vit_table            some minutes; writes vits.md

Every name of timm's ViT families is tried: AUFormer for the 12 action units of BP4D is built on torch's meta device, so
that nothing is allocated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import timm
import torch

from auformer.files import write_text
from auformer.models import AUFormer
from auformer.scoring.tables import Table
from experiments.harness import new_parser

FAMILIES = ("vision_transformer", "vision_transformer_hybrid", "deit", "eva")  # timm's modules that hold plain ViTs
AUS, WIDTH = "bp4d", 8  # the paper's data set; the default width of an expert


class Row(NamedTuple):
    """A ViT that works."""

    name: str  # in timm
    kind: str  # its class there
    image: int  # side of its images in pixels
    grid: str  # patches, `H x W`
    width: int  # `D`
    blocks: int  # `L`
    frozen: int  # parameters that stay as they are
    trained: int  # parameters that AUFormer trains
    tags: int  # pre-trained weights that timm knows of

    def cells(self) -> list[str]:
        """The row as it stands in the table."""
        share = 100 * self.trained / (self.trained + self.frozen)
        sizes = [f"{self.frozen / 1e6:.1f} M", f"{self.trained / 1e6:.2f} M", f"{share:.1f} %", str(self.tags or "-")]
        return [self.name, self.kind, *map(str, (self.image, self.grid, self.width, self.blocks)), *sizes]


def names() -> list[str]:
    """All names of the families, in order."""
    return sorted({name for family in FAMILIES for name in timm.list_models(module=family)})


def describe(name: str) -> Row | str:
    """The row of a ViT, or why it is refused."""
    try:
        with torch.device("meta"):
            network = AUFormer(name, AUS, expert_width=WIDTH)
    except ValueError as error:
        reason = str(error).rpartition("but got ")[2]
        return reason if reason.startswith(name) else f"{name}: {error}"
    trained, total = network.num_parameters()
    grid, vit = "x".join(map(str, network.grid_size)), network.backbone
    sizes = network.image_size[0], grid, network.embed_dim, len(vit.blocks)
    return Row(name, type(vit).__name__, *sizes, total - trained, trained, len(timm.list_pretrained(f"{name}.*")))


def page(found: Iterable[Row | str], version: str) -> str:
    found = list(found)
    rows = sorted((one for one in found if isinstance(one, Row)), key=lambda row: (row.kind, row.frozen, row.name))
    reasons = Counter(one.partition(": ")[2] for one in found if isinstance(one, str))
    head = (
        f"timm {version}: {len(rows)} of {len(found)} names of its ViT families work; made by `python -m "
        f"experiments.speed.vit_table`.\nTrained: experts of width {WIDTH} in every block, expert heads and main head, "
        "for the 12 AUs of BP4D. Weights: tags that timm\ncan fetch. Smaller images and fewer AUs change the trained "
        "share, not whether a ViT works."
    )
    header = ["backbone", "class", "pixels", "patches", "D", "L", "frozen", "trained", "share", "weights"]
    table = Table(header, [row.cells() for row in rows], text_columns=2).markdown()
    refused = [f"* {count} x {why}" for why, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))]
    return "\n".join(["# ViTs that can carry experts", "", head, "", table, "", "Refused:", "", *refused]) + "\n"


def main(argv: list[str] | None = None) -> None:
    args = new_parser(__doc__).parse_args(argv)
    write_text(args.out / "vits.md", page([describe(name) for name in names()], timm.__version__))
    print(f"wrote {args.out / 'vits.md'}")


if __name__ == "__main__":
    main()
