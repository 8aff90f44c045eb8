"""What a lab's coders write down about a rendered face whose muscles are known exactly.

Levels, occurrence, sides, expected rates [ours].

An intensity `a` in [0, 1] is a FACS level divided by five, so that 1 is level E. Coders see whole levels: `floor(5 a +
0.5)`. A lab counts an action unit (AU) as present from a level of its own: 1 in lab A, as BP4D's coders do (A or
stronger), 2 in lab B, as the literature does with DISFA. The renderer's columns are halves of the image; `_left` and
`_right` in tables are the person's own sides, as FACS means them, and the half on the image's left is the person's
right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.sampling import facs_level, lab_table, sample_aus

#: Column of the renderer's intensities for each of the person's sides: image left is the person's right.
SIDE_COLUMN = {"left": 1, "right": 0}
RATE_DRAWS = 10_000  # the Monte-Carlo error (one sd) of a rate is then at most .005 [ours]


def five_point(intensity: np.ndarray) -> np.ndarray:
    """An intensity in [0, 1] on the manifest's scale of 0 to 5, float32."""
    return (np.asarray(intensity, np.float32) * np.float32(5)).astype(np.float32)


def occurrence(intensity: np.ndarray, lab: str) -> np.ndarray:
    """Whether the lab's coders would count intensities in [0, 1] as present: int8 of the same shape.

    >>> occurrence(np.array([0.0, 0.1, 0.29, 0.3]), "A").tolist()
    [0, 1, 1, 1]
    >>> occurrence(np.array([0.0, 0.1, 0.29, 0.3]), "B").tolist()
    [0, 0, 0, 1]
    """
    return (facs_level(np.asarray(intensity)[..., None]) >= lab_table(lab)["level"]).astype(np.int8)


def label_columns(
    intensity: np.ndarray, au_names: Sequence[str], lab: str, present: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The manifest's label columns `AU12`, `AU12_left`, `AU12_right` (int8) and `AU12_intensity` (float32, 0 to 5).

    Args:
        intensity: `(n, N, 2)`, columns image left and image right, in [0, 1].
        au_names: The AUs to write, each one that the renderer knows.
        lab: Whose threshold decides.
        present: `(n, N, 2)` labels that replace the threshold, as for clips, whose label is the clip's.
    """
    sides = occurrence(intensity, lab) if present is None else present.astype(np.int8)
    columns: dict[str, np.ndarray] = {name: sides[:, AU_NAMES.index(name)].max(axis=1) for name in au_names}
    for name in au_names:
        index = AU_NAMES.index(name)
        for side, column in SIDE_COLUMN.items():
            columns[f"{name}_{side}"] = sides[:, index, column]
        columns[f"{name}_intensity"] = five_point(intensity[:, index].max(axis=1))
    return columns


def truth_columns(intensity: np.ndarray) -> dict[str, np.ndarray]:
    """Exact intensity of all rendered AUs per side of the person, in [0, 1], float32.

    `AU12_left`, `AU12_right`, ..., each (n,).
    """
    return {
        f"{name}_{side}": np.asarray(intensity[:, index, column], np.float32)
        for index, name in enumerate(AU_NAMES)
        for side, column in SIDE_COLUMN.items()
    }


@lru_cache(maxsize=4)
def expected_rates(lab: str, draws: int = RATE_DRAWS) -> dict[str, float]:
    """How often each AU is present after the lab's threshold.

    By seeded Monte-Carlo of the sampler over `draws` faces.
    """
    rng = np.random.default_rng([1717, draws])
    total = np.zeros(len(AU_NAMES))
    for _ in range(draws):
        total += occurrence(sample_aus(rng, lab)[1].max(axis=1), lab)
    return {name: float(rate) for name, rate in zip(AU_NAMES, np.round(total / draws, 4), strict=True)}


def rendered_aus(au_names: Iterable[str]) -> tuple[str, ...]:
    """`au_names` as a tuple, if the renderer can make every one of them.

    Raises:
        ValueError: Some of them are not rendered.
    """
    names = tuple(au_names)
    missing = [name for name in names if name not in AU_NAMES]
    if missing or not names:
        got = ", ".join(missing) if missing else "none"
        raise ValueError(
            f"Expected `au_names` to be among the {len(AU_NAMES)} rendered ones ({', '.join(AU_NAMES)}), but got {got}"
        )
    return names
