"""Renders one subject into a folder of images or videos and returns what is known about each frame."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from auformer.blinks import blink_columns
from auformer.faces.face import POINT_COLUMNS
from auformer.synthetic.frames import Frame
from auformer.synthetic.identity import Identity
from auformer.synthetic.labels import five_point, label_columns, truth_columns
from auformer.synthetic.muscles import INDEX
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.renderer import Rendered, Renderer
from auformer.synthetic.scanned.facekit import read_facekit
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.renderer import ScannedRenderer
from auformer.synthetic.video_file import VideoFile

#: JPEG at quality 95 without chroma subsampling. Measured on lab A and B images of 112 px: 4.9 KB against 18 KB for
#: PNG, written ten times faster; it changes a pixel by 1 level on average, camera noise by 2 to 4, and the correlation
#: of what an AU of level 1 changes with what a pair of noisy images shows falls from .380 to .371. [ours]
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
#: The face's box: its side, and how far its centre lies below the pupils, in inter-pupil distances. [ours]
BOX_SIDE, BOX_BELOW = 2.2, 0.42


@dataclass(frozen=True)
class SubjectJob:
    """One subject to render; plain values only, so that it can be sent to another process.

    Args:
        folder: The data set's folder of images or videos; a folder with the subject's name is made in it.
        number: The subject's number in the lab.
        parameters: Those of the data set.
        facekit: File of the scanned model's arrays; empty where faces are drawn.
    """

    folder: str
    number: int
    parameters: DatasetParameters
    facekit: str = ""

    @property
    def name(self) -> str:
        """The subject's name in the manifest."""
        return self.parameters.name(self.number)


@lru_cache(maxsize=1)
def _renderer(size: int) -> Renderer:
    """One renderer per process: it owns scratch memory."""
    return Renderer(size)


@lru_cache(maxsize=1)
def _scanned_renderer(path: str, digest: str, size: int) -> ScannedRenderer:
    """One renderer of scanned faces per process, of the model at `path`; `digest` is what that must be."""
    kit = read_facekit(path)
    assert kit.digest == digest  # the parent has written the file
    return ScannedRenderer(kit, size)


Draw = Callable[[Frame], Rendered]


def _drawing(job: SubjectJob) -> tuple[Identity, Draw]:
    """Who the subject is, and what draws its frames."""
    number, size = job.parameters.person(job.number), job.parameters.size
    if not job.parameters.scanned:
        identity, renderer = Identity.sample(number), _renderer(size)
        return identity, partial(_draw, renderer, renderer.bake(identity))
    person, scanned = Person.sample(number), _scanned_renderer(job.facekit, job.parameters.facekit, size)
    return person.identity, partial(_draw, scanned, scanned.bake(person))


def _draw(renderer: Any, face: Any, frame: Frame) -> Rendered:
    background = renderer.background(np.random.default_rng(frame.background_seed), **frame.background)
    rendered: Rendered = renderer.render(
        face, frame.intensity, scene=frame.scene, background=background, seed=frame.seed, points=True
    )
    return rendered


def render_subject(job: SubjectJob) -> dict[str, dict[str, Any]]:
    """Render one subject; its folder appears under its final name only when every image is written.

    Args:
        job: What to render.

    Returns:
        Columns, each with one value per frame, of the three tables: `manifest`, `truth`, `faces`.

    Raises:
        OSError: The folder cannot be written.
    """
    final = Path(job.folder) / job.name
    partial = final.with_name(f".{job.name}.partial")
    for stale in (partial, final):
        if stale.exists():
            shutil.rmtree(stale)
    partial.mkdir(parents=True)
    try:
        tables = _render_into(partial, job)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(final)
    return tables


def _render_into(folder: Path, job: SubjectJob) -> dict[str, dict[str, Any]]:
    identity, draw = _drawing(job)
    plan = list(job.parameters.plan(job.number))
    points = []
    for frame, keep in _destinations(folder, job, plan):
        rendered = draw(frame)
        keep(rendered.image)
        assert rendered.points is not None  # asked for above
        points.append(rendered.points)
    return _tables(job, identity, plan, np.stack(points))


def _destinations(
    folder: Path, job: SubjectJob, plan: list[Frame]
) -> Iterator[tuple[Frame, Callable[[np.ndarray], Any]]]:
    """Every frame with what writes its image: a file of its own, or the end of its video."""
    if not job.parameters.videos:
        for frame in plan:
            yield frame, partial(_write_image, folder / image_name(frame))
        return
    for sequence, frames in groupby(plan, lambda frame: frame.sequence):
        with VideoFile(folder / f"{sequence}.mp4", job.parameters.size, job.parameters.fps) as video:
            for frame in frames:
                yield frame, video.add


def _write_image(path: Path, image: np.ndarray) -> None:
    path.write_bytes(encode(image))


def image_name(frame: Frame) -> str:
    """File name of a frame: its number, with the sequence in front unless it is a still."""
    return f"{frame.number:05d}.jpg" if frame.sequence == "stills" else f"{frame.sequence}_{frame.number:05d}.jpg"


def encode(image: np.ndarray) -> bytes:
    """The bytes of the file for an RGB uint8 image `(S, S, 3)`."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG)
    assert done  # encoding into memory fails for no valid image
    return data.tobytes()


def _tables(job: SubjectJob, identity: Identity, plan: list[Frame], points: np.ndarray) -> dict[str, dict[str, Any]]:
    """Columns of the three tables, from the frames and their landmarks `(n, 5, 2)`."""
    n, parameters = len(plan), job.parameters
    intensity = np.stack([frame.intensity for frame in plan])  # (n, N, 2)
    labels = [frame.present for frame in plan if frame.present is not None]  # all frames of clips, none of stills
    key: dict[str, Any] = {
        "dataset": [parameters.dataset] * n, "subject": [job.name] * n,
        "sequence": [frame.sequence for frame in plan], "frame": np.array([frame.number for frame in plan], np.int64),
        "face": np.zeros(n, np.int64),
    }  # fmt: skip
    clip = {column: [frame.clip[column] for frame in plan] for column in plan[0].clip}
    nuisance = [flatten({**frame.scene, "background": frame.background, "noise_seed": frame.seed}) for frame in plan]
    return {
        "manifest": {
            **key,
            **_files(job, plan),
            **label_columns(intensity, parameters.au_names, parameters.lab, np.stack(labels) if labels else None),
            **(_blinks(plan, intensity) if parameters.videos and "AU43" in parameters.au_names else {}),
            **clip,
            **{column: [value] * n for column, value in groups(identity).items()},
        },
        "truth": {
            **key,
            **truth_columns(intensity),
            **{column: [row.get(column, np.nan) for row in nuisance] for column in nuisance[0]},
            **{column: [frame.truth[column] for frame in plan] for column in plan[0].truth},
        },
        "faces": {
            **key,
            **_box_columns(points),
            "score": np.ones(n, np.float32),
            "points_source": ["renderer"] * n,
            **dict(zip(POINT_COLUMNS, points.reshape(n, -1).T, strict=True)),
        },
    }


def _files(job: SubjectJob, plan: list[Frame]) -> dict[str, Any]:
    """Columns that name the image of each frame, or its video and when it is shown there."""
    if not job.parameters.videos:
        return {"image": [f"images/{job.name}/{image_name(frame)}" for frame in plan]}
    return {
        "file": [f"videos/{job.name}/{frame.sequence}.mp4" for frame in plan],
        "time_s": [round(frame.time_s or 0.0, 6) for frame in plan],
    }


def _blinks(plan: list[Frame], intensity: np.ndarray) -> dict[str, np.ndarray]:
    """The column `AU45` of videos: blinks found in the rendered closure `(n, N, 2)` by the rule for everybody's."""
    closure = five_point(intensity[:, INDEX["AU43"]].max(axis=1))
    found, at = np.zeros(len(plan), np.int8), 0
    for _, frames in groupby(plan, lambda frame: frame.sequence):
        time_s = np.array([frame.time_s for frame in frames], float)
        found[at : at + len(time_s)] = blink_columns(closure[at : at + len(time_s)], time_s)["AU45"]
        at += len(time_s)
    return {"AU45": found}


def groups(identity: Identity) -> dict[str, str]:
    """Groups for reports: halves of age, thirds of skin tone, the two shapes of face, glasses."""
    return {
        "group_age": "younger" if identity["age"] < 0.5 else "older",
        "group_skin": ("light", "medium", "dark")[min(2, int(identity["skin"] * 3))],
        "group_sex": "masculine" if identity["sex"] > 0.5 else "feminine",
        "group_glasses": "glasses" if identity["glasses"] else "none",
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested numbers as flat columns; poses and pairs get the names of their parts.

    >>> flatten({"pose": (0.1, 0.2, 0.3), "light": {"key": 1.0, "color": (1, 2, 3)}})
    {'yaw': 0.1, 'pitch': 0.2, 'roll': 0.3, 'light_key': 1.0, 'light_color_0': 1.0, 'light_color_1': 2.0,
    'light_color_2': 3.0}
    """
    parts = {
        "pose": ("yaw", "pitch", "roll"),
        "gaze": ("gaze_x", "gaze_y"),
        "jitter": ("jitter_x", "jitter_y", "jitter_scale"),
    }
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}_"))
        elif np.ndim(value):
            names = parts.get(name, tuple(f"{prefix}{name}_{i}" for i in range(len(value))))
            flat.update({part: float(number) for part, number in zip(names, value, strict=True)})
        else:
            flat[prefix + name] = float(value)
    return flat


def _box_columns(points: np.ndarray) -> dict[str, np.ndarray]:
    """A square around the face, from the pupils `(n, 5, 2)`, in pixels."""
    across = points[:, 1] - points[:, 0]
    distance = np.hypot(across[:, 0], across[:, 1])
    down = np.stack([-across[:, 1], across[:, 0]], axis=1)
    corner = points[:, :2].mean(axis=1) + BOX_BELOW * down - BOX_SIDE / 2 * distance[:, None]
    side = (BOX_SIDE * distance).astype(np.float32)
    return {"x": corner[:, 0].astype(np.float32), "y": corner[:, 1].astype(np.float32), "w": side, "h": side}
