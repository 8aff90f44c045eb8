"""A rendered data set on disk: images, the manifest, exact truth, landmarks, and a sidecar with what makes it again.

    OUT/images/A00012/00017.jpg     the images, a folder per subject
    OUT/videos/A00012/video000.mp4  in their place where videos are asked for; the tables have a row per frame
    OUT/manifest.csv                labels as the lab's coders would give them
    OUT/manifest.json               its sidecar: parameters, expected and measured label rates, crop recipe
    OUT/manifest.faces.parquet      box and five landmarks of every face, in pixels
    OUT/truth.parquet               exact intensity of every muscle per side, pose, light, camera and nuisance

The result is a function of the parameters, to the byte on one machine, whatever the number of workers. Subjects that
are done are kept under `.unfinished/` until all are; then the tables are written and that folder goes. So an
interrupted run resumes and has lost at most the subjects that it was drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from tqdm import tqdm

from auformer import __version__
from auformer.aus import parse_au_names
from auformer.blinks import CLOSED, LONGEST_S, OPENED
from auformer.data.manifest import write_faces, write_manifest
from auformer.data.table_file import write_table
from auformer.errors import require
from auformer.faces.align import EYES
from auformer.files import read_json
from auformer.pool import run_tasks
from auformer.synthetic.clips import DRIFT, LONGEST, PEAK, SHORTEST
from auformer.synthetic.labels import expected_rates, rendered_aus
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.sampling import lab_table
from auformer.synthetic.scanned.expressions import expected_rates as scanned_rates
from auformer.synthetic.scanned.facekit import FaceKit, read_facekit
from auformer.synthetic.subject import SubjectJob, render_subject
from auformer.workspace import Workspace

TABLES = ("manifest", "truth", "faces")
#: Options of `auformer synth` that say what is rendered, with their types.
OPTIONS: dict[str, type] = {
    "lab": str, "subjects": int, "frames": int, "clips": int, "videos": int, "fps": float, "aus": str, "size": int,
    "seed": int, "first_subject": int, "pose_scale": float, "no_jitter": bool, "no_roll": bool, "geometry": str,
    "facekit": Path, "asymmetry": float,
}  # fmt: skip
OWNED = ("manifest.csv", "manifest.json", "manifest.faces.parquet", "truth.parquet", "images", "videos")
FRAMES, VIDEO_FRAMES, FPS = 100, 3000, 25.0  # stills per subject; frames of a video, and how many are shown a second


def render_dataset(
    out: str | Path, *, lab: str, subjects: int = 40, frames: int | None = None,
    au_names: str | Sequence[str] | None = None, size: int = 112, seed: int = 0, first_subject: int = 0,
    workers: int = 1, clips: int = 0, videos: int = 0, fps: float = FPS, pose_scale: float = 1.0, jitter: bool = True,
    roll: bool = True, geometry: str = "drawn", facekit: str | Path | None = None, asymmetry: float = 0.0,
    progress: bool = False,
) -> Path:  # fmt: skip
    """Render a data set into a folder, resume an interrupted one, or find that it is there already.

    Args:
        out: The folder; made if it does not exist.
        lab: "A" (expressive, even light) or "B" (sparse, side light, worse camera).
        subjects: Number of faces, at least 1.
        frames: Stills per subject, 100 by default, or frames of each video, 3,000 by default, two minutes at 25 a
            second; ignored where there are clips.
        au_names: AUs that get labels: a set's name, names with commas, or a sequence; None is BP4D's 12 in lab A,
            DISFA's 8 in lab B, and all of them for videos. Videos with AU43 also get `AU45`.
        size: Pixels per side, 32 to 1,024, a multiple of 4.
        seed: Of expressions, scenes and noise, at least 0; the faces do not depend on it.
        first_subject: Number of the first face; sets whose numbers do not overlap share no face, and two labs never do.
        workers: Processes; more than one need the entry guard of `multiprocessing` in scripts.
        clips: micro-expression clips per subject in place of stills, 0 for stills.
        videos: Videos per subject in place of stills, 0 for stills.
        fps: Frames a second of the videos.
        pose_scale: Factor on the spread of the head pose, 0 to 3.
        jitter: Whether the crop's centre and side vary around the `eyes` recipe.
        roll: Whether the head rolls.
        geometry: "drawn", or "scanned": stills on the scanned model in `facekit`, lit and worn as photographs show
            faces, with expressions in unusual company; numba draws them (`auformer[scanned]`).
        facekit: The user's own copy of ICT-FaceKit, for scanned faces: its folder, or a `.npz` of its arrays.
        asymmetry: Share of the active muscles that act more on one side, 0 to 1, of stills of drawn faces.
        progress: Whether a bar is shown on the error stream.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: A parameter is out of range, the folder holds something else, or the copy of ICT-FaceKit is not one.
        OSError: The folder cannot be written, or there is no such copy.
        MissingExtraError: Scanned faces are asked for and numba is not installed.
    """
    if (geometry == "scanned") != (facekit is not None):
        raise ValueError(
            "Expected `facekit` (--facekit), a copy of ICT-FaceKit, with `geometry` scanned and only there, "
            f"but got geometry {geometry!r} and facekit {facekit}"
        )
    kit = None if facekit is None else read_facekit(facekit)
    parameters = DatasetParameters(
        lab=lab, subjects=subjects, frames=_frames(frames, clips, videos), clips=clips, videos=videos, fps=float(fps),
        au_names=default_aus(lab, "all" if videos and au_names is None else au_names), size=size, seed=seed,
        first_subject=first_subject, pose_scale=float(pose_scale), jitter=bool(jitter), roll=bool(roll),
        geometry=geometry, facekit=kit.digest if kit else "", asymmetry=asymmetry,
    )  # fmt: skip
    if kit:
        require("numba", "scanned")
    if workers < 1:
        raise ValueError(f"Expected `workers` to be at least 1, but got {workers}")
    workspace = Workspace(out, kind="a rendered data set", owned=OWNED)
    manifest, side = workspace.path / "manifest.csv", workspace.path / "manifest.json"
    complete = side.exists() and manifest.exists() and not workspace.state.exists()
    workspace.claim(parameters.as_dict(), finished=(read_json(side) or {}).get("parameters") if complete else None)
    shown = workspace.path / ("videos" if videos else "images")
    jobs = [SubjectJob(str(shown), number, parameters) for number in parameters.numbers]
    if complete:
        names = _damaged(manifest)
        missing = [job for job in jobs if job.name in names]
    else:
        missing = [job for job in jobs if not (workspace.kept(job.name) and (shown / job.name).is_dir())]
    title = f"rendering lab {lab}"
    done = len(jobs) - len(missing)
    with (
        _model_file(kit) as file,
        tqdm(total=len(jobs), initial=done, desc=title, unit="subject", disable=not progress) as bar,
    ):
        missing = [replace(job, facekit=file) for job in missing]
        for job, tables in run_tasks(render_subject, missing, workers, threads=1):
            if not complete:  # an image that has gone from a complete set is only drawn again
                _keep(workspace, job.name, tables)
            bar.update()
    if not complete:
        _write_tables(workspace, [job.name for job in jobs], parameters)
    return manifest


@contextmanager
def _model_file(kit: FaceKit | None) -> Iterator[str]:
    """A file of the scanned model's arrays for the workers, gone when they are done; an empty name without a model."""
    if kit is None:
        yield ""
        return
    with TemporaryDirectory(prefix="auformer-") as folder:
        kit.save(Path(folder) / "facekit.npz")
        yield str(Path(folder) / "facekit.npz")


def _frames(frames: int | None, clips: int, videos: int) -> int:
    """Frames of a subject or a video: what was asked for, or the usual number; clips have their own."""
    if clips and not videos:
        return 0
    return frames if frames is not None else VIDEO_FRAMES if videos else FRAMES


def render_options(out: str | Path, options: Mapping[str, Any], *, workers: int = 1, progress: bool = False) -> Path:
    """Render a data set from options of `auformer synth` by name.

    Args:
        out: As for `render_dataset`.
        options: Any of `OPTIONS`, as in a suite: `{subjects: 30, no_jitter: true}`; lab A where none is named.
        workers: As for `render_dataset`.
        progress: As for `render_dataset`.

    Raises:
        ValueError: There is no such option, its value is wrong, or the folder holds something else.
    """
    values: dict[str, Any] = {"lab": "A"}
    for name, value in ((str(name).replace("-", "_"), value) for name, value in options.items()):
        kind = OPTIONS.get(name)
        try:
            if kind is None or isinstance(value, bool) != (kind is bool):
                raise ValueError
            values[name] = kind(value)
        except (TypeError, ValueError):
            told = f"but got {name}: {value!r}"
            raise ValueError(f"Expected options of `auformer synth` that say what is rendered, {told}") from None
    check_options(values)
    jitter, roll = (not values.pop(f"no_{name}", False) for name in ("jitter", "roll"))
    au_names = values.pop("aus", None)
    return render_dataset(
        out, **values, au_names=au_names, jitter=jitter, roll=roll, workers=workers, progress=progress
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `auformer synth` that do not go together.

    Raises:
        ValueError: Says which.
    """
    for first, second in (("clips", "videos"), ("frames", "clips")):
        if first in options and second in options:
            raise ValueError(f"Expected either `--{first}` or `--{second}`, but got both")
    for name in ("clips", "videos"):
        if options.get(name, 1) < 1:
            raise ValueError(f"Expected `--{name}` to be at least 1, but got {options[name]}")
    if options.get("geometry") == "scanned" and ("clips" in options or "videos" in options):
        raise ValueError("Expected stills with `--geometry scanned`: clips and videos are of drawn faces")
    if (options.get("geometry") == "scanned") != ("facekit" in options):
        raise ValueError("Expected `--geometry scanned` and `--facekit PATH`, a copy of ICT-FaceKit, together")
    if "fps" in options and "videos" not in options:
        raise ValueError("Expected `--videos` beside `--fps`, which says how many of their frames are shown a second")


def default_aus(lab: str, au_names: str | Sequence[str] | None) -> tuple[str, ...]:
    """The AUs to label: those asked for (a set's name, names with commas, or a sequence), or the lab's own list.

    Raises:
        ValueError: Unknown lab or AU, or an AU that is not rendered.
    """
    return rendered_aus(parse_au_names(lab_table(lab)["au_set"] if au_names is None else au_names))


def _damaged(manifest: Path) -> set[str]:
    """Subjects of whom an image or a video has gone."""
    table = pd.read_csv(manifest, usecols=lambda name: name in ("subject", "image", "file"), dtype=str)
    pairs = table[["subject", "image" if "image" in table else "file"]].drop_duplicates()
    return {subject for subject, name in pairs.itertuples(index=False) if not (manifest.parent / name).exists()}


def _keep(workspace: Workspace, name: str, tables: dict[str, dict[str, Any]]) -> None:
    def write(folder: Path) -> None:
        for table in TABLES:
            write_table(pd.DataFrame(tables[table]), folder / f"{table}.parquet")

    workspace.keep(name, write)


def _write_tables(workspace: Workspace, subjects: list[str], parameters: DatasetParameters) -> None:
    """Write the tables of all subjects, the manifest last."""
    tables = {
        table: pd.concat(
            [pd.read_parquet(workspace.state / name / f"{table}.parquet") for name in subjects], ignore_index=True
        )
        for table in TABLES
    }
    manifest = workspace.path / "manifest.csv"
    write_table(tables["truth"], workspace.path / "truth.parquet")
    write_faces(tables["faces"], manifest)
    blinks = int(tables["truth"].groupby(["subject", "sequence"])["blink"].max().sum()) if parameters.videos else 0
    write_manifest(tables["manifest"], manifest, side=sidecar(parameters, tables["manifest"], blinks))
    workspace.finish()


def label_rates(parameters: DatasetParameters, manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per AU: rows labelled present, their share, and for stills the share to expect after the lab's threshold."""
    rates: dict[str, dict[str, Any]] = {}
    for name in (*parameters.au_names, *(["AU45"] if "AU45" in manifest else [])):
        rates[name] = {"positives": int(manifest[name].sum()), "measured": round(float(manifest[name].mean()), 4)}
        if not (parameters.clips or parameters.videos or parameters.asymmetry):
            expected = scanned_rates if parameters.scanned else expected_rates
            rates[name]["expected"] = expected(parameters.lab)[name]
    return rates


def sidecar(parameters: DatasetParameters, manifest: pd.DataFrame, blinks: int = 0) -> dict[str, Any]:
    """What the manifest's sidecar says; `blinks` is the number of those rendered in videos."""
    level = lab_table(parameters.lab)["level"]
    side: dict[str, Any] = {
        "format_version": 1,
        "dataset": parameters.dataset,
        "source": "auformer.synthetic: rendered faces, no person is shown",
        "licence": "Apache-2.0",
        "parameters": parameters.as_dict(),
        "crop_recipe": EYES.name,
        "image_size": [parameters.size, parameters.size],
        "crop": {
            "side": EYES.side,
            "centre_below": EYES.centre_below,
            "jitter": parameters.jitter,
            "roll": parameters.roll,
        },
        "detector": {"name": "renderer", "version": __version__},
        "rows": len(manifest),
        "subjects": int(manifest["subject"].nunique()),
        "labels": f"present: FACS level = floor(5 * max(left, right) + 0.5) is at least {level}",
        "sides": "_left and _right are the person's own; the person's right is on the left of the image",
        "label_rates": label_rates(parameters, manifest),
        "corrected": [],
    }
    if parameters.scanned:
        side["source"] = "auformer.synthetic.scanned: rendered faces, no person is shown"
        side["licence"] = "Apache-2.0; geometry of ICT-FaceKit, MIT, (c) 2020 USC Institute for Creative Technologies"
    if parameters.clips:
        side["labels"] = (
            "present in all rows of a clip if the AU acts in it; the _intensity columns hold each frame's own"
        )
        side["clips"] = {
            "count": int(manifest["clip"].nunique()), "frames": [SHORTEST, LONGEST], "peak": list(PEAK),
            "drift_rad": DRIFT,
        }  # fmt: skip
    if parameters.videos:
        side["videos"] = {
            "count": int(manifest["file"].nunique()), "frames": parameters.frames, "fps": parameters.fps,
            "blinks": blinks, "blink": f"AU45: AU43 reaches level {CLOSED:g} and is below {OPENED:g} again within "
            f"less than {LONGEST_S:g} s; in truth.parquet `blink` numbers the rendered ones of each video",
        }  # fmt: skip
    return side
