"""The page of a benchmark: every table and figure, and where the numbers come from, in one file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from auformer import __version__
from auformer.benchmark.figures import Figure
from auformer.benchmark.forms import BenchmarkTable
from auformer.benchmark.groups import Line
from auformer.report.html.html import Section, build_report, figure, paragraph, responsible_use, table

LONG = 60  # rows; longer tables stand in their files only [ours]
RENDERED = "synthetic_"  # how the data sets of the renderer are called
Pictures = Mapping[str, tuple[bytes, bytes]]


class Part(NamedTuple):
    """What the page says about one group, or about all of them.

    Attributes:
        heading: Protocol and data in words.
        tables: The main one first.
        figures: The main one first.
    """

    heading: str
    tables: Sequence[BenchmarkTable]
    figures: Sequence[Figure]


def report_page(lines: Sequence[Line], parts: Sequence[Part], pictures: Pictures) -> str:
    """The page `report.html`.

    Args:
        lines: The runs.
        parts: What is over all groups, then each group.
        pictures: Name of a figure -> image file by day and by night.
    """
    rendered = all(subject.startswith(RENDERED) for line in lines for au in line["aus"] for subject in line["counts"][au])
    sections = [Section(part.heading, _blocks(part, pictures), wide=True) for part in parts]
    sections[0] = sections[0]._replace(blocks=[*sections[0].blocks, responsible_use(rendered_only=rendered)])
    sections.append(Section("Where the numbers come from", [paragraph(text) for text in provenance(lines)], wide=True))
    seeds, data = sorted({line["seed"] for line in lines}), sorted({name for line in lines for name in (line["data"], line["test"])})
    lead = f"{len(lines)} runs on {', '.join(data)}; seeds {', '.join(map(str, seeds))}."
    return build_report("Benchmark of action unit detectors", sections, lead=lead, footer=f"auformer {__version__}.")


def _blocks(part: Part, pictures: Pictures) -> list[str]:
    """Tables and figures in turn; a note that several tables have stands below the first."""
    said: set[str] = set()
    blocks = []
    for one, drawn in itertools.zip_longest(part.tables, part.figures):
        if one is not None:
            blocks.append(table_block(one, said))
        if drawn is not None:
            blocks.append(figure(*pictures[drawn.name], alt=drawn.alt, caption=f"{drawn.heading}. {drawn.caption}"))
    return blocks


def table_block(one: BenchmarkTable, said: set[str]) -> str:
    """A table on a page; a long one as a sentence that says where it is.

    Args:
        one: The table.
        said: Notes that the page has already; those of this table are added.
    """
    if len(one.rows) > LONG:
        return paragraph(f"{one.title}: {len(one.rows)} rows, in tables/{one.name}.csv, .md, .tex and .txt.")
    extra = one.text_columns - 1  # the first column alone names a row: further columns of text are joined to it
    rows = [[", ".join(row[: extra + 1]), *row[extra + 1 :]] for row in (one.header, *one.rows)]
    notes = [note.replace(" (* in plain text)", "") for note in one.notes if note not in said]
    said.update(one.notes)
    return table(rows[0], rows[1:], caption=one.title, notes=notes, bold={(i, k - extra) for i, k in one.bold})


def provenance(lines: Sequence[Line]) -> list[str]:
    """Commits, machines, epochs and time of the runs, in sentences.

    Args:
        lines: The runs.
    """

    def named(key: str) -> str:
        return "; ".join(sorted({str(line[key]) for line in lines if line.get(key)})) or "unknown"

    chosen = {"validation": "on subjects held out of training", "test": "on the test part", "last": "the last one"}
    how: dict[str, set[str]] = {}
    for line in lines:
        how.setdefault(chosen.get(str(line["select"]), str(line["select"])), set()).add(str(line["method"]))
    texts = "; ".join(f"{text} ({', '.join(sorted(names))})" for text, names in sorted(how.items()))
    seconds = sum(line.get("seconds") or 0 for line in lines if not line.get("trained_by"))  # what was taken over took no time
    return [
        f"Code: commit {named('commit')}. Machine: {named('machine')}. Time of all runs together: {seconds / 3600:.1f} h.",
        f"Choice of the epoch: {texts}.",
        "All tables and figures are made from runs.jsonl alone; each of its lines holds the configuration of its run.",
    ]
