"""Reading a plain MP4 file: frames per second of the film reader, a bare PyAV loop and an older reader.

    python -m experiments.speed.bench_video --before d547d23

A H.264 file of moving noise, with B-frames. In turn: every frame of it becomes an image; every fifth one does and the
others are passed over. The bare loop decodes every frame and turns it into an image by PyAV alone. `--before` takes
`auformer/predict/video.py` of a commit before 2026-11-29 out of git and times it in the same rounds. All in
processor time, all threads counted, which other programs on the machine hardly change; ratios are the median over
rounds of the ratio within a round. Writes `video.json` and `video.md`.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
import time
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from auformer.data.video import read_video
from experiments.harness import ROOT, circumstances, medians, new_parser, ratio, write_result

EVERY = 5  # of the frames that are kept in the second way
OLD = "auformer/predict/video.py"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--frames", type=int, default=250, help="frames of the file (default: %(default)s)")
    add("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"), help="(default: 640 480)")
    add("--rounds", type=int, default=9, help="(default: %(default)s)")
    add("--before", metavar="COMMIT", help="also the reader of this commit")
    return parser.parse_args(argv)


def write_noise(path: Path, frames: int, size: tuple[int, int]) -> None:
    """A H.264 file of coarse noise that moves by a pixel per frame."""
    width, height = size
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    wide = cv2.resize(coarse, (width + frames, height), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for start in range(frames):
            image = np.ascontiguousarray(wide[:, start : start + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def processor_time_in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of each way in every round; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if number:
                seconds[name].append(time.process_time() - start)
    return seconds


def read_bare(path: Path) -> int:
    """PyAV alone."""
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            count += bool(frame.to_ndarray(format="rgb24").size)
    return count


def read_now(path: Path, every: int) -> int:
    """The film reader; every so many frames become images."""
    return sum(bool(frame.image().size) for frame in itertools.islice(read_video(path), 0, None, every))


def old_reader(commit: str) -> Callable[[Path, int], int]:
    """The reader of a commit, out of git."""
    shown = subprocess.run(["git", "show", f"{commit}:{OLD}"], cwd=ROOT, check=True, capture_output=True, text=True)
    module = types.ModuleType("old_video")
    exec(compile(shown.stdout, OLD, "exec"), module.__dict__)
    from auformer.predict.types import Selection

    return lambda path, every: sum(bool(frame.image.size) for frame in module.read_video(path, Selection(every=every)))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each way, and ratios of frames per second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.mp4"
        write_noise(path, args.frames, tuple(args.size))
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda: read_bare(path),
            "now": lambda: read_now(path, 1),
            f"now, 1 of {EVERY}": lambda: read_now(path, EVERY),
        }
        if args.before:
            before = old_reader(args.before)
            ways |= {"before": lambda: before(path, 1), f"before, 1 of {EVERY}": lambda: before(path, EVERY)}
        seconds = processor_time_in_turn(ways, args.rounds)
    ratios = {"now / bare": ratio(seconds, "bare", "now")}
    if args.before:
        ratios["now / before"] = ratio(seconds, "before", "now")
        ratios[f"now / before, 1 of {EVERY}"] = ratio(seconds, f"before, 1 of {EVERY}", f"now, 1 of {EVERY}")
    return {"fps": {name: args.frames / each for name, each in medians(seconds).items()}, "ratios": ratios}


def page(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    how = result["settings"]
    rates = "\n".join(f"| {name} | {rate:.0f} |" for name, rate in result["fps"].items())
    ratios = "\n".join(f"| {name} | {value:.2f} |" for name, value in result["ratios"].items())
    before = f"; before: the reader of commit {how['before']}" if how["before"] else ""
    return f"""# Reading videos

`{how["command"]}`: H.264 in MP4 with B-frames, {how["size"][0]} x {how["size"][1]}, {how["frames"]} frames,
{how["rounds"]} rounds{before}; PyAV {how["av"]}; {how["machine"]}; commit {how["commit"]}, {how["date"]}; load when it
began {how["load"]}.

| way | frames a second of processor time |
| --- | ---: |
{rates}

| frames a second of, over those of | median over rounds |
| --- | ---: |
{ratios}
"""


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    width, height = args.size
    command = (
        f"python -m experiments.speed.bench_video --frames {args.frames} --size {width} {height} --rounds {args.rounds}"
    )
    command += f" --before {args.before}" if args.before else ""
    settings = {
        "command": command,
        "frames": args.frames,
        "size": list(args.size),
        "rounds": args.rounds,
        "before": args.before,
    }
    result = {"settings": {**settings, **circumstances("av")}, **measure(args)}
    write_result(args.out, "video", result, page(result))


if __name__ == "__main__":
    main()
