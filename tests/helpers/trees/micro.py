"""Miniature micro-expression releases: annotation tables with real headers and known faults, clips of a few frames.

A table has as many rows as the known faults need; only a few of the clips that it names have images, as in a copy of a
part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import pandas as pd

from auformer.data.images import write_image
from auformer.data.manifest import validate_manifest
from tests.helpers.trees.images import face_image, plain_image

Row = list[object]


@dataclass
class Clip:
    """What a reader should make of one clip: `labels` are those that are not 0 (`unnamed`: of every other AU)."""

    subject: str
    name: str
    folder: str
    frames: list[int]
    onset: int
    apex: int | None
    offset: int
    labels: dict[str, int] = field(default_factory=dict)


def clip(subject: str, name: str, folder: str, frames: list[int], apex: int | None, **labels: int) -> Clip:
    """A clip whose onset and offset are its first and last frame."""
    return Clip(subject, name, folder, frames, frames[0], apex, frames[-1], labels)


def write_table(path: Path, sheets: Mapping[str, Sequence[Row]]) -> Path:
    """Write a spreadsheet."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def write_clips(root: Path, clips: Sequence[Clip], name: str, *, faces: bool = False) -> None:
    """Write the images of clips; `name` is a format string of the frame number and the clip."""
    for number, clip in enumerate(clips):
        for frame in clip.frames:
            image = face_image(number, frame) if faces else plain_image(frame, (16, 12))
            write_image(root / clip.folder / name.format(frame, clip=clip.name), image)


def filled(rows: Mapping[int, Row], filler: Row) -> list[Row]:
    """Rows 0 to the last one given; those that are not given name clips without images, all different."""
    return [rows.get(at, [f"F{at}" if value == "FILL" else value for value in filler]) for at in range(max(rows) + 1)]


SAMM_HEADER: Row = [
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
    "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
]  # fmt: skip


def write_samm(root: Path, *, notes: int = 13) -> list[Clip]:
    """SAMM: notes above the header, sides, intensities, an "or" that is decided and one that is not, a missing apex."""
    table = {
        0: ["006", "006_1_2", 1, 5562, 5563, 5564, 3, "Micro - 1/2", "A1B+R14A", "Other", 7, None],
        3: [6, "006_1_3", 1, 10, 11, 12, 3, "Micro - 1/2", "4 + R14A or 17A", "Other", 7, None],
        15: ["011", "011_2_1", 2, 99, 100, 101, 3, "Micro - 1/2", "R12 or R15", "Happiness", 1, None],
        56: ["014", "014_1_1", 1, 5737, 5738, 5000, 3, "Micro", "L12C", "Happiness", 1, "offset"],
        125: ["033", "033_1_1", 1, 1104, "/", 1106, 3, "Micro", "2+R2", "Surprise", 3, None],
    }
    clips = [
        clip("006", "006_1_2", "SAMM/006/006_1_2", [5562, 5563, 5564], 5563, AU1=1, AU14=1, AU14_right=1),
        clip(
            "006", "006_1_3", "SAMM/006/006_1_3", [10, 11, 12], 11, AU4=1, AU14=-1, AU17=-1, AU14_right=-1
        ),
        clip(
            "011", "011_2_1", "SAMM/011/011_2_1", [99, 100, 101], 100, AU12=1, AU12_right=1, AU15=1, AU15_right=1
        ),
        clip("014", "014_1_1", "SAMM/014/014_1_1", [5737, 5738, 5739], 5738, AU12=1, AU12_left=1),
        clip("033", "033_1_1", "SAMM/033/033_1_1", [1104, 1105, 1106], 1105, AU2=1),
    ]  # fmt: skip
    above: list[Row] = [[f"Note {number}", None, None] for number in range(notes)]
    body = filled(table, ["037", "FILL", 1, 1, 2, 3, 3, "Micro", "4", "Other", 7, None])
    write_table(root / "SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": [*above, SAMM_HEADER, *body]})
    for each in clips:
        write_clips(root, [each], each.subject + "_{0:05d}.jpg")
    return clips


MMEW_HEADER: Row = [
    "Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion", "remarks",
]  # fmt: skip


def write_mmew(root: Path) -> list[Clip]:
    """MMEW: folders by emotion, of which one differs from the table's; a row with wrong apex and offset."""
    table = {
        0: [13, "S13-07-001", 1, 2, 3, "4+7", "anger", None],
        1: [13, "S13-05-002", 1, 2, 3, "14", "others", None],
        33: [2, "S02-03-001", 39, 90, 95, "1+2+5", "surprise", "x"],
    }
    clips = [
        clip("S13", "S13-07-001", "Micro_Expression/anger/S13-07-001", [1, 2, 3], 2, AU4=1, AU7=1),
        clip("S13", "S13-05-002", "Micro_Expression/repression/S13-05-002", [1, 2, 3], 2, AU14=1),
        clip(
            "S02", "S02-03-001", "Micro_Expression/surprise/S02-03-001", [39, 40, 75], 40, AU1=1, AU2=1, AU5=1
        ),
    ]  # fmt: skip
    body = filled(table, [30, "FILL", 1, 2, 3, "4", "fear", None])
    write_table(root / "MMEW_Micro_Exp.xlsx", {"Sheet1": [MMEW_HEADER, *body]})
    write_clips(root, clips, "{0}.jpg")
    return clips


FOURDME_HEADER: Row = ["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU4", "AU7", "AU12", "AU45"]


def write_fourdme(root: Path) -> list[Clip]:
    """4DME: a static action `(k)`, AU columns of which one disagrees with its text, two rows with each other's AUs.

    The table has the release's 267 rows, by subject and clip.
    """
    table = {
        0: ["S01", "S01_1st_001", "Negative", 10, 11, 12, "AU4+AU7(k)", 1, 1, 0, 0],
        1: ["S01", "S01_1st_002", "Positive", 20, 21, 22, "L12+45", 0, 1, 1, 1],
        144: ["S13", "S13_1st_001_01_1", "Repression", 2489, 2490, 2491, "AU12", 0, 0, 1, 0],
        145: ["S13", "S13_1st_001_01_2", "Positive", 2600, 2601, 2602, "AU4", 1, 0, 0, 0],
    }
    clips = [
        clip("S01", "S01_1st_001", "gray_micro/S01/S01_1st_001", [10, 11, 12], 11, AU4=1),
        clip("S01", "S01_1st_002", "gray_micro/S01/S01_1st_002", [20, 21, 22], 21, AU12=1, AU12_left=1, AU45=1),
        clip("S13", "S13_1st_001_01_1", "gray_micro/S13/S13_1st_001_01_1", [2489, 2490, 2491], 2490, AU4=1),
        clip("S13", "S13_1st_001_01_2", "gray_micro/S13/S13_1st_001_01_2", [2600, 2601, 2602], 2601, AU12=1),
    ]
    body = [
        table.get(at, ["S05" if at < 144 else "S40", f"F{at}", "Others", 1, 2, 3, "AU4", 1, 0, 0, 0])
        for at in range(267)
    ]
    write_table(root / "4DME_Labelling_Micro_release v1.xlsx", {"Sheet1": [FOURDME_HEADER, *body]})
    write_clips(root, clips, "{0}.jpg")
    return clips


def assert_clips(table: pd.DataFrame, clips: Sequence[Clip], root: Path) -> None:
    """A reader's table has the frames of the clips and no others, in order, with their numbers, labels and images."""
    expected = sorted((clip.subject, clip.name, frame) for clip in clips for frame in clip.frames)
    assert list(zip(table["subject"], table["sequence"], table["frame"], strict=True)) == expected
    aus = [name for name in table.columns if name.startswith("AU") and name[2:].isdigit()]
    for clip in clips:
        rows = table[(table["subject"] == clip.subject) & (table["sequence"] == clip.name)]
        for name, value in {"clip": clip.name, "onset": clip.onset, "offset": clip.offset, "status": "ok"}.items():
            assert set(rows[name]) == {value}, (clip.name, name)
        assert set(rows["apex"].astype(object).where(rows["apex"].notna(), None)) == {clip.apex}, clip.name
        named = {name: value for name, value in clip.labels.items() if name != "unnamed"}
        for name, value in (dict.fromkeys(aus, clip.labels.get("unnamed", 0)) | named).items():
            assert set(rows[name]) == {value}, (clip.name, name)
            if name.endswith(("_left", "_right")) and value == 1:
                other = name.replace("left", "r!").replace("right", "left").replace("r!", "right")
                assert set(rows[other]) == {0}, (clip.name, other)
        for source, frame in zip(rows["source"], rows["frame"], strict=True):
            assert source.startswith(clip.folder + "/") and (root / source).is_file()
            assert re.findall(r"\d+", Path(source).name)[-1].lstrip("0") == str(frame)
    sources = ["source", "source_frame", "source_member"]
    validate_manifest(table.drop(columns=sources).assign(dataset="x", image="x.jpg"))
