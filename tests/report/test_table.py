"""The four forms of a table hold the same, read back by readers that know nothing of the writer."""

import csv
import io
import re

import pandas as pd
import pytest

from auformer.report.table import Table, best_cells

TABLE = Table(
    ["method", "AU1", "mean of 12", "95 % interval"],
    [
        ["full_fine|tuning †", "51.2†", "48.0 (11/12)†", "[40.0, 52.1]†"],
        ["100 % & {more}_#1", "60.0", "nan", ""],
        ["MDHR (as published)", "", "66.6", ""],
    ],
    title="Within: lab_a → lab_b, F1 × 100",
    notes=["† 95 % of it, a_b & c ± 1", "second, with commas: AU1, AU2 | <tag>"],
    bold={(1, 1), (2, 2)},
    name="within-lab_a",
)
LATEX = {
    r"\textbar{}": "|", r"\textless{}": "<", r"\textgreater{}": ">", r"$^\dagger$": "†", r"$\pm$": "±",
    r"$\to$": "→", r"$\times$": "×", r"\&": "&", r"\%": "%", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}",
}  # fmt: skip


def of_markdown(text):
    lines = text.splitlines()
    rows = [
        [cell.strip().replace("\0", "|") for cell in line.replace(r"\|", "\0").strip("|").split("|")]
        for line in lines
        if line.startswith("| ")
    ]
    bold = {(i, k) for i, row in enumerate(rows[2:]) for k, cell in enumerate(row) if cell.startswith("**")}
    cells = [[cell.strip("*") for cell in row] for row in rows[2:]]
    notes = [line.removeprefix("- ").replace(r"\|", "|") for line in lines if line.startswith("- ")]
    return lines[0].strip("*"), rows[0], cells, bold, notes


def of_latex(text):
    def plain(cell):
        for code, letter in LATEX.items():
            cell = cell.replace(code, letter)
        return cell.strip()

    body = re.search(r"\\toprule\n(.*)\n\\midrule\n(.*)\n\\bottomrule", text, re.DOTALL)
    header, *rows = [
        re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for part in body.groups() for line in part.splitlines()
    ]
    bold = {(i, k) for i, row in enumerate(rows) for k, cell in enumerate(row) if cell.strip().startswith(r"\textbf{")}
    cells = [[plain(re.sub(r"^\s*\\textbf\{(.*)\}\s*$", r"\1", cell)) for cell in row] for row in rows]
    notes = [plain(note) for note in re.findall(r"\\par\{\\footnotesize (.*)\}", text)]
    return plain(re.search(r"\\caption\{(.*)\}", text).group(1)), list(map(plain, header)), cells, bold, notes


def of_csv(text):
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    header, *rows = csv.reader(lines)
    bold = {(i, header.index(name)) for i, row in enumerate(rows) for name in row[-1].split("; ") if name}
    title, *notes = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    return title, header[:-1], [row[:-1] for row in rows], bold, notes


def of_text(text):
    lines = text.splitlines()
    rule = lines[3]
    ends = [match.end() for match in re.finditer("-+", rule)]
    starts = [0, *(end + 2 for end in ends[:-1])]
    split = [
        [line[start:end].strip() for start, end in zip(starts, ends, strict=True)] for line in (lines[2], *lines[4:7])
    ]
    bold = {(i, k) for i, row in enumerate(split[1:]) for k, cell in enumerate(row) if cell.endswith("*")}
    return lines[0], split[0], [[cell.rstrip("*") for cell in row] for row in split[1:]], bold, lines[7:]


@pytest.mark.parametrize("kind, read", [("txt", of_text), ("md", of_markdown), ("tex", of_latex), ("csv", of_csv)])
def test_every_form_holds_the_same(kind, read, tmp_path):
    TABLE.write(tmp_path)
    text = (tmp_path / f"within-lab_a.{kind}").read_text(encoding="utf-8")
    title, header, rows, bold, notes = read(text)
    assert title == TABLE.title and header == TABLE.header and rows == TABLE.rows
    assert bold == TABLE.bold and notes == TABLE.notes
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".md", ".tex", ".txt"]


def test_pandas_reads_the_csv():
    table = Table(["m", "AU1"], [["a", "51.2"], ["b", ""]], title="x, y", notes=['c, "d"'], bold={(0, 1)})
    frame = pd.read_csv(io.StringIO(table.csv()), comment="#")
    assert frame["AU1"].tolist()[0] == 51.2 and frame["best"].tolist()[0] == "AU1" and len(frame) == 2


def test_latex_is_balanced_and_escaped():
    text = TABLE.latex()
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 3 and line.endswith(r" \\") for line in body.splitlines())
    assert not re.findall(r"(?<!\\)[#%]", text.split("\n", 1)[1])


def test_last_digits_meet_beside_stars():
    lines = Table(["m", "AU1"], [["a", "51.2"], ["b", "8.0"]], bold={(0, 1)}).text().splitlines()
    assert lines[2].index(".") == lines[3].index(".") and lines[2].endswith("51.2*")
    assert Table(["a", "b"], []).text().splitlines() == ["a  b", "-  -"]


def test_the_footer_stands_below_a_rule():
    table = Table(["method", "F1"], [["a|b", "51.2 (2/3)"]], [["mean", "29.6"]], title="T", notes=["n|n"])
    rule = "------  ----------"
    text = ["T", "", "method          F1", rule, "a|b     51.2 (2/3)", rule, "mean    29.6", "n|n"]
    assert table.text().splitlines() == text
    rows = ["| method | F1 |", "| --- | ---: |", "| a\\|b | 51.2 (2/3) |", "| **mean** | **29.6** |"]
    assert table.markdown().splitlines() == ["**T**", "", *rows, "", "- n\\|n"]
    assert table.latex().count(r"\midrule") == 2 and table.csv().splitlines()[2] == "mean,29.6,"


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 cells each"):
        Table(["a", "b"], [["1"]])


class TestBest:
    def test_blocks_compete_by_themselves_and_single_ones_do_not(self):
        assert best_cells([[0.5], [0.6], [0.9]], ["a", "a", "b"]) == {(1, 0)}

    def test_what_looks_equal_is_equal(self):
        assert best_cells([[0.50001], [0.49999], [0.4]], [0, 0, 0]) == {(0, 0), (1, 0)}

    def test_lowest_and_undefined(self):
        nan = float("nan")
        assert best_cells([[nan, 0.2], [0.3, 0.1], [0.2, None]], [0, 0, 0], lowest=[1]) == {(1, 0), (1, 1)}
        assert best_cells([], []) == set()
