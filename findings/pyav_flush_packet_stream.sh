#!/usr/bin/env bash
# PyAV 18.1.0: the empty packets with which `demux` flushes each decoder have `stream_index` 0 whatever stream they belong
# to; their `stream.index` is right. Packets sorted by `stream_index` flush the wrong decoder, and the last frames of a
# stream other than the first are missing. Seen, of a file with two streams: [(0, 0), (0, 1)].
# What to do: compare `packet.stream.index`.
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

with av.open("two.mkv", "w") as container:
    streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
    for stream in streams:
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(3):
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
    for stream in streams:
        container.mux(stream.encode(None))
with av.open("two.mkv") as container:
    last = [(packet.stream_index, packet.stream.index) for packet in container.demux() if not packet.size]
print("stream_index and stream.index of the empty packets:", last)
assert last == [(0, 0), (0, 1)]
PYTHON
