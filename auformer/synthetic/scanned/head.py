"""The scanned head in the renderer's own frame: inter-pupil distances, template coordinates, subjects, poses [ours].

Units: 1 = the distance between the middles of the two eye openings, origin between them, x to the image's right, y
down, z to the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.head import rotation
from auformer.synthetic.identity import TEMPLATE_Y
from auformer.synthetic.scanned import kernels, pixels
from auformer.synthetic.scanned.facekit import FaceKit
from auformer.synthetic.scanned.shapes import EXTRA, drive_matrix, own_pushes, shape_names

PIVOT = np.array([0.0, 0.45, -0.55], F)  # the head turns about a point in the neck's line, behind the nose
KINDS = {
    "face": pixels.SKIN, "head": pixels.SKIN, "mouth_socket": pixels.INSIDE, "eye_socket": pixels.INSIDE,
    "gums": pixels.GUMS, "teeth": pixels.TEETH, "eye_right": pixels.EYE_FIRST, "eye_left": pixels.EYE_SECOND,
}  # fmt: skip
TRACE = 2e-4  # offsets of a shape up to this are left out, in IPD: a fiftieth of a pixel at 112 px
LID_ZONE = 0.42  # vertices as near as this to the middle of an eyeball are kept outside it
EYES = ("eye_right", "eye_left")  # image left first
BALL, LID = 1.0, 1.035  # radius of the drawn eyeball, and the least one of a lid, in radii of the model's eyeball


class HeadModel:
    """A copy of the face model, ready to draw: what does not depend on the subject.

    Args:
        kit: From `read_facekit`.

    Attributes:
        base: Neutral vertices `(n, 3)`.
        triangles: `(T, 3)` int32; `kinds` `(T,)` uint8 what each shows; those from `hidden` on lie behind the lips.
        part: Name of the part of every vertex `(n,)`.
        template: Template coordinates `(n, 2)`: those of the drawn renderer, so that both name a place alike.
        shapes: Offsets `(S, n * 3)` in the order of `names`; `matrix` `(S, 24, 2)` how AUs drive them.
        identities: Offsets `(K, n * 3)`.
        landmarks: Vertices of the 68 landmarks.
    """

    def __init__(self, kit: FaceKit) -> None:
        starts = [start for _, start in kit.layout.parts]
        labels = np.array([name for name, _ in kit.layout.parts])
        part = labels[np.searchsorted(starts, np.arange(len(kit.base)), side="right") - 1]
        drawn = np.isin(part, list(KINDS))
        triangles = kit.triangles[drawn[kit.triangles].all(1)]
        used = np.unique(np.concatenate([triangles.ravel(), np.array(kit.layout.landmarks)]))
        renumber = np.full(len(kit.base), -1)
        renumber[used] = np.arange(len(used))
        self.triangles = np.ascontiguousarray(renumber[triangles], np.int32)
        self.part = part[used]
        kinds = np.array([KINDS[name] for name in part[triangles[:, 0]]], np.uint8)
        order = np.argsort(
            np.isin(kinds, (pixels.GUMS, pixels.TEETH)), kind="stable"
        )  # what a shut mouth hides is last
        self.triangles, self.kinds = self.triangles[order], kinds[order]
        self.hidden = int((~np.isin(kinds, (pixels.GUMS, pixels.TEETH))).sum())
        self.landmarks = renumber[np.array(kit.layout.landmarks)]
        eyes = kit.base[np.array(kit.layout.landmarks)[36:48]].reshape(2, 6, 3).mean(1)
        self._scale = F(1 / np.linalg.norm(eyes[1] - eyes[0]))
        flip = np.array([1, -1, 1], F) * self._scale
        self.base = ((kit.base[used] - eyes.mean(0)) * flip).astype(F)
        self.skin = np.isin(self.part, ("face", "head"))
        self.template = self._template()
        self.names = shape_names()
        self.matrix = drive_matrix(self.names)
        pushes = own_pushes(self.template, (self.part == "face") & (self.base[:, 2] > -0.6))
        self.shapes = np.stack(
            [
                pushes[name] if name.startswith(EXTRA) else kit.expressions[name][used].astype(F) * flip
                for name in self.names
            ]
        ).reshape(len(self.names), -1)
        self.identities = (kit.identities[:, used].astype(F) * flip).reshape(len(kit.identities), -1)
        self._kernels = kernels.compiled()
        self._mouth = self._mouth_zone()
        self.balls = [np.nonzero(self.part == name)[0] for name in EYES]
        face = self.part == "face"
        self._lids = [
            np.nonzero(face & (np.linalg.norm(self.base - centre, axis=1) < LID_ZONE))[0]
            for centre, _ in self.eyeballs(self.base)
        ]
        self._sparse = []
        for shape in self.shapes.reshape(len(self.names), -1, 3):
            vertices = np.nonzero(np.abs(shape).max(1) > TRACE)[0]
            self._sparse.append((vertices, np.ascontiguousarray(shape[vertices])))

    def eyeballs(self, points: Array) -> list[tuple[Array, float]]:
        """Centre `(3,)` and radius of either eyeball, image left first; its front is the cornea's bulge."""
        found = []
        for ball in self.balls:
            low, high = points[ball].min(0), points[ball].max(0)
            radius = float((high[:2] - low[:2]).mean() / 2)
            found.append((np.array([*((high + low)[:2] / 2), low[2] + radius], F), radius))
        return found

    def rounded(self, points: Array) -> Array:
        """Vertices with both eyeballs made round: the iris is painted, and a cornea would pierce a lid that shuts."""
        points = points.copy()
        for ball, (centre, radius) in zip(self.balls, self.eyeballs(points), strict=True):
            out = points[ball] - centre
            length = np.linalg.norm(out, axis=1, keepdims=True)
            points[ball] = centre + out * np.minimum(1, BALL * radius / np.maximum(length, 1e-6))
        return points

    def _mouth_zone(self) -> tuple[NDArray[Any], Array, Array]:
        """Vertices about the lips, how much each follows when lips meet, +1 for the lower lip and -1 for the upper."""
        at = self.template[self.landmarks[[60, 61, 62, 63, 64]]]
        x, y = self.template.T
        line = np.interp(x, at[:, 0], at[:, 1])
        near = (self.part == "face") & (np.abs(x) < 0.45) & (np.abs(y - line) < 0.40) & (self.base[:, 2] > -0.3)
        zone = np.nonzero(near)[0]
        follow = np.exp(-((x[zone] / 0.34) ** 6) - ((y - line)[zone] / 0.17) ** 2)
        return zone, follow.astype(F), np.where((y - line)[zone] > 0, 1, -1).astype(F)

    def closed(self, points: Array, rest: Array, share: float) -> Array:
        """Vertices with the lips brought together as at rest; the lower one goes most of the way.

        Args:
            points: Moved vertices, changed.
            rest: The neutral ones.
            share: How much of the gap is closed, 0 to 1.
        """
        upper, lower = self.landmarks[[61, 62, 63]], self.landmarks[[67, 66, 65]]
        gap = (points[lower] - points[upper])[:, 1] - (rest[lower] - rest[upper])[:, 1]
        zone, follow, side = self._mouth
        across = np.interp(points[zone, 0], points[upper, 0], gap) * share
        points[zone, 1] -= across * follow * np.where(side > 0, F(0.72), F(-0.28))
        return points

    def covered(self, points: Array, balls: list[tuple[Array, float]]) -> Array:
        """Vertices with the lids kept outside the eyeballs (from `eyeballs`), changed in place."""
        for lid, (centre, radius) in zip(self._lids, balls, strict=True):
            out = points[lid] - centre
            length = np.sqrt(np.einsum("ij,ij->i", out, out))[:, None]
            points[lid] = centre + out * np.maximum(1, F(LID * radius) / np.maximum(length, F(1e-6)))
        return points

    def _template(self) -> Array:
        """Heights of brows, nose, mouth and chin are brought to the template's; widths agree already."""
        at = self.base[self.landmarks]
        own = np.array(
            [-1.4, at[17:27, 1].mean() + 0.005, -0.12, 0, 0.25, at[33, 1] - 0.03, at[[62, 66], 1].mean(), at[8, 1],
             at[8, 1] + 0.45]
        )  # fmt: skip
        y = np.interp(self.base[:, 1], own, TEMPLATE_Y)
        beyond = self.base[:, 1]
        y = np.where(beyond < own[0], beyond - own[0] + TEMPLATE_Y[0], y)
        y = np.where(beyond > own[-1], beyond - own[-1] + TEMPLATE_Y[-1], y)
        return np.stack([self.base[:, 0], y], 1).astype(F)

    def of(self, coefficients: Array, rest: Array) -> tuple[Array, float]:
        """Neutral vertices `(n, 3)` of a subject, in its own inter-pupil distance, and how much it was scaled.

        Args:
            coefficients: Of the identity shapes `(K,)`, in standard deviations.
            rest: Weights `(S,)` of the expression shapes that its face has at rest.
        """
        points = self.base + (coefficients.astype(F) @ self.identities + rest.astype(F) @ self.shapes).reshape(-1, 3)
        eyes = self.eye_middles(self.base + (coefficients.astype(F) @ self.identities).reshape(-1, 3))
        scale = F(1 / np.linalg.norm(eyes[1] - eyes[0]))
        return ((points - eyes.mean(0)) * scale).astype(F), float(scale)

    def eye_middles(self, points: Array) -> Array:
        """Middle of either eye opening `(2, 3)`, image left first."""
        return points[self.landmarks[36:48]].reshape(2, 6, 3).mean(1)

    def moved(self, points: Array, scale: float, weight: Array) -> Array:
        """Vertices with the expression shapes of weights `(S,)` above a trace."""
        active = np.nonzero(np.abs(weight) > 1e-3)[0]
        if not len(active):
            return points
        moved = points.copy()
        for i in active.tolist():
            self._kernels.add(moved, *self._sparse[i], F(weight[i] * scale))
        return moved

    def normals(self, points: Array, out: Array) -> Array:
        """Unit normals `(n, 3)` into `out`."""
        self._kernels.normals(points, self.triangles, out)
        return out


@dataclass(frozen=True)
class Camera3D:
    """Where the camera stands: rotation of the head, how near it is, and the square that it takes.

    Args:
        turn: Rotation `(3, 3)`.
        near: Inverse of the distance to the camera in IPD; 0 is a telephoto lens without perspective.
        origin: Point between the eyes after the rotation `(3,)`; perspective is centred on it.
        centre: Centre of the square in projected IPD `(2,)`.
        axes: Its x and y axis as columns `(2, 2)`, as long as its side.
    """

    turn: Array
    near: float
    origin: Array
    centre: Array
    axes: Array

    def pixels(self, size: int) -> tuple[Array, Array, Array]:
        """What `kernels.place` takes for a square of `size` pixels: turn, shift, and the way to pixels."""
        shift = PIVOT - self.turn @ PIVOT - self.origin
        inverse = np.linalg.inv(self.axes.astype(float))
        flat = np.zeros((3, 4))
        flat[:2, :2] = inverse * size
        flat[:2, 2] = -(inverse @ self.centre) * size + size / 2 - 0.5
        flat[2, 2] = size / np.linalg.norm(self.axes[:, 0])
        return self.turn.astype(F), shift.astype(F), flat.astype(F)

    def screen(self, points: Array, size: int) -> Array:
        """Pixels `(n, 3)` of points of the head in a square of `size`: pixel centres at whole numbers, z towards us.

        The square's own tilt is taken out, so that x and y are the image's.
        """
        out = np.empty((len(points), 3), F)
        turn, shift, flat = self.pixels(size)
        kernels.compiled().place(np.ascontiguousarray(points, F), turn, shift, F(self.near), flat, out)
        return out


def look(middles: Array, recipe: Any, pose: Any, jitter: Any = (0, 0, 1), near: float = 0.0) -> Camera3D:
    """The camera that takes exactly the `eyes` crop of a turned head, then moved by `jitter`.

    The projected middles of the eyes decide, as two landmarks on a photograph do: a turned head stays centred between
    its eyes, and its crop is as small as its eyes are near each other.

    Args:
        middles: Eye middles of the subject `(2, 3)`, image left first.
        recipe: An `EyeRecipe`: side and how far the centre lies below.
        pose: Yaw, pitch, roll in radians.
        jitter: Shift in x and y in IPD, factor on the side.
        near: See `Camera3D`.
    """
    yaw, pitch, roll = pose

    def eyes(turn: Array) -> tuple[Array, Array]:
        turned = (middles - PIVOT) @ turn.T + PIVOT
        origin = turned.mean(0)
        flat = turned - origin
        return (flat[:, :2] / (1 - near * flat[:, 2:3])).astype(float), origin

    (left, right), _ = eyes(rotation(yaw, pitch, 0.0))
    tilt = float(np.arctan2(right[1] - left[1], right[0] - left[0]))  # yaw and pitch tilt the eye line; roll stays
    turn = rotation(yaw, pitch, roll)
    (left, right), origin = eyes(turn)
    distance = float(np.hypot(*(right - left)))
    below = recipe.centre_below * distance * np.array([-np.sin(tilt + roll), np.cos(tilt + roll)])
    centre = (left + right) / 2 + below + np.array(jitter[:2])
    side = recipe.side * distance * jitter[2]
    axes = side * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return Camera3D(turn, near, origin.astype(F), centre.astype(F), axes.astype(F))
