"""`auformer compare`: any two of the formats, its words and its files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.manifest import write_predictions
from auformer.predict.outputs import openface_table, pyfeat_table


@pytest.fixture
def files(tmp_path):
    """The same rows in three formats; in OpenFace's, AU12 is the other way round in one of ten frames."""
    probs, name = np.linspace(0.05, 0.95, 10), "talk.mp4"
    key = {"dataset": "user", "subject": name, "sequence": name, "frame": range(10), "face": 0, "file": name}
    box = {"x": 1.0, "y": 2.0, "w": 50.0, "h": 50.0, "score": 0.9}
    table = pd.DataFrame({**key, "time_s": np.arange(10) / 10, **box, "status": "ok"})
    table["AU12_prob"], table["AU12_active"] = probs, pd.array(probs >= 0.5).astype("Int8")
    write_predictions(table, tmp_path / "ours.csv", {})
    pyfeat_table(table, size=(100, 100)).to_csv(tmp_path / "feat.csv", index=False)
    other = table.assign(AU12_active=table["AU12_active"].where(table.index != 0, 1))
    openface_table(other, photo=False).to_csv(tmp_path / "of.csv", index=False)
    return tmp_path


def compare(*words):
    return main(["compare", *map(str, words)])


def test_any_two_formats(files, capsys):
    said = {}
    for a, b in (("ours", "feat"), ("ours", "of"), ("of", "feat")):
        assert compare(files / f"{a}.csv", files / f"{b}.csv") == 0
        out = capsys.readouterr().out
        assert "images in both: 10, in A only: 0" in out and "faces in both: 10, in A only: 0" in out
        said[a, b] = next(line.split() for line in out.splitlines() if line.startswith("AU12"))
    assert said["ours", "feat"] == ["AU12", "10", "50.0", "50.0", "100.0", "1.00", "1.00"]
    assert said["ours", "of"] == ["AU12", "10", "50.0", "60.0", "90.0", "0.80", "-"]
    assert said["of", "feat"][4] == "90.0"


def test_table_and_figure(files, capsys):
    both, out, plot = (files / "ours.csv", files / "of.csv"), files / "a.csv", files / "a.png"
    assert compare(*both, "--out", out, "--plot", plot) == 0
    assert pd.read_csv(out)["kappa"].round(6).tolist() == [0.8] and plot.stat().st_size > 5000
    assert compare(*both, "--out", out, "--plot", plot) == 1 and "--overwrite" in capsys.readouterr().err
    assert compare(*both, "--out", out, "--plot", plot, "--overwrite") == 0
    assert compare(*both, "--plot", files / "a.jpg") == 1 and ".png" in capsys.readouterr().err


def test_intensities_of_two_files(files, capsys):
    """B is half a level above A throughout: bias -0.5, no spread, complete consistency."""
    level = np.linspace(0, 4, 10)
    one = pd.read_csv(files / "ours.csv").assign(AU12_intensity_pred=level)
    write_predictions(one, files / "one.csv", {})
    openface_table(one.assign(AU12_intensity_pred=level + 0.5), photo=False).to_csv(files / "two.csv", index=False)
    words, out, plot = (files / "one.csv", files / "two.csv"), files / "i.csv", files / "i.png"
    assert compare(*words, "--out", out, "--bland-altman", plot) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["AU12", "10", "1.00", "0.50", "-0.50", "-0.51", "to", "-0.49"] in said  # OpenFace's two decimals
    (row,) = json.loads((files / "i.json").read_text())["agreement"]
    assert row["intensity_faces"] == 10 and row["bias"] == pytest.approx(-0.5, abs=0.005) and row["au"] == "AU12"
    assert pd.read_csv(out)["icc"].tolist() == [pytest.approx(1, abs=1e-4)] and plot.stat().st_size > 5000
    assert compare(*words, "--out", files / "j.csv", "--plot", plot) == 1  # no output is replaced unasked
    (files / "k.json").write_text("mine")
    assert compare(*words, "--out", files / "k.csv") == 1 and (files / "k.json").read_text() == "mine"
    assert not (files / "j.csv").exists() and "--overwrite" in capsys.readouterr().err
    plain = (files / "ours.csv", files / "feat.csv")
    assert compare(*plain, "--bland-altman", files / "l.png") == 1
    assert "no action unit has one in both" in capsys.readouterr().err and not (files / "l.png").exists()
    assert compare(*plain, "--out", files / "l.csv") == 0 and "icc" not in pd.read_csv(files / "l.csv")


def test_nothing_to_compare(files, capsys):
    ours = pd.read_csv(files / "ours.csv").rename(columns={"AU12_prob": "AU1_prob", "AU12_active": "AU1_active"})
    ours.to_csv(files / "other.csv", index=False)
    assert compare(files / "ours.csv", files / "other.csv") == 1 and "share none" in capsys.readouterr().err
    assert compare(files / "ours.csv", files / "nowhere.csv") == 1 and "no such file" in capsys.readouterr().err
