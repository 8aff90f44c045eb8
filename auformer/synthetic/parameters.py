"""Everything that decides the bytes of a rendered data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from auformer.blinks import FEWEST_FPS
from auformer.synthetic.asymmetry import uneven
from auformer.synthetic.clips import plan_clips
from auformer.synthetic.frames import Frame, SceneOptions, identity_number, plan_stills, subject_name
from auformer.synthetic.labels import rendered_aus
from auformer.synthetic.sampling import lab_table
from auformer.synthetic.scanned.plan import person_number, plan_scanned, scanned_name
from auformer.synthetic.videos import fewest_frames, plan_videos

#: Modules of this package that decide neither pixels nor labels, or only of data sets that ask for it (`asymmetry`).
_NO_PIXELS = ("__init__.py", "asymmetry.py", "change.py", "parameters.py", "sheet.py", "writing.py")
SMALLEST, LARGEST = 32, 1024  # pixels per side [ours]
FASTEST_FPS = 240.0  # frames a second of a video [ours]


@cache
def renderer_fingerprint() -> str:
    """First 12 hex digits of a SHA-256 over the renderer's sources and tables: no folder mixes two versions."""
    package = files("auformer")
    modules = sorted(item.name for item in (package / "synthetic").iterdir() if item.name.endswith(".py"))
    names = ["assets/labs.json", "assets/muscles.json", "blinks.py", "faces/align.py"]
    names += [f"synthetic/{name}" for name in modules if name not in _NO_PIXELS]
    digest = sha256()
    for name in names:
        digest.update(name.encode() + (package / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


@cache
def scanned_fingerprint() -> str:
    """The same of the renderer of scanned faces, which draws with much of the other one's code."""
    package = files("auformer").joinpath("synthetic", "scanned")
    digest = sha256(renderer_fingerprint().encode())
    for name in sorted(item.name for item in package.iterdir() if item.name.endswith(".py")):
        if name not in _NO_PIXELS:
            digest.update(name.encode() + (package / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


#: What faces are made of: drawn by this package alone, or a scanned model that the user brings.
GEOMETRIES = ("drawn", "scanned")
#: Whole numbers among the parameters, and the lowest of each.
COUNTS = (("subjects", 1), ("frames", 0), ("clips", 0), ("videos", 0), ("seed", 0), ("first_subject", 0))


@dataclass(frozen=True)
class DatasetParameters:
    """Parameters of `auformer.synthetic.writing.render_dataset`, where they are described; checked.

    Either `frames` or `clips` is 0, and so is `videos` with clips; `frames` are those of a video where there are
    videos; `au_names` are ones that the renderer knows. `facekit` is the digest of the scanned model's arrays, empty
    where faces are drawn.

    Raises:
        ValueError: One of them is out of range.
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
    videos: int = 0
    fps: float = 25.0
    geometry: str = "drawn"
    facekit: str = ""
    asymmetry: float = 0.0

    def __post_init__(self) -> None:
        lab_table(self.lab)  # raises for an unknown lab
        rendered_aus(self.au_names)
        for name, lowest in COUNTS:
            if getattr(self, name) < lowest:
                raise ValueError(f"Expected `{name}` to be at least {lowest}, but got {getattr(self, name)}")
        if (self.frames > 0) == (self.clips > 0):
            raise ValueError(
                f"Expected one of `frames` and `clips` to be above 0, but got {self.frames} and {self.clips}"
            )
        if self.videos:
            self._check_videos()
        if not SMALLEST <= self.size <= LARGEST or self.size % 4:
            raise ValueError(
                f"Expected `size` to be {SMALLEST} to {LARGEST} pixels, a multiple of 4, but got {self.size}"
            )
        if not 0 <= self.pose_scale <= 3:
            raise ValueError(f"Expected `pose_scale` to be 0 to 3, but got {self.pose_scale}")
        identity_number(self.lab, self.numbers[-1])
        if self.geometry not in GEOMETRIES:
            raise ValueError(f"Expected `geometry` to be one of {', '.join(GEOMETRIES)}, but got {self.geometry!r}")
        if not 0 <= self.asymmetry <= 1:
            raise ValueError(f"Expected `asymmetry` to be 0 to 1, but got {self.asymmetry}")
        if self.asymmetry and (self.scanned or self.clips or self.videos):
            raise ValueError("Expected stills of drawn faces with `asymmetry`")
        if self.scanned and (self.clips or self.videos):
            raise ValueError("Expected stills of scanned faces: clips and videos are of drawn ones")

    @property
    def scanned(self) -> bool:
        """Whether faces are those of the scanned model."""
        return self.geometry == "scanned"

    def name(self, number: int) -> str:
        """The manifest's name of a subject."""
        return scanned_name(self.lab, number) if self.scanned else subject_name(self.lab, number)

    def person(self, number: int) -> int:
        """The number of a subject's face."""
        return person_number(self.lab, number) if self.scanned else identity_number(self.lab, number)

    def _check_videos(self) -> None:
        if self.clips:
            raise ValueError(f"Expected either `clips` or `videos`, but got {self.clips} and {self.videos}")
        if not FEWEST_FPS <= self.fps <= FASTEST_FPS:
            raise ValueError(
                f"Expected `fps` to be {FEWEST_FPS:g} to {FASTEST_FPS:g} frames a second (blinks need as many), "
                f"but got {self.fps:g}"
            )
        if self.frames < (fewest := fewest_frames(self.fps)):
            raise ValueError(
                f"Expected at least {fewest} `frames` in a video of {self.fps:g} frames a second, for two expressions "
                f"with rest around them, but got {self.frames}"
            )

    @property
    def dataset(self) -> str:
        """The data set's name in the manifest."""
        return f"synthetic_scanned_{self.lab.lower()}" if self.scanned else f"synthetic_{self.lab.lower()}"

    @property
    def numbers(self) -> range:
        """The subjects' numbers in the lab."""
        return range(self.first_subject, self.first_subject + self.subjects)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the renderer's fingerprint."""
        values = {**vars(self), "au_names": list(self.au_names)}
        if self.scanned:
            del values["asymmetry"]
            return {**values, "renderer": scanned_fingerprint()}
        del values["geometry"], values["facekit"]  # a drawn set needs neither to be made again
        if not self.asymmetry:
            del values["asymmetry"]
            return {**values, "renderer": renderer_fingerprint()}
        source = files("auformer").joinpath("synthetic", "asymmetry.py").read_bytes().replace(b"\r\n", b"\n")
        return {**values, "renderer": sha256(renderer_fingerprint().encode() + source).hexdigest()[:12]}

    def plan(self, number: int) -> Iterator[Frame]:
        """The frames of one subject, in order."""
        options = SceneOptions(self.pose_scale, self.jitter, self.roll)
        if self.scanned:
            return plan_scanned(self.lab, number, self.frames, seed=self.seed, options=options)
        if self.videos:
            return plan_videos(self.lab, number, self.videos, self.frames, self.fps, seed=self.seed, options=options)
        if self.clips:
            return plan_clips(self.lab, number, self.clips, self.au_names, seed=self.seed, options=options)
        stills = plan_stills(self.lab, number, self.frames, seed=self.seed, options=options)
        if not self.asymmetry:
            return stills
        person = self.person(number)
        return (uneven(frame, self.asymmetry, seed=self.seed, identity=person) for frame in stills)
