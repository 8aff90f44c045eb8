"""Faces for the landmark regressor: rendered grey images whose five landmarks are known, and how they are varied.

`render_shards` draws every subject of a range in scenes of both labs, with wider turns than any lab has; `vary` cuts
network inputs out of them as boxes and first landmarks would: turned, shifted, scaled, then covered, blurred,
coarsened, lit from aside, given noise and JPEG. The subjects are numbered from 300,000 on: no data set, test, AU
detector or pre-training uses those.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from auformer.faces.regressor import INPUT, SIDE, normalise
from auformer.files import atomic_path
from auformer.synthetic import AU_NAMES, Identity, Renderer, sample_aus, sample_scene
from auformer.synthetic.pairs import choose, silenced

FIRST_TRAIN, FIRST_VAL, FIRST_TEST = 300_000, 380_000, 390_000
SIZE = 112  # pixels
FACTOR = 1.15  # side of the image in sides of the `eyes` crop: some surroundings are seen [ours]
SHARD = 50  # subjects per file
TURN = (0.24, 0.15, 0.60, 0.40)  # sd of yaw and pitch, and their largest, in radians: more than any lab's [ours]
# Half of the inputs lie as a face detector's box may, half as first landmarks leave them: turn in degrees, log scale,
# shift in crop sides. [ours]
WIDE, NEAR = (30.0, 0.26, 0.12), (6.0, 0.07, 0.025)


def sample_expression(rng: np.random.Generator) -> np.ndarray:
    """Intensities `(N, 2)`: 40 % as in lab A, 15 % as in lab B, 35 % one to five independent muscles, 10 % neutral."""
    u = rng.random()
    if u < 0.55:
        return sample_aus(rng, "A" if u < 0.40 else "B")[1]
    a = np.zeros((len(AU_NAMES), 2), np.float32)
    if u >= 0.90:
        return a
    chosen = rng.choice(len(AU_NAMES), int(rng.integers(1, 6)), replace=False)
    a[chosen] = rng.uniform(0.1, 1, (len(chosen), 1))
    a *= np.where(rng.random(a.shape) < 0.15, rng.uniform(0.2, 1, a.shape), 1)  # some one-sided
    on = choose(a.max(1) > 0.05, a.max(1))
    a[~on | silenced(on)] = 0
    parted, jaws = AU_NAMES.index("AU25"), [AU_NAMES.index("AU26"), AU_NAMES.index("AU27")]
    if on[jaws].any() and not on[AU_NAMES.index("AU28")] and rng.random() < 0.8:
        a[parted] = np.maximum(a[parted], rng.uniform(0.3, 1))
    return a


def render_subject(renderer: Renderer, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 112, 112) uint8 grey of one subject, and its landmarks (count, 5, 2) in pixels."""
    rng = np.random.default_rng([777, number])
    face = renderer.bake(Identity.sample(number))
    images, points = np.empty((count, SIZE, SIZE), np.uint8), np.empty((count, 5, 2), np.float32)
    for i in range(count):
        lab = "A" if rng.random() < 0.5 else "B"
        scene, wall = sample_scene(rng, lab, pose_scale=1.2)
        if rng.random() < 0.7:
            yaw, pitch = np.clip(rng.normal(0, TURN[:2]), -np.array(TURN[2:]), TURN[2:])
            scene["pose"] = (float(yaw), float(pitch), 0.0)
        scene["jitter"] = (*rng.normal(0, 0.05, 2), FACTOR)
        intensity = sample_expression(rng) if rng.random() < 0.7 else sample_aus(rng, lab)[1]
        background, seed = renderer.background(rng, **wall), number * 1000 + i
        drawn = renderer.render(face, intensity, scene=scene, background=background, seed=seed, points=True)
        images[i], points[i] = cv2.cvtColor(drawn.image, cv2.COLOR_RGB2GRAY), drawn.points
    return images, points


def render_shards(out: Path, first: int, subjects: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """All images of a range of subjects, a multiple of 50, in files of a folder; those that are there already are read.

    Returns:
        images (n, 112, 112) uint8, landmarks (n, 5, 2) float32 in pixels.
    """
    cv2.setNumThreads(1)
    renderer, parts = Renderer(SIZE), []
    for start in tqdm(range(first, first + subjects, SHARD), unit="shard", mininterval=10):
        path = out / f"{start}_{count}.npz"
        if not path.exists():
            drawn = [render_subject(renderer, number, count) for number in range(start, start + SHARD)]
            images, points = (np.concatenate(each) for each in zip(*drawn, strict=True))
            with atomic_path(path) as temporary:
                np.savez(temporary, images=images, points=points)
        with np.load(path) as file:
            parts.append((file["images"], file["points"]))
    return np.concatenate([images for images, _ in parts]), np.concatenate([points for _, points in parts])


def vary(
    image: np.ndarray, points: np.ndarray, rng: np.random.Generator, *, near: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One network input.

    Args:
        image: (112, 112) uint8.
        points: (5, 2) in its pixels, image left first.
        rng: Source of all choices.
        near: Whether the crop lies as first landmarks leave it, or as a box may.

    Returns:
        crop (INPUT, INPUT) uint8, and landmarks (5, 2) float32 in parts of its side.
    """
    if rng.random() < 0.5:
        image, points = image[:, ::-1], np.column_stack([SIZE - points[:, 0], points[:, 1]])[[1, 0, 2, 4, 3]]
    left, right = points[0].astype(float), points[1].astype(float)
    along = right - left
    turn, scale, shift = NEAR if near else WIDE
    angle = math.atan2(along[1], along[0]) + math.radians(rng.uniform(-turn, turn))
    lower = math.hypot(*(points[3:].mean(0) - (left + right) / 2))
    distance = max(math.hypot(*along), 0.8 * lower)  # turned heads: as boxes are
    side = SIDE * distance * math.exp(rng.uniform(-scale, scale))
    down = np.array([-along[1], along[0]]) / math.hypot(*along)
    centre = (left + right) / 2 + 0.42 * distance * down + rng.uniform(-shift, shift, 2) * side
    factor = INPUT / side
    linear = factor * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = np.column_stack([linear, INPUT / 2 - linear @ centre])
    moved = matrix.copy()
    moved[:, 2] += moved[:, :2] @ np.array([0.5, 0.5]) - 0.5
    border = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[rng.choice(3, p=(0.4, 0.4, 0.2))]
    how = {"flags": cv2.INTER_LINEAR, "borderMode": border, "borderValue": float(rng.integers(256))}
    crop = cv2.warpAffine(image, moved, (INPUT, INPUT), **how)
    return _worsen(crop, rng), ((points @ matrix[:, :2].T + matrix[:, 2]) / INPUT).astype(np.float32)


def _worsen(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What cameras, light and things in front of a face do to a crop."""
    if rng.random() < 0.3:  # few pixels
        small = int(rng.integers(18, 56))
        crop = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
        crop = cv2.resize(crop, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.2:
        _cover(crop, rng)
    out = crop.astype(np.float32) / 255
    if rng.random() < 0.35:  # light from aside, and half shadows
        angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.7)
        grid = np.linspace(-1, 1, INPUT, dtype=np.float32)
        ramp = math.cos(angle) * grid[None, :] + math.sin(angle) * grid[:, None]
        out *= 1 + strength * (np.tanh(4 * ramp) if rng.random() < 0.3 else ramp)
    if rng.random() < 0.5:
        out = np.clip(out, 0, None) ** np.float32(math.exp(rng.normal(0, 0.35)))
    out = (out - 0.5) * np.float32(math.exp(rng.normal(0, 0.25))) + np.float32(0.5 + rng.normal(0, 0.10))
    if rng.random() < 0.4:
        out += rng.standard_normal(out.shape, np.float32) * np.float32(abs(rng.normal(0, 0.25)) * out.std())
    crop = np.clip(out * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])[1]
        crop = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return crop


def _cover(crop: np.ndarray, rng: np.random.Generator) -> None:
    """Put a flat or noisy patch, a bar or an ellipse over a part of the crop, in place."""
    width, height = rng.integers(INPUT // 8, INPUT // 2, 2)
    x, y = rng.integers(-8, INPUT - 8, 2)
    grey = int(rng.integers(256))
    if rng.random() < 0.5:
        half = int(width // 2), int(height // 2)
        cv2.ellipse(crop, (int(x + width // 2), int(y + height // 2)), half, 0, 0, 360, grey, -1)
    else:
        piece = crop[max(y, 0) : y + height, max(x, 0) : x + width]
        piece[:] = grey if rng.random() < 0.5 else rng.integers(256, size=piece.shape)


def batch(images: np.ndarray, points: np.ndarray, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (b, 1, INPUT, INPUT) float32 as the network wants them, and landmarks (b, 5, 2) in parts of the side."""
    rng = np.random.default_rng([778, seed])
    pairs = [vary(images[row], points[row], rng, near=bool(i % 2)) for i, row in enumerate(rows)]
    return np.stack([normalise(crop) for crop, _ in pairs])[:, None], np.stack([where for _, where in pairs])
