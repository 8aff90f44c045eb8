"""The back-end by OpenCV's FaceDetectorYN and the YuNet network (Wu, Peng and Yu 2023).

Small, turned and tilted faces too.

The network is not part of this package: it is named by its path, or fetched from OpenCV's model zoo on first use.
"""

from __future__ import annotations

import http.client
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from auformer.faces.face import Face
from auformer.files import sha256

CACHE_VARIABLE = "AUFORMER_CACHE"
#: Name, SHA-256 and size in bytes from the zoo's own Git LFS pointer, at the commit in the first address. MIT licence.
MODEL = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SIZE = 232_589
_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo"
URLS = tuple(
    f"{_ZOO}/{commit}/models/face_detection_yunet/{MODEL}"
    for commit in ("82b38c8f98e7b52aa171400f3e4c722352d0669f", "main")
)
MIN_SCORE = 0.6  # opencv_zoo, models/face_detection_yunet/yunet.py
_OVERLAP, _MOST = 0.3, 5000  # non-maximum suppression, and boxes before it: the same file
# Longest sides of the copies searched, the second if none is found: the network knows faces of 10 to 300 pixels. [ours]
_WORKING = (640, 320)

_per_thread = threading.local()


@dataclass(frozen=True)
class YuNet:
    """Finds faces with one model file; plain values, so that it travels to other processes.

    Args:
        path: The ONNX file.
        min_score: Faces below are left out.
    """

    path: str
    min_score: float

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces of an image `(H, W, 3)` uint8 RGB; the other arguments are not read."""
        height, width = image.shape[:2]
        for longest in _WORKING:
            scale = min(1.0, longest / max(height, width))
            w, h = max(1, round(width * scale)), max(1, round(height * scale))
            copy = image if scale == 1 else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
            network = self._network()
            network.setInputSize((w, h))
            faces = parse(network.detect(cv2.cvtColor(copy, cv2.COLOR_RGB2BGR))[1], (width / w, height / h))
            if faces or scale == 1:
                break
        return faces

    def version(self) -> str:
        """The file's name and the first 12 hex digits of its SHA-256."""
        return f"{Path(self.path).name} {sha256(self.path)[:12]}"

    def _network(self) -> Any:
        """OpenCV's detector, loaded once per thread and file."""
        known = _per_thread.__dict__.setdefault("networks", {})
        if (self.path, self.min_score) not in known:
            known[self.path, self.min_score] = _load(self.path, self.min_score)
        return known[self.path, self.min_score]


def make_yunet(path: str, min_score: float | None, cache: str | Path | None) -> YuNet:
    """The back-end; an empty path fetches the model or finds it in the cache.

    Raises:
        ConnectionError: The model cannot be fetched.
        ValueError: The file is not there, or is no model that OpenCV's FaceDetectorYN reads.
    """
    where = Path(path) if path else fetch(cache)
    if not where.is_file():
        raise ValueError(f"Expected `yunet:FILE` to name a YuNet model, but there is no file {where}.")
    score = MIN_SCORE if min_score is None else min_score
    _load(str(where), score)  # a wrong file fails here and not in a worker
    return YuNet(str(where), score)


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where files are kept: `cache`, or `$AUFORMER_CACHE`, or `$XDG_CACHE_HOME/auformer`, or `~/.cache/auformer`."""
    if cache is not None:
        return Path(cache)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auformer"


def fetch(cache: str | Path | None = None) -> Path:
    """The model in the cache folder, fetched if it is not there; only a file with the right hash gets there.

    Args:
        cache: Folder; None as `cache_folder` says.

    Raises:
        ConnectionError: It cannot be fetched; the message says what to do without.
        ValueError: The file in the cache is another one.
    """
    path = cache_folder(cache) / MODEL
    if path.exists():
        if (found := sha256(path)) != SHA256:
            raise ValueError(
                f"Expected {path} to have the SHA-256 {SHA256}, but got {found}: remove it, so that it is fetched again"
            )
        return path
    from torch.hub import download_url_to_file

    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in URLS:
        try:
            download_url_to_file(url, str(path), hash_prefix=SHA256, progress=False)
            return path
        except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: another hash
            reasons.append(f"{url}: {error}")
    raise ConnectionError(
        f"Expected to fetch {MODEL} ({SIZE:,} bytes), but could not ({'; '.join(reasons)}). Without a network: fetch "
        f"it elsewhere and put it at {path}, or name it, yunet:FILE; or use the face detector `cascade`, which needs "
        "no file."
    )


def parse(found: np.ndarray | None, scale: tuple[float, float]) -> list[Face]:
    """Faces of FaceDetectorYN's answer.

    Args:
        found: `(n, 15)`, per face x, y, w, h; right eye, left eye, nose tip, right and left corner of the mouth, each
            x, y, of the person, so image left first in an upright face; score in [0, 1]. None if there is none.
        scale: Factors on x and y to pixels of the image.
    """
    faces = []
    for row in np.zeros((0, 15)) if found is None else np.asarray(found, np.float64):
        x, y, w, h = (float(value) for value in row[:4] * np.tile(scale, 2))
        faces.append(Face((x, y, w, h), float(np.clip(row[14], 0, 1)), row[4:14].reshape(5, 2) * scale, "yunet"))
    return faces


def _load(path: str, min_score: float) -> Any:
    try:
        return cv2.FaceDetectorYN.create(path, "", (320, 320), min_score, _OVERLAP, _MOST)
    except cv2.error as error:
        raise ValueError(
            f"Expected {path} to be a YuNet model in ONNX, but OpenCV {cv2.__version__} cannot read it: {error.err}"
        ) from error
