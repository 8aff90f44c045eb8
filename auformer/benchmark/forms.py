"""One table of finished texts, and its four forms with the same content: terminal, Markdown, LaTeX, CSV.

What is best in its column is bold; plain text sets a star behind it, CSV names the columns in a last one, `best`. Notes stand below the
table; in CSV they are lines that begin with `# ` (`pandas.read_csv(path, comment="#")` skips them).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auformer.files import write_text
from auformer.scoring.tables import Table

FORMS = ("txt", "md", "tex", "csv")
STAR = "*"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "†": r"$^\dagger$", "±": r"$\pm$", "→": r"$\to$", "−": r"$-$", "–": "--", "×": r"$\times$", "…": r"\ldots{}", "≤": r"$\le$",
}  # fmt: skip


@dataclass(frozen=True)
class BenchmarkTable:
    """A table of finished texts.

    Attributes:
        name: Stem of its files.
        title: What it shows.
        header: Names of the columns, K.
        rows: Cells, K per row; empty where there is nothing to say.
        bold: Places `(row, column)` of the best of their columns.
        notes: Lines below it.
        text_columns: How many columns from the left are text (flush left); the others are numbers (flush right).

    Example:
        >>> table = BenchmarkTable("t", "F1", ["method", "AU1"], [["a_b", "51.2"], ["c", "8.0"]], {(0, 1)}, ["of 2 folds"])
        >>> print(table.text())
        F1
        <BLANKLINE>
        method    AU1
        ------  -----
        a_b     51.2*
        c        8.0
        of 2 folds
        >>> print(table.csv_text(), end="")
        method,AU1,best
        a_b,51.2,AU1
        c,8.0,
        # F1
        # of 2 folds
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: set[tuple[int, int]] = field(default_factory=set)
    notes: Sequence[str] = ()
    text_columns: int = 1

    def __post_init__(self) -> None:
        """Refuse rows of another length than the header."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"Expected `rows` to have {len(self.header)} cells each, as the header, but got {len(row)} in {list(row)}."
                )

    def form(self, kind: str) -> str:
        """The content of a file: `txt`, `md`, `tex` or `csv`."""
        made = {"txt": self.text, "md": self.markdown, "tex": self.latex, "csv": self.csv_text}[kind]()
        return made if made.endswith("\n") else made + "\n"

    def text(self) -> str:
        """For a terminal."""
        return self._table("", STAR, " ").text()

    def markdown(self) -> str:
        """In Markdown (GitHub's)."""
        return self._table("**", "**", "").markdown()

    def latex(self) -> str:
        """In LaTeX, with the rules of the package booktabs."""
        columns = "l" * self.text_columns + "r" * (len(self.header) - self.text_columns)
        marked = [
            [rf"\textbf{{{_latex(cell)}}}" if (i, k) in self.bold else _latex(cell) for k, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
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
            *(" & ".join(row) + r" \\" for row in marked),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par{{\footnotesize {_latex(note)}}}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join(lines)

    def csv_text(self) -> str:
        """As CSV; title and notes below as comments."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.header, "best"])
        for i, row in enumerate(self.rows):
            writer.writerow([*row, "; ".join(self.header[k] for k in range(len(row)) if (i, k) in self.bold)])
        for note in (self.title, *self.notes):
            text.write("# " + " ".join(note.split()) + "\n")
        return text.getvalue()

    def _table(self, before: str, after: str, else_after: str) -> Table:
        """With marks around what is bold; `else_after` stands behind the other cells of a column of numbers that holds bold ones."""
        marked = {k for _, k in self.bold if k >= self.text_columns}
        rows = [
            [
                f"{before}{cell}{after}" if (i, k) in self.bold else cell + else_after * (k in marked and cell != "")
                for k, cell in enumerate(row)
            ]
            for i, row in enumerate(self.rows)
        ]
        return Table(self.header, rows, title=self.title, notes=self.notes, text_columns=self.text_columns)


def best_cells(values: Sequence[Sequence[float | None]], blocks: Sequence[object], *, lowest: Sequence[int] = ()) -> set[tuple[int, int]]:
    """Places of the best of each column, also of several that look equal with one decimal.

    Args:
        values: Rates per row and column; None or nan: does not compete.
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


def write_table(table: BenchmarkTable, folder: Path) -> None:
    """Write all four forms into a folder, each atomically."""
    for kind in FORMS:
        write_text(folder / f"{table.name}.{kind}", table.form(kind))


def _latex(text: str) -> str:
    """Text with the letters escaped that LaTeX reads as something else."""
    return "".join(_LATEX.get(letter, letter) for letter in text)
