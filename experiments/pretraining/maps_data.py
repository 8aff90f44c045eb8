"""Rendered faces for the maps of `fit_maps`: images of both renderers, and what each of their action units changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from auformer.data.images import read_image
from auformer.data.manifest import read_manifest
from auformer.synthetic.change import change_path, read_changes, write_changes
from auformer.synthetic.writing import render_dataset

FINE = 28  # cells per side of the changes that are kept, so that they can be moved as the images are [ours]
FIRST = {"train": 52_000, "test": 54_000}  # subjects that nothing else uses
#: Subjects and images of each, by part and set: labs A and B of the first renderer, and the second one's. [ours]
SIZES = {
    "train": {"a": (60, 20), "b": (30, 20), "scanned": (15, 20)},
    "test": {"a": (12, 20), "b": (12, 20), "scanned": (6, 20)},
}


class Faces(NamedTuple):
    """Images with the changes of their action units (AUs).

    Args:
        images: (n, 112, 112, 3) uint8 RGB.
        changes: (n, N, 28, 28) float32 in [0, 1], zeros where an AU is not labelled active.
        active: (n, N) bool, whether there is a change.
    """

    images: np.ndarray
    changes: np.ndarray
    active: np.ndarray


def render(folder: Path, facekit: Path) -> dict[str, dict[str, Path]]:
    """All sets with their changes, as far as they are not there yet: manifests by part and set."""
    found: dict[str, dict[str, Path]] = {}
    for part, sets in SIZES.items():
        for name, (subjects, frames) in sets.items():
            manifest = folder / f"{part}-{name}" / "manifest.csv"
            if not change_path(manifest).is_file():
                how: dict[str, Any] = {"lab": "B" if name == "b" else "A", "subjects": subjects, "frames": frames}
                kit = facekit if name == "scanned" else None
                how |= {} if kit is None else {"geometry": "scanned", "facekit": kit}
                render_dataset(manifest.parent, au_names="all", first_subject=FIRST[part], progress=True, **how)
                write_changes(manifest, cells=FINE, facekit=kit, progress=True)
            found.setdefault(part, {})[name] = manifest
    return found


def load(manifest: Path, au_names: tuple[str, ...]) -> Faces:
    """The images of a manifest and their changes."""
    table, changes = read_manifest(manifest), read_changes(manifest, au_names)
    assert changes is not None
    images = np.stack([read_image(manifest.parent / name) for name in table["image"]])
    return Faces(images, changes, changes.max((2, 3)) > 0)
