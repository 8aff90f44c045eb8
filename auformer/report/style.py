"""What all figures share: colours, sizes, the label and order of AUs, and how a figure becomes a PNG file."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from auformer.aus import ACTION_UNITS
from auformer.files import atomic_path

WIDTH = 5.2  # inches [ours]: shrunk to a 390 px wide phone, 8.5 points are still 8 px high
DPI = 180  # [ours] 936 px wide: sharp on a phone's display and at 36 rem on a desk
FONT_SIZE = 10.0  # points
SMALL = 8.5  # points
GUTTER = 0.07  # inches between pictures [ours]
FOOTNOTE = 84  # letters per line of small text in the width of a figure
LINE = 0.155  # inches per line of small text [ours]

# Surfaces and inks of the two page themes; `report.py` uses the same values, so that figures have no visible edge there [ours].
THEMES: dict[str, dict[str, str]] = {
    "light": {
        "background": "#ffffff",
        "ink": "#1b1e24",
        "quiet": "#5b626e",
        "grid": "#dfe2e7",
        "right": "#00634a",
        "wrong": "#a63c00",
    },
    "dark": {
        "background": "#1a1d23",
        "ink": "#eceef2",
        "quiet": "#a3abb8",
        "grid": "#363b45",
        "right": "#4fd0a5",
        "wrong": "#ff9d5c",
    },
}
# Okabe & Ito, "Color Universal Design" (2008): distinguishable with every common form of colour blindness. Black is the ink.
SERIES: dict[str, tuple[str, ...]] = {
    "light": ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"),
    "dark": ("#56b4e9", "#e69f00", "#2bbf92", "#dd9cbd", "#8d9fe8", "#f07b35"),
}
MARKERS = ("o", "s", "^", "D", "v", "P")  # a second sign beside colour


def au_order(au_names: Iterable[str]) -> list[str]:
    """Sort canonical AU names by number, the order of every figure and table.

    >>> au_order(["AU12", "AU4", "AU1"])
    ['AU1', 'AU4', 'AU12']
    """
    return sorted(au_names, key=lambda name: ACTION_UNITS[name].number)


def au_label(au_name: str) -> str:
    """Return the label under which an AU stands in every figure and table: its code and its FACS name."""
    return f"{au_name} {ACTION_UNITS[au_name].name}"


def new_figure(height: float, *, theme: str, width: float = WIDTH, layout: str | None = "constrained") -> Figure:
    """Return an empty figure on an Agg canvas.

    Args:
        height: inches.
        theme: "light" or "dark".
        width: inches.
        layout: matplotlib's layout engine; None where every axes is put in its place by `place_axes`.

    Raises:
        ValueError: for an unknown theme.
    """
    if theme not in THEMES:
        raise ValueError(f"Expected `theme` to be one of {', '.join(THEMES)}, but got {theme!r}")
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=THEMES[theme]["background"], layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes whose box is given in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def place_text(figure: Figure, left: float, top: float, text: str, **style: object) -> Text:
    """Write plain text (a ``$`` is a dollar) whose upper left corner is given in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.text(left / across, 1 - top / down, text, va="top", parse_math=False, **style)  # type: ignore[arg-type]


def printable(text: str, length: int) -> str:
    """Shorten text in its middle to ``length`` characters and replace what matplotlib's own font cannot draw (other people's file names).

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


def add_title(figure: Figure, title: str | None, *, theme: str) -> None:
    """Put the figure's title above everything; None leaves it out (a page has its own headings)."""
    if title:
        figure.suptitle(title, color=THEMES[theme]["ink"], size=FONT_SIZE + 1.5, weight="bold")


def add_headline(figure: Figure, title: str | None, *, theme: str) -> None:
    """Like `add_title`, at the left, for figures laid out by hand; shortened in its middle until it fits."""
    if not title:
        return
    room, length = figure.get_size_inches()[0] - 2 * GUTTER, len(title)
    shown = place_text(
        figure,
        GUTTER,
        0.1,
        printable(title, length),
        fontsize=FONT_SIZE + 1.5,
        weight="bold",
        color=THEMES[theme]["ink"],
    )
    while (width := shown.get_window_extent().width / figure.dpi) > room and length > 3:
        length = min(length - 1, int(length * room / width) + 1)
        shown.set_text(printable(title, length))


def add_footnote(figure: Figure, text: str | None, *, theme: str) -> None:
    """Put small text below everything; None leaves it out. For figures with a layout engine."""
    if text:
        shown = textwrap.fill(text, FOOTNOTE)
        figure.supxlabel(shown, color=THEMES[theme]["quiet"], size=SMALL, x=0.02, ha="left", parse_math=False)


def copy_layout(drawn: Figure, figure: Figure) -> None:
    """Put axes and texts of a figure where those of its twin in the other theme are, which has been drawn: layout is half of the work."""
    figure.set_layout_engine("none")
    for theirs, mine in zip(drawn.axes, figure.axes, strict=True):
        mine.set_position(theirs.get_position())
    for text, twin in zip(drawn.texts, figure.texts, strict=True):
        twin.set_position(text.get_position())


def image_bytes(figure: Figure, kind: str = "png") -> bytes:
    """Return the figure as an image file in memory, without time stamps: the same figure gives the same bytes.

    Args:
        figure: any figure of this package.
        kind: "png", or "webp" for figures full of faces, which are six times smaller that way.
    """
    buffer = io.BytesIO()
    extra = {"metadata": {"Software": None}} if kind == "png" else {"pil_kwargs": {"quality": 88}}
    figure.savefig(buffer, format=kind, facecolor=figure.get_facecolor(), **extra)
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, atomically, making its folder where needed.

    Args:
        figure: any figure of this package.
        path: ends with ``.png``.

    Returns:
        ``path`` as a `Path`.

    Raises:
        ValueError: for another ending.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"Expected `path` to end with .png, but got {str(path)!r}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(image_bytes(figure))
    return path
