"""`auformer compare`: any two of the formats, its words and its files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.manifest import write_predictions
from auformer.predict.outputs import openface_table, pyfeat_table


@pytest.fixture
def files(tmp_path):
    """The same rows in three formats; in OpenFace's, AU12 is the other way round in one of ten frames."""
    probs = np.linspace(0.05, 0.95, 10)
    table = pd.DataFrame(
        {
            "dataset": "user",
            "subject": "talk.mp4",
            "sequence": "talk.mp4",
            "frame": range(10),
            "face": 0,
            "file": "talk.mp4",
        }
    )
    table = table.assign(time_s=table["frame"] / 10, x=1.0, y=2.0, w=50.0, h=50.0, score=0.9, status="ok")
    table["AU12_prob"], table["AU12_active"] = probs, pd.array(probs >= 0.5).astype("Int8")
    write_predictions(table, tmp_path / "ours.csv", {})
    pyfeat_table(table, size=(100, 100)).to_csv(tmp_path / "feat.csv", index=False)
    openface_table(table.assign(AU12_active=table["AU12_active"].where(table.index != 0, 1)), photo=False).to_csv(
        tmp_path / "of.csv", index=False
    )
    return tmp_path


def test_any_two_formats(files, capsys):
    said = {}
    for a, b in (("ours", "feat"), ("ours", "of"), ("of", "feat")):
        assert main(["compare", str(files / f"{a}.csv"), str(files / f"{b}.csv")]) == 0
        out = capsys.readouterr().out
        assert "pictures in both: 10; faces in both: 10, in A only: 0" in out
        said[a, b] = next(line.split() for line in out.splitlines() if line.startswith("AU12"))
    assert said["ours", "feat"] == ["AU12", "10", "50.0", "50.0", "100.0", "1.00", "1.00"]
    assert said["ours", "of"] == ["AU12", "10", "50.0", "60.0", "90.0", "0.80", "-"]
    assert said["of", "feat"][4] == "90.0"


def test_table_and_figure(files, capsys):
    words = [
        "compare",
        str(files / "ours.csv"),
        str(files / "of.csv"),
        "--out",
        str(files / "a.csv"),
        "--plot",
        str(files / "a.png"),
    ]
    assert main(words) == 0
    assert pd.read_csv(files / "a.csv")["kappa"].round(6).tolist() == [0.8] and (files / "a.png").stat().st_size > 5000
    assert main(words) == 1 and "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert main([*words[:3], "--plot", str(files / "a.jpg")]) == 1 and ".png" in capsys.readouterr().err


def test_nothing_to_compare(files, capsys):
    ours = pd.read_csv(files / "ours.csv").rename(columns={"AU12_prob": "AU1_prob", "AU12_active": "AU1_active"})
    ours.to_csv(files / "other.csv", index=False)
    assert main(["compare", str(files / "ours.csv"), str(files / "other.csv")]) == 1
    assert "share none" in capsys.readouterr().err
    assert main(["compare", str(files / "ours.csv"), str(files / "nowhere.csv")]) == 1
    assert "no such file" in capsys.readouterr().err
