"""Predict a manifest with a checkpoint, write a predictions file, and score it where the manifest has labels.

  auformer evaluate runs/demo/adapter.safetensors disfa/manifest.csv --out runs/disfa.csv
  auformer evaluate demo lab_b/manifest.csv --out runs/lab_b.csv --aus AU1,AU2,AU4,AU6,AU12
  auformer evaluate best.ckpt bp4d/manifest.csv --fold P1 --out runs/bp4d_p1.parquet --device cuda

AUs that the manifest lacks are predicted without truth, AUs that the checkpoint lacks are named. Run the same command
again to resume an interrupted run.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer evaluate`."""
    add = parser.add_argument
    checkpoint = "adapter file, .ckpt, folder with adapter.safetensors, .onnx file, demo, or hf://owner/name"
    aus = "AUs to predict: bp4d, disfa, all, another set's name, or AU1,AU12,... (default: all)"
    weights = "local file with the frozen weights, where they cannot be fetched"
    add("checkpoint", metavar="CHECKPOINT", help=checkpoint)
    add("manifest", type=Path, metavar="MANIFEST", help="CSV or Parquet manifest of faces")
    out = "predictions file, .csv or .parquet; its JSON sidecar lies beside it"
    add("--out", required=True, type=Path, metavar="FILE", help=out)
    add("--aus", nargs="+", metavar="LIST", help=aus)
    add("--fold", metavar="NAME", help="only rows whose `fold` has this name")
    add("--batch-size", type=int, default=64, metavar="N", help="images per batch (default: 64)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    add("--workers", type=int, default=0, metavar="N", help="processes that read images (default: 0, in this one)")
    add("--backbone-checkpoint", type=Path, metavar="FILE", help=weights)
    add("--overwrite", action="store_true", help="replace an existing predictions file")


def run(args: argparse.Namespace) -> int:
    """Predict, write, score; raises what `auformer.predict.manifest.evaluate` does."""
    from auformer.aus import parse_au_names
    from auformer.predict.manifest import evaluate

    if args.workers < 0:
        raise ValueError(f"Expected `--workers` to be at least 0, but got {args.workers}.")
    words = args.aus if args.aus is None or len(args.aus) == 1 else [au.strip(",") for au in args.aus]
    predictions = evaluate(
        args.checkpoint, args.manifest, args.out, fold=args.fold, batch_size=args.batch_size, device=args.device,
        au_names=None if words is None else parse_au_names(words[0] if len(words) == 1 else words),
        num_workers=args.workers, backbone_checkpoint=args.backbone_checkpoint, overwrite=args.overwrite, progress=True,
    )  # fmt: skip
    if any(name.endswith("_true") for name in predictions):
        from auformer.commands.score import show_scores

        show_scores(predictions, title=str(args.out))
    else:
        from auformer.scoring.provenance import provenance_lines

        print("\n".join(provenance_lines(predictions.attrs["side"])))
        print(f"Nothing to score: the manifest has no labels for {', '.join(predictions.attrs['au_names'])}.")
    print(f"\nwrote {args.out} and its sidecar: {len(predictions):,} rows")
    return 0
