"""What the texts of action units leave open, reported with the place where it stands."""

from __future__ import annotations

from ..release import Findings
from .au_text import AUText


def note_terms(text: AUText, raw: str, where: str, findings: Findings) -> None:
    """Report the ambiguous and the unread terms of one text.

    Args:
        text: What was read.
        raw: The text as the release has it.
        where: File and line.
        findings: Take the report.
    """
    if text.ambiguous:
        findings.note("ambiguous AU text", where, f"{raw}: {', '.join(text.ambiguous)} are -1")
    if text.unread:
        findings.note("AU text not read", where, f"{raw}: {', '.join(text.unread)}; what it does not name is -1")
