"""A checkpoint loaded for prediction, its sidecars, and the marks by which a run knows its own outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from auformer import __version__
from auformer.data.table_file import read_sidecar
from auformer.errors import ManifestError
from auformer.files import digest, sha256
from auformer.models.batches import find_device
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.onnx_file import OnnxDetector
from auformer.predict.outputs import Plan
from auformer.predict.pipeline import half_of, share_cores
from auformer.predict.predictor import AUPredictor, open_network
from auformer.predict.quality import quality_settings
from auformer.predict.resting import FEWEST, QUANTILE
from auformer.predict.sources import Source
from auformer.predict.types import Selection
from auformer.report.html import demo_note


class Loaded:
    """A checkpoint that predicts.

    The `options` are arguments of `AUPredictor`, `cores` those that this process may use; `maps` are evidence maps.

    Attributes:
        predictor: The predictor.
        checkpoint: CHECKPOINT as it was `given`, the `file` that it means, its `sha256`, the hub's `revision` where
            there is one.
        notice: What every output of the packaged demo network has to say; None for others.
    """

    def __init__(
        self, checkpoint: str | Path, backbone_checkpoint: str | Path | None, device: str, options: Mapping[str, Any],
        *, cores: int | None = None, maps: bool = False,
    ) -> None:  # fmt: skip
        device, file = find_device(device), resolve_checkpoint(checkpoint)
        network = open_network(
            file, device=device, backbone_checkpoint=backbone_checkpoint, maps=maps, cores=cores or os.cpu_count(),
            precision=options.get("precision", "32"),
        )  # fmt: skip
        if not isinstance(network, OnnxDetector):
            share_cores(network, cores=cores)
        cv2.setNumThreads(half_of(cores))  # the face detector's; the other half is the network's and the reader's
        self.predictor = AUPredictor(network, device=device, **options)
        revision = file.parent.name if str(checkpoint).startswith("hf://") else None
        self.checkpoint = {"given": str(checkpoint), "file": str(file), "sha256": sha256(file), "revision": revision}
        self.backbone_checkpoint = None if backbone_checkpoint is None else str(backbone_checkpoint)
        self.options = dict(options)
        self.notice = None
        if file == DEMO_DETECTOR:
            self.notice = demo_note(intensity=bool(self.predictor.intensity_aus))

    def sidecar(self, settings: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
        """The sidecar of a table, as plain JSON values, from `run_settings` and what was counted."""
        predictor, network = self.predictor, self.predictor.network
        header, facts = network.metadata, self.checkpoint
        unknown = (
            "The checkpoint does not say how its training images were cropped; "
            f"the recipe '{predictor.recipe}' was used."
        )
        return {
            "checkpoint": facts["given"],
            "adapter": {
                "file": Path(str(facts["file"])).name,
                "sha256": facts["sha256"],
                "revision": facts["revision"],
                "package_version": header.get("package_version"),
            },
            "au_names": list(network.au_names),
            "thresholds": settings["thresholds"],
            "crop_recipe": predictor.recipe,
            "image_size": list(network.image_size),
            "config": {
                name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")
            },
            "epoch_selection": (header.get("extra") or {}).get("selection"),
            "faces": {
                "detector": predictor.detector.name,
                "version": predictor.detector.version,
                "identity": "overlap of boxes over time (a photo's faces: by size)",
                "points": "1-euro filter over time in videos",
            },
            "settings": dict(settings),
            "counts": dict(counts),
            "package_version": __version__,
            "warnings": [] if network.crop_recipe else [unknown],
            "notice": self.notice,
        }


MADE_WITH, SOURCE_MARK = "made_with", "source_mark"  # entries of sidecars of a cluster run


def run_settings(
    predictor: AUPredictor, selection: Selection, shard: tuple[int, int] | None = None, *, resting: bool = False
) -> dict[str, Any]:
    """Every choice of a run that changes its rows, as plain JSON values; `resting` as in `Plan`."""
    smooth = None if predictor.smooth is None else {"kind": "causal exponential mean", "seconds": predictor.smooth}
    return {
        "detector": predictor.detector.name,
        "detector_version": predictor.detector.version,
        "detect_every": predictor.detect_every,  # None: faces are followed
        "min_face": getattr(predictor.detector, "min_size", None),
        "faces": "all" if predictor.faces is None else predictor.faces,
        "recipe": predictor.recipe,
        "thresholds": dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True)),
        "precision": predictor.precision,
        "probability_smoothing": smooth,
        "quality": quality_settings(),
        "resting_level": {"subtracted_from": "AU.._intensity_pred", "quantile": QUANTILE, "min_frames": FEWEST}
        if resting
        else None,
        "frames": {"every": selection.every, "fps": selection.fps, "start_s": selection.start, "end_s": selection.end},
        "shard": None if shard is None else f"{shard[0]}/{shard[1]}",
    }


def run_mark(settings: Mapping[str, Any], checkpoint: Mapping[str, Any], plan: Plan) -> str:
    """Digest of everything but the sources that changes the outputs of a run."""
    outputs = [plan.kind, plan.photo_figures, plan.timelines, plan.annotate, plan.maps]
    outputs += [plan.describe] if plan.annotate and plan.describe else []
    return digest([dict(settings), checkpoint["sha256"], outputs])


def source_mark(mark: str, source: Source) -> str:
    """Digest of a source and everything that changes its outputs: work begun or finished under it is not done again.

    The source's name, path, size and time of change count, and the `mark` of the run, as `run_mark` gives it.
    """
    path = Path(source.file)
    facts = path.stat() if path.is_file() else None
    identity = [facts.st_size, facts.st_mtime_ns] if facts else []
    return digest([mark, source.kind, source.file, source.name, *identity])


def own_sidecar(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The sidecar that a run with the same mark wrote with the source's own table; None where there is none."""
    try:
        side = read_sidecar(plan.table(source))
    except ManifestError:
        return None
    return side if side.get(SOURCE_MARK) == source_mark(mark, source) else None


def finished_sidecar(plan: Plan, source: Source, mark: str) -> dict[str, Any] | None:
    """The sidecar of a source that need not be predicted again; None where it must be.

    A source of which no image could be read is tried again: its disk may have been away.
    """
    side = own_sidecar(plan, source, mark)
    if side is None or not plan.table(source).is_file():
        return None
    return None if set(side["counts"]["pictures"]) <= {"unreadable"} else side
