"""`AUPredictor`: faces found, tracked, aligned and predicted, image after image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auformer.aus import MAX_INTENSITY
from auformer.data.transforms import to_float
from auformer.data.views import see, shape_of
from auformer.errors import CheckpointError
from auformer.faces import CROP_RECIPES, make_detector, require_faces
from auformer.faces.detect import no_face
from auformer.models.batches import FittingBatches
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.header import check_thresholds
from auformer.models.onnx_file import ONNX, OnnxDetector, open_demo
from auformer.predict.clip_windows import clips_of, closes, resume_step, warn_of_photos
from auformer.predict.pipeline import Clock, Cropper, FoundFace, Pipeline, Task, half_of, spread, without_image
from auformer.predict.quality import less_sure, lowered
from auformer.predict.reduced import may_reduce
from auformer.predict.sources import Source, find_sources
from auformer.predict.table import predictions_table
from auformer.predict.tracking import ProbSmoother
from auformer.predict.types import FacePrediction, Frame, ImagePrediction, Selection, SourceEnd

CHANGE_MAPS = "Where each AU shows, or would show; every map on a scale of its own"
EXPERT_MAPS = "Norm of each expert's output, on a scale of its own; it does not say where the AU is"
_NO_FRAME = "no frame lies between the times asked for"

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from auformer.models.network import AUNetwork


class Finisher:
    """Predicts frames that wait together and gives them back one by one; arguments are those of `stream`."""

    def __init__(self, predictor: AUPredictor, keep_images: bool, resume: Mapping[str, Mapping[str, Any]]) -> None:
        self.predictor, self.keep_images, self.resume = predictor, keep_images, resume
        self._smoother: ProbSmoother | None = None
        self._source = ""  # name of the source at hand
        self._empty = True  # no frame of it has come so far

    def values(self, tasks: Sequence[Task]) -> tuple[Sequence[Task], np.ndarray]:
        """Several frames, and the values of their faces, which go through the network together."""
        with self.predictor.clock.measure("network"):
            crops = [found.crop for task in tasks for found in task.found]
            values = self.predictor.outputs(crops, self.predictor.clips(tasks))
            return tasks, np.concatenate(list(values.values()), axis=1)

    def finish(self, tasks: Sequence[Task], values: np.ndarray) -> Iterator[ImagePrediction | SourceEnd]:
        """The predictions of several frames from the values of their faces."""
        rows = iter(values)
        for task in tasks:
            if self._source != task.source.name:
                self._begin(task.source)
            if task.frame is not None:
                self._empty = False
                yield self._image(task, task.frame, rows)
                continue
            message = task.message or (_NO_FRAME if self._empty else "")
            if self._empty:
                yield ImagePrediction(task.source, "unreadable", message)
            self._source = ""
            yield SourceEnd(task.source, message)

    def _begin(self, source: Source) -> None:
        """Make ready for a source, new or resumed."""
        state, smooth = self.resume.get(source.name), self.predictor.smooth
        self._source, self._empty, self._smoother = source.name, state is None, None
        if smooth is not None and source.kind != "photo":
            self._smoother = ProbSmoother(smooth)
            if state is not None:
                self._smoother.restore(state["probs"])

    def _image(self, task: Task, frame: Frame, rows: Iterator[np.ndarray]) -> ImagePrediction:
        """One frame with its faces, which take their values from `rows`: N probabilities, N intensities if any."""
        if frame.image is None:
            return ImagePrediction(task.source, "unreadable", frame.message, frame=frame.index)
        faces = []
        for found in task.found:
            row = next(rows)
            if self._smoother is not None:
                row = self._smoother.update(found.track, row, frame.time)
            faces.append(self.predictor.face(found, row))
        state = None
        if task.state is not None:
            smoothed = self._smoother.state() if self._smoother else {}
            state = {"after": frame.index, "faces": task.state, "probs": smoothed}
        height, width = (frame.reduced * side for side in frame.image.shape[:2])
        status, message = ("ok", "") if faces else ("no_face", no_face(frame.image.shape, self.predictor.detector))
        kept, size = frame.image if self.keep_images else None, (height, width)
        return ImagePrediction(task.source, status, message, faces, frame.index, frame.time_s, size, kept, state)


DEFAULT_RECIPE = "eyes"  # for checkpoints that do not say by which recipe their training images were cropped
FOLLOWED = ("cascade",)  # face detectors whose faces are followed by default: their landmarks are those of following
DECIMALS = 7  # of probabilities and intensities, as `auformer evaluate` writes them
PRECISIONS = {"32": None, "bf16": "bfloat16", "16": "float16"}  # and what torch calls them


class AUPredictor:
    """Find the faces of photos and videos, align them as in training, and predict their action units.

    Args:
        network: A network in eval mode, as `open_detector` gives it; it is moved to `device`.
        device: Where to compute.
        batch_size: Faces per batch; the result does not depend on it (beyond rounding). A batch that does not fit into
            memory is halved for good, with a warning.
        detector: The face detector: a spec of `auformer.faces.make_detector`, or what that gives.
        precision: `32`, or `bf16` or `16` for faster matrix products with fewer digits.
        thresholds: Decision threshold for all AUs, or per AU, in [0, 1]; the checkpoint's own where not
            given; `sensitive` for its second, lower ones.
        faces: How many of the largest faces of each image are predicted; None for all.
        detect_every: In videos, faces are detected in each such frame and moved by optical flow in those between. None
            follows them by their landmarks and detects where one is new or lost, see `auformer.predict.following`; face
            detectors other than the cascade are then asked in every frame.
        smooth: Time constant in seconds by which the probabilities of a video are smoothed; None for no smoothing.
        min_face: Pixels of the smallest face's box; the larger, the faster is the search. None for 40, and 0 of tables.

    Attributes:
        au_names: The N action units in the order of all probabilities.
        thresholds: (N,) decision threshold per AU.
        intensity_aus: AUs whose intensity the network has learned; empty for one without an intensity head.
        recipe: Name of the crop recipe.
        clock: Seconds that each stage has worked so far.

    Raises:
        CheckpointError: The network was trained on crops by a recipe that this version does not know.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        network: AUNetwork | OnnxDetector,
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 16,
        detector: Any = "cascade",
        precision: str = "32",
        thresholds: float | Mapping[str, float] | str | None = None,
        faces: int | None = None,
        detect_every: int | None = None,
        smooth: float | None = None,
        min_face: int | None = None,
    ) -> None:
        counts = {"batch_size": batch_size, "faces": faces, "detect_every": detect_every, "min_face": min_face}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"Expected `{name}` to be at least 1, but got {value}.")
        if precision not in PRECISIONS:
            raise ValueError(f"Expected `precision` to be one of {', '.join(PRECISIONS)}, but got {precision!r}.")
        self.recipe = network.crop_recipe or DEFAULT_RECIPE
        if self.recipe not in CROP_RECIPES:
            raise CheckpointError(
                f"The checkpoint was trained on crops by the recipe {self.recipe!r}, and this version of auformer "
                f"knows {', '.join(CROP_RECIPES)} only: use a newer version, or another checkpoint"
            )
        self.device = str(device)
        self.network = network.to(self.device).eval()
        self.clip_length: int = getattr(network, "clip_length", 1)
        self.view: str = getattr(network, "view", "whole")
        self.cropper = Cropper(self.recipe, shape_of(network.image_size, self.view), faces)
        self.precision, self.faces, self.smooth = precision, faces, smooth
        self._batches = FittingBatches(batch_size)
        if isinstance(detector, str):
            detector = make_detector(detector, largest=faces == 1, min_size=min_face)
        elif min_face is not None:
            raise ValueError("Expected `min_face` with the name of a face detector only, whose own limit it replaces.")
        self.detector = detector
        follows = getattr(self.detector, "name", "") in FOLLOWED
        self.detect_every = detect_every if detect_every is not None or follows else 1
        self.au_names = tuple(network.au_names)
        learned = getattr(network, "intensity_aus", ())
        self.intensity_aus = tuple(au for au in self.au_names if au in learned)
        self.thresholds = _thresholds(network, thresholds)
        self.clock = Clock()
        self._warned = False  # that photos are no clips
        if smooth is not None:
            ProbSmoother(smooth)  # refuses what it cannot use

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path, *, device: str | torch.device = "cpu", maps: bool = False, **options: Any
    ) -> AUPredictor:
        """A predictor from an adapter file, its folder, a `.ckpt`, an `.onnx`, `demo` or `hf://owner/name`.

        The options are other arguments of the constructor. Without `maps`, `demo` runs without torch on the CPU, which
        gives no maps.

        Raises:
            CheckpointError: The checkpoint is missing, damaged or not ours.
        """
        return cls(
            open_network(checkpoint, device=str(device), precision=options.get("precision", "32"), maps=maps),
            device=device,
            **options,
        )

    @property
    def batch_size(self) -> int:
        """Faces per batch: as asked for, or what has fitted into memory."""
        return self._batches.size

    def clips(self, tasks: Sequence[Task]) -> list[list[int]] | None:
        """The clips among the faces of tasks, for a network that sees clips; None for others."""
        if self.clip_length == 1:
            return None
        if not self._warned and any(task.source.kind == "photo" for task in tasks):
            self._warned = True
            warn_of_photos(self.clip_length)
        return clips_of(tasks, self.clip_length, resume_step(self.detect_every))

    def predict_proba(self, crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of aligned faces.

        Args:
            crops: (n, H, W, 3) uint8 RGB, aligned by the recipe; another size than the network's is resized.

        Returns:
            (n, N) float64 in [0, 1].

        Raises:
            ValueError: The crops are not uint8 RGB, or the network's weights are damaged.
        """
        if self.clip_length > 1 and len(crops):
            return self.outputs(crops)["probs"]
        probs = self._run(self.network.predict_probs, crops)
        if probs is None:
            return np.zeros((0, len(self.au_names)))
        return _checked_probs(probs)

    def outputs(
        self, crops: np.ndarray | Sequence[np.ndarray], clips: Sequence[Sequence[int]] | None = None
    ) -> dict[str, np.ndarray]:
        """Everything about aligned faces, in one pass through the network; crops as in `predict_proba`.

        Args:
            crops: As in `predict_proba`.
            clips: For a network that sees clips, which crops are consecutive frames of one face: places of each clip's
                crops. None: each crop is a clip of its own, in which nothing moves.

        Returns:
            `probs` (n, N), as `predict_proba` gives them; where the network has an intensity head also `intensity`
            (n, N) float64 in [0, 5], nan for AUs that are not in `intensity_aus`.

        Raises:
            ValueError: As `predict_proba`.
        """
        if self.clip_length > 1 and len(crops):
            alone = [[place] for place in range(len(crops))]
            return {"probs": _checked_probs(self._run_clips(crops, alone if clips is None else clips))}
        if not self.intensity_aus:
            return {"probs": self.predict_proba(crops)}

        def both(images: Any) -> Any:
            found = self.network.outputs(images)
            pair = [found["probs"], found["intensity"]]
            return np.concatenate(pair, axis=1) if isinstance(images, np.ndarray) else _joined(pair)

        number, values = len(self.au_names), self._run(both, crops)
        if values is None:
            return dict.fromkeys(("probs", "intensity"), np.zeros((0, number)))
        intensity = values[:, number:]
        if not ((intensity >= 0) & (intensity <= MAX_INTENSITY)).all():
            raise ValueError(
                f"Expected the network to give intensities in [0, {MAX_INTENSITY:g}], but got others, or nan: its "
                "weights are damaged."
            )
        intensity[:, [au not in self.intensity_aus for au in self.au_names]] = np.nan
        return {"probs": _checked_probs(values[:, :number]), "intensity": intensity.round(DECIMALS)}

    def evidence_maps(self, crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | None:
        """A map per AU: (n, N, h, w) on the patch grid, >= 0; None without crops or experts.

        Where the AU shows or would show, by a network with a map head, as the packaged one; else the norm of what its
        expert adds, which does not say where the AU is. A network that onnxruntime runs gives none.
        """
        maps = getattr(self.network, "change_maps" if self._points else "expert_maps", None)
        return None if maps is None else self._run(maps, crops)

    @property
    def map_words(self) -> str:
        """What `evidence_maps` are, for figures."""
        return CHANGE_MAPS if self._points else EXPERT_MAPS

    @property
    def _points(self) -> bool:
        return getattr(self.network, "map_head", None) is not None

    def _run(self, function: Callable[[Any], Any], crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | None:
        """Put crops (n, H, W, 3) through a function of the network in batches: (n, ...) float64, None without crops."""
        _check_crops(crops)
        compute = self._compute if isinstance(self.network, OnnxDetector) else self._compute_by_torch
        parts, first = [], 0
        while first < len(crops):
            batch = crops[first : first + self.batch_size]
            images = np.stack([to_float(see(crop, self.network.image_size, self.view)) for crop in batch])
            first += len(images)
            parts.append(self._batches.run(partial(compute, function), images))
        return np.concatenate(parts) if parts else None

    def _run_clips(self, crops: Sequence[np.ndarray] | np.ndarray, clips: Sequence[Sequence[int]]) -> np.ndarray:
        """Probabilities (n, N) of crops (n, H, W, 3), each in its clip; a short clip repeats its last crop."""
        _check_crops(crops)
        compute = self._compute if isinstance(self.network, OnnxDetector) else self._compute_by_torch
        length, number = self.clip_length, len(self.au_names)

        def probs(images: Any) -> Any:
            return self.network.outputs(images)["probs"].reshape(len(images), length, number)

        values, at_once = np.full((len(crops), number), np.nan), max(1, self.batch_size // length)
        for first in range(0, len(clips), at_once):
            batch = clips[first : first + at_once]
            seen = {
                place: to_float(see(crops[place], self.network.image_size, self.view)) for one in batch for place in one
            }
            padded = [[*one, *[one[-1]] * (length - len(one))] for one in batch]
            images = np.stack([np.stack([seen[place] for place in one]) for one in padded])
            found = self._batches.run(partial(compute, probs), images)
            for one, rows in zip(batch, found, strict=True):
                values[list(one)] = rows[: len(one)]
        return values

    @staticmethod
    def _compute(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """A function of a network that takes arrays, on images (b, 3, H, W): (b, ...) float64."""
        return function(images).astype(np.float64)

    def _compute_by_torch(self, function: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray) -> np.ndarray:
        """The same of a network of torch, at the precision asked for."""
        import torch

        name = PRECISIONS[self.precision]
        at = contextlib.nullcontext() if name is None else torch.autocast(_kind(self.device), getattr(torch, name))
        with torch.inference_mode(), at:
            return function(torch.from_numpy(images).to(self.device)).cpu().double().numpy()

    def predict_image(self, image: np.ndarray) -> list[FacePrediction]:
        """The faces of one image, the largest first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            FaceNotFoundError: No face is found.
            ValueError: The image is not uint8 RGB.
        """
        found = self.cropper.found(image, require_faces(image, backend=self.detector))
        values = self.outputs([one.crop for one in found])
        rows = np.concatenate(list(values.values()), axis=1)
        return [self.face(one, row) for one, row in zip(found, rows, strict=True)]

    def face(self, found: FoundFace, row: np.ndarray) -> FacePrediction:
        """A face with its values: N probabilities, and N intensities where the network has an intensity head."""
        number = len(self.au_names)
        intensity = row[number:] if len(row) > number else None
        face = replace(found.face, score=lowered(found.face.score, found.quality))
        probs = less_sure(row[:number], self.thresholds, found.quality)
        return FacePrediction(face, found.crop, probs, found.track, intensity, found.quality)

    def stream(
        self,
        sources: Sequence[Source],
        *,
        selection: Selection | None = None,
        keep_images: bool = False,
        resume: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Iterator[ImagePrediction | SourceEnd]:
        """Image after image of source after source, as they are done; a `SourceEnd` closes each source.

        Memory does not grow with the length of a video. A problem with a source is in its `SourceEnd`; the others
        continue.

        Args:
            sources: As `find_sources` gives them.
            selection: Which frames of videos; all by default.
            keep_images: Whether to give the images themselves, too.
            resume: By name of a source, the last `state` of its images.
        """
        resume = resume or {}
        last, chosen = Finisher(self, keep_images, resume), selection or Selection()
        reduce = not keep_images and may_reduce(self.detector)
        pipeline = Pipeline(self.detector, self.cropper, self.detect_every, chosen, resume, self.clock, reduce)
        batches = self._batched(task if keep_images else without_image(task) for task in pipeline.run(sources))
        at_once = self.network.at_once if isinstance(self.network, OnnxDetector) and self.batch_size > 1 else 1
        done = spread(last.values, batches, at_once) if at_once > 1 else map(last.values, batches)
        for tasks, values in done:
            yield from last.finish(tasks, values)

    def _batched(self, tasks: Iterable[Task]) -> Iterator[list[Task]]:
        """Frames in groups whose faces fill a batch; a clip is never in two."""
        waiting: list[Task] = []
        for task in tasks:
            waiting.append(task)
            enough = max(len(waiting), sum(len(one.found) for one in waiting)) >= self.batch_size
            if enough and (self.clip_length == 1 or closes(task, self.clip_length, resume_step(self.detect_every))):
                yield waiting
                waiting = []
        yield waiting

    def predict(
        self, sources: str | Path | Sequence[str | Path], *, selection: Selection | None = None
    ) -> pd.DataFrame:
        """The predictions table of photos, folders, videos ...: a row per image and face, see `predictions_table`.

        Args:
            sources: One or more, in any form that `find_sources` takes.
            selection: Which frames of videos; all by default.
        """
        found = find_sources([sources] if isinstance(sources, str | Path) else sources)
        images = (item for item in self.stream(found, selection=selection) if isinstance(item, ImagePrediction))
        return predictions_table(images, self.au_names, self.thresholds, self.intensity_aus)

    def is_active(self, probs: np.ndarray) -> np.ndarray:
        """Which AUs are active: (..., N) bool, where the probabilities (..., N) reach the thresholds."""
        return probs >= self.thresholds


def open_network(
    checkpoint: str | Path, *, device: str = "cpu", backbone_checkpoint: str | Path | None = None,
    precision: str = "32", maps: bool = False, cores: int | None = None,
) -> AUNetwork | OnnxDetector:  # fmt: skip
    """Anything that predicts; the packaged AU detector by onnxruntime where that can do what is asked, without torch.

    Args:
        checkpoint: As of `auformer.models.open_detector`.
        device: The same.
        backbone_checkpoint: The same.
        precision: Of `AUPredictor`; onnxruntime computes in 32 bits.
        maps: Whether evidence maps are wanted, which only torch gives.
        cores: Of the processor, for onnxruntime: half of them for a file of one's own, which leaves the other half to
            reading and detection, and all for calls of the packaged one; None for its usual threads.

    Raises:
        CheckpointError: As of `auformer.models.open_detector`.
    """
    plain = device == "cpu" and backbone_checkpoint is None and precision == "32" and not maps
    file = resolve_checkpoint(checkpoint)
    if plain and file.suffix.lower() == ONNX:
        return OnnxDetector(file, threads=None if cores is None else half_of(cores))
    if plain and file == DEMO_DETECTOR and (found := open_demo(threads=cores)) is not None:
        return found
    from auformer.models.checkpoints import open_detector

    return open_detector(file, device=device, backbone_checkpoint=backbone_checkpoint)


def _check_crops(crops: Sequence[np.ndarray] | np.ndarray) -> None:
    """Refuse crops of another type or shape."""
    for crop in crops:
        if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
            raise ValueError(
                f"Expected `crops` to be uint8 RGB of shape (n, H, W, 3), but got one of {crop.dtype} {crop.shape}."
            )


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors (b, N) beside each other."""
    import torch

    return torch.cat(list(parts), dim=1)


def _kind(device: str) -> str:
    """The type of a device of torch, as `cuda` of `cuda:1`."""
    return device.partition(":")[0]


def _checked_probs(probs: np.ndarray) -> np.ndarray:
    """Probabilities (n, N), rounded; a network that gives others is damaged."""
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError(
            "Expected the network to give probabilities in [0, 1], but got others, or nan: its weights are damaged."
        )
    return probs.round(DECIMALS)


SENSITIVE = "sensitive_thresholds"  # in the header's `extra`: the second operating point


def _thresholds(network: AUNetwork | OnnxDetector, given: float | Mapping[str, float] | str | None) -> np.ndarray:
    """(N,) the network's thresholds, replaced where others are given."""
    names = network.au_names
    if isinstance(given, str):
        given = _sensitive(network, given)
    given = dict.fromkeys(names, given) if isinstance(given, float | int) else dict(given or {})
    odd = sorted(set(given) - set(names))
    if odd:
        raise ValueError(f"Expected `thresholds` to be for {', '.join(names)}, but got {', '.join(odd)}.")
    for au, value in given.items():
        if not 0 <= value <= 1:
            raise ValueError(f"Expected the threshold of {au} to be in [0, 1], but got {value}.")
    return np.array([given.get(au, network.thresholds[au]) for au in names], dtype=np.float64)


def _sensitive(network: AUNetwork | OnnxDetector, name: str) -> dict[str, float]:
    """The second operating point of a checkpoint that has one."""
    found = (network.metadata.get("extra") or {}).get(SENSITIVE)
    if name != "sensitive":
        raise ValueError(f"Expected `thresholds` to be numbers or 'sensitive', but got {name!r}.")
    if not isinstance(found, dict):
        raise ValueError(
            "Expected a checkpoint with a second, more sensitive set of thresholds, but this one has none: pass your "
            "own with --threshold"
        )
    check_thresholds(found, network.au_names)
    return found
