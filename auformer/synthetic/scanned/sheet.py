"""Contact sheets of the scanned renderer: every action unit (AU) on one face, and faces in their scenes [ours]."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np

from auformer.data.images import write_image
from auformer.synthetic.canvas import Array, F
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.scanned.expressions import sample_expression
from auformer.synthetic.scanned.facekit import FaceKit
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.renderer import ScannedFace, ScannedRenderer
from auformer.synthetic.scanned.scenes import sample_scene

#: Columns of an AU's row: intensity of the image-left and the image-right half.
COLUMNS = ((0.0, 0.0), (0.3, 0.3), (0.6, 0.6), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
TITLES = ("0", ".3", ".6", "1", "person's right", "person's left")
HEADER = 20  # pixels
#: AUs that never act alone: what acts with them, and how strongly at full intensity.
TOGETHER = {"AU26": {"AU25": 1.0}, "AU27": {"AU25": 1.0}, "AU16": {"AU25": 0.5}, "AU22": {"AU25": 0.5}}


def au_sheet(renderer: ScannedRenderer, face: ScannedFace, names: tuple[str, ...] = AU_NAMES) -> Array:
    """A row for every AU: at 0, .3, .6 and 1 on both halves, then at 1 on either half; uint8 RGB."""
    rows = []
    for name in names:
        images = []
        for sides in COLUMNS:
            a = np.zeros((len(AU_NAMES), 2), F)
            a[AU_NAMES.index(name)] = sides
            for other, share in TOGETHER.get(name, {}).items():
                a[AU_NAMES.index(other)] = share * max(sides)
            images.append(renderer.render(face, a).image)
        cv2.putText(images[0], name, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(images[0], name, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        rows.append(np.hstack(images))
    header = np.full((HEADER, rows[0].shape[1], 3), 255, np.uint8)
    for i, title in enumerate(TITLES):
        cv2.putText(
            header, title, (i * renderer.size + 4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA
        )
    return np.vstack([header, *rows])


def scene_sheet(renderer: ScannedRenderer, first: int, seed: int = 0, rows: int = 8, columns: int = 10) -> Array:
    """Faces from number `first` on, a row for every two of them, in sampled scenes and expressions; uint8 RGB."""
    lines = []
    for row in range(rows):
        images = []
        for half in range(2):
            number = first + 2 * row + half
            face = renderer.bake(Person.sample(number))
            for i in range(columns // 2):
                rng = np.random.default_rng([660, seed, number, i])
                a, _ = sample_expression(rng, "A")
                scene, wall = sample_scene(rng)
                background = renderer.background(rng, **wall)
                images.append(renderer.render(face, a, scene=scene, background=background, seed=i).image)
        lines.append(np.hstack(images))
    return np.vstack(lines)


def write_sheets(folder: str | Path, kit: FaceKit, size: int = 112, seed: int = 0, first: int = 400_000) -> list[Path]:
    """Write `sheet_aus.png` and `sheet_scenes.png` into a folder -> their paths.

    The face of the first is the next one from `first` on with bare eyes and forehead.

    Raises:
        OSError: A file cannot be written.
    """
    renderer = ScannedRenderer(kit, size)
    shown = next(person for person in map(Person.sample, count(first)) if _bare(person))
    paths = [Path(folder) / "sheet_aus.png", Path(folder) / "sheet_scenes.png"]
    write_image(paths[0], au_sheet(renderer, renderer.bake(shown)))
    write_image(paths[1], scene_sheet(renderer, first, seed))
    return paths


def _bare(person: Person) -> bool:
    return person["lens"] == "none" and person["hat"] == "none" and person["style"] in ("short", "buzz", "tied")
