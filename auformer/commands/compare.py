"""Compare two predictions files of the same images, frame by frame: how far they agree on each AU.

  auformer compare runs/talk/predictions.csv openface/talk.csv
  auformer compare a.csv b.csv --out agreement.csv --plot agreement.png

Each file may be ours, OpenFace's or Py-Feat's: CSV with any separator and decimal sign, .xlsx or Parquet. Sources are
matched by file name (if each file has one source, they are taken to be the same), frames by number, faces by their
place in the image (OpenFace's by its landmarks; faces of one image that have no place are left out). Kappa is the
agreement beyond chance on what is active; the correlation is that of the probabilities or intensities themselves, if
both files have some. Agreement is not accuracy: two AU detectors may share their mistakes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from auformer.predict.agreement import Pairs

_SHOWN = 3  # sources that a line names [ours]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer compare`."""
    add = parser.add_argument
    add("first", type=Path, metavar="A", help="predictions file: ours, OpenFace's or Py-Feat's")
    add("second", type=Path, metavar="B", help="another one, of the same images")
    add("--out", type=Path, metavar="FILE", help="write the table, .csv or .parquet")
    add("--plot", type=Path, metavar="FILE", help="write a figure, .png")
    add("--overwrite", action="store_true", help="replace existing outputs")


def run(args: argparse.Namespace) -> int:
    """Read, pair, print, write.

    Raises:
        ManifestError: A file is no predictions file.
        ValueError: The files share no image, no face or no AU, or an output is there already.
    """
    from auformer.data.table_file import write_table
    from auformer.predict.agreement import agreement, pair_rows
    from auformer.predict.compare import read_predictions
    from auformer.report.scores import agreement_plot
    from auformer.report.style import save_png

    for path, suffixes in ((args.out, (".csv", ".parquet")), (args.plot, (".png",))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ValueError(f"Expected the output to end in {' or '.join(suffixes)}, but got {path}.")
        if path is not None and path.exists() and not args.overwrite:
            raise ValueError(
                f"Expected the output to be a new file, but found {path}: choose another name, or add --overwrite."
            )
    first, second = read_predictions(args.first), read_predictions(args.second)
    pairs = pair_rows(first, second)
    table = agreement(pairs)
    for letter, path, read in (("A", args.first, first), ("B", args.second, second)):
        print("\n   ".join([f"{letter}  {path} ({read.attrs['format']})", *read.attrs["notes"]]))
    print("\n" + "\n".join(_count_lines(pairs)) + "\n")
    if table.empty or not pairs.counts["in_both"]:
        raise ValueError(
            "Expected the files to share a face and an action unit, but they share none: there is nothing to compare. "
            "Faces are matched by their place: were both files made from images of one size?"
        )
    print(f"{'':<6}{'faces':>8}{'A active':>10}{'B active':>10}{'agree':>8}{'kappa':>8}{'corr.':>8}")
    for row in table.itertuples():
        a, b, agree = (_show(100 * share, 1) for share in (row.active_first, row.active_second, row.agree))
        rest = f"{agree:>8}{_show(row.kappa, 2):>8}{_show(row.correlation, 2):>8}"
        print(f"{row.au:<6}{row.faces:>8,}{a:>10}{b:>10}{rest}")
    print("\nactive, agree: per cent of faces. -: undefined. Agreement is not accuracy.")
    if args.out is not None:
        write_table(table, args.out)
        print(f"wrote {args.out}")
    if args.plot is not None:
        title = f"{args.first.name} and {args.second.name}"
        columns = (list(table[name]) for name in ("au", "kappa", "correlation"))
        save_png(agreement_plot(*columns, title=title), args.plot)
        print(f"wrote {args.plot}")
    return 0


def _count_lines(pairs: Pairs) -> list[str]:
    """How many images and faces the files have in common, and what one of them lacks."""
    counts, lines = pairs.counts, []
    for what, both, a, b in (
        ("images", "images", "images_first", "images_second"),
        ("faces", "in_both", "only_first", "only_second"),
    ):
        lines.append(f"{what} in both: {counts[both]:,}, in A only: {counts[a]:,}, in B only: {counts[b]:,}")
    for letter, names in zip("AB", pairs.alone, strict=True):
        if names:
            more = " ..." if len(names) > _SHOWN else ""
            lines.append(f"sources in {letter} only: {len(names):,} ({', '.join(names[:_SHOWN])}{more})")
    if counts["unreadable_first"] or counts["unreadable_second"]:
        first, second = counts["unreadable_first"], counts["unreadable_second"]
        lines.append(f"images that could not be read, and are not counted: {first:,} of A, {second:,} of B")
    if counts["undecided"]:
        text = "of images with several, of which a file does not say where they are"
        lines.append(f"faces left out: {counts['undecided']:,}, {text}")
    return lines


def _show(value: float, digits: int) -> str:
    """A number, or - where it is undefined."""
    return "-" if np.isnan(value) else f"{value:.{digits}f}"
