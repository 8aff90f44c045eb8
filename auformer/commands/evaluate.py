"""Predict a manifest with a checkpoint, write a predictions file, and score it where the manifest has labels.

  auformer evaluate runs/demo/adapter.safetensors disfa/manifest.csv --out runs/disfa.csv
  auformer evaluate demo lab_b/manifest.csv --out runs/lab_b.csv --aus AU1,AU2,AU4,AU6,AU12
  auformer evaluate best.ckpt bp4d/manifest.csv --fold P1 --out runs/bp4d_p1.parquet --device cuda

AUs that the manifest lacks are predicted without truth, AUs that the checkpoint lacks are named. An interrupted run goes on where it
stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer evaluate`."""
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        help="adapter file, .ckpt, folder with adapter.safetensors, .onnx file, demo, or hf://owner/name",
    )
    add("manifest", type=Path, metavar="MANIFEST", help="CSV or Parquet manifest of faces")
    add(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help="predictions file, .csv or .parquet; its JSON side file lies beside it",
    )
    add(
        "--aus",
        nargs="+",
        metavar="LIST",
        help="AUs to predict: bp4d, disfa, all, another set's name, or AU1,AU12,... (default: all)",
    )
    add("--fold", metavar="NAME", help="only rows whose `fold` has this name")
    add("--batch-size", type=int, default=64, metavar="N", help="images per batch (default: 64)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    add("--workers", type=int, default=0, metavar="N", help="processes that read images (default: 0, in this one)")
    add(
        "--backbone-checkpoint",
        type=Path,
        metavar="FILE",
        help="local file with the frozen weights, where they cannot be fetched",
    )
    add("--overwrite", action="store_true", help="replace an existing predictions file")


def run(args: argparse.Namespace) -> int:
    """Predict, write, score.

    Raises:
        ManifestError: The manifest or one of its images cannot be used.
        CheckpointError: The checkpoint cannot be used.
        ValueError: The options do not fit the checkpoint, the manifest or this machine.
        OSError: The output cannot be written.
    """
    from auformer.aus import parse_au_names
    from auformer.data.manifest import read_manifest

    _check_out(args.out, args.manifest, args.overwrite)
    asked = (
        None
        if args.aus is None
        else parse_au_names(args.aus[0] if len(args.aus) == 1 else [au.strip(",") for au in args.aus])
    )
    manifest = _part(read_manifest(args.manifest), args.fold)
    predictions = _predict(args, manifest, asked)
    if any(name.endswith("_true") for name in predictions):
        from auformer.commands.score import show_scores

        show_scores(predictions, title=str(args.out))
    else:
        from auformer.scoring.provenance import provenance_lines

        print("\n".join(provenance_lines(predictions.attrs["side"])))
        print(f"Nothing to score: the manifest has no labels for {', '.join(predictions.attrs['au_names'])}.")
    print(f"\nwrote {args.out} and its side file: {len(predictions):,} rows")
    return 0


def _check_out(out: Path, manifest: Path, overwrite: bool) -> None:
    """Find out before the work starts whether its result can be written, and what it would replace.

    Raises:
        ValueError: The name has another suffix, the file is there, or it would replace the manifest.
        OSError: The folder cannot be written.
    """
    from auformer.data.manifest import sidecar_path

    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"Expected `--out` to end in .csv or .parquet, but got {out}.")
    if sidecar_path(out).resolve() == sidecar_path(manifest).resolve():
        raise ValueError(
            f"Expected `--out` to have another name than the manifest, but got {out}: one side file would replace the other."
        )
    taken = [str(path) for path in (out, sidecar_path(out)) if path.exists()]
    if taken and not overwrite:
        raise ValueError(
            f"Expected `--out` to be a new file, but found {' and '.join(taken)}: choose another name, or add --overwrite."
        )
    probe = out.with_name(f".{out.name}.{os.getpid()}.probe")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, f"cannot write here ({error.strerror})", str(out.parent)) from error


def _part(manifest: pd.DataFrame, fold: str | None) -> pd.DataFrame:
    """The rows of one part of a manifest, or all.

    Raises:
        ValueError: There is no such part.
    """
    if fold is None:
        return manifest
    names = sorted(manifest["fold"].dropna().unique()) if "fold" in manifest else []
    if fold not in names:
        raise ValueError(
            f"Expected `--fold` to be one of {', '.join(names) or 'none, the manifest has no folds'}, but got {fold!r}."
        )
    return manifest[manifest["fold"] == fold]


def _predict(args: argparse.Namespace, manifest: pd.DataFrame, asked: tuple[str, ...] | None) -> pd.DataFrame:
    """Load the network, predict, write the predictions and their side file; the table's `attrs` hold the side file's content."""
    from auformer.data.manifest import au_columns, read_predictions, write_predictions
    from auformer.models.checkpoints import DEMO_DETECTOR, open_detector, resolve_checkpoint
    from auformer.predict.manifest import predict_manifest
    from auformer.report.html import DEMO_NOTE
    from auformer.scoring.provenance import choose_aus, image_warnings, predictions_side

    device = find_device(args.device)
    adapter = resolve_checkpoint(args.checkpoint)
    network = open_detector(adapter, device=device, backbone_checkpoint=args.backbone_checkpoint)
    choice = choose_aus(network.au_names, au_columns(manifest), asked)
    side = predictions_side(
        network,
        str(args.checkpoint),
        adapter,
        manifest,
        choice,
        fold=args.fold,
        warnings=image_warnings(network, manifest.attrs["side"], _image_size(manifest)),
        notice=DEMO_NOTE if adapter == DEMO_DETECTOR else None,
    )
    partial = args.out.with_name(f".{args.out.name}.partial.npz")
    predictions = predict_manifest(
        network,
        manifest,
        au_names=choice.predicted,
        batch_size=args.batch_size,
        device=device,
        num_workers=args.workers,
        progress=True,
        partial=partial,
        identity=side["adapter"]["sha256"],
    )
    write_predictions(predictions, args.out, side)
    partial.unlink(missing_ok=True)
    return read_predictions(args.out)


def find_device(name: str) -> str:
    """The device to compute on.

    Raises:
        ValueError: There is no such device here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Expected `--device` to be one that this machine has, but got {name!r}: {reason}") from error
    return name


def _image_size(manifest: pd.DataFrame) -> list[int] | None:
    """Height and width of the manifest's images: from its side file, else of its first image; None without images."""
    from auformer.data.images import read_image

    if manifest.attrs["side"].get("image_size"):
        return list(manifest.attrs["side"]["image_size"])
    ok = manifest[manifest["status"] == "ok"]
    if not len(ok) or "image" not in ok:
        return None
    return list(read_image(Path(manifest.attrs["path"]).parent / ok["image"].iloc[0]).shape[:2])
