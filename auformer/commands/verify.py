"""Check a manifest: counts, images, folds, and published counts of known data sets with likely reasons of differences.

  auformer verify data/disfa/manifest.csv
  auformer verify data/bp4d/manifest.csv --no-images --json > verified.json

Exit code 1 if something is wrong. Everything is counted per action unit, subject and fold; every image is opened; the
same image under two people, or with different labels, is reported. Rows of BP4D and DISFA are put beside the published
frames and positives of the three folds; for other data sets only totals are compared.

--json prints one object: format_version, manifest, correct, problems and notes (lists of kind, where, text), and, where
the table can be read, rows, ok, status, datasets, aus, subjects, folds, images, published. Kinds of problems: contract,
missing_image, unreadable_image, duplicate_image, nothing_usable, person_in_two_folds, fold_naming, other_partition,
threshold, camera, frame_base, unknown_as_negative, unknown_as_positive, permuted_aus, jaanet_frames, dropped_frames,
extra_frames, unexplained. Notes may have the same kinds, and partial, total, unknown_subjects, no_common_aus,
no_images, image_sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer verify`."""
    add, workers = parser.add_argument, min(4, os.cpu_count() or 1)
    add("manifest", type=Path, metavar="MANIFEST", help="CSV or Parquet file")
    add("--json", action="store_true", help="print one JSON object in place of tables")
    add("--no-images", action="store_true", help="do not open the images")
    add("--workers", type=int, default=workers, metavar="N", help=f"threads that open images (default: {workers})")


def run(args: argparse.Namespace) -> int:
    """Check and print.

    Returns:
        1 if something is wrong, else 0.

    Raises:
        ValueError: `--workers` is not positive.
    """
    from auformer.data_prep import verify
    from auformer.data_prep.verify.text import report_lines

    if args.workers < 1:
        raise ValueError(f"Expected `--workers` to be at least 1, but got {args.workers}")
    report = verify(args.manifest, images=not args.no_images, workers=args.workers, progress=sys.stderr.isatty())
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(report_lines(report)))
    return 0 if report["correct"] else 1
