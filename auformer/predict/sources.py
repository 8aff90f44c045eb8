"""Sources: photos, videos, folders, patterns, lists, image sequences, cameras; and their names in tables."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from auformer.data.images import IMAGES
from auformer.data.video import VIDEOS

LISTS = frozenset({".txt", ".lst"})
_CAMERA = re.compile(r"camera:(\d+)")
_NUMBERED = re.compile(r"%0?(\d*)d")  # of FFmpeg's image sequences: frames/%05d.png


@dataclass(frozen=True)
class Source:
    """One thing to predict.

    Args:
        file: The path as it was given.
        name: What tables call it: the path relative to the folder that all sources share, with `/`.
        kind: `photo`, `video`, `sequence` (numbered images of one video) or `camera`.
    """

    file: str
    name: str
    kind: str

    @property
    def stem(self) -> str:
        """File name without folder and suffix, without what no file name may hold."""
        return re.sub(r'[%*?"<>|:]', "_", PurePath(self.name).stem)


def find_sources(words: Sequence[str | Path]) -> list[Source]:
    """Sources behind what a user names.

    Args:
        words: Files; folders (every image and video in them and below, by name); patterns such as `photos/*.jpg`;
            `.txt` files with a path on each line (relative to the list; blank lines and those that start with `#` are
            skipped); numbered images of one video such as `frames/%05d.png`; `camera:0`.

    Returns:
        Each source once, in the order given.

    Raises:
        ValueError: Nothing is named, a pattern or folder holds nothing, a folder cannot be read, or a camera is not the
            only source.
    """
    files = list(dict.fromkeys(file for word in words for file in _expand(os.fspath(word))))
    if any(_CAMERA.fullmatch(file) for file in files):
        if len(files) > 1:
            raise ValueError(f"Expected a camera to be the only source, but got {len(files)} sources.")
        return [Source(files[0], files[0].replace(":", ""), "camera")]
    return [Source(file, name, _kind_of(file)) for file, name in name_sources(files)]


def left_out(words: Sequence[str | Path], out: str | Path) -> list[str]:
    """Files in the folders that a user names which are no images or videos by their names, and so are not read.

    Hidden ones, and those in the output folder `out`, are not among them.
    """
    folders = [path for word in words if (path := Path(word)).is_dir()]
    own = os.path.abspath(out)
    found: dict[str, None] = {}
    for folder in folders:
        for parent, inside, names in os.walk(folder):
            inside[:] = [
                name for name in inside if not name.startswith(".") and os.path.abspath(Path(parent, name)) != own
            ]
            files = (Path(parent, name) for name in names if not name.startswith("."))
            found.update({str(file): None for file in files if file.suffix.lower() not in IMAGES | VIDEOS})
    return sorted(found)


def _kind_of(file: str) -> str:
    """What a path is by its name: `photo`, `video` or `sequence`.

    >>> _kind_of("a/talk.MP4"), _kind_of("a/%05d.png"), _kind_of("portrait.jpeg")
    ('video', 'sequence', 'photo')
    """
    if PurePath(file).suffix.lower() in VIDEOS:
        return "video"
    return "sequence" if _NUMBERED.search(PurePath(file).name) and not os.path.exists(file) else "photo"


def _expand(word: str) -> Iterator[str]:
    """Files behind one word."""
    path = Path(word)
    if path.is_dir():
        found = sorted(str(file) for file in _below(path))
        if not found:
            raise ValueError(f"Expected a folder with images or videos, but found none in {word}.")
        yield from found
    elif path.suffix.lower() in LISTS and path.is_file():
        yield from _listed(path)
    elif glob.has_magic(word) and not path.exists() and not _is_sequence(path):
        found = sorted(file for file in glob.glob(word, recursive=True) if os.path.isfile(file))
        if not found:
            raise ValueError(f"Expected files that match {word}, but found none.")
        yield from found
    else:
        yield word


def _is_sequence(path: Path) -> bool:
    """Whether a path names numbered images that are there, whatever brackets its folders have in their names."""
    return bool(_NUMBERED.search(path.name)) and path.parent.is_dir() and not glob.has_magic(path.name)


def _below(folder: Path) -> Iterator[Path]:
    """Images and videos in a folder and below, none of them hidden; unreadable sub-folders too, to be reported."""
    unreadable: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(parent, name) for name in names if not name.startswith("."))
        named = (file for file in files if file.suffix.lower() in IMAGES | VIDEOS)
        yield from (file for file in named if file.is_file() or file.is_symlink())  # also links to what is gone
    for error in unreadable:
        if Path(error.filename) == folder:
            raise ValueError(f"Expected a folder that can be read, but got {folder}: {error.strerror}.")
        yield Path(error.filename)


def _listed(path: Path) -> Iterator[str]:
    """Files of a list, one a line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected {path} to be a list of files in UTF-8 text, but it is not ({error}).") from error
    files = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not files:
        raise ValueError(f"Expected {path} to name a file on each line, but it names none.")
    yield from (file if _CAMERA.fullmatch(file) else os.path.normpath(path.parent / file) for file in files)


def sequence_files(pattern: str) -> dict[int, Path]:
    """Images of a sequence by their number.

    Args:
        pattern: FFmpeg's form, with `%d` or `%05d` once in the file name.

    Raises:
        ValueError: There is none.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    mark = _NUMBERED.search(name)
    if mark is None:
        raise ValueError(f"Expected an image sequence with %d in its file name, but got {pattern}.")
    digits = f"[0-9]{{{mark.group(1)},}}" if mark.group(1) else "[0-9]+"
    form = re.compile(f"{re.escape(name[: mark.start()])}({digits}){re.escape(name[mark.end() :])}")
    files = folder.glob("*") if folder.is_dir() else ()
    found = {int(match.group(1)): file for file in files if (match := form.fullmatch(file.name))}
    if not found:
        raise ValueError(f"Expected images that match {pattern}, but found none.")
    return dict(sorted(found.items()))


def name_sources(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    """Give every source its name in a predictions file: its path relative to the folder that all sources share.

    Args:
        paths: Files, in any spelling; one that is named twice counts once.

    Returns:
        Pairs of the path as given and its name, with `/` on every system; the names are unique.

    Raises:
        ValueError: There is no source.

    >>> name_sources(["/data/p1/a.jpg", "/data/p2/a.jpg"])
    [('/data/p1/a.jpg', 'p1/a.jpg'), ('/data/p2/a.jpg', 'p2/a.jpg')]
    >>> name_sources(["/data/p1/a.jpg"])
    [('/data/p1/a.jpg', 'a.jpg')]
    """
    if not paths:
        raise ValueError("Expected `paths` to name at least one source, but got none.")
    full = {os.path.abspath(path): os.fspath(path) for path in reversed(paths)}
    ordered = list(reversed(full.items()))
    try:
        common = os.path.commonpath([os.path.dirname(path) for path, _ in ordered])
    except ValueError:  # drives of Windows share no folder
        return [(given, Path(path).as_posix()) for path, given in ordered]
    return [(given, Path(os.path.relpath(path, common)).as_posix()) for path, given in ordered]


def in_shard(name: str, number: int, of: int) -> bool:
    """Whether a source belongs to a shard of a job array: by a hash of its name, the same on every machine.

    Args:
        name: The source's name.
        number: Which shard, 1 to `of`.
        of: How many shards there are.

    >>> [in_shard("a.mp4", number, 3) for number in (1, 2, 3)].count(True)
    1
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % of == number - 1


def unique_stems(sources: Sequence[Source], *, taken: Sequence[str] = ()) -> list[str]:
    """A file name for the outputs of each source, all different (also where upper and lower case are one).

    Args:
        sources: All sources of a run.
        taken: Names in small letters that are used for something else.

    >>> unique_stems([Source("p/a.mp4", "p/a.mp4", "video"), Source("q/A.avi", "q/A.avi", "video")])
    ['a', 'A-2']
    """
    used, names = set(taken), []
    for source in sources:
        unique, number = source.stem, 1
        while unique.lower() in used:
            number += 1
            unique = f"{source.stem}-{number}"
        used.add(unique.lower())
        names.append(unique)
    return names
