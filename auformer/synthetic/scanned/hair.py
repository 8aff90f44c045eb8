"""Hair and hats: a shell around the skull that hangs straight below its widest place, with cover and strands [ours].

The shell is a grid: angle around the head by a run from the crown down. Upper half: polar angle from the crown to the
skull's equator at brow height, as far from the skull as the hair is thick; lower half: a curtain. Which part of it is
hair is a texture, so a fringe, a parting, a hair line or a curtain's end are soft curves and not triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from auformer.synthetic.canvas import Array, F, smoothstep
from auformer.synthetic.scanned.person import Person

AROUND, DOWN = 72, 36  # cells of the grid
TEXTURE = (144, 288)  # rows and columns of cover and strands
CENTRE = np.array([0.0, -0.30, -1.15], F)  # of the skull
DROP = 2.7  # length of the curtain in IPD


@dataclass
class Layer:
    """Something that lies over the head.

    Args:
        points: Vertices `(n, 3)` in the subject's frame.
        triangles: `(T, 3)` int32.
        uv: Texture pixel of every vertex `(n, 2)`.
        cover: `TEXTURE` in [0, 1].
        strands: `TEXTURE`, brightness about 1.
        colour: RGB and strength of the strands' shine `(4,)`.
        solid: Whether it is a hat.
        hangs: Whether it is seen behind the neck.
    """

    points: Array
    triangles: NDArray[np.int32]
    uv: Array
    cover: Array
    strands: Array
    colour: Array
    solid: bool = False
    hangs: bool = True


def _grid() -> tuple[Array, Array]:
    """Angles around (0 in front, positive to the image's right) and runs down, of the grid's vertices."""
    around = np.linspace(-np.pi, np.pi, AROUND + 1)
    return np.meshgrid(around, np.linspace(0, 1, DOWN + 1))


def skull_radius(points: Array) -> Array:
    """Distance of the outermost vertices from `CENTRE` `(DOWN + 1, AROUND + 1)` along the grid's directions.

    Ears are left out. Below the equator it is the equator's.
    """
    keep = ~((np.abs(points[:, 0]) > 1.16) & (points[:, 1] > -0.35)) & (points[:, 1] < 0.25)
    q = points[keep] - CENTRE
    radius = np.linalg.norm(q, axis=1)
    polar = np.arccos(np.clip(-q[:, 1] / np.maximum(radius, 1e-6), -1, 1))
    around = np.arctan2(q[:, 0], q[:, 2])
    rows, columns = DOWN // 2 + 1, AROUND
    found = np.zeros((rows, columns), F)
    row = np.clip((polar / (np.pi / 2) * (rows - 1)).round().astype(int), 0, rows - 1)
    column = ((around + np.pi) / (2 * np.pi) * columns).round().astype(int) % columns
    np.maximum.at(found, (row, column), radius.astype(F))
    for _ in range(40):
        if (found > 0).all():
            break
        wide = np.pad(found, ((1, 1), (0, 0)), mode="edge")
        wide = np.concatenate([wide[:, -1:], wide, wide[:, :1]], 1)
        near: Array = cv2.dilate(wide, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
        found = np.where(found > 0, found, near)
    wrapped = np.concatenate([found[:, -4:], found, found[:, :4]], 1)
    smooth: Array = cv2.GaussianBlur(wrapped, (0, 0), 1.2)[:, 4:-4]
    smooth[0] = smooth[0].mean()
    full = np.concatenate([smooth, np.repeat(smooth[-1:], DOWN - rows + 1, 0)])
    return np.concatenate([full, full[:, :1]], 1)


def _shell(radius: Array, thickness: Array, flare: float) -> Array:
    """Vertices `(DOWN + 1, AROUND + 1, 3)` of the shell."""
    around, run = _grid()
    polar = np.minimum(run * 2, 1) * np.pi / 2
    r = radius + thickness
    level = r * np.sin(polar)
    below = np.maximum(run - 0.5, 0) * 2
    level = level * (1 + flare * below)
    x, z = level * np.sin(around), level * np.cos(around)
    y = -r * np.cos(polar) + DROP * below
    return (np.stack([x, y, z], 2) + CENTRE).astype(F)


def _triangles() -> NDArray[np.int32]:
    i = np.arange((DOWN + 1) * (AROUND + 1)).reshape(DOWN + 1, AROUND + 1)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)


def _layer(points: Array, cover: Array, strands: Array, colour: Array, shine: float, kind: str = "hair") -> Layer:
    around, run = _grid()
    uv = np.stack([(around / (2 * np.pi) + 0.5) * (TEXTURE[1] - 1), run * (TEXTURE[0] - 1)], 2)
    return Layer(
        points.reshape(-1, 3).astype(F), _triangles(), uv.reshape(-1, 2).astype(F), np.ascontiguousarray(cover, F),
        np.ascontiguousarray(strands, F), np.array([*colour, shine], F), kind != "hair", kind in ("hair", "scarf"),
    )  # fmt: skip


def _upsample(values: Array) -> Array:
    return cv2.resize(values.astype(F), (TEXTURE[1], TEXTURE[0]), interpolation=cv2.INTER_LINEAR)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """White noise enlarged to the texture; equal at both ends of the circle."""
    cells = rng.standard_normal((rows, columns)).astype(F)
    cells[:, -1] = cells[:, 0]
    return cv2.resize(cells, (TEXTURE[1], TEXTURE[0]), interpolation=cv2.INTER_CUBIC)


@dataclass
class _Cut:
    """A hair cut: how far down hair reaches at each angle, how thick it is, how curly."""

    limit: Array
    thickness: float
    soft: float
    curl: float
    ragged: float
    flare: float = 0.0


def _cut(person: Person, angle: Array, rng: np.random.Generator) -> _Cut:
    """The cut of a style; `angle` `(n,)` is 0 in front, `limit` a height in IPD, y down."""
    p, style = person.identity.traits, person["style"]
    side, back = np.abs(angle), smoothstep((np.abs(angle) - 1.9) / 0.5)
    line = p["hair_line"] + rng.normal(0.16, 0.08)
    recess = rng.uniform(0, 0.22) * (0.3 + 0.7 * p["age"]) * p["sex"]
    front = line + rng.uniform(0.05, 0.22) * (side / 0.8) ** 2 - recess * np.exp(-(((side - 0.5) / 0.22) ** 2))
    temple = smoothstep((side - 0.85) / 0.25)
    burn = smoothstep((side - 1.0) / 0.1) * smoothstep((1.38 - side) / 0.1) * rng.uniform(0.1, 0.7)
    ear = front + (-0.42 - front) * temple + burn
    short = ear + (rng.uniform(0.75, 1.1) - ear) * back
    volume = float(rng.uniform(0.06, 0.22))
    if style in ("bald", "buzz"):
        return _Cut(short, 0.012, 0.10, 0.3, 0.03)
    if style in ("bob", "long", "long_fringe"):
        open_ = rng.uniform(0.75, 1.15)
        length = rng.uniform(0.9, 1.4) if style == "bob" else rng.uniform(1.6, 2.35)
        limit = front + (length - front) * smoothstep((side - open_) / rng.uniform(0.12, 0.45))
        cut = _Cut(limit, volume, 0.12, rng.uniform(0.1, 0.7), 0.10, rng.uniform(-0.12, 0.12))
    elif style == "afro":
        cut = _Cut(short + 0.10, rng.uniform(0.30, 0.62), 0.10, 1.0, 0.05)
    elif style == "curly":
        cut = _Cut(short + rng.uniform(0, 0.5) * temple, rng.uniform(0.14, 0.34), 0.16, 1.0, 0.12)
    else:
        cut = _Cut(short, 0.5 * volume if style == "tied" else volume, 0.10, rng.uniform(0, 0.5), 0.06)
    in_front = smoothstep((0.95 - side) / 0.25)
    if style in ("fringe", "long_fringe"):
        cut.limit = np.maximum(
            cut.limit, (rng.uniform(-0.62, -0.30) + 0.05 * np.sin(9 * angle)) * in_front - 2 * (1 - in_front)
        )
    elif style in ("swept", "side"):
        sign = rng.choice([-1, 1])
        low = rng.uniform(0.15, 0.55) * smoothstep((sign * angle + 0.25) / 0.9)
        cut.limit = cut.limit + low * in_front * (1.0 if style == "swept" else 0.55)
        cut.ragged = 0.14
    return cut


def bake_hair(person: Person, points: Array) -> Layer | None:
    """The hair of a subject whose neutral head is `points (n, 3)`; None for a bald one."""
    if person["style"] == "bald":
        return None
    rng = np.random.default_rng([771, person["hair_seed"]])
    around, _ = _grid()
    radius = skull_radius(points)
    cut = _cut(person, around[0], rng)
    outer = _shell(radius, np.zeros_like(radius), 0.0)
    near_edge = smoothstep((cut.limit[None] - outer[..., 1]) / 0.55)
    lumps = cv2.resize(rng.standard_normal((9, 19)).astype(F), (AROUND + 1, DOWN + 1), interpolation=cv2.INTER_CUBIC)
    lumps[:, -1] = lumps[:, 0]
    thickness = cut.thickness * (0.30 + 0.70 * near_edge) * (1 + (0.10 + 0.22 * cut.curl) * lumps)
    shell = _shell(radius, np.maximum(thickness, 0.006), cut.flare)
    y = _upsample(shell[..., 1])
    limit = _upsample(np.repeat(cut.limit[None], DOWN + 1, 0))
    fine = _noise(rng, 5, 190) * (1 - 0.6 * cut.curl) + _noise(rng, 48, 96) * cut.curl
    edge = (limit - y + cut.ragged * fine) / cut.soft
    cover = smoothstep(edge + 0.5)
    strands = _noise(rng, 5, 288) * (1 - cut.curl) + _noise(rng, 9, 144) * (1 - cut.curl)
    strands = strands * 0.6 + _noise(rng, 60, 120) * 0.75 * cut.curl + _noise(rng, 6, 24) * 0.35
    grey = 0.30 if person["style"] != "buzz" else 0.22
    strands = np.clip(1 + grey * strands, 0.25, 2.0)
    if person["style"] == "buzz":
        cover = cover * F(rng.uniform(0.45, 0.85))
    hair = np.array(person.identity["hair"]) * rng.uniform(0.8, 1.15)
    return _layer(shell, cover, strands, hair, rng.uniform(0.5, 2.2))


def bake_hat(person: Person, points: Array) -> list[Layer]:
    """What a subject may wear: a cap with its peak, a beanie, a head scarf, a hat with a brim; or nothing."""
    kind = person["hat"]
    if kind == "none":
        return []
    rng = np.random.default_rng([772, person["hair_seed"]])
    around, _ = _grid()
    side = np.abs(around[0])
    radius = skull_radius(points)
    brow = -0.72 + rng.uniform(-0.12, 0.16)
    thick = {"scarf": 0.10, "beanie": 0.20}.get(kind, 0.16)
    if kind == "scarf":
        opening = 1.0 + rng.uniform(-0.12, 0.12)
        limit = brow - 0.25 + 0.05 * (side / 0.8) ** 2 + 3.5 * smoothstep((side - opening) / 0.16)
    else:
        limit = brow + 0.18 * smoothstep((side - 0.7) / 0.8)
        if kind == "beanie":
            limit = limit + 0.25 * smoothstep(side - 1.5)
    shell = _shell(radius, np.full_like(radius, thick), 0.10 if kind == "scarf" else 0.0)
    y, reach = _upsample(shell[..., 1]), _upsample(np.repeat(limit[None], DOWN + 1, 0))
    cover = smoothstep((reach - y) / 0.02 + 0.5)
    weave = 1 + 0.10 * _noise(rng, 30, 60)
    if kind == "beanie":
        weave += F(0.25) * np.sin(np.linspace(0, 90 * np.pi, TEXTURE[1]))[None]
    cloth = np.clip(rng.uniform(0.02, 0.5, 3) * rng.uniform(0.3, 1.0), 0.01, 0.6)
    layers = [_layer(shell, cover, np.clip(weave, 0.4, 1.6), cloth, 0.0, kind)]
    if kind in ("cap", "brim"):
        layers.append(_peak(radius + thick, brow, kind, rng, cloth))
    return layers


def _peak(radius: Array, height: float, kind: str, rng: np.random.Generator, cloth: Array) -> Layer:
    """The peak of a cap, or a brim all round: a ring sector that leaves a hat of this radius at `height`."""
    around, run = _grid()
    angle = around[0]
    reach = rng.uniform(0.35, 0.75)
    polar = np.arccos(np.clip((CENTRE[1] - height) / 1.6, -1, 1))
    row = int(np.clip(round(DOWN / 2 * float(polar) / (np.pi / 2)), 1, DOWN // 2))
    inner = radius[row] * np.sin(row / (DOWN // 2) * np.pi / 2) - 0.03
    wide = np.ones(AROUND + 1)
    if kind == "cap":
        wide = np.where(np.abs(angle) < 1.16, np.clip(np.cos(angle * 1.35), 0, None) ** 0.7, 0)
    level = inner[None] + run * reach * wide[None]
    drop = height - CENTRE[1] + rng.uniform(0.05, 0.45) * reach * run * wide[None]
    points = np.stack([level * np.sin(around), drop, level * np.cos(around)], 2) + CENTRE
    cover = _upsample(np.repeat((wide > 0.05)[None], DOWN + 1, 0).astype(F))
    tone = np.clip(1 + 0.06 * _noise(rng, 8, 60), 0.5, 1.5)
    return _layer(points, cover, tone, cloth * rng.uniform(0.5, 1.2), 0.0, kind)
