"""What stands before a face: glasses with shadow and glare, hands, microphones [ours]."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.scanned.head import Camera3D
from auformer.synthetic.scanned.person import Person


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses in the subject's frame.

    Args:
        rims: Outline of either lens `(2, n, 3)`.
        bridge: Line between them `(m, 3)`.
        arms: Line from each lens to the ear `(2, 2, 3)`.
        width: Of the rim in IPD; 0 is rimless.
        colour: Of the frame, linear RGB.
        pass_: Share of light that the lenses let through, RGB.
    """

    rims: Array
    bridge: Array
    arms: Array
    width: float
    colour: Array
    pass_: Array


def bake_glasses(person: Person, points: Array, landmarks: Array) -> Glasses | None:
    """The glasses of a subject, fitted to its neutral head `points`; None where it has none."""
    kind = person["lens"]
    if kind == "none":
        return None
    rng = np.random.default_rng([773, person.number])
    at = points[landmarks]
    front = max(float(at[[19, 24], 2].max()), float(at[27, 2]), float(at[[37, 43], 2].max())) + 0.05
    half = np.array([rng.uniform(0.27, 0.42), rng.uniform(0.17, 0.33)])
    if kind == "sun":
        half = half * np.array([1.12, 1.22])
    power, low = rng.uniform(2.0, 5.0), rng.uniform(0.02, 0.10)
    t = np.linspace(0, 2 * np.pi, 33)
    x = half[0] * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / power)
    y = half[1] * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / power)
    y = y * np.where(y > 0, 1 + rng.uniform(-0.1, 0.3), 1)
    rims = []
    for sign in (-1, 1):
        across = sign * (0.5 + rng.uniform(0.0, 0.03)) + sign * x
        rims.append(np.stack([across, low + y, front - 0.16 * across**2], 1))
    inner = 0.5 - half[0]
    bridge = np.array([(-inner, low - 0.06, front), (0, low - 0.10, front + 0.02), (inner, low - 0.06, front)])
    hinge = 0.5 + half[0]
    arms = np.array([[(s * hinge, low - 0.08, front - 0.16 * hinge**2), (s * 1.20, low - 0.05, -1.0)] for s in (-1, 1)])
    dark = rng.random() < 0.65
    colour = rng.uniform(0.005, 0.05, 3) if dark else rng.uniform(0.1, 0.5, 3)
    through = {
        "clear": np.full(3, 0.93),
        "tinted": rng.uniform(0.25, 0.7, 3),
        "sun": np.full(3, rng.uniform(0.01, 0.15)),
    }
    width = float(rng.choice([0.0, rng.uniform(0.015, 0.035), rng.uniform(0.035, 0.07)]))
    return Glasses(
        np.array(rims, F), bridge.astype(F), arms.astype(F), width, colour.astype(F), through[kind].astype(F)
    )


def _pixels(points: Array) -> Array:
    return (points * 16).round().astype(np.int32)


def _draw(glasses: Glasses, screen: list[Array], shape: tuple[int, ...], ppi: float) -> tuple[Array, Array]:
    """Cover of the frame and of the lenses `(rows, columns)` from projected rims, bridge and arms."""
    frame, lens = np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)
    thick = max(1, round(max(glasses.width, 0.012) * ppi))
    rims, bridge, arms = screen
    for rim in rims:
        cv2.fillPoly(lens, [_pixels(rim)], 255, cv2.LINE_AA, 4)
        if glasses.width:
            cv2.polylines(frame, [_pixels(rim)], True, 255, thick, cv2.LINE_AA, 4)
    cv2.polylines(frame, [_pixels(bridge)], False, 255, max(1, round(0.03 * ppi)), cv2.LINE_AA, 4)
    for arm in arms:
        cv2.polylines(frame, [_pixels(arm)], False, 255, max(1, round(0.04 * ppi)), cv2.LINE_AA, 4)
    return frame.astype(F) / 255, lens.astype(F) / 255


def put_on_glasses(lit: Array, glasses: Glasses, camera: Camera3D, scene: Array, glare: bool, seed: int) -> None:
    """Draw shadow, lenses, glare and frame on the lit image `(n, n, 4)`; `scene` as `lighting.pack` gives it."""
    size = lit.shape[0]
    ppi = size / float(np.linalg.norm(camera.axes[:, 0]))
    rng = np.random.default_rng([774, seed])
    parts = [glasses.rims, glasses.bridge, glasses.arms]
    screen = [camera.screen(part.reshape(-1, 3), size)[:, :2].reshape(*part.shape[:-1], 2) for part in parts]
    high = [float(part[..., 1].min()) for part in screen], [float(part[..., 1].max()) for part in screen]
    top, bottom = int(max(0, min(high[0]) - 0.3 * ppi)), int(min(size, max(high[1]) + 0.3 * ppi))
    if top >= bottom:
        return
    lit = lit[top:bottom]  # only these rows change
    screen = [part - np.array([0, top], F) for part in screen]
    frame, lens = _draw(glasses, screen, lit.shape, ppi)
    if scene[2] > 0.1:  # the skin lies about a tenth behind: the shadow slides away from the light
        slide = -0.11 * ppi * scene[:2] / scene[2]
        slide = slide * min(1.0, 0.22 * ppi / max(float(np.hypot(*slide)), 1e-6))
        cast, _ = _draw(glasses, [part + slide.astype(F) for part in screen], lit.shape, ppi)
        cast = cv2.GaussianBlur(cast, (0, 0), max(0.4, 0.012 * ppi))
        lit[..., :3] *= (1 - F(0.55 * scene[34]) * cast)[..., None]
    through = lens[..., None]
    lit[..., :3] *= 1 - through * (1 - glasses.pass_)
    dark = 1 - float(glasses.pass_.mean())
    sky = float(scene[9:12].mean())
    lit[..., :3] += through * F(0.02 * sky + 0.05 * dark * sky)
    if glare:
        lit[..., :3] += _glare(screen[0], lens, ppi, rng)[..., None] * scene[3:6]
    lit[..., :3] *= 1 - frame[..., None]
    shade = 0.25 + 0.5 * sky + 0.35 * float(scene[3:6].mean()) * max(float(scene[2]), 0.0)
    lit[..., :3] += frame[..., None] * glasses.colour * F(shade)
    lit[..., 3] = np.maximum(lit[..., 3], np.maximum(frame, lens * F(0.3 * dark)))


def _glare(rims: Array, lens: Array, ppi: float, rng: np.random.Generator) -> Array:
    """A slanting band or a small window on each lens, at the same place of both."""
    drawn = np.zeros(lens.shape, np.uint8)
    place, slant = rng.uniform(-0.25, 0.25, 2) * ppi, rng.uniform(-0.5, 0.5)
    wide, high = rng.uniform(0.05, 0.35) * ppi, rng.uniform(0.08, 0.7) * ppi
    for rim in rims:
        x, y = rim.mean(0) + place
        corners = [(x - wide, y - high), (x + wide, y - high), (x + wide, y + high), (x - wide, y + high)]
        points = np.array([(a + slant * (b - y), b) for a, b in corners])
        cv2.fillConvexPoly(drawn, _pixels(points), 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(drawn.astype(F) / 255, (0, 0), float(rng.uniform(0.01, 0.08) * ppi))
    return soft * lens * F(rng.uniform(0.08, 0.7))


def put_in_front(lit: Array, kind: str, camera: Camera3D, scene: Array, skin: Array, seed: int) -> None:
    """Draw a hand or a microphone before the lower face, a cheek or the brow, on the lit image `(n, n, 4)`.

    Args:
        lit: Changed.
        kind: "hand" or "microphone".
        camera: Gives the scale.
        scene: Light, as `lighting.pack` gives it.
        skin: Colour of the hand, linear RGB.
        seed: Of its place and shape.
    """
    size = lit.shape[0]
    ppi = size / float(np.linalg.norm(camera.axes[:, 0]))
    rng = np.random.default_rng([775, seed])
    capsules, colours = _hand(size, ppi, skin, rng) if kind == "hand" else _microphone(size, ppi, rng)
    height = np.full((size, size), -1e3, F)
    which = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size].astype(F)
    for i, (ax, ay, bx, by, r0, r1) in enumerate(capsules):
        dx, dy = bx - ax, by - ay
        t = (((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-6)).clip(0, 1)
        radius = r0 + (r1 - r0) * t
        far = (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2
        z = np.sqrt(np.maximum(radius**2 - far, 0)) - (far >= radius**2) * 1e3
        which[z > height] = i
        np.maximum(height, z, out=height)
    cover = cv2.GaussianBlur((height > 0).astype(F), (0, 0), 0.6)
    if not cover.any():
        return
    smooth = cv2.GaussianBlur(np.maximum(height, 0), (0, 0), 1.0)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
    inverse = 1 / np.sqrt(gx**2 + gy**2 + 1)
    facing = np.maximum((-gx * scene[0] - gy * scene[1] + scene[2]) * inverse + F(0.2), 0) / F(1.2)
    shade = facing[..., None] * scene[3:6] + scene[9:12] * F(0.6) + scene[12:15] * F(0.3)
    if scene[2] > 0.1:  # its shadow on the face
        away = -0.18 * ppi * scene[:2] / scene[2]
        slide = np.array([[1, 0, away[0]], [0, 1, away[1]]], F)
        cast = cv2.warpAffine(cv2.GaussianBlur(cover, (0, 0), 0.05 * ppi), slide, (size, size))
        lit[..., :3] *= (1 - F(0.55 * scene[34]) * cast)[..., None]
    grain = 1 + F(0.06) * rng.standard_normal((size, size, 1)).astype(F)
    lit[..., :3] = lit[..., :3] * (1 - cover[..., None]) + colours[which] * shade * grain * cover[..., None]
    lit[..., 3] = np.maximum(lit[..., 3], cover)


def _hand(size: int, ppi: float, skin: Array, rng: np.random.Generator) -> tuple[list[tuple[float, ...]], Array]:
    """Four fingers, a thumb and the back of a hand, from any side of the face."""
    angle = rng.uniform(0, 2 * np.pi)
    tip = np.array([size / 2, size * 0.55]) + rng.uniform(-0.75, 0.75, 2) * ppi
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    scale = ppi * rng.uniform(0.9, 1.2)
    capsules = []
    for k, length in enumerate((0.95, 1.1, 1.05, 0.85)):
        bend = (k - 1.5) * 0.24 * across + rng.normal(0, 0.03, 2)
        end = tip + scale * (bend + along * (1.1 - length) * 0.6)
        start = tip + scale * (bend * 0.9 + along * (length + 0.35))
        capsules.append((*end, *start, 0.105 * scale, 0.13 * scale))
    palm = tip + scale * along * 1.7
    capsules.append((*(palm - 0.25 * scale * across), *(palm + 0.25 * scale * across), 0.42 * scale, 0.42 * scale))
    thumb = rng.choice([-1, 1]) * across
    capsules.append(
        (*(tip + scale * (thumb * 0.75 + along * 0.9)), *(palm + 0.3 * scale * thumb), 0.12 * scale, 0.17 * scale)
    )
    return [tuple(float(v) for v in c) for c in capsules], np.repeat(skin[None].astype(F), len(capsules), 0)


def _microphone(size: int, ppi: float, rng: np.random.Generator) -> tuple[list[tuple[float, ...]], Array]:
    """A head of foam or wire mesh on a handle, at the chin or beside the mouth, from below."""
    capsules, colours = [], []
    for _ in range(int(rng.integers(1, 3))):
        head = np.array([size / 2, size * 0.72]) + np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.1, 0.7)]) * ppi
        radius = rng.uniform(0.14, 0.30) * ppi
        down = np.array([rng.uniform(-0.6, 0.6), 1.0])
        foot = head + down * 3 * ppi
        capsules += [(*head, *(head + 0.2 * down * ppi), radius, radius), (*head, *foot, 0.5 * radius, 0.6 * radius)]
        colours += [
            np.full(3, rng.uniform(0.01, 0.12)) if rng.random() < 0.7 else rng.uniform(0.05, 0.5, 3),
            np.full(3, 0.03),
        ]
    return [tuple(float(v) for v in c) for c in capsules], np.array(colours, F)
