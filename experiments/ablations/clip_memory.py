"""Memory of `auformer predict` with a network that sees clips: a rendered video of one minute, and of ten.

    python -m experiments.ablations.clip_memory --folder runs/clip-memory

The long video is the short one ten times. The network is ViTMDHR on the demo backbone, its head at random, which costs
what a trained one does. Writes `time_memory.json`: rows, processor seconds and peak memory of the whole process.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import av
import pandas as pd

from auformer.models import save_adapter
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.synthetic.writing import render_dataset
from experiments.ablations.clip_rows import AUS, BACKBONE, DIM, LENGTH
from experiments.harness import ROOT, circumstances, new_parser, write_result
from experiments.speed.bench_predict_before_after import timed

FIRST_SUBJECT, FRAMES, TIMES = 46_000, 1500, 10  # a minute at 25 frames a second, and how often it is repeated


def repeat(video: Path, times: int, out: Path) -> Path:
    """A video several times, one after the other, without coding it anew."""
    with av.open(str(out), "w") as target:
        stream = None
        for turn in range(times):
            with av.open(str(video)) as source:
                film = source.streams.video[0]
                stream = stream or target.add_stream_from_template(film)
                for packet in source.demux(film):
                    if packet.pts is not None and packet.dts is not None and film.duration is not None:
                        packet.pts += turn * film.duration
                        packet.dts += turn * film.duration
                        packet.stream = stream
                        target.mux(packet)
    return out


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where videos and predictions lie")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="of a minute (default: %(default)s)")
    args = parser.parse_args(argv)
    folder: Path = args.folder
    manifest = render_dataset(
        folder / "video", lab="A", subjects=1, videos=1, frames=args.frames, first_subject=FIRST_SUBJECT
    )
    short = manifest.parent / str(pd.read_csv(manifest)["file"].iloc[0])
    videos = {1: short, TIMES: repeat(short, TIMES, folder / "long.mp4")}
    network = ViTMDHR(BACKBONE, AUS, pretrained=True, clip_length=LENGTH, dim=DIM)
    network.crop_recipe = "eyes"
    save_adapter(folder / "adapter.safetensors", network)
    found: dict[str, Any] = {}
    for minutes, video in videos.items():
        out = folder / f"predicted-{minutes}"
        shutil.rmtree(out, ignore_errors=True)
        words = [sys.executable, "-m", "auformer", "predict", video, "--checkpoint", folder / "adapter.safetensors"]
        spent = timed([*map(str, words), "--out", str(out), "--faces", "largest"], ROOT)
        rows = len(pd.read_csv(next(out.glob("*.csv"))))
        found[str(minutes)] = {"rows": rows, **{name: round(value, 1) for name, value in spent.items()}}
        print(minutes, found[str(minutes)], flush=True)
    write_result(args.out, "time_memory", {"minutes": found, "circumstances": circumstances("torch")})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
