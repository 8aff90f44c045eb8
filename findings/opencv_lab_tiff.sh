#!/usr/bin/env bash
# OpenCV 4.14.0.94 (headless): of a TIFF file in CIE L*a*b* the colours are wrong by many levels and nothing warns; what
# comes looks plausible. Seen, of patches in red, green and blue: on average more than 10 levels of 255 off, with Pillow
# 13.0.0 less than 2. What to do: look for photometric 8 in the header, decode such files with Pillow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==4.14.0.94 numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageCms

image = np.zeros((64, 96, 3), np.uint8)
image[:, :48], image[:32, 48:], image[32:, 48:] = (220, 40, 30), (20, 200, 60), (30, 60, 210)
colours = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
ImageCms.profileToProfile(Image.fromarray(image), *colours, outputMode="LAB").save("a.tif")
seen = {"OpenCV": cv2.imread("a.tif")[..., ::-1]}
with Image.open("a.tif") as opened:
    assert opened.tag_v2[262] == 8
    seen["Pillow"] = np.asarray(opened.convert("RGB"))
off = {name: float(np.abs(each.astype(int) - image).mean()) for name, each in seen.items()}
print("levels off on average:", off)
assert off["OpenCV"] > 10 and off["Pillow"] < 2
PYTHON
