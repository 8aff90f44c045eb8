"""Miniature copies of EmotioNet, RAF-AU, FEAFA+ and Bosphorus: tables or lists that name images, values without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pandas as pd

from auformer.data.images import write_image
from tests.helpers.trees import write_text
from tests.helpers.trees.images import sample_image, write_video

# Photo at the end of its address, labels of AUs 1, 12 and 40 (which is none), and whether the image is there.
PHOTOS = (
    ("N_0000000001_00001.jpg", (1, 0, 1), True),
    ("N_0000000001_00002.jpg", (999, 1, 999), False),
    ("Ünal 7.jpg", (0, 999, 999), True),
)
_HOST = "http://cbcsnas01.example.org/emotionet/N_0000000001/"


def write_emotionet(
    root: Path, *, form: str = "xlsx", images: str = "imgs", rows: Sequence = PHOTOS, faces: bool = False
) -> pd.DataFrame:
    """The forms of the labels, `xlsx`, `csv`, `txt` and `list`, and the images of all photos but one."""
    numbers = range(1, 61)
    table = [
        [
            _HOST + name,
            "http://example.org/" + name,
            *(dict(zip((1, 12, 40), labels, strict=True)).get(au, 999) for au in numbers),
        ]
        for name, labels, _ in rows
    ]
    header = ["URL", "URL orig", *(f"'AU {au}'" for au in numbers)]
    if form == "xlsx":
        book = openpyxl.Workbook()
        for line in [header, *table]:
            book.active.append(line)
        root.mkdir(parents=True, exist_ok=True)
        book.save(root / "EmotioNet_FACS_aws_2020_24600.xlsx")
    elif form == "csv":
        lines = [
            ",".join(f'"{name}"' for name in header),
            *(f"'{line[0]}'," + ",".join(map(str, line[1:])) for line in table),
        ]
        write_text(root / "EmotioNet_FACS_aws_2020_24600.csv", "\n".join(lines) + "\n")
    elif form == "txt":
        write_text(root / "dataFile_0001.txt", "".join("\t".join(map(str, line)) + "\r\n" for line in table))
    else:
        lines = [
            ",".join(["path", *(f"AU{au}" for au in numbers)]),
            *(f"{line[0][len(_HOST) :]}," + ",".join(map(str, line[2:])) for line in table),
        ]
        write_text(root / "image_list_1.csv", "\n".join(lines) + "\n")
    for number, (name, _, there) in enumerate(rows):
        if there:
            write_image(root / images / name, sample_image(number, 1, faces))
    return pd.DataFrame(
        {
            "subject": ["N_0000000001_00001", "N_0000000001_00002", "Ünal 7"], "sequence": ["photo"] * 3,
            "frame": [0, 0, 0], "AU1": [1, -1, 0], "AU2": [-1, -1, -1], "AU12": [0, 1, -1],
            "status": ["ok", "no_image", "ok"],
            "source": [f"{images}/N_0000000001_00001.jpg", "", f"{images}/Ünal 7.jpg"],
        }
    )  # fmt: skip


RAFAU = "0003.jpg R12+17 \n0001.jpg 4+L12\n0002.jpg null\n\n0010.jpg 14 or 17\n"


def write_rafau(root: Path, *, faces: bool = False) -> pd.DataFrame:
    """Four photos: sides, `null`, an ambiguous text; the third is a number further on."""
    write_text(root / "RAFAU_label.txt", RAFAU)
    for number in (1, 2, 3, 10):
        write_image(root / "aligned" / f"{number:04d}_aligned.jpg", sample_image(number, number, faces))
    return pd.DataFrame(
        {
            "subject": ["0001", "0002", "0003", "0010"],
            "sequence": ["photo"] * 4,
            "frame": [1, 2, 3, 10],
            "AU4": [1, -1, 0, 0],
            "AU12": [1, -1, 1, 0],
            "AU12_left": [1, -1, 0, 0],
            "AU12_right": [0, -1, 1, 0],
            "AU14": [0, -1, 0, -1],
            "AU17": [0, -1, 1, -1],
            "status": ["ok"] * 4,
            "source": [f"aligned/{number:04d}_aligned.jpg" for number in (1, 2, 3, 10)],
        }
    )


def feafa_values(frame: int) -> list[float]:
    """The 24 numbers of a frame: the first three are 0.2, 0.6 and 1.0 times the frame by 4."""
    return [round(value * frame / 4, 4) for value in (0.2, 0.6, 1.0, *([0.0] * 21))]


FEAFA_COLUMNS = "# made up\nAU43_left\nAU43_right\nAU26\n" + "-\n" * 21


def write_feafa(root: Path, *, faces: bool = False) -> pd.DataFrame:
    """FEAFA-A with images beside the labels, FEAFA-B with a video of DISFA; `FEAFA_COLUMNS` names their values."""
    frames = {"PV057": (3, 4), "SN001": (1, 2, 3, 4)}
    for folder, subject in (("FEAFA-A", "PV057"), ("FEAFA-B", "SN001")):
        for frame in frames[subject]:
            write_text(
                root / folder / f"{subject}.output" / f"{frame:08d}.auw",
                " ".join(f"{value:f}" for value in feafa_values(frame)) + "\n",
            )
    for frame in frames["PV057"]:
        write_image(root / "FEAFA-A" / "PV057.output" / f"{frame:08d}.jpg", sample_image(0, frame, faces))
    write_video(
        root / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi", [sample_image(1, frame, faces) for frame in range(1, 5)]
    )
    return pd.DataFrame(
        {
            "subject": ["PV057"] * 2 + ["SN001"] * 4,
            "sequence": ["FEAFA-A"] * 2 + ["FEAFA-B"] * 4,
            "frame": [3, 4, 1, 2, 3, 4],
            "AU43": [1, 1, 0, 0, 1, 1],
            "AU43_left": [0, 0, 0, 0, 0, 0],
            "AU43_right": [1, 1, 0, 0, 1, 1],
            "AU43_intensity": [2.25, 3.0, 0.75, 1.5, 2.25, 3.0],
            "AU26": [1, 1, 0, 1, 1, 1],
            "AU26_intensity": [3.75, 5.0, 1.25, 2.5, 3.75, 5.0],
            "status": ["ok"] * 6,
            "source": [f"FEAFA-A/PV057.output/{frame:08d}.jpg" for frame in (3, 4)]
            + ["Videos_LeftCamera/LeftVideoSN001_comp.avi"] * 4,
            "source_frame": [None, None, 0, 1, 2, 3],
        }
    )


BOSPHORUS = """\
Bosphorus FACS codes
name -> codes
bs000_LFAU_12_0 -> 12C+R6B
bs000_N_N_0 -> 0
bs000_YR_R10_0 -> 0
bs000_CR_RD_0 -> 0
bs000_PR_D_0 -> 1A
bs011_E_SADNESS_1 -> 1B+4+15D
bs011_LFAU_12LW_0 -> L12B+R12D
"""


def write_bosphorus(root: Path, *, base: str = "BosphorusDB/BosphorusDB", faces: bool = False) -> pd.DataFrame:
    """Two people: sides and intensities, a neutral face, one action unit without a letter, and three turned heads."""
    write_text(root / "facscodes" / "facscodes.lst", BOSPHORUS)
    names = ("bs000_LFAU_12_0", "bs000_N_N_0", "bs000_YR_R10_0", "bs011_E_SADNESS_1", "bs011_LFAU_12LW_0")
    for number, name in enumerate(names):
        write_image(root / base / name[:5] / f"{name}.png", sample_image(number, number, faces))
    return pd.DataFrame(
        {
            "subject": ["bs000", "bs000", "bs011", "bs011"],
            "sequence": ["LFAU_12", "N_N", "E_SADNESS", "LFAU_12LW"],
            "frame": [0, 0, 1, 0],
            "AU1": [0, 0, 1, 0],
            "AU1_intensity": [0.0, 0.0, 2.0, 0.0],
            "AU4": [0, 0, 1, 0],
            "AU6": [1, 0, 0, 0],
            "AU6_left": [0, 0, 0, 0],
            "AU6_right": [1, 0, 0, 0],
            "AU12": [1, 0, 0, 1],
            "AU12_intensity": [3.0, 0.0, 0.0, 4.0],
            "AU15_intensity": [0.0, 0.0, 4.0, 0.0],
            "AU43": [0, 0, 0, 0],
            "status": ["ok"] * 4,
            "source": [
                f"{base}/{name[:5]}/{name}.png"
                for name in ("bs000_LFAU_12_0", "bs000_N_N_0", "bs011_E_SADNESS_1", "bs011_LFAU_12LW_0")
            ],
        }
    )
