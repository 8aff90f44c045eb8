"""Clips with one label each, as of micro-expressions: rows of an annotation table become rows of frames.

A clip's rows are its frames from onset to offset that have an image; the frame number is the one in the image's name.
All of them carry the clip's label, onset, apex and offset. The coders wrote down every action unit that they saw, so an
AU that the text does not name is 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from auformer.aus import AU_SETS
from auformer.data.cells import DateCell, cell_text
from auformer.errors import DatasetLayoutError

from ..release import Findings, Release, find_path
from .au_text import AUText, label_columns, note_terms, parse_aus
from .corrections import APEX, AU, OFFSET, ONSET, PENDING, apply_corrections, in_order, list_correction
from .frames import index_frames
from .sheets import Place, au_code, cell_number, place, read_sheet

_SHOWN = 5  # names that a finding lists [ours]
_SHOWN_CLIPS = 3  # folders that a message names [ours]


def with_cd6me(name: str) -> tuple[str, ...]:
    """The AUs that studies of one data set report, and those of the cross-data-set protocol CD6ME."""
    return tuple(sorted({*AU_SETS[name], *AU_SETS["cd6me"]}, key=lambda au: int(au[2:])))


class Folders:
    """The folders below one, by name: exact, else in another case (`spNo.1`), else with other leading zeros (`sub1`).

    Names are only compared with what the folder holds, so that none can lead out of it.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._held: dict[Path, list[Path]] = {}

    def held(self, folder: Path) -> list[Path]:
        """The folders in a folder, by name; hidden ones are ignored."""
        if folder not in self._held:
            inside = folder.iterdir() if folder.is_dir() else ()
            self._held[folder] = sorted(path for path in inside if path.is_dir() and not path.name.startswith("."))
        return self._held[folder]

    def find(self, *names: str) -> Path | None:
        """The folder at the end of a chain of names below the base; None where there is none, or several would do."""
        folder: Path | None = self.base
        for name in names:
            folder = None if folder is None else self._child(folder, name)
        return folder

    def _child(self, folder: Path, name: str) -> Path | None:
        for spelling in (str, str.casefold, _without_zeros):
            found = [path for path in self.held(folder) if spelling(path.name) == spelling(name)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def report_unnamed(self, named: Iterable[Path | None], findings: Findings, *, depth: int) -> None:
        """Note the folders of clips, `depth` levels below the base, that no row of the table names."""
        known = set(named)
        level = [self.base]
        for _ in range(depth):
            level = [child for folder in level for child in self.held(folder)]
        extra = [path.relative_to(self.base).as_posix() for path in level if path not in known]
        if extra:
            text = f"{len(extra):,}: {', '.join(extra[:_SHOWN])}{' ...' if len(extra) > _SHOWN else ''}"
            findings.note("folders that no row of the table names", self.base.name, text)


def _without_zeros(name: str) -> str:
    """A name in lower case with its numbers as numbers."""
    return re.sub(r"\d+", lambda match: match[0].lstrip("0") or "0", name.casefold())


@dataclass(frozen=True)
class Clip:
    """Where the clip of one row of the table is.

    Args:
        subject: Who.
        name: The manifest's `sequence` and `clip`, different for all clips of a subject.
        folder: Of its images; None where there is none.
        alone: Whether the folder holds this clip only, or a longer video with the clip in it.
    """

    subject: str
    name: str
    folder: Path | None
    alone: bool = True


def read_table(
    root: Path,
    release: Release,
    findings: Findings,
    *,
    tables: Sequence[str],
    columns: Mapping[str, Sequence[Place]],
    corrections: bool,
    title: str = "",
    sheet: str | None = None,
    header: int = 0,
    optional: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The annotation table as the release states it, and as it is used; `columns` are names with their headings.

    Returns:
        The stated table, and the corrected one without rows that name no subject or no clip, which are noted.
    """
    path = find_path(root, *tables, what=f"the table of {title or release.title}")
    stated = read_sheet(path, columns=columns, sheet=sheet, header=header, optional=optional, findings=findings)
    stated = without_dates(stated, findings)
    return stated, rows_with_clips(
        apply_corrections(stated, release.name, findings) if corrections else stated, findings
    )


def without_dates(sheet: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """A table in which dates are the AU codes that a spreadsheet program made them of; a copy where there are any.

    Raises:
        DatasetLayoutError: What a date was made of is not certain.
    """
    dates = {name: [row for row in sheet.index if isinstance(sheet.at[row, name], DateCell)] for name in sheet.columns}
    sheet = sheet.copy() if any(dates.values()) else sheet
    for name, rows in dates.items():
        for row in rows:
            where, value = place(sheet, row), sheet.at[row, name]
            if name != AU:
                raise DatasetLayoutError(
                    f"{where}: expected {name} to be a number or a name, but got the date {value}, which a spreadsheet "
                    "program makes of entries such as 4-5; enter there what was meant, as text"
                )
            sheet.at[row, name] = au_code(value, where)
            findings.note("AU codes that had become a date", where, f"{value} is {sheet.at[row, name]}")
    return sheet


def rows_with_clips(sheet: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows of a table that name a subject and a clip; the others are noted."""
    names = zip(sheet["subject"], sheet["name"], strict=True)
    named = [bool(cell_text(subject) and cell_text(name)) for subject, name in names]
    for row, there in zip(sheet.index, named, strict=True):
        if not there:
            held = ", ".join(cell_text(value) for value in sheet.loc[row] if cell_text(value))
            findings.note("row without a subject or a clip", place(sheet, row), f"{held}; it is left out")
    return sheet[named]


def find_clips(
    sheet: pd.DataFrame,
    base: Path,
    findings: Findings,
    subject: Callable[[object, str], str],
    find: Callable[[Folders, str, str, int], Path | None] | None = None,
) -> list[Clip]:
    """The clips of a release with a folder per clip; folders that no row names are noted."""
    folders = Folders(base)
    clips = []
    for row, value, name in zip(sheet.index, sheet["subject"], sheet["name"], strict=True):
        clip = cell_text(name)
        who = subject(value, clip)
        clips.append(Clip(who, clip, find(folders, who, clip, row) if find else folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return clips


def read_clips(
    root: Path,
    sheet: pd.DataFrame,
    clips: Sequence[Clip],
    au_names: Collection[str],
    findings: Findings,
    *,
    stated: pd.DataFrame,
    keep_marked: bool = False,
) -> pd.DataFrame:
    """Rows of frames, by subject, sequence and frame, of the clips, one for each row of the corrected annotation table.

    The numbers of the table as `stated` count where the corrected ones do not fit the clip's images.

    Raises:
        DatasetLayoutError: No clip has a folder, or two images of a clip have one number.
    """
    texts = [parse_aus(cell_text(value), keep_marked=keep_marked) for value in sheet[AU]]
    labels = label_columns(texts, au_names)
    _report_absent(root, sheet, clips, findings)
    twice = _named_twice(sheet, clips, findings)
    indexed: dict[Path, dict[int, Path]] = {}
    tables = []
    for position, (row, clip) in enumerate(zip(sheet.index, clips, strict=True)):
        if position in twice or clip.folder is None:
            continue
        if clip.folder not in indexed:
            indexed[clip.folder] = index_frames(clip.folder)
        images = indexed[clip.folder]
        numbers = _fitting(sheet, stated, row, clip, images, findings)
        frames = _frames(numbers, place(sheet, row), clip, images, root, findings)
        if frames is not None:
            _report_text(sheet, row, texts[position], findings)
            tables.append(frames.assign(position=position))
    if not tables:
        raise DatasetLayoutError(
            f"Expected images of the clips in {root}, but no clip has one between its onset and its offset; check "
            "`--root`"
        )
    rows = pd.concat(tables, ignore_index=True)
    rows = pd.concat([rows, labels.iloc[rows.pop("position")].reset_index(drop=True)], axis=1)
    return rows.sort_values(["subject", "sequence", "frame"], ignore_index=True)


def _report_absent(root: Path, sheet: pd.DataFrame, clips: Sequence[Clip], findings: Findings) -> None:
    """Count subjects and clips without a folder; that none has one is an error."""
    present = {clip.subject for clip in clips if clip.folder is not None}
    if not present:
        named = ", ".join(dict.fromkeys(f"{clip.subject} {clip.name}" for clip in clips[:_SHOWN_CLIPS])) or "none"
        raise DatasetLayoutError(
            f"Expected a folder of images for each clip of {sheet.attrs['file']} in {root}, but no clip has one; the "
            f"first are {named}. `auformer prepare --list` shows the expected tree"
        )
    findings.lack("subjects", dict.fromkeys(clip.subject for clip in clips if clip.subject not in present))
    lost = [clip for clip in clips if clip.folder is None and clip.subject in present]
    findings.lack("clips", [f"{clip.subject}/{clip.name}" for clip in lost])


def _named_twice(sheet: pd.DataFrame, clips: Sequence[Clip], findings: Findings) -> set[int]:
    seen: dict[tuple[str, str], int] = {}
    twice = set()
    for position, (row, clip) in enumerate(zip(sheet.index, clips, strict=True)):
        first = seen.setdefault((clip.subject, clip.name), row)
        if first != row:
            said = f"{clip.subject} {clip.name} is in {place(sheet, first)} too; that one is taken"
            findings.note("clip named twice", place(sheet, row), said)
            twice.add(position)
    return twice


def _fitting(
    sheet: pd.DataFrame, stated: pd.DataFrame, row: int, clip: Clip, images: dict[int, Path], findings: Findings
) -> dict[str, object]:
    """Onset, apex and offset of a row: as stated, or as corrected where only those fit each other and the images."""
    names = (ONSET, APEX, OFFSET)
    numbers, before = (
        {name: table.at[row, name] for name in names if name in table.columns} for table in (sheet, stated)
    )
    sources = sheet.attrs.get(PENDING, {})
    changed = [name for name in numbers if (row, name) in sources]
    if not changed:
        return numbers
    is_sound = in_order(before) and _has_ends(before, images) and _is_complete(before)
    if is_sound or (_has_ends(before, images) and not _has_ends(numbers, images)):
        said = ", ".join(f"{name} {cell_text(numbers[name]) or 'empty'}" for name in changed)
        text = f"{said}; the table's own numbers taken, which fit the images"
        findings.note("known fault that the table does not show", place(sheet, row), text)
        return before
    for name in changed:
        list_correction(
            findings, sheet.attrs["corrections"], row, name, before[name], numbers[name], sources[row, name]
        )
    return numbers


def _is_complete(numbers: dict[str, object]) -> bool:
    """Whether every number is one."""
    return all(cell_number(value) is not None for value in numbers.values())


def _has_ends(numbers: dict[str, object], images: dict[int, Path]) -> bool:
    """Whether there is an image of a clip's onset and one of its offset, in this order."""
    onset, offset = cell_number(numbers[ONSET]), cell_number(numbers[OFFSET])
    return onset is not None and offset is not None and onset <= offset and onset in images and offset in images


def _frames(
    numbers: dict[str, object], where: str, clip: Clip, images: dict[int, Path], root: Path, findings: Findings
) -> pd.DataFrame | None:
    folder = (clip.folder or root).relative_to(root).as_posix()
    onset, offset = cell_number(numbers[ONSET]), cell_number(numbers[OFFSET])
    if not images:
        findings.miss(folder, "no image")
        return None
    if onset is None or offset is None or onset > offset:
        said = f"onset {cell_text(numbers[ONSET]) or 'empty'}, offset {cell_text(numbers[OFFSET]) or 'empty'}"
        onset, offset = min(images), max(images)
        taken = f"the folder's first and last image taken, {onset} and {offset}" if clip.alone else "it is left out"
        findings.note("clip without a range", where, f"{said}; {taken}")
        if not clip.alone:
            return None
    inside = {number: path for number, path in images.items() if onset <= number <= offset}
    if not inside:
        findings.miss(folder, f"no image from {onset} to {offset}; there are {min(images)} to {max(images)}")
        return None
    if len(inside) < offset - onset + 1:
        gap = next(number for number in range(onset, offset + 1) if number not in inside)
        text = f"{offset - onset + 1 - len(inside):,} of {onset} to {offset}, the first {gap}"
        findings.note("frames without an image", where, text)
    return pd.DataFrame(
        {
            "subject": clip.subject,
            "sequence": clip.name,
            "frame": list(inside),
            "clip": clip.name,
            "onset": onset,
            "apex": pd.array([_apex(numbers, onset, offset, where, findings)] * len(inside), dtype="Int64"),
            "offset": offset,
            "status": "ok",
            "source": [path.relative_to(root).as_posix() for path in inside.values()],
            "source_frame": pd.array([pd.NA] * len(inside), dtype="Int64"),
            "source_member": None,
        }
    )


def _apex(numbers: dict[str, object], onset: int, offset: int, where: str, findings: Findings) -> int | None:
    """The apex if it is one; the manifest's cell stays empty where it is not."""
    if APEX not in numbers:
        return None
    apex = cell_number(numbers[APEX])
    if apex is None:
        findings.note("no apex", where, f"apex {cell_text(numbers[APEX]) or 'empty'}; left empty")
    elif not onset <= apex <= offset:
        findings.note("apex outside the clip", where, f"apex {apex}, onset {onset}, offset {offset}; left empty")
        return None
    return apex


def _report_text(sheet: pd.DataFrame, row: int, text: AUText, findings: Findings) -> None:
    said = repr(cell_text(sheet.at[row, AU]))
    note_terms(text, said, place(sheet, row), findings)
    if not text.complete and not text.unread:
        findings.note("AU text leaves AUs open", place(sheet, row), f"{said}: the AUs that it does not name are -1")
