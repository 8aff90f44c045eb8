"""Describe faces in sentences: what each active action unit's muscle does, and the face as a whole.

  auformer describe demo photo.jpg --out runs/photo.descriptions.csv
  auformer describe demo talk.mp4 photos/ --fps 1 --language de --out runs/words.csv
  auformer describe runs/vlfau disfa/manifest.csv --all --out runs/disfa.descriptions.csv

SOURCE is a manifest, or photos, folders and videos. A checkpoint with sentence decoders writes the sentences itself; of
any other, `demo` among them, they are made by rule from its decisions: the column `source` says which. Sentences are
about movements of muscles, never about what somebody feels.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer describe`."""
    add = parser.add_argument
    checkpoint = "adapter file, .ckpt, folder with adapter.safetensors, .onnx file, demo, or hf://owner/name"
    add("checkpoint", metavar="CHECKPOINT", help=checkpoint)
    add("sources", nargs="+", metavar="SOURCE", help="one manifest (.csv, .parquet), or photos, folders, videos")
    add("--out", required=True, type=Path, metavar="FILE", help="descriptions file, .csv or .parquet")
    add("--language", choices=("en", "de"), default="en", help="of the sentences (default: en)")
    add("--all", dest="everything", action="store_true", help="a sentence about every AU, not only about active ones")
    add("--fps", type=float, metavar="F", help="about F frames per second of a video (default: every frame)")
    add("--detector", default="cascade", metavar="SPEC", help="face detector (default: cascade)")
    add("--batch-size", type=int, default=32, metavar="N", help="faces per batch (default: 32)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    weights = "local file with the frozen weights, where they cannot be fetched"
    add("--backbone-checkpoint", type=Path, metavar="FILE", help=weights)
    add("--overwrite", action="store_true", help="replace an existing descriptions file")


def run(args: argparse.Namespace) -> int:
    """Describe, write, print a summary; raises what `auformer.predict.describe.describe_to_file` does."""
    import sys

    from tqdm import tqdm

    from auformer.predict.describe import describe_to_file
    from auformer.predict.types import Selection

    with tqdm(desc="describe", unit="face", disable=None) as bar:
        done = describe_to_file(
            args.checkpoint, args.sources, args.out, language=args.language, everything=args.everything,
            batch_size=args.batch_size, device=args.device, detector=args.detector,
            selection=None if args.fps is None else Selection(fps=args.fps),
            backbone_checkpoint=args.backbone_checkpoint, overwrite=args.overwrite, advanced=bar.update,
        )  # fmt: skip
    about = done.table[done.table["au"] != ""]
    by_model = int((about["source"] == "model").sum())
    print(f"wrote {args.out} and its sidecar: {done.faces:,} faces, {len(about):,} sentences about action units")
    if by_model:
        unread = int(about["active"].isna().sum())
        agree = float((about["agrees"] == 1).mean())
        print(f"written by the network: {agree:.1%} say what it decided, {unread:,} cannot be read by the grammar")
    elif len(done.table):
        print("made by rule from the network's decisions (source: rule)")
    if done.notice:
        print(f"\n{done.notice}")
    for file, problem in done.problems:
        print(f"auformer: {file}: {problem}", file=sys.stderr)
    return 1 if done.problems or not done.faces else 0
