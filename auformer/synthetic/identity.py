"""Who a rendered face is: every stable property of one synthetic subject, a pure function of its number [ours].

Lengths are in inter-pupil distances (IPD). The means and spreads were chosen by eye on contact sheets until faces of
either sex, of any age and of any skin tone looked plausible; none of them is measured on people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from auformer.synthetic.canvas import Array, F

# Template heights (hair line, brow, lid, pupil, cheek, nose base, mouth, chin, neck) that `warp` moves to the subject's
# own.
TEMPLATE_Y = np.array([-1.4, -0.365, -0.12, 0, 0.25, 0.70, 1.09, 1.75, 2.2], F)
WIDTH_Y = np.array([-1.2, -0.36, 0, 0.3, 0.66, 1.09, 1.6], F)  # heights at which a width factor is known
NO_HAIR, LONG_HAIR = 5, (3, 4)  # hair styles: 0 plain, 1 side part, 2 fringe, 3 and 4 long, 5 bald


class _Draw:
    """Clipped normals and uniforms as plain floats."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, mean: float, sd: float) -> float:
        return float(np.clip(self.rng.normal(mean, sd), mean - 2.2 * sd, mean + 2.2 * sd))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class Identity:
    """One synthetic subject.

    Args:
        number: The subject's number, at least 0; the same number is always the same face.
        traits: Its properties by name; `sex` (1 = masculine features), `age` in [0, 1], `skin` in [0 light, 1 dark],
            and shapes in IPD.
    """

    number: int
    traits: dict[str, Any]

    @classmethod
    def sample(cls, number: int) -> Identity:
        """The subject with this number.

        Raises:
            ValueError: `number` is negative.
        """
        if number < 0:
            raise ValueError(f"Expected `number` to be at least 0, but got {number}")
        draw = _Draw(np.random.default_rng([77, number]))
        p: dict[str, Any] = {"sex": float(draw.chance(0.5)), "age": draw.uniform(0, 1), "skin": draw.uniform(0, 1)}
        for part in (_head, _brows, _eyes, _nose_and_mouth, _relief, _surface, _colours):
            part(p, draw)
        return cls(number, p)

    def __getitem__(self, trait: str) -> Any:
        return self.traits[trait]

    def _own_y(self) -> Array:
        p = self.traits
        cheek = 0.25 * (0.5 + 0.5 * p["nose_y"] / 0.7)
        return np.array(
            [-1.4, p["brow_y"], -0.12, 0, cheek, p["nose_y"] - 0.02, p["mouth_y"], p["chin"], p["chin"] + 0.45], F
        )

    def _width_factor(self) -> Array:
        p = self.traits
        face, mouth = p["half_width"] / 1.14, p["mouth_width"] / 0.40
        return np.array(
            [face, face, p["eye_x"] / 0.5, 1.0, 0.5 + 0.5 * p["nose_width"] / 0.225, mouth, 0.5 * mouth + 0.5 * face], F
        )

    def warp(self, points: Any) -> Array:
        """Template points `(n, 2)` to this subject's frontal frame."""
        points = np.asarray(points, F).reshape(-1, 2)
        x, y = points[:, 0], points[:, 1]
        return np.stack(
            [x * np.interp(y, WIDTH_Y, self._width_factor()), np.interp(y, TEMPLATE_Y, self._own_y())], 1
        ).astype(F)

    def unwarp(self, points: Array) -> Array:
        """Inverse of `warp`: this subject's frontal frame to template points `(n, 2)`."""
        y = np.interp(points[:, 1], self._own_y(), TEMPLATE_Y)
        return np.stack([points[:, 0] / np.interp(y, WIDTH_Y, self._width_factor()), y], 1).astype(F)


def _head(p: dict[str, Any], draw: _Draw) -> None:
    """Outline of the face, and its asymmetries."""
    s = p["sex"]
    p["half_width"] = draw.normal(1.06 + 0.03 * s, 0.04)
    p["chin"] = draw.normal(1.72 + 0.06 * s, 0.06)
    p["jaw_n"] = draw.normal(2.50 + 0.45 * s, 0.35)
    p["jaw_m"] = draw.normal(1.62 + 0.15 * s, 0.15)
    p["asymmetry"] = draw.rng.normal(0, 0.010, 6).tolist()  # brow height, parting, hair wave, two eyes, mouth


def _brows(p: dict[str, Any], draw: _Draw) -> None:
    """Place, shape and density of the brows."""
    s = p["sex"]
    p["brow_y"] = draw.normal(-0.365 + 0.03 * s, 0.03)
    p["brow_thickness"] = draw.normal(0.055 + 0.018 * s, 0.012)
    p["brow_arch"] = draw.normal(0.060 - 0.02 * s, 0.018)
    p["brow_tilt"] = draw.normal(0, 0.03)
    p["brow_inner"] = draw.normal(0.17, 0.03)
    p["brow_outer"] = draw.normal(0.86, 0.04)
    p["brow_density"] = draw.uniform(0.55, 1.0)


def _eyes(p: dict[str, Any], draw: _Draw) -> None:
    """Lids, iris, crease and glasses."""
    p["eye_width"] = draw.normal(0.235, 0.013)
    p["eye_x"] = draw.normal(0.495, 0.012)
    p["lid_upper"] = draw.normal(0.088, 0.011)
    p["lid_lower"] = draw.normal(0.055, 0.007)
    p["eye_tilt"] = draw.normal(0.020, 0.016)
    p["crease"] = max(0.012, draw.normal(0.055, 0.02))
    p["iris"] = draw.normal(0.098, 0.004)
    p["glasses"] = draw.chance(0.10)


def _nose_and_mouth(p: dict[str, Any], draw: _Draw) -> None:
    """Shape of nose and lips, and how the mouth rests."""
    s, skin = p["sex"], p["skin"]
    p["nose_y"] = draw.normal(0.72, 0.035)
    p["nose_width"] = draw.normal(0.225 + 0.015 * s + 0.02 * skin, 0.022)
    p["nose_height"] = draw.normal(1.0, 0.13)
    p["nose_bridge"] = draw.normal(1.0, 0.2)
    p["mouth_y"] = p["nose_y"] + draw.normal(0.375, 0.03)
    p["mouth_width"] = draw.normal(0.395, 0.028)
    p["lip_upper"] = max(0.04, draw.normal(0.088 + 0.02 * skin - 0.018 * s, 0.018))
    p["lip_lower"] = max(0.06, draw.normal(0.120 + 0.02 * skin - 0.015 * s, 0.020))
    p["mouth_curve"] = draw.normal(0.0, 0.022)  # resting corners up (-) or down (+)
    p["rest_open"] = float(draw.chance(0.12))


def _relief(p: dict[str, Any], draw: _Draw) -> None:
    """Bones, and what age has folded."""
    s, age = p["sex"], p["age"]
    p["cheek"] = draw.normal(1.0, 0.35)
    p["brow_ridge"] = draw.normal(0.7 + 0.5 * s, 0.25)
    p["chin_height"] = draw.normal(1.0, 0.3)
    p["wrinkle"] = float(np.clip(0.62 + 0.65 * age + draw.rng.normal(0, 0.15), 0.4, 1.5))
    p["crow"] = draw.uniform(0.25, 1.1)  # how far crow's feet show: many real cheek raises have hardly any
    p["fold"] = max(0.0, 0.25 * age + draw.normal(0.12, 0.08))  # nasolabial fold at rest
    p["bag"] = max(0.0, 0.6 * age + draw.normal(0.1, 0.15))
    p["lines"] = max(0.0, age - 0.5) * draw.uniform(0.0, 0.9)  # forehead lines at rest
    p["frown"] = max(0.0, age - 0.45) * draw.uniform(0.0, 0.8)


def _surface(p: dict[str, Any], draw: _Draw) -> None:
    """Beard, freckles, make-up, hair, skin."""
    s, age, skin = p["sex"], p["age"], p["skin"]
    p["beard"] = (draw.uniform(0.2, 1.0) if draw.chance(0.45) else 0.0) * s
    p["beard_kind"] = int(draw.rng.integers(0, 3))  # stubble, moustache and chin, full
    p["freckle"] = draw.uniform(0.3, 1.0) if draw.chance(0.25 * (1 - skin)) else 0.0
    p["makeup"] = (draw.uniform(0.2, 0.8) if draw.chance(0.5) else 0.0) * (1 - s)
    p["hair_style"] = NO_HAIR if draw.chance(0.08 * s) else int(draw.rng.integers(0, 5))
    p["hair_line"] = draw.normal(-1.02 - 0.05 * s * age, 0.07)
    p["ruddy"] = draw.uniform(0.4, 1.3)
    p["rough"] = draw.uniform(0.6, 1.3)
    p["oil"] = draw.uniform(0.4, 1.3)


def _colours(p: dict[str, Any], draw: _Draw) -> None:
    """Hair, brow and iris colour in linear RGB; darker hair and eyes with darker skin, grey with age."""
    skin, rng = p["skin"], draw.rng
    grey = float(draw.chance(max(0.0, p["age"] - 0.55) * 1.6))
    hair = [
        np.array([0.055, 0.042, 0.035]) * draw.uniform(0.5, 1.2),
        np.array([0.16, 0.095, 0.055]) * draw.uniform(0.8, 1.2),
        np.array([0.42, 0.30, 0.16]) * draw.uniform(0.8, 1.1),
        np.array([0.30, 0.12, 0.05]),
    ]
    odds = np.array([0.35 + skin, 0.35 * (1 - skin), 0.2 * (1 - skin) ** 2, 0.06 * (1 - skin)])
    colour = hair[int(rng.choice(4, p=odds / odds.sum()))]
    p["hair"] = (colour * (1 - grey) + grey * np.array([0.42, 0.41, 0.40]) * draw.uniform(0.7, 1.2)).tolist()
    p["brow_colour"] = ((colour * 0.55 + 0.02) * (1 - 0.4 * grey) + 0.08 * grey).tolist()
    iris = np.array(
        [[0.10, 0.055, 0.03], [0.16, 0.10, 0.05], [0.12, 0.17, 0.20], [0.10, 0.14, 0.08], [0.20, 0.26, 0.30]]
    )
    odds = np.array([0.45 + 3 * skin, 0.25, 0.15 * (1 - skin), 0.1 * (1 - skin), 0.08 * (1 - skin)])
    p["iris_colour"] = (iris[int(rng.choice(5, p=odds / odds.sum()))] * draw.uniform(0.8, 1.25)).tolist()
