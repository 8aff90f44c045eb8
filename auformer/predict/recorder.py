"""The annotated video of a recording in pieces, so that a run that was killed goes on with it: H.264 files cannot be appended to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np
import pandas as pd

from auformer.data.images import write_image
from auformer.data.table_file import write_sidecar
from auformer.faces.detect import NO_FACE
from auformer.predict import figures as pictures
from auformer.predict.annotate import VideoWriter, draw, find_encoder, join_videos, shape_of
from auformer.predict.outputs import Plan, check_outputs, check_sources, write_source_table
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import Source
from auformer.predict.table import (
    FOLDER,
    LiveTable,
    Part,
    fingerprint,
    parts_table,
    predictions_side,
    remove_parts,
    table_columns,
)
from auformer.predict.types import ImagePrediction, Selection, SourceEnd
from auformer.predict.video import NOMINAL_FPS
from auformer.report.style import save_png

_NAME = "annotated-{:012d}.mkv"  # Matroska keeps times as they are; the number is that of the first frame


class VideoPieces:
    """Each stretch between two states of a run is a file of its own; at the end their packets are put into one MP4 file.

    Call `cut` before a state is saved: what a later run finds of the frames up to that state is complete then.

    Args:
        folder: where the pieces lie while the run lasts.
        path: the video, `.mp4`; it is there when it is complete.
        encoder: as `find_encoder` gives it.
        after: index of the last frame that an interrupted run has done, -1 for none; pieces of later frames are removed.
    """

    def __init__(self, folder: Path, path: Path, encoder: str, *, after: int = -1) -> None:
        self.folder, self.path, self.encoder = folder, path, encoder
        for piece in self._all():
            if int(piece.stem.split("-")[1]) > after:
                piece.unlink()
        kept = self._all()
        self._shape = shape_of(kept[0]) if kept else None
        self._writer: VideoWriter | None = None

    def add(self, image: np.ndarray, frame: int, time_s: float) -> None:
        """Append a picture (H, W, 3) uint8 RGB, both sides even; its frame number and time in seconds are later than all before."""
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self.folder / _NAME.format(frame), self.encoder, self._shape)
        self._writer.add(image, time_s)
        self._shape = self._writer.shape

    def cut(self) -> None:
        """End a piece."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None

    def finish(self) -> None:
        """Write the video; without a picture there is none."""
        self.cut()
        if self._all():
            join_videos(self._all(), self.path)

    def remove(self) -> None:
        """Remove the pieces."""
        for piece in self._all():
            piece.unlink()

    def abandon(self) -> None:
        """Close the piece at hand, which does not count."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _all(self) -> list[Path]:
        """The complete pieces in their order."""
        return sorted(self.folder.glob(_NAME.replace("{:012d}", "*")))


SHORT_NOTICE = "trained on rendered faces only"
_BEST = "best.npz"  # in a part's folder: the faces for evidence maps


class Recorder:
    """Takes what `AUPredictor.stream` gives, picture after picture.

    Args:
        predictor: who predicts.
        plan: what to write where.
        sources: all sources of the run.
        settings: fingerprint of everything that changes the results; unfinished parts with another one are started anew.
        notice: what every output of this checkpoint has to say.

    Attributes:
        parts: what there is of each source so far, by its name.
    """

    def __init__(
        self, predictor: AUPredictor, plan: Plan, sources: Sequence[Source], *, settings: str, notice: str | None
    ) -> None:
        self.predictor, self.plan, self.sources, self.notice = predictor, plan, list(sources), notice
        self.folder = plan.out / FOLDER
        self.encoder = find_encoder() if plan.annotate and any(source.kind != "photo" for source in sources) else None
        mark = fingerprint(
            [settings, self.encoder and [self.encoder, av.__version__]]
        )  # pieces of one video come from one encoder
        self.parts = {source.name: Part(self.folder, source, mark, predictor.thresholds) for source in sources}
        self._at: str | None = None  # name of the source at hand
        self._video: VideoPieces | None = None  # of it
        self._best = pictures.BestFaces(predictor.au_names)  # of it
        self._why = ""  # a picture of it could not be read

    @property
    def pending(self) -> list[Source]:
        """Sources that are not finished."""
        return [source for source in self.sources if not self.parts[source.name].done]

    @property
    def begun(self) -> bool:
        """Whether an interrupted run is gone on with."""
        return any(part.begun for part in self.parts.values())

    @property
    def pictures_done(self) -> int:
        """How many pictures of the unfinished sources an interrupted run has done."""
        return sum(sum(self.parts[source.name].counts["pictures"].values()) for source in self.pending)

    @property
    def resume(self) -> dict[str, dict[str, Any]]:
        """What `AUPredictor.stream` needs to go on inside recordings."""
        states = {source.name: self.parts[source.name].resume for source in self.pending}
        return {name: state for name, state in states.items() if state is not None}

    def check_outputs(self, *, overwrite: bool) -> None:
        """Refuse to replace what is there, but what an interrupted run with the same settings made.

        Raises:
            ValueError: an output exists, or would replace one of the sources.
            OSError: the folder cannot be written.
        """
        check_sources(self.plan, self.sources)
        new = [source for source in self.sources if not self.parts[source.name].begun]
        check_outputs(replace(self.plan, report=self.plan.report and not self.begun), new, overwrite=overwrite)

    def add(self, item: ImagePrediction | SourceEnd) -> None:
        """Keep one more picture, or close a source."""
        part = self.parts[item.source.name]
        if self._at != item.source.name:
            self._begin(item.source, part)
        if isinstance(item, SourceEnd):
            self._close(item.source, part)
            part.finish(item.message or self._missing(item.source, part))
            self._forget(part)
            return
        if item.status == "unreadable":
            self._why = item.message
        if self.plan.maps:
            self._best.add(item)
        if self._video is not None and item.image is not None:
            time = item.time_s if item.time_s is not None else item.frame / NOMINAL_FPS
            self._video.add(self._draw(item), item.frame, time)
        if item.state is not None:
            self._keep(part)
        part.add(item)
        if item.source.kind == "photo":
            self._photo(item)

    def abandon(self) -> None:
        """Close all files after an interruption; parts stay, so that the run can go on."""
        if self._video is not None:
            self._video.abandon()
        for part in self.parts.values():
            part.close()

    def table(self, source: Source) -> pd.DataFrame:
        """The rows of one source."""
        return parts_table([self.parts[source.name]], table_columns(self.predictor.au_names))

    def counts(self) -> dict[str, Any]:
        """Number of sources, pictures by status, and where the points of faces come from."""
        totals: dict[str, Counter[str]] = {"pictures": Counter(), "points_source": Counter()}
        for part in self.parts.values():
            for name, counter in totals.items():
                counter.update(part.counts[name])
        return {"sources": len(self.sources), **{name: dict(counter) for name, counter in totals.items()}}

    def problems(self) -> list[tuple[Source, str]]:
        """Sources with which something is wrong, and what."""
        return [(source, part.message) for source in self.sources if (part := self.parts[source.name]).message]

    def write_tables(self, side: dict[str, Any]) -> list[Path]:
        """Write all tables; the parts are no longer needed then and are removed.

        Args:
            side: content of the side files.
        """
        columns, written = table_columns(self.predictor.au_names), []
        if self.plan.kind == "native" and not self.plan.per_source:
            table = parts_table([self.parts[source.name] for source in self.sources], columns)
            written.append(write_source_table(self.plan, self.sources[0], table, side, None))
        else:
            for source in self.sources:
                part = self.parts[source.name]
                if self.plan.kind == "native" or not self._is_unreadable(part):
                    table = parts_table([part], columns)
                    own = {
                        **side,
                        "source": source.file,
                        "counts": {"sources": 1, **part.counts},
                        "problem": part.message or None,
                    }
                    written.append(write_source_table(self.plan, source, table, own, part.size))
        remove_parts(self.folder, self.parts.values())
        return written

    def _begin(self, source: Source, part: Part) -> None:
        """Make ready for a source, with what an interrupted run has kept of it."""
        self._at, self._why, self._video, self._best = (
            source.name,
            "",
            None,
            pictures.BestFaces(self.predictor.au_names),
        )
        annotated = self.plan.annotated(source)
        if annotated is not None and source.kind != "photo":
            assert self.encoder is not None
            after = -1 if part.resume is None else part.resume["after"]
            self._video = VideoPieces(part.folder, annotated, self.encoder, after=after)
        if self.plan.maps and part.resume is not None:
            self._best.restore(part.folder / _BEST)

    def _keep(self, part: Part) -> None:
        """Put on disk what a state counts on, before the state."""
        if self._video is not None:
            self._video.cut()
        if self.plan.maps:
            self._best.save(part.folder / _BEST)

    def _forget(self, part: Part) -> None:
        """Remove what was kept of a source that is finished."""
        if self._video is not None:
            self._video.remove()
        (part.folder / _BEST).unlink(missing_ok=True)
        self._at = None

    def _draw(self, image: ImagePrediction) -> np.ndarray:
        """A picture that was kept, with what was found: (H, W, 3), both even."""
        return draw(
            image, self.predictor.au_names, self.predictor.thresholds, notice=SHORT_NOTICE if self.notice else ""
        )

    def _photo(self, image: ImagePrediction) -> None:
        """Write the pictures of a photo."""
        picture, annotated = self.plan.picture(image.source), self.plan.annotated(image.source)
        if picture is not None and image.faces:
            save_png(pictures.photo_figure(self.predictor, image, notice=self.notice), picture)
        if annotated is not None and image.image is not None:
            write_image(annotated, self._draw(image))

    def _close(self, source: Source, part: Part) -> None:
        """Finish the pictures of a source whose last picture came."""
        if self._video is not None:
            self._video.finish()
        title, path = PurePosixPath(source.name).name, self.plan.map_picture(source)
        figures = [] if path is None else [(self._best.figure(self.predictor, title=title, notice=self.notice), path)]
        path = None if source.kind == "photo" else self.plan.picture(source)
        if path is not None:
            part.flush()
            figures.append(
                (
                    pictures.timeline_figure(
                        self.table(source), self.predictor.au_names, title=title, notice=self.notice
                    ),
                    path,
                )
            )
        for figure, path in figures:
            if figure is not None:
                save_png(figure, path)

    @staticmethod
    def _is_unreadable(part: Part) -> bool:
        """Whether not one picture of a source could be read."""
        return set(part.counts["pictures"]) <= {"unreadable"}

    def _missing(self, source: Source, part: Part) -> str:
        """What to say of a source without any face, or with pictures that cannot be read; empty where nothing is amiss."""
        counts = part.counts["pictures"]
        if counts.get("unreadable"):
            why = f"; the last of them: {self._why}" if self._why else ""
            return f"{counts['unreadable']} of {sum(counts.values())} pictures cannot be read{why}"
        if counts.get("ok"):
            return ""
        return NO_FACE if source.kind == "photo" else f"{NO_FACE} in any of {sum(counts.values())} frames"


def follow_camera(
    predictor: AUPredictor,
    source: Source,
    selection: Selection,
    path: Path,
    *,
    settings: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, int]:
    """Predict a camera's pictures and write the table row by row; Ctrl-C is the usual end.

    Args:
        predictor: who predicts, with a batch size of 1.
        source: the camera.
        selection: which frames.
        path: CSV table; its side file is written at the end.
        settings: as `run_settings` gives them.
        facts: `checkpoint` and `notice` for the side file.

    Returns:
        How many pictures have each status.

    Raises:
        ValueError: the camera cannot be opened or gives nothing; no table is written then.
    """
    table: LiveTable | None = None
    try:
        for item in predictor.stream([source], selection=selection):
            if isinstance(item, SourceEnd) or item.status == "unreadable":
                if table is None:
                    raise ValueError(item.message)
                break
            table = table or LiveTable(path, table_columns(predictor.au_names), predictor.thresholds)
            table.add(item)
    except KeyboardInterrupt:
        if table is None:
            raise
    finally:
        if table is not None:
            table.close()
    assert table is not None
    counts = {"sources": 1, "pictures": dict(table.pictures)}
    write_sidecar(
        predictions_side(
            predictor, checkpoint=facts["checkpoint"], settings=settings, counts=counts, notice=facts["notice"]
        ),
        path,
    )
    return dict(table.pictures)
