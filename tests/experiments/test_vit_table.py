"""The table of ViTs that work: numbers known from elsewhere, and that the committed one is what the script makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.speed.vit_table import OUT, Row, describe, names, page


def test_a_row_by_hand() -> None:
    row = describe("vit_base_patch16_224")
    head = 768 * 192 + 192 + 192 * 12 + 12 + 12 * 769
    assert isinstance(row, Row)
    assert row[:7] == ("vit_base_patch16_224", "VisionTransformer", 224, "14x14", 768, 12, 85_798_656)
    assert row.trained == 4_555_008 + head and row.tags > 5


def test_what_is_refused_says_why() -> None:
    assert describe("vit_base_patch16_rpn_224") == "vit_base_patch16_rpn_224: its block class is ResPostBlock"
    text = page(["a: its block class is B", "c: its block class is B", describe("eva02_tiny_patch14_224")], "1.2.3")
    assert "timm 1.2.3: 1 of 3 names" in text and "* 2 x its block class is B" in text
    assert "| eva02_tiny_patch14_224 | Eva | 224 | 16x16 | 192 | 12 | 5.5 M |" in text


@pytest.mark.parametrize(
    "name",
    ["vit_small_patch16_dinov3", "vit_base_patch14_reg4_dinov2", "vit_tiny_patch16_224", "deit_small_patch16_224"],
)
def test_the_committed_table_is_current(name: str) -> None:
    row = next(line for line in page([describe(name)], "").splitlines() if line.startswith(f"| {name} "))
    written = Path(OUT).read_text(encoding="utf-8")
    assert row in written
    assert name in names()
