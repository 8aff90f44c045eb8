"""An exported network run by onnxruntime, with the face of a network of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auformer.errors import CheckpointError, require
from auformer.models.adapter_header import parse_header
from auformer.models.export import METADATA

_LARGEST = 2**31  # bytes: what one ONNX file can hold


class OnnxDetector(nn.Module):
    """A detector in an ONNX file that `auformer export` wrote. It predicts only: no training, no evidence maps.

    Args:
        path: The file.

    Attributes:
        au_names: Canonical names of the action units, in the order of the probabilities.
        image_size: `(H, W)` in pixels.
        thresholds: Probability from which an action unit counts as active, per name.
        crop_recipe: Name of the crop recipe of the training images, or None where it is unknown.
        metadata: What the adapter file said that it was exported from.

    Raises:
        CheckpointError: The file cannot be read as ONNX, or was not written by `auformer export`.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        runtime: Any = require("onnxruntime", "export")
        path = Path(path)
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"{path} is larger than an ONNX file can be; export it again")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        try:  # from bytes: what the file says about other files on this machine is not followed
            self._session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen kinds, none of them public
            raise CheckpointError(f"{path} cannot be read as an ONNX model: {error}. Export it again") from error
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise CheckpointError(
                f"{path} is an ONNX model without action units, thresholds and crop recipe in its metadata: only those written by "
                "`auformer export` can be used"
            )
        self.metadata = parse_header(text, str(path))
        self.au_names: tuple[str, ...] = tuple(self.metadata["au_names"])
        self.thresholds: dict[str, float] = dict(self.metadata["thresholds"])
        self.image_size: tuple[int, int] = (int(self.metadata["image_size"][0]), int(self.metadata["image_size"][1]))
        self.crop_recipe: str | None = self.metadata.get("crop_recipe")
        self._check_shapes(path)

    def _check_shapes(self, path: Path) -> None:
        """Refuse a model whose input or output is not what its metadata says.

        Raises:
            CheckpointError: It says which.
        """
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [each.name for each in inputs], [each.name for each in outputs]
        if found != (["images"], ["probs"]):
            raise CheckpointError(f"Expected {path} to take `images` and give `probs`, but it takes {found[0]} and gives {found[1]}")
        taken, given = list(inputs[0].shape[1:]), outputs[0].shape[-1]
        if taken != [3, *self.image_size] or given != len(self.au_names):
            raise CheckpointError(
                f"Expected {path} to take images (3, {self.image_size[0]}, {self.image_size[1]}) and give {len(self.au_names)} "
                f"probabilities, as its metadata says, but it takes {taken} and gives {given}"
            )

    def predict_probs(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` float in [0, 1] to probabilities `(B, N)`, float32 on the device of the images."""
        (probs,) = self._session.run(["probs"], {"images": images.detach().to("cpu", torch.float32).contiguous().numpy()})
        return torch.from_numpy(probs).to(images.device)
