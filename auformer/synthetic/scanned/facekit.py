"""Reads a user's own copy of ICT-FaceKit: a folder of OBJ files as released, or one file of arrays.

ICT-FaceKit (light) is a morphable face model of the USC Institute for Creative Technologies under the MIT licence,
https://github.com/ICT-VGL/ICT-FaceKit. This package holds none of its arrays: it reads them from where the user keeps
them. Two forms are read:

    FaceXModel/generic_neutral_mesh.obj, identity000.obj ... identity099.obj, browDown_L.obj ..., vertex_indices.json
    NAME.npz with `base` (V, 3), `faces` (T, 3), `idn` (K, V, 3), `exn` (E,), `ex` (E, V, 3); where the mesh is another
    one, also `parts` (names), `starts` (first vertex of each) and `landmarks` (68,)

Nothing in them is ever run: OBJ and JSON are read as text, arrays without pickle. Lengths are the model's own,
centimetres, y up, z to the camera.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auformer.synthetic.canvas import Array, F

NEUTRAL, INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"
ARRAYS = ("base", "faces", "idn", "exn", "ex")
LAYOUT_ARRAYS = ("parts", "starts", "landmarks")
#: Vertices of the 68 landmarks, in the usual order (jaw, brows, nose, eyes, lips): README of ICT-FaceKit, "Facial
#: Landmarks". They tell this version of the model from earlier ones, whose vertices are ordered otherwise.
LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
_SIDED = (
    "browDown", "browInnerUp", "browOuterUp", "cheekRaiser", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookUp",
    "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress",
    "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
_WHOLE = (
    "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
)  # fmt: skip
#: The expression shapes that the renderer drives; a copy may hold more.
EXPRESSIONS = (*(f"{name}_{side}" for name in _SIDED for side in "LR"), *_WHOLE)


@dataclass(frozen=True)
class Layout:
    """What a version of the model looks like.

    Args:
        vertices: Number of vertices.
        identities: Number of identity shapes.
        parts: Name and first vertex of every part, in order; README of ICT-FaceKit, "Face Model Topology" and
            "Eyeball Details".
        landmarks: Vertices of the 68 landmarks.
    """

    vertices: int
    identities: int
    parts: tuple[tuple[str, int], ...]
    landmarks: tuple[int, ...]


#: The light model as released since 2021 (commit da5f95a607f5 of the repository).
LIGHT = Layout(
    26719, 100,
    (
        ("face", 0), ("head", 9409), ("mouth_socket", 11248), ("eye_socket", 13294), ("gums", 14062), ("teeth", 17039),
        ("eye_left", 21451), ("iris_left", 22221), ("eye_right", 23021), ("iris_right", 23791), ("extras", 24591),
    ),
    LANDMARKS,
)  # fmt: skip


@dataclass(frozen=True)
class FaceKit:
    """The arrays of one copy.

    Args:
        base: Neutral mesh `(V, 3)`.
        triangles: `(T, 3)` int32.
        identities: Offsets of the identity shapes `(K, V, 3)`.
        expressions: Offsets of the expression shapes by name, each `(V, 3)`.
        layout: The version.
        digest: First 12 hex digits of a SHA-256 over the arrays as they are used.
    """

    base: Array
    triangles: NDArray[np.int32]
    identities: Array
    expressions: dict[str, Array]
    layout: Layout
    digest: str = field(default="")

    def __post_init__(self) -> None:
        digest = sha256()
        for array in (self.base, self.triangles, self.identities, *(self.expressions[n] for n in EXPRESSIONS)):
            digest.update(np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "digest", digest.hexdigest()[:12])

    def save(self, path: Path) -> None:
        """Write the arrays as one `.npz` that `read_facekit` reads, so that workers need not parse text again."""
        names = list(self.expressions)
        np.savez(
            path, base=self.base, faces=self.triangles, idn=self.identities, exn=np.array(names),
            ex=np.stack([self.expressions[name] for name in names]), landmarks=np.array(self.layout.landmarks),
            parts=np.array([name for name, _ in self.layout.parts]),
            starts=np.array([start for _, start in self.layout.parts]),
        )  # fmt: skip


def read_facekit(path: str | Path, layout: Layout = LIGHT) -> FaceKit:
    """Read a copy of ICT-FaceKit.

    Args:
        path: The repository's folder, its folder `FaceXModel`, or a `.npz` of arrays.
        layout: The version to expect, where a `.npz` does not name its own.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: Files are missing, cannot be read, or belong to another version; the message names them.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Expected a copy of ICT-FaceKit at {path}, but there is nothing")
    return _read_folder(path, layout) if path.is_dir() else _read_arrays(path, layout)


def _read_arrays(path: Path, layout: Layout) -> FaceKit:
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in ARRAYS if name not in stored]
            if missing:
                raise ValueError(f"it has no {', '.join(missing)}")
            arrays = {name: stored[name] for name in ARRAYS}
            if all(name in stored for name in LAYOUT_ARRAYS):
                layout = _stored_layout(arrays, *(stored[name] for name in LAYOUT_ARRAYS))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"Expected {path} to be a .npz with {', '.join(ARRAYS)}, but {error}") from None
    names = [str(name) for name in arrays["exn"]]
    _check_names(path, [f"the shape {name}" for name in EXPRESSIONS if name not in names])
    shapes = {name: arrays["ex"][names.index(name)] for name in EXPRESSIONS}
    return _checked(path, arrays["base"], arrays["faces"], arrays["idn"], shapes, layout)


def _stored_layout(arrays: dict[str, Array], parts: Array, starts: Array, landmarks: Array) -> Layout:
    """The layout that a file of arrays names itself.

    Raises:
        ValueError: It does not fit the arrays.
    """
    count, names = len(arrays["base"]), [str(name) for name in parts]
    known = [name for name, _ in LIGHT.parts]
    if sorted(names) != sorted(known) or len(starts) != len(names):
        raise ValueError(f"its `parts` and `starts` do not name {', '.join(known)}")
    if landmarks.shape != (68,) or landmarks.min() < 0 or landmarks.max() >= count:
        raise ValueError(f"its `landmarks` are not 68 vertices below {count}")
    first = [int(start) for start in starts]
    if first != sorted(first) or first[0] != 0 or first[-1] >= count:
        raise ValueError(f"its `starts` do not rise from 0 to below {count}")
    chosen = tuple(int(vertex) for vertex in landmarks)
    return Layout(count, len(arrays["idn"]), tuple(zip(names, first, strict=True)), chosen)


def _read_folder(folder: Path, layout: Layout) -> FaceKit:
    model = folder / "FaceXModel" if (folder / "FaceXModel").is_dir() else folder
    identities = [f"identity{i:03d}.obj" for i in range(layout.identities)]
    files = [NEUTRAL, INDICES, *(f"{name}.obj" for name in EXPRESSIONS), *identities]
    _check_names(model, [name for name in files if not (model / name).is_file()])
    indices = _read_json(model / INDICES)
    if tuple(indices.get("idx_to_landmark_verts", ())) != layout.landmarks:
        raise ValueError(f"Expected {model / INDICES} to be of the current version, but its landmarks are others'")
    base, triangles = read_obj(model / NEUTRAL, faces=True)

    def offset(name: str) -> Array:
        vertices, _ = read_obj(model / name)
        if len(vertices) != len(base):
            raise ValueError(f"Expected {model / name} to have {len(base)} vertices, but it has {len(vertices)}")
        return (vertices - base).astype(F)

    shapes = {name: offset(f"{name}.obj") for name in EXPRESSIONS}
    return _checked(model, base, triangles, np.stack([offset(name) for name in identities]), shapes, layout)


def _check_names(path: Path, missing: list[str]) -> None:
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise ValueError(f"Expected a complete copy of ICT-FaceKit in {path}, but it lacks {shown}")


def _checked(
    path: Path, base: Array, triangles: Array, identities: Array, shapes: dict[str, Array], layout: Layout
) -> FaceKit:
    """The arrays, if they are of the version that the renderer knows."""
    found = {"vertices": len(base), "identity shapes": len(identities)}
    for what, number in (("vertices", layout.vertices), ("identity shapes", layout.identities)):
        if found[what] != number:
            raise ValueError(
                f"Expected the current version of ICT-FaceKit light in {path}, with {number} {what}, "
                f"but it has {found[what]}"
            )
    wanted = (len(base), 3)
    shaped = base.shape == wanted and identities.shape[1:] == wanted and triangles.ndim == 2 and triangles.shape[1] == 3
    if not shaped or any(shape.shape != wanted for shape in shapes.values()):
        raise ValueError(f"Expected the arrays in {path} to be of {len(base)} vertices each, but their shapes differ")
    if triangles.size == 0 or triangles.min() < 0 or triangles.max() >= len(base):
        raise ValueError(f"Expected the triangles in {path} to name vertices 0 to {len(base) - 1}, but some do not")
    numbers = (base, identities, *shapes.values())
    if not all(np.isfinite(values).all() for values in numbers):
        raise ValueError(f"Expected finite coordinates in {path}, but some are not")
    return FaceKit(
        np.asarray(base, F), np.asarray(triangles, np.int32), np.asarray(identities, np.float16),
        {name: np.asarray(shape, np.float16) for name, shape in shapes.items()}, layout,
    )  # fmt: skip


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected {path} to be JSON, but it cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}


def read_obj(path: Path, *, faces: bool = False) -> tuple[Array, NDArray[np.int32]]:
    """Vertices `(V, 3)` float64 and, if asked for, triangles `(T, 3)` of a Wavefront OBJ file.

    Polygons are cut into fans; texture and normal indices after a slash are passed over.

    Raises:
        ValueError: A line cannot be read; the message names it.
    """
    vertices: list[str] = []
    triangles: list[tuple[int, int, int]] = []
    line, number = "", 0
    try:
        with path.open(encoding="utf-8") as text:
            for line in text:
                number += 1
                if line.startswith("v "):
                    vertices.append(line[2:])
                elif faces and line.startswith("f "):
                    corner = [int(word.split("/", 1)[0]) - 1 for word in line[2:].split()]
                    triangles += [(corner[0], corner[i], corner[i + 1]) for i in range(1, len(corner) - 1)]
        values = np.array("".join(vertices).split(), dtype=np.float64)
        if len(values) != 3 * len(vertices) or not vertices:
            raise ValueError(f"{len(vertices)} vertices with {len(values)} coordinates")
    except UnicodeDecodeError:
        raise ValueError(f"Expected {path} to be a Wavefront OBJ file, but it is not text") from None
    except ValueError as error:
        raise ValueError(f"Expected {path} to be a Wavefront OBJ file, but near line {number}: {error}") from None
    return values.reshape(-1, 3), np.array(triangles, np.int32).reshape(-1, 3)
