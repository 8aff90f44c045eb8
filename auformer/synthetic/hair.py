"""What surrounds the face: ears, neck, clothes, hair, glasses, composited once per subject [ours]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from auformer.synthetic.canvas import Array, Canvas, F, smoothstep
from auformer.synthetic.head import half_width
from auformer.synthetic.identity import LONG_HAIR, NO_HAIR, Identity


@dataclass
class Layers:
    """The composited head: colour and cover `rgba (size, size, 4)`, face, hair and brow masks, hair relief."""

    rgba: Array
    face: Array
    hair: Array
    relief: Array


def composite(canvas: Canvas, identity: Identity, face_rgb: Array, base: Array, rng: np.random.Generator) -> Layers:
    """Put neck and ears under the face and hair over it."""
    p = identity.traits
    X, Y = canvas.abs_X, canvas.Y
    inside = smoothstep((half_width(identity, Y) - X) / 0.045 + 0.5) * smoothstep((p["chin"] + 0.01 - Y) / 0.03 + 0.5)
    neck_rgb, neck = _neck(canvas, p, base, rng)
    ear = smoothstep((1.15 - ((X - (p["half_width"] + 0.035)) / 0.10) ** 2 - ((Y - 0.28) / 0.30) ** 2) / 0.25)
    ear_rgb = np.array(base, F) * (F(0.62) + F(0.25) * np.exp(-(((X - p["half_width"] - 0.07) / 0.03) ** 2)))[..., None]
    hair_rgb, hair, cap, strands = _hair(canvas, p, inside, rng)

    rgb, cover = neck_rgb * neck[..., None], np.maximum(neck, ear)
    behind = []
    if p["hair_style"] != NO_HAIR:  # behind the temples
        behind.append(cap * smoothstep((F(0.30) - Y) / 0.25))
    if p["hair_style"] in LONG_HAIR:  # behind the neck
        behind.append(smoothstep((p["half_width"] + 0.10 - X) / 0.06) * smoothstep((Y + 0.2) / 0.2))
    for mask in behind:
        rgb = rgb + hair_rgb * F(0.45) * (mask * (1 - cover))[..., None]
        cover = cover + mask * (1 - cover)
    rgb = rgb * (1 - ear[..., None]) + ear_rgb * ear[..., None]
    rgb = face_rgb * inside[..., None] + rgb * (1 - inside[..., None])
    rgb = rgb * (1 - hair[..., None]) + hair_rgb * hair[..., None]
    cover = np.maximum(np.maximum(cover, inside), hair)
    soft = cv2.GaussianBlur(hair.astype(F), (0, 0), 0.07 * canvas.ppi)
    relief = F(0.09) * soft + F(0.012) * strands * hair
    return Layers(np.dstack([rgb, cover]).astype(F), (inside * (1 - hair)).astype(F), hair.astype(F), relief.astype(F))


def _neck(canvas: Canvas, p: dict, base: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Neck with the jaw's shadow, and a shirt."""
    X, Y, chin = canvas.abs_X, canvas.Y, p["chin"]
    width = 0.72 + 0.12 * p["sex"] + 0.25 * np.clip(Y - chin - 0.15, 0, 1) ** 1.5
    neck = smoothstep((width - X) / 0.04) * smoothstep((Y - 0.9) / 0.1)
    shadow = F(0.33) + F(0.45) * smoothstep((Y - chin - 0.05) / 0.55)
    round_ = np.clip(1 - (X / np.maximum(width, 0.1)) ** 2, 0, 1) ** 0.5
    rgb = (base * 0.80).astype(F) * (shadow * (0.45 + 0.55 * round_))[..., None]
    collar = Y - chin - 0.34 - 0.30 * np.clip(X / 1.1, 0, 1) ** 1.5 - 0.25 * np.clip(1 - X / 0.5, 0, 1)
    shirt = smoothstep(collar / 0.05)
    rgb = rgb * (1 - shirt[..., None]) + np.array(rng.uniform(0.03, 0.5, 3), F) * F(0.55) * shirt[..., None]
    return rgb, np.maximum(neck, shirt * smoothstep((1.9 - X) / 0.1))


def _hair(canvas: Canvas, p: dict, inside: Array, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Hair colour, cover, the cap that bounds it, and the strands' relief."""
    X, Y, style, line = canvas.abs_X, canvas.Y, p["hair_style"], p["hair_line"]
    temple = np.where(X > 0.82, (X - 0.82) * 3.2, 0)
    edge = line + 0.12 * (X / 0.8) ** 2 + temple
    if style == 1:
        parting = 1 if p["asymmetry"][1] > 0 else -1
        edge = line + 0.10 + 0.20 * np.clip(canvas.X * parting + 0.4, 0, 1.2) ** 1.2 + temple
    elif style == 2:
        edge = line + 0.34 + 0.05 * np.sin(canvas.X * 9) + temple
    cover = smoothstep((edge - Y) / 0.09 + 0.5)
    if style in LONG_HAIR:
        side = p["half_width"] - 0.07 + 0.05 * np.sin(Y * 2.5 + p["asymmetry"][2] * 90) - 0.10 * np.clip(-Y, 0, 1)
        cover = np.maximum(cover, smoothstep((X - side) / 0.07) * smoothstep((1.92 - X) / 0.3))
    radius = np.sqrt((canvas.X / (p["half_width"] + 0.22)) ** 2 + ((Y - 0.15) / 1.62) ** 2)
    cap = smoothstep((1.0 - radius) / 0.03 + 0.5) if style != NO_HAIR else inside
    if style in LONG_HAIR:
        cap = np.maximum(cap, smoothstep((1.30 + 0.06 * np.sin(Y * 4) - X) / 0.06) * smoothstep((Y + 0.55) / 0.5))
    cover = cover * cap if style != NO_HAIR else cover * 0
    strands = canvas.noise(rng, (224,), 1, 5 / 224) * 0.6 + canvas.noise(rng, (112,), 1, 9 / 112) * 0.6
    strands = strands + canvas.noise(rng, (12, 30), 0.7) * 0.35
    sheen = F(0.55) + F(0.65) * np.exp(-(((radius - 0.84) / 0.13) ** 2))
    rgb = np.array(p["hair"], F) * np.clip(1 + F(0.33) * strands, 0.25, 2.2)[..., None] * sheen[..., None]
    return rgb, np.clip(cover + F(0.4) * strands * cover * (1 - cover), 0, 1), cap, strands


def bake_glasses(canvas: Canvas, p: dict) -> tuple[Array, Array] | None:
    """Factor on and addition to the shaded image `(size, size, 1)`, or None without glasses."""
    if not p["glasses"]:
        return None
    drawn = np.zeros((canvas.size, canvas.size), np.uint8)
    thick = max(1, round(0.028 * canvas.ppi))

    def eighths(values: Any) -> tuple[int, ...]:
        return tuple(round(float(v) * 8) for v in np.ravel(values))

    def line(points: list[tuple[float, float]]) -> None:
        a, b = canvas.to_pixels(np.array(points))
        cv2.line(drawn, eighths(a), eighths(b), 255, thick, cv2.LINE_AA, 3)

    for side in (-1, 1):
        centre = canvas.to_pixels(np.array([(side * (p["eye_x"] + 0.03), 0.06)]))[0]
        cv2.ellipse(
            drawn,
            eighths(centre),
            eighths((0.34 * canvas.ppi, 0.26 * canvas.ppi)),
            0,
            0,
            360,
            255,
            thick,
            cv2.LINE_AA,
            3,
        )
        line([(side * (p["eye_x"] + 0.37), 0), (side * 1.25, -0.03)])
    line([(-0.13, 0.0), (0.13, 0.0)])
    frame = drawn.astype(F)[..., None] / 255
    return 1 - F(0.92) * frame, frame * F(0.03)
