"""Miniature copies of CK+, UNBC-McMaster and Aff-Wild2: label files per frame or per video beside images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from auformer.data.images import write_image
from tests.helpers.trees import table, write_text
from tests.helpers.trees.images import sample_image

UNBC_AUS = (4, 6, 7, 9, 10, 12, 20, 25, 26, 43)
WILD_AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
WILD_AUS_2020 = (1, 2, 4, 6, 12, 15, 20, 25)


# Subject, sequence, frames of the images (the last one is coded), and the FACS file as the release writes it.
CKPLUS = (
    (
        "S005", "001", (9, 10, 11),
        "   1.0000000e+00   4.0000000e+00\n   2.0000000e+00   0.0000000e+00\n   2.5000000e+01   5.0000000e+00\n",
    ),
    ("S010", "002", (1, 14), "\n   4.0000000e+00   0.0000000e+00\r\n\n"),
    (
        "S132", "008", (1, 2),
        "\ufeffAU intensity\n   4.0000000e+00   3.0000000e+00\n   4.3000000e+01   0.0000000e+00\n",
    ),
)  # fmt: skip


def write_ckplus(root: Path, *, folder: str = "FACS", faces: bool = False) -> pd.DataFrame:
    """Three sequences: an intensity of 0 (present, not scored), blank lines, headings behind a byte order mark."""
    for number, (subject, sequence, frames, text) in enumerate(CKPLUS):
        write_text(root / folder / subject / sequence / f"{subject}_{sequence}_{frames[-1]:08d}_facs.txt", text)
        for frame in frames:
            name = f"{subject}_{sequence}_{frame:08d}.png"
            write_image(root / "cohn-kanade-images" / subject / sequence / name, sample_image(number, frame, faces))
    expected = table(
        """
        subject sequence frame AU1 AU1_intensity AU2 AU4 AU4_intensity AU12 AU25 AU25_intensity AU43 source
        S005    001      11    1   4             1   0   0             0    1    5              0    00000011
        S010    002      14    0   0             0   1   -             0    0    0              0    00000014
        S132    008      2     0   0             0   1   3             0    0    0              1    00000002
        """
    )
    folders = "cohn-kanade-images/" + expected["subject"] + "/" + expected["sequence"] + "/"
    names = expected["subject"] + "_" + expected["sequence"] + "_" + expected["source"]
    return expected.assign(source=folders + names + ".png", status="ok")


_UNBC_ROWS = """\
   4.0000000e+00   2.0000000e+00   0.0000000e+00   0.0000000e+00
   4.3000000e+01   1.0000000e+00   0.0000000e+00   0.0000000e+00
"""

# Subject, sequence, and the FACS files of its frames from 1.
UNBC = (
    ("042-ll042", "ll042t1aaaff", ("", _UNBC_ROWS, "6 3 0 0\n4 1 0 0\n")),
    ("109-ib109", "ib109t2aunaff", ("26 5 0 0\n", "\n")),
)  # fmt: skip


def write_unbc(root: Path, *, threshold: int = 1, faces: bool = False) -> pd.DataFrame:
    """Two sequences of five frames, two of them with an empty file."""
    rows = []
    for number, (subject, sequence, texts) in enumerate(UNBC):
        for frame, text in enumerate(texts, start=1):
            name = f"{sequence}{frame:03d}"
            write_text(root / "Frame_Labels" / "FACS" / subject / sequence / f"{name}_facs.txt", text)
            write_image(root / "Images" / subject / sequence / f"{name}.png", sample_image(number, frame, faces))
            row: dict[str, object] = {"subject": subject, "sequence": sequence, "frame": frame}
            listed = {int(float(line.split()[0])): float(line.split()[1]) for line in text.splitlines() if line.strip()}
            for au in UNBC_AUS:
                row[f"AU{au}"] = int(listed.get(au, 0) >= (1 if au == 43 else threshold))
                if au != 43:
                    row[f"AU{au}_intensity"] = listed.get(au, 0.0)
            rows.append(row | {"status": "ok", "source": f"Images/{subject}/{sequence}/{name}.png"})
    return pd.DataFrame(rows)


# Set, video, lines after the header (None: -1 throughout), numbers of its crops.
WILD = (
    ("Train", "12-24-1920x1080_left", (1, 0, None, 1), (1, 4, 5)),
    ("Train", "12-24-1920x1080_right", (0, 1), (1, 2)),
    ("Validation", "video1 é", (1,), (1,)),
)


def write_affwild2(
    root: Path,
    *,
    base: str = "annotations/AU_Set",
    train: str = "Train_Set",
    aus: tuple[int, ...] = WILD_AUS,
    faces: bool = False,
) -> pd.DataFrame:
    """Three videos, two of them the people of one: a line without labels, a frame without a crop, and the reverse."""
    rows = []
    for number, (part, video, lines, crops) in enumerate(WILD):
        text = ",".join(f"AU{au}" for au in aus) + "\n"
        for frame, value in enumerate(lines, start=1):
            labels = {au: -1 if value is None or (au + frame) % 7 == 0 else (value + au) % 2 for au in aus}
            text += ",".join(map(str, labels.values())) + "\n"
            if value is None:
                continue
            there = frame in crops
            source = f"cropped_aligned/{video}/{frame:05d}.jpg" if there else ""
            row: dict[str, object] = {
                "subject": video.removesuffix("_left").removesuffix("_right"),
                "sequence": video,
                "frame": frame,
            }
            row |= {f"AU{au}": label for au, label in labels.items()}
            rows.append(row | {"status": "ok" if there else "no_image", "source": source, "fold": part.lower()})
        write_text(root / base / (train if part == "Train" else "Validation_Set") / f"{video}.txt", text)
        for crop in crops:
            write_image(
                root / "cropped_aligned" / video / f"{crop:05d}.jpg", sample_image(number, crop, faces, (112, 112))
            )
    return pd.DataFrame(rows)
