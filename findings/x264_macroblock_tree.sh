#!/usr/bin/env bash
# libx264 in PyAV 18.1.0: the same frames, 48 pixels wide, with the same options and one thread, do not always become the
# same bytes: with macroblock trees (its default) some files of a thousand differ, without (`mbtree=0`) none.
# Seen: with trees 10 kinds of file in 1,000, without 1.
# What to do: for files that must be reproduced to the byte pass `x264-params: mbtree=0`, or compare frames, not files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import hashlib
import io

import av
import numpy as np

SIZE = 48
rng = np.random.default_rng(0)
base = rng.integers(0, 255, (SIZE // 8, SIZE // 8, 3)).repeat(8, 0).repeat(8, 1)
frames = [np.clip(np.roll(base, t // 5, 1) + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8) for t in range(80)]


def encoded(params, count):
    target = io.BytesIO()
    other = [np.full(int(rng.integers(1_000, 2_000_000)), count % 255, np.uint8) for _ in range(20)]  # moves the heap
    with av.open(target, "w", format="mp4") as container:
        options = {"crf": "14", "preset": "veryfast", "threads": "1", "x264-params": params}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    del other
    return hashlib.sha256(target.getvalue()).hexdigest()


kinds = {params: len({encoded(params, n) for n in range(1000)}) for params in ("mbtree=1", "mbtree=0")}
print("kinds of file in 1,000:", kinds)
assert kinds["mbtree=1"] > 1 and kinds["mbtree=0"] == 1
PYTHON
