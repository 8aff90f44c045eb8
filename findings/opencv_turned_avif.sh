#!/usr/bin/env bash
# OpenCV 4.14.0.94 (headless): an AVIF file whose container says a quarter turn (`irot`) is read lying down, while JPEG,
# PNG and WebP are turned by their orientation. Nothing warns; faces are on their sides.
# Seen, of 96 x 64 with orientation 6: JPEG, PNG and WebP (96, 64), AVIF (64, 96); Pillow 13.0.0 turns it: (96, 64).
# What to do: decode AVIF with Pillow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==4.14.0.94 numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageOps

exif = Image.Exif()
exif[0x0112] = 6
image = Image.fromarray(np.zeros((64, 96, 3), np.uint8))
sizes = {}
for suffix in ("jpg", "png", "webp", "avif"):
    image.save(f"a.{suffix}", exif=exif.tobytes())
    sizes[suffix] = cv2.imread(f"a.{suffix}").shape[:2]
with Image.open("a.avif") as opened:
    pillow = np.asarray(ImageOps.exif_transpose(opened)).shape[:2]
with open("a.avif", "rb") as file:
    turns = b"irot" in file.read()
print("OpenCV:", sizes, "Pillow, AVIF:", pillow, "the container says a turn:", turns)
assert sizes == {"jpg": (96, 64), "png": (96, 64), "webp": (96, 64), "avif": (64, 96)} and pillow == (96, 64) and turns
PYTHON
