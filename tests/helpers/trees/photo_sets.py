"""Miniature copies of EmotioNet, RAF-AU, FEAFA+ and Bosphorus: tables or lists that name images, values without."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.data.images import write_image
from tests.helpers.trees import table, write_text
from tests.helpers.trees.images import sample_image, write_video
from tests.helpers.trees.micro import write_table as write_sheets

# Photo at the end of its address, labels of AUs 1, 12 and 40 (which is none), and whether the image is there.
PHOTOS = (
    ("N_0000000001_00001.jpg", (1, 0, 1), True),
    ("N_0000000001_00002.jpg", (999, 1, 999), False),
    ("Ünal 7.jpg", (0, 999, 999), True),
)
_HOST = "http://cbcsnas01.example.org/emotionet/N_0000000001/"


def write_emotionet(root: Path, *, form: str = "xlsx", images: str = "imgs", faces: bool = False) -> pd.DataFrame:
    """The forms of the labels, `xlsx`, `csv`, `txt` and `list`, and the images of all photos but one."""
    numbers = range(1, 61)
    known = [dict(zip((1, 12, 40), labels, strict=True)) for _, labels, _ in PHOTOS]
    labels = [[labels.get(au, 999) for au in numbers] for labels in known]
    names = [name for name, *_ in PHOTOS]
    lines = [[_HOST + name, "http://example.org/" + name, *row] for name, row in zip(names, labels, strict=True)]
    header = ["URL", "URL orig", *(f"'AU {au}'" for au in numbers)]
    if form == "xlsx":
        write_sheets(root / "EmotioNet_FACS_aws_2020_24600.xlsx", {"Sheet": [header, *lines]})
    elif form == "csv":
        text = ",".join(f'"{name}"' for name in header) + "\n"
        text += "".join(f"'{line[0]}'," + ",".join(map(str, line[1:])) + "\n" for line in lines)
        write_text(root / "EmotioNet_FACS_aws_2020_24600.csv", text)
    elif form == "txt":
        write_text(root / "dataFile_0001.txt", "".join("\t".join(map(str, line)) + "\r\n" for line in lines))
    else:
        listed = pd.DataFrame(labels, names, [f"AU{au}" for au in numbers])
        write_text(root / "image_list_1.csv", listed.to_csv(index_label="path", lineterminator="\n"))
    for number, (name, _, there) in enumerate(PHOTOS):
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
    expected = table(
        """
        subject sequence frame AU4 AU12 AU12_left AU12_right AU14 AU17
        0001    photo    1     1   1    1         0          0    0
        0002    photo    2    -1  -1   -1        -1         -1   -1
        0003    photo    3     0   1    0         1          0    1
        0010    photo    10    0   0    0         0         -1   -1
        """
    )
    return expected.assign(status="ok", source="aligned/" + expected["subject"] + "_aligned.jpg")


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
    expected = table(
        """
        subject sequence frame AU43 AU43_left AU43_right AU43_intensity AU26 AU26_intensity source_frame
        PV057   FEAFA-A  3     1    0         1          2.25           1    3.75           -
        PV057   FEAFA-A  4     1    0         1          3.0            1    5.0            -
        SN001   FEAFA-B  1     0    0         0          0.75           0    1.25           0
        SN001   FEAFA-B  2     0    0         0          1.5            1    2.5            1
        SN001   FEAFA-B  3     1    0         1          2.25           1    3.75           2
        SN001   FEAFA-B  4     1    0         1          3.0            1    5.0            3
        """
    )
    images = [f"FEAFA-A/PV057.output/{frame:08d}.jpg" for frame in (3, 4)]
    return expected.assign(status="ok", source=images + ["Videos_LeftCamera/LeftVideoSN001_comp.avi"] * 4)


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
    expected = table(
        """
        subject sequence  frame AU1 AU1_intensity AU4 AU6 AU6_left AU6_right AU12 AU12_intensity AU15_intensity AU43
        bs000   LFAU_12   0     0   0             0   1   0        1         1    3              0              0
        bs000   N_N       0     0   0             0   0   0        0         0    0              0              0
        bs011   E_SADNESS 1     1   2             1   0   0        0         0    0              4              0
        bs011   LFAU_12LW 0     0   0             0   0   0        0         1    4              0              0
        """
    )
    names = expected["subject"] + "_" + expected["sequence"] + "_" + expected["frame"].astype(str)
    return expected.assign(status="ok", source=f"{base}/" + expected["subject"] + "/" + names + ".png")
