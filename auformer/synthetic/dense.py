"""Dense geometric targets of a rendered face, for pre-training a backbone without AU labels [ours]."""

from __future__ import annotations

import cv2
import numpy as np

from auformer.synthetic.canvas import LEFT, TOP, Array, Canvas, F, field_pixels, warp
from auformer.synthetic.eyes import Eyes
from auformer.synthetic.identity import Identity
from auformer.synthetic.mouth import Lips
from auformer.synthetic.muscles import Movement

#: What the channels hold: area averages of part masks; template coordinates; displacement of the skin now seen, in IPD;
#: relief made by muscles.
CHANNELS = (
    "face", "hair", "brow", "eye", "iris", "upper_lip", "lower_lip", "opening", "teeth",
    "template_x", "template_y", "move_x", "move_y", "bulge", "furrow",
)  # fmt: skip


def dense_targets(
    canvas: Canvas, identity: Identity, masks: Array, lips: Lips, eyes: Eyes, relief: Array,
    movement: Movement | None, pixels: Array, cells: int,
) -> Array:  # fmt: skip
    """Targets `(cells, cells, 15)` float16 in the order of `CHANNELS`; everything is 0 off the face.

    `masks (size, size, 3)` are face, hair and brow where the skin now is, `relief (size, size)` the height made by
    muscles, `pixels (size, size, 2)` the canvas pixel under each output pixel.
    """
    parts = np.zeros((canvas.size, canvas.size, 8), F)
    for eye, (r0, r1, c0, c1) in enumerate(eyes.boxes):
        parts[r0:r1, c0:c1, 0] += eyes.open[eye]
        parts[r0:r1, c0:c1, 1] += eyes.iris[eye]
    r0, r1, c0, c1 = lips.box
    parts[r0:r1, c0:c1, 2] = lips.upper
    parts[r0:r1, c0:c1, 3] = lips.lower
    if lips.opening is not None:
        parts[r0:r1, c0:c1, 4] = lips.opening.cover
        parts[r0:r1, c0:c1, 5] = lips.opening.teeth
    np.maximum(relief, 0, out=parts[..., 6])
    np.maximum(-relief, 0, out=parts[..., 7])

    def average(image: Array) -> Array:
        return cv2.resize(warp(image, pixels), (cells, cells), interpolation=cv2.INTER_AREA)

    rest, first, second = (
        average(masks), average(np.ascontiguousarray(parts[..., :4])), average(np.ascontiguousarray(parts[..., 4:])),
    )  # fmt: skip
    centres = cv2.resize(pixels, (cells, cells), interpolation=cv2.INTER_AREA)
    seen = (centres + F(0.5)) / F(canvas.ppi) + np.array([LEFT, TOP], F)  # IPD
    move = np.zeros((cells, cells, 2), F) if movement is None else warp(movement.inverse, field_pixels(seen))
    template = identity.unwarp((seen - move).reshape(-1, 2)).reshape(cells, cells, 2).clip(-2, 2.5)
    on = rest[..., :1]
    return np.dstack([rest, first, second[..., :2], template * on, move * on, second[..., 2:] * on]).astype(np.float16)
