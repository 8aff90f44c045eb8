"""What is to be rendered of one scanned subject, image by image, before a pixel is drawn [ours]."""

from __future__ import annotations

from collections.abc import Iterator

from auformer.synthetic.frames import MUSCLES, SCENE, Frame, SceneOptions, identity_number, stream, subject_name
from auformer.synthetic.scanned.expressions import sample_expression
from auformer.synthetic.scanned.scenes import sample_scene

#: Scanned faces have numbers of their own, so that none has even the colours of a drawn one, nor of the other lab's.
FIRST_PERSON = {"A": 400_000, "B": 600_000}


def person_number(lab: str, number: int) -> int:
    """The person of a lab's scanned subject.

    >>> person_number("A", 12), person_number("B", 12)
    (400012, 600012)

    Raises:
        ValueError: Unknown lab, or `number` outside 0 to 99,999.
    """
    identity_number(lab, number)  # the drawn faces' checks
    return FIRST_PERSON[lab] + number


def scanned_name(lab: str, number: int) -> str:
    """The manifest's name of a scanned subject.

    >>> scanned_name("A", 12)
    'SA00012'
    """
    return f"S{subject_name(lab, number)}"


def plan_scanned(
    lab: str, number: int, frames: int, *, seed: int = 0, options: SceneOptions | None = None
) -> Iterator[Frame]:
    """Unconnected images of one scanned subject; the face does not depend on the seed, nor a frame on their number.

    The lab decides how the coders label and which expressions the share of its own sampler has; the scenes are those of
    photographs in both.
    """
    person, chosen = person_number(lab, number), options or SceneOptions()
    for frame in range(frames):
        intensity, kind = sample_expression(stream(seed, person, MUSCLES, frame), lab)
        rng = stream(seed, person, SCENE, frame)
        scene, background = sample_scene(rng, pose_scale=chosen.pose_scale, jitter=chosen.jitter, roll=chosen.roll)
        seeds = rng.integers(2**31, size=2)
        yield Frame(
            "stills", frame, intensity, scene, background, int(seeds[0]), int(seeds[1]), truth={"expression": kind}
        )
