"""The contact sheet, the command line of `auformer synth`, and the bench script."""

import json

import cv2
import numpy as np
import pytest

from auformer.cli import main
from auformer.synthetic import AU_NAMES, sheet


@pytest.fixture
def small_sheet(monkeypatch):
    """Fewer columns, so that fewer faces are baked; the layout is the same."""
    monkeypatch.setattr(sheet, "COLUMNS", 2)
    monkeypatch.setattr(sheet, "INTENSITIES", (0.0, 1.0))


@pytest.mark.slow
@pytest.mark.usefixtures("small_sheet")
def test_a_sheet_shows_every_au_and_both_labs(tmp_path):
    path = sheet.write_sheet(tmp_path / "new" / "sheet.png", size=32, seed=3)
    image = cv2.imread(str(path))[:, :, ::-1].astype(float)
    assert image.shape == (sheet.HEADER + 24 * 32, 2 * (2 * 32) + sheet.GAP, 3)
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    tiles = [image[sheet.HEADER + 32 * i : sheet.HEADER + 32 * (i + 1)] for i in range(24)]
    for name, row in zip(AU_NAMES, tiles, strict=True):
        rest, full = row[14:, :32], row[14:, 32:64]  # below the title
        if name not in ("AU1", "AU2"):  # forehead: behind the title
            assert np.abs(rest - full).max() > 15, name
    lab_a, lab_b = np.array(tiles[6:11])[:, :, -64:], np.array(tiles[11:16])[:, :, -64:]
    corner = (slice(None), slice(0, 4), slice(28, 32))
    assert lab_b[corner].mean() > lab_a[corner].mean() + 10  # lab B's wall is brighter
    assert np.array_equal(sheet.contact_sheet(32, seed=3), image)


def test_synth_renders_and_says_what(tmp_path, capsys):
    words = "synth --lab B --subjects 2 --frames 3 --aus AU4,au12 --size 32 --out"
    command = [*words.split(), str(tmp_path)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "synthetic_b: 6 images of 2 subjects, 32 px" in out and "rendering lab B" in err
    side = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    lines = [line.split() for line in out.splitlines() if line.startswith("AU") and not line.startswith("AU ")]
    rows = {name: numbers for name, *numbers in lines}
    assert list(rows) == ["AU4", "AU12"]
    for name, (positives, rate, expected) in rows.items():
        recorded = side["label_rates"][name]
        assert (int(positives), float(rate)) == (recorded["positives"], round(recorded["measured"], 3))
        assert float(expected) == pytest.approx(recorded["expected"], abs=6e-4)
    assert out.splitlines()[-1] == str(tmp_path / "manifest.csv")
    assert main(command) == 0  # all is there
    assert main([*command, "--seed", "1"]) == 1
    assert "seed was 0 and is now 1" in capsys.readouterr().err


def test_synth_clips_and_switches(tmp_path, capsys):
    words = ["--subjects", "1", "--clips", "1", "--aus", "AU12", "--size", "32", "--no-roll", "--no-jitter"]
    assert main(["synth", *words, "--out", str(tmp_path)]) == 0
    assert "synthetic_a: 1 clips, " in capsys.readouterr().out
    parameters = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["parameters"]
    assert (parameters["clips"], parameters["frames"], parameters["roll"], parameters["jitter"]) == (1, 0, False, False)


@pytest.mark.slow
@pytest.mark.usefixtures("small_sheet")
def test_synth_sheet_alone_renders_no_data_set(tmp_path, capsys):
    assert main(["synth", "--sheet", "--size", "32", "--out", str(tmp_path)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"] and "sheet.png" in capsys.readouterr().out
    assert main(["synth", "--sheet", "--subjects", "1", "--frames", "1", "--size", "32", "--out", str(tmp_path)]) == 0
    assert {"sheet.png", "manifest.csv"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--frames", "3", "--clips", "2"], 1, "got both"),
        (["--clips", "0"], 1, "`--clips` to be at least 1"),
        (["--aus", "AU13"], 1, "rendered ones"),
        (["--subjects", "0"], 1, "`subjects` to be at least 1"),
        (["--sheet", "--size", "33"], 1, "`size`"),
        (["--sheet", "--first-subject", "99999"], 1, "99999"),
        (["--lab", "C"], 2, "invalid choice"),
        (["--subjects", "many"], 2, "invalid int"),
    ],
)
def test_bad_options_are_named(tmp_path, capsys, words, code, message):
    assert main(["synth", "--out", str(tmp_path / "new"), *words]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_bench_script_measures_both_sizes(tmp_path):
    from experiments.speed import bench_render

    result = bench_render.main(["--images", "2", "--rounds", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "bench_render.json").read_text(encoding="utf-8")) == result
    assert set(result["sizes"]) == {"112", "224"}
    for row, target in zip(result["sizes"].values(), (100, 40), strict=True):
        assert row["images_per_second"] > 0 and row["images_per_second_with_file"] > 0
        assert row["target_images_per_second"] == target
    faster = result["sizes"]["112"]["images_per_second"] >= 100 and result["sizes"]["224"]["images_per_second"] >= 40
    assert result["meets_targets"] == faster
