"""Colours, and the label and order of AUs, for what is drawn with or without matplotlib."""

from __future__ import annotations

from collections.abc import Iterable

from auformer.aus import ACTION_UNITS

# Surfaces and inks of the two page themes; `html.py` uses the same values, so that figures have no edge there [ours].
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
# Okabe & Ito, "Color Universal Design" (2008): distinguishable with every form of colour blindness. Black is the ink.
SERIES: dict[str, tuple[str, ...]] = {
    "light": ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"),
    "dark": ("#56b4e9", "#e69f00", "#2bbf92", "#dd9cbd", "#8d9fe8", "#f07b35"),
}


def au_order(au_names: Iterable[str]) -> list[str]:
    """Sort canonical AU names by number, the order of every figure and table.

    >>> au_order(["AU12", "AU4", "AU1"])
    ['AU1', 'AU4', 'AU12']
    """
    return sorted(au_names, key=lambda name: ACTION_UNITS[name].number)


def au_label(au_name: str) -> str:
    """Return the label under which an AU stands in every figure and table: its code and its FACS name."""
    return f"{au_name} {ACTION_UNITS[au_name].name}"
