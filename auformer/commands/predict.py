"""Predict the action units (AUs) of your own photos and videos: faces are found, tracked, aligned and predicted.

  auformer predict portrait.jpg --out runs/portrait
  auformer predict talk.mp4 --out runs/talk --annotate --report --plot
  auformer predict videos/ --out runs/videos --format openface --checkpoint runs/demo/adapter.safetensors
  auformer predict "frames/%05d.png" list.txt "clips/*.avi" --out runs/all --every 5
  auformer predict camera:0 --out runs/camera
  auformer predict videos/ --out runs/videos --shard 1/8      (one of eight jobs; then --merge runs/videos)
  auformer predict videos/ --out runs/videos --cluster ray    (on all cores here, or on a cluster: --address HOST:PORT)

Writes DIR/predictions.csv (a row per image and face, empty where there is no face) with its JSON sidecar, and a figure
per photo where there are at most 20: the probability that each AU occurs, and its intensity of 0 to 5 where the
checkpoint has a head for it. Blinks (AU45) are found from AU43 over time, in videos of 20 frames a second or more.
--format openface or pyfeat writes DIR/NAME.csv per source in the columns of those tools instead. Only upright faces
that look at the camera are found. A problem with one source is reported, the others continue, and the exit code is 1;
files of a folder that are no images or videos are named at the end. The same command resumes an interrupted run. The
default checkpoint is the packaged AU detector, which was trained on rendered faces only.

Columns of predictions.csv:
  dataset                 user
  subject, sequence       the source: its path below the folder that all sources share
  frame                   counted from 0 in a video (OpenFace's tables count from 1); the image's own number of
                          numbered images; 0 of a photo
  face                    number of the face: over time in a video, by size in a photo (0 is the largest)
  file                    the source as it was named
  time_s                  seconds from the video's beginning; empty where there are no time stamps, as for images
  x, y, w, h              the face's box: left, top, width and height in pixels from the image's upper left corner
  score                   how sure the face detector is, higher is surer; its scale is the detector's own; halved for
                          each word of quality
  quality                 what makes the values less sure, joined by ";": small (a box of less than 40 pixels), cut (by
                          the image's border), covered (by a hand or the like, or turned far); mostly empty
  status                  ok, no_face, or unreadable; only rows with ok have values
  AU12_prob               probability of 0 to 1 that the action unit (here AU12) occurs; one such column per AU
  AU12_active             1 where that reaches the decision threshold (in the sidecar; see --threshold), else 0
  AU12_intensity_pred     0 (absent) to 5 (maximum); only with a checkpoint that has a head for it
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.predict.progress import Written

EVERY = 30.0  # seconds between two lines of progress in a log [ours]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer predict`."""
    _add_input(parser)
    _add_model(parser)
    _add_faces(parser)
    _add_output(parser)
    _add_speed(parser)
    parser.set_defaults(usage_error=parser.error)


def _add_input(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("input").add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="image, video, folder, pattern, .txt list, numbered images, camera:0",
    )
    add("--every", type=int, default=1, metavar="N", help="only every N-th frame of a video")
    add(
        "--fps",
        type=float,
        metavar="F",
        help="about F frames per second of a video; the rate of numbered images, which gives them times",
    )
    add("--start", default="0", metavar="TIME", help="start time in a video: seconds or [H:]M:S")
    add("--end", metavar="TIME", help="end time")


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    add = model.add_argument
    ours = "adapter file, .ckpt, folder, .onnx, demo, hf://owner/name (default: demo)"
    add("--checkpoint", default="demo", metavar="CKPT", help=ours)
    frozen = "local file with the frozen weights, where they cannot be downloaded"
    add("--backbone-checkpoint", type=Path, metavar="FILE", help=frozen)
    decision = model.add_mutually_exclusive_group()
    told = "decision threshold per AU: one number, or YAML or JSON such as AU12: 0.4 (default: the checkpoint's own)"
    decision.add_argument("--threshold", metavar="P|FILE", help=told)
    more = "the checkpoint's lower thresholds: more AUs are called active, and more of them wrongly"
    decision.add_argument("--sensitive", action="store_true", help=more)
    add("--smooth", type=float, metavar="SECONDS", help="smooth all values over time in videos (default: off)")
    resting = "subtract from a face's intensities in a video what is predicted of it at rest (default: off)"
    add("--subtract-resting-level", action="store_true", help=resting)


def _add_faces(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("faces").add_argument
    add("--faces", default="all", metavar="all|largest|N", help="which faces of an image (default: all)")
    spec = "face detector, as in `auformer prepare` (default: cascade)"
    add("--detector", default="cascade", metavar="SPEC", help=spec)
    between = (
        "in videos, detect faces in every N-th frame and move them by optical flow in between (default: follow them by "
        "their landmarks, and detect where one is lost, and every 0.4 s for new ones)"
    )
    add("--detect-every", type=int, metavar="N", help=between)
    smallest = "side in pixels of the smallest face's box; the larger, the faster is the search (default: 40)"
    add("--min-face", type=int, metavar="PX", help=smallest)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--out", type=Path, metavar="DIR", help="output folder (required unless --merge)")
    formats = ("native", "openface", "pyfeat")
    add("--format", choices=formats, default="native", help="columns of the table (default: native)")
    table = group.add_mutually_exclusive_group()
    add = table.add_argument
    kind = "store_const"
    add("--csv", dest="suffix", action=kind, const=".csv", default=".csv", help="native table as CSV (default)")
    add("--parquet", dest="suffix", action=kind, const=".parquet", help="native table as Parquet")
    add = group.add_argument
    plot = "figure per photo, timeline per video (default: figures of up to 20 photos)"
    add("--plot", action=argparse.BooleanOptionalAction, help=plot)
    add("--annotate", action="store_true", help="images and videos with boxes and AU bars drawn into them")
    where = "figure per source: where each AU shows (packaged AU detector), or how much each expert adds (others)"
    add("--maps", action="store_true", help=where)
    add("--report", action="store_true", help="DIR/report.html; more than 30 photos are shown small on it")
    words = "sentences by rule in this language: NAME.descriptions.csv, the report, under annotated images"
    add("--describe", choices=("en", "de"), help=words)
    add("--overwrite", action="store_true", help="replace existing outputs")


def _add_speed(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("speed").add_argument
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps ... (default: auto, a GPU if there is one)")
    add("--batch-size", type=int, default=16, metavar="N", help="faces per batch (default: 16)")
    add("--precision", choices=("32", "bf16", "16"), default="32", help="precision of matrix products (default: 32)")

    add = parser.add_argument_group("cluster").add_argument
    add("--shard", metavar="I/N", help="only the I-th of N shards of the sources; one table per source")
    add("--merge", type=Path, metavar="DIR", help="join the tables that shards wrote to DIR into DIR/predictions.csv")
    add("--cluster", choices=("ray",), help="spread the sources over a Ray cluster: a table per source, then joined")
    add("--address", metavar="HOST:PORT", help="of the cluster's head, or auto (default: start Ray on this machine)")
    add("--workers", type=int, metavar="N", help="processes of the cluster (default: one per GPU, or per two cores)")


def run(args: argparse.Namespace) -> int:
    """Predict and print.

    Returns:
        0, or 1 if there is a problem with a source.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ValueError: The options do not fit, or an output exists already.
        OSError: The output folder cannot be written.
    """
    if args.merge is not None:
        return _merge(args)
    if not args.sources or args.out is None:
        args.usage_error("the following arguments are required: " + ("SOURCE" if not args.sources else "--out"))
    if args.cluster is None and (args.address is not None or args.workers is not None):
        args.usage_error("--address and --workers go with --cluster")
    if args.describe and args.format != "native":
        args.usage_error("--describe goes with --format native")
    print("loading the AU detector ...", file=sys.stderr, flush=True)  # the imports take seconds
    from auformer.predict import Selection, predict_to_files

    names = (
        *("checkpoint", "backbone_checkpoint", "device", "format", "suffix", "plot", "annotate", "maps", "report"),
        *(
            "detector",
            "detect_every",
            "min_face",
            "smooth",
            "subtract_resting_level",
            "describe",
            "batch_size",
            "precision",
            "cluster",
            "address",
            "workers",
            "overwrite",
        ),
    )
    start, end = parse_time(args.start), None if args.end is None else parse_time(args.end)
    with contextlib.closing(Console()) as console:
        written = predict_to_files(
            args.sources,
            args.out,
            selection=Selection(every=args.every, fps=args.fps, start=start, end=end),
            faces=parse_faces(args.faces),
            thresholds=_operating_point(args),
            shard=None if args.shard is None else parse_shard(args.shard),
            progress=console,
            **{name: getattr(args, name) for name in names},
        )
    code = _summary(args, written, console.notice, intensity=bool(console.predictor.intensity_aus))
    for table in written.descriptions:
        print(f"wrote {table} and its sidecar")
    return code


class Console:
    """Prints notices and a single photo, and shows the progress; implements `auformer.predict.Progress`.

    In a terminal as a bar, elsewhere, as in a log, as a line every 30 seconds.
    """

    def __init__(self) -> None:
        self.notice: str | None = None
        self.predictor: Any = None
        self._bar: Any = None
        self._lines: Lines | None = None
        self._single = False

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def loaded(self, predictor: Any, notice: str | None) -> None:
        """Say what the demo network was trained on."""
        self.predictor, self.notice = predictor, notice
        if notice:
            print(notice, flush=True)

    def begun(self, unit: str, total: int | None, done: int, *, finished: int, sources: int) -> None:
        """Say what is done already, and show the bar."""
        from tqdm import tqdm

        if unit == "sources" and finished:
            print(f"{finished} of {sources} sources are done already\n", flush=True)
        elif unit == "camera":
            print("reading the camera; press Ctrl-C to stop", flush=True)
        elif unit == "frames" and sources:
            print(f"resuming an interrupted run: {finished} of {sources} sources are done\n", flush=True)
        self._single = total == 1
        hidden = True if unit == "camera" else None
        if unit != "camera" and not sys.stderr.isatty():
            self._lines = Lines(unit, total, done)
        self._bar = tqdm(total=total, initial=done, unit=f" {unit}", disable=hidden, smoothing=0.1, file=sys.stderr)

    def advanced(self, image: Any) -> None:
        """Print the predictions of a single photo and the problem of any; of videos nothing before the end."""
        from tqdm import tqdm

        from auformer.predict.progress import about, photo_lines

        self._bar.update()
        if self._lines is not None and (line := self._lines.advanced(time.monotonic())):
            print(line, file=sys.stderr, flush=True)
        if image is not None and image.source.kind == "photo":
            if image.status == "ok" and self._single:
                tqdm.write("\n".join(photo_lines(self.predictor, image)), file=sys.stdout)
            elif image.status != "ok":
                tqdm.write(f"auformer: {image.status}: {about(image.file, image.message)}", file=sys.stderr)


class Lines:
    """The progress as lines in a log.

    Args:
        unit: What is counted.
        total: How many there are; None where that is unknown.
        done: How many are done already.
        start: Seconds, by the clock of `advanced`; now by default.
    """

    def __init__(self, unit: str, total: int | None, done: int, *, start: float | None = None) -> None:
        self.unit, self.total, self._begun, self._done = unit, total, done, done
        self._start = self._said = time.monotonic() if start is None else start

    def advanced(self, now: float) -> str:
        """One more is done at a time in seconds: the line that is due, or nothing.

        >>> lines = Lines("frames", 4000, 0, start=0.0)
        >>> [lines.advanced(0.1 * k) for k in range(1, 301)][-1]
        '300 of 4,000 frames, 10.0 a second, 0:06:10 left'
        """
        self._done += 1
        if now - self._said < EVERY:
            return ""
        self._said = now
        rate = (self._done - self._begun) / max(now - self._start, 1e-9)
        told = f"{self._done:,} {self.unit}, {rate:.1f} a second"
        if self.total is None:
            return told
        left = timedelta(seconds=round(max(0, self.total - self._done) / rate))
        return f"{self._done:,} of {self.total:,} {self.unit}, {rate:.1f} a second, {left} left"


def _summary(args: argparse.Namespace, written: Written, notice: str | None, *, intensity: bool) -> int:
    """Print what was written and where there are problems; the exit code."""
    from auformer.predict.progress import about, summary_lines
    from auformer.report.html import meaning

    counts, of = written.counts["pictures"], len(written.sources)
    if not of:
        print(f"shard {args.shard} holds none of the sources")
        return 0
    if args.cluster:
        faces, images = sum(written.counts["points_source"].values()), sum(counts.values())
        what = f"a table per source in {written.out}"
        if written.tables:
            what = f"{written.tables[0]} and its sidecar from {written.joined} tables"
        print(f"wrote {what}: {images:,} images and frames, {faces:,} faces")
        if written.begun_again:
            print(f"started more than once, because a process died: {written.begun_again} of {of} sources")
        for note in written.notes:
            print(note)
    elif written.sources[0].kind == "camera":
        frames = f"{sum(counts.values())} frames, {counts.get('no_face', 0)} without a face"
        print(f"\nwrote {written.tables[0]} and its sidecar: {frames}")
    else:
        if not notice:
            print(f"\n{meaning(intensity=intensity)}")
        print("\n" + "\n".join(summary_lines(written)))
    for source, problem in written.problems:
        if args.cluster or source.kind != "photo":  # those of photos are printed already
            print(f"auformer: {about(source.file, problem)}", file=sys.stderr)
    if written.problems:
        print(f"auformer: problems with {len(written.problems)} of {of} sources", file=sys.stderr)
    return 1 if written.problems else 0


def _merge(args: argparse.Namespace) -> int:
    """Join what shards wrote: 0, or 1 if a source is missing or has a problem."""
    from auformer.predict import merge_tables

    if args.sources:
        args.usage_error("--merge takes no SOURCE")
    path, found, of, problems = merge_tables(args.merge, suffix=args.suffix, overwrite=args.overwrite)
    print(f"wrote {path} and its sidecar: {found} of {of} sources")
    for file, problem in problems:
        print(f"auformer: {file}: {problem}", file=sys.stderr)
    if found < of:
        again = "run the unfinished shards again, then merge again"
        print(f"auformer: {of - found} sources are missing: {again}", file=sys.stderr)
    return 1 if found < of or problems else 0


def parse_time(text: str) -> float:
    """Seconds, from seconds or `[H:]M:S`.

    >>> parse_time("1:30"), parse_time("2.5"), parse_time("1:00:00")
    (90.0, 2.5, 3600.0)
    """
    parts = text.split(":")
    try:
        if len(parts) > 3:
            raise ValueError
        return float(sum(float(part) * 60**power for power, part in enumerate(reversed(parts))))
    except ValueError:
        raise ValueError(f"Expected `--start` and `--end` to be seconds or [H:]M:S, but got {text!r}.") from None


def parse_faces(text: str) -> int | None:
    """How many of the largest faces: None for `all`, 1 for `largest`, or a number from 1 on.

    >>> parse_faces("all"), parse_faces("largest"), parse_faces("3")
    (None, 1, 3)
    """
    if text in ("all", "largest"):
        return None if text == "all" else 1
    if not text.isdecimal() or not int(text):
        raise ValueError(f"Expected `--faces` to be all, largest or a number from 1 on, but got {text!r}.")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` with 1 <= I <= N.

    >>> parse_shard("2/8")
    (2, 8)
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise ValueError(f"Expected `--shard` to be I/N with I from 1 to N, but got {text!r}.")
    return int(first), int(count)


def _operating_point(args: argparse.Namespace) -> float | dict[str, float] | str | None:
    """What `--threshold` or `--sensitive` ask for."""
    if args.sensitive:
        return "sensitive"
    return None if args.threshold is None else read_thresholds(args.threshold)


def read_thresholds(text: str) -> float | dict[str, float]:
    """One threshold for all AUs, or per AU from a YAML or JSON file; AUs that it does not name keep the checkpoint's.

    >>> read_thresholds("0.4")
    0.4
    """
    import yaml

    from auformer.aus import canonical

    try:
        return float(text)
    except ValueError:
        path = Path(text)
    if not path.is_file():
        raise ValueError(
            f"Expected `--threshold` to be a number in [0, 1] or a file, but got {text!r}; check the path."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        return {canonical(au): float(value) for au, value in content.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {path} to hold a line such as `AU12: 0.4` per action unit, but it does not ({error})."
        ) from error
