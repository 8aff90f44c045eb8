"""The report of `auformer verify` for people: counts, published counts side by side, then what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auformer.data.splits import FOLD_VIEWS, dataset_id

from .folds import VIEW_TITLES


def report_lines(report: dict[str, Any]) -> list[str]:
    """Lines of a report.

    Args:
        report: As `verify` gives it.

    Returns:
        Lines without line ends; the last one says whether something is wrong.
    """
    lines = [f"{report['manifest']}"]
    if "rows" in report:
        lines += _counts(report)
        for published in report["published"]:
            lines += ["", *_published(published)]
    for title, key in (("Notes", "notes"), ("Wrong", "problems")):
        if report[key]:
            lines += [
                "",
                f"{title}:",
                *(f"  {entry['kind']} ({entry['where']}): {entry['text']}" for entry in report[key]),
            ]
    number = len(report["problems"])
    verdict = (
        "nothing wrong was found" if not number else f"{number} {'thing is' if number == 1 else 'things are'} wrong"
    )
    return [*lines, "", f"{report['manifest']}: {verdict}"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right.

    >>> table(["AU", "rows"], [["AU1", "10"], ["AU12", "7"]])
    ['AU    rows', 'AU1     10', 'AU12     7']
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _counts(report: dict[str, Any]) -> list[str]:
    """Rows, status, images, and the tables per AU, fold and subject."""
    status = ", ".join(f"{name} {count:,}" for name, count in report["status"].items())
    datasets = ", ".join(f"{name} {count:,}" for name, count in report["datasets"].items())
    lines = [f"rows: {report['rows']:,} ({datasets}); status: {status}"]
    images = report["images"]
    if images is None:
        lines.append("images: not checked")
    else:
        sizes = ", ".join(f"{size} px" for size in images["sizes"]) or "none readable"
        lines.append(
            f"images: {images['checked']:,} checked ({sizes}), {len(images['missing']):,} missing, "
            f"{len(images['unreadable']):,} unreadable, {len(images['duplicates']):,} groups of equal ones"
        )
    rows = [
        [
            au,
            *(f"{counts[name]:,}" for name in ("positives", "negatives", "unknown")),
            _rate(counts["positives"], counts["negatives"]),
        ]
        for au, counts in report["aus"].items()
    ]
    lines += ["", *table(["AU", "positives", "negatives", "unknown", "active"], rows)]
    return [*lines, *_folds(report["folds"]), *_subjects(report["subjects"])]


def _rate(positives: int, negatives: int) -> str:
    """Active share of the annotated rows."""
    return f"{positives / (positives + negatives):.1%}" if positives + negatives else "-"


def _folds(folds: list[dict[str, Any]]) -> list[str]:
    """Rows, subjects and positives of each fold, and what others call it."""
    if not folds:
        return []
    aus = list(folds[0]["positives"])
    rows = []
    for fold in folds:
        counts = [fold["subjects"], fold["rows"], fold["ok"], *(fold["positives"][au] for au in aus)]
        rows.append([f"{fold['dataset']} {fold['fold']}", *(f"{count:,}" for count in counts)])
    return ["", *table(["fold", "subjects", "rows", "ok", *aus], rows), *_views(folds)]


def _views(folds: list[dict[str, Any]]) -> list[str]:
    """Numbers of the published parts in other code bases."""
    lines = []
    for dataset in sorted({fold["dataset"] for fold in folds}):
        names = {fold["fold"] for fold in folds if fold["dataset"] == dataset}
        for view, datasets in FOLD_VIEWS.items():
            numbers = {part: number for number, part in datasets.get(dataset_id(dataset), {}).items() if part in names}
            if numbers:
                shown = ", ".join(f"{part} is fold {numbers[part]}" for part in sorted(numbers))
                lines.append(f"{dataset} as {VIEW_TITLES[view]} counts: {shown}")
    return lines


def _subjects(subjects: list[dict[str, Any]]) -> list[str]:
    """Rows and positives of each subject."""
    aus = list(subjects[0]["positives"])
    rows = []
    for one in subjects:
        counts = [one["rows"], one["ok"], *(one["positives"][au] for au in aus)]
        rows.append([f"{one['dataset']} {one['subject']}", *(f"{count:,}" for count in counts)])
    return ["", *table(["subject", "rows", "ok", *aus], rows)]


def _published(published: dict[str, Any]) -> list[str]:
    """Here and published, side by side."""
    lines = [f"Published counts of {published['title']}{': ' + published['source'] if published['source'] else ''}"]
    if published["parts"]:
        rows = [row for part in published["parts"] for row in _part(part)]
        lines += table(["part", "frames", *published["parts"][0]["positives"]], rows)
    for total in published["totals"]:
        unit = "frames" if total["clips"] is None else "clips"
        mine, theirs = published[unit], total[unit]
        difference = "equal" if mine == theirs else f"{mine - theirs:+,}"
        lines.append(f"{total['source']}: {theirs:,} {unit} ({total['about']}); here {mine:,}, {difference}")
    return lines


def _part(part: dict[str, Any]) -> list[list[str]]:
    """Lines of one part: here, published, difference; of a part that is not whole only the published counts."""
    here, there = (
        [part["frames"], *part["positives"].values()],
        [part["published_frames"], *part["published_positives"].values()],
    )
    published = [f"{part['name']} published", *(f"{count:,}" for count in there)]
    if not part["complete"]:
        return [
            published,
            [f"{part['name']} not whole ({part['subjects']} of {part['expected']} subjects)", *["-"] * len(there)],
        ]
    difference = [f"{mine - theirs:+,}" if mine != theirs else "=" for mine, theirs in zip(here, there, strict=True)]
    return [
        [f"{part['name']} here", *(f"{count:,}" for count in here)],
        published,
        [f"{part['name']} difference", *difference],
    ]
