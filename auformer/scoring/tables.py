"""One table of finished texts with its renderers, and the tables of scores built on it.

One table model, rendered as terminal text or Markdown, and the tables of scores built on it.

Rates are shown times 100 with one decimal, as the field does. An undefined score is `nan`, and a note names its AU; `(11/12)` behind a
mean says that it rests on 11 of 12 AUs, `(2/3)` behind an AU's mean over folds that the AU has positives in 2 of 3.

One table of finished texts, and its four forms with the same content: terminal, Markdown, LaTeX, CSV.

What is best in its column is bold; plain text sets a star behind it, CSV names the columns in a last one, `best`. Notes stand below the
table; in CSV they are lines that begin with `# ` (`pandas.read_csv(path, comment="#")` skips them).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auformer.aus import ACTION_UNITS
from auformer.files import write_text

FLOOR = "always yes"
"""Header of the floor: F1 of a detector that calls every AU active in every row."""

_PER_AU = {
    "f1": "F1",
    "f1_folds": "F1, folds",
    "auroc": "AUROC",
    "average_precision": "AP",
    "accuracy": "accuracy",
    "always_positive_f1": FLOOR,
}


@dataclass(frozen=True)
class Table:
    """A table of finished texts, so that every format shows the same.

    Args:
        header: Names of the columns.
        rows: Cells, one text per column.
        footer: Rows below a rule: means and floors.
        title: Line above the table.
        notes: Lines below it.
        text_columns: How many columns from the left are text (flush left); the others are numbers (flush right).
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[Sequence[str]] = ()
    title: str = ""
    notes: Sequence[str] = ()
    text_columns: int = 1

    def text(self) -> str:
        """The table for a terminal, without a line break at the end.

        Example:
            >>> print(Table(["AU", "F1"], [["AU1", "51.2"], ["AU12", "8.0"]], footer=[["mean", "29.6"]], notes=["of 2 AUs"]).text())
            AU      F1
            ----  ----
            AU1   51.2
            AU12   8.0
            ----  ----
            mean  29.6
            of 2 AUs
        """
        columns = [list(column) for column in zip(self.header, *self.rows, *self.footer, strict=True)]
        padded = [
            _flush_left(column) if i < self.text_columns else _flush_right(column) for i, column in enumerate(columns)
        ]
        header, *lines = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
        rule = "  ".join("-" * len(column[0]) for column in padded)
        body, footer = lines[: len(self.rows)], lines[len(self.rows) :]
        head = [self.title, ""] if self.title else []
        return "\n".join([*head, header, rule, *body, *([rule, *footer] if footer else []), *self.notes])

    def markdown(self) -> str:
        """The table in Markdown (GitHub's), without a line break at the end; the footer is in bold."""
        rules = ["---" if column < self.text_columns else "---:" for column in range(len(self.header))]
        rows = [[_escaped(cell) for cell in row] for row in [self.header, *self.rows]]
        footer = [[f"**{_escaped(cell)}**" if cell else "" for cell in row] for row in self.footer]
        lines = [f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:], *footer]]
        head = [f"**{_escaped(self.title)}**", ""] if self.title else []
        notes = ["", *(f"- {_escaped(note)}" for note in self.notes)] if self.notes else []
        return "\n".join([*head, *lines, *notes])


def score_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per AU: every score, positives and annotated rows, and the floor; the mean below.

    Args:
        scores: As `score_predictions` gives them.
        title: Line above the table.
    """
    per_au, mean = scores["per_au"], scores["mean"]
    names = [name for name in _PER_AU if name in mean]
    num_folds = len(scores.get("folds", ()))
    rows = []
    for au, values in per_au.items():
        cells = {name: percent(values[name]) for name in names}
        if num_folds:
            cells["f1_folds"] = percent(values["f1_folds"], values["num_folds"], num_folds)
        rows.append([au, ACTION_UNITS[au].name, *cells.values(), f"{values['positives']:,} / {values['annotated']:,}"])
    means = [percent(mean[name], mean["num_aus"][name], len(per_au)) for name in names]
    footer = [["mean", f"of {len(per_au)} AUs", *means, ""]]
    header = ["AU", "FACS name", *(_PER_AU[name] for name in names), "positives"]
    return Table(header, rows, footer, title=title, notes=score_notes(scores), text_columns=2)


def group_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per group of `score_predictions(..., by=...)`: F1 per AU, mean F1 and AUROC, rows.

    Args:
        scores: As `score_predictions` gives them.
        title: Line above the table.
    """
    groups, au_names = scores["groups"], list(scores["per_au"])
    f1 = {name: {au: values["f1"] for au, values in group["per_au"].items()} for name, group in groups.items()}
    means = {name: group["mean"] for name, group in groups.items()}
    auroc = {name: percent(mean["auroc"], mean["num_aus"]["auroc"], len(au_names)) for name, mean in means.items()}
    rows = {name: f"{group['rows']:,}" for name, group in groups.items()}
    return au_columns_table(scores["by"], f1, au_names, {"AUROC": auroc, "rows": rows}, title=title)


def methods_table(
    results: Mapping[str, Mapping[str, Any]], au_names: Sequence[str], *, title: str = "", notes: Sequence[str] = ()
) -> Table:
    """A row per method: F1 per AU, mean F1, mean AUROC, trainable parameters.

    Args:
        results: label -> `f1` (AU -> rate or None), `mean_auroc` and `trainable_parameters` (both may be missing or None).
        au_names: Columns, in this order.
        title: Line above the table.
        notes: Lines below it.
    """
    f1 = {label: result["f1"] for label, result in results.items()}
    auroc = {
        label: percent(result["mean_auroc"]) if result.get("mean_auroc") is not None else ""
        for label, result in results.items()
    }
    sizes = {label: result.get("trainable_parameters") for label, result in results.items()}
    trainable = {label: "" if size is None else f"{size:,}" for label, size in sizes.items()}
    return au_columns_table("method", f1, au_names, {"AUROC": auroc, "trainable": trainable}, title=title, notes=notes)


def au_columns_table(
    first: str,
    f1: Mapping[str, Mapping[str, float | None]],
    au_names: Sequence[str],
    extra: Mapping[str, Mapping[str, str]] | None = None,
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> Table:
    """F1 with AUs as columns, the mean behind them, then further columns.

    Args:
        first: Header of the labels.
        f1: label -> AU -> F1 in [0, 1]; None, nan or no entry where undefined.
        au_names: Columns, in this order.
        extra: header -> label -> finished text, for columns behind the mean.
        title: Line above the table.
        notes: Lines below it.
    """
    rows = []
    for label, values in f1.items():
        known = [value for au in au_names if (value := values.get(au)) is not None and not math.isnan(value)]
        mean = percent(sum(known) / len(known) if known else None, len(known), len(au_names))
        rows.append(
            [
                label,
                *(percent(values.get(au)) for au in au_names),
                mean,
                *(column[label] for column in (extra or {}).values()),
            ]
        )
    return Table([first, *au_names, f"mean of {len(au_names)}", *(extra or {})], rows, title=title, notes=notes)


def percent(value: float | None, num: int = 1, total: int = 1) -> str:
    """A rate in [0, 1] times 100; behind it how many of the values it could rest on it does rest on, unless on all.

    Example:
        >>> percent(0.5123), percent(0.5123, 2, 3), percent(None)
        ('51.2', '51.2 (2/3)', 'nan')
    """
    if value is None or math.isnan(value):
        return "nan"
    return f"{100 * value:.1f}" + (f" ({num}/{total})" if num < total else "")


def score_notes(scores: Mapping[str, Any]) -> list[str]:
    """What stands below a table of scores: the rule, rows left out, AUs without positives or truth, all by name."""
    per_au, rows = scores["per_au"], scores["rows"]
    notes = [
        f"Rates x 100; active from a probability of {scores['threshold']} on; '{FLOOR}': F1 of a detector that always says yes."
    ]
    left_out = ", ".join(f"{status} {num:,}" for status, num in rows["left_out"].items())
    notes.append(f"{rows['scored']:,} of {rows['total']:,} rows scored{f'; left out: {left_out}' if left_out else ''}.")
    lacking = {
        "Without annotated rows, in no mean": [au for au, v in per_au.items() if not v["annotated"]],
        "Without positives, in no mean but that of accuracy": [
            au for au, v in per_au.items() if v["annotated"] and not v["positives"]
        ],
        "Without negatives, so without AUROC": [
            au for au, v in per_au.items() if v["annotated"] and v["positives"] == v["annotated"]
        ],
        "Predicted, but without truth": scores["unscored"]["no_truth"],
        "With truth, but not predicted": scores["unscored"]["no_probability"],
    }
    notes += [f"{text}: {', '.join(au_names)}." for text, au_names in lacking.items() if au_names]
    if num_folds := len(scores.get("folds", ())):
        number = f"{num_folds} fold{'' if num_folds == 1 else 's'}"
        notes.append(
            f"'F1, folds': mean over {number} of the F1 in each; (k/{num_folds}): the AU has positives in k of them."
        )
    return notes


def _flush_left(cells: Sequence[str]) -> list[str]:
    """Texts of one column, padded on the right."""
    width = max(map(len, cells))
    return [cell.ljust(width) for cell in cells]


def _flush_right(cells: Sequence[str]) -> list[str]:
    """Header and numbers of one column, padded so that last digits meet, whether or not something in brackets follows them."""
    header, *numbers = cells
    tail = max((len(cell) - len(cell.split(" (")[0]) for cell in numbers), default=0)
    cells = [header, *(cell if " (" in cell else cell + " " * tail for cell in numbers)]
    width = max(map(len, cells))
    return [cell.rjust(width) for cell in cells]


def _escaped(cell: str) -> str:
    """Text of a Markdown cell."""
    return cell.replace("\\", "\\\\").replace("|", "\\|")


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


def best_cells(
    values: Sequence[Sequence[float | None]], blocks: Sequence[object], *, lowest: Sequence[int] = ()
) -> set[tuple[int, int]]:
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
