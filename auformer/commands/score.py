"""Score a predictions file: F1 at 0.5, AUROC, average precision and accuracy per action unit (AU), and their means.

  auformer score runs/demo/predictions.csv
  auformer score predictions.csv --by subject --json scores.json
  auformer score predictions.csv --by group_sex

Reads the columns AU.._true and AU.._prob beside the key (and `fold`, where there is one: then also the mean over folds that the field
reports). A table from elsewhere will do: dataset, subject, sequence, frame, AU12_true, AU12_prob.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer score`."""
    parser.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS",
        help="CSV or Parquet file that `evaluate` wrote, or one like it",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="also score each value of a column by itself: subject, or one called group_..."
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all scores as JSON, rates from 0 to 1; replaces scores only"
    )


def run(args: argparse.Namespace) -> int:
    """Score, write JSON if asked, print the tables.

    Raises:
        ManifestError: The file is missing or is no predictions file.
        ValueError: There is nothing to score, or `--json` names a file that holds something else than scores.
    """
    from auformer.data.manifest import read_predictions

    if args.json is not None:
        _check_target(args.json)
    show_scores(read_predictions(args.predictions), title=str(args.predictions), by=args.by, json_file=args.json)
    return 0


def show_scores(predictions: pd.DataFrame, *, title: str, by: str | None = None, json_file: Path | None = None) -> None:
    """Print the tables of a predictions file, and write its scores.

    Args:
        predictions: Table as `read_predictions` gives it.
        title: What the tables are called.
        by: Column of groups.
        json_file: Where to write the scores; None for nowhere.

    Raises:
        ValueError: There is nothing to score.
    """
    from auformer.scoring.provenance import provenance_lines
    from auformer.scoring.scores import score_predictions
    from auformer.scoring.tables import group_table, score_table

    side = predictions.attrs.get("side", {})
    scores = score_predictions(predictions, by=by)
    if json_file is not None:
        _write({**scores, "predictions": _source(title, side)}, json_file)
    print("\n".join(provenance_lines(side)), end="\n\n")
    print(score_table(scores, title=title).text())
    if by is not None:
        print(f"\n{group_table(scores, title=f'{title} by {by}: F1 x 100').text()}")
    if json_file is not None:
        print(f"\nwrote {json_file}")


def _source(title: str, side: dict[str, Any]) -> dict[str, Any]:
    """What the JSON says about where the predictions come from."""
    return {
        "file": title,
        **{name: side.get(name) for name in ("checkpoint", "adapter", "epoch_selection", "warnings", "notice")},
    }


def _check_target(path: Path) -> None:
    """Refuse to replace anything but scores.

    Raises:
        ValueError: The file is there and holds something else.
    """
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not (isinstance(content, dict) and {"mean", "per_au"} <= content.keys()):
        raise ValueError(
            f"Expected `--json` to be a new file or one with scores, but got {path}, which holds something else."
        )


def _write(scores: dict[str, Any], path: Path) -> None:
    """Write scores as JSON."""
    from auformer.files import write_text

    write_text(path, json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
