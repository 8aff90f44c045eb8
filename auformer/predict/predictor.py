"""The last stage: the network's probabilities back to the pictures that the faces came from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from auformer.data.transforms import resize, to_float
from auformer.errors import CheckpointError, FaceNotFoundError
from auformer.faces import CROP_RECIPES, Face, make_detector, no_face
from auformer.models import AUNetwork, OnnxDetector, open_detector
from auformer.models.batches import FittingBatches
from auformer.predict.pipeline import Clock, Pipeline, Task, choose, cut
from auformer.predict.sources import Source, find_sources
from auformer.predict.table import predictions_table
from auformer.predict.tracking import ProbSmoother
from auformer.predict.types import FacePrediction, ImagePrediction, Selection, SourceEnd
from auformer.predict.video import NOMINAL_FPS


class Finisher:
    """Predicts pictures that wait together and gives them back one by one.

    Args:
        predict: probabilities (n, N) of crops (n, H, W, 3).
        smooth: time constant in seconds of smoothing over time; None for none.
        clock: where the network's time is noted.
        keep_images: give the pictures themselves, too.
        resume: by name of a source, the state that it goes on from.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[np.ndarray]], np.ndarray],
        *,
        smooth: float | None,
        clock: Clock,
        keep_images: bool,
        resume: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.predict, self.smooth, self.clock, self.keep_images, self.resume = (
            predict,
            smooth,
            clock,
            keep_images,
            resume,
        )
        self._smoother: ProbSmoother | None = None
        self._pictures = 0  # of the source at hand
        self._begun = ""  # its name

    def finish(self, tasks: Sequence[Task]) -> Iterator[ImagePrediction | SourceEnd]:
        """The predictions of several pictures, whose faces go through the network together."""
        with self.clock.measure("network"):
            probs = iter(self.predict([found.crop for task in tasks for found in task.found]))
        for task in tasks:
            self._begin(task)
            if task.frame is not None:
                self._pictures += 1
                yield self._picture(task, probs)
                continue
            if not self._pictures:
                yield ImagePrediction(
                    task.source, "unreadable", task.message or "no frame lies between the times asked for"
                )
            self._begun = ""
            yield SourceEnd(
                task.source, task.message or ("" if self._pictures else "no frame lies between the times asked for")
            )

    def _begin(self, task: Task) -> None:
        """Make ready for a source where its first task comes."""
        if self._begun == task.source.name:
            return
        state = self.resume.get(task.source.name)
        self._begun, self._pictures = task.source.name, 0 if state is None else 1
        self._smoother = None
        if self.smooth is not None and task.source.kind != "photo":
            self._smoother = ProbSmoother(self.smooth)
            if state is not None:
                self._smoother.restore(state["probs"])

    def _picture(self, task: Task, probs: Iterator[np.ndarray]) -> ImagePrediction:
        """One picture with its faces, which take their probabilities (N,) from `probs`."""
        frame = task.frame
        assert frame is not None
        if frame.image is None:
            return ImagePrediction(task.source, "unreadable", frame.message, frame=frame.index)
        time = frame.time_s if frame.time_s is not None else frame.ordinal / NOMINAL_FPS
        faces = []
        for found in task.found:
            row = next(probs)
            if self._smoother is not None:
                row = self._smoother.update(found.identity, row, time)
            faces.append(FacePrediction(found.face, found.crop, row, found.identity))
        state = None
        if task.state is not None:
            state = {
                "after": frame.index,
                "faces": task.state,
                "probs": self._smoother.state() if self._smoother else {},
            }
        size = frame.image.shape[:2]
        return ImagePrediction(
            task.source,
            "ok" if faces else "no_face",
            "" if faces else no_face(size),
            faces,
            frame.index,
            frame.time_s,
            (size[0], size[1]),
            frame.image if self.keep_images else None,
            state,
        )


DEFAULT_RECIPE = "eyes"  # for checkpoints that do not say by which recipe their training images were cropped
DECIMALS = 7  # of probabilities, as `auformer evaluate` writes them
PRECISIONS = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}


class AUPredictor:
    """Find the faces of photos and videos, align them as the network's training images were, and predict their action units.

    Args:
        network: a network in eval mode, as `open_detector` gives it; it is moved to `device`.
        device: where to compute.
        batch_size: faces per batch; the result does not depend on it (beyond rounding). A batch that does not fit into memory is halved,
            for good, with a warning.
        detector: how faces are found: a spec of `auformer.faces.make_detector`, or what that gives.
        precision: `32`, or `bf16` or `16` for faster matrix products with fewer digits.
        thresholds: per AU, in [0, 1]; the checkpoint's own where not given.
        faces: how many of the largest faces of each picture are predicted; None for all.
        detect_every: in recordings, faces are detected in each such frame and followed by optical flow in those between.
        smooth: time constant in seconds by which the probabilities of a recording are smoothed; None for not at all.

    Attributes:
        au_names: the N action units in the order of all probabilities.
        thresholds: (N,) from which probability on each counts as active.
        recipe: name of the crop recipe.
        clock: seconds that each stage has worked so far.

    Raises:
        CheckpointError: if the network was trained on crops by a recipe that this version does not know.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        network: AUNetwork | OnnxDetector,
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 16,
        detector: Any = "cascade",
        precision: str = "32",
        thresholds: Mapping[str, float] | None = None,
        faces: int | None = None,
        detect_every: int = 1,
        smooth: float | None = None,
    ) -> None:
        for name, value in (
            ("batch_size", batch_size),
            ("faces", 1 if faces is None else faces),
            ("detect_every", detect_every),
        ):
            if value < 1:
                raise ValueError(f"Expected `{name}` to be at least 1, but got {value}.")
        if precision not in PRECISIONS:
            raise ValueError(f"Expected `precision` to be one of {', '.join(PRECISIONS)}, but got {precision!r}.")
        self.recipe = network.crop_recipe or DEFAULT_RECIPE
        if self.recipe not in CROP_RECIPES:
            raise CheckpointError(
                f"The checkpoint was trained on crops by the recipe {self.recipe!r}, and this version of auformer knows "
                f"{', '.join(CROP_RECIPES)} only: use a newer version, or another checkpoint"
            )
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.precision, self.faces, self.detect_every, self.smooth = precision, faces, detect_every, smooth
        self._batches = FittingBatches(batch_size)
        self.detector = make_detector(detector, largest=faces == 1) if isinstance(detector, str) else detector
        self.au_names = tuple(network.au_names)
        self.thresholds = _thresholds(network, thresholds)
        self.clock = Clock()
        if smooth is not None:
            ProbSmoother(smooth)  # refuses what it cannot use

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path, *, device: str | torch.device = "cpu", **options: Any
    ) -> AUPredictor:
        """A predictor from anything that `open_detector` takes: an adapter file, folder, `.ckpt`, `.onnx`, `demo`, `hf://owner/name`.

        Args:
            checkpoint: what to load.
            device: where to compute.
            options: other arguments of the constructor.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged or not ours.
        """
        return cls(open_detector(checkpoint, device=device), device=device, **options)

    @property
    def batch_size(self) -> int:
        """Faces per batch: as asked for, or what has fitted into memory."""
        return self._batches.size

    def predict_proba(self, crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of aligned faces.

        Args:
            crops: (n, H, W, 3) uint8 RGB, aligned by the recipe; another size than the network's is resized.

        Returns:
            (n, N) float64 in [0, 1].

        Raises:
            ValueError: if the crops are not uint8 RGB, or the network's weights are damaged.
        """
        probs = self._run(self.network.predict_probs, crops)
        if probs is None:
            return np.zeros((0, len(self.au_names)))
        if not ((probs >= 0) & (probs <= 1)).all():
            raise ValueError(
                "Expected the network to give probabilities in [0, 1], but got others, or nan: its weights are damaged."
            )
        return probs.round(DECIMALS)

    def evidence_maps(self, crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | None:
        """Where each AU's expert acts: (n, N, h, w) on the patch grid, 0 or more; None without crops or for a network without experts."""
        expert_maps = getattr(self.network, "expert_maps", None)
        return None if expert_maps is None else self._run(expert_maps, crops)

    @torch.inference_mode()
    def _run(
        self, function: Callable[[torch.Tensor], torch.Tensor], crops: np.ndarray | Sequence[np.ndarray]
    ) -> np.ndarray | None:
        """Put crops (n, H, W, 3) through a function of the network in batches: (n, ...) float64, None without crops."""
        for crop in crops:
            if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
                raise ValueError(
                    f"Expected `crops` to be uint8 RGB of shape (n, H, W, 3), but got one of {crop.dtype} {crop.shape}."
                )
        parts, first = [], 0
        while first < len(crops):
            images = [
                to_float(resize(crop, self.network.image_size)) for crop in crops[first : first + self.batch_size]
            ]
            first += len(images)
            parts.append(
                self._batches.run(partial(self._compute, function), torch.from_numpy(np.stack(images))).numpy()
            )
        return np.concatenate(parts) if parts else None

    def _compute(self, function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """A function of the network on images (b, 3, H, W), at the precision asked for: (b, ...) float64 on the CPU."""
        dtype = PRECISIONS[self.precision]
        with contextlib.nullcontext() if dtype is None else torch.autocast(self.device.type, dtype):
            return function(images.to(self.device)).cpu().double()

    def predict_image(self, image: np.ndarray) -> list[FacePrediction]:
        """The faces of one image, the largest first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            FaceNotFoundError: if no face is found.
            ValueError: if the image is not uint8 RGB.
        """
        faces: list[Face] = choose(self.detector(image), self.faces)
        if not faces:
            raise FaceNotFoundError(no_face(image.shape, self.detector))
        crops = [cut(image, face, self.recipe, self.network.image_size) for face in faces]
        probs = self.predict_proba(crops)
        return [
            FacePrediction(face, crop, row, n)
            for n, (face, crop, row) in enumerate(zip(faces, crops, probs, strict=True))
        ]

    def stream(
        self,
        sources: Sequence[Source],
        *,
        selection: Selection | None = None,
        keep_images: bool = False,
        resume: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Iterator[ImagePrediction | SourceEnd]:
        """Picture after picture of source after source, as they are done; a `SourceEnd` closes each source.

        Memory does not grow with the length of a recording. What is wrong with a source stands in its `SourceEnd`; the others go on.

        Args:
            sources: as `find_sources` gives them.
            selection: which frames of recordings; all by default.
            keep_images: give the pictures themselves, too.
            resume: by name of a source, the `state` of its last picture that is done, with the picture's `frame` as `after`.
        """
        resume = resume or {}
        last = Finisher(
            self.predict_proba, smooth=self.smooth, clock=self.clock, keep_images=keep_images, resume=resume
        )
        shape = self.network.image_size
        pipeline = Pipeline(
            self.detector, self.recipe, shape, how_many=self.faces, detect_every=self.detect_every, clock=self.clock
        )
        waiting: list[Task] = []
        for task in pipeline.run(sources, selection or Selection(), resume):
            waiting.append(task)
            if max(len(waiting), sum(len(one.found) for one in waiting)) >= self.batch_size:
                yield from last.finish(waiting)
                waiting = []
        yield from last.finish(waiting)

    def predict(
        self, sources: str | Path | Sequence[str | Path], *, selection: Selection | None = None
    ) -> pd.DataFrame:
        """The predictions table of photos, folders, videos and so on: a row per picture and face, see `predictions_table`.

        Args:
            sources: one or more, in any form that `find_sources` knows.
            selection: which frames of recordings; all by default.
        """
        found = find_sources([sources] if isinstance(sources, str | Path) else sources)
        images = (item for item in self.stream(found, selection=selection) if isinstance(item, ImagePrediction))
        return predictions_table(images, self.au_names, self.thresholds)

    def is_active(self, probs: np.ndarray) -> np.ndarray:
        """Which AUs are active: (..., N) bool, where the probabilities (..., N) reach the thresholds."""
        return probs >= self.thresholds


def _thresholds(network: AUNetwork | OnnxDetector, given: Mapping[str, float] | None) -> np.ndarray:
    """(N,) the network's thresholds, replaced where others are given.

    Raises:
        ValueError: one is for an AU that the network does not have, or outside [0, 1].
    """
    given = dict(given or {})
    odd = sorted(set(given) - set(network.au_names))
    if odd:
        raise ValueError(f"Expected `thresholds` to be for {', '.join(network.au_names)}, but got {', '.join(odd)}.")
    for au, value in given.items():
        if not 0 <= value <= 1:
            raise ValueError(f"Expected the threshold of {au} to lie in [0, 1], but got {value}.")
    return np.array([given.get(au, network.thresholds[au]) for au in network.au_names], dtype=np.float64)
