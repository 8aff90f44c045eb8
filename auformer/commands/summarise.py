"""Statistics of predictions per person, video and AU, as a tidy table for R, Python or a spreadsheet.

  auformer summarise runs/talk/predictions.csv
  auformer summarise predictions.csv --out summary.csv --pairs pairs.csv

--out: a row per person, video and AU with the share of time that the AU is active, episodes per minute, their mean
duration, mean probability and intensity (where the AU detector predicts one), and how many frames the face was seen in.
--pairs: a row per pair of AUs with the share of time that both are active, what it would be by chance, and how much of
each AU's time the other is active too. Shares are of the time in which the face is seen. Photographs and numbered
images have no time: their shares are of images, and what needs time is empty. docs/r.md reads both tables in R.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer summarise`."""
    add = parser.add_argument
    add("predictions", type=Path, metavar="PREDICTIONS", help="predictions file: ours, OpenFace's or Py-Feat's")
    add("--out", type=Path, metavar="FILE", help="write the table, .csv or .parquet")
    add("--pairs", type=Path, metavar="FILE", help="write the table of pairs of AUs, .csv or .parquet")
    add("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> int:
    """Read, print means over people, write.

    Raises:
        ManifestError: The file is no predictions file.
        ValueError: Nobody is seen in it, or an output is there already.
    """
    from auformer.annotations.summary import cooccurrence, summarise
    from auformer.data.table_file import write_table
    from auformer.predict.compare import read_predictions

    for path in (args.out, args.pairs):
        if path is not None and path.suffix.lower() not in (".csv", ".parquet"):
            raise ValueError(f"Expected the output to end in .csv or .parquet, but got {path}")
        if path is not None and path.exists() and not args.overwrite:
            raise ValueError(
                f"Expected the output to be a new file, but found {path}: choose another name, or add --overwrite"
            )
    if args.out is not None and args.out == args.pairs:
        raise ValueError(f"Expected --out and --pairs to be two files, but both are {args.out}")
    table = read_predictions(args.predictions)
    summary = summarise(table)
    print("\n".join(_lines(summary, str(args.predictions))))
    for path, content in ((args.out, summary), (args.pairs, cooccurrence(table) if args.pairs is not None else None)):
        if path is not None and content is not None:
            write_table(content, path)
            print(f"wrote {path}")
    return 0


def _lines(summary: pd.DataFrame, name: str) -> list[str]:
    """Means over people, each counted once whatever the length of their videos."""
    people = summary.drop_duplicates(["dataset", "subject", "sequence", "face"])
    frames, usable = int(people["frames"].sum()), int(people["usable_frames"].sum())
    lines = [
        name,
        f"{len(people):,} people in {people['sequence'].nunique():,} sources; seen in {usable:,} of {frames:,} frames",
        "",
        f"{'':<6}{'active, %':>10}{'per minute':>12}{'seconds':>9}{'intensity':>11}",
    ]
    for au, rows in summary.groupby("au", sort=False):
        active, rate, duration, level = (
            rows[column].astype(float).mean()
            for column in ("active_share", "episodes_per_minute", "mean_duration_s", "mean_intensity")
        )
        cells = f"{100 * active:>10.1f}{_show(rate, 12)}{_show(duration, 9)}{_show(level, 11)}"
        lines.append(f"{au:<6}{cells}")
    return [*lines, "", "Means over people. per minute: episodes; seconds: their mean duration. -: no time, or none."]


def _show(value: float, width: int) -> str:
    """A number, or - where there is none."""
    return f"{'-':>{width}}" if value != value else f"{value:>{width}.2f}"
