"""Predictions as rows of the predictions file, and what a run has of them so far.

What a run has so far, source by source on disk, so that one that was killed goes on where it stopped.

Of each source there is a folder with its rows (CSV without a header, appended to as they come) and a state that is replaced from time to
time: how many bytes of the rows count, and with what following goes on after them. Folders of different sources never touch, so several
processes may share the parent.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from auformer import __version__
from auformer.files import write_text
from auformer.predict.sources import Source
from auformer.predict.types import ImagePrediction, Selection

if TYPE_CHECKING:
    from auformer.predict.predictor import AUPredictor

DATASET = "user"  # what the contract calls people's own files
PIXEL_DECIMALS, SCORE_DECIMALS, TIME_DECIMALS, PROB_DECIMALS = (
    2,
    4,
    6,
    7,
)  # of boxes, scores, times, probabilities in the table [ours]
BOX = ("x", "y", "w", "h")


def table_columns(au_names: Sequence[str]) -> list[str]:
    """Columns of the table: the key, `file, time_s`, box, score, `status`, then per AU `_prob` and `_active`."""
    aus = [f"{au}_{kind}" for au in au_names for kind in ("prob", "active")]
    return ["dataset", "subject", "sequence", "frame", "face", "file", "time_s", *BOX, "score", "status", *aus]


def table_rows(image: ImagePrediction, thresholds: np.ndarray) -> list[list[Any]]:
    """Rows of one picture, one per face; a picture without any has one row with empty values (None) and its status.

    Args:
        image: the picture.
        thresholds: (N,) from which probability on each AU counts as active.
    """
    name, time = image.name, None if image.time_s is None else round(image.time_s, TIME_DECIMALS)
    if not image.faces:
        return [
            [
                DATASET,
                name,
                name,
                image.frame,
                0,
                image.file,
                time,
                *[None] * 5,
                image.status,
                *[None] * 2 * len(thresholds),
            ]
        ]
    rows = []
    for found in image.faces:
        box = [round(float(value), PIXEL_DECIMALS) for value in found.face.box]
        active = [int(value) for value in found.probs >= thresholds]
        probs = [float(value) for value in found.probs.round(PROB_DECIMALS)]
        pairs = [value for pair in zip(probs, active, strict=True) for value in pair]
        score = round(float(found.face.score), SCORE_DECIMALS)
        rows.append(
            [DATASET, name, name, image.frame, found.identity, image.file, time, *box, score, image.status, *pairs]
        )
    return rows


def predictions_table(
    images: Iterable[ImagePrediction], au_names: Sequence[str], thresholds: np.ndarray
) -> pd.DataFrame:
    """The table of many pictures.

    Args:
        images: what `AUPredictor.stream` gives, without the ends.
        au_names: the N action units.
        thresholds: (N,) from which probability on each counts as active.
    """
    rows = [row for image in images for row in table_rows(image, thresholds)]
    return typed(pd.DataFrame(rows, columns=table_columns(au_names)))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with floats where numbers may be missing, and `Int8` in `_active`."""
    floats = [name for name in table if name in ("time_s", "score", *BOX) or str(name).endswith("_prob")]
    active = [name for name in table if str(name).endswith("_active")]
    return table.astype({**dict.fromkeys(floats, float), **dict.fromkeys(active, "Int8")})


def run_settings(predictor: AUPredictor, selection: Selection, *, shard: str | None) -> dict[str, Any]:
    """Everything that was chosen for a run and changes its rows, as plain JSON values.

    Args:
        predictor: who predicts.
        selection: which frames.
        shard: `I/N` where the work is divided.
    """
    smooth = None if predictor.smooth is None else {"kind": "causal exponential mean", "seconds": predictor.smooth}
    return {
        "detector": predictor.detector.name,
        "detector_version": predictor.detector.version,
        "detect_every": predictor.detect_every,
        "faces": "all" if predictor.faces is None else predictor.faces,
        "recipe": predictor.recipe,
        "thresholds": dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True)),
        "precision": predictor.precision,
        "probability_smoothing": smooth,
        "frames": {"every": selection.every, "fps": selection.fps, "start_s": selection.start, "end_s": selection.end},
        "shard": shard,
    }


def predictions_side(
    predictor: AUPredictor,
    *,
    checkpoint: Mapping[str, Any],
    settings: Mapping[str, Any],
    counts: Mapping[str, Any],
    notice: str | None,
) -> dict[str, Any]:
    """Side file of the table: where the probabilities come from.

    Args:
        predictor: who predicted.
        checkpoint: `given` (CHECKPOINT as the user wrote it), `file` that it means, its `sha256`, the hub's `revision` where there is one.
        settings: as `run_settings` gives them.
        counts: of sources, pictures by status, and faces by where their points come from.
        notice: what every output of this checkpoint has to say.

    Returns:
        Plain JSON values; None where something is not known.
    """
    network, header = predictor.network, predictor.network.metadata
    warnings = []
    if not network.crop_recipe:
        warnings.append(
            f"The checkpoint does not say how its training images were cropped; the recipe '{predictor.recipe}' was used."
        )
    return {
        "checkpoint": checkpoint["given"],
        "adapter": {
            "file": Path(checkpoint["file"]).name,
            "sha256": checkpoint["sha256"],
            "revision": checkpoint.get("revision"),
            "package_version": header.get("package_version"),
        },
        "au_names": list(network.au_names),
        "thresholds": settings["thresholds"],
        "crop_recipe": predictor.recipe,
        "image_size": list(network.image_size),
        "config": {name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")},
        "epoch_selection": (header.get("extra") or {}).get("selection"),
        "faces": {
            "detector": predictor.detector.name,
            "version": predictor.detector.version,
            "identity": "overlap of boxes over time (a photo's faces: by size)",
            "points": "1-euro filter over time in recordings",
        },
        "settings": dict(settings),
        "counts": dict(counts),
        "package_version": __version__,
        "warnings": warnings,
        "notice": notice,
    }


FOLDER = ".predict"  # inside the output folder; removed when everything is written
_TRIES = 9  # at making a folder [ours]
_TEXT = ("dataset", "subject", "sequence", "file", "status")


def fingerprint(value: Any) -> str:
    """SHA-256 of plain JSON values.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Part:
    """Rows and state of one source.

    Args:
        parent: folder of all parts.
        source: whose they are.
        settings: fingerprint of everything that changes the rows; a part with another one is started anew.
        thresholds: (N,) from which probability on each AU counts as active.

    Attributes:
        folder: where they lie.
        begun: whether an earlier run with these settings worked on the source, so that outputs found are its own.
    """

    def __init__(self, parent: Path, source: Source, settings: str, thresholds: np.ndarray) -> None:
        self.source, self.thresholds = source, thresholds
        self.folder = parent / hashlib.sha256(source.name.encode()).hexdigest()[:20]
        self._settings = fingerprint([settings, _identity(source)])
        self._rows: IO[str] | None = None
        self.begun = False
        self._state = self._read()

    @property
    def done(self) -> bool:
        """Whether the source is finished, well or badly."""
        return bool(self._state["done"])

    @property
    def message(self) -> str:
        """Why the source ended too early; empty if it did not."""
        return str(self._state["message"])

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its first readable picture."""
        return None if self._state["size"] is None else (self._state["size"][0], self._state["size"][1])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many pictures have each status, how many faces there are, and where their points come from."""
        return {name: dict(self._state[name]) for name in ("pictures", "points_source")}

    @property
    def resume(self) -> dict[str, Any] | None:
        """What `AUPredictor.stream` needs to go on inside the recording; None to begin with its beginning."""
        return self._state["resume"]

    def add(self, image: ImagePrediction) -> None:
        """Append the rows of one picture."""
        if self._rows is None:
            self._rows = self._open()
            self._save()  # from here on the source's outputs are this run's
        csv.writer(self._rows, lineterminator="\n").writerows(table_rows(image, self.thresholds))
        pictures, points = Counter(self._state["pictures"]), Counter(self._state["points_source"])
        pictures[image.status] += 1
        points.update(found.face.points_source for found in image.faces)
        self._state.update(pictures=dict(pictures), points_source=dict(points), size=self._state["size"] or image.size)
        if image.state is not None:
            self._state["resume"] = image.state
            self._save()

    def finish(self, message: str) -> None:
        """Close the part: nothing more comes."""
        self._state.update(done=True, message=message, resume=None)
        self._save()
        self.close()

    def flush(self) -> None:
        """Let `text` see all rows so far; on disk they count from the next state on."""
        if self._rows is not None:
            self._rows.flush()
            self._state["bytes"] = (self.folder / "rows.csv").stat().st_size

    def close(self) -> None:
        """Close the file of rows; what came after the last state is done again the next time."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def text(self) -> str:
        """The rows that count, as CSV without a header."""
        path = self.folder / "rows.csv"
        return path.read_bytes()[: self._state["bytes"]].decode("utf-8") if path.is_file() else ""

    def _read(self) -> dict[str, Any]:
        """The state on disk where it fits, else that of a beginning."""
        fresh = {
            "done": False,
            "message": "",
            "bytes": 0,
            "resume": None,
            "size": None,
            "pictures": {},
            "points_source": {},
        }
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return fresh
        if state.pop("settings", None) != self._settings:
            return fresh
        self.begun = True
        return dict(state)

    def _open(self) -> IO[str]:
        """The file of rows, cut to what counts."""
        _make(self.folder)
        path = self.folder / "rows.csv"
        with open(path, "ab") as file:
            file.truncate(self._state["bytes"])
        return open(path, "a", encoding="utf-8", newline="")

    def _save(self) -> None:
        """Replace the state on disk, after the rows that it counts."""
        self.flush()
        write_text(self.folder / "state.json", json.dumps({"settings": self._settings, **self._state}))


class LiveTable:
    """A predictions file that grows while a camera runs, a row at once when it is known.

    Args:
        path: CSV file; an existing one is replaced.
        columns: as `table_columns` gives them.
        thresholds: (N,) from which probability on each AU counts as active.
    """

    def __init__(self, path: Path, columns: Sequence[str], thresholds: np.ndarray) -> None:
        self.thresholds = thresholds
        self.pictures: Counter[str] = Counter()
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)

    def add(self, image: ImagePrediction) -> None:
        """Write the rows of one picture through to the file."""
        self._writer.writerows(table_rows(image, self.thresholds))
        self._file.flush()
        self.pictures[image.status] += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def parts_table(parts: Iterable[Part], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of several parts as one predictions table.

    Args:
        parts: in the order wanted.
        columns: as `table_columns` gives them.
    """
    text = io.StringIO("".join(part.text() for part in parts))
    dtype: Mapping[str, Any] = dict.fromkeys(_TEXT, str)
    table = pd.read_csv(text, names=list(columns), dtype=dtype, keep_default_na=False, na_values=[""], low_memory=False)
    return typed(table)


def remove_parts(parent: Path, parts: Iterable[Part]) -> None:
    """Remove parts that are written elsewhere, and their parent when it is empty."""
    for part in parts:
        part.close()
        shutil.rmtree(part.folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is not empty: other processes are at work in it
        parent.rmdir()


def _make(folder: Path) -> None:
    """Make a folder, though another process may be removing its empty parent."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def _identity(source: Source) -> list[Any]:
    """What tells a source from another one of its name: path, size and time of change of its file."""
    path = Path(source.file)
    facts = path.stat() if path.is_file() else None
    return [source.kind, source.file, *([facts.st_size, facts.st_mtime_ns] if facts else [])]
