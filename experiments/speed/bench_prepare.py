"""How fast faces are cut out of videos, how much memory a long one takes, and how fast a large manifest is read.

    python experiments/bench_prepare.py

Two videos of 1024 x 768 pixels (MPEG-4 in AVI, a rendered face of 416 pixels that wanders over a wall with texture) go through
`auformer.data_prep.pipeline.prepare.prepare` as data set `csv`, with as many worker processes as videos: decode, detect, align, write. Once with
the default detector, once with the boxes and points of the first run given (`table:`). Wall-clock time counts, the start of the workers
included; and beside it processor time, which other work on the machine disturbs less, also of each stage alone. Memory is the largest
resident memory of a process of its own that prepares one video, for a short and for a long
one. Writes `prepare.json` and `prepare.md`. More than 250 lines, so that what is measured and how it is reported are in one place.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import numpy as np
import pandas as pd

from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, validate_manifest, write_manifest
from auformer.data.table_file import read_table
from auformer.data_prep.formats.videos import read_frames
from auformer.data_prep.pipeline.prepare import prepare
from auformer.faces import crop_matrix, make_detector, warp
from auformer.files import write_text
from auformer.scoring.provenance import commit, machine
from auformer.synthetic import Identity, Renderer

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1024, 768)
ENCODED = 300  # frames that are encoded; the long video repeats them
FACE = 416  # pixels of the face's square: 151 between the pupils

# name: (what, bound, whether the figure must stay below it)
TARGETS = {
    "default_fps": ("frames a second, default detector", 15.0, False),
    "table_fps": ("frames a second, boxes and points given", 100.0, False),
    "long_mib": ("largest resident memory over the long video, MiB", 500.0, True),
    "read_seconds": ("reading the large manifest (CSV), seconds", 2.0, True),
    "validate_seconds": ("validating it, seconds", 3.0, True),
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=2, help="videos and worker processes (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=300, help="frames of each (default: %(default)s)")
    parser.add_argument("--long", type=int, default=10_000, help="frames of the long video (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=150_000, help="rows of the large manifest (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many runs counts (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "experiments" / "results", help="folder for prepare.json and prepare.md"
    )
    parser.add_argument(
        "--peak", nargs=3, metavar=("ROOT", "OUT", "DETECTOR"), help=argparse.SUPPRESS
    )  # the child process of `peak_mib`
    return parser.parse_args(argv)


def pictures(frames: int, seed: int) -> Iterator[np.ndarray]:
    """A face that wanders over a wall, (768, 1024, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    renderer = Renderer(FACE)
    face = renderer.render(renderer.bake(Identity.sample(40_000 + seed)), np.zeros(17)).image
    wall = cv2.resize(rng.integers(70, 130, (24, 32, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    wall = np.clip(wall + rng.normal(0, 4, wall.shape), 0, 255).astype(np.uint8)
    for frame in range(frames):
        x, y = (
            int(middle + reach * np.sin(frame / pace)) for middle, reach, pace in ((304, 120, 31.0), (176, 80, 23.0))
        )
        picture = wall.copy()
        picture[y : y + FACE, x : x + FACE] = face
        yield picture


def write_videos(root: Path, videos: int, frames: int) -> None:
    """`root/0.avi` ... and the table `root/labels.csv` with a row for each frame; long videos repeat what is encoded."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(videos):
        with av.open(str(root / f"{number}.avi"), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(20), options={"qmin": "3", "qmax": "5"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            packets = []
            for picture in pictures(min(frames, ENCODED), number):
                packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            packets += stream.encode(None)
            for frame in range(frames):
                encoded = packets[frame % len(packets)]
                packet = av.Packet(bytes(encoded))
                packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 20), frame, frame
                packet.is_keyframe = encoded.is_keyframe
                container.mux(packet)
        rows += [{"video": f"{number}.avi", "frame": frame, "AU12": 0} for frame in range(frames)]
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)


def points_table(out: Path) -> Path:
    """Boxes and points of a prepared folder, in the form that the back-end `table` reads."""
    faces = pd.read_parquet(out / "manifest.faces.parquet")
    key = ["dataset", "subject", "sequence", "frame", "face"]
    table = read_manifest(out / "manifest.csv")[[*key, "file"]].merge(faces, on=key)
    path = out / "points.csv"
    table.to_csv(path, index=False)
    return path


def run_once(root: Path, out: Path, workers: int, detector: str) -> dict[str, Any]:
    """Seconds of one preparation, processor seconds of it and of its workers, and how its rows ended."""
    start, before = time.perf_counter(), os.times()
    done = prepare("csv", root, out, workers=workers, detector=detector, options={"table": "labels.csv"})
    seconds, after = time.perf_counter() - start, os.times()
    status = {str(name): int(count) for name, count in done.table["status"].value_counts().items()}
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(sum(after[:4]) - sum(before[:4]), 2),
        "status": status,
    }


def stages(video: Path, frames: int) -> dict[str, float]:
    """Processor milliseconds a frame of each stage alone, in this process and on one thread."""
    spent = dict.fromkeys(("decode", "detect", "align", "write"), 0.0)
    detector = make_detector("cascade", largest=True)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        for position, image, _, _ in read_frames(video, range(frames)):
            assert image is not None
            times = [start, time.process_time()]
            faces = detector(image)
            times.append(time.process_time())
            if faces:
                crop = warp(image, crop_matrix(faces[0].points, "eyes", 224, faces[0].box), 224)
                times.append(time.process_time())
                write_image(Path(folder, f"{position}.jpg"), crop)
                times.append(time.process_time())
            for name, seconds in zip(spent, np.diff(times), strict=False):
                spent[name] += 1000 * float(seconds) / frames
            start = time.process_time()
    cv2.setNumThreads(threads)
    return {name: round(value, 2) for name, value in spent.items()}


def peak_mib(root: Path, out: Path, detector: str) -> float:
    """Largest resident memory in MiB of a process that prepares a folder of videos one after the other; nan where it is not known."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, __file__, "--peak", str(root), str(out), detector]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def resident_peak() -> float:
    """Largest resident memory of this process so far, in MiB, as Linux counts it."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


def manifest_seconds(folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """Seconds to read and to validate a manifest with BP4D's 12 action units and five intensities; the best of some rounds."""
    rng, number = np.random.default_rng(0), np.arange(rows)
    table = pd.DataFrame(
        {"dataset": "bp4d", "subject": number // 4000, "sequence": number // 500 % 8, "frame": number % 500}
    )
    table = table.assign(subject=[f"F{k:03d}" for k in table["subject"]], sequence=[f"T{k}" for k in table["sequence"]])
    table["image"] = "crops/" + table["subject"] + "/" + table["sequence"] + "/" + table["frame"].astype(str) + ".jpg"
    for au in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24):
        table[f"AU{au}"] = rng.integers(0, 2, rows)
    for au in (6, 10, 12, 14, 17):
        table[f"AU{au}_intensity"] = rng.integers(0, 6, rows).astype(float)
    path = folder / "large.csv"
    write_manifest(table, path, {})
    seconds: dict[str, list[float]] = {"read_seconds": [], "validate_seconds": []}
    for _ in range(rounds):
        start = time.perf_counter()
        loaded = read_table(path)
        between = time.perf_counter()
        validate_manifest(loaded)
        seconds["validate_seconds"].append(time.perf_counter() - between)
        seconds["read_seconds"].append(between - start)
    return {name: round(min(values), 3) for name, values in seconds.items()}


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything in `TARGETS`, and what is behind it."""
    root, rows = folder / "short", args.videos * args.frames
    write_videos(root, args.videos, args.frames)
    default = [run_once(root, folder / f"default{k}", args.videos, "cascade") for k in range(args.rounds)]
    table = f"table:{points_table(folder / 'default0')}"
    given = [run_once(root, folder / f"table{k}", args.videos, table) for k in range(args.rounds)]
    lengths = (max(1, args.long // 10), args.long)
    peaks = {}
    for frames in lengths:
        write_videos(folder / f"long{frames}", 1, frames)
        source = f"table:{points_table_long(folder, frames)}"
        peaks[frames] = round(peak_mib(folder / f"long{frames}", folder / f"out{frames}", source), 1)
    return {
        "default_fps": round(rows / min(run["seconds"] for run in default), 1),
        "table_fps": round(rows / min(run["seconds"] for run in given), 1),
        "long_mib": peaks[args.long],
        "short_mib": peaks[lengths[0]],
        **manifest_seconds(folder, args.rows, args.rounds),
        "stages_ms": stages(root / "0.avi", args.frames),
        "runs_default": default,
        "runs_table": given,
    }


def points_table_long(folder: Path, frames: int) -> Path:
    """The middle of the face for every frame of a long video: points that are known because they were drawn."""
    known = pd.read_csv(folder / "default0" / "points.csv")
    first = known[known["file"] == "0.avi"].iloc[[0]]
    path = folder / f"points{frames}.csv"
    first.loc[first.index.repeat(frames)].assign(frame=range(frames)).to_csv(path, index=False)
    return path


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    how, found = result["settings"], result["measured"]
    lines = [
        "# Preparing videos",
        "",
        f"`{how['command']}`: {how['videos']} videos of {how['frames']} frames of 1024 x 768, {how['videos']} worker processes; long video "
        f"{how['long']:,} frames; manifest {how['rows']:,} rows; OpenCV {cv2.__version__}, PyAV {av.__version__}; {how['machine']}; commit "
        f"{how['commit']}, {how['date']}.",
        "",
        "| what | measured | target | |",
        "|---|---|---|---|",
    ]
    for name, (what, bound, below) in TARGETS.items():
        value = found[name]
        met = (
            "not known here" if value != value else "met" if (value <= bound if below else value >= bound) else "missed"
        )
        lines.append(f"| {what} | {value:,.4g} | {'at most' if below else 'at least'} {bound:g} | {met} |")
    alone = ", ".join(f"{name} {value:.1f}" for name, value in found["stages_ms"].items())
    slowest = max(found["stages_ms"], key=found["stages_ms"].get)
    spent = {name: min(run["processor_seconds"] for run in found[f"runs_{name}"]) for name in ("default", "table")}
    rates = {name: how["videos"] * how["videos"] * how["frames"] / seconds for name, seconds in spent.items()}
    lines += [
        "",
        f"By processor time, start of the workers included, {how['videos']} free cores would do {rates['default']:.1f} and "
        f"{rates['table']:.1f} frames a second; when the benchmark began, the machine's load was {how['load']}.",
        f"Processor milliseconds a frame of each stage alone: {alone}. What bounds the default run: {slowest}.",
        f"Largest resident memory over a video of a tenth of the long one's frames: {found['short_mib']:.0f} MiB.",
        f"Rows by status: {found['runs_default'][0]['status']} by default, {found['runs_table'][0]['status']} with points given.",
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write both files."""
    args = parse_arguments(argv)
    if args.peak:
        run_once(Path(args.peak[0]), Path(args.peak[1]), 1, args.peak[2])
        print(resident_peak())
        return
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(args, Path(folder))
    settings = {key: getattr(args, key) for key in ("videos", "frames", "long", "rows", "rounds")}
    words = "".join(
        f" --{key} {value}" for key, value in settings.items() if value != parse_arguments([]).__dict__[key]
    )
    facts = {
        "command": f"python experiments/bench_prepare.py{words}",
        "machine": machine(),
        "commit": commit(),
        "load": load,
    }
    result = {
        "settings": {**settings, **facts, "date": datetime.now(timezone.utc).date().isoformat()},
        "measured": measured,
    }
    write_text(args.out / "prepare.json", json.dumps(result, indent=2) + "\n")
    write_text(args.out / "prepare.md", text(result))
    print(text(result))


if __name__ == "__main__":
    main()
