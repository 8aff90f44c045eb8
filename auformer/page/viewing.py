"""Copies for viewing, of videos that a browser cannot play: H.264 without sound, small, with each frame's own time."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import cv2

from auformer.data.video import read_video, video_facts
from auformer.predict.annotate import VideoWriter, find_encoder

HIGHEST = 540  # pixels of a copy's height [ours]
_SHOWN = 25  # frames between two looks at whether it is still wanted [ours]


class Copies:
    """Makes one copy at a time."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._known: dict[Path, dict[str, Any]] = {}

    def ask(self, path: Path, folder: Path, removed: threading.Event) -> dict[str, Any]:
        """How far the copy of a video is; begun where nobody has asked before.

        Args:
            path: The video.
            folder: Where the copy goes; whoever made it deletes it.
            removed: Set where nobody wants the copy any more.

        Returns:
            `state` (`waiting`, `making`, `done`, `failed`), `share` of the frames, `message`, `file` of a finished one.
        """
        if path not in self._known:
            self._known[path] = {"state": "waiting", "share": 0.0, "message": "", "file": None}
            threading.Thread(target=self._make, args=(path, folder, removed), daemon=True).start()
        return self._known[path]

    def _make(self, path: Path, folder: Path, removed: threading.Event) -> None:
        told, target = self._known[path], folder / f".view-{secrets.token_hex(8)}.mp4"
        with self._one:
            told["state"] = "making"
            try:
                if removed.is_set():
                    raise OSError("removed")
                folder.mkdir(parents=True, exist_ok=True)
                _copy(path, target, told, removed)
                told.update(state="done", share=1.0, file=target)
            except (ValueError, OSError) as error:
                told.update(state="failed", message=str(error).replace(str(path), path.name))
            if removed.is_set():
                target.unlink(missing_ok=True)
                self._known.pop(path, None)


def _copy(path: Path, target: Path, told: dict[str, Any], removed: threading.Event) -> None:
    """Write the copy; of a damaged video, what comes before the damage."""
    encoder = find_encoder()
    if encoder == "mpeg4":
        raise ValueError("This FFmpeg has no H.264 encoder, so no copy that browsers play can be made")
    facts, writer = video_facts(path), VideoWriter(target, encoder)
    frames = facts.frames or round((facts.duration_s or 0) * (facts.fps or 0))
    shown = 0
    try:
        try:
            for frame in read_video(path):
                writer.add(_fitted(frame.image()), frame.time_s)
                shown += 1
                told["share"] = min(1.0, shown / frames) if frames else 0.0
                if not shown % _SHOWN and removed.is_set():
                    raise OSError("removed")
        except ValueError:
            if not shown:
                raise
        writer.finish()
    finally:
        writer.abandon()


def _fitted(image: Any) -> Any:
    """An image of even sides, at most `HIGHEST` high."""
    height, width = image.shape[:2]
    factor = min(1.0, HIGHEST / height)
    size = (max(2, round(width * factor / 2) * 2), max(2, round(height * factor / 2) * 2))
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
