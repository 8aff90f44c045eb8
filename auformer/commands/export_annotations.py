"""Write predictions for the programs in which faces are coded and measured: ELAN, Praat, BIDS, MNE, BORIS, a table.

  auformer export-annotations runs/talk/predictions.csv --to elan --out runs/talk/elan
  auformer export-annotations predictions.csv --to bids --continuous --out bids
  auformer export-annotations predictions.csv --to mne --offset 12.48 --out mne

  elan          talk.eaf: a tier per AU and person, whole milliseconds, the video linked by its relative path
  praat         talk.TextGrid: the same as interval tiers, each as long as the video
  bids          talk_events.tsv and .json: an episode a row; --continuous: talk_physio.tsv.gz and .json, a frame a row
  mne           talk-annot.fif (pip install ".[annotations]"), accurate to 0.1 ms; with --text talk-annot.txt, exact
  boris         talk.tsv: the columns of BORIS's export of tabular events
  csv-episodes  episodes.csv: all videos and people in one table

An episode is a span in which an AU is active without a break; a break is a frame below the decision threshold, or a gap
of more than 3.5 frames without the face. Its value in ELAN, Praat and BORIS is the FACS letter of its highest intensity
where the AU detector predicts intensities. Files of a person (BIDS, MNE) end in -face1 and so on where a video shows
several. The predictions may be ours, OpenFace's or Py-Feat's. Rows without a time, as of photographs, are left out and
counted. The way back is `auformer prepare annotations`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("elan", "praat", "bids", "mne", "boris", "csv-episodes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer export-annotations`."""
    add = parser.add_argument
    add("predictions", type=Path, metavar="PREDICTIONS", help="predictions file: ours, OpenFace's or Py-Feat's")
    add("--to", required=True, choices=FORMATS, help="program or format, see above")
    add("--out", required=True, type=Path, metavar="DIR", help="folder for the files, made if absent")
    offset = "seconds added to every time: where the video begins in another recording (default: 0; not for elan)"
    add("--offset", type=float, default=0.0, metavar="S", help=offset)
    add("--continuous", action="store_true", help="bids: probabilities and intensities of every frame, not episodes")
    add("--text", action="store_true", help="mne: its text form in place of FIF")
    add("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> int:
    """Read, write, say what was written.

    Raises:
        ManifestError: The file is no predictions file.
        ValueError: There is nothing to write, an option does not fit the format, or a file is there already.
    """
    from auformer.annotations.export import export_annotations
    from auformer.predict.compare import read_predictions

    done = export_annotations(
        read_predictions(args.predictions), args.out, args.to, offset_s=args.offset, continuous=args.continuous,
        text=args.text, overwrite=args.overwrite,
    )  # fmt: skip
    for note in done.notes:
        print(note)
    if done.rows_without_times:
        rows, sources = done.rows_without_times, done.sources_without_times
        print(f"left out: rows without a time: {rows:,} of {sources:,} photographs or image sequences")
    print(f"videos: {done.videos:,}, people in them: {done.people:,}")
    shown = done.files if len(done.files) <= 20 else [*done.files[:19], f"... and {len(done.files) - 19:,} more"]
    print("\n".join(f"wrote {path}" for path in shown))
    return 0
