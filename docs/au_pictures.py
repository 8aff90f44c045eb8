"""An image of every rendered action unit, beside the same face at rest: drawn when the documentation is built.

    python docs/au_pictures.py

makes the row of faces in README.md from those of the last build.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from auformer.data.images import read_image, write_image
from auformer.synthetic import AU_NAMES, Identity, Renderer, sample_scene

SIZE, FACE, SCENE = 160, 18, 7  # pixels per side; an identity without glasses and beard; the light
STRIP = ("AU1", "AU4", "AU6", "AU12", "AU25")  # in README.md, after the face at rest
BESIDE = {"AU26": ("AU25",), "AU27": ("AU25",)}  # the jaw drops with parted lips, as it nearly always does


def write_au_images(folder: Path) -> dict[str, Path]:
    """Write `AU12.png` and so on: left at rest, right the AU at full strength; returns the file of each AU."""
    renderer = Renderer(SIZE)
    face = renderer.bake(Identity.sample(FACE))
    scene, background = sample_scene(np.random.default_rng(SCENE), "A", pose_scale=0.0, jitter=False, roll=False)
    scene.update(gaze=(0.0, 0.0), speech=dict.fromkeys(scene["speech"], 0.0))
    wall = renderer.background(np.random.default_rng(SCENE), **background)

    def draw(*active: str) -> np.ndarray:
        intensity = np.zeros((len(AU_NAMES), 2), np.float32)
        intensity[[AU_NAMES.index(name) for name in active]] = 1.0
        return renderer.render(face, intensity, scene=scene, background=wall).image

    rest, files = draw(), {}
    for name in AU_NAMES:
        pair = np.hstack([rest, np.full((SIZE, 4, 3), 255, np.uint8), draw(name, *BESIDE.get(name, ()))])
        files[name] = folder / f"{name}.png"
        write_image(files[name], cv2.resize(pair, None, fx=1.25, fy=1.25, interpolation=cv2.INTER_CUBIC))
    return files


def write_strip(folder: Path, out: Path) -> None:
    """The row of faces in README.md, from the images that `write_au_images` left in a folder."""
    pairs = [read_image(folder / f"{name}.png") for name in STRIP]
    side = pairs[0].shape[0]
    row = np.hstack([pairs[0][:, :side], *[pair[:, -side:] for pair in pairs]])
    write_image(out, cv2.resize(row, None, fx=0.64, fy=0.64, interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    docs = Path(__file__).parent
    write_strip(docs / "_generated" / "au", docs / "images" / "action_units.png")
