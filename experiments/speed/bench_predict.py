"""How fast and in how much memory `auformer predict` turns a video into a table.

    python -m experiments.speed.bench_predict

A rendered face of about 200 pixels moves through a 640 x 360 H.264 video. Measured: frames a second from the file to
the table with faces followed (the default), with the face detector in every frame, and in every fifth with optical
flow between; the share of each stage; the share of the time in which a ViT-B network works (random weights, the time
is the same); resident memory early and late in a long video. Writes `bench_predict.json`, from which
`experiments.speed.cost` makes its page.
"""

from __future__ import annotations

import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from auformer.models import AUFormer
from auformer.predict.pipeline import share_cores
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import find_sources
from auformer.predict.types import ImagePrediction
from auformer.synthetic import AU_NAMES, Identity, Renderer
from experiments.harness import circumstances, new_parser, resident, write_result

TARGETS = {"every_frame_fps": 25.0, "every_5th_fps": 60.0, "vit_b_network_share": 0.9}
WIDTH, HEIGHT, FACE, RATE = 640, 360, 220, 30


def write_clip(path: Path, frames: int) -> None:
    """Write the video: forty drawn expressions over and over, moving along an ellipse."""
    renderer = Renderer(FACE)
    face, rng = renderer.bake(Identity.sample(40_000)), np.random.default_rng(0)
    strengths = rng.random((4, len(AU_NAMES))) * (rng.random((4, len(AU_NAMES))) < 0.3)
    images = [renderer.render(face, strengths[k // 10] * np.sin(np.pi * (k % 10) / 9)).image for k in range(40)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE), options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(frames):
            canvas = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
            x, y = int(210 + 150 * np.sin(k / 40)), int(70 + 50 * np.cos(k / 31))
            canvas[y : y + FACE, x : x + FACE] = images[k // 2 % 40]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))
        container.mux(stream.encode(None))


def run(predictor: AUPredictor, clip: Path) -> dict[str, Any]:
    """Frames a second, seconds of each stage, memory after a fifth of the frames and at the end, faces found."""
    start, frames, faces, memory = time.perf_counter(), 0, 0, []
    for item in predictor.stream(find_sources([clip])):
        if isinstance(item, ImagePrediction):
            frames, faces = frames + 1, faces + len(item.faces)
            if item.frame % 50 == 0:
                memory.append(round(resident() / 2**20, 1) or None)
    wall = time.perf_counter() - start
    return {
        "frames": frames,
        "faces": faces,
        "fps": round(frames / wall, 1),
        "stage_seconds": {name: round(value, 2) for name, value in predictor.clock.seconds.items()},
        "network_share_of_time": round(predictor.clock.seconds["network"] / wall, 3),
        "memory_mib_after_a_fifth": memory[len(memory) // 5],
        "memory_mib_at_the_end": memory[-1],
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=600, help="frames of the video (default: %(default)s)")
    parser.add_argument("--long", type=int, default=20_000, help="frames of the long video; 0 leaves it out")
    parser.add_argument("--vit-frames", type=int, default=48, help="frames for the ViT-B network; 0 leaves it out")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    result: dict[str, Any] = {**circumstances("torch"), "targets": TARGETS}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        if args.vit_frames:
            write_clip(clip, args.vit_frames)
            network = AUFormer("vit_base_patch16_224", "bp4d").eval()
            result["vit_b"] = run(AUPredictor(network, detect_every=5), clip) | {"torch_threads": share_cores(network)}
        write_clip(clip, args.frames)
        run(AUPredictor.from_checkpoint("demo", detect_every=50), clip)  # warm up
        result["followed"] = run(AUPredictor.from_checkpoint("demo"), clip)
        result["every_frame"] = run(AUPredictor.from_checkpoint("demo", detect_every=1), clip)
        result["every_5th"] = run(AUPredictor.from_checkpoint("demo", detect_every=5), clip)
        if args.long:
            write_clip(clip, args.long)
            result["long"] = run(AUPredictor.from_checkpoint("demo"), clip)
    write_result(args.out, "bench_predict", result)
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
