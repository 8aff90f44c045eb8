"""Everything that decides the bytes of a rendered data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from auformer.aus import parse_au_names
from auformer.synthetic.frames import identity_number
from auformer.synthetic.labels import rendered_aus
from auformer.synthetic.sampling import lab_table
from auformer.synthetic.subject import SubjectJob

#: Modules of this package that decide neither pixels nor labels.
_NO_PIXELS = ("__init__.py", "folder.py", "parameters.py", "sheet.py", "writing.py")
SMALLEST, LARGEST = 32, 1024  # pixels per side [ours]


@cache
def renderer_fingerprint() -> str:
    """First 12 hex digits of a SHA-256 over the renderer's sources and tables, so that two versions never mix in one folder."""
    package = files("auformer")
    modules = sorted(
        item.name
        for item in (package / "synthetic").iterdir()
        if item.name.endswith(".py") and item.name not in _NO_PIXELS
    )
    digest = sha256()
    for name in (
        "assets/labs.json",
        "assets/muscles.json",
        "faces/align.py",
        *(f"synthetic/{name}" for name in modules),
    ):
        digest.update(name.encode() + (package / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class DatasetParameters:
    """Parameters of `render_dataset`, checked.

    Args:
        lab: "A" (expressive, even light) or "B" (sparse, side light, worse camera).
        subjects: number of faces, at least 1.
        frames: stills per subject, 0 where there are clips.
        clips: micro-expression clips per subject, 0 where there are stills.
        au_names: AUs with labels, each one that the renderer knows; clips are made of these alone.
        size: pixels per side, 32 to 1,024, a multiple of 4.
        seed: of expressions, scenes and noise, at least 0; the faces do not depend on it.
        first_subject: number of the first face, at least 0; sets whose numbers do not overlap share no face, and two labs never do.
        pose_scale: factor on the spread of the head pose, 0 to 3.
        jitter: whether the crop's centre and side vary around the `eyes` recipe.
        roll: whether the head rolls.

    Raises:
        ValueError: one of them is out of range.
    """

    lab: str
    subjects: int
    frames: int
    clips: int
    au_names: tuple[str, ...]
    size: int
    seed: int
    first_subject: int
    pose_scale: float
    jitter: bool
    roll: bool

    def __post_init__(self) -> None:
        lab_table(self.lab)  # raises for an unknown lab
        rendered_aus(self.au_names)
        for name, lowest in (("subjects", 1), ("frames", 0), ("clips", 0), ("seed", 0), ("first_subject", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"Expected `{name}` to be at least {lowest}, but got {getattr(self, name)}")
        if (self.frames > 0) == (self.clips > 0):
            raise ValueError(
                f"Expected one of `frames` and `clips` to be above 0, but got {self.frames} and {self.clips}"
            )
        if not SMALLEST <= self.size <= LARGEST or self.size % 4:
            raise ValueError(
                f"Expected `size` to be {SMALLEST} to {LARGEST} pixels, a multiple of 4, but got {self.size}"
            )
        if not 0 <= self.pose_scale <= 3:
            raise ValueError(f"Expected `pose_scale` to be 0 to 3, but got {self.pose_scale}")
        identity_number(self.lab, self.first_subject + self.subjects - 1)

    @property
    def dataset(self) -> str:
        """The data set's name in the manifest."""
        return f"synthetic_{self.lab.lower()}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the renderer's fingerprint."""
        return {**vars(self), "au_names": list(self.au_names), "renderer": renderer_fingerprint()}

    def jobs(self, folder: Path) -> list[SubjectJob]:
        """One job per subject, in the order of their numbers; the subjects' pictures go into `folder`."""
        own = {name: value for name, value in vars(self).items() if name not in ("subjects", "first_subject")}
        return [SubjectJob(folder=str(folder), number=self.first_subject + i, **own) for i in range(self.subjects)]


def default_aus(lab: str, au_names: str | Sequence[str] | None) -> tuple[str, ...]:
    """The AUs to label: those asked for (a set's name, names with commas, or a sequence), or the lab's own list.

    Raises:
        ValueError: unknown lab or AU, or an AU that is not rendered.
    """
    return rendered_aus(parse_au_names(lab_table(lab)["au_set"] if au_names is None else au_names))
