#!/usr/bin/env bash
# FFmpeg in PyAV 18.1.0: an AVI file that was cut off (a copy that broke off) opens and decodes to its end without an
# error. `frames` is still the header's count, while `duration` has become shorter in silence, so that what is there seems
# to be all. Seen, of 20 frames cut at half of the bytes: frames 20, duration 10, decoded 6 to 10, no error.
# What to do: compare the sizes in the RIFF header with that of the file.
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

with av.open("whole.avi", "w") as container:
    stream = container.add_stream("mjpeg", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
    for number in range(20):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 10 * number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
with open("whole.avi", "rb") as file:
    data = file.read()
with open("cut.avi", "wb") as file:
    file.write(data[: len(data) // 2])
found = {}
for name in ("whole.avi", "cut.avi"):
    with av.open(name) as container:
        stream = container.streams.video[0]
        found[name] = (stream.frames, stream.duration, sum(1 for _ in container.decode(stream)))
    print(name, "frames, duration, decoded:", found[name])
assert found["whole.avi"] == (20, 20, 20)
frames, duration, decoded = found["cut.avi"]
assert frames == 20 and duration < 20 and 0 < decoded <= duration
PYTHON
