"""What all figures share: colours, sizes, the label and order of AUs, and how a figure becomes a PNG file."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from auformer.files import atomic_path
from auformer.report.inks import SERIES, THEMES
from auformer.report.inks import au_label as au_label
from auformer.report.inks import au_order as au_order

WIDTH = 5.2  # inches [ours]: shrunk to a 390 px wide phone, 8.5 points are still 8 px high
DPI = 180  # [ours] 936 px wide: sharp on a phone's display and at 36 rem on a desk
FONT_SIZE = 10.0  # points
SMALL = 8.5  # points
GUTTER = 0.07  # inches between images [ours]
FOOTNOTE = 84  # letters per line of small text in the width of a figure
LINE = 0.155  # inches per line of small text [ours]

# Perceptually even and readable with every common form of colour blindness (van der Walt & Smith, 2015).
COLOUR_MAP = "viridis"
MARKERS = ("o", "s", "^", "D", "v", "P")  # a second sign beside colour


def series(theme: str, row: int) -> tuple[str, str]:
    """Colour and marker of a method, by its place among the others."""
    return SERIES[theme][row % 6], MARKERS[row % 6]


def luma(rgb: np.ndarray) -> np.ndarray:
    """Brightness of colours `(..., 3)` (ITU-R BT.601)."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def new_figure(
    height: float, *, theme: str, width: float = WIDTH, title: str | None = None, footnote: str | None = None
) -> Figure:
    """Return an empty figure on an Agg canvas, laid out by matplotlib.

    Args:
        height: Inches, without title and footnote.
        theme: "light" or "dark".
        width: Inches.
        title: Text above everything; None leaves it out (a page has its own headings).
        footnote: Small text below everything.

    Raises:
        ValueError: For an unknown theme.
    """
    figure = bare_figure(height + 0.3 * bool(title) + 0.4 * bool(footnote), theme=theme, width=width)
    figure.set_layout_engine("constrained")
    if title:
        figure.suptitle(title, color=THEMES[theme]["ink"], size=FONT_SIZE + 1.5, weight="bold")
    if footnote:
        add_footnote(figure, footnote, theme=theme)
    return figure


def add_footnote(figure: Figure, text: str, *, theme: str) -> None:
    """Put small text below everything that matplotlib lays out."""
    shown = textwrap.fill(text, FOOTNOTE)
    figure.supxlabel(shown, color=THEMES[theme]["quiet"], size=SMALL, x=0.02, ha="left", parse_math=False)


def bare_figure(height: float, *, theme: str, width: float = WIDTH) -> Figure:
    """Like `new_figure`, for axes and text that are put in their places by `place_axes` and `place_text`."""
    if theme not in THEMES:
        raise ValueError(f"Expected `theme` to be one of {', '.join(THEMES)}, but got {theme!r}")
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=THEMES[theme]["background"])
    FigureCanvasAgg(figure)
    return figure


def add_legend(where: Figure | Axes, theme: str, *entries: Sequence[Any], **style: Any) -> None:
    """Put a legend without a frame above the axes of a figure, in two columns unless `style` says otherwise.

    Args:
        where: The figure, or the axes with a `loc` of their own.
        theme: "light" or "dark".
        entries: Handles and labels; by default those of the axes.
        style: As matplotlib's `legend` takes it.
    """
    usual = {"loc": "outside upper left", "ncols": 2, "frameon": False, "fontsize": FONT_SIZE - 1, "handlelength": 2}
    where.legend(*entries, **{**usual, "labelcolor": THEMES[theme]["ink"], **style})


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes whose box is given in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def place_text(figure: Figure, left: float, top: float, text: str, **style: object) -> Text:
    """Write plain text (a `$` is a dollar), its corner given in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.text(left / across, 1 - top / down, text, va="top", parse_math=False, **style)  # type: ignore[arg-type]


def printable(text: str, length: int) -> str:
    """Shorten text in its middle to `length` characters, and replace what matplotlib's own font cannot draw.

    >>> printable("IMG_1.jpg", 20), printable("a_very_long_file_name.jpg", 12)
    ('IMG_1.jpg', 'a_ver…me.jpg')
    """
    if len(text) > length:
        text = text[: (length - 1) // 2] + "…" + text[len(text) - length // 2 :]
    glyphs = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in glyphs else "?" for letter in text)


def dress_axes(axes: Axes, *, theme: str, grid: Literal["x", "y", "both"] = "x") -> None:
    """Give axes the theme's inks, no frame, and grid lines along one axis or both."""
    inks = THEMES[theme]
    axes.set_facecolor(inks["background"])
    axes.tick_params(colors=inks["ink"], labelsize=FONT_SIZE - 1, length=0)
    axes.xaxis.label.set(color=inks["quiet"], size=FONT_SIZE - 1)
    axes.yaxis.label.set(color=inks["quiet"], size=FONT_SIZE - 1)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=inks["grid"], linewidth=0.8)


def add_headline(figure: Figure, title: str | None, *, theme: str) -> None:
    """Put a title at the upper left of a bare figure, shortened in its middle until it fits."""
    if not title:
        return
    room, length = figure.get_size_inches()[0] - 2 * GUTTER, len(title)
    style = {"fontsize": FONT_SIZE + 1.5, "weight": "bold", "color": THEMES[theme]["ink"]}
    shown = place_text(figure, GUTTER, 0.1, printable(title, length), **style)
    while (width := shown.get_window_extent().width / figure.dpi) > room and length > 3:
        length = min(length - 1, int(length * room / width) + 1)
        shown.set_text(printable(title, length))


def footer_height(footer: str | None, margin: float = 0.1) -> float:
    """Inches that a bare figure needs for its footer."""
    return LINE * (1 + footer.count("\n")) + margin if footer else 0.0


def add_footer(figure: Figure, footer: str | None, *, theme: str, margin: float = 0.1) -> None:
    """Put small text at the lower left of a bare figure, in the room of `footer_height`."""
    if footer:
        top, quiet = figure.get_size_inches()[1] - footer_height(footer, margin), THEMES[theme]["quiet"]
        place_text(figure, GUTTER, top, footer, fontsize=SMALL - 1, color=quiet, linespacing=1.4)


def copy_layout(drawn: Figure, figure: Figure) -> None:
    """Put axes and texts where those of the twin in the other theme were drawn: layout is half of the work."""
    figure.set_layout_engine("none")
    for theirs, mine in zip(drawn.axes, figure.axes, strict=True):
        mine.set_position(theirs.get_position())
    for text, twin in zip(drawn.texts, figure.texts, strict=True):
        twin.set_position(text.get_position())


def image_bytes(figure: Figure, kind: str = "png") -> bytes:
    """Return the figure as an image file in memory, without time stamps: the same figure gives the same bytes.

    `kind` is "png", or "webp" for figures full of faces, which are six times smaller that way.
    """
    buffer = io.BytesIO()
    extra = {"metadata": {"Software": None}} if kind == "png" else {"pil_kwargs": {"quality": 88}}
    figure.savefig(buffer, format=kind, facecolor=figure.get_facecolor(), **extra)
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, atomically, and return its path.

    Raises:
        ValueError: `path` does not end with `.png`.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"Expected `path` to end with .png, but got {str(path)!r}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(image_bytes(figure))
    return path
