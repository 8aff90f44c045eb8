"""Where an action unit (AU) shows: the same rendered face with and without it, and the difference on a grid [ours].

Everything else is equal, to the pixel: identity, other muscles, light, pose, background and camera noise. So the
difference is what the AU changes in this image, which no annotation of photographs can give. Serves as a target of
attention, and to score maps that claim to say where a network looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from auformer.data.manifest import KEY, read_manifest
from auformer.errors import ManifestError
from auformer.files import atomic_path, digest
from auformer.synthetic.canvas import Array
from auformer.synthetic.frames import Frame
from auformer.synthetic.identity import Identity
from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.renderer import Renderer
from auformer.synthetic.scanned.facekit import read_facekit
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.renderer import ScannedRenderer

CELLS = 7  # per side: the patch grid of the demo backbone, 112 pixels in patches of 16


class Pairs:
    """Draws frames of rendered subjects with and without an AU.

    Args:
        parameters: Those of the data set, as its sidecar holds them.
        facekit: The user's copy of ICT-FaceKit, where faces are scanned.

    Raises:
        ValueError: Faces are scanned and there is no copy, or another one.
    """

    def __init__(self, parameters: DatasetParameters, facekit: str | Path | None = None) -> None:
        self.parameters = parameters
        self._renderer: Any
        if not parameters.scanned:
            self._renderer = Renderer(parameters.size)
            return
        if facekit is None:
            raise ValueError("Expected `facekit`, the copy of ICT-FaceKit that the faces were drawn from, but got none")
        kit = read_facekit(facekit)
        if kit.digest != parameters.facekit:
            raise ValueError(f"Expected the copy of ICT-FaceKit with digest {parameters.facekit}, but got {kit.digest}")
        self._renderer = ScannedRenderer(kit, parameters.size)

    def bake(self, number: int) -> Any:
        """The face of the subject with this number in the data set."""
        person = self.parameters.person(number)
        return self._renderer.bake(Person.sample(person) if self.parameters.scanned else Identity.sample(person))

    def draw(self, face: Any, frame: Frame) -> Array:
        """The image of a frame, uint8 RGB `(S, S, 3)`, as `auformer synth` draws it before it is compressed."""
        wall = self._renderer.background(np.random.default_rng(frame.background_seed), **frame.background)
        image: Array = self._renderer.render(
            face, frame.intensity, scene=frame.scene, background=wall, seed=frame.seed
        ).image
        return image

    def change(self, face: Any, frame: Frame, au: str, image: Array, cells: int = CELLS) -> Array:
        """What one AU changes in an image that `draw` gave: float32 `(cells, cells)`, see `difference`."""
        return difference(image, self.draw(face, without(frame, au)), cells)


def without(frame: Frame, au: str) -> Frame:
    """A frame in which one AU is at rest on both sides, and all else is as it was.

    Raises:
        ValueError: The renderer does not know the AU.
    """
    if au not in INDEX:
        raise ValueError(f"Expected `au` to be one of {', '.join(AU_NAMES)}, but got {au!r}")
    intensity = frame.intensity.copy()
    intensity[INDEX[au]] = 0
    return replace(frame, intensity=intensity)


def difference(first: Array, second: Array, cells: int = CELLS) -> Array:
    """Mean absolute difference of two uint8 images `(S, S, 3)` in each cell of a grid, float32 in [0, 1].

    >>> one, two = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    >>> two[:2, 2:] = 51
    >>> difference(one, two, 2).tolist()
    [[0.0, 0.20000000298023224], [0.0, 0.0]]
    """
    apart = cv2.absdiff(first, second).astype(np.float32).mean(-1) / np.float32(255)
    return cv2.resize(apart, (cells, cells), interpolation=cv2.INTER_AREA)


def change_path(manifest: str | Path) -> Path:
    """Where the maps of a manifest lie: `faces/manifest.csv` has `faces/manifest.change.npz`."""
    path = Path(manifest)
    return path.with_name(f"{path.stem}.change.npz")


def write_changes(
    manifest: str | Path, *, cells: int = CELLS, facekit: str | Path | None = None, progress: bool = False
) -> Path:
    """Draw every image of a rendered data set again without each of its active AUs, and keep the maps beside it.

    Args:
        manifest: Manifest of stills that `auformer synth` wrote.
        cells: Cells per side of the maps.
        facekit: As for `Pairs`.
        progress: Whether a bar is shown on the error stream.

    Returns:
        The file: `maps (rows, N, cells, cells)` float16, zeros where an AU is not labelled active; `au_names`; `rows`,
        a digest of the manifest's keys.

    Raises:
        ManifestError: The manifest is not of rendered stills, or its rows are not those that were rendered.
        ValueError: As `Pairs`.
    """
    table = read_manifest(manifest)
    parameters = _parameters(table, Path(manifest))
    pairs, names = Pairs(parameters, facekit), list(parameters.au_names)
    maps = np.zeros((len(table), len(names), cells, cells), np.float16)
    subjects = tqdm(parameters.numbers, desc="changes", unit="subject", disable=not progress)
    for row, face, frame in _rows(table, pairs, subjects):
        active = [place for place, au in enumerate(names) if table[au].iat[row] == 1]
        if not active:
            continue
        image = pairs.draw(face, frame)
        for place in active:
            maps[row, place] = pairs.change(face, frame, names[place], image, cells)
    path = change_path(manifest)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, maps=maps, au_names=np.array(names), rows=np.array(_keys(table)))
    return path


def _parameters(table: pd.DataFrame, manifest: Path) -> DatasetParameters:
    plain = {name: value for name, value in (table.attrs["side"].get("parameters") or {}).items() if name != "renderer"}
    try:
        parameters = DatasetParameters(**{**plain, "au_names": tuple(plain.get("au_names", ()))})
        if not parameters.frames or parameters.videos:
            raise ValueError("it holds clips or videos")
    except (TypeError, ValueError) as error:
        raise ManifestError(f"Expected {manifest} to be stills that `auformer synth` rendered, but {error}") from error
    return parameters


def _rows(table: pd.DataFrame, pairs: Pairs, numbers: Any) -> Iterator[tuple[int, Any, Frame]]:
    """Each row of the manifest that was rendered: its place, the baked face, its frame."""
    places = {key: row for row, key in enumerate(zip(table["subject"], table["frame"], strict=True))}
    found = 0
    for number in numbers:
        name, face = pairs.parameters.name(number), pairs.bake(number)
        for frame in pairs.parameters.plan(number):
            row = places.get((name, frame.number))
            if row is not None:
                found += 1
                yield row, face, frame
    if found != len(table):
        raise ManifestError(f"Expected the {len(table)} rows of a rendered data set, but only {found} were rendered")


def _keys(table: pd.DataFrame) -> str:
    return digest(pd.util.hash_pandas_object(table[list(KEY)], index=False).to_numpy().tobytes().hex())


def read_changes(manifest: str | Path, au_names: Sequence[str]) -> Array | None:
    """Maps of some AUs `(rows, N, cells, cells)` float32 in the order of a manifest's rows; None where there are none.

    An AU that the file lacks has zeros, as one that is not active.

    Raises:
        ManifestError: The file is damaged, or belongs to other rows.
    """
    path = change_path(manifest)
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as content:
            maps, names, keys = content["maps"], content["au_names"].tolist(), str(content["rows"])
    except Exception as error:  # numpy and zipfile raise many kinds
        raise ManifestError(f"{path} is damaged ({error}): remove it, or write it again") from error
    if keys != _keys(read_manifest(manifest)) or maps.ndim != 4:
        raise ManifestError(f"{path} belongs to other rows than {manifest} has: remove it, or write it again")
    chosen = np.zeros((len(maps), len(au_names), *maps.shape[2:]), np.float32)
    for place, au in enumerate(au_names):
        if au in names:
            chosen[:, place] = maps[:, names.index(au)]
    return chosen


def mean_changes(maps: Array) -> Array:
    """The mean map per AU over the images where it shows, each of sum 1: `(n, N, h, w)` to `(N, h, w)`.

    An AU that never shows has zeros.
    """
    total = maps.sum(0)
    mass = total.sum((1, 2), keepdims=True)
    return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


@cache
def _regions() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("auformer").joinpath("assets/au_regions.json").read_text("utf-8"))
    return content


def fixed_regions(au_names: Sequence[str], grid: tuple[int, int]) -> Array:
    """A region per AU in the `eyes` crop, fixed by us: what it changes on average in rendered faces.

    Args:
        au_names: The N AUs; one that is not rendered has a uniform map.
        grid: Rows and columns.

    Returns:
        `(N, h, w)` float32, each of sum 1.
    """
    rows, columns = grid
    found = []
    for au in au_names:
        known = np.array(_regions()["maps"].get(au, np.ones((CELLS, CELLS))), np.float32)
        region = np.asarray(cv2.resize(known, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
        found.append(region / region.sum())
    return np.stack(found)
