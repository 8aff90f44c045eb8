"""Dense geometric targets of the scanned face: the same 15 channels as the drawn renderer's [ours]."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.dense import CHANNELS
from auformer.synthetic.scanned import pixels


@dataclass(frozen=True)
class Seen:
    """What the z-buffer saw: triangle, weights of its second and third corner, kind, cover of hair, each `(n, n)`."""

    index: Array
    second: Array
    third: Array
    kind: Array
    hair: Array


def dense_targets(
    seen: Seen, triangles: Array, vertex: Array, columns: Array, masks: Array, relief: Array, cells: int
) -> Array:
    """Targets `(cells, cells, 15)` float16 in the order of `auformer.synthetic.dense.CHANNELS`; 0 off the face.

    Args:
        seen: The z-buffer of the head.
        triangles: `(T, 3)`.
        vertex: Per vertex `(n, 5)`: template x and y, displacement x and y in IPD, face cover.
        columns: Texture pixel of every vertex `(n, 2)`.
        masks: Textures of brow, upper lip, lower lip `(H, W, >=3)`.
        relief: Texture of the relief in action `(H, W)`, in IPD.
        cells: Cells per side.
    """
    size = seen.index.shape[0]
    hit = seen.index >= 0
    corners = triangles[seen.index[hit]]
    w1, w2 = seen.second[hit][:, None], seen.third[hit][:, None]

    def across(values: Array) -> Array:
        return values[corners[:, 0]] * (1 - w1 - w2) + values[corners[:, 1]] * w1 + values[corners[:, 2]] * w2

    value = across(vertex)
    at = across(columns)
    kind, visible = seen.kind[hit], 1 - seen.hair[hit]
    skin = kind == pixels.SKIN
    looked = cv2.remap(
        np.dstack([masks[..., :3], relief]).astype(F), at[:, None, 0].astype(F), at[:, None, 1].astype(F),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )[:, 0]  # fmt: skip
    within = value[:, 4].clip(0, 1) * visible
    inside = (~skin) * visible  # eyes and mouth are looked into through the face
    on = np.where(skin, within, inside)
    iris = kind > pixels.IRIS
    eye = iris | (kind == pixels.EYE_FIRST) | (kind == pixels.EYE_SECOND)
    mouth = (kind == pixels.INSIDE) | (kind == pixels.GUMS) | (kind == pixels.TEETH)
    flesh = skin * within
    planes = {
        "face": on, "hair": seen.hair[hit], "brow": looked[:, 0] * flesh, "eye": eye * visible, "iris": iris * visible,
        "upper_lip": looked[:, 1] * flesh, "lower_lip": looked[:, 2] * flesh, "opening": mouth * visible,
        "teeth": (kind == pixels.TEETH) * visible, "template_x": value[:, 0].clip(-2, 2.5) * on,
        "template_y": value[:, 1].clip(-2, 2.5) * on, "move_x": value[:, 2] * flesh, "move_y": value[:, 3] * flesh,
        "bulge": np.maximum(looked[:, 3], 0) * flesh, "furrow": np.maximum(-looked[:, 3], 0) * flesh,
    }  # fmt: skip
    image = np.zeros((size, size, len(CHANNELS)), F)
    image[hit] = np.stack([planes[name].astype(F) for name in CHANNELS], 1)
    image[..., CHANNELS.index("hair")] = seen.hair  # hair lies before the background too
    parts = [cv2.resize(image[..., i : i + 4], (cells, cells), interpolation=cv2.INTER_AREA) for i in (0, 4, 8)]
    last = cv2.resize(image[..., 12:], (cells, cells), interpolation=cv2.INTER_AREA)
    return np.dstack([*parts, last]).astype(np.float16)
