"""Which of timm's ViTs can carry experts: a table with sizes, parameters and the share that AUFormer trains. Nothing is allocated.

    python experiments/vit_table.py            some minutes; writes experiments/results/vits.md

Every name of timm's ViT families is tried: AUFormer for the 12 action units of BP4D is built on torch's meta device.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import timm
import torch

from auformer.files import write_text
from auformer.models import AUFormer

FAMILIES = ("vision_transformer", "vision_transformer_hybrid", "deit", "eva")  # timm's modules that hold plain ViTs
AUS, WIDTH = "bp4d", 8  # the paper's data set; the default width of an expert
OUT = Path(__file__).parent / "results" / "vits.md"


class Row(NamedTuple):
    """A ViT that works.

    Args:
        name: In timm.
        kind: Its class there.
        image: Side of its images in pixels.
        grid: Patches, `H x W`.
        width: `D`.
        blocks: `L`.
        frozen: Parameters that stay as they are.
        trained: Parameters that AUFormer trains.
        tags: Pre-trained weights that timm knows of.
    """

    name: str
    kind: str
    image: int
    grid: str
    width: int
    blocks: int
    frozen: int
    trained: int
    tags: int


def names() -> list[str]:
    """All names of the families, in order."""
    return sorted({name for family in FAMILIES for name in timm.list_models(module=family)})


def describe(name: str) -> Row | str:
    """The row of a ViT, or why it is refused.

    Args:
        name: In timm.
    """
    try:
        with torch.device("meta"):
            network = AUFormer(name, AUS, expert_width=WIDTH)
    except ValueError as error:
        reason = str(error).rpartition("but got ")[2]
        return reason if reason.startswith(name) else f"{name}: {error}"
    trained, total = network.num_parameters()
    grid = "x".join(map(str, network.grid_size))
    tags, vit = len(timm.list_pretrained(f"{name}.*")), network.backbone
    return Row(
        name,
        type(vit).__name__,
        network.image_size[0],
        grid,
        network.embed_dim,
        len(vit.blocks),
        total - trained,
        trained,
        tags,
    )


def page(found: Iterable[Row | str], version: str) -> str:
    """The table as Markdown.

    Args:
        found: What `describe` gives, for each name.
        version: Of timm.
    """
    found = list(found)
    rows = [each for each in found if isinstance(each, Row)]
    reasons = Counter(each.partition(": ")[2] for each in found if isinstance(each, str))
    lines = [
        "# ViTs that can carry experts",
        "",
        f"timm {version}: {len(rows)} of {len(found)} names of its ViT families work; made by `python experiments/vit_table.py`.",
        f"Trained: experts of width {WIDTH} in every block, expert heads and main head, for the 12 AUs of BP4D. Weights: tags that timm",
        "can fetch. Smaller images and fewer AUs change the trained share, not whether a ViT works.",
        "",
        "| backbone | class | pixels | patches | D | L | frozen | trained | share | weights |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row.kind, row.frozen, row.name)):
        share = 100 * row.trained / (row.trained + row.frozen)
        lines.append(
            f"| {row.name} | {row.kind} | {row.image} | {row.grid} | {row.width} | {row.blocks} | {row.frozen / 1e6:.1f} M | "
            f"{row.trained / 1e6:.2f} M | {share:.1f} % | {row.tags or '-'} |"
        )
    lines += ["", "Refused:", ""]
    lines += [f"* {count} x {reason}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    text = page([describe(name) for name in names()], timm.__version__)
    write_text(out, text)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
