"""`AUPredictor`: a checkpoint and photos in, action units of every face out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from auformer.data.images import read_image
from auformer.data.transforms import resize, to_float
from auformer.errors import CheckpointError, FaceNotFoundError
from auformer.faces import CROP_RECIPES, Face, align, require_faces
from auformer.inference.results import FacePrediction, PhotoPrediction
from auformer.inference.sources import name_sources
from auformer.inference.tables import predictions_table
from auformer.models import AUNetwork, load_detector

DEFAULT_RECIPE = "eyes"  # for checkpoints that do not say by which recipe their training images were cropped
DECIMALS = 7  # of probabilities, as `auformer evaluate` writes them


class AUPredictor:
    """Find the faces of photos, align them as the network's training images were, and predict their action units.

    Args:
        network: a network in eval mode, as `load_detector` gives it; it is moved to `device`.
        device: where to compute.
        batch_size: faces per batch; the result does not depend on it (beyond rounding).
        detector: back-end of `auformer.faces.detect`.

    Attributes:
        au_names: the N action units in the order of all probabilities.
        thresholds: (N,) from which probability on each counts as active.
        recipe: name of the crop recipe.

    Raises:
        CheckpointError: if the network was trained on crops by a recipe that this version does not know.
    """

    def __init__(self, network: AUNetwork, *, device: str | torch.device = "cpu", batch_size: int = 16, detector: str = "cascade") -> None:
        if batch_size < 1:
            raise ValueError(f"Expected `batch_size` to be at least 1, but got {batch_size}.")
        self.recipe = network.crop_recipe or DEFAULT_RECIPE
        if self.recipe not in CROP_RECIPES:
            raise CheckpointError(
                f"The checkpoint was trained on crops by the recipe {self.recipe!r}, and this version of auformer knows "
                f"{', '.join(CROP_RECIPES)} only: use a newer version, or another checkpoint"
            )
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.batch_size = batch_size
        self.detector = detector
        self.au_names = tuple(network.au_names)
        self.thresholds = np.array([network.thresholds[au] for au in self.au_names])

    @classmethod
    def from_checkpoint(cls, checkpoint: str | Path, *, device: str | torch.device = "cpu", batch_size: int = 16) -> AUPredictor:
        """A predictor from anything that `load_detector` takes: an adapter file, a folder, a `.ckpt`, `demo`.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged or not ours.
        """
        return cls(load_detector(checkpoint, device=device), device=device, batch_size=batch_size)

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
            raise ValueError("Expected the network to give probabilities in [0, 1], but got others, or nan: its weights are damaged.")
        return probs.round(DECIMALS)

    def evidence_maps(self, crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | None:
        """Where each AU's expert acts: (n, N, h, w) on the patch grid, 0 or more; None without crops or for a network without experts."""
        expert_maps = getattr(self.network, "expert_maps", None)
        return None if expert_maps is None else self._run(expert_maps, crops)

    @torch.inference_mode()
    def _run(self, function: Callable[[torch.Tensor], torch.Tensor], crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | None:
        """Put crops (n, H, W, 3) through a function of the network in batches: (n, ...) float64, None without crops."""
        for crop in crops:
            if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
                raise ValueError(f"Expected `crops` to be uint8 RGB of shape (n, H, W, 3), but got one of {crop.dtype} {crop.shape}.")
        parts = []
        for first in range(0, len(crops), self.batch_size):
            images = [to_float(resize(crop, self.network.image_size)) for crop in crops[first : first + self.batch_size]]
            parts.append(function(torch.from_numpy(np.stack(images)).to(self.device)).double().cpu().numpy())
        return np.concatenate(parts) if parts else None

    def predict_image(self, image: np.ndarray) -> list[FacePrediction]:
        """All faces of one image, the largest first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            FaceNotFoundError: if no face is found.
            ValueError: if the image is not uint8 RGB.
        """
        pairs = self._crops(image)
        probs = self.predict_proba([crop for _, crop in pairs])
        return [FacePrediction(face, crop, row) for (face, crop), row in zip(pairs, probs, strict=True)]

    def predict_photos(self, paths: Sequence[str | Path]) -> Iterator[PhotoPrediction]:
        """Photos one after the other, in their order; what is wrong with one of them stands in its `status` and `message`.

        Args:
            paths: image files; one that is named twice is predicted once.

        Raises:
            ValueError: if there is no path.
        """
        waiting: list[tuple[PhotoPrediction, list[tuple[Face, np.ndarray]]]] = []
        for file, name in name_sources(paths):
            waiting.append(self._open(file, name))
            if max(len(waiting), sum(len(pairs) for _, pairs in waiting)) >= self.batch_size:
                yield from self._finish(waiting)
                waiting = []
        yield from self._finish(waiting)

    def predict(self, paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
        """The predictions table of one or more photos, one row per face; see `predictions_table`."""
        photos = list(self.predict_photos([paths] if isinstance(paths, str | Path) else paths))
        return predictions_table(photos, self.au_names, self.thresholds)

    def is_active(self, probs: np.ndarray) -> np.ndarray:
        """Which AUs are active: (..., N) bool, where the probabilities (..., N) reach the checkpoint's thresholds."""
        return probs >= self.thresholds

    def _crops(self, image: np.ndarray) -> list[tuple[Face, np.ndarray]]:
        """The faces of an image with their aligned crops."""
        height, width = self.network.image_size
        faces = require_faces(image, backend=self.detector)
        crops = (align(image, face.points, self.recipe, max(height, width))[0] for face in faces)
        return [(face, resize(crop, (height, width))) for face, crop in zip(faces, crops, strict=True)]

    def _open(self, file: str, name: str) -> tuple[PhotoPrediction, list[tuple[Face, np.ndarray]]]:
        """Read a photo and cut out its faces."""
        try:
            image = read_image(file)
        except ValueError as error:
            return PhotoPrediction(file, name, "unreadable", str(error)), []
        try:
            return PhotoPrediction(file, name), self._crops(image)
        except FaceNotFoundError as error:
            return PhotoPrediction(file, name, "no_face", str(error)), []

    def _finish(self, waiting: list[tuple[PhotoPrediction, list[tuple[Face, np.ndarray]]]]) -> Iterator[PhotoPrediction]:
        """Predict all faces of several photos together and give them back photo by photo."""
        probs = iter(self.predict_proba([crop for _, pairs in waiting for _, crop in pairs]))
        for photo, pairs in waiting:
            photo.faces.extend(FacePrediction(face, crop, next(probs)) for face, crop in pairs)
            yield photo
