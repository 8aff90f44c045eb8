"""Who a scanned face is: its shape, how its face rests, its hair, brows, wrinkles, what it wears [ours].

A pure function of the subject's number. What an AU detector could take for a muscle (low or thick brows, deep sockets,
heavy lids, mouth corners that hang, lines of age) is drawn here, from streams of its own, so that it says nothing about
any label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from auformer.synthetic.canvas import Array
from auformer.synthetic.identity import Identity

IDENTITY_SD, IDENTITY_LIMIT = 0.85, 2.0  # of the identity coefficients, which are in standard deviations of the scans
COEFFICIENTS = 100
STYLES = ("bald", "buzz", "short", "side", "fringe", "swept", "curly", "bob", "long", "long_fringe", "afro", "tied")
_MEN = (0.09, 0.14, 0.24, 0.17, 0.08, 0.08, 0.08, 0.02, 0.03, 0.01, 0.04, 0.02)
_WOMEN = (0.01, 0.01, 0.05, 0.07, 0.09, 0.10, 0.08, 0.15, 0.20, 0.10, 0.04, 0.10)
HATS = ("none", "cap", "beanie", "scarf", "brim")
LENSES = ("none", "clear", "tinted", "sun")
LINES = ("forehead", "frown", "crow", "nasolabial", "marionette", "bag", "bridge", "chin")

#: How a face rests: expression shape, standard deviation, lower and upper bound of its weight. Small against an AU of
#: level 2 (.3), and the same on both halves up to a tenth.
REST = (
    ("browDown", 0.16, -0.28, 0.38), ("browInnerUp", 0.08, -0.15, 0.22), ("browOuterUp", 0.10, -0.18, 0.22),
    ("eyeSquint", 0.10, -0.15, 0.28), ("eyeWide", 0.10, -0.15, 0.22), ("mouthFrown", 0.12, -0.24, 0.30),
    ("mouthSmile", 0.05, -0.10, 0.10), ("mouthPress", 0.08, -0.15, 0.18), ("cheekSquint", 0.08, -0.12, 0.15),
    ("mouthRollUpper", 0.14, -0.30, 0.25), ("mouthRollLower", 0.12, -0.28, 0.22), ("mouthPucker", 0.06, -0.1, 0.14),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One subject.

    Args:
        number: The subject's number; the same number is always the same face.
        identity: Sex, age, skin, colours and proportions of drawn features, shared with the drawn renderer's code.
        coefficients: Of the model's identity shapes `(100,)`.
        rest: Weights of expression shapes at rest, by shape name.
        traits: What else it is: hair, hat, lenses, brows, sockets, lids, lines.
    """

    number: int
    identity: Identity
    coefficients: Array
    rest: dict[str, float]
    traits: dict[str, Any]

    @classmethod
    def sample(cls, number: int) -> Person:
        """The subject with this number.

        Raises:
            ValueError: `number` is negative.
        """
        identity = Identity.sample(number)
        shape, face, worn = (np.random.default_rng([881, number, key]) for key in range(3))
        coefficients = np.clip(shape.normal(0, IDENTITY_SD, COEFFICIENTS), -IDENTITY_LIMIT, IDENTITY_LIMIT)
        identity.traits.update(_drawn_traits(identity, face))
        return cls(number, identity, coefficients, _sample_rest(face), _sample_traits(identity, face, worn))

    def __getitem__(self, trait: str) -> Any:
        return self.traits[trait]


def _drawn_traits(identity: Identity, rng: np.random.Generator) -> dict[str, Any]:
    """Traits of drawn features that vary more here: brows from plucked to bushy, beards, make-up, freckles."""
    male, skin = identity["sex"] > 0.5, identity["skin"]
    thickness = float(np.exp(rng.normal(np.log(0.095 if male else 0.068), 0.36)))
    beard = float(rng.uniform(0.25, 1.0)) if male and rng.random() < 0.52 else 0.0
    makeup = float(rng.uniform(0.2, 1.0)) if not male and rng.random() < 0.55 else 0.0
    return {
        "brow_thickness": float(np.clip(thickness, 0.03, 0.17)),
        "brow_density": float(rng.uniform(0.5, 1.5)),
        "brow_arch": float(np.clip(rng.normal(0.035 if male else 0.055, 0.025), -0.02, 0.11)),
        "brow_tilt": float(rng.normal(0, 0.03)),
        "brow_inner": float(np.clip(rng.normal(0.17, 0.045), 0.05, 0.28)),
        "beard": beard,
        "beard_kind": int(rng.integers(0, 3)),
        "makeup": makeup,
        "ruddy": float(rng.uniform(0.3, 2.0)),
        "rough": float(rng.uniform(0.3, 1.3)),
        "oil": float(np.clip(np.exp(rng.normal(-0.25, 0.45)), 0.2, 1.8)),
        "freckle": float(rng.uniform(0.3, 1.0)) if rng.random() < 0.22 * (1 - skin) else 0.0,
        "wrinkle": float(np.clip(rng.normal(0.75 + 0.5 * identity["age"], 0.25), 0.3, 1.7)),
        "crow": float(rng.uniform(0.15, 1.2)),
    }


def _sample_rest(rng: np.random.Generator) -> dict[str, float]:
    rest: dict[str, float] = {}
    for name, sd, low, high in REST:
        weight = float(np.clip(rng.normal(0, sd), low, high))
        if name.startswith(("mouthPucker", "mouthRoll")):
            rest[name] = weight
            continue
        for side in ("_R", "_L"):
            rest[name + side] = weight * float(rng.normal(1, 0.10))
    return rest


def _sample_traits(identity: Identity, rng: np.random.Generator, worn: np.random.Generator) -> dict[str, Any]:
    male, age = identity["sex"] > 0.5, identity["age"]
    lines = {}
    for name in LINES:  # with age, but any face may have any of them, and each for itself
        strength = max(0.0, rng.normal(0.18 + 1.0 * max(0.0, age - 0.3), 0.30)) if rng.random() < 0.75 else 0.0
        lines[name] = float(min(strength, 1.5))
    style = STYLES[int(worn.choice(len(STYLES), p=_MEN if male else _WOMEN))]
    lens = LENSES[int(worn.choice(4, p=(0.70, 0.22, 0.05, 0.03)))]
    hat = HATS[int(worn.choice(5, p=(0.80, 0.06, 0.04, 0.06, 0.04)))]
    if hat == "scarf" and male:
        hat = "cap"
    identity.traits["glasses"] = lens != "none"
    return {
        "lines": lines,
        "brow_shift": float(np.clip(rng.normal(0.0, 0.045), -0.10, 0.10)),  # brows above or below the ridge
        "ridge": float(np.clip(rng.normal(0.02 if male else 0.0, 0.035), -0.05, 0.10)),  # forward, in IPD
        "socket": float(np.clip(rng.normal(0.0, 0.035), -0.05, 0.10)),  # backward, in IPD
        "hood": float(np.clip(rng.normal(0.0, 0.5), 0.0, 1.2)),  # skin that hangs over the upper lid
        "lids": float(np.clip(rng.normal(0.03, 0.07), -0.08, 0.18)),  # share of a blink at rest
        "mobility": float(np.clip(rng.normal(1.0, 0.10), 0.75, 1.25)),
        "style": style,
        "hat": hat,
        "lens": lens,
        "hair_seed": int(worn.integers(2**31)),
    }
