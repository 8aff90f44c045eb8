"""Follow faces from one frame to the next without looking for them: optical flow on a grid inside each box (Lucas and Kanade 1981).

For the frames between two detections (`--detect-every`). A face that turns away or is covered is followed to where it is lost; a new
face is seen at the next detection only.
"""

from __future__ import annotations

import cv2
import numpy as np

from auformer.faces import Face

_GRID = 7  # points along each side of the box's inner part [ours]
_INNER = 0.7  # of the box, so that the background does not pull [ours]
_WINDOW, _LEVELS = (15, 15), 3  # pixels and pyramid of the flow [ours]
_LONGEST = 640  # pixels of the longer side in which the flow is computed [ours]
_KEPT = 0.5  # of the grid that must move together; below, the face is lost [ours]
_GROWTH = 1.5  # factor by which a face may grow or shrink from one frame to the next [ours]
_SMALLEST = 10  # pixels of a box's width [ours]
_RANSAC = 1.0  # pixels by which a point of the grid may differ from the others [ours]


def small_grey(image: np.ndarray) -> tuple[np.ndarray, float]:
    """A grey copy (h, w) of an RGB image in which the flow is computed, and its scale."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _LONGEST / max(grey.shape))
    return (grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)), scale


def follow(before: np.ndarray, now: np.ndarray, scale: float, face: Face) -> Face | None:
    """Where a face of the last frame is in this one.

    Args:
        before: (h, w) the last frame, as `small_grey` gives it.
        now: (h, w) this frame.
        scale: of both.
        face: the face in the last frame, in pixels of the full image.

    Returns:
        The face with box and points moved, turned and scaled; None where it is lost.
    """
    x, y, w, h = (value * scale for value in face.box)
    steps = (np.arange(_GRID) / (_GRID - 1) - 0.5) * _INNER + 0.5
    grid = np.array([(x + w * across, y + h * down) for down in steps for across in steps], np.float32)
    inside = (grid >= 0).all(1) & (grid < (before.shape[1], before.shape[0])).all(1)
    if inside.sum() < _KEPT * len(grid):
        return None
    grid = grid[inside]
    start = np.zeros_like(grid[:, None])  # not read: no initial flow is asked for
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, grid[:, None], start, winSize=_WINDOW, maxLevel=_LEVELS)
    seen = np.asarray(found).ravel() == 1
    if seen.sum() < 3:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(grid[seen], np.asarray(moved)[seen, 0], ransacReprojThreshold=_RANSAC)
    if matrix is None or agree.sum() < _KEPT * _GRID**2:
        return None
    linear, shift = matrix[:, :2], matrix[:, 2] / scale
    factor = float(np.sqrt(abs(np.linalg.det(linear))))
    if not 1 / _GROWTH < factor < _GROWTH or face.box[2] * factor < _SMALLEST:
        return None
    middle = linear @ (np.array(face.box[:2]) + np.array(face.box[2:]) / 2) + shift
    size = np.array(face.box[2:]) * factor
    corner = middle - size / 2
    box = (float(corner[0]), float(corner[1]), float(size[0]), float(size[1]))
    return Face(box, face.score, face.points @ linear.T + shift, face.points_source)
