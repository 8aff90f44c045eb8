"""Longer ways through a command, which print as commands do; no word of the command line leads here."""

from __future__ import annotations
