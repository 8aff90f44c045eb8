"""The progress of a run on disk, source by source, so that a killed one resumes where it stopped; and its outputs.

    OUT/.predict/KEY/record.json     which source, begun with what; work with another record is not resumed
    OUT/.predict/KEY/journal.jsonl   an entry per attempt, image, state and end; all but images let what is before count
    OUT/.predict/KEY/annotated-*     pieces of the annotated video
    OUT/.predict/KEY/best.npz        faces for evidence maps

Folders of different sources never touch, so several processes may share `.predict`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import av
import numpy as np
import pandas as pd

from auformer.data.images import write_image
from auformer.data.manifest import validate_predictions
from auformer.data.schema import KEY
from auformer.data.table_file import write_pieces, write_sidecar
from auformer.files import digest
from auformer.predict import figures
from auformer.predict.annotate import VideoPieces, draw, find_encoder
from auformer.predict.blinks import CLOSURE, blinking, with_blinks
from auformer.predict.caption import FaceWords
from auformer.predict.outputs import Plan
from auformer.predict.photo_card import photo_card, save_card
from auformer.predict.predictor import AUPredictor
from auformer.predict.resting import resting_notes, subtract_resting_levels
from auformer.predict.sidecar import source_mark
from auformer.predict.sources import Source
from auformer.predict.table import rows_table, table_rows
from auformer.predict.types import NOMINAL_FPS, ImagePrediction, SourceEnd
from auformer.workspace import Workspace

COUNTED = ("pictures", "points_source", "quality")
FOLDER, JOURNAL, BEST = ".predict", "journal.jsonl", "best.npz"
PIECE = 4096  # rows of a table that are in memory together [ours]
SHORT_NOTICE = "trained on rendered faces only"
_TRIES = 9  # at making a folder whose empty parent another process may be removing [ours]


class Part:
    """What a run has of one source in the folder `out`; what was begun with another `record` is begun anew.

    Attributes:
        folder: Where it lies.
        begun: Whether a run with this record worked on the source, so that outputs found are its own.
        done: Whether the source is finished, well or badly.
        message: Why it ended too early; empty if it did not.
        size: Height and width of its first readable image.
        counts: Of `COUNTED`: images by status, faces by where their landmarks come from and by words of their quality.
        resume: What `AUPredictor.stream` resumes from inside a video; None for its beginning.
        attempts: How often each run began with the source.
    """

    def __init__(self, out: Path, source: Source, record: dict[str, Any]) -> None:
        self._record = {"source": source.name, **record}
        state = f"{FOLDER}/{digest(source.name)[:20]}"
        self._workspace = Workspace(out, kind="a prediction", owned=(), state=state)
        self.folder = self._workspace.state
        self.done, self.message = False, ""
        self.size: tuple[int, int] | None = None
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.resume: dict[str, Any] | None = None
        self.attempts: Counter[str] = Counter()
        self._file: IO[str] | None = None
        self._active = False  # this process has begun
        self._bytes = 0  # of the journal that count
        self.begun = self._workspace.recorded() == self._record
        if self.begun:
            self._replay()

    def begin(self, run: str = "") -> None:
        """Note that this process starts or resumes work, as part of a run; entries that do not count are cut off."""
        if not self.begun:
            self._claim()
        with open(self.folder / JOURNAL, "ab") as journal:
            journal.truncate(self._bytes)
        self.begun = self._active = True
        self._append({"run": run, "host": socket.gethostname(), "pid": os.getpid()})
        self.close()

    def add(self, image: ImagePrediction, rows: list[list[Any]]) -> None:
        """Append an image with its rows of the table, and the state that comes with it."""
        if not self._active:
            self.begin()
        points = [found.face.points_source for found in image.faces]
        words = [word for found in image.faces for word in found.quality]
        entry = {"image": image.status, "size": image.size, "points_source": points, "quality": words, "rows": rows}
        self._append(entry)
        if image.state is not None:
            self._append({"state": image.state})
            self._flush()

    def finish(self, message: str) -> None:
        """Note that the source is at its end."""
        self._append({"end": message})
        self.close()

    def rows(self) -> Iterator[list[Any]]:
        """The rows so far."""
        self._flush()
        for _, entry in self._entries():
            yield from entry.get("rows", ())

    def close(self) -> None:
        """Close the journal; what came after the last state is done again the next time."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Forget everything, once it is written elsewhere."""
        self.close()
        self._workspace.finish()
        with contextlib.suppress(OSError):  # other sources or processes are at work there
            self.folder.parent.rmdir()

    def _claim(self) -> None:
        """Make the folder, without what another record left there."""
        self._workspace.finish()
        for left in reversed(range(_TRIES)):
            try:
                return self._workspace.claim(self._record)
            except FileNotFoundError:
                if not left:
                    raise

    def _append(self, entry: dict[str, Any]) -> None:
        """Write an entry and let it count here."""
        if self._file is None:
            self._file = open(self.folder / JOURNAL, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._count(entry)

    def _flush(self) -> None:
        """Let readers of the journal see all entries so far."""
        if self._file is not None:
            self._file.flush()

    def _replay(self) -> None:
        """Count the entries of the journal up to the last one that is no image."""
        waiting = []
        for end, entry in self._entries():
            waiting.append(entry)
            if "image" not in entry:
                for one in waiting:
                    self._count(one)
                waiting, self._bytes = [], end

    def _entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Entries of the journal, each with the byte at its end; a torn one ends them."""
        path, end = self.folder / JOURNAL, 0
        if path.is_file():
            with path.open("rb") as journal:
                for line in journal:
                    end += len(line)
                    try:
                        yield end, json.loads(line)
                    except ValueError:
                        return

    def _count(self, entry: dict[str, Any]) -> None:
        """Let an entry count."""
        if "image" in entry:
            self.counts["pictures"][entry["image"]] += 1
            self.counts["points_source"].update(entry["points_source"])
            self.counts["quality"].update(entry["quality"])
            if self.size is None and entry["size"] is not None:
                self.size = (entry["size"][0], entry["size"][1])
        elif "state" in entry:
            self.resume = entry["state"]
        elif "end" in entry:
            self.done, self.message, self.resume = True, entry["end"], None
        else:
            self.attempts[entry["run"]] += 1


class Recorder:
    """Takes what `AUPredictor.stream` yields, image after image, and makes the outputs of it.

    The `mark` is that of `run_mark`; the `notice` is what every output of this checkpoint has to say.

    Attributes:
        parts: What there is of each source so far, by its name.
        encoder: Of annotated videos; None where there are none.
        notes: What was asked for and could not be done; each once, in order.
    """

    def __init__(
        self, predictor: AUPredictor, plan: Plan, sources: Sequence[Source], *, mark: str, notice: str | None
    ) -> None:
        self.predictor, self.plan, self.sources, self.notice = predictor, plan, list(sources), notice
        self.encoder = find_encoder() if plan.annotate and any(source.kind != "photo" for source in sources) else None
        encoder = self.encoder and [self.encoder, av.__version__]  # pieces of one video come from one encoder
        self.parts = {
            source.name: Part(plan.out, source, {"source_mark": source_mark(mark, source), "encoder": encoder})
            for source in sources
        }
        self.words = FaceWords(predictor.au_names, predictor.thresholds, plan.describe) if plan.describe else None
        self.notes: dict[str, None] = {}
        self._at: str | None = None  # name of the source at hand
        self._video: VideoPieces | None = None  # of it
        self._best: figures.BestFaces | None = None  # of it
        self._why = ""  # an image of it could not be read

    @property
    def pending(self) -> list[Source]:
        """Sources that are not finished."""
        return [source for source in self.sources if not self.parts[source.name].done]

    @property
    def begun(self) -> bool:
        """Whether an interrupted run is resumed."""
        return any(part.begun for part in self.parts.values())

    @property
    def images_done(self) -> int:
        """How many images of the unfinished sources an interrupted run has done."""
        return sum(self.parts[source.name].counts["pictures"].total() for source in self.pending)

    @property
    def resume(self) -> dict[str, dict[str, Any]]:
        """What `AUPredictor.stream` needs to resume inside videos."""
        states = {source.name: self.parts[source.name].resume for source in self.pending}
        return {name: state for name, state in states.items() if state is not None}

    def check_outputs(self, *, overwrite: bool) -> None:
        """Refuse to replace anything but outputs of an interrupted run with the same settings, see `Plan.check`."""
        new = [source for source in self.sources if not self.parts[source.name].begun]
        self.plan.check(self.sources, new, page=not self.begun, overwrite=overwrite)

    def add(self, item: ImagePrediction | SourceEnd) -> None:
        """Keep one more image, or close a source."""
        part = self.parts[item.source.name]
        if self._at != item.source.name:
            self._begin(item.source, part)
        if isinstance(item, SourceEnd):
            self._close(item.source, part)
            part.finish(item.message or self._missing(item.source, part))
            if self._video is not None:
                self._video.remove()
            (part.folder / BEST).unlink(missing_ok=True)
            self._at = None
            return
        if item.status == "unreadable":
            self._why = item.message
        if self._best is not None:
            self._best.add(item)
        if self._video is not None and item.image is not None:
            time = item.frame / NOMINAL_FPS if item.time_s is None else item.time_s
            self._video.add(self._draw(item), item.frame, time)
        if item.state is not None:  # which counts on what is on disk
            if self._video is not None:
                self._video.cut()
            if self._best is not None:
                self._best.save(part.folder / BEST)
        predictor = self.predictor
        part.add(item, table_rows(item, predictor.au_names, predictor.thresholds, predictor.intensity_aus))
        if item.source.kind == "photo":
            self._photo(item)

    def abandon(self) -> None:
        """Close all files after an interruption; parts stay, so that the run can be resumed."""
        if self._video is not None:
            self._video.abandon()
        for part in self.parts.values():
            part.close()

    def finished(self, sources: Sequence[Source]) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The table of some sources with what only whole tracks tell, and what the sidecar says of that.

        The rows of a part are as they were predicted, so a run that was interrupted ends with the same table.
        """
        predictor, videos = self.predictor, [source.name for source in sources if source.kind != "photo"]
        table = pd.concat(self._pieces(sources))
        active, more = blinking(table, predictor.au_names, predictor.thresholds, videos)
        if self.plan.resting:
            levels: dict[str, Any] = {}
            if predictor.intensity_aus:
                table, levels = subtract_resting_levels(table, predictor.intensity_aus, videos)
            some, intensity = len(videos) < len(sources), bool(predictor.intensity_aus)
            notes = resting_notes(levels, photos=some, intensity=intensity)
            more |= {"resting_levels": levels, "resting_notes": notes}
            self.notes.update(dict.fromkeys(notes))
        return with_blinks(table, active), more

    def counts(self) -> dict[str, Any]:
        """Number of sources, and `COUNTED` over all of them."""
        totals = {name: Counter[str]() for name in COUNTED}
        for part in self.parts.values():
            for name, total in totals.items():
                total.update(part.counts[name])
        return {"sources": len(self.sources), **{name: dict(total) for name, total in totals.items()}}

    def problems(self) -> list[tuple[Source, str]]:
        """Sources with a problem, and which."""
        return [(source, part.message) for source in self.sources if (part := self.parts[source.name]).message]

    def write_tables(self, side: dict[str, Any]) -> list[Path]:
        """Write all tables with their sidecars of this content; the parts are no longer needed then and are removed."""
        if self.plan.kind == "native" and not self.plan.per_source:
            written = [self._write_native(self.sources, side)]
        else:
            written = [path for source in self.sources if (path := self.write_source(source, side))]
        for part in self.parts.values():
            part.remove()
        return written

    def write_source(self, source: Source, side: dict[str, Any]) -> Path | None:
        """Write the table of one source; other tools have none for a source that cannot be read."""
        part = self.parts[source.name]
        if self.plan.kind != "native" and set(part.counts["pictures"]) <= {"unreadable"}:
            return None
        counts = {"sources": 1, **{name: dict(counter) for name, counter in part.counts.items()}}
        own = {**side, "source": source.file, "counts": counts, "problem": part.message or None}
        if self.plan.kind == "native":
            return self._write_native([source], own)
        table, more = self.finished([source])
        return self.plan.write_table(source, table, {**own, **more}, part.size)

    def _pieces(self, sources: Sequence[Source]) -> Iterator[pd.DataFrame]:
        """The rows of some sources as they were predicted, in tables of `PIECE` rows with a common index; one or more.

        Numbers take a fifth of the memory in a table that they take as the objects of a journal's rows.
        """
        rows = (row for source in sources for row in self.parts[source.name].rows())
        names, first = (self.predictor.au_names, self.predictor.intensity_aus), 0
        while (some := list(islice(rows, PIECE))) or not first:
            yield rows_table(some, *names).set_axis(range(first, first + len(some)))
            first += max(1, len(some))

    def _write_native(self, sources: Sequence[Source], side: dict[str, Any]) -> Path:
        """Write our table of some sources, a CSV file piece by piece, so that memory hardly grows with their length."""
        path, predictor = self.plan.table(sources[0]), self.predictor
        if self.plan.resting or path.suffix != ".csv":
            table, more = self.finished(sources)
            return self.plan.write_table(sources[0], table, {**side, **more}, None)
        narrow = [*KEY, "time_s", "status", f"{predictor.au_names[0]}_prob", *CLOSURE]
        whole = pd.concat([piece[piece.columns.intersection(narrow)] for piece in self._pieces(sources)])
        videos = [source.name for source in sources if source.kind != "photo"]
        active, more = blinking(whole, predictor.au_names, predictor.thresholds, videos)
        validate_predictions(whole, str(path))  # a key that occurs twice may be in two pieces
        write_sidecar({**side, **more}, path)
        pieces = (
            with_blinks(piece, None if active is None else active.loc[piece.index]) for piece in self._pieces(sources)
        )
        write_pieces((validate_predictions(piece, str(path)) for piece in pieces), path)
        return path

    def _begin(self, source: Source, part: Part) -> None:
        """Make ready for a source, with what an interrupted run has kept of it."""
        self._at, self._why, self._video, self._best = source.name, "", None, None
        annotated = self.plan.annotated(source)
        if annotated is not None and source.kind != "photo":
            assert self.encoder is not None
            after = -1 if part.resume is None else part.resume["after"]
            self._video = VideoPieces(part.folder, annotated, self.encoder, after=after)
        if self.plan.maps:
            self._best = figures.BestFaces(self.predictor.au_names)
            if part.resume is not None:
                self._best.restore(part.folder / BEST)

    def _draw(self, image: ImagePrediction) -> np.ndarray:
        """An image that was kept, with its predictions: (H, W, 3), both even."""
        notice = SHORT_NOTICE if self.notice else ""
        predictor, intensity = self.predictor, bool(self.predictor.intensity_aus)
        drawn = draw(image, predictor.au_names, predictor.thresholds, notice=notice, intensity=intensity)
        return drawn if self.words is None else self.words.caption(drawn, image)

    def _photo(self, image: ImagePrediction) -> None:
        """Write the figure and the annotated image of a photo."""
        figure, annotated = self.plan.figure(image.source), self.plan.annotated(image.source)
        if figure is not None and image.faces:
            if self.plan.maps:  # with the evidence of each AU
                _save(figures.photo_figure(self.predictor, image, notice=self.notice), figure)
            else:
                names, thresholds = self.predictor.au_names, self.predictor.thresholds
                save_card(figure, photo_card(image, names, thresholds, notice=self.notice))
        if annotated is not None and image.image is not None:
            write_image(annotated, self._draw(image))

    def _close(self, source: Source, part: Part) -> None:
        """Write video and figures of a source whose last image came."""
        if self._video is not None:
            self._video.finish()
        title, names = PurePosixPath(source.name).name, self.predictor.au_names
        if self._best is not None and (maps := self.plan.map_figure(source)):
            _save(self._best.figure(self.predictor, title=title, notice=self.notice), maps)
        if source.kind != "photo" and (path := self.plan.figure(source)):
            _save(figures.timeline_figure(self.finished([source])[0], names, title=title, notice=self.notice), path)

    def _missing(self, source: Source, part: Part) -> str:
        """The problem with a source without any face, or with unreadable images; empty where there is none."""
        counts = part.counts["pictures"]
        if counts["unreadable"]:
            why = f"; the last of them: {self._why}" if self._why else ""
            return f"{counts['unreadable']} of {counts.total()} images cannot be read{why}"
        if counts["ok"]:
            return ""
        return "no face found" if source.kind == "photo" else f"no face found in any of {counts.total()} frames"


def _save(figure: Any, path: Path) -> None:
    """Write a figure, where there is one."""
    if figure is not None:
        from auformer.report.style import save_png  # and matplotlib, which most runs do without

        save_png(figure, path)
