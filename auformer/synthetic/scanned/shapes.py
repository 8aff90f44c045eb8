"""How each action unit (AU) moves the scanned head: a table of expression shapes, each row with its reason [ours].

Weights are those at full intensity (FACS level E). A shape with sides is driven by each half of the face on its own; a
whole shape by the mean of both. `moves` are pushes that the shapes lack: rows `(x, y, dx outward, dy down, dz forward,
sigma x, sigma y)` in template coordinates, inter-pupil distances, for the image-right half and mirrored for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from auformer.synthetic.canvas import Array, F
from auformer.synthetic.muscles import AU_NAMES

Move = tuple[float, float, float, float, float, float, float]
JAW = 0.42  # of the model's full jaw opening is AU26; all of it is AU27


@dataclass(frozen=True)
class Row:
    """One AU: shapes by name (without `_L`, `_R`) and weight, own pushes, how strongly its relief shows, and why."""

    shapes: dict[str, float]
    reason: str
    moves: tuple[Move, ...] = ()
    relief: float = 1.0
    sides: bool = field(default=True)


TABLE: dict[str, Row] = {
    "AU1": Row(
        {"browInnerUp": 1.15},
        "the model's own AU1; its scans raise .09 where FACS rigs go .24, so the inner corner gets a little more",
        moves=((0.15, -0.36, 0.0, -0.035, 0.0, 0.14, 0.15),),
    ),
    "AU2": Row({"browOuterUp": 1.1}, "the model's own AU2"),
    "AU4": Row(
        {"browDown": 1.15},
        "the model's own AU4 lowers but hardly gathers: corrugator draws the inner brows together and piles up skin",
        moves=(
            (0.20, -0.36, -0.045, 0.055, 0.025, 0.15, 0.13),
            (0.50, -0.38, -0.02, 0.035, 0.012, 0.20, 0.12),
            (0.12, -0.24, -0.01, 0.02, 0.025, 0.09, 0.09),
        ),
    ),
    "AU5": Row({"eyeWide": 1.0}, "the model's own AU5"),
    "AU6": Row(
        {"cheekRaiser": 1.0, "cheekSquint": 0.45},
        "the model's table names cheekSquint; cheekRaiser came later and lifts the whole infraorbital triangle",
        moves=((0.62, 0.40, 0.0, -0.02, 0.030, 0.22, 0.13), (0.85, -0.16, -0.01, 0.035, 0.0, 0.15, 0.12)),
    ),
    "AU7": Row(
        {"eyeSquint": 1.1, "eyeBlink": 0.12},
        "the model's own AU7; the upper lid comes down a little too, which its shape leaves out",
        relief=0.8,
    ),
    "AU9": Row(
        {"noseSneer": 1.0, "browDown": 0.2},
        "the model's own AU9; the levator also draws the inner brow down, which its shape leaves out",
        moves=((0.16, -0.28, -0.02, 0.035, 0.015, 0.12, 0.12),),
    ),
    "AU10": Row(
        {"mouthUpperUp": 0.95, "noseSneer": 0.12},
        "mouthShrugUpper, which the model's table names, pushes the lip against the nose; mouthUpperUp is the levator",
    ),
    "AU11": Row(
        {"mouthUpperUp": 0.22, "cheekSquint": 0.15},
        "zygomaticus minor: a little lift beside the philtrum, and a deep middle of the nasolabial furrow",
        moves=((0.38, 0.72, 0.01, -0.045, 0.020, 0.10, 0.14), (0.24, 0.98, 0.01, -0.03, 0.0, 0.10, 0.08)),
    ),
    "AU12": Row({"mouthSmile": 0.95}, "the model's own AU12", relief=0.8),
    "AU14": Row(
        {"mouthDimple": 1.1},
        "the model's own AU14; the knot beside the corner is pressed in more",
        moves=((0.47, 1.10, 0.01, 0.0, -0.035, 0.06, 0.08),),
    ),
    "AU15": Row({"mouthFrown": 1.1}, "the model's own AU15", moves=((0.42, 1.14, 0.0, 0.03, 0.0, 0.13, 0.12),)),
    "AU16": Row(
        {"mouthLowerDown": 1.0},
        "the model's own AU16; it bares the lower teeth, so lips part with it",
        moves=((0.18, 1.42, 0.02, 0.02, -0.02, 0.16, 0.08),),
    ),
    "AU17": Row(
        {"mouthShrugLower": 0.85},
        "the model's own AU17; the boss of the chin is lifted and flattened",
        moves=((0.12, 1.55, 0.0, -0.04, 0.012, 0.20, 0.14),),
        sides=False,
    ),
    "AU18": Row({"mouthPucker": 1.1}, "the model's own AU18", sides=False),
    "AU20": Row(
        {"mouthStretch": 0.95},
        "the model's own AU20; its corners sink as in AU15, risorius draws them back",
        moves=((0.43, 1.12, 0.025, -0.035, -0.01, 0.16, 0.12),),
    ),
    "AU22": Row({"mouthFunnel": 0.95}, "the model's own AU22", sides=False),
    "AU23": Row(
        {"mouthRollLower": 0.38, "mouthRollUpper": 0.38, "mouthPress": 0.25, "mouthPucker": 0.20},
        "no shape of its own: orbicularis tightens, lips roll in a little and the mouth narrows",
    ),
    "AU24": Row(
        {"mouthPress": 1.0, "mouthRollLower": 0.22, "mouthRollUpper": 0.22},
        "the model's own AU24, with the red thinned as pressing lips do",
        moves=((0.12, 0.93, 0.0, 0.0, 0.015, 0.2, 0.05), (0.12, 1.27, 0.0, 0.0, 0.015, 0.2, 0.05)),
        relief=0.7,
    ),
    "AU25": Row(
        {"mouthLowerDown": 0.62, "mouthUpperUp": 0.30, "jawOpen": 0.09},
        "no shape of its own: both lips give way, the jaw hardly moves",
    ),
    "AU26": Row({"jawOpen": JAW}, "0.42 of a full opening; lips stay closed over it unless AU25 acts", sides=False),
    "AU27": Row({"jawOpen": 1.0}, "the model's own AU27: the jaw as far as it goes", sides=False),
    "AU28": Row({"mouthRollLower": 0.9, "mouthRollUpper": 0.9}, "the model's own AU28", relief=0.7, sides=False),
    "AU43": Row({"eyeBlink": 1.0}, "a blink that lasts"),
}
PART_LIPS = ("AU16", "AU22", "AU25", "AU27")  # without these the lips stay together, whatever jaw and levators do
EXTRA = "move:"  # names of our own pushes among the shapes


def shape_names() -> tuple[str, ...]:
    """Names of all shapes, the model's and ours, in a fixed order."""
    names = {f"{name}{side}" for row in TABLE.values() for name in row.shapes for side in _sides(name)}
    names |= {f"{name}{side}" for name in ("eyeBlink", "eyeLookDown", "eyeLookUp") for side in ("_R", "_L")}
    names |= {"mouthClose", "mouthPucker", "mouthFunnel", "browInnerUp_R", "browInnerUp_L"}
    own = [f"{EXTRA}{au}{side}" for au, row in TABLE.items() if row.moves for side in ("_R", "_L")]
    return (*sorted(names), *own)


_WHOLE = ("jaw", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRoll", "mouthShrug")


def _sides(name: str) -> tuple[str, ...]:
    return ("",) if name.startswith(_WHOLE) else ("_R", "_L")


def drive_matrix(names: tuple[str, ...]) -> Array:
    """Weights `(S, 24, 2)`: shape by AU by half of the face; columns image left (`_R`) and image right (`_L`)."""
    index = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(AU_NAMES), 2), F)
    for k, au in enumerate(AU_NAMES):
        row = TABLE[au]
        for name, weight in row.shapes.items():
            sides = _sides(name)
            for column in (0, 1):
                if len(sides) == 1:
                    matrix[index[name], k, column] += weight / 2
                else:
                    matrix[index[name + sides[column]], k, column] += weight
        if row.moves:
            for column, side in enumerate(("_R", "_L")):
                matrix[index[f"{EXTRA}{au}{side}"], k, column] = 1
    return matrix


def own_pushes(template: Array, skin: Array) -> dict[str, Array]:
    """Our own pushes as offsets `(n, 3)` by shape name; `template (n, 2)`, `skin (n,)` 1 on the face's skin."""
    pushes = {}
    for au, row in TABLE.items():
        for side, sign in (("_R", -1), ("_L", 1)) if row.moves else ():
            offset = np.zeros((len(template), 3), F)
            for x, y, dx, dy, dz, sx, sy in row.moves:
                zone = np.exp(-(((template[:, 0] - sign * x) / sx) ** 2) - ((template[:, 1] - y) / sy) ** 2) * skin
                offset += zone[:, None] * np.array([sign * dx, dy, dz])
            pushes[f"{EXTRA}{au}{side}"] = offset.astype(F)
    return pushes


def weights(matrix: Array, names: tuple[str, ...], muscles: Array, blink: float = 0.0, down: float = 0.0) -> Array:
    """Weight of every shape `(S,)`.

    Args:
        matrix: From `drive_matrix`.
        names: From `shape_names`.
        muscles: What the muscles do `(24, 2)`, speech included.
        blink: How far the lids are shut whatever the muscles do, 0 to 1.
        down: Gaze, -1 (up) to 1 (down), which the lids follow.
    """
    index = {name: i for i, name in enumerate(names)}
    w: Array = np.einsum("skx,kx->s", matrix, muscles).astype(F)
    w[index["jawOpen"]] = jaw = min(float(w[index["jawOpen"]]), 1.05)
    w[index["mouthClose"]] += jaw * sealed(muscles)
    for side in ("_R", "_L"):
        lids, squint = index[f"eyeBlink{side}"], float(w[index[f"eyeSquint{side}"]])
        w[lids] = min(max(float(w[lids]), blink), 1.0 - 0.25 * min(1.0, squint))  # lids meet, they do not cross
        w[index[f"eyeLookDown{side}"]] = 0.9 * max(down, 0.0)
        w[index[f"eyeLookUp{side}"]] = 0.9 * max(-down, 0.0)
    return w


def sealed(muscles: Array) -> float:
    """How firmly the lips stay together: 1 with none of the AUs that part them, 0 from a third of one on."""
    return 1 - min(1.0, 3 * max(float(muscles[AU_NAMES.index(au)].max()) for au in PART_LIPS))
