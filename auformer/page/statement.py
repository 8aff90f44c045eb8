"""What the first screen says of a checkpoint: what it is, and how well it was measured to do.

Figures are those of its model card, and without a card what its header says of its own training; none is written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

_PARAGRAPH = re.compile(r"^\*\*(Measured[^*]*?)\.?\*\*[.:]?\s*(.+)$", re.DOTALL)
_ASIDE = re.compile(r"\s\([^()]*(?:\([^()]*\)[^()]*)*\)")  # not those of ICC(3,1), which no blank precedes
_SENTENCE = re.compile(r"(?<=[\w)])\.\s+(?=[A-Z])")
_SHOWN = 2  # sentences of a paragraph [ours]
CARD = "README.md"  # of a model folder


class Statement(TypedDict):
    """What a page shows: `figures` as heading and text, `card` in full, empty where there is none."""

    figures: list[tuple[str, str]]
    card: str


def card_of(checkpoint: str | Path) -> str:
    """The model card of a checkpoint: of `demo`, of a folder, or beside a file; empty where there is none."""
    if str(checkpoint) == "demo":
        return resources.files("auformer").joinpath("assets", "demo_detector_card.md").read_text(encoding="utf-8")
    path = Path(checkpoint)
    place = path / CARD if path.is_dir() else path.with_name(CARD)
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def statement(card: str, header: Mapping[str, Any] | None = None) -> Statement:
    """Figures of a card, else of a header.

    Args:
        card: Markdown with paragraphs such as `**Measured on photographs**: ...`.
        header: Of the adapter file; None where it is not known yet.

    >>> statement("**Measured on photographs**: AU12 .96 (.95 before). More. And more.")["figures"]
    [('Measured on photographs', 'AU12 .96. More.')]
    """
    figures = []
    for paragraph in re.split(r"\n\s*\n", card):
        if found := _PARAGRAPH.match(paragraph.strip()):
            text = _ASIDE.sub("", " ".join(found[2].split()))
            told = ". ".join(_SENTENCE.split(text)[:_SHOWN]).rstrip(".")
            figures.append((" ".join(found[1].split()), f"{told}."))
    if not figures and header is not None:
        figures.append(_of_training(header))
    return {"figures": figures, "card": card}


def _of_training(header: Mapping[str, Any]) -> tuple[str, str]:
    """What a header says of the epoch that was chosen; that is no test."""
    chosen = (header.get("extra") or {}).get("selection") or {}
    score, what = chosen.get("score"), chosen.get("monitor")
    if not isinstance(score, int | float) or not isinstance(what, str):
        return ("Not measured", "The checkpoint has no card, and does not say how well it does.")
    return ("Not tested", f"The checkpoint has no card. While it was trained, {what} was {score:.3f}: that is no test.")
