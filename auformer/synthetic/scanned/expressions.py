"""Expressions whose action units (AUs) do not come in the usual company, for training on photographs [ours].

The labs' samplers draw AUs by shared causes, so that a detector may learn the cause in place of the muscle. Here every
face is one of several kinds, and in most of them each muscle is drawn for itself: one to six independent muscles;
speech with anything; bared teeth under lowered brows; smiles with closed lips; raised brows in speech; a squint in the
sun without AU6; faces at rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.labels import occurrence
from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.pairs import choose, silenced
from auformer.synthetic.sampling import sample_aus

NUM_AUS = len(AU_NAMES)
RATE_DRAWS = 3_000  # the Monte-Carlo error (one sd) of a rate is then at most .01
TRACE = 0.08  # intensities up to this are traces, below any coder's threshold
#: Share of each kind of face.
KINDS = {
    "lab": 0.25, "independent": 0.28, "speech": 0.11, "bared": 0.07, "closed_smile": 0.07, "raised_speech": 0.05,
    "squint": 0.05, "rest": 0.12,
}  # fmt: skip
BROWS = ("AU1", "AU2", "AU4")
#: One bone, one ring of lips, one boss of the chin; and one shut eye is a wink (AU46).
ONE_PIECE = ("AU17", "AU18", "AU22", "AU23", "AU24", "AU25", "AU26", "AU27", "AU28", "AU43")
ONE_SIDED = 0.12  # share of AUs that act on one half only, where they can
#: Besides what `pairs` excludes: a shut eye is not tightened, and a smile does not pucker. The weaker one gives way.
AGAINST = (("AU7", "AU43"), ("AU5", "AU7"), ("AU12", "AU18"))
PARTS_LIPS = ("AU27", "AU16", "AU22")  # these part the lips whatever else happens
#: How often each AU is drawn among independent muscles; one half for those that few sets code.
_OFTEN = {"AU43": 0.6, "AU27": 0.5, "AU28": 0.6, "AU18": 0.7, "AU22": 0.6, "AU11": 0.6, "AU16": 0.7}


def sample_expression(rng: np.random.Generator, lab: str) -> tuple[Array, str]:
    """Intensities `(24, 2)` float32 in [0, 1], columns image left and right, and the kind of face they belong to."""
    kind = str(rng.choice(tuple(KINDS), p=tuple(KINDS.values())))
    if kind == "lab":
        return sample_aus(rng, lab)[1], kind
    a = np.zeros(NUM_AUS)
    _DRAW[kind](a, rng)
    _settle(a)
    return _both_sides(a, rng), kind


def _level(rng: np.random.Generator, low: float = 0.15, high: float = 1.0) -> float:
    return float(low + (high - low) * rng.beta(1.15, 1.5))


def _any(a: Array, rng: np.random.Generator, most: int, among: tuple[str, ...] = AU_NAMES, low: float = 0.15) -> None:
    """Some independent muscles among those named."""
    odds = np.array([_OFTEN.get(name, 1.0) for name in among])
    number = min(int(rng.integers(1, most + 1)), len(among))
    for name in rng.choice(among, number, replace=False, p=odds / odds.sum()):
        a[INDEX[str(name)]] = max(a[INDEX[str(name)]], _level(rng, low))


def _independent(a: Array, rng: np.random.Generator) -> None:
    _any(a, rng, 6)


def _rest(a: Array, rng: np.random.Generator) -> None:
    """Nothing, or traces below any coder's threshold."""
    a += np.where(rng.random(NUM_AUS) < 0.2, rng.uniform(0, TRACE, NUM_AUS), 0)


def _speech(a: Array, rng: np.random.Generator) -> None:
    """Talking: parted lips, a jaw that moves, now and then rounded lips; with anything else on the face."""
    a[INDEX["AU25"]] = _level(rng)
    if rng.random() < 0.65:
        a[INDEX["AU26"]] = _level(rng, 0.15, 0.9)
    elif rng.random() < 0.25:
        a[INDEX["AU27"]] = _level(rng, 0.25, 0.9)
    for name, share in (("AU18", 0.15), ("AU22", 0.12), ("AU16", 0.20), ("AU10", 0.15)):
        if rng.random() < share:
            a[INDEX[name]] = _level(rng, 0.15, 0.8)
    if rng.random() < 0.6:
        _any(a, rng, 3, tuple(name for name in AU_NAMES if name not in ("AU24", "AU28", "AU27", "AU26")))


def _bared(a: Array, rng: np.random.Generator) -> None:
    """Bared teeth with lowered brows: rage, effort, pain."""
    a[INDEX["AU4"]] = _level(rng, 0.35)
    a[INDEX["AU25"]] = _level(rng, 0.35)
    a[INDEX["AU10" if rng.random() < 0.6 else "AU20"]] = _level(rng, 0.3)
    for name, share in (
        ("AU7", 0.6), ("AU9", 0.45), ("AU16", 0.45), ("AU26", 0.35), ("AU27", 0.15), ("AU12", 0.2), ("AU20", 0.25),
        ("AU6", 0.3), ("AU17", 0.15), ("AU5", 0.15), ("AU23", 0.15),
    ):  # fmt: skip
        if rng.random() < share:
            a[INDEX[name]] = max(a[INDEX[name]], _level(rng, 0.2))


def _closed_smile(a: Array, rng: np.random.Generator) -> None:
    """A smile with the lips together, with or without the cheeks."""
    a[INDEX["AU12"]] = _level(rng, 0.25)
    for name, share in (("AU6", 0.5), ("AU14", 0.2), ("AU17", 0.15), ("AU24", 0.12), ("AU23", 0.1), ("AU7", 0.2)):
        if rng.random() < share:
            a[INDEX[name]] = _level(rng, 0.2)
    if rng.random() < 0.35:
        _any(a, rng, 2, BROWS)


def _raised_speech(a: Array, rng: np.random.Generator) -> None:
    """Raised brows while talking."""
    _speech(a, rng)
    a[INDEX["AU4"]] = 0
    for name in ("AU1", "AU2"):
        if rng.random() < 0.8:
            a[INDEX[name]] = _level(rng, 0.25)


def _squint(a: Array, rng: np.random.Generator) -> None:
    """Sun in the eyes: lids tighten, brows come down, cheeks do not rise; AU10 or AU12 now and then."""
    a[INDEX["AU7"]] = _level(rng, 0.3)
    for name, share in (("AU4", 0.6), ("AU10", 0.2), ("AU12", 0.2), ("AU25", 0.3), ("AU9", 0.12), ("AU20", 0.1)):
        if rng.random() < share:
            a[INDEX[name]] = _level(rng, 0.2)
    a[INDEX["AU6"]] = 0


_DRAW: dict[str, Callable[[Array, np.random.Generator], None]] = {
    "independent": _independent, "speech": _speech, "bared": _bared, "closed_smile": _closed_smile,
    "raised_speech": _raised_speech, "squint": _squint, "rest": _rest,
}  # fmt: skip


def _settle(a: Array) -> None:
    """Take away what cannot be: of two that exclude each other the weaker, and its trace."""
    for one, other in AGAINST:
        i, j = INDEX[one], INDEX[other]
        if a[i] > TRACE and a[j] > TRACE:
            a[i if a[i] < a[j] else j] = 0
    on = a > TRACE
    stays = choose(on, a)
    a[on & ~stays] = 0
    parted = max(a[INDEX[name]] for name in PARTS_LIPS)
    if parted > TRACE:
        a[INDEX["AU25"]] = max(a[INDEX["AU25"]], min(1.0, 0.2 + 0.6 * parted))
        stays[INDEX["AU25"]] = True
    a[silenced(stays)] = 0


def _both_sides(a: Array, rng: np.random.Generator) -> Array:
    """Two halves `(24, 2)`: mostly nearly alike, some on one half only; what the jaw does is the same on both."""
    lean = np.clip(rng.normal(0, 0.10, NUM_AUS), -0.4, 0.4)
    lean = np.where(
        rng.random(NUM_AUS) < ONE_SIDED, rng.choice([-1.0, 1.0], NUM_AUS) * rng.uniform(0.6, 1.0, NUM_AUS), lean
    )
    for name in ONE_PIECE:
        lean[INDEX[name]] = 0
    return np.stack([a * (1 - np.maximum(lean, 0)), a * (1 + np.minimum(lean, 0))], 1).astype(F)


@cache
def expected_rates(lab: str, draws: int = RATE_DRAWS) -> dict[str, float]:
    """How often each AU is present after the lab's threshold, by seeded Monte-Carlo of the sampler."""
    rng = np.random.default_rng([1718, draws])
    total = np.zeros(NUM_AUS)
    for _ in range(draws):
        total += occurrence(sample_expression(rng, lab)[0].max(axis=1), lab)
    return {name: float(rate) for name, rate in zip(AU_NAMES, np.round(total / draws, 4), strict=True)}
