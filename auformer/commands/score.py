"""Score a predictions file: F1 at 0.5, AUROC, AP and accuracy per action unit (AU); of intensities ICC, CCC, PCC, MAE.

  auformer score runs/demo/predictions.csv
  auformer score predictions.csv --by subject --json scores.json
  auformer score predictions.csv --by group_sex

Reads the columns AU.._true and AU.._prob beside the key (and `fold`, where there is one: then also the mean over folds
that the field reports); for intensities AU.._intensity_true and AU.._intensity_pred. A table from elsewhere will do:
dataset, subject, sequence, frame, AU12_true, AU12_prob.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer score`."""
    add = parser.add_argument
    by = "also score each value of a column by itself: subject, or one called group_..."
    predictions = "CSV or Parquet file that `evaluate` wrote, or one like it"
    add("predictions", type=Path, metavar="PREDICTIONS", help=predictions)
    add("--by", metavar="COLUMN", help=by)
    out = "write all scores as JSON (rates from 0 to 1); an existing file is replaced only if it holds scores"
    add("--json", type=Path, metavar="FILE", help=out)


def run(args: argparse.Namespace) -> int:
    """Score, write JSON if asked, print the tables; raises what `auformer.scoring.score` does."""
    from auformer.data.manifest import read_predictions

    show_scores(read_predictions(args.predictions), title=str(args.predictions), by=args.by, out=args.json)
    if args.json is not None:
        print(f"\nwrote {args.json}")
    return 0


def show_scores(predictions: pd.DataFrame, *, title: str, by: str | None = None, out: Path | None = None) -> None:
    """Score predictions (see `auformer.scoring.score`) and print the tables."""
    from auformer.scoring import score
    from auformer.scoring.provenance import provenance_lines
    from auformer.scoring.tables import group_table, intensity_group_table, intensity_table, score_table

    scores = score(predictions, by=by, out=out)
    print("\n".join(provenance_lines(predictions.attrs.get("side", {}))))
    if "per_au" in scores:
        print(f"\n{score_table(scores, title=title).text()}")
        if by is not None:
            print(f"\n{group_table(scores, title=f'{title} by {by}: F1 x 100').text()}")
    if "intensity" in scores:
        print(f"\n{intensity_table(scores['intensity'], title=f'{title}: intensity').text()}")
        if by is not None:
            print(f"\n{intensity_group_table(scores['intensity'], title=f'{title} by {by}: ICC').text()}")
