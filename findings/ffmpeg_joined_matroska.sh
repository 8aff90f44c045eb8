#!/usr/bin/env bash
# FFmpeg in PyAV 18.1.0: of Matroska files that were joined byte by byte (`cat a b c`), the first two are read and all
# further ones left out without an error, although RFC 8794 allows any number of documents in a row.
# Seen: of 1, 2, 3 and 4 parts with 5 frames each [5, 10, 10, 10] frames are decoded.
# What to do: count the EBML headers along the segments' lengths, or join by the concat demuxer.
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

with av.open("one.mkv", "w") as container:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(5):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
with open("one.mkv", "rb") as file:
    data = file.read()
counts = []
for parts in (1, 2, 3, 4):
    with open("joined.mkv", "wb") as file:
        file.write(data * parts)
    with av.open("joined.mkv") as container:
        counts.append(sum(1 for _ in container.decode(video=0)))
print("frames of 1, 2, 3 and 4 parts:", counts)
assert counts == [5, 10, 10, 10]
PYTHON
