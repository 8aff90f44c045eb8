#!/usr/bin/env bash
# OpenCV 4.14.0.94 (headless): a TIFF file that is not square and has orientation 5 to 8 cannot be read by `cv2.imread`
# (None; the log says "original_ptr == real_mat.data"), with or without IMREAD_IGNORE_ORIENTATION. `cv2.imdecode` of the
# same bytes reads it, and turns it even with that flag; in JPEG the flag works.
# Seen, of 96 x 64 with orientation 6: imread None, imdecode (96, 64), with the flag (96, 64); JPEG with the flag (64, 96).
# What to do: read the bytes, decode them, and never turn TIFF oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==4.14.0.94 numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image

exif = Image.Exif()
exif[0x0112] = 6
image = Image.fromarray(np.zeros((64, 96, 3), np.uint8))
for name in ("a.tif", "a.jpg"):
    image.save(name, exif=exif.tobytes())
ignore = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
data = {name: np.fromfile(name, np.uint8) for name in ("a.tif", "a.jpg")}
whole = [cv2.imread("a.tif", flags) for flags in (cv2.IMREAD_COLOR, ignore)]
sizes = [cv2.imdecode(data[name], flags).shape[:2] for name in data for flags in (cv2.IMREAD_COLOR, ignore)]
print("imread of TIFF:", whole, "imdecode of TIFF, of JPEG, each without and with the flag:", sizes)
assert whole == [None, None] and sizes == [(96, 64), (96, 64), (96, 64), (64, 96)]
PYTHON
