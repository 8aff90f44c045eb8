"""A file that is fetched when it is first needed: where it is kept, and how it gets there whole.

A file that is fetched when it is first needed: where it is kept, and how it gets there whole.

A transfer that breaks off goes on where it stopped, in the same run or a later one; a file takes its place only when its SHA-256 is right.

The back-end by OpenCV's FaceDetectorYN and the YuNet network (Wu, Peng and Yu 2023): small, turned and tilted faces too.

The network is not part of this package: it is named by its path, or fetched from OpenCV's model zoo on first use.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from auformer.faces.face import Face

CACHE_VARIABLE = "AUFORMER_CACHE"
_ATTEMPTS = 5  # per address, as long as something comes: connections break off [ours]
_TIMEOUT = 30.0  # seconds without an answer [ours]
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file on the net.

    Args:
        name: what it is called here.
        urls: where it lies, asked one after the other.
        sha256: of its bytes, in hex.
        size: in bytes.
        instead: what to do without a network, a sentence for the error message.
    """

    name: str
    urls: Sequence[str]
    sha256: str
    size: int
    instead: str


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where fetched files are kept: `cache`, or `$AUFORMER_CACHE`, or `$XDG_CACHE_HOME/auformer`, or `~/.cache/auformer`."""
    if cache is not None:
        return Path(cache)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auformer"


def fetch(remote: Remote, cache: str | Path | None = None) -> Path:
    """The file in the cache folder, fetched if it is not there.

    Args:
        remote: what, and from where.
        cache: folder; None as `cache_folder` says.

    Raises:
        ConnectionError: it cannot be fetched; the message says what to do without.
        ValueError: what lies in the cache, or came over the net, is another file.
    """
    path = cache_folder(cache) / remote.name
    if path.exists():
        _require_right(path, remote)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reasons = []
    for url in remote.urls:
        for _ in range(_ATTEMPTS):
            before = _size(part)
            try:
                _continue(url, part, remote.size)
            except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
                reasons.append(f"{url}: {error}")
                _log.info("fetching %s broke off: %s", url, error)
                if _size(part) <= before:
                    break  # nothing came: the next address
                continue
            _require_right(part, remote, remove=True)
            os.replace(part, path)
            return path
    raise ConnectionError(
        f"Expected to fetch {remote.name} ({remote.size:,} bytes), but got no whole file ({'; '.join(dict.fromkeys(reasons))}). "
        f"{remote.instead.format(path=path)}"
    )


def _continue(url: str, part: Path, size: int) -> None:
    """Fetch what is missing of a part file.

    Raises:
        OSError: the connection failed or broke off; the part keeps what has come.
    """
    have = _size(part)
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        resumed = have and answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while have <= size and (chunk := answer.read(_CHUNK)):
                file.write(chunk)
                have += len(chunk)
    if have < size:
        raise ConnectionError(f"broke off after {have:,} of {size:,} bytes")


def _size(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _require_right(path: Path, remote: Remote, *, remove: bool = False) -> None:
    """Raise if a file is not the one that is meant."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != remote.sha256:
        if remove:
            path.unlink()
        raise ValueError(
            f"Expected {path} to be {remote.name} with SHA-256 {remote.sha256}, but got {found}: "
            f"{'it was removed, try again' if remove else 'remove it, so that it is fetched again'}. {remote.instead.format(path=path)}"
        )


_FOLDER = "models/face_detection_yunet"
#: SHA-256 and size from the zoo's own Git LFS pointer of this file, at the commit in the first address. MIT licence.
YUNET = Remote(
    name="face_detection_yunet_2023mar.onnx",
    urls=tuple(
        f"https://media.githubusercontent.com/media/opencv/opencv_zoo/{commit}/{_FOLDER}/face_detection_yunet_2023mar.onnx"
        for commit in ("82b38c8f98e7b52aa171400f3e4c722352d0669f", "main")
    ),
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232_589,
    instead="Without a network: fetch it elsewhere and put it at {path}, or name it, yunet:FILE; or use the detector `cascade`, which "
    "needs no file.",
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
        path: the ONNX file.
        min_score: faces below are left out.
    """

    path: str
    min_score: float

    def __call__(self, image: np.ndarray, file: str, frame: int | None, min_size: int) -> list[Face]:
        """Faces of an image (H, W, 3) uint8 RGB; the other arguments are not read."""
        height, width = image.shape[:2]
        for longest in _WORKING:
            scale = min(1.0, longest / max(height, width))
            w, h = max(1, round(width * scale)), max(1, round(height * scale))
            copy = image if scale == 1 else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
            detector = self._detector()
            detector.setInputSize((w, h))
            faces = parse(detector.detect(cv2.cvtColor(copy, cv2.COLOR_RGB2BGR))[1], (width / w, height / h))
            if faces or scale == 1:
                break
        return faces

    def version(self) -> str:
        """The file's name and the first 12 hex digits of its SHA-256."""
        return f"{Path(self.path).name} {hashlib.sha256(Path(self.path).read_bytes()).hexdigest()[:12]}"

    def _detector(self) -> Any:
        """OpenCV's detector, loaded once per thread and file."""
        known = _per_thread.__dict__.setdefault("detectors", {})
        if (self.path, self.min_score) not in known:
            known[self.path, self.min_score] = _load(self.path, self.min_score)
        return known[self.path, self.min_score]


def make_yunet(path: str, min_score: float | None, cache: str | Path | None) -> YuNet:
    """The back-end; an empty path fetches the model or finds it in the cache.

    Raises:
        ConnectionError: the model cannot be fetched.
        ValueError: the file is not there, or is no model that OpenCV's FaceDetectorYN reads.
    """
    where = Path(path) if path else fetch(YUNET, cache)
    if not where.is_file():
        raise ValueError(f"Expected `yunet:FILE` to name a YuNet model, but there is no file {where}.")
    score = MIN_SCORE if min_score is None else min_score
    _load(str(where), score)  # so that a wrong file is told now and not by a worker
    return YuNet(str(where), score)


def parse(found: np.ndarray | None, scale: tuple[float, float]) -> list[Face]:
    """Faces of FaceDetectorYN's answer.

    Args:
        found: (n, 15) per face x, y, w, h; right eye, left eye, nose tip, right and left corner of the mouth, each x, y, of the person, so
            image left first in an upright face; score in [0, 1]. None if there is none.
        scale: factors on x and y to pixels of the image.
    """
    faces = []
    for row in np.zeros((0, 15)) if found is None else np.asarray(found, np.float64):
        x, y, w, h = (float(value) for value in row[:4] * np.tile(scale, 2))
        faces.append(Face((x, y, w, h), float(np.clip(row[14], 0, 1)), row[4:14].reshape(5, 2) * scale, "yunet"))
    return faces


def _load(path: str, min_score: float) -> Any:
    """OpenCV's detector.

    Raises:
        ValueError: OpenCV cannot read the file.
    """
    try:
        return cv2.FaceDetectorYN.create(path, "", (320, 320), min_score, _OVERLAP, _MOST)
    except cv2.error as error:
        message = (
            f"Expected {path} to be a YuNet model in ONNX, but OpenCV {cv2.__version__} cannot read it: {error.err}"
        )
        raise ValueError(message) from error
