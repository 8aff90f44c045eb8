#!/usr/bin/env bash
# PyAV 18.1.0: `codec_context.sample_aspect_ratio` of an encoder reaches the header of QuickTime but not that of Matroska.
# With codecs that say it in their own data (H.264) this is not seen; with FFV1 the aspect is lost
# without a warning. Seen, of 4/3: PNG in .mov 4/3, FFV1 in .mkv None, H.264 in .mkv 4/3.
# What to do: scale to square pixels before writing, and read the file back.
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

ways = {"png.mov": ("png", "rgb24"), "ffv1.mkv": ("ffv1", "bgr0"), "h264.mkv": ("libx264", "yuv420p")}
ratios = {}
for name, (codec, pixels) in ways.items():
    with av.open(name, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(name) as container:
        ratios[name] = str(container.streams.video[0].sample_aspect_ratio)
print(ratios)
assert ratios == {"png.mov": "4/3", "ffv1.mkv": "None", "h264.mkv": "4/3"}
PYTHON
