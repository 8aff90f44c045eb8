"""`auformer predict --cluster ray`: the order of steps, and what is said about them.

Action units (AUs) of your own photos and videos: find the faces, follow and align them, predict.

  auformer predict portrait.jpg --out runs/portrait
  auformer predict talk.mp4 --out runs/talk --annotate --report --plot
  auformer predict videos/ --out runs/videos --format openface --checkpoint runs/demo/adapter.safetensors
  auformer predict "frames/%05d.png" list.txt "clips/*.avi" --out runs/all --every 5
  auformer predict camera:0 --out runs/camera
  auformer predict videos/ --out runs/videos --shard 1/8      (one of eight jobs; then: auformer predict --merge runs/videos)
  auformer predict videos/ --out runs/videos --cluster ray    (on every core here; --address HOST:PORT: on every machine of a Ray cluster)
SOURCE: an image, a video, a folder, a pattern, a .txt file with a path per line, numbered pictures of one recording, camera:0.
Writes DIR/predictions.csv (a row per picture and face, empty where there is no face) with its JSON side file, and one picture per photo.
--format openface or pyfeat writes DIR/NAME.csv per source in those tools' columns instead. Finds upright faces that look at the camera.
What is wrong with one source is reported, the others go on, and the exit code is 1. An interrupted run goes on when the same command is
given again. Without --checkpoint the packaged demo detector is used, which was trained on rendered faces only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.predict.cluster.run import ClusterRun
    from auformer.predict.outputs import Plan
    from auformer.predict.predictor import AUPredictor
    from auformer.predict.recorder import Recorder
    from auformer.predict.sources import Source
    from auformer.predict.types import ImagePrediction, Selection

DEVICES = ("auto", "cpu", "cuda")  # which of several GPUs is Ray's choice


def predict_on_cluster(
    args: argparse.Namespace,
    plan: Plan,
    sources: list[Source],
    selection: Selection,
    load: Callable[[argparse.Namespace], tuple[AUPredictor, dict[str, Any]]],
) -> int:
    """Spread the sources over a cluster, join the tables, say what was done.

    Args:
        args: options of `auformer predict`.
        plan: what to write where.
        sources: all of the collection.
        selection: which frames of recordings.
        load: gives the predictor, and what is known about its checkpoint.

    Returns:
        0, or 1 if something is wrong with a source.

    Raises:
        ValueError: an option does not go with a cluster, or an output exists that is none of this run's.
        ConnectionError: there is no cluster at the address.
        MissingExtraError: Ray is not installed.
    """
    from tqdm import tqdm

    from auformer.errors import require
    from auformer.predict.cluster.ray import check_address
    from auformer.predict.cluster.run import ClusterRun

    _check_options(args, sources)
    require("ray", "cluster")
    check_address(args.address)
    device, args.device = (
        args.device,
        "cpu",
    )  # here the network is only loaded to find mistakes before the work is spread
    predictor, facts = load(args)
    run = ClusterRun(predictor, plan, sources, selection, facts=facts, suffix=args.suffix, overwrite=args.overwrite)
    finished = len(sources) - len(run.pending)
    print(f"{finished} of {len(sources)} sources are done already\n" if finished else "", end="", flush=True)
    bar = tqdm(total=len(sources), initial=finished, unit=" sources", disable=None, smoothing=0.1, file=sys.stderr)
    with bar:
        for _ in run.results(address=args.address, workers=args.workers, device=device):
            bar.update()
    return _say(run)


def _check_options(args: argparse.Namespace, sources: list[Source]) -> None:
    """Refuse what does not go together.

    Raises:
        ValueError: it does not.
    """
    if args.shard is not None:
        raise ValueError(
            "Expected one of --cluster and --shard, but got both: the cluster shares the sources out by itself."
        )
    if sources[0].kind == "camera":
        raise ValueError(
            "Expected files with --cluster, but got a camera: predict that on the machine that it is plugged into."
        )
    if args.report:
        raise ValueError(
            "Expected no --report with --cluster, but got it: make the page of the few files that you want to look at."
        )
    if args.device not in DEVICES:
        raise ValueError(
            f"Expected `--device` to be {', '.join(DEVICES)} with --cluster, but got {args.device!r}: Ray deals out the GPUs."
        )
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"Expected `--workers` to be at least 1, but got {args.workers}.")


def _say(run: ClusterRun) -> int:
    """Join the tables and print what was written and what is wrong; the exit code."""
    from auformer.predict.progress import about

    joined, counts = run.join(), run.counts()
    pictures, faces = sum(counts["pictures"].values()), sum(counts["points_source"].values())
    what = (
        f"{joined[0]} and its side file from {joined[1]} tables" if joined else f"a table per source in {run.plan.out}"
    )
    print(f"wrote {what}: {pictures:,} pictures and frames, {faces:,} faces")
    if run.begun_again:
        print(
            f"begun more than once, because a process ended in the middle: {run.begun_again} of {len(run.sources)} sources"
        )
    for source in run.sources:
        if problem := run.problems.get(source.name):
            print(f"auformer: {about(source.file, problem)}", file=sys.stderr)
    if run.problems:
        print(f"auformer: something is wrong with {len(run.problems)} of {len(run.sources)} sources", file=sys.stderr)
    return 1 if run.problems else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer predict`."""
    add = parser.add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="images, videos, folders, patterns, lists, numbered pictures, camera:0",
    )
    add("--out", type=Path, metavar="DIR", help="folder for the outputs (needed unless --merge)")
    add(
        "--checkpoint",
        default="demo",
        metavar="CKPT",
        help="adapter file, .ckpt, folder, .onnx, demo, hf://owner/name (default: demo)",
    )
    add(
        "--format",
        choices=("native", "openface", "pyfeat"),
        default="native",
        help="columns of the table (default: native)",
    )
    table = parser.add_mutually_exclusive_group()
    table.add_argument(
        "--csv", dest="suffix", action="store_const", const=".csv", default=".csv", help="native table as CSV (default)"
    )
    table.add_argument(
        "--parquet", dest="suffix", action="store_const", const=".parquet", help="native table as Parquet"
    )
    add("--annotate", action="store_true", help="pictures and videos with boxes and AU bars drawn into them")
    add(
        "--plot",
        action=argparse.BooleanOptionalAction,
        help="a picture per photo and a timeline per video (default: photos only)",
    )
    add("--maps", action="store_true", help="a picture per source: where each AU's expert looked")
    add("--report", action="store_true", help="DIR/report.html")
    add("--every", type=int, default=1, metavar="N", help="of videos, only each N-th frame")
    add("--fps", type=float, metavar="F", help="of videos, about F frames a second")
    add("--start", default="0", metavar="TIME", help="of videos, from here on: seconds or [H:]M:S")
    add("--end", metavar="TIME", help="of videos, up to here")
    add("--faces", default="all", metavar="all|largest|N", help="which faces of a picture (default: all)")
    add(
        "--detector",
        default="cascade",
        metavar="SPEC",
        help="how faces are found, as in `auformer prepare` (default: cascade)",
    )
    add(
        "--detect-every",
        type=int,
        default=1,
        metavar="N",
        help="in videos, look for faces in each N-th frame and follow them between",
    )
    add(
        "--threshold",
        metavar="P|FILE",
        help="from which probability on an AU is active: a number, or YAML or JSON, AU: number",
    )
    add("--smooth", type=float, metavar="SECONDS", help="smooth the probabilities of videos over time (default: not)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)")
    add("--batch-size", type=int, default=16, metavar="N", help="faces per batch (default: 16)")
    add(
        "--precision", choices=("32", "bf16", "16"), default="32", help="of the network's matrix products (default: 32)"
    )
    add(
        "--backbone-checkpoint",
        type=Path,
        metavar="FILE",
        help="local file with the frozen weights, where they cannot be fetched",
    )
    add("--shard", metavar="I/N", help="only the I-th of N parts of the sources; one table per source")
    add("--merge", type=Path, metavar="DIR", help="join the tables that shards wrote to DIR into DIR/predictions.csv")
    add(
        "--cluster",
        choices=("ray",),
        help="spread the sources over a Ray cluster: one table per source, joined at the end",
    )
    add("--address", metavar="HOST:PORT", help="of the cluster's head, or auto (default: start Ray on this machine)")
    add("--workers", type=int, metavar="N", help="processes of the cluster (default: one per GPU, or per two cores)")
    add("--overwrite", action="store_true", help="replace existing outputs")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Predict picture by picture, then write the tables.

    Returns:
        0, or 1 if a source has no face, cannot be read, or not to its end.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ValueError: the options do not fit, or an output exists already.
        OSError: the output folder cannot be written.
    """
    from auformer.predict.cluster.run import NAME
    from auformer.predict.outputs import Plan, check_outputs
    from auformer.predict.sources import find_sources, in_shard, unique_stems
    from auformer.predict.types import Selection, parse_shard, parse_time

    if args.merge is not None:
        return _merge(args)
    shard = None if args.shard is None else parse_shard(args.shard)
    if not args.sources or args.out is None:
        args.usage_error("the following arguments are required: " + ("SOURCE" if not args.sources else "--out"))
    if args.cluster is None and (args.address is not None or args.workers is not None):
        args.usage_error("--address and --workers go with --cluster")
    everything, divided = find_sources(args.sources), shard is not None or args.cluster is not None
    names = dict(
        zip([one.name for one in everything], unique_stems(everything, taken=(NAME,) if divided else ()), strict=True)
    )
    sources = [source for source in everything if shard is None or in_shard(source.name, *shard)]
    plan = Plan(
        args.out, names, kind=args.format, suffix=".parquet" if args.cluster and args.format == "native" else args.suffix,
        pictures=args.format == "native" and args.cluster is None if args.plot is None else args.plot, timelines=bool(args.plot),
        annotate=args.annotate, maps=args.maps, report=args.report, shard=shard, per_source=divided,
    )  # fmt: skip
    selection = Selection(
        every=args.every, fps=args.fps, start=parse_time(args.start), end=args.end and parse_time(args.end)
    )
    if args.cluster is not None:
        return predict_on_cluster(args, plan, everything, selection, _load)
    if sources and sources[0].kind == "camera":
        return _camera(args, sources[0], selection, plan)
    check_outputs(plan, [], overwrite=True)  # can anything be written, before the weights are loaded
    predictor, facts = _load(args)
    if not sources:
        print(f"shard {args.shard} holds none of the {len(everything)} sources")
        return 0
    return _predict(args, predictor, plan, sources, selection, {**facts, "num_sources": len(everything)})


def _load(args: argparse.Namespace) -> tuple[AUPredictor, dict[str, Any]]:
    """The predictor, and what is known about its checkpoint; says what the demo detector was trained on."""
    from auformer.commands.evaluate import find_device
    from auformer.models.checkpoints import DEMO_DETECTOR, open_detector, resolve_checkpoint
    from auformer.predict.pipeline import share_cores
    from auformer.predict.predictor import AUPredictor
    from auformer.predict.types import parse_faces, read_thresholds
    from auformer.report.html import DEMO_NOTE
    from auformer.scoring.provenance import file_sha256

    device = find_device(args.device)
    adapter = resolve_checkpoint(args.checkpoint)
    network = open_detector(adapter, device=device, backbone_checkpoint=args.backbone_checkpoint)
    share_cores(network)
    thresholds = None if args.threshold is None else read_thresholds(args.threshold, network.au_names)
    options = {
        "batch_size": args.batch_size, "detector": args.detector, "precision": args.precision, "thresholds": thresholds,
        "faces": parse_faces(args.faces), "detect_every": args.detect_every, "smooth": args.smooth,
    }  # fmt: skip
    predictor = AUPredictor(network, device=device, **options)
    notice = DEMO_NOTE if adapter == DEMO_DETECTOR else None
    print(f"{notice}\n" if notice else "", end="")
    revision = adapter.parent.name if str(args.checkpoint).startswith("hf://") else None
    return predictor, {
        "checkpoint": {"given": str(args.checkpoint), "file": str(adapter), "sha256": file_sha256(adapter), "revision": revision},
        "notice": notice, "options": options, "backbone_checkpoint": args.backbone_checkpoint and str(args.backbone_checkpoint),
    }  # fmt: skip


def _predict(
    args: argparse.Namespace,
    predictor: AUPredictor,
    plan: Any,
    sources: list[Source],
    selection: Selection,
    facts: dict[str, Any],
) -> int:
    """Predict, print, write everything; after an interruption the same command goes on."""
    from tqdm import tqdm

    from auformer.predict.recorder import Recorder
    from auformer.predict.table import fingerprint, run_settings
    from auformer.predict.types import ImagePrediction
    from auformer.predict.video import count_frames

    settings = run_settings(predictor, selection, shard=args.shard)
    outputs = [plan.kind, plan.per_source, plan.pictures, plan.timelines, plan.annotate, plan.maps]
    mark = fingerprint([settings, facts["checkpoint"]["sha256"], outputs])
    recorder = Recorder(predictor, plan, sources, settings=mark, notice=facts["notice"])
    recorder.check_outputs(overwrite=args.overwrite)
    pending = recorder.pending
    if recorder.begun:
        print(f"going on with an interrupted run: {len(sources) - len(pending)} of {len(sources)} sources are done\n")
    totals = [count_frames(source, selection) for source in pending]
    total = None if None in totals else sum(count or 0 for count in totals)
    bar = tqdm(
        total=total, initial=recorder.pictures_done, unit=" frames", disable=None, smoothing=0.1, file=sys.stderr
    )
    try:
        with bar:
            for item in predictor.stream(
                pending, selection=selection, keep_images=plan.annotate, resume=recorder.resume
            ):
                recorder.add(item)
                if isinstance(item, ImagePrediction):
                    bar.update()
                    _show(predictor, item)
        return _write(args, recorder, settings, facts)
    finally:
        recorder.abandon()


def _write(args: argparse.Namespace, recorder: Recorder, settings: dict[str, Any], facts: dict[str, Any]) -> int:
    """Write report and tables, and say what was written; the exit code."""
    from auformer.predict.report import write_report
    from auformer.predict.table import predictions_side

    counts, problems = recorder.counts(), recorder.problems()
    side = predictions_side(
        recorder.predictor, checkpoint=facts["checkpoint"], settings=settings, counts=counts, notice=facts["notice"]
    )
    side["num_sources"] = facts["num_sources"]
    if recorder.plan.report:
        said = dict(problems)
        entries = [(source, recorder.table(source), said.get(source, "")) for source in recorder.sources]
        write_report(recorder.plan.page, entries, side, rendered_only=facts["notice"] is not None, sources=args.sources)
    tables = recorder.write_tables(side)
    if not facts["notice"]:
        print("\nProbabilities that an action unit occurs, not intensities.")
    return _summary(recorder, tables, problems)


def _camera(args: argparse.Namespace, source: Source, selection: Selection, plan: Any) -> int:
    """Read a camera until it ends or somebody presses Ctrl-C; every row is in the table at once."""
    from auformer.predict.outputs import check_outputs
    from auformer.predict.recorder import follow_camera
    from auformer.predict.table import run_settings

    asked = [name for name in ("annotate", "plot", "maps", "report", "shard") if getattr(args, name)]
    if asked or args.format != "native" or args.suffix != ".csv":
        wrong = asked[0] if asked else "format" if args.format != "native" else "parquet"
        raise ValueError(
            f"Expected a camera with a native CSV table only, but got --{wrong}: record a video first, and predict that."
        )
    args.batch_size = 1
    check_outputs(plan, [source], overwrite=args.overwrite)
    predictor, facts = _load(args)
    print("reading the camera; Ctrl-C ends it", flush=True)
    settings = run_settings(predictor, selection, shard=None)
    pictures = follow_camera(predictor, source, selection, plan.table(source), settings=settings, facts=facts)
    print(
        f"\nwrote {plan.table(source)} and its side file: {sum(pictures.values())} frames, {pictures.get('no_face', 0)} without a face"
    )
    return 0


def _merge(args: argparse.Namespace) -> int:
    """Join what shards wrote: 0, or 1 if a source is missing or has a problem."""
    from auformer.predict.cluster.run import merge_tables

    if args.sources:
        args.usage_error("--merge takes no SOURCE")
    path, found, of, problems = merge_tables(args.merge, suffix=args.suffix, overwrite=args.overwrite)
    print(f"wrote {path} and its side file: {found} of {of} sources")
    for file, problem in problems:
        print(f"auformer: {file}: {problem}", file=sys.stderr)
    if found < of:
        print(
            f"auformer: {of - found} sources are missing: run the shards that did not finish again, then merge again",
            file=sys.stderr,
        )
    return 1 if found < of or problems else 0


def _show(predictor: AUPredictor, image: ImagePrediction) -> None:
    """Print what was found in one photo, on stderr what went wrong; of recordings nothing before the end."""
    from tqdm import tqdm

    from auformer.predict.progress import about, photo_lines

    if image.source.kind == "photo" and image.status != "ok":
        tqdm.write(f"auformer: {image.status}: {about(image.file, image.message)}", file=sys.stderr)
    elif image.source.kind == "photo":
        tqdm.write("\n".join(photo_lines(predictor, image)), file=sys.stdout)


def _summary(recorder: Recorder, tables: list[Path], problems: list[tuple[Source, str]]) -> int:
    """Print what was written and where the time went; the exit code."""
    from auformer.predict.progress import about, summary_lines

    print("\n" + "\n".join(summary_lines(recorder, tables)))
    for source, problem in problems:
        if source.kind != "photo":
            print(f"auformer: {about(source.file, problem)}", file=sys.stderr)
    if problems:
        print(f"auformer: something is wrong with {len(problems)} of {len(recorder.sources)} sources", file=sys.stderr)
    return 1 if problems else 0
