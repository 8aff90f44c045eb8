"""Action units (AUs) of your own photos: find the faces, align them, predict.

  auformer predict portrait.jpg --out runs/portrait
  auformer predict photos/*.jpg --out runs/photos --checkpoint runs/demo/adapter.safetensors

Prints one line per AU, writes DIR/predictions.csv with its JSON side file, and one picture per photo (of its largest face). Finds upright
faces that look at the camera. A photo without a face, or that cannot be read, gets a row with its status; the others go on, and the exit
code is 1. Without --checkpoint the packaged demo detector is used, which was trained on rendered faces only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auformer.inference import AUPredictor, PhotoPrediction

TABLE = "predictions.csv"
POINTS = {"eyes": "both eyes found", "one_eye": "one eye found", "box": "eyes placed by the box"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer predict`."""
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="image files: JPEG, PNG, WebP, TIFF, BMP")
    add("--out", required=True, type=Path, metavar="DIR", help="folder for predictions.csv, predictions.json and the pictures")
    add("--checkpoint", default="demo", metavar="CKPT", help="adapter file, .ckpt, folder, demo, or hf://owner/name (default: demo)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    add("--batch-size", type=int, default=16, metavar="N", help="faces per batch (default: 16)")
    add("--backbone-checkpoint", type=Path, metavar="FILE", help="local file with the frozen weights, where they cannot be fetched")
    add("--overwrite", action="store_true", help="replace existing outputs")


def run(args: argparse.Namespace) -> int:
    """Predict photo by photo, then write the table.

    Returns:
        0, or 1 if a photo has no face or cannot be read.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ValueError: the options do not fit, or an output exists already.
        OSError: the output folder cannot be written.
    """
    from auformer.commands.evaluate import find_device
    from auformer.commands.info import DEMO_NOTE
    from auformer.inference import AUPredictor
    from auformer.inference.pictures import picture_names
    from auformer.inference.sources import name_sources
    from auformer.models.detector import DEMO_DETECTOR, load_detector, resolve_checkpoint

    sources = name_sources(args.photos)
    pictures = dict(zip((name for _, name in sources), picture_names([name for _, name in sources]), strict=True))
    _check_out(args.out, [file for file, _ in sources], list(pictures.values()), args.overwrite)
    device = find_device(args.device)
    adapter = resolve_checkpoint(args.checkpoint)
    network = load_detector(adapter, device=device, backbone_checkpoint=args.backbone_checkpoint)
    predictor = AUPredictor(network, device=device, batch_size=args.batch_size)
    notice = DEMO_NOTE if adapter == DEMO_DETECTOR else None
    if notice:
        print(f"{notice}\n")
    photos = _predict(predictor, args, pictures, notice, adapter)
    if not notice:
        print("\nProbabilities that an action unit occurs, not intensities.")
    return _summary(args.out, photos)


def _check_out(out: Path, photos: Sequence[str], pictures: Sequence[str], overwrite: bool) -> None:
    """Find out before the work starts whether its results can be written, and what they would replace.

    Raises:
        ValueError: an output exists, or would replace one of the photos.
        OSError: the folder cannot be written.
    """
    import tempfile

    from auformer.data.manifest import side_path

    outputs = [out / TABLE, side_path(out / TABLE), *(out / name for name in pictures)]
    sources = {Path(photo).resolve() for photo in photos}
    for path in outputs:
        if path.resolve() in sources:
            raise ValueError(f"Expected `--out` to be a folder where no photo is replaced, but {path} is one of the photos.")
    taken = [str(path) for path in outputs if path.exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ValueError(f"Expected `--out` to hold no results yet, but found {taken[0]}{more}: choose another folder, or add --overwrite.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write here ({error.strerror})", str(out)) from error


def _predict(
    predictor: AUPredictor, args: argparse.Namespace, pictures: dict[str, str], notice: str | None, adapter: Path
) -> list[PhotoPrediction]:
    """Predict, print, write everything; if that is interrupted, the new pictures are removed, so that it can be started again."""
    from auformer.data.manifest import write_predictions
    from auformer.evaluation.provenance import file_sha256
    from auformer.inference.pictures import photo_figure
    from auformer.inference.tables import predictions_side, predictions_table
    from auformer.plots import save_png

    photos, new = [], []
    try:
        for photo in predictor.predict_photos(args.photos):
            photos.append(photo)
            _show(predictor, photo)
            if photo.faces:
                picture = args.out / pictures[photo.name]
                new += [] if picture.exists() else [picture]
                save_png(photo_figure(predictor, photo, notice=notice), picture)
        side = predictions_side(
            predictor.network,
            photos,
            checkpoint=str(args.checkpoint),
            adapter=adapter,
            sha256=file_sha256(adapter),
            recipe=predictor.recipe,
            detector=predictor.detector,
            notice=notice,
        )
        write_predictions(predictions_table(photos, predictor.au_names, predictor.thresholds), args.out / TABLE, side)
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise
    return photos


def _show(predictor: AUPredictor, photo: PhotoPrediction) -> None:
    """Print what was found in one photo: a line per AU; on stderr what went wrong."""
    from auformer.aus import ACTION_UNITS
    from auformer.plots import au_order

    if photo.status != "ok":
        where = "" if photo.file in photo.message else f"{photo.file}: "
        print(f"auformer: {photo.status}: {where}{photo.message}", file=sys.stderr, flush=True)
        return
    for number, found in enumerate(photo.faces):
        x, y, w, h = (round(value) for value in found.face.box)
        how = f"score {found.face.score:.2f}, {POINTS[found.face.points_source]}"
        print(f"{photo.file}: face {number} at ({x}, {y}), {w} x {h} pixels, {how}")
        values = dict(zip(predictor.au_names, zip(found.probs, predictor.is_active(found.probs), strict=True), strict=True))
        for au in au_order(predictor.au_names):
            prob, active = values[au]
            print(f"  {au:<5} {ACTION_UNITS[au].name:<26} {prob:.3f}{'  active' if active else ''}", flush=True)


def _summary(out: Path, photos: Sequence[PhotoPrediction]) -> int:
    """Print what was written; the exit code."""
    faces = sum(len(photo.faces) for photo in photos)
    bad = {status: sum(photo.status == status for photo in photos) for status in ("no_face", "unreadable")}
    failed = ", ".join(f"{count} {text}" for count, text in zip(bad.values(), ("without a face", "unreadable"), strict=True) if count)
    print(f"\nwrote {out / TABLE}, its side file and {len(photos) - sum(bad.values())} pictures: {len(photos)} photos, {faces} faces")
    if failed:
        print(f"auformer: {failed}; their rows in {TABLE} are empty", file=sys.stderr)
    return 1 if failed else 0
