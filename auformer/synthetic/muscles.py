"""Muscles: where the skin goes and how it folds when an action unit is active [ours].

`assets/muscles.json` holds one entry per AU, in template coordinates of the image-right half, mirrored for the other:
`displacement` rows `[x, y, dx outward, dy down, sigma x, sigma y]`, `bulge` rows `[x, y, sigma x, sigma y, height]`,
`furrow` lines with width, depth and the share of the depth that a raised rim gets, `lid` `[upper lid up, lower lid up,
lower lid flattened]`. Sizes are in inter-pupil distances at full intensity, chosen between a light-stage face model and
a modelled FACS character and judged on contact sheets.

What each of the seven later AUs must look like is taken from the appearance changes that the manual gives for it
(Ekman, Friesen and Hager, "Facial Action Coding System", 2002), in our words:

* 11: the middle of the nasolabial furrow deepens; the cheek beside it bulges a little; the lip's edge hardly moves.
* 16: the lower lip goes down and turns out a little; the chin's skin is stretched flat; with 25 the lower teeth show.
* 18: the mouth is short and pushed forward, its red parts rounder; small upright lines above and below.
* 22: both lips turn outward as a funnel, more of their red is seen, the mouth is a little shorter; with 25 teeth show.
* 27: the jaw is pulled far down; a tall dark opening, long flat cheeks.
* 28: red parts and the skin beside them are sucked in over the teeth; the skin above and below is stretched and flat.
* 43: the upper lid comes down: a droop, then a slit (41 and 42 of the 1978 edition), then a closed eye.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from auformer.aus import AU_SETS
from auformer.synthetic.canvas import FIELD_CELLS, LEFT, SPAN, TOP, Array, Canvas, F, field_pixels, warp
from auformer.synthetic.identity import Identity

AU_NAMES: tuple[str, ...] = tuple(AU_SETS["synthetic"])
INDEX = {name: i for i, name in enumerate(AU_NAMES)}
#: AUs that the renderer learned after the others. Whatever is random about them comes from streams of its own, so that
#: faces on which none of them acts are those of before.
LATER = ("AU11", "AU16", "AU18", "AU22", "AU27", "AU28", "AU43")
MOVES = 1e-3  # intensities up to this change nothing
RELIEF_FLOOR = 4e-4  # relief below this is cut away, in IPD


@cache
def muscle_table() -> dict[str, Any]:
    """The table by AU name."""
    return json.loads(files("auformer").joinpath("assets/muscles.json").read_text(encoding="utf-8"))


@cache
def lid_table() -> Array:
    """Effect of every muscle on the lids `(3, M)`: upper lid up, lower lid up, lower lid flattened, in IPD."""
    return np.array([muscle_table()[name].get("lid", (0, 0, 0)) for name in AU_NAMES]).T


@dataclass
class MuscleFields:
    """One subject's muscles: displacement `(2M, cells * cells * 2)` and relief patches.

    Row 2m is the image-left half, 2m + 1 the right.

    A patch is `(row of the field, top, bottom, left, right, height)`.
    """

    displacement: Array
    patches: list[tuple[int, int, int, int, int, Array]]

    def move(self, drive: Array) -> Movement | None:
        """Displacement for intensities `drive (M, 2)`, and its inverse by two fixed-point steps.

        None when nothing moves.
        """
        flat = drive.reshape(-1)
        active = np.nonzero(flat > MOVES)[0]
        if not len(active):
            return None
        field = (flat[active] @ self.displacement[active]).reshape(FIELD_CELLS, FIELD_CELLS, 2)
        grid, scale = _field_grid(), F(FIELD_CELLS / SPAN)
        inverse = warp(field, grid - field * scale)
        inverse = warp(field, grid - inverse * scale)
        return Movement(field, inverse)

    def relief(self, drive: Array, out: Array) -> Array:
        """Bulges and furrows for intensities `drive (M, 2)`, written into `out (size, size)`."""
        flat = drive.reshape(-1)
        out.fill(0)
        for row, top, bottom, left, right, height in self.patches:
            if flat[row] > MOVES:
                out[top:bottom, left:right] += flat[row] * height
        return out


@dataclass
class Movement:
    """Skin displacement in IPD on the coarse grid.

    `field` at the place where the skin was, `inverse` at the place where it is.
    """

    field: Array
    inverse: Array

    def at(self, points: Array) -> Array:
        """Displacement `(n, 2)` of resting points `(n, 2)`."""
        return warp(self.field, field_pixels(points).reshape(-1, 1, 2).astype(F)).reshape(-1, 2)

    def look_up(self, canvas: Canvas) -> Array:
        """Canvas pixel `(size, size, 2)` from which the skin now seen at each pixel came."""
        q: Array = cv2.resize(self.inverse * F(-canvas.ppi), (canvas.size, canvas.size), interpolation=cv2.INTER_LINEAR)
        q += canvas.identity
        return q


@cache
def _field_grid() -> Array:
    cells = np.arange(FIELD_CELLS, dtype=F)
    return np.dstack(np.meshgrid(cells, cells))


def bake_muscles(
    canvas: Canvas, identity: Identity, rng: np.random.Generator, later: np.random.Generator
) -> MuscleFields:
    """All muscles of one subject, fitted to its proportions; furrows lie a little differently on everyone.

    `later` draws for the AUs in `LATER`.
    """
    displacement = np.zeros((2 * len(AU_NAMES), FIELD_CELLS, FIELD_CELLS, 2), F)
    patches = []
    right_half = 1 / (1 + np.exp(-canvas.X / F(0.045)))
    for m, name in enumerate(AU_NAMES):
        entry = muscle_table()[name]
        _add_displacement(displacement[2 * m], displacement[2 * m + 1], entry["displacement"], identity)
        relief = _relief(canvas, identity, entry, later if name in LATER else rng)
        for row, half in ((2 * m, 1 - right_half), (2 * m + 1, right_half)):
            patch = _crop(relief * half)
            if patch is not None:
                patches.append((row, *patch))
    return MuscleFields(displacement.reshape(2 * len(AU_NAMES), -1), patches)


def _add_displacement(left: Array, right: Array, rows: list[list[float]], identity: Identity) -> None:
    """Gaussian zones of influence; those on the midline act on both halves, faded at the middle."""
    cells = (np.arange(FIELD_CELLS, dtype=F) + 0.5) * (SPAN / FIELD_CELLS)
    X, Y = np.meshgrid((cells + LEFT).astype(F), (cells + TOP).astype(F))
    fade = 1 / (1 + np.exp(-X / F(0.05)))
    for x, y, dx, dy, sx, sy in rows:
        ((px, py),) = identity.warp([(x, y)])
        if x == 0:
            zone = np.exp(-((X / sx) ** 2) - ((Y - py) / sy) ** 2).astype(F)
            left[..., 1] += dy * zone * (1 - fade)
            right[..., 1] += dy * zone * fade
            continue
        for sign, field in ((-1, left), (1, right)):
            zone = np.exp(-(((X - sign * px) / sx) ** 2) - ((Y - py) / sy) ** 2).astype(F)
            field[..., 0] += sign * dx * zone
            field[..., 1] += dy * zone


def _relief(canvas: Canvas, identity: Identity, entry: dict[str, Any], rng: np.random.Generator) -> Array:
    """Bulges, furrows with raised rims, and the chin's texture of one muscle `(size, size)`."""
    height = np.zeros((canvas.size, canvas.size), F)
    for x, y, sx, sy, h in entry["bulge"]:
        ((px, py),) = identity.warp([(x, y)])
        height += F(h) * canvas.gauss(px, py, sx, sy, canvas.abs_X if x else canvas.X)
    for furrow in entry["furrow"]:
        line = identity.warp(furrow["points"]) + rng.normal(0, 0.010, (len(furrow["points"]), 2)).astype(F)
        fold, rim = canvas.curve(line, furrow["width"]), canvas.curve(line, furrow["width"] * 2.6)
        fold, rim = np.maximum(fold, fold[:, ::-1]), np.maximum(rim, rim[:, ::-1])
        gain = identity["wrinkle"] * (identity[furrow["gain"]] if "gain" in furrow else 1.0)
        height += F(furrow["depth"] * gain) * (F(furrow["rim"] * 0.75) * rim - fold)
    if "chin_texture" in entry:  # the "golf ball"
        dimples = canvas.noise(rng, (36, 60), 0.7) * canvas.gauss(0, identity["chin"] - 0.20, 0.22, 0.15)
        height += F(entry["chin_texture"] * identity["wrinkle"]) * dimples
    return height


def _crop(height: Array) -> tuple[int, int, int, int, Array] | None:
    solid = np.abs(height) > RELIEF_FLOOR
    rows, columns = np.where(solid.any(1))[0], np.where(solid.any(0))[0]
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return top, bottom, left, right, np.ascontiguousarray(height[top:bottom, left:right])


def drive(intensity: Array, speech: Any = None) -> Array:
    """What the muscles do `(N, 2)` for intensities of the AUs `(N,)` or `(N, 2)` and unlabelled speech.

    A stretched jaw (AU27) is open wide from its first level on, wider than AU26 ever is: `a` does `1 - (1 - a)^2`.

    Args:
        intensity: AU intensities in [0, 1]; two columns are the image-left and image-right half.
        speech: None or a mapping with `open`, `jaw` and `pucker` in [0, 1]: lips apart, jaw down, lips rounded, as
            talking does without an AU.

    Raises:
        ValueError: Another shape, a value that is not finite, or outside [0, 1].
    """
    a = np.asarray(intensity, F)
    a = np.stack([a, a], 1) if a.ndim == 1 else a
    if a.shape != (len(AU_NAMES), 2):
        raise ValueError(
            f"Expected `intensity` to be of shape ({len(AU_NAMES)},) or ({len(AU_NAMES)}, 2), "
            f"but got {np.shape(intensity)}"
        )
    if not (np.isfinite(a).all() and a.min() >= 0 and a.max() <= 1):
        raise ValueError(f"Expected `intensity` to lie in [0, 1], but got values from {a.min()} to {a.max()}")
    out: Array = a.copy()
    stretched = INDEX["AU27"]
    out[stretched] = 1 - (1 - out[stretched]) ** 2
    if speech:
        # Lips that are pressed or sucked in do not talk, nor does a jaw that is stretched.
        busy = out[[INDEX["AU24"], INDEX["AU27"], INDEX["AU28"]]].max()
        free = 1 - min(1.0, 4 * float(busy))
        for name, part in (("AU25", "open"), ("AU26", "jaw"), ("AU18", "pucker")):
            out[INDEX[name]] = np.maximum(out[INDEX[name]], free * speech[part])
    return out
