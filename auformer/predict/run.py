"""`predict_to_files`: one resumable run from sources to files, everything of `auformer predict` but the printing."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auformer.data.table_file import write_sidecar
from auformer.files import check_writable
from auformer.predict.descriptions import write_rule_descriptions
from auformer.predict.outputs import NAME, Plan
from auformer.predict.progress import Progress, Silent, Written, left_out_note
from auformer.predict.recorder import COUNTED, Recorder
from auformer.predict.sidecar import Loaded, run_mark, run_settings
from auformer.predict.sources import Source, find_sources, in_shard, left_out, unique_stems
from auformer.predict.table import table_columns, table_rows
from auformer.predict.types import ImagePrediction, Selection, SourceEnd
from auformer.predict.video import count_frames

MOST_FIGURES = 20  # photos that get a figure each unasked [ours]: a folder of thousands becomes no pile of pictures
MOST_NAMED = 1000  # files that were not read which a sidecar names [ours]


def predict_to_files(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    checkpoint: str | Path = "demo",
    backbone_checkpoint: str | Path | None = None,
    device: str = "auto",
    format: str = "native",
    suffix: str = ".csv",
    plot: bool | None = None,
    annotate: bool = False,
    maps: bool = False,
    report: bool = False,
    selection: Selection | None = None,
    faces: int | None = None,
    detector: str = "cascade",
    detect_every: int | None = None,
    min_face: int | None = None,
    thresholds: float | Mapping[str, float] | str | None = None,
    smooth: float | None = None,
    subtract_resting_level: bool = False,
    describe: str | None = None,
    batch_size: int = 16,
    precision: str = "32",
    shard: tuple[int, int] | None = None,
    cluster: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Predict the action units of photos and videos, and write tables, figures, annotated videos and a report.

    The same call resumes an interrupted run. A problem with one source is reported, and the others continue.

    Args:
        sources: One or more, in any form that `find_sources` takes; a camera is read until it ends or until Ctrl-C.
        out: The output folder.
        checkpoint: Anything that `auformer.models.open_detector` takes.
        backbone_checkpoint: Local file with the frozen weights, where they cannot be fetched.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` and so on.
        format: Columns of the table: `native`, or `openface` or `pyfeat`, one table per source.
        suffix: `.csv` or `.parquet`, of native tables.
        plot: A figure per photo and a timeline per video; by default photos only, of at most 20, and none on a cluster.
        annotate: Annotated images and videos.
        maps: A figure of evidence maps per source.
        report: `report.html`.
        selection: Which frames of videos; all by default.
        faces: How many of the largest faces of each image; all by default.
        detector: The face detector, as `auformer.faces.make_detector` takes it.
        detect_every: In videos, detect faces in every N-th frame and move them by optical flow in between; by default
            they are followed by their landmarks, and detected where one is new or lost.
        min_face: Pixels of the smallest face's box; 40 by default, and 0 for tables of faces.
        thresholds: Decision threshold for all AUs, or per AU, or `sensitive`; the checkpoint's own by default.
        smooth: Time constant in seconds by which the probabilities and intensities of a video are smoothed.
        subtract_resting_level: Subtract from the intensities of each face in a video what is predicted of it at rest,
            see `auformer.predict.resting`; what occurs stays as it is.
        describe: Sentences by rule in this language, `en` or `de`: beside each native table, on the page, and under
            annotated images.
        batch_size: Faces per batch.
        precision: `32`, `bf16` or `16`.
        shard: Only shard number I of N, each source in a table of its own; see `merge_tables`.
        cluster: `ray` spreads the sources over a Ray cluster: a table per source, joined at the end.
        address: HOST:PORT of the cluster's head, or `auto`; None starts Ray on this machine.
        workers: Processes of the cluster; by default one per GPU, or per two cores.
        overwrite: Replace existing outputs.
        progress: What is called while the run works.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ValueError: The arguments do not fit, or an output exists that is not of this run.
        OSError: The output folder cannot be written.
    """
    out, selection, progress = Path(out), selection or Selection(), progress or Silent()
    words = [sources] if isinstance(sources, str | Path) else list(sources)
    everything, divided = find_sources(words), shard is not None or cluster is not None
    stems = unique_stems(everything, taken=(NAME,) if divided else ())
    plan = Plan(
        out, dict(zip([source.name for source in everything], stems, strict=True)), kind=format,
        suffix=".parquet" if cluster and format == "native" else suffix, per_source=divided,
        photo_figures=_figures_unasked(everything, format, cluster) if plot is None else plot, timelines=bool(plot),
        annotate=annotate, maps=maps, report=report, shard=shard,
        resting=subtract_resting_level, describe=describe or "",
    )  # fmt: skip
    options: dict[str, Any] = {
        "batch_size": batch_size, "detector": detector, "precision": precision, "thresholds": thresholds,
        "faces": faces, "detect_every": detect_every, "smooth": smooth, "min_face": min_face,
    }  # fmt: skip

    def load(on: str) -> Loaded:
        loaded = Loaded(checkpoint, backbone_checkpoint, on, options, maps=maps)
        progress.loaded(loaded.predictor, loaded.notice)
        return loaded

    if cluster is not None:
        from auformer.predict.cluster.run import predict_on_cluster

        done = predict_on_cluster(
            load, plan, everything, selection,
            suffix=suffix, address=address, workers=workers, device=device, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        return _described(replace(done, notes=[*done.notes, *left_out_note(left_out(words, out))]), plan)
    if everything[0].kind == "camera":
        further = plot or annotate or maps or report or shard or subtract_resting_level
        if further or format != "native" or suffix != ".csv":
            raise ValueError(
                "Expected a camera with a native CSV table only: no figures, report, shard, resting level or other "
                "format; record a video first, and predict that."
            )
        plan.check(everything, everything, page=False, overwrite=overwrite)
        options["batch_size"] = 1
        return _described(_follow_camera(load(device), plan, everything[0], selection, progress), plan)
    check_writable(out)  # before the weights are loaded
    loaded = load(device)
    mine = [source for source in everything if shard is None or in_shard(source.name, *shard)]
    if not mine:
        return Written(out, [], [], {"sources": 0, **{name: {} for name in COUNTED}}, [])
    named = shlex.join(map(str, words))
    command = f"auformer predict {named} --checkpoint {shlex.quote(str(checkpoint))}"
    others = left_out(words, out)
    more = {"num_sources": len(everything), "left_out": {"count": len(others), "files": others[:MOST_NAMED]}}
    done = _predict(loaded, plan, mine, selection, more, command, overwrite, progress)
    return _described(replace(done, notes=[*done.notes, *left_out_note(others)]), plan)


def _described(done: Written, plan: Plan) -> Written:
    """A run with its sentences by rule beside the tables, where they were asked for."""
    if not plan.describe:
        return done
    return replace(done, descriptions=[write_rule_descriptions(table, plan.describe) for table in done.tables])


def _figures_unasked(sources: Sequence[Source], format: str, cluster: str | None) -> bool:
    """Whether photos get a figure each where none is asked for."""
    photos = sum(source.kind == "photo" for source in sources)
    return format == "native" and cluster is None and photos <= MOST_FIGURES


def _predict(
    loaded: Loaded, plan: Plan, sources: list[Source], selection: Selection, more: dict[str, Any], command: str,
    overwrite: bool, progress: Progress,
) -> Written:  # fmt: skip
    """Predict sources on this machine, then write report and tables; `more` goes into the sidecars."""
    predictor = loaded.predictor
    settings = run_settings(predictor, selection, plan.shard, resting=plan.resting)
    mark = run_mark(settings, loaded.checkpoint, plan)
    recorder = Recorder(predictor, plan, sources, mark=mark, notice=loaded.notice)
    recorder.check_outputs(overwrite=overwrite)
    pending = recorder.pending
    totals = [count_frames(source, selection) for source in pending]
    total = None if None in totals else sum(count or 0 for count in totals)
    finished = len(sources) - len(pending)
    resumed = len(sources) if recorder.begun else 0
    progress.begun("frames", total, recorder.images_done, finished=finished, sources=resumed)
    stream = predictor.stream(pending, selection=selection, keep_images=plan.annotate, resume=recorder.resume)
    try:
        for item in stream:
            recorder.add(item)
            if isinstance(item, ImagePrediction):
                progress.advanced(item)
        side = loaded.sidecar(settings, recorder.counts()) | more
        problems = recorder.problems()
        if plan.page:
            from auformer.predict.report import write_report

            said, entries, levels = dict(problems), [], {}
            for source in sources:
                table, found = recorder.finished([source])
                entries.append((source, table, said.get(source, "")))
                levels.update(found.get("resting_levels", {}))
            write_report(
                plan.page, entries, {**side, "resting_levels": levels}, command=command, describe=plan.describe
            )
        tables = recorder.write_tables(side)
    finally:
        recorder.abandon()
    counts, seconds = recorder.counts(), predictor.clock.seconds
    photos = [recorder.parts[source.name].counts["pictures"] for source in sources if source.kind == "photo"]
    return Written(
        plan.out, sources, tables, counts, problems, seconds=seconds, encoder=recorder.encoder,
        notes=list(recorder.notes), photos_read=sum(one.total() - one["unreadable"] for one in photos),
    )  # fmt: skip


def _follow_camera(loaded: Loaded, plan: Plan, source: Source, selection: Selection, progress: Progress) -> Written:
    """Predict a camera's images, each row in the table at once; Ctrl-C is the usual end."""
    predictor, path, counts = loaded.predictor, plan.table(source), Counter[str]()
    names, intensity_aus = predictor.au_names, predictor.intensity_aus
    progress.begun("camera", None, 0, finished=0, sources=0)
    table: Any = None
    try:
        for item in predictor.stream([source], selection=selection):
            if isinstance(item, SourceEnd) or item.status == "unreadable":
                if table is None:
                    raise ValueError(item.message)
                break
            if table is None:  # a camera that cannot be opened replaces nothing
                table = path.open("w", encoding="utf-8", newline="")
                csv.writer(table, lineterminator="\n").writerow(table_columns(names, intensity_aus))
            rows = table_rows(item, names, predictor.thresholds, intensity_aus)
            csv.writer(table, lineterminator="\n").writerows(rows)
            table.flush()
            counts[item.status] += 1
            progress.advanced(item)
    except KeyboardInterrupt:
        if table is None:
            raise
    finally:
        if table is not None:
            table.close()
    totals = {"sources": 1, "pictures": dict(counts)}
    write_sidecar(loaded.sidecar(run_settings(predictor, selection), totals), path)
    return Written(plan.out, [source], [path], totals, [])
