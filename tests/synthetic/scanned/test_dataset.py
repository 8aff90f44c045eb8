"""`auformer synth --geometry scanned`: the contract of drawn sets, on a miniature model of our own."""

import json
import os
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auformer import cli
from auformer.data.images import read_image
from auformer.data.manifest import read_manifest
from auformer.faces.align import align
from auformer.synthetic import AU_NAMES, writing
from auformer.synthetic.scanned.expressions import KINDS, expected_rates
from auformer.synthetic.scanned.plan import plan_scanned
from auformer.synthetic.writing import render_dataset, render_options
from tests.helpers.facekit import bare, miniature, write_npz
from tests.helpers.trees import files

SMALL: dict[str, Any] = {"lab": "A", "subjects": 2, "frames": 3, "size": 32, "au_names": "all", "geometry": "scanned"}


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("kit") / "mini.npz")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, kit):
    return render_dataset(tmp_path_factory.mktemp("set") / "a", facekit=kit, **SMALL).parent


def test_the_folder_holds_what_a_drawn_one_holds(rendered):
    manifest, truth = read_manifest(rendered / "manifest.csv"), pd.read_parquet(rendered / "truth.parquet")
    images = {f"images/SA0000{s}/0000{f}.jpg" for s in range(2) for f in range(3)}
    assert set(manifest["image"]) == images and set(manifest["dataset"]) == {"synthetic_scanned_a"}
    assert set(files(rendered)) == images | {"manifest.csv", "manifest.json", "manifest.faces.parquet", "truth.parquet"}
    assert tuple(manifest.attrs["au_names"]) == AU_NAMES
    pixels = np.stack([read_image(rendered / image) for image in images])
    assert pixels.shape == (6, 32, 32, 3) and pixels.std((1, 2, 3)).min() > 5
    for name in AU_NAMES:
        sides = truth[[f"{name}_left", f"{name}_right"]].to_numpy(float)
        level = np.floor(np.round(5 * sides, 6) + 0.5)
        assert (manifest[name] == (level.max(1) >= 1)).all()
        assert (manifest[[f"{name}_left", f"{name}_right"]].to_numpy() == (level >= 1)).all()
        assert np.allclose(manifest[f"{name}_intensity"], 5 * sides.max(1), atol=1e-5)
    assert set(truth["expression"]) <= set(KINDS)
    nuisance = ["yaw", "near", "light_key", "light_shadow", "camera_grey", "worn_glasses", "background_level", "blink"]
    assert truth[nuisance].notna().all(axis=None)
    assert len([name for name in manifest if name.startswith("group_")]) == 4


def test_image_left_is_the_person_s_right(rendered):
    truth = pd.read_parquet(rendered / "truth.parquet")
    frames = list(plan_scanned("A", 0, 3))
    mine = truth[truth["subject"] == "SA00000"]
    for name, k in (("AU12", AU_NAMES.index("AU12")), ("AU4", AU_NAMES.index("AU4"))):
        assert np.allclose(mine[f"{name}_right"], [frame.intensity[k, 0] for frame in frames])
        assert np.allclose(mine[f"{name}_left"], [frame.intensity[k, 1] for frame in frames])


def test_the_sidecar_names_the_model_and_its_licence(rendered):
    side = json.loads((rendered / "manifest.json").read_text(encoding="utf-8"))
    assert "ICT-FaceKit" in side["licence"] and "MIT" in side["licence"] and side["crop_recipe"] == "eyes"
    assert side["parameters"]["facekit"] == miniature().digest and side["parameters"]["geometry"] == "scanned"
    assert side["label_rates"]["AU12"]["expected"] == expected_rates("A")["AU12"]


def test_landmarks_are_those_of_the_crop(tmp_path, kit):
    """Without jitter and roll, aligning an image by its own landmarks leaves it as it is."""
    path = render_dataset(tmp_path, facekit=kit, jitter=False, roll=False, **{**SMALL, "size": 64, "subjects": 1})
    faces = pd.read_parquet(tmp_path / "manifest.faces.parquet")
    for image, row in zip(read_manifest(path)["image"], faces.itertuples(), strict=True):
        points = np.array([(row.pupil_left_x, row.pupil_left_y), (row.pupil_right_x, row.pupil_right_y)])
        crop, matrix = align(read_image(tmp_path / image), points, "eyes", 64)
        assert np.allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=5e-3) and crop.shape == (64, 64, 3)
    assert (faces["nose_tip_y"] > faces["pupil_left_y"]).all() and (
        faces["mouth_left_x"] < faces["mouth_right_x"]
    ).all()


def test_spawned_workers_and_the_order_of_work_do_not_show(rendered, kit, tmp_path):
    twice = render_dataset(tmp_path / "two", facekit=kit, workers=2, **SMALL).parent
    assert files(twice) == files(rendered)
    alone = render_dataset(
        tmp_path / "one", facekit=kit, first_subject=1, **{**SMALL, "subjects": 1, "frames": 2}
    ).parent
    assert files(alone / "images").items() <= files(rendered / "images").items()


def test_an_interrupted_run_is_resumed(rendered, kit, tmp_path, monkeypatch):
    draw, drawn = writing.render_subject, []

    def interrupted(job):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(job.name)
        return draw(job)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "render_subject", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_dataset(tmp_path, facekit=kit, **SMALL)
    assert drawn == ["SA00000"] and not (tmp_path / "manifest.csv").exists()
    render_dataset(tmp_path, facekit=kit, **SMALL)
    assert files(tmp_path) == files(rendered)
    (tmp_path / "images" / "SA00001" / "00001.jpg").unlink()
    render_dataset(tmp_path, facekit=kit, **SMALL)
    assert files(tmp_path) == files(rendered)


def test_another_copy_of_the_model_is_not_mixed_in(rendered, kit, tmp_path):
    with np.load(kit) as stored:
        arrays = {**{name: stored[name] for name in stored}, "base": stored["base"] * np.float32(1.01)}
    np.savez(tmp_path / "other.npz", **arrays)
    before = files(rendered)
    with pytest.raises(ValueError, match="facekit was [0-9a-f]{12} and is now"):
        render_dataset(rendered, facekit=tmp_path / "other.npz", **SMALL)
    assert files(rendered) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geometry": "scanned"}, "`--geometry scanned` and `--facekit PATH`"),
        ({"facekit": "KIT"}, "together"),
        ({"geometry": "scanned", "facekit": "KIT", "clips": 1}, "clips and videos are of drawn faces"),
        ({"geometry": "scanned", "facekit": "KIT", "videos": 1}, "clips and videos are of drawn faces"),
        ({"geometry": "cubist"}, "`geometry` to be one of drawn, scanned"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message, kit, tmp_path):
    chosen = {name: str(kit) if value == "KIT" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        render_options(tmp_path / "new", chosen)
    assert not (tmp_path / "new").exists()


def test_the_library_asks_for_both_too(kit, tmp_path):
    for wrong in ({"geometry": "scanned"}, {"facekit": kit}):
        with pytest.raises(ValueError, match="copy of ICT-FaceKit"):
            render_dataset(tmp_path / "new", lab="A", **wrong)
    with pytest.raises(ValueError, match="clips and videos are of drawn ones"):
        render_dataset(tmp_path / "new", lab="A", geometry="scanned", facekit=kit, clips=1)
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_is_wrong_with_a_copy(tmp_path, capsys, kit):
    words = ["synth", "--geometry", "scanned", "--out", str(tmp_path / "out"), "--facekit"]
    assert cli.main([*words, str(tmp_path / "none")]) != 0
    assert "there is nothing" in capsys.readouterr().err
    assert cli.main([*words, str(bare(tmp_path / "bare.npz"))]) != 0  # as the real model's, but of other counts
    assert "26719 vertices" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_renders_and_draws_sheets(tmp_path, capsys, kit):
    words = ["synth", "--geometry", "scanned", "--facekit", os.fspath(kit), "--size", "32", "--out", str(tmp_path)]
    assert cli.main([*words, "--subjects", "1", "--frames", "2", "--aus", "AU1,AU12"]) == 0
    out = capsys.readouterr().out
    assert "synthetic_scanned_a: 2 images of 1 subjects, 32 px" in out and "AU12" in out
    assert cli.main([*words, "--sheet"]) == 0
    assert read_image(tmp_path / "sheet_aus.png").shape == (20 + 24 * 32, 6 * 32, 3)
    assert read_image(tmp_path / "sheet_scenes.png").shape == (8 * 32, 10 * 32, 3)
