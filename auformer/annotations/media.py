"""The video behind rows of a predictions file: where it is, how long it lasts, how a file elsewhere links to it."""

from __future__ import annotations

import contextlib
import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from auformer.annotations.videos import Video
from auformer.data.video import video_facts


@dataclass(frozen=True)
class Media:
    """The file of a video.

    Args:
        name: Its name without folders; empty where the table names no file.
        path: Where it is; None where it was not found.
        length: Seconds on a player's time line: those of its header and at least until the last frame's end.
        fps: Frames per second by the header, else by the usual frame length.
        delay_s: Seconds from the beginning of a player's time line to the first frame, whose time is 0 in tables.
        moves_along: Whether it will lie beside the files that link to it, wherever it is now.
    """

    name: str
    path: Path | None
    length: float
    fps: float
    delay_s: float = 0.0
    moves_along: bool = False

    @property
    def kind(self) -> str:
        """MIME type by the name's suffix; `unknown` where there is none, as ELAN says it."""
        return mimetypes.guess_type(self.name)[0] or "unknown"

    def link(self, folder: Path) -> str:
        """The path relative to a folder, with `/`; a file that was not found is linked as if it lay there."""
        if self.path is None or self.moves_along:
            return f"./{self.name}"
        try:
            relative = PurePath(os.path.relpath(self.path.resolve(), folder.resolve())).as_posix()
        except ValueError:  # drives of Windows share no folder
            return self.path.resolve().as_uri()
        return relative if relative.startswith(".") else f"./{relative}"


def find_media(video: Video, beside: Path | None, given: Mapping[str, Path] | None = None) -> Media:
    """Look for the file of a video as it was given, and by its name in a folder.

    Args:
        video: The rows.
        beside: The folder; None where there is none.
        given: Where files are, by the names that the rows give them; then no other place is looked at.
    """
    name = PurePath(video.file.replace("\\", "/")).name
    places = [Path(video.file), *([beside / name] if beside is not None else [])] if name else []
    if given is not None:
        places = [given[video.file]] if video.file in given else []
    path = next((place for place in places if place.is_file()), None)
    length, fps, delay = video.length, 1 / video.usual if video.usual > 0 else 0.0, 0.0
    if path is not None:
        with contextlib.suppress(ValueError):  # it is there and cannot be read: the rows say how long it is
            facts = video_facts(path)
            delay, fps = facts.delay_s, facts.fps or fps
            length = max(length, facts.duration_s or 0.0) + delay
    return Media(name, path, length, fps, delay, moves_along=given is not None)
