"""Where the camera stands: the crop of a turned head, and the map from its pixels to the frontal canvas [ours].

The light is turned into the head's frame, so that the only thing left to do for a pose is one look-up per output pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from auformer.faces.align import EYES
from auformer.synthetic.canvas import LEFT, TOP, Array, F
from auformer.synthetic.head import project, rotation
from auformer.synthetic.identity import Identity

POSE_CELLS = 28  # the inverse map is solved on a coarse grid, then enlarged


@dataclass(frozen=True)
class View:
    """One camera position.

    Args:
        turn: Rotation of the head `(3, 3)`.
        centre: Centre of the output square in projected IPD `(2,)`.
        axes: Columns are the output's x and y axis, as long as its side, in projected IPD `(2, 2)`.
        width: Half face width of the subject in IPD.
    """

    turn: Array
    centre: Array
    axes: Array
    width: float

    @classmethod
    def of(cls, identity: Identity, pose: Sequence[float] = (0, 0, 0), jitter: Sequence[float] = (0, 0, 1)) -> View:
        """The view that the `eyes` recipe gives on this subject, then moved.

        The roll of `pose` (yaw, pitch, roll in radians) stays visible in the crop, the tilt that yaw and pitch give the
        eye line does not. `jitter` shifts the crop in x and y in IPD, and is a factor on its side.
        """
        yaw, pitch, roll = pose
        pupils = pupil_points(identity)
        left, right = np.stack(
            project(rotation(yaw, pitch, 0), pupils[:, 0], pupils[:, 1], identity["half_width"]), 1
        ).astype(float)
        tilt = math.atan2(right[1] - left[1], right[0] - left[0])
        turn = rotation(yaw, pitch, roll)
        left, right = np.stack(project(turn, pupils[:, 0], pupils[:, 1], identity["half_width"]), 1).astype(float)
        distance = math.hypot(*(right - left))
        below = EYES.centre_below * distance * np.array([-math.sin(tilt + roll), math.cos(tilt + roll)])
        centre = (left + right) / 2 + below + np.array(jitter[:2])
        side = EYES.side * distance * jitter[2]
        axes = side * np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
        return cls(turn, centre.astype(F), axes.astype(F), identity["half_width"])

    def pixels(self, points: Array, size: int) -> Array:
        """Output pixel coordinates `(n, 2)`, origin at the image's corner, of frontal points `(n, 2)` in IPD."""
        flat = np.stack(project(self.turn, points[:, 0], points[:, 1], self.width), 1)
        return (((flat - self.centre) @ np.linalg.inv(self.axes).T + 0.5) * size).astype(F)


def pupil_points(identity: Identity) -> Array:
    """Both pupils at a straight gaze `(2, 2)`, image left first, in the frontal frame."""
    lift = [0.6 * v for v in identity["asymmetry"][3:5]]
    return np.array([(-identity["eye_x"], lift[0]), (identity["eye_x"], lift[1])], F)


class PoseMap:
    """From pixels of the output image to pixels of the canvas.

    Args:
        size: Side of the output in pixels.
        ppi: Canvas pixels per IPD.
    """

    def __init__(self, size: int, ppi: float) -> None:
        self.size, self.ppi = size, ppi
        cells = (np.arange(POSE_CELLS, dtype=F) + 0.5) / POSE_CELLS - F(0.5)
        self.grid = np.stack(np.meshgrid(cells, cells))  # (2, cells, cells)

    def canvas_pixels(self, view: View) -> Array:
        """Canvas pixel `(size, size, 2)` under each output pixel, by five fixed-point steps."""
        target = np.tensordot(view.axes, self.grid, 1) + view.centre[:, None, None]
        origin = np.stack(project(view.turn, np.zeros(1, F), np.zeros(1, F), view.width))[:, :, None]
        step = F(0.9) * np.linalg.inv(view.turn[:2, :2]).astype(F)
        q = target - origin
        for _ in range(5):
            q = q + np.tensordot(step, target - np.stack(project(view.turn, q[0], q[1], view.width)), 1)
        q = (np.dstack([q[0], q[1]]) - np.array([LEFT, TOP], F)) * F(self.ppi) - F(0.5)
        return cv2.resize(q.astype(F), (self.size, self.size), interpolation=cv2.INTER_LINEAR)
