#!/usr/bin/env bash
# FFmpeg in PyAV 18.1.0: of a bare H.264 stream (`.h264`) whose own header says 50 frames a second, `average_rate` is 25,
# the demuxer's default; `guessed_rate` is 50. In a container both are 50. Times from `average_rate` are twice too long.
# Seen: bare (25, 50), in MP4 (50, 50).
# What to do: of files without time stamps take `guessed_rate`.
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

rates = {}
for name in ("a.h264", "a.mp4"):
    with av.open(name, "w") as container:
        stream = container.add_stream("libx264", rate=50, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 50)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(name) as container:
        stream = container.streams.video[0]
        rates[name] = (int(stream.average_rate), int(stream.guessed_rate))
print("average_rate and guessed_rate:", rates)
assert rates == {"a.h264": (25, 50), "a.mp4": (50, 50)}
PYTHON
