#!/usr/bin/env bash
# FFmpeg in PyAV 18.1.0: H.264 with B-frames in AVI is decoded in the right order, but the time stamps of the frames jump
# to and fro: AVI stores none, and each frame is given that of the packet with which it left the decoder. Nothing warns.
# Seen, of frames that grow brighter one by one: pts [1, 3, 4, 2, 6, 7, 5, 9, ...]; in MP4 they rise.
# What to do: in AVI take the place of the frame over the rate, not its stamp.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np


def decoded(name: str) -> tuple[list[int], list[int]]:
    """Time stamps and brightness of 12 frames with B-frames, each 10 levels brighter."""
    with av.open(name, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(name) as container:
        frames = [(frame.pts, frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]
    return [pts for pts, _ in frames], [round((shade - 20) / 10) for _, shade in frames]


stamps = {}
for name in ("a.mp4", "a.avi"):
    stamps[name], shown = decoded(name)
    print(name, "stamps", stamps[name], "frames shown", shown)
    assert shown == list(range(12))
assert stamps["a.mp4"] == sorted(stamps["a.mp4"]) and stamps["a.avi"] != sorted(stamps["a.avi"])
PYTHON
