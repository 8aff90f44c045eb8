"""The annotated video of a recording in pieces, so that a run that was killed goes on with it: H.264 files cannot be appended to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auformer.predict.encoding import VideoWriter, join_videos, shape_of

_NAME = "annotated-{:012d}.mkv"  # Matroska keeps times as they are; the number is that of the first frame


class VideoPieces:
    """Each stretch between two states of a run is a file of its own; at the end their packets are put into one MP4 file.

    Call `cut` before a state is saved: what a later run finds of the frames up to that state is complete then.

    Args:
        folder: where the pieces lie while the run lasts.
        path: the video, `.mp4`; it is there when it is complete.
        encoder: as `find_encoder` gives it.
        after: index of the last frame that an interrupted run has done, -1 for none; pieces of later frames are removed.
    """

    def __init__(self, folder: Path, path: Path, encoder: str, *, after: int = -1) -> None:
        self.folder, self.path, self.encoder = folder, path, encoder
        for piece in self._all():
            if int(piece.stem.split("-")[1]) > after:
                piece.unlink()
        kept = self._all()
        self._shape = shape_of(kept[0]) if kept else None
        self._writer: VideoWriter | None = None

    def add(self, image: np.ndarray, frame: int, time_s: float) -> None:
        """Append a picture (H, W, 3) uint8 RGB, both sides even; its frame number and time in seconds are later than all before."""
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self.folder / _NAME.format(frame), self.encoder, self._shape)
        self._writer.add(image, time_s)
        self._shape = self._writer.shape

    def cut(self) -> None:
        """End a piece."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None

    def finish(self) -> None:
        """Write the video; without a picture there is none."""
        self.cut()
        if self._all():
            join_videos(self._all(), self.path)

    def remove(self) -> None:
        """Remove the pieces."""
        for piece in self._all():
            piece.unlink()

    def abandon(self) -> None:
        """Close the piece at hand, which does not count."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _all(self) -> list[Path]:
        """The complete pieces in their order."""
        return sorted(self.folder.glob(_NAME.replace("{:012d}", "*")))
