"""Folders found by the names that an annotation table gives them, which releases spell in more than one way.

Known faults of annotation tables, kept as data: one CSV file per release in `assets/corrections/`.

Its columns: `row` (0-based, after the header, as pandas counts; or a name, in tables that are indexed by one), `column` (name in the
reader's table), `value` (what the cell should hold; `row N` takes the cell of row N before any correction), `when` (empty: always;
`missing`: only where the cell holds no number; `ambiguous`: only where the AU text leaves alternatives open), `source` (who says so).

Clips with one label each, as micro-expression data sets have them: rows of an annotation table become rows of frames.

A clip's rows are its frames from onset to offset that have a picture; the frame number is the one in the picture's name. All of them carry
the clip's label, onset, apex and offset. The coders wrote down every action unit that they saw, so an AU that the text does not name is 0.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from auformer.errors import DatasetLayoutError

from ..release import Findings, Release, find_path
from .au_text import AUText, label_columns, parse_aus
from .frames import index_frames
from .sheets import cell_number, cell_text, place, read_sheet

_SHOWN = 5  # names that a finding lists [ours]


class Folders:
    """The folders below one, by name: exact, else in another case (`spNo.1`), else with other leading zeros (`sub1` for `sub01`).

    Names are only compared with what the folder holds, so that none can lead out of it.

    Args:
        base: the folder to look in; need not exist.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._held: dict[Path, list[Path]] = {}

    def held(self, folder: Path) -> list[Path]:
        """The folders in a folder, by name; hidden ones are passed over."""
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
        """One of the folders in a folder."""
        for spelling in (str, str.casefold, _without_zeros):
            found = [path for path in self.held(folder) if spelling(path.name) == spelling(name)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def report_unnamed(self, named: Iterable[Path | None], findings: Findings, *, depth: int) -> None:
        """Take note of the folders of clips that no row of the table names.

        Args:
            named: folders that rows name.
            findings: takes one note.
            depth: how far below the base the folders of clips are.
        """
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


_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "corrections"
_ROW = "row "  # start of a value that is another row's


def read_corrections(name: str) -> pd.DataFrame:
    """The table of one release: `row` (int or a name), `column`, `value`, `when`, `source` (text); empty where no fault is known."""
    path = _FOLDER / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["row", "column", "value", "when", "source"])
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    table["row"] = [int(row) if row.isdecimal() else row for row in table["row"]]
    return table if "when" in table.columns else table.assign(when="")


def apply_corrections(frame: pd.DataFrame, name: str, findings: Findings) -> pd.DataFrame:
    """Put the known faults of a release right.

    Args:
        frame: its table; the index is the row after the header, as `auformer.data_prep.formats.sheets.read_sheet` gives it.
        name: of the release, and of the table in `assets/corrections/`.
        findings: every changed cell is listed; corrections whose row or column is not there, or that find the cell right, are not.

    Returns:
        A copy in which the named cells, and no others, are changed. Numbers are int.
    """
    corrected = frame.copy()
    for each in read_corrections(name).itertuples():
        rows = {each.row, int(str(each.value).removeprefix(_ROW)) if str(each.value).startswith(_ROW) else each.row}
        if not rows <= set(frame.index) or each.column not in frame.columns:
            continue
        old, value = frame.at[each.row, each.column], _value(str(each.value), str(each.column), frame)
        if cell_text(old) == cell_text(value) or not _is_due(str(each.when), old):
            continue
        corrected.at[each.row, each.column] = value
        findings.correct(
            name,
            each.row,
            f"{each.column} {cell_text(old) or 'empty'} -> {cell_text(value) or 'empty'} ({each.source})",
        )
    return corrected


def _value(text: str, column: str, frame: pd.DataFrame) -> object:
    """What the cell should hold."""
    if text.startswith(_ROW):
        return frame.at[int(text.removeprefix(_ROW)), column]
    number = cell_number(text)
    return text if number is None else number


def _is_due(when: str, old: object) -> bool:
    """Whether a correction applies to what the cell holds."""
    if when == "missing":
        return cell_number(old) is None
    if when == "ambiguous":
        return bool(parse_aus(cell_text(old)).ambiguous or parse_aus(cell_text(old)).unread)
    return True


#: Columns of an annotation table that `read_clips` reads; `apex` may be missing.
ONSET, APEX, OFFSET, AU = "onset", "apex", "offset", "au"

_SHOWN_CLIPS = 3  # folders that a message names [ours]


@dataclass(frozen=True)
class Clip:
    """Where the clip of one row of the table is.

    Args:
        subject: who.
        name: the manifest's `sequence` and `clip`, different for all clips of a subject.
        folder: of its pictures; None where there is none.
        alone: whether the folder holds this clip only, or a recording that the clip is a part of.
    """

    subject: str
    name: str
    folder: Path | None
    alone: bool = True


@dataclass(frozen=True)
class Span:
    """Frame numbers of a clip: its range, its apex where one is known, and the pictures in between."""

    onset: int
    apex: int | None
    offset: int
    pictures: dict[int, Path]


def read_clips(
    root: Path,
    sheet: pd.DataFrame,
    clips: Sequence[Clip],
    au_names: Collection[str],
    findings: Findings,
    *,
    stated: pd.DataFrame | None = None,
    keep_marked: bool = False,
) -> pd.DataFrame:
    """Rows of a reader's table.

    Args:
        root: folder of the release; sources are relative to it.
        sheet: the corrected annotation table with the columns `onset`, `offset`, `au`, and `apex` if it has one.
        clips: one for each of its rows.
        au_names: AUs that have a column whether or not they occur.
        findings: takes what is met.
        stated: the table before it was corrected, if it was; its numbers count where the corrected ones do not fit the clip's pictures.
        keep_marked: whether AUs marked `(k)` count.

    Returns:
        One row per frame, by subject, sequence and frame; see `auformer.data_prep.datasets.catalogue`.

    Raises:
        DatasetLayoutError: No clip has a folder, or two pictures of a clip have one number.
    """
    texts = [parse_aus(cell_text(value), keep_marked=keep_marked) for value in sheet[AU]]
    labels = label_columns(texts, au_names)
    there = _report_absent(root, sheet, clips, findings)
    twice = _named_twice(sheet, clips, findings)
    indexed: dict[Path, dict[int, Path]] = {}
    tables = []
    for position, (row, clip) in enumerate(zip(sheet.index, clips, strict=True)):
        if position in twice or clip not in there or clip.folder is None:
            continue
        if clip.folder not in indexed:
            indexed[clip.folder] = index_frames(clip.folder)
        numbers = _fitting(sheet, stated, row, clip, indexed[clip.folder], findings)
        span = _span(numbers, place(sheet, row), clip, indexed[clip.folder], root, findings)
        if span is not None:
            _report_text(sheet, row, texts[position], findings)
            tables.append(_frames(root, clip, span, position))
    if not tables:
        raise DatasetLayoutError(
            f"Expected pictures of the clips in {root}, but no clip has one between its onset and its offset; check `--root`"
        )
    rows = pd.concat(tables, ignore_index=True)
    rows = pd.concat([rows, labels.iloc[rows.pop("position")].reset_index(drop=True)], axis=1)
    return rows.sort_values(["subject", "sequence", "frame"], ignore_index=True)


def _named_twice(sheet: pd.DataFrame, clips: Sequence[Clip], findings: Findings) -> set[int]:
    """Positions of rows whose clip another row before them has; they are noted."""
    seen: dict[tuple[str, str], int] = {}
    twice = set()
    for position, (row, clip) in enumerate(zip(sheet.index, clips, strict=True)):
        first = seen.setdefault((clip.subject, clip.name), row)
        if first != row:
            said = f"{clip.subject} {clip.name} is in {place(sheet, first)} too; that one is taken"
            findings.note("clip named twice", place(sheet, row), said)
            twice.add(position)
    return twice


def _frames(root: Path, clip: Clip, span: Span, position: int) -> pd.DataFrame:
    """The rows of one clip, without labels."""
    return pd.DataFrame(
        {
            "subject": clip.subject,
            "sequence": clip.name,
            "frame": list(span.pictures),
            "clip": clip.name,
            "onset": span.onset,
            "apex": pd.array([span.apex] * len(span.pictures), dtype="Int64"),
            "offset": span.offset,
            "status": "ok",
            "source": [path.relative_to(root).as_posix() for path in span.pictures.values()],
            "source_frame": pd.array([pd.NA] * len(span.pictures), dtype="Int64"),
            "source_member": None,
            "position": position,
        }
    )


def _report_absent(root: Path, sheet: pd.DataFrame, clips: Sequence[Clip], findings: Findings) -> set[Clip]:
    """Count subjects and clips without a folder; those that have one are returned."""
    there = {clip for clip in clips if clip.folder is not None}
    if not there:
        named = ", ".join(dict.fromkeys(f"{clip.subject} {clip.name}" for clip in clips[:_SHOWN_CLIPS])) or "none"
        raise DatasetLayoutError(
            f"Expected a folder of pictures for each clip of {sheet.attrs['file']} in {root}, but no clip has one; the first are {named}. "
            "`auformer prepare --list` shows the expected tree"
        )
    present = {clip.subject for clip in there}
    findings.lack("subjects", dict.fromkeys(clip.subject for clip in clips if clip.subject not in present))
    findings.lack(
        "clips", [f"{clip.subject}/{clip.name}" for clip in clips if clip.folder is None and clip.subject in present]
    )
    return there


def _report_text(sheet: pd.DataFrame, row: int, text: AUText, findings: Findings) -> None:
    """Take note of an AU text that leaves something open."""
    said = repr(cell_text(sheet.at[row, AU]))
    if text.unread:
        findings.note(
            "AU text not read",
            place(sheet, row),
            f"{said}: {', '.join(text.unread)}; the AUs that it does not name are -1",
        )
    if text.ambiguous:
        findings.note("ambiguous AU text", place(sheet, row), f"{said}: {', '.join(text.ambiguous)} are -1")
    if not text.complete and not text.unread:
        findings.note("AU text leaves AUs open", place(sheet, row), f"{said}: the AUs that it does not name are -1")


def _fitting(
    sheet: pd.DataFrame, stated: pd.DataFrame | None, row: int, clip: Clip, frames: dict[int, Path], findings: Findings
) -> dict[str, object]:
    """Onset, apex and offset of a row: as corrected, or as stated where the pictures say that the correction is about another clip.

    Corrections are known by the numbers of rows; in another edition of the table the same row may be another clip's [ours].
    """
    numbers, before = (
        {name: table.at[row, name] for name in (ONSET, APEX, OFFSET) if name in table.columns}
        for table in (sheet, _or(stated, sheet))
    )
    if not clip.alone or numbers == before or _has_ends(numbers, frames) or not _has_ends(before, frames):
        return numbers
    said = ", ".join(
        f"{name} {cell_text(numbers[name]) or 'empty'}" for name in numbers if numbers[name] != before[name]
    )
    findings.note(
        "correction that does not fit the pictures", place(sheet, row), f"{said}; the table's own numbers taken"
    )
    return before


def _or(table: pd.DataFrame | None, other: pd.DataFrame) -> pd.DataFrame:
    """The first of two tables that is there."""
    return other if table is None else table


def _has_ends(numbers: dict[str, object], frames: dict[int, Path]) -> bool:
    """Whether there is a picture of a clip's onset and one of its offset, in this order."""
    onset, offset = cell_number(numbers[ONSET]), cell_number(numbers[OFFSET])
    return onset is not None and offset is not None and onset <= offset and onset in frames and offset in frames


def _span(
    numbers: dict[str, object], where: str, clip: Clip, frames: dict[int, Path], root: Path, findings: Findings
) -> Span | None:
    """Frame numbers of a clip, mended where they can be; None where no range is known or no picture lies in it."""
    folder = (clip.folder or root).relative_to(root).as_posix()
    onset, offset = cell_number(numbers[ONSET]), cell_number(numbers[OFFSET])
    if not frames:
        findings.miss(folder, "no picture")
        return None
    if onset is None or offset is None or onset > offset:
        said = f"onset {cell_text(numbers[ONSET]) or 'empty'}, offset {cell_text(numbers[OFFSET]) or 'empty'}"
        if not clip.alone:
            findings.note("clip without a range", where, f"{said}; it is left out")
            return None
        onset, offset = min(frames), max(frames)
        findings.note(
            "clip without a range", where, f"{said}; the folder's first and last picture taken, {onset} and {offset}"
        )
    inside = {number: path for number, path in frames.items() if onset <= number <= offset}
    if not inside:
        findings.miss(folder, f"no picture from {onset} to {offset}; there are {min(frames)} to {max(frames)}")
        return None
    if len(inside) < offset - onset + 1:
        gap = next(number for number in range(onset, offset + 1) if number not in inside)
        findings.note(
            "frames without a picture",
            where,
            f"{offset - onset + 1 - len(inside):,} of {onset} to {offset}, the first {gap}",
        )
    return Span(onset, _apex(numbers, onset, offset, where, findings), offset, inside)


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


def rows_with_clips(sheet: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows of a table that name a subject and a clip; the others are noted."""
    named = [
        bool(cell_text(subject) and cell_text(name))
        for subject, name in zip(sheet["subject"], sheet["name"], strict=True)
    ]
    for row, there in zip(sheet.index, named, strict=True):
        if not there:
            held = ", ".join(cell_text(value) for value in sheet.loc[row] if cell_text(value))
            findings.note("row without a subject or a clip", place(sheet, row), f"{held}; it is left out")
    return sheet[named]


#: Column of a table that states two apexes; the second counts where the first is empty.
SECOND_APEX = "apex2"


def read_sub_clips(
    root: Path,
    release: Release,
    findings: Findings,
    *,
    tables: Sequence[str],
    columns: Mapping[str, tuple[str, ...]],
    pictures: Sequence[str],
    corrections: bool,
) -> pd.DataFrame:
    """One row per frame of each clip; of two apexes the first counts.

    Args:
        root: folder of the release.
        release: whose clips these are.
        findings: takes what is met.
        tables: where the annotation table may be, as patterns below the root.
        columns: the reader's name of a column -> its headings; with `apex2`, which a table need not have, there are two apexes.
        pictures: folders below the root that may hold the folders of the subjects; the root itself is tried last.
        corrections: whether the known faults of the table are put right.

    Raises:
        DatasetLayoutError: The tree or the table is not as expected.
    """
    table = find_path(root, *tables, what=f"the table of {release.title}")
    stated = read_sheet(
        table, columns=columns, optional=[name for name in columns if name == SECOND_APEX], findings=findings
    )
    sheet = rows_with_clips(apply_corrections(stated, release.name, findings) if corrections else stated, findings)
    if SECOND_APEX in sheet.columns:
        sheet = sheet.assign(apex=sheet["apex"].where(sheet["apex"].notna(), sheet[SECOND_APEX]))
    places = [*(f"{folder}/sub[0-9]*" for folder in pictures), "sub[0-9]*"]
    folders = Folders(find_path(root, *places, what=f"pictures of {release.title}").parent)
    clips = []
    for subject, name in zip(sheet["subject"], sheet["name"], strict=True):
        who, clip = f"sub{cell_text(subject).removeprefix('sub').zfill(2)}", cell_text(name)
        clips.append(Clip(who, clip, folders.find(who, clip)))
    folders.report_unnamed([clip.folder for clip in clips], findings, depth=2)
    return read_clips(root, sheet, clips, release.au_names, findings, stated=stated)
