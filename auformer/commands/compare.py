"""Compare two predictions files of the same images, frame by frame: how far they agree on each AU.

  auformer compare runs/talk/predictions.csv openface/talk.csv
  auformer compare a.csv b.csv --out agreement.csv --plot agreement.png --bland-altman intensities.png

Each file may be ours, OpenFace's or Py-Feat's: CSV with any separator and decimal sign, .xlsx or Parquet; or a
manifest, such as that of your own coding (`auformer prepare annotations`), whose labels count as activity. Sources are
matched by file name (if each file has one source, they are taken to be the same), frames by number, faces by their
place in the image (OpenFace's by its landmarks; faces of one image that have no place are left out). Kappa is the
agreement beyond chance on what is active; the correlation is that of the probabilities or intensities themselves, if
both files have some. Where both have intensities, ICC(3,1), mean absolute error, bias (mean of A - B) and limits of
agreement (Bland and Altman 1986) are printed too, and --bland-altman draws A - B over the mean of both. Agreement is
not accuracy: two AU detectors may share their mistakes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from auformer.predict.agreement import Pairs

_SHOWN = 3  # sources that a line names [ours]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer compare`."""
    add = parser.add_argument
    add("first", type=Path, metavar="A", help="predictions file: ours, OpenFace's or Py-Feat's")
    add("second", type=Path, metavar="B", help="another one, of the same images")
    add("--out", type=Path, metavar="FILE", help="write the table, .csv or .parquet, and the same as .json")
    add("--plot", type=Path, metavar="FILE", help="write a figure of kappa and correlation, .png")
    add("--bland-altman", type=Path, metavar="FILE", help="write a figure of the differences in intensity, .png")
    add("--overwrite", action="store_true", help="replace existing outputs")


def run(args: argparse.Namespace) -> int:
    """Read, pair, print, write.

    Raises:
        ManifestError: A file is no predictions file.
        ValueError: The files share no image, no face or no AU, or an output is there already.
    """
    from auformer.data.table_file import sidecar_path
    from auformer.predict.agreement import agreement, pair_rows
    from auformer.predict.compare import read_predictions
    from auformer.predict.intensity_agreement import intensity_agreement

    figures = ((args.plot, (".png",)), (args.bland_altman, (".png",)))
    for path, suffixes in ((args.out, (".csv", ".parquet")), *figures):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ValueError(f"Expected the output to end in {' or '.join(suffixes)}, but got {path}.")
    outputs = [path for path in (args.out, args.plot, args.bland_altman) if path is not None]
    outputs += [sidecar_path(args.out)] if args.out is not None else []
    if not args.overwrite and (taken := [path for path in outputs if path.exists()]):
        raise ValueError(
            f"Expected the output to be a new file, but found {taken[0]}: choose another name, or add --overwrite."
        )
    first, second = read_predictions(args.first), read_predictions(args.second)
    pairs = pair_rows(first, second)
    table, strengths = agreement(pairs), intensity_agreement(pairs)
    for letter, path, read in (("A", args.first, first), ("B", args.second, second)):
        print("\n   ".join([f"{letter}  {path} ({read.attrs['format']})", *read.attrs["notes"]]))
    print("\n" + "\n".join(_count_lines(pairs)) + "\n")
    if table.empty or not pairs.counts["in_both"]:
        raise ValueError(
            "Expected the files to share a face and an action unit, but they share none: there is nothing to compare. "
            "Faces are matched by their place: were both files made from images of one size?"
        )
    if args.bland_altman is not None and strengths.empty:
        raise ValueError(
            "Expected two files with intensities for --bland-altman, but no action unit has one in both (ours from a "
            "checkpoint with an intensity head, OpenFace's `_r`): leave the option out."
        )
    print(f"{'':<6}{'faces':>8}{'A active':>10}{'B active':>10}{'agree':>8}{'kappa':>8}{'corr.':>8}")
    for row in table.itertuples():
        a, b, agree = (_show(100 * share, 1) for share in (row.active_first, row.active_second, row.agree))
        rest = f"{agree:>8}{_show(row.kappa, 2):>8}{_show(row.correlation, 2):>8}"
        print(f"{row.au:<6}{row.faces:>8,}{a:>10}{b:>10}{rest}")
    print("\nactive, agree: per cent of faces. -: undefined. Agreement is not accuracy.")
    if not strengths.empty:
        print("\n" + "\n".join(_intensity_lines(strengths)))
    _write(args, first, second, pairs, table, strengths)
    return 0


def _intensity_lines(strengths: pd.DataFrame) -> list[str]:
    """How far the files agree on intensities: a table."""
    lines = [f"{'intensity, 0 to 5':<18}{'faces':>8}{'ICC(3,1)':>10}{'MAE':>8}{'A - B':>8}{'limits of agreement':>22}"]
    for row in strengths.itertuples():
        limits = "-" if np.isnan(row.low) else f"{row.low:.2f} to {row.high:.2f}"
        numbers = f"{_show(row.icc, 2):>10}{_show(row.mae, 2):>8}{_show(row.bias, 2):>8}{limits:>22}"
        lines.append(f"{row.au:<18}{row.intensity_faces:>8,}{numbers}{f'  {row.undefined}' if row.undefined else ''}")
    return [*lines, "", "A - B: mean difference (bias); 95 % of differences are expected within the limits."]


def _write(
    args: argparse.Namespace, first: pd.DataFrame, second: pd.DataFrame, pairs: Pairs, table: pd.DataFrame,
    strengths: pd.DataFrame,
) -> None:  # fmt: skip
    """Write the table with its sidecar, and the figures, as far as they are asked for."""
    from auformer.data.table_file import sidecar_path, write_sidecar, write_table
    from auformer.predict.intensity_agreement import intensity_pairs
    from auformer.report.bland_altman import bland_altman_plot
    from auformer.report.scores import agreement_plot
    from auformer.report.style import save_png

    title = f"{args.first.name} and {args.second.name}"
    if args.out is not None:
        both = table if strengths.empty else table.merge(strengths, on="au", how="left")
        rows = both.astype(object).where(both.notna(), None).to_dict("records")
        names = (("first", args.first, first), ("second", args.second, second))
        files = {name: {"file": str(path), "format": read.attrs["format"]} for name, path, read in names}
        write_sidecar({**files, "counts": pairs.counts, "agreement": rows}, args.out)
        write_table(both, args.out)
        print(f"wrote {args.out} and {sidecar_path(args.out)}")
    if args.plot is not None:
        columns = (list(table[name]) for name in ("au", "kappa", "correlation"))
        save_png(agreement_plot(*columns, title=title), args.plot)
        print(f"wrote {args.plot}")
    if args.bland_altman is not None:
        limits = {row.au: (row.bias, row.low, row.high) for row in strengths.itertuples()}
        save_png(bland_altman_plot(intensity_pairs(pairs), limits, title=title), args.bland_altman)
        print(f"wrote {args.bland_altman}")


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
