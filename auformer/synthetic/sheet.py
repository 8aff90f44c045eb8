"""The contact sheet: what the renderer can do on one page, to be looked at [ours].

Left: every action unit (AU) from rest to full strength on one face. Right: identities, images of lab A and lab B,
frames of one clip, AUs that come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from auformer.data.images import write_image
from auformer.synthetic.clips import plan_clips
from auformer.synthetic.frames import Frame, identity_number, plan_stills, stream
from auformer.synthetic.identity import Identity
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.renderer import Face, Renderer
from auformer.synthetic.sampling import LABS, sample_scene

INTENSITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: AUs whose cues meet, shown together: the right block then has as many rows as there are AUs.
TOGETHER = (
    ("AU16", "AU25"), ("AU22", "AU25"), ("AU26", "AU28"), ("AU10", "AU16", "AU25"),
    ("AU1", "AU2", "AU5", "AU25", "AU27"),
    ("AU4", "AU43"), ("AU6", "AU12", "AU43"),
)  # fmt: skip
COLUMNS, IDENTITY_ROWS, LAB_ROWS = 6, 6, 5  # rows on the right: 6 + 5 + 5 + 1 of a clip + 7 of AUs together
BESIDE = {"AU26": ("AU25",), "AU27": ("AU25",)}  # the jaw drops with parted lips, as it nearly always does
HEADER, GAP = 20, 12  # pixels
SHOWN_SCENE = 7  # random stream of the one scene that identities and AUs are lit by


def contact_sheet(size: int = 112, seed: int = 0, first_subject: int = 0) -> np.ndarray:
    """Draw the sheet: RGB uint8, 24 faces of `size` pixels high and 12 wide.

    The seed is of scenes and expressions; `first_subject` is the first face shown.
    """
    studio = Studio(size, seed)
    left = [studio.au_row([name, *BESIDE.get(name, ())], first_subject) for name in AU_NAMES]
    right = _rows([studio.neutral(first_subject + i) for i in range(IDENTITY_ROWS * COLUMNS)], "identities")
    for lab in LABS:
        numbers = range(first_subject, first_subject + LAB_ROWS * COLUMNS)
        images = [studio.draw(lab, number, next(plan_stills(lab, number, 1, seed=seed))) for number in numbers]
        right += _rows(images, f"lab {lab}")
    right += _rows(studio.clip(first_subject), "clip AU12")
    right += [studio.au_row(names, first_subject) for names in TOGETHER]
    gap = np.full((HEADER + len(AU_NAMES) * size, GAP, 3), 255, np.uint8)
    return np.hstack([_block(left, [f"{value:.1f}" for value in INTENSITIES]), gap, _block(right, [""] * COLUMNS)])


def write_sheet(path: str | Path, size: int = 112, seed: int = 0, first_subject: int = 0) -> Path:
    """Write the contact sheet as PNG; arguments as in `contact_sheet`.

    Raises:
        OSError: The file cannot be written.
    """
    write_image(path, contact_sheet(size, seed, first_subject))
    return Path(path)


class Studio:
    """Draws single images of given frames; every face is baked once."""

    def __init__(self, size: int, seed: int) -> None:
        self.renderer, self.seed = Renderer(size), seed
        self.faces: dict[int, Face] = {}

    def draw(self, lab: str, number: int, frame: Frame) -> np.ndarray:
        """One frame of a subject."""
        identity = identity_number(lab, number)
        if identity not in self.faces:
            self.faces[identity] = self.renderer.bake(Identity.sample(identity))
        background = self.renderer.background(np.random.default_rng(frame.background_seed), **frame.background)
        return self.renderer.render(
            self.faces[identity], frame.intensity, scene=frame.scene, background=background, seed=frame.seed
        ).image

    def posed(self, number: int, active: Sequence[str], value: float) -> np.ndarray:
        """A subject in lab A's light, frontal, looking ahead, with some AUs at one intensity."""
        scene, background = sample_scene(
            stream(self.seed, SHOWN_SCENE, 0, 0), "A", pose_scale=0.0, jitter=False, roll=False
        )
        scene.update(gaze=(0.0, 0.0), speech=dict.fromkeys(scene["speech"], 0.0))
        intensity = np.zeros((len(AU_NAMES), 2), np.float32)
        intensity[[AU_NAMES.index(name) for name in active]] = value
        return self.draw("A", number, Frame("sheet", 0, intensity, scene, background, self.seed, self.seed))

    def neutral(self, number: int) -> np.ndarray:
        """A subject at rest."""
        return self.posed(number, [], 0.0)

    def au_row(self, names: Sequence[str], number: int) -> list[np.ndarray]:
        """AUs over the intensities."""
        return _titled([self.posed(number, names, value) for value in INTENSITIES], "+".join(names))

    def clip(self, number: int) -> list[np.ndarray]:
        """Frames of a clip, evenly from onset to offset."""
        frames = list(plan_clips("A", number, 1, ("AU12",), seed=self.seed))
        return [self.draw("A", number, frames[i]) for i in np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)]


def _titled(row: list[np.ndarray], title: str) -> list[np.ndarray]:
    """A row with its title on the first image, in white on a dark rim."""
    for width, shade in ((3, 0), (1, 255)):
        cv2.putText(row[0], title, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (shade,) * 3, width, cv2.LINE_AA)
    return row


def _rows(images: list[np.ndarray], title: str) -> list[list[np.ndarray]]:
    """Images in rows of the sheet's width, the first row titled."""
    return [_titled(images[i : i + COLUMNS], title if i == 0 else "") for i in range(0, len(images), COLUMNS)]


def _block(rows: list[list[np.ndarray]], headings: list[str]) -> np.ndarray:
    """Rows of images under one line of column headings."""
    size = rows[0][0].shape[0]
    header = np.full((HEADER, COLUMNS * size, 3), 255, np.uint8)
    for column, text in enumerate(headings):
        left = column * size + size // 2 - 12
        cv2.putText(header, text, (left, HEADER - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([header, *(np.hstack(row) for row in rows)])
