"""Five landmarks of a face by a small convolutional network of ours, run by onnxruntime: 0.4 ms a look.

OpenCV's `dnn` gives the same landmarks, to 0.0001 pixels of the input, in 1.1 ms.

It has seen rendered faces only (experiments/pretraining/train_points.py; assets/points_card.md says how well it does
and where not). It looks twice: at the square that the box suggests, then at the square that the first points suggest,
level and at the size it knows best.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from auformer.faces.align import warp
from auformer.faces.recipes import Box, Square
from auformer.files import sha256

MODEL = Path(__file__).parent.parent / "assets" / "points.onnx"
INPUT = 64  # side of the network's input in pixels [ours]
SIDE = 2.75  # of the input, in inter-pupil distances of an upright face [ours]
BELOW = 0.42  # of the input's centre under the middle between the pupils, in the same [ours]
_PER_MOUTH = 0.8  # of a turned head's distance from eyes to mouth: its size, if its pupils are nearer [ours]
# Square that the network first sees, in widths of a frontal-face cascade's box: side, and centre below the box's.
# [ours]
_SQUARE, _LOWER = 1.1, 0.08
_LOOKS = 2  # a third moves nothing that can be measured; for boxes of unknown make one more [ours]
_DARKEST = 8.0  # grey levels: crops with less contrast are not stretched further [ours]

_TRUNK = "deep4.out"  # name of the trunk's last map in the file, which gives the points alone


def locate(gray: np.ndarray, box: Box, *, looks: int = _LOOKS) -> np.ndarray:
    """Five landmarks `(5, 2)` float64, in pixels, of a face in `gray (H, W)` uint8 whose box is known.

    The box (x, y, w, h) is as frontal-face cascades give it: square, pupils at 0.41 of its height and 0.40 of its width
    apart; others do with one more of the `looks`, in each of which the network is asked.
    """
    points = look(gray, square_of_box(box))
    for _ in range(looks - 1):
        points = look(gray, square_of(points))
    return points


def square_of_box(box: Box) -> Square:
    """The square that the network sees first, by a box (x, y, w, h) of the cascade."""
    x, y, w, h = box
    side = max(w, h)
    return Square(np.array([x + w / 2, y + h / 2 + _LOWER * side]), np.array([_SQUARE * side / 2, 0.0]))


def locate_in_any_box(gray: np.ndarray, box: Box) -> np.ndarray:
    """As `locate`, for a box of another make than the cascade's."""
    return locate(gray, box, looks=_LOOKS + 1)


def look(gray: np.ndarray, square: Square) -> np.ndarray:
    """Ask the network once about one square of an image: (5, 2) float64 points in pixels of the image."""
    return ask(gray, square)[0]


def ask(gray: np.ndarray, square: Square) -> tuple[np.ndarray, np.ndarray]:
    """As `look`, with what its trunk made of the square: the points, and (64, 8, 8) float32."""
    matrix = square.matrix(INPUT)
    points, features = _session().run(None, {"crop": normalise(warp(gray, matrix, INPUT))[None, None]})
    return _in_pixels(points[0], matrix), features[0]


def trunks(gray: np.ndarray, squares: Sequence[Square]) -> np.ndarray:
    """What the trunk makes of many squares of one image: (n, 64, 8, 8) float32, without their points."""
    crops = [normalise(warp(gray, square.matrix(INPUT), INPUT))[None, None] for square in squares]
    found = [_session().run([_TRUNK], {"crop": crop})[0] for crop in crops]
    return np.concatenate(found) if found else np.zeros((0, 64, 8, 8), np.float32)


def _in_pixels(found: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (5, 2) in parts of the input's side as pixels of the image."""
    return (found.astype(np.float64) * INPUT - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def square_of(points: np.ndarray) -> Square:
    """The square that the network knows best, by points (5, 2)."""
    middle, along = points[:2].mean(0), points[1] - points[0]
    apart = float(np.hypot(*along))
    if apart == 0:
        along, apart = np.array([1.0, 0.0]), 1.0
    distance = max(apart, _PER_MOUTH * float(np.hypot(*(points[3:].mean(0) - middle))), 1.0)
    along = along / apart
    return Square(middle + BELOW * distance * np.array([-along[1], along[0]]), along * (SIDE * distance / 2))


def normalise(crop: np.ndarray) -> np.ndarray:
    """A crop (INPUT, INPUT) uint8 as the network wants it: float32 of mean 0 and deviation 1."""
    values = crop.astype(np.float32)
    values -= values.mean()
    return values / max(float(values.std()), _DARKEST)


def model_version() -> str:
    """First 12 hex digits of the SHA-256 of the network's file."""
    return sha256(MODEL)[:12]


@lru_cache(maxsize=1)
def _session() -> Any:
    """The network, loaded once; threads share it, and each computes on its own core."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = MODEL.read_bytes() + _further_output(_TRUNK)
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _further_output(name: str) -> bytes:
    """What makes a map inside an ONNX model one of its outputs, when it is added to the end of its file.

    Messages of protocol buffers that stand in a row are one: field 7 of a model is its graph, 12 of a graph an output,
    1 of an output its name (onnx.proto).
    """
    message = name.encode()
    for field in (1, 12, 7):
        message = bytes([field << 3 | 2, len(message)]) + message
    return message
