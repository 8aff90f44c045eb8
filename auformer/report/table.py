"""One table of finished texts with its renderers: terminal, Markdown, LaTeX, CSV (and HTML in `report.html`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auformer.files import write_text

FORMS = ("txt", "md", "tex", "csv")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "†": r"$^\dagger$", "±": r"$\pm$", "→": r"$\to$", "−": r"$-$", "–": "--", "×": r"$\times$",
    "…": r"\ldots{}", "≤": r"$\le$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of finished texts, so that every form shows the same.

    Args:
        header: Names of the columns, K.
        rows: Cells, K per row; empty where there is nothing to say.
        footer: Rows below a rule, such as means.
        title: Line above the table.
        notes: Lines below it.
        text_columns: Number of columns from the left that are text (flush left); the others are numbers (flush right).
        bold: Places `(row, column)` of the best of their columns: bold in Markdown and LaTeX, with a star in plain
            text, named in a last column `best` in CSV.
        name: Stem of its files.

    Example:
        >>> table = Table(["AU", "F1"], [["AU1", "51.2"], ["AU12", "8.0"]], [["mean", "29.6"]], notes=["of 2 AUs"])
        >>> print(table.text())
        AU      F1
        ----  ----
        AU1   51.2
        AU12   8.0
        ----  ----
        mean  29.6
        of 2 AUs
        >>> table = Table(["method", "AU1"], [["a_b", "51.2"], ["c", "8.0"]], title="F1", bold={(0, 1)})
        >>> print(table.text())
        F1
        <BLANKLINE>
        method    AU1
        ------  -----
        a_b     51.2*
        c        8.0
        >>> print(table.csv(), end="")
        method,AU1,best
        a_b,51.2,AU1
        c,8.0,
        # F1
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[Sequence[str]] = ()
    title: str = ""
    notes: Sequence[str] = ()
    text_columns: int = 1
    bold: set[tuple[int, int]] = field(default_factory=set)
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse rows of another length than the header."""
        for row in [*self.rows, *self.footer]:
            if len(row) != len(self.header):
                raise ValueError(
                    f"Expected `rows` to have {len(self.header)} cells each, as the header, but got {len(row)} in "
                    f"{list(row)}"
                )

    def text(self) -> str:
        """For a terminal, without a line break at the end; the last digits of a column meet, whatever follows them."""
        from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

        starred = {k for _, k in self.bold if k >= self.text_columns}
        rows = [
            [cell + ("*" if (i, k) in self.bold else " " * (k in starred and cell != "")) for k, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        columns = list(zip(*rows, *self.footer, strict=True)) or [()] * len(self.header)
        padded = [column if k < self.text_columns else _digits_meet(column) for k, column in enumerate(columns)]
        lines: list[Any] = [list(row) for row in zip(*padded, strict=True)]
        lines[len(rows) :] = [SEPARATING_LINE, *lines[len(rows) :]] if self.footer else []
        shown = tabulate(
            [list(self.header), SEPARATING_LINE, *lines],  # as a row: tabulate pads a header by two
            tablefmt=TableFormat(
                None, Line("", "-", "  ", ""), None, None, DataRow("", "  ", ""), DataRow("", "  ", ""), 0, None
            ),
            colalign=["left" if k < self.text_columns else "right" for k in range(len(self.header))],
            disable_numparse=True,
            preserve_whitespace=True,
        )
        head = [self.title, ""] if self.title else []
        return "\n".join([*head, *map(str.rstrip, shown.splitlines()), *self.notes])

    def markdown(self) -> str:
        """In Markdown (GitHub's), without a line break at the end; the footer is bold."""
        bold = [
            [f"**{_escaped(cell)}**" if (i, k) in self.bold else _escaped(cell) for k, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        footer = [[f"**{_escaped(cell)}**" if cell else "" for cell in row] for row in self.footer]
        rules = ["---" if k < self.text_columns else "---:" for k in range(len(self.header))]
        lines = [f"| {' | '.join(row)} |" for row in [list(map(_escaped, self.header)), rules, *bold, *footer]]
        head = [f"**{_escaped(self.title)}**", ""] if self.title else []
        notes = ["", *(f"- {_escaped(note)}" for note in self.notes)] if self.notes else []
        return "\n".join([*head, *lines, *notes])

    def latex(self) -> str:
        """In LaTeX, with the rules of the package booktabs."""
        columns = "l" * self.text_columns + "r" * (len(self.header) - self.text_columns)
        rows = [
            " & ".join(
                rf"\textbf{{{_latex(cell)}}}" if (i, k) in self.bold else _latex(cell) for k, cell in enumerate(row)
            )
            for i, row in enumerate(self.rows)
        ]
        footer = [" & ".join(map(_latex, row)) for row in self.footer]
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_latex(self.title)}}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex, self.header)) + r" \\",
            r"\midrule",
            *(row + r" \\" for row in rows),
            *([r"\midrule", *(row + r" \\" for row in footer)] if footer else []),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par{{\footnotesize {_latex(note)}}}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join(lines)

    def csv(self) -> str:
        """As CSV; title and notes are comments below: `pandas.read_csv(path, comment="#")` skips them."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.header, "best"])
        for i, row in enumerate(self.rows):
            writer.writerow([*row, "; ".join(self.header[k] for k in range(len(row)) if (i, k) in self.bold)])
        writer.writerows([*row, ""] for row in self.footer)
        for note in (self.title, *self.notes):
            text.write("# " + " ".join(note.split()) + "\n")
        return text.getvalue()

    def write(self, folder: Path) -> None:
        """Write all four forms into a folder, each atomically."""
        for kind, text in zip(FORMS, (self.text(), self.markdown(), self.latex(), self.csv()), strict=True):
            write_text(folder / f"{self.name}.{kind}", text.removesuffix("\n") + "\n")


def _digits_meet(cells: Sequence[str]) -> list[str]:
    """Numbers of one column, padded so that last digits meet, whether or not something in brackets follows."""
    tail = max((len(cell) - len(cell.split(" (")[0]) for cell in cells), default=0)
    return [cell if " (" in cell else cell + " " * tail for cell in cells]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def best_cells(
    values: Sequence[Sequence[float | None]], blocks: Sequence[object], *, lowest: Sequence[int] = ()
) -> set[tuple[int, int]]:
    """Places of the best of each column, also of several that look equal with one decimal.

    Args:
        values: Rates per row and column; None or nan does not compete.
        blocks: A value per row; rows of the same one compete.
        lowest: Columns in which the lowest is best.

    Example:
        >>> sorted(best_cells([[0.5, 0.2], [0.7, None], [0.70001, 0.1]], ["a", "a", "a"], lowest=[1]))
        [(1, 0), (2, 0), (2, 1)]
    """
    found = set()
    for block in dict.fromkeys(blocks):
        rows = [i for i, other in enumerate(blocks) if other == block]
        for k in range(len(values[0]) if values else 0):
            known = {i: round(100 * value, 1) for i in rows if (value := values[i][k]) is not None and value == value}
            if len(known) > 1:
                best = min(known.values()) if k in lowest else max(known.values())
                found |= {(i, k) for i, value in known.items() if value == best}
    return found
