"""What stands in a matplotlib figure, for tests that read figures as people do."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def visible_texts(figure: Figure) -> list[Text]:
    """All texts that are drawn and not empty."""
    figure.draw_without_rendering()
    hidden = {text for axes in figure.axes for text in _not_drawn(axes)}
    return [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def _not_drawn(axes: Axes) -> list[Text]:
    """Tick labels outside the limits, which matplotlib keeps but does not draw, and those of axes switched off."""
    hidden = []
    for axis, which in ((axes.xaxis, 0), (axes.yaxis, 1)):
        low, high = sorted(axis.get_view_interval())
        labels = axis.get_ticklabels(which="both")
        hidden += [label for label in labels if not axes.axison or not low <= label.get_position()[which] <= high]
    return hidden


def texts(figure: Figure) -> list[str]:
    """The words of `visible_texts`."""
    return [text.get_text() for text in visible_texts(figure)]


def cut_texts(figure: Figure) -> list[str]:
    """Texts that reach over the edge of the figure by more than a pixel."""
    width, height = figure.get_size_inches() * figure.dpi
    cut = []
    for text in visible_texts(figure):
        box = text.get_window_extent()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            cut.append(text.get_text())
    return cut
