"""How fast `auformer prepare` turns videos into crops and a manifest, and how much memory it takes.

    python -m experiments.speed.bench_prepare

Two videos of 1024 x 768 pixels (MPEG-4 in AVI, a rendered face of 416 pixels that wanders over a wall with texture) go
through `auformer.data_prep.pipeline.prepare.prepare` as data set `csv`, with as many worker processes as videos:
decode, detect, align, write. Once with the default face detector, once with the boxes and landmarks of the first run
given (`table:`). Wall-clock time counts, the start of the workers included; and beside it processor time, which other
work on the machine disturbs less, also of each stage alone. Memory is the largest resident memory of a process of its
own that prepares one video, for a short and for a long one. Writes `prepare.json` and `prepare.md`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
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
from auformer.synthetic import AU_NAMES, Identity, Renderer
from experiments.harness import Target, circumstances, in_child, new_parser, resident, target_table, write_result

SIZE = (1024, 768)
ENCODED = 300  # frames that are encoded; the long video repeats them
FACE = 416  # pixels of the face's square: 151 between the pupils
TARGETS = {
    "default_fps": Target("frames a second, default face detector", 15.0, below=False),
    "table_fps": Target("frames a second, boxes and landmarks given", 100.0, below=False),
    "long_mib": Target("largest resident memory over the long video, MiB", 500.0),
    "read_seconds": Target("reading the large manifest (CSV), seconds", 2.0),
    "validate_seconds": Target("validating it, seconds", 3.0),
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--videos", type=int, default=2, help="videos and worker processes (default: %(default)s)")
    add("--frames", type=int, default=300, help="frames of each (default: %(default)s)")
    add("--long", type=int, default=10_000, help="frames of the long video (default: %(default)s)")
    add("--rows", type=int, default=150_000, help="rows of the large manifest (default: %(default)s)")
    add("--rounds", type=int, default=3, help="the best of so many runs counts (default: %(default)s)")
    add("--peak", nargs=3, help=argparse.SUPPRESS)  # root, out, detector: one preparation, in a process of its own
    return parser.parse_args(argv)


def images(frames: int, seed: int) -> Iterator[np.ndarray]:
    """A face that wanders over a wall, (768, 1024, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    renderer = Renderer(FACE)
    face = renderer.render(renderer.bake(Identity.sample(40_000 + seed)), np.zeros(len(AU_NAMES))).image
    wall = cv2.resize(rng.integers(70, 130, (24, 32, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    wall = np.clip(wall + rng.normal(0, 4, wall.shape), 0, 255).astype(np.uint8)
    for frame in range(frames):
        ways = ((304, 120, 31.0), (176, 80, 23.0))
        x, y = (int(middle + reach * np.sin(frame / pace)) for middle, reach, pace in ways)
        image = wall.copy()
        image[y : y + FACE, x : x + FACE] = face
        yield image


def write_videos(root: Path, videos: int, frames: int) -> None:
    """`root/0.avi` ... and the table `root/labels.csv`, a row for each frame; long videos repeat what is encoded."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(videos):
        with av.open(str(root / f"{number}.avi"), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(20), options={"qmin": "3", "qmax": "5"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            packets = []
            for image in images(min(frames, ENCODED), number):
                packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
            packets += stream.encode(None)
            for frame in range(frames):
                encoded = packets[frame % len(packets)]
                packet = av.Packet(bytes(encoded))
                packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 20), frame, frame
                packet.is_keyframe = encoded.is_keyframe
                container.mux(packet)
        rows += [{"video": f"{number}.avi", "frame": frame, "AU12": 0} for frame in range(frames)]
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)


def landmarks_table(out: Path) -> Path:
    """Boxes and landmarks of a prepared folder, in the form that the back-end `table` reads."""
    faces = pd.read_parquet(out / "manifest.faces.parquet")
    key = ["dataset", "subject", "sequence", "frame", "face"]
    path = out / "landmarks.csv"
    read_manifest(out / "manifest.csv")[[*key, "file"]].merge(faces, on=key).to_csv(path, index=False)
    return path


def run_once(root: Path, out: Path, workers: int, detector: str) -> dict[str, Any]:
    """Seconds of one preparation, processor seconds of it and of its workers, and how its rows ended."""
    start, before = time.perf_counter(), os.times()
    done = prepare("csv", root, out, workers=workers, detector=detector, options={"table": "labels.csv"})
    seconds, after = time.perf_counter() - start, os.times()
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(sum(after[:4]) - sum(before[:4]), 2),
        "status": {str(name): int(count) for name, count in done.table["status"].value_counts().items()},
    }


def stages(video: Path, frames: int) -> dict[str, float]:
    """Processor milliseconds a frame of each stage alone, in this process and on one thread."""
    spent = dict.fromkeys(("decode", "detect", "align", "write"), 0.0)
    detector, threads = make_detector("cascade", largest=True), cv2.getNumThreads()
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


def peak_mib(folder: Path, frames: int) -> float | None:
    """Largest resident memory in MiB of a process that prepares a video with given landmarks."""
    known = pd.read_csv(folder / "default0" / "landmarks.csv")
    first = known[known["file"] == "0.avi"].iloc[[0]]
    table, root = folder / f"landmarks{frames}.csv", folder / f"long{frames}"
    first.loc[first.index.repeat(frames)].assign(frame=range(frames)).to_csv(table, index=False)
    write_videos(root, 1, frames)
    peak = in_child("experiments.speed.bench_prepare", "--peak", root, folder / f"out{frames}", f"table:{table}")
    return round(int(peak) / 2**20, 1) or None


def manifest_seconds(folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """Seconds to read and to validate a manifest with BP4D's 12 AUs and five intensities, the best of the rounds."""
    rng, number = np.random.default_rng(0), np.arange(rows)
    subject, sequence = [f"F{k:03d}" for k in number // 4000], [f"T{k}" for k in number // 500 % 8]
    table = pd.DataFrame({"dataset": "bp4d", "subject": subject, "sequence": sequence, "frame": number % 500})
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
    table = f"table:{landmarks_table(folder / 'default0')}"
    given = [run_once(root, folder / f"table{k}", args.videos, table) for k in range(args.rounds)]
    return {
        "default_fps": round(rows / min(run["seconds"] for run in default), 1),
        "table_fps": round(rows / min(run["seconds"] for run in given), 1),
        "short_mib": peak_mib(folder, max(1, args.long // 10)),
        "long_mib": peak_mib(folder, args.long),
        **manifest_seconds(folder, args.rows, args.rounds),
        "stages_ms": stages(root / "0.avi", args.frames),
        "runs_default": default,
        "runs_table": given,
    }


def page(result: dict[str, Any]) -> str:
    how, found = result["settings"], result["measured"]
    alone = ", ".join(f"{name} {value:.1f}" for name, value in found["stages_ms"].items())
    slowest = max(found["stages_ms"], key=found["stages_ms"].get)
    spent = {name: min(run["processor_seconds"] for run in found[f"runs_{name}"]) for name in ("default", "table")}
    rates = {name: how["videos"] * how["videos"] * how["frames"] / seconds for name, seconds in spent.items()}
    status = [found[f"runs_{name}"][0]["status"] for name in ("default", "table")]
    memory = "not known here" if found["short_mib"] is None else f"{found['short_mib']:.0f} MiB"
    return f"""# Preparing videos

`{how["command"]}`: {how["videos"]} videos of {how["frames"]} frames of 1024 x 768, {how["videos"]} worker processes;
long video {how["long"]:,} frames; manifest {how["rows"]:,} rows; OpenCV {how["opencv"]}, PyAV {how["av"]};
{how["machine"]}; commit {how["commit"]}, {how["date"]}.

{target_table(TARGETS, found, form=",.4g")}

By processor time, start of the workers included, {how["videos"]} free cores would do {rates["default"]:.1f} and
{rates["table"]:.1f} frames a second; when the benchmark began, the machine's load was {how["load"]}.
Processor milliseconds a frame of each stage alone: {alone}. What bounds the default run: {slowest}.
Largest resident memory over a video of a tenth of the long one's frames: {memory}.
Rows by status: {status[0]} by default, {status[1]} with given landmarks.
"""


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    if args.peak:
        run_once(Path(args.peak[0]), Path(args.peak[1]), 1, args.peak[2])
        print(resident(peak=True))
        return
    plain = vars(parse_arguments([]))
    sizes = {key: getattr(args, key) for key in ("videos", "frames", "long", "rows", "rounds")}
    words = "".join(f" --{key} {value}" for key, value in sizes.items() if value != plain[key])
    how = {
        **sizes,
        "command": f"python -m experiments.speed.bench_prepare{words}",
        "opencv": cv2.__version__,
        "av": av.__version__,
    }
    how |= circumstances()
    with tempfile.TemporaryDirectory() as folder:
        result = {"settings": how, "measured": measure(args, Path(folder))}
    write_result(args.out, "prepare", result, page(result))
    print(page(result))


if __name__ == "__main__":
    main()
