"""A miniature face model in the format of ICT-FaceKit: a bulging sheet with a nose, eyes, lips, teeth, made here.

It has the parts, landmarks and shape names that the renderer needs and nothing of the real model's arrays; it is its
own mirror image, vertex by vertex in x.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from auformer.synthetic.scanned.facekit import EXPRESSIONS, FaceKit, Layout, read_facekit

CM = 6.39  # centimetres per inter-pupil distance
COLUMNS, ROWS, IDENTITIES = 61, 71, 3
#: The 68 landmarks in inter-pupil distances, y down: jaw, brows, nose, eyes, lips.
_JAW = [(1.15 * np.sin(t), 1.75 - 1.6 * (1 - np.cos(t))) for t in np.linspace(-1.45, 1.45, 17)]
_BROW = [(0.86, -0.28), (0.72, -0.37), (0.55, -0.41), (0.36, -0.40), (0.18, -0.36)]
_EYE = [(0.70, 0.01), (0.59, -0.07), (0.42, -0.07), (0.29, 0.02), (0.42, 0.06), (0.59, 0.06)]
_OUTER = [
    (-0.40, 1.11),
    (-0.25, 1.03),
    (-0.1, 0.98),
    (0, 0.99),
    (0.1, 0.98),
    (0.25, 1.03),
    (0.40, 1.11),
    (0.25, 1.19),
    (0.1, 1.22),
    (0, 1.23),
    (-0.1, 1.22),
    (-0.25, 1.19),
]
_INNER = [(-0.34, 1.11), (-0.14, 1.08), (0, 1.08), (0.14, 1.08), (0.34, 1.11), (0.14, 1.115), (0, 1.12), (-0.14, 1.115)]
_NOSE = [
    (0, -0.02),
    (0, 0.15),
    (0, 0.33),
    (0, 0.52),
    (-0.16, 0.70),
    (-0.08, 0.73),
    (0, 0.75),
    (0.08, 0.73),
    (0.16, 0.70),
]
POINTS = np.array(
    [*_JAW, *((-x, y) for x, y in _BROW), *(reversed(_BROW)), *_NOSE, *((-x, y) for x, y in _EYE),
     *(_EYE[i] for i in (3, 2, 1, 0, 5, 4)), *_OUTER, *_INNER]
)  # fmt: skip
#: Where a shape acts and which way: place, spread, displacement, in inter-pupil distances, for the person's left.
_ACTS = {
    "browDown": (0.35, -0.35, 0.25, (-0.04, 0.08, 0)), "browInnerUp": (0.2, -0.36, 0.18, (0, -0.10, 0)),
    "browOuterUp": (0.7, -0.36, 0.2, (0, -0.10, 0)), "cheekRaiser": (0.6, 0.35, 0.25, (0, -0.09, 0.02)),
    "cheekSquint": (0.5, 0.2, 0.18, (0, -0.05, 0)), "eyeBlink": (0.5, -0.07, 0.13, (0, 0.12, 0)),
    "eyeSquint": (0.5, 0.06, 0.13, (0, -0.05, 0)), "eyeWide": (0.5, -0.07, 0.13, (0, -0.05, 0)),
    "eyeLookDown": (0.5, -0.07, 0.13, (0, 0.04, 0)), "eyeLookUp": (0.5, -0.07, 0.13, (0, -0.03, 0)),
    "mouthSmile": (0.40, 1.11, 0.2, (0.11, -0.15, -0.05)), "mouthFrown": (0.40, 1.11, 0.2, (0.03, 0.08, 0)),
    "mouthDimple": (0.42, 1.11, 0.12, (0.03, 0, -0.08)), "mouthStretch": (0.42, 1.12, 0.2, (0.10, 0.04, -0.05)),
    "mouthPress": (0.2, 1.10, 0.15, (0, 0, 0.04)), "mouthUpperUp": (0.18, 0.98, 0.15, (0, -0.11, 0)),
    "mouthLowerDown": (0.18, 1.22, 0.15, (0, 0.12, 0)), "noseSneer": (0.2, 0.6, 0.2, (0.01, -0.11, 0.02)),
    "jawOpen": (0, 1.55, 0.45, (0, 0.42, -0.05)), "mouthClose": (0, 1.2, 0.2, (0, -0.3, 0)),
    "mouthFunnel": (0, 1.1, 0.3, (0, 0, 0.12)), "mouthPucker": (0, 1.1, 0.3, (0, 0, 0.10)),
    "mouthRollLower": (0, 1.2, 0.2, (0, -0.04, -0.04)), "mouthRollUpper": (0, 1.0, 0.2, (0, 0.04, -0.04)),
    "mouthShrugLower": (0, 1.5, 0.25, (0, -0.12, 0.03)),
}  # fmt: skip


def _sheet() -> tuple[np.ndarray, np.ndarray]:
    """The face: a grid over x and y, bent back at the sides, with a nose, holes for the eyes and a slit of a mouth."""
    x, y = np.meshgrid(np.linspace(-1.35, 1.35, COLUMNS), np.linspace(-1.5, 2.2, ROWS))
    z = 0.45 - 0.55 * np.abs(x) ** 2.2 - 0.25 * np.maximum(-0.5 - y, 0) ** 2
    z += 0.30 * np.exp(-((x / 0.15) ** 2) - ((y - 0.45) / 0.28) ** 2)
    points = np.stack([x, y, z], 2).reshape(-1, 3)
    i = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    middle = points[triangles].mean(1)
    eye = ((np.abs(middle[:, 0]) - 0.5) / 0.20) ** 2 + (middle[:, 1] / 0.065) ** 2 < 1
    slit = (np.abs(middle[:, 0]) < 0.34) & (np.abs(middle[:, 1] - 1.10) < 0.03)
    return points, triangles[~(eye | slit)]


def _ball(centre: tuple[float, float, float], radius: float, cells: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A sphere, its triangles facing outward."""
    t, s = np.meshgrid(np.linspace(0, np.pi, cells), np.linspace(0, 2 * np.pi, cells + 1))
    points = np.stack([np.sin(t) * np.cos(s), -np.cos(t), np.sin(t) * np.sin(s)], 2).reshape(-1, 3) * radius + centre
    i = np.arange(points.shape[0]).reshape(cells + 1, cells)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return points, _outward(points, triangles, np.array(centre))


def _outward(points: np.ndarray, triangles: np.ndarray, centre: np.ndarray) -> np.ndarray:
    corner = points[triangles]
    # y points down here, so the outward order is that of a left-handed frame
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 1] - corner[:, 0])
    inward = ((corner.mean(1) - centre) * normal).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    return triangles


@cache
def miniature() -> FaceKit:
    """The model as arrays."""
    parts, points, triangles, start = [], [], [], 0
    pieces = {
        "face": _sheet(), "head": _ball((0, -0.2, -1.1), 1.35, 18), "mouth_socket": _ball((0, 1.1, 0.0), 0.25, 6),
        "eye_socket": _ball((0, -3.0, -1.0), 0.05, 4), "gums": _ball((0, 1.1, 0.2), 0.12, 6),
        "teeth": _ball((0, 1.08, 0.3), 0.10, 6), "eye_left": _ball((0.5, 0.0, 0.02), 0.24),
        "iris_left": _ball((0.5, 0, 0.2), 0.05, 4), "eye_right": _ball((-0.5, 0.0, 0.02), 0.24),
        "iris_right": _ball((-0.5, 0, 0.2), 0.05, 4), "extras": _ball((0, 0, 0), 0.02, 4),
    }  # fmt: skip
    for name, (vertices, faces) in pieces.items():
        parts.append((name, start))
        points.append(vertices)
        triangles.append(faces + start)
        start += len(vertices)
    own = np.concatenate(points)
    sheet = own[: ROWS * COLUMNS]
    landmarks = tuple(int(np.hypot(*(sheet[:, :2] - point).T).argmin()) for point in POINTS)
    layout = Layout(len(own), IDENTITIES, tuple(parts), landmarks)
    flip = np.array([CM, -CM, CM])
    shapes = {name: _shape(own, name) * flip for name in EXPRESSIONS}
    rng = np.random.default_rng(3)
    identities = [
        _wide(own, axis, size) * flip for axis, size in zip(range(3), rng.uniform(0.02, 0.04, 3), strict=True)
    ]
    return FaceKit(
        (own * flip + [0, 3.6, 8.4]).astype(np.float32), np.concatenate(triangles).astype(np.int32),
        np.array(identities, np.float16), {name: shape.astype(np.float16) for name, shape in shapes.items()}, layout,
    )  # fmt: skip


def _wide(points: np.ndarray, axis: int, size: float) -> np.ndarray:
    offset = np.zeros_like(points)
    offset[:, axis] = size * points[:, axis]
    return offset


def _shape(points: np.ndarray, name: str) -> np.ndarray:
    stem, _, side = name.partition("_")
    x, y, spread, move = _ACTS[stem]
    sign = {"L": 1, "R": -1, "": 1}[side]
    zone = np.exp(-(((points[:, 0] - sign * x) / spread) ** 2) - ((points[:, 1] - y) / spread) ** 2)
    zone[zone < 1e-3] = 0
    if stem == "jawOpen":
        zone[points[:, 1] < 1.10] = 0
    return zone[:, None] * np.array(move) * [sign, 1, 1]


def write_npz(path: Path) -> Path:
    """The model as one file of arrays."""
    miniature().save(path)
    return path


def write_folder(folder: Path) -> Path:
    """The model as a folder of OBJ files, quads and all, as the release lays them out."""
    kit = miniature()
    model = folder / "FaceXModel"
    model.mkdir(parents=True)
    lines = [f"f {a + 1}/{a + 1} {b + 1}/{b + 1} {c + 1}/{c + 1}" for a, b, c in kit.triangles.tolist()]
    text = "\n".join(["mtllib some.mtl", _vertices(kit.base), "vt 0.5 0.5", "usemtl M_Face", *lines, ""])
    (model / "generic_neutral_mesh.obj").write_text(text, encoding="utf-8")
    for i, offset in enumerate(kit.identities):
        (model / f"identity{i:03d}.obj").write_text(_vertices(kit.base + offset), encoding="utf-8")
    for name, offset in kit.expressions.items():
        (model / f"{name}.obj").write_text(_vertices(kit.base + offset), encoding="utf-8")
    indices = {"expressions": list(kit.expressions), "idx_to_landmark_verts": list(kit.layout.landmarks)}
    (model / "vertex_indices.json").write_text(json.dumps(indices), encoding="utf-8")
    return folder


def _vertices(points: np.ndarray) -> str:
    return "\n".join(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points.tolist()) + "\n"


def bare(path: Path) -> Path:
    """The model as a file of arrays that names no layout, as one of the real model does."""
    with np.load(write_npz(path)) as stored:
        arrays = {name: stored[name] for name in ("base", "faces", "idn", "exn", "ex")}
    np.savez(path, **arrays)
    return path


def read(path: Path) -> FaceKit:
    """What the reader makes of a miniature."""
    return read_facekit(path, miniature().layout)
