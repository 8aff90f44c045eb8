"""Your own coding of a video in ELAN, Praat, BORIS, The Observer or another table of events."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from auformer.data.packets import frame_times
from auformer.data.video import VIDEOS, video_facts
from auformer.episodes import frame_ends
from auformer.errors import DatasetLayoutError

from ..formats.eaf import read_eaf
from ..formats.events import read_events
from ..formats.frames import list_files
from ..formats.marks import AUMark, AUTiers, Coding, find_aus, people, tier_au
from ..formats.textgrid import read_textgrid
from ..release import SOURCE, SOURCE_FRAME, Findings, Release

RELEASE = Release(
    name="annotations",
    title="Your own coding of a video",
    request="nothing; an ELAN, Praat, BORIS or Observer file, and the video",
    terms="those of your video",
    tree="""
<coding>.eaf        tiers AU12, L12, 12, Lip corner puller, AU12@Anna ...; values A to E, 1 to 5, active, 12C, nothing
<coding>.TextGrid   the same; text between the boundaries, none where the AU is absent
<coding>.tsv, .csv, .xlsx   BORIS (tabular or aggregated events), The Observer, BIDS events: a behaviour per AU
<video>             below --root; the one that the coding names, or --video
""",
    au_names=(),
    intensity="letters A to E (1 to 5) or numbers in the annotations; an action unit is present where it is annotated",
    frames="the position in the video, from 0",
    source="https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf, "
    "https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html, "
    "olivierfriard/BORIS:boris/export_observation.py",
    options={
        "table": {"metavar": "FILE", "help": "the coding, below --root or elsewhere: .eaf, .TextGrid, or a table"},
        "video": {"metavar": "FILE", "help": "the video, below --root (default: the one that the coding names)"},
        "tiers": {
            "metavar": "LIST",
            "help": 'what tiers mean whose names do not say it: "smile=AU12,frown=AU4"; "notes=" leaves one out',
        },
        "person": {"metavar": "NAME", "help": "whose coding, where the file has that of several people"},
        "subject": {"metavar": "NAME", "help": "the subject in the manifest (default: the person, else the video)"},
        "observation": {"metavar": "NAME", "help": "which observation, where a table holds several"},
        "start": {
            "type": float,
            "metavar": "S",
            "help": "seconds from which on the video is coded (default: its start)",
        },
        "end": {"type": float, "metavar": "S", "help": "seconds up to which it is coded (default: its end)"},
        "every": {"type": int, "metavar": "N", "help": "take every N-th frame of the coded part (default: 1)"},
    },
)


def read(
    root: Path,
    findings: Findings,
    *,
    table: str | None = None,
    video: str | None = None,
    tiers: str | None = None,
    person: str | None = None,
    subject: str | None = None,
    observation: str | None = None,
    start: float | None = None,
    end: float | None = None,
    every: int = 1,
) -> pd.DataFrame:
    """One row per frame of the coded part: an AU is present where an annotation covers the middle of the frame."""
    if not root.is_dir():
        raise DatasetLayoutError(f"Expected `--root` to be a folder, but there is none at {root}; check the path")
    if table is None:
        raise ValueError("Expected `--table`, the file with the coding, but got none")
    if every < 1:
        raise ValueError(f"Expected `--every` to be at least 1, but got {every}")
    path = root / table if (root / table).is_file() else Path(table)
    if not path.is_file():
        raise DatasetLayoutError(f"Expected a coding at {table}, but there is no such file in {root} or here")
    coding = _read(path, findings, observation)
    source = _find_video(root, path, coding, video)
    found = find_aus(coding, _names(tiers), findings, path.name)
    who = _person(found, person, path.name)
    marks = _own(found, who, path.name)
    times = np.array(frame_times(root / source))
    shift = coding.shift + (0.0 if not coding.player else -video_facts(root / source).delay_s)
    labels = _labels(marks, found, who, times, shift, findings, path.name)
    name = subject or (who if who and not who.lower().startswith("face") else PurePosixPath(source).stem)
    rows = pd.DataFrame({
        "subject": name,
        "sequence": PurePosixPath(source).stem,
        "frame": np.arange(len(times)),
        "status": "ok",
        SOURCE: source,
        SOURCE_FRAME: pd.array(np.arange(len(times)), dtype="Int64"),
        "time_s": times.round(6),
        **labels,
    })  # fmt: skip
    coded = (times >= (start or 0.0)) & (times < (np.inf if end is None else end))
    if not coded.any():
        raise ValueError(f"Expected frames between --start and --end, but the video lasts {times[-1]:.2f} s")
    return rows[coded].iloc[::every].reset_index(drop=True)


def _read(path: Path, findings: Findings, observation: str | None) -> Coding:
    suffix = path.suffix.lower()
    if observation is not None and suffix in (".eaf", ".textgrid"):
        raise ValueError(f"Expected --observation with a table only, but got {path.name}")
    if suffix == ".eaf":
        return read_eaf(path, findings)
    return read_textgrid(path) if suffix == ".textgrid" else read_events(path, observation)


def _find_video(root: Path, path: Path, coding: Coding, given: str | None) -> str:
    """The video, relative to the root."""
    if given is not None:
        places = [root / given, Path(given)]
        wanted = given
    else:
        names = coding.media or [f"{path.stem}{suffix}" for suffix in sorted(VIDEOS)]
        below = {file.name: root / file for file in reversed(list_files(root))}
        places = [path.parent / name for name in names] + [
            below[base] for name in names if (base := PurePosixPath(name).name) in below
        ]
        wanted = coding.media[0] if coding.media else f"{path.stem}.mp4 or another video of that name"
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DatasetLayoutError(
            f"Expected the video of {path.name}, but found no {wanted} below {root}; put it there, or name it: --video"
        )
    source = os.path.relpath(file.resolve(), root.resolve()).replace(os.sep, "/")
    if source.startswith("../"):
        raise DatasetLayoutError(f"Expected the video inside `--root`, but it is at {file}; name a root that holds it")
    return source


def _names(text: str | None) -> dict[str, tuple[str, str] | None]:
    """What `--tiers` says: AU and side by name, None for tiers to leave out."""
    names: dict[str, tuple[str, str] | None] = {}
    for part in (text or "").split(","):
        name, sign, au = (word.strip() for word in part.partition("="))
        if not part.strip():
            continue
        if not sign or not name or (au and tier_au(au) is None):
            raise ValueError(f'Expected `--tiers` as in "smile=AU12,notes=", but got {part.strip()!r}')
        names[name] = tier_au(au) if au else None
    return names


def _person(found: AUTiers, wanted: str | None, where: str) -> str:
    there = people(found)
    if not found.coded:
        left = ", ".join(found.left_out) or "it has none"
        raise DatasetLayoutError(
            f"{where}: expected tiers named after action units (AU12, L12, Lip corner puller), but got {left}; say "
            'what they mean: --tiers "smile=AU12"'
        )
    if wanted is None and len(there) > 1:
        raise DatasetLayoutError(
            f"{where}: expected the coding of one person, but it has that of {', '.join(there)}; name one with "
            "--person. Crops show the largest face of each frame: give the person's boxes with --detector table:FILE"
        )
    if wanted is not None and wanted not in there:
        raise DatasetLayoutError(
            f"{where}: expected the coding of {wanted}, but it has {', '.join(there) or 'no names'}"
        )
    return there[0] if wanted is None else wanted


def _own(found: AUTiers, who: str, where: str) -> list[AUMark]:
    """The annotations of a person, of one tier per AU and side."""
    for coded in (found.coded.get(who, {}), _both(found, who)):
        for (au, side), names in coded.items():
            if len(names) > 1:
                what = f"{side} {au}".strip()
                raise DatasetLayoutError(
                    f"{where}: tiers {' and '.join(names)} both code {what} of one person, perhaps by two coders; "
                    f'leave one out: --tiers "{names[-1]}="'
                )
    return [mark for mark in found.marks if mark.mark.person in (who, "")]


def _both(found: AUTiers, who: str) -> dict[tuple[str, str], list[str]]:
    """Tiers by AU and side of a person and of nobody in particular."""
    joined: dict[tuple[str, str], list[str]] = {}
    for person in {who, ""}:
        for key, names in found.coded.get(person, {}).items():
            joined.setdefault(key, []).extend(names)
    return joined


def _labels(
    marks: Sequence[AUMark], found: AUTiers, who: str, times: np.ndarray, shift: float, findings: Findings, where: str
) -> dict[str, np.ndarray]:
    """Columns of a manifest (m,) from annotations: labels, sides and intensities where some annotation has one.

    Args:
        marks: The annotations.
        found: Which AUs have a tier: they are absent where nothing is annotated.
        who: The person.
        times: (m,) of the frames, from the first.
        shift: Seconds to add to the times of annotations.
        findings: Takes what is not plain.
        where: What messages call the file.
    """
    ends = frame_ends(times)
    middles = (times + ends) / 2
    late = [mark for mark in marks if mark.mark.begin + shift >= ends[-1]]
    if marks and len(late) == len(marks):
        raise DatasetLayoutError(
            f"{where}: expected annotations within the video's {ends[-1]:.2f} s, but the first is at "
            f"{min(mark.mark.begin + shift for mark in late):.2f} s; is it the coding of another video?"
        )
    if late:
        findings.note(
            "annotations beyond the end of the video", where, f"{len(late):,}, the first {late[0].mark.where}"
        )
    sides: dict[str, dict[str, np.ndarray]] = {}
    levels: dict[str, np.ndarray] = {}
    for au, side in _both(found, who):
        sides.setdefault(au, {}).setdefault(side, np.zeros(len(times), np.int8))
    overlaps = 0
    for mark in sorted(marks, key=lambda each: (each.state == -1, each.state)):
        frames = _frames(mark, shift, times, middles, ends)
        label = sides[mark.au].setdefault(mark.side, np.zeros(len(times), np.int8))
        overlaps += bool(mark.state == 1 and (label[frames] == 1).any() and mark.mark.end > mark.mark.begin)
        label[frames] = np.where((label[frames] == 1) & (mark.state != 1), 1, mark.state)
        if mark.intensity is not None:
            level = levels.setdefault(mark.au, np.full(len(times), np.nan))
            level[frames] = np.fmax(level[frames], mark.intensity)
    if overlaps:
        findings.note("annotations that overlap: the higher intensity counts", where, f"{overlaps:,}")
    return _columns(sides, levels)


def _frames(mark: AUMark, shift: float, times: np.ndarray, middles: np.ndarray, ends: np.ndarray) -> slice:
    """Frames whose middle an annotation covers; of one that covers none, the frame that its middle lies in."""
    begin, end = round(mark.mark.begin + shift, 6), round(mark.mark.end + shift, 6)
    first, last = np.searchsorted(middles, (begin, end))
    if first == last and 0 <= (middle := (begin + end) / 2) < ends[-1]:
        first = int(np.searchsorted(times, middle, side="right")) - 1
        last = first + 1
    return slice(int(first), int(last))


def _columns(sides: dict[str, dict[str, np.ndarray]], levels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns by AU: the label, its sides, its intensity."""
    columns: dict[str, np.ndarray] = {}
    for au in sorted(sides, key=lambda name: int(name[2:])):
        each = sides[au]
        both = each.get("", np.zeros_like(next(iter(each.values()))))
        left, right = (np.maximum(both, each.get(side, both)) for side in ("left", "right"))
        columns[au] = np.maximum(left, right)
        for name, label in (("left", left), ("right", right)) if set(each) - {""} else ():
            columns[f"{au}_{name}"] = label
        if au in levels:
            columns[f"{au}_intensity"] = np.where(columns[au] == 0, 0.0, np.where(columns[au] == 1, levels[au], np.nan))
    return columns
