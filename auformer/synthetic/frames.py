"""What is to be rendered for one subject, frame by frame, before a pixel is drawn [ours].

Every frame draws from random streams of its own, keyed by (seed, identity, frame), so a frame is the same whatever the
number of frames, of workers or the order of work, and labels can be sampled without rendering.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auformer.synthetic.sampling import lab_table, sample_aus, sample_scene

#: Each lab has faces of its own, so that none stands before the cameras of two labs; those from 100,000 to 199,999 are
#: kept for the pre-training of the demo backbone (experiments/pretraining/pretrain_data.py); no data set may show them.
LAB_IDENTITIES = 100_000
FIRST_IDENTITY = {"A": 0, "B": 200_000}
MUSCLES, SCENE, CLIP, VIDEO = 1, 2, 3, 4  # keys of the random streams of a frame, of a clip, or of a video


@dataclass(frozen=True)
class Frame:
    """One image to be made.

    Args:
        sequence: Name of the video; `stills` for unconnected images.
        number: Frame number within it.
        intensity: (N, 2) muscle intensities in [0, 1], columns image left and image right.
        scene: Arguments of the renderer: pose, jitter of the crop, light, camera, gaze, speech.
        background: Arguments of `Renderer.background`.
        background_seed: Seed of the background's random numbers.
        seed: Seed of the camera noise.
        present: (N, 2) labels that hold for the whole clip, or None where the lab's threshold decides.
        clip: The manifest's clip columns, empty for stills and videos.
        time_s: Seconds from the first frame of a video, None elsewhere.
        truth: Further columns of the table of truth.
    """

    sequence: str
    number: int
    intensity: np.ndarray
    scene: dict[str, Any]
    background: dict[str, Any]
    background_seed: int
    seed: int
    present: np.ndarray | None = None
    clip: dict[str, Any] = field(default_factory=dict)
    time_s: float | None = None
    truth: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneOptions:
    """How far pose and crop vary from image to image.

    Args:
        pose_scale: Factor on the spread of the head pose, 0 for frontal faces.
        jitter: Whether the crop's centre and side vary around the `eyes` recipe.
        roll: Whether the head rolls.
    """

    pose_scale: float = 1.0
    jitter: bool = True
    roll: bool = True

    def sample(self, rng: np.random.Generator, lab: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A lab's scene and background."""
        return sample_scene(rng, lab, pose_scale=self.pose_scale, jitter=self.jitter, roll=self.roll)


def identity_number(lab: str, number: int) -> int:
    """The face of a lab's subject: another one in each lab, the same under every seed.

    >>> identity_number("A", 12), identity_number("B", 12)
    (12, 200012)

    Raises:
        ValueError: Unknown lab, or `number` outside 0 to 99,999.
    """
    lab_table(lab)  # raises for an unknown lab
    if not 0 <= number < LAB_IDENTITIES:
        raise ValueError(f"Expected a subject's number to be in 0 to {LAB_IDENTITIES - 1}, but got {number}")
    return FIRST_IDENTITY[lab] + number


def subject_name(lab: str, number: int) -> str:
    """The manifest's name of a subject.

    >>> subject_name("A", 12)
    'A00012'
    """
    return f"{lab}{number:05d}"


def stream(seed: int, identity: int, key: int, index: int) -> np.random.Generator:
    """The random stream of one frame or clip."""
    return np.random.default_rng([8112, seed, identity, key, index])


def sample_intensity(lab: str, number: int, frame: int, seed: int) -> np.ndarray:
    """Muscle intensities `(N, 2)` in [0, 1] of one still, columns image left and image right; no rendering needed."""
    return sample_aus(stream(seed, identity_number(lab, number), MUSCLES, frame), lab)[1]


def plan_stills(
    lab: str, number: int, frames: int, *, seed: int = 0, options: SceneOptions | None = None
) -> Iterator[Frame]:
    """Unconnected images of one subject of a lab; the face does not depend on the seed."""
    identity = identity_number(lab, number)
    for frame in range(frames):
        rng = stream(seed, identity, SCENE, frame)
        scene, background = (options or SceneOptions()).sample(rng, lab)
        seeds = rng.integers(2**31, size=2)
        yield Frame(
            "stills", frame, sample_intensity(lab, number, frame, seed), scene, background, int(seeds[0]), int(seeds[1])
        )
