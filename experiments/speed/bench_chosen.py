"""What `--every N` saves in decoding: processor time of `read_chosen` beside that of reading all frames.

    python -m experiments.speed.bench_chosen

A moving pattern in H.264 videos of 640 x 360, with key frames at several distances and with or without frames that no
other refers to; one thread, no image made of any frame. Writes `chosen.json` and `chosen.md`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from auformer.data.chosen import read_chosen
from auformer.data.video import read_video
from auformer.scoring.tables import Table
from experiments.harness import circumstances, new_parser, write_result

SIZE = (640, 360)
EVERY = (2, 5, 10, 30, 60)
VIDEOS = {"12, none": (12, 0), "30, none": (30, 0), "30, 3": (30, 3), "250, none": (250, 0), "250, 3": (250, 3)}


def write_pattern(path: Path, frames: int, gop: int, bframes: int) -> None:
    """A video of 30 frames a second with a key frame every `gop` frames, none at changes of scene."""
    coarse = np.random.default_rng(1).integers(0, 256, (SIZE[1] // 20, SIZE[0] // 20, 3), dtype=np.uint8)
    wall = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    options = {"preset": "veryfast", "crf": "20", "bf": str(bframes), "x264-params": "scenecut=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        stream.codec_context.gop_size = gop
        for k in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(wall, k, 1), format="rgb24")))
        container.mux(stream.encode(None))


def spent(frames: Iterator[Any]) -> float:
    """Processor seconds of going through frames."""
    start = time.process_time()
    for _ in frames:
        pass
    return time.process_time() - start


def measure(path: Path, rounds: int) -> dict[str, float]:
    """Milliseconds a frame of all frames, and how many times as fast each choice is: medians over rounds."""
    number, found = sum(1 for _ in read_video(path)), dict[str, list[float]]()
    for _ in range(rounds):
        whole = spent(read_video(path, threads=1))
        found.setdefault("ms", []).append(1e3 * whole / number)
        for every in EVERY:
            part = spent(read_chosen(path, lambda index, _, every=every: index % every == 0, threads=1))
            found.setdefault(str(every), []).append(whole / part)
    return {name: round(float(np.median(values)), 2) for name, values in found.items()}


def page(result: dict[str, Any]) -> str:
    rows = [
        [name, f"{one['ms']:.2f}", *(f"{one[str(every)]:.2f}" for every in EVERY)]
        for name, one in result["videos"].items()
    ]
    header = ["key frame every, B-frames in a row", "all, ms a frame", *(f"--every {every}" for every in EVERY)]
    return f"""# Decoding every N-th frame

`{result["command"]}`: {result["frames"]} frames of {SIZE[0]} x {SIZE[1]}, medians of {result["rounds"]} rounds; PyAV
{result["av"]}, {result["machine"]}, commit {result["commit"]}, {result["date"]}, load {result["load"]} when it began.
Times as fast as decoding all frames, by processor time; places, times and pixels are the same
(`tests/data/test_chosen.py`).

{Table(header, rows).markdown()}

Much is saved where whole groups hold no frame that is wanted; with key frames far apart and no B-frames nothing is, as
each frame needs all before it. The first group is always decoded whole. The loop filter is never left out: a frame that
is not wanted is either decoded for others, which need it filtered, or not decoded at all.
"""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=900, help="of each video (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args(argv)
    words = f"python -m experiments.speed.bench_chosen --frames {args.frames} --rounds {args.rounds}"
    result: dict[str, Any] = {"command": words, "frames": args.frames, "rounds": args.rounds, **circumstances("av")}
    result["videos"] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (gop, bframes) in VIDEOS.items():
            write_pattern(Path(folder, "clip.mp4"), args.frames, gop, bframes)
            result["videos"][name] = measure(Path(folder, "clip.mp4"), args.rounds)
    write_result(args.out, "chosen", result, page(result))
    print(page(result))
    return result


if __name__ == "__main__":
    main()
