"""Miniature releases of the CASME family: CASME, CASME II, CAS(ME)^2, CAS(ME)^3; see `tests.helpers.trees.micro`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.helpers.trees.micro import Clip, Row, clip, filled, write_clips, write_table

CASME2_HEADER: Row = [
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion",
]  # fmt: skip


def write_casme2(
    root: Path, *, cropped: bool = False, faces: bool = False, rows: Mapping[int, Row] | None = None
) -> list[Clip]:
    """CASME II: a clip that starts at img46, an apex `/` that is known, a wrong offset, a text of `?`."""
    table = {
        0: [1, "EP02_01f", None, 46, 48, 49, None, "4+L12", "happiness"],
        1: [1, "EP02_02f", None, 5, 6, 7, None, "?", "others"],
        29: [2, "EP09_10", None, 278, "/", 280, None, "R14", "others"],
        60: [5, "EP12_03f", None, 76, "/", 51, None, "7", "disgust"],
        **(rows or {}),
    }
    folder = "Cropped" if cropped else "CASME2_RAW_selected"
    clips = [
        clip("sub01", "EP02_01f", f"{folder}/sub01/EP02_01f", [46, 47, 48, 49], 48, AU4=1, AU12=1, AU12_left=1),
        clip("sub01", "EP02_02f", f"{folder}/sub01/EP02_02f", [5, 6, 7], 6, unnamed=-1),
        clip("sub02", "EP09_10", f"{folder}/sub02/EP09_10", [278, 279, 280], 279, AU14=1, AU14_right=1),
        clip("sub05", "EP12_03f", f"{folder}/sub05/EP12_03f", [76, 78, 91], 78, AU7=1),
    ]
    body = filled(table, [26, "FILL", None, 1, 2, 3, None, "4", "others"])
    write_table(root / "CASME2-coding-20140508.xlsx", {"Sheet1": [CASME2_HEADER, *body]})
    write_clips(root, clips, "reg_img{0}.jpg" if cropped else "img{0}.jpg", faces=faces)
    return clips


CASME_HEADER: Row = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"]


def write_casme(root: Path) -> list[Clip]:
    """CASME: names with and without zeros, two apexes, a row with all three numbers wrong."""
    table = {
        0: [1, "EP01_5", None, 1, 2, 3, 4, None, "4+L12", "tense"],
        1: [1, "EP01_8", None, 8, None, 9, 10, None, 9, "disgust"],
        40: [4, "EP19_1", None, 90, 95, None, 99, None, "1+2", "surprise"],
    }
    clips = [
        clip("sub01", "EP01_5", "CASME_raw_selected/sub01/EP01_5", [1, 2, 3, 4], 2, AU4=1, AU12=1, AU12_left=1),
        clip("sub01", "EP01_8", "CASME_raw_selected/sub01/EP01_8", [8, 9, 10], 9, AU9=1),
        clip("sub04", "EP19_1", "CASME_raw_selected/sub04/EP19_1", [100, 120, 149], 120, AU1=1, AU2=1),
    ]
    write_table(
        root / "casme.xlsx",
        {"Sheet1": [CASME_HEADER, *filled(table, [19, "FILL", None, 1, 2, None, 3, None, "4", "tense"])]},
    )
    write_clips(root, clips[:2], "{clip}-{0}.jpg")
    write_clips(root, clips[2:], "{clip}-{0:03d}.jpg")
    return clips


CASME3_HEADER: Row = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]


def write_casme3(root: Path, *, videos: bool = False) -> list[Clip]:
    """CAS(ME)^3 part A: two clips of one video, two spellings of a person, a wrong apex, an onset of 0."""
    table = {
        0: ["spNO.1", "a", 355, 356, 357, "4+7", "IV", "disgust"],
        1: ["spNO.1", "a", 400, 401, 402, "R12", "I", "happy"],
        2: ["spNo.2", "e", 138, 139, 140, 0, "VII", "others"],
        128: ["spNO.39", "b", 159, 300, 161, "1+2", "II", "surprise"],
        750: ["spNO.216", "e", 0, 0, 3, "5", "II", "fear"],
    }
    names = {"a": "spNo.1_a_355", "a2": "spNo.1_a_400", "e": "spNO.2_e_138", "b": "spNO.39_b_159", "0": "spNO.216_e_0"}
    cut = {key: f"Part_A_ME_clip/frame/{name}" for key, name in names.items()}
    whole = {key: "part_A/{}/{}/color".format(*name.split("_")[:2]) for key, name in names.items()}
    folders = whole if videos else cut
    clips = [
        clip("spNO.1", "a_355", folders["a"], [355, 356, 357], 356, AU4=1, AU7=1),
        clip("spNO.1", "a_400", folders["a2"], [400, 401, 402], 401, AU12=1, AU12_right=1),
        clip("spNO.2", "e_138", folders["e"], [138, 139, 140], 139),
        clip("spNO.39", "b_159", folders["b"], [159, 160, 161], 160, AU1=1, AU2=1),
        clip("spNO.216", "e_1", folders["0"], [1, 2, 3], 1, AU5=1),
    ]
    body = filled(table, ["spNO.999", "FILL", 1, 2, 3, "4", "VII", "others"])
    write_table(
        root / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        {"about": [["notes"]], "label": [CASME3_HEADER, *body]},
    )
    write_clips(root, clips, "{0}.jpg")
    return clips


def write_casme3_c(root: Path, *, videos: bool = True) -> list[Clip]:
    """CAS(ME)^3 part C: comma lists, one with the full-width comma, no apex; videos, or a folder per clip."""
    rows: list[Row] = [
        ["sub", "count", "onset", "offset", "au"], [1, 1, 373, 375, "4,7"], [1, 2, 400, 402, "12，14"],
        [2, 1, 5, 7, "1"],
    ]  # fmt: skip
    folders = (
        ["part_C/01/a/color"] * 2 + ["part_C/02/a/color"]
        if videos
        else ["ME_C/01/1/color", "ME_C/01/2/color", "ME_C/02/1/color"]
    )
    clips = [
        clip("C01", "1", folders[0], [373, 374, 375], None, AU4=1, AU7=1),
        clip("C01", "2", folders[1], [400, 401, 402], None, AU12=1, AU14=1),
        clip("C02", "1", folders[2], [5, 6, 7], None, AU1=1),
    ]
    write_table(root / "CAS(ME)3_part_C_ME.xlsx", {"Sheet1": rows})
    write_clips(root, clips, "{0}.jpg")
    return clips


def write_casme_sq(root: Path, *, videos: bool = False) -> list[Clip]:
    """CAS(ME)^2: three sheets without headers, an offset of 0, a macro-expression, a doubled suffix."""
    labels: list[Row] = [
        [1, "anger1_1", 557, 558, 559, "4+7", "negative", "micro-expression", "anger"],
        [1, "anger1_2", 600, 601, 0, "14", "negative", "micro-expression", "anger"],
        [3, "happy4_1", 2977, 0, 2979, "L12", "positive", "micro-expression", "happiness"],
        [3, "happy4_2", 3000, 3001, 3002, "6+12", "positive", "macro-expression", "happiness"],
    ]
    folders = [
        "selectedpic/s15/anger1_1", "selectedpic/s15/anger1_2", "selectedpic/s19/happy4_1",
        "selectedpic/s19/happy4_2",
    ]  # fmt: skip
    if videos:
        folders = ["rawpic/s15/15_0401girlcrashing"] * 2 + ["rawpic/s19/23_0502funnyerrors"] * 2
    clips = [
        clip("s15", "anger1_1", folders[0], [557, 558, 559], 558, AU4=1, AU7=1),
        clip("s15", "anger1_2", folders[1], [600, 601], 601, AU14=1),
        clip("s19", "happy4_1", folders[2], [2977, 2978, 2979], None, AU12=1, AU12_left=1),
        clip("s19", "happy4_2", folders[3], [3000, 3001, 3002], 3001, AU6=1, AU12=1),
    ]
    rules: list[Row] = [["0401", "anger1"], ["0502", "happy4"]]
    sheets = {"CASFEcode_final": labels, "naming rule1": [[15, "s15", 1], [19, "s19", 3]], "naming rule2": rules}
    write_table(root / "CAS(ME)^2code_final.xlsx", sheets)
    write_clips(root, clips, "img{0:03d}.jpg" if videos else "img{0}.jpg.jpg")
    return clips
