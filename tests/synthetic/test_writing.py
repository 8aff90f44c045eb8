"""A rendered data set on disk: the contract of its tables, the same bytes on any number of workers, resuming.

What is refused.
"""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from auformer.aus import AU_SETS
from auformer.data.images import read_image
from auformer.data.manifest import faces_path, read_manifest
from auformer.synthetic import AU_NAMES, subject, writing
from auformer.synthetic.labels import expected_rates
from auformer.synthetic.writing import render_dataset
from tests.helpers.trees import files, write_text

SMALL: dict[str, Any] = {"subjects": 3, "frames": 3, "size": 32}
KEY = ["dataset", "subject", "sequence", "frame", "face"]


@pytest.fixture(scope="module")
def lab_a(tmp_path_factory):
    return render_dataset(tmp_path_factory.mktemp("a") / "set", lab="A", **SMALL).parent


def test_the_folder_holds_the_contract_s_files(lab_a):
    manifest = read_manifest(lab_a / "manifest.csv")
    images = {f"images/A0000{s}/0000{f}.jpg" for s in range(3) for f in range(3)}
    assert set(manifest["image"]) == images
    tables = {"manifest.csv", "manifest.json", "manifest.faces.parquet", "truth.parquet"}
    assert set(files(lab_a)) == images | tables
    assert manifest.attrs["au_names"] == list(AU_SETS["bp4d"])
    pixels = np.stack([read_image(lab_a / image) for image in images])
    assert pixels.shape == (9, 32, 32, 3) and pixels.std((1, 2, 3)).min() > 10
    red, _, blue = pixels.mean((0, 1, 2))
    assert red > blue + 5  # faces are redder than blue in every skin tone; swapped channels would show here


def test_truth_and_manifest_tell_the_same_story(lab_a):
    manifest, truth = read_manifest(lab_a / "manifest.csv"), pd.read_parquet(lab_a / "truth.parquet")
    assert manifest[KEY].equals(truth[KEY].astype(manifest[KEY].dtypes))
    for name in AU_SETS["bp4d"]:
        sides = truth[[f"{name}_left", f"{name}_right"]].to_numpy(float)
        assert sides.min() >= 0 and sides.max() <= 1
        level = np.floor(np.round(5 * sides, 6) + 0.5)
        assert (manifest[name] == (level.max(1) >= 1)).all()
        assert (manifest[[f"{name}_left", f"{name}_right"]].to_numpy() == (level >= 1)).all()
        assert np.allclose(manifest[f"{name}_intensity"], 5 * sides.max(1), atol=1e-5)
    assert {f"{name}_{side}" for name in AU_NAMES for side in ("left", "right")} <= set(truth.columns)
    nuisance = ["yaw", "pitch", "roll", "light_key", "light_dir_0", "camera_exposure", "background_level", "noise_seed"]
    nuisance += ["gaze_x", "gaze_y", "speech_open", "jitter_scale"]
    assert truth[nuisance].notna().all(axis=None)
    assert truth["yaw"].std() > 0.01 and truth["noise_seed"].is_unique


def test_the_sidecar_can_make_the_set_again(lab_a, tmp_path):
    side = json.loads((lab_a / "manifest.json").read_text(encoding="utf-8"))
    wanted = {"format_version": 1, "dataset": "synthetic_a", "crop_recipe": "eyes", "image_size": [32, 32]}
    assert {name: side[name] for name in wanted} == wanted
    assert (side["rows"], side["subjects"], set(side["label_rates"])) == (9, 3, set(AU_SETS["bp4d"]))
    manifest = read_manifest(lab_a / "manifest.csv")
    for name, rate in side["label_rates"].items():
        assert rate == {
            "positives": int((manifest[name] == 1).sum()),
            "measured": round(float((manifest[name] == 1).mean()), 4),
            "expected": expected_rates("A")[name],
        }
    parameters = {key: value for key, value in side["parameters"].items() if key != "renderer"}
    again = render_dataset(tmp_path / "again", **parameters).parent
    assert files(again) == files(lab_a)


def test_lab_b_has_its_own_list_and_its_own_faces(lab_a, tmp_path):
    manifest = read_manifest(render_dataset(tmp_path / "b", lab="B", subjects=1, frames=2, size=32))
    assert manifest.attrs["au_names"] == sorted(AU_SETS["disfa"], key=lambda name: int(name[2:]))
    assert {"AU12_intensity", "AU12_left"} <= set(manifest.columns)
    assert set(manifest["subject"]) == {"B00000"} and set(manifest["dataset"]) == {"synthetic_b"}
    assert files(tmp_path / "b" / "images" / "B00000") != files(lab_a / "images" / "A00000")


def test_faces_parquet_has_box_and_points_of_every_key(lab_a):
    faces, manifest = pd.read_parquet(faces_path(lab_a / "manifest.csv")), read_manifest(lab_a / "manifest.csv")
    assert faces[KEY].astype(manifest[KEY].dtypes).equals(manifest[KEY])
    centre = faces["x"] + faces["w"] / 2
    assert (abs(centre - 16) < 4).all() and (faces["w"] == faces["h"]).all() and (faces["score"] == 1).all()
    assert (faces["pupil_left_x"] < faces["nose_tip_x"]).all() and (faces["nose_tip_x"] < faces["pupil_right_x"]).all()
    assert (faces["mouth_left_y"] > faces["nose_tip_y"]).all()


def test_spawned_workers_write_the_same_bytes(lab_a, tmp_path):
    for workers in (2, 3):
        path = render_dataset(tmp_path / str(workers), lab="A", workers=workers, **SMALL)
        assert files(path.parent) == files(lab_a)


def test_the_order_of_work_does_not_show(lab_a, tmp_path):
    """The last subject alone has the bytes that it has after two others; fewer frames are a prefix."""
    alone = render_dataset(tmp_path / "alone", lab="A", subjects=1, frames=2, size=32, first_subject=2).parent
    images = files(alone / "images")
    assert len(images) == 2 and images.items() <= files(lab_a / "images").items()


def test_the_seed_changes_expressions_and_not_faces(lab_a, tmp_path):
    other = render_dataset(tmp_path / "seed", lab="A", seed=1, **SMALL)
    a, b = read_manifest(lab_a / "manifest.csv"), read_manifest(other)
    groups = [name for name in a.columns if name.startswith("group_")]
    assert len(groups) == 4 and a[groups].equals(b[groups])
    assert not a[a.attrs["au_names"]].equals(b[b.attrs["au_names"]])


def test_switches_change_what_they_name(tmp_path):
    def truth_of(name, **switches):
        manifest = render_dataset(tmp_path / name, lab="A", subjects=1, frames=4, size=32, **switches)
        return pd.read_parquet(manifest.with_name("truth.parquet"))

    truth = truth_of("still", pose_scale=0, jitter=False, roll=False)
    assert (truth[["yaw", "pitch", "roll", "jitter_x", "jitter_y"]] == 0).all(axis=None)
    assert (truth["jitter_scale"] == 1).all()
    wide, usual = truth_of("wide", pose_scale=2), truth_of("usual")
    assert np.allclose(wide["yaw"], (2 * usual["yaw"]).clip(-0.45, 0.45), atol=1e-6)


def test_a_second_call_finds_everything_there(lab_a, monkeypatch):
    monkeypatch.setattr(writing, "render_subject", lambda job: pytest.fail("rendered again"))
    before = files(lab_a)
    assert render_dataset(lab_a, lab="A", **SMALL) == lab_a / "manifest.csv"
    assert files(lab_a) == before


def test_an_interrupted_run_is_resumed(lab_a, tmp_path, monkeypatch):
    """Interrupted between subjects, then by a full disk inside one, then while the tables are written."""
    draw, drawn = writing.render_subject, []

    def interrupted(job):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(job.name)
        return draw(job)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "render_subject", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_dataset(tmp_path, lab="A", **SMALL)
    encode, written = subject.encode, []

    def full_disk(image):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(1)
        return encode(image)

    with monkeypatch.context() as patch:
        patch.setattr(subject, "encode", full_disk)
        with pytest.raises(OSError, match="No space left"):
            render_dataset(tmp_path, lab="A", **SMALL)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["A00000", "A00001"]
    assert not (tmp_path / "manifest.csv").exists()

    with monkeypatch.context() as patch:
        patch.setattr(writing, "render_subject", lambda job: (drawn.append(job.name), draw(job))[1])
        patch.setattr(writing, "write_manifest", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            render_dataset(tmp_path, lab="A", **SMALL)
    assert drawn == ["A00000", "A00002"]
    monkeypatch.setattr(writing, "render_subject", lambda job: pytest.fail("rendered again"))
    render_dataset(tmp_path, lab="A", **SMALL)
    assert files(tmp_path) == files(lab_a)


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
def test_a_killed_run_is_resumed(tmp_path):
    words = ["--subjects", "4", "--frames", "40", "--aus", "AU12", "--size", "64", "--workers", "2", "--out"]
    command = [sys.executable, "-m", "auformer", "synth", *words]
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL, env=dict(os.environ))
    while not list((tmp_path / "killed").glob("images/A*")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "manifest.csv").exists()
    for out in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / out)], check=True, capture_output=True)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_deleted_image_is_drawn_again(lab_a, tmp_path):
    render_dataset(tmp_path, lab="A", **SMALL)
    (tmp_path / "images" / "A00001" / "00002.jpg").unlink()
    render_dataset(tmp_path, lab="A", **SMALL)
    assert files(tmp_path) == files(lab_a)


@pytest.mark.parametrize(
    "change",
    [{"frames": 4}, {"seed": 1}, {"lab": "B"}, {"au_names": "disfa"}, {"roll": False}, {"frames": 0, "clips": 1}],
)
def test_other_parameters_in_the_same_folder_are_refused(lab_a, change, monkeypatch):
    before = files(lab_a)
    with pytest.raises(ValueError, match=f"{next(iter(change))} was .* and is now .*Choose another folder"):
        render_dataset(lab_a, **{"lab": "A", **SMALL, **change})
    monkeypatch.setattr("auformer.synthetic.parameters.renderer_fingerprint", lambda: "another")
    with pytest.raises(ValueError, match="renderer was [0-9a-f]{12} and is now another"):
        render_dataset(lab_a, lab="A", **SMALL)
    assert files(lab_a) == before


@pytest.mark.parametrize(
    ("found", "texts"),
    [
        ("images", {"images/mine.jpg": "mine"}),
        ("manifest.csv", {"manifest.csv": "dataset\n", "manifest.json": "{}"}),
        ("manifest.csv", {"manifest.csv": "dataset\n", "manifest.json": "not json"}),
    ],
)
def test_a_folder_with_something_else_is_left_alone(tmp_path, found, texts):
    for name, text in texts.items():
        write_text(tmp_path / name, text)
    with pytest.raises(ValueError, match=f"holds {found}.*choose another folder"):
        render_dataset(tmp_path, lab="A", **SMALL)
    assert files(tmp_path) == {name: text.encode() for name, text in texts.items()}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        render_dataset(tmp_path / "file" / "set", lab="A", **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lab": "C"}, "`lab` to be one of A, B, but got 'C'"),
        ({"subjects": 0}, "`subjects` to be at least 1, but got 0"),
        ({"frames": 0}, "`frames` and `clips`"),
        ({"frames": -1}, "`frames` to be at least 0, but got -1"),
        ({"clips": -1}, "`clips` to be at least 0, but got -1"),
        ({"seed": -1}, "`seed` to be at least 0"),
        ({"first_subject": -1}, "`first_subject` to be at least 0"),
        ({"first_subject": 99_998}, "number to be in 0 to 99999, but got 100000"),
        ({"size": 30}, "`size` to be 32 to 1024 pixels, a multiple of 4, but got 30"),
        ({"size": 2048}, "`size`"),
        ({"pose_scale": -0.1}, "`pose_scale`"),
        ({"pose_scale": float("nan")}, "`pose_scale`"),
        ({"workers": 0}, "`workers` to be at least 1"),
        ({"au_names": "AU12,AU13"}, "rendered ones .* but got AU13"),
        ({"au_names": "AU12,AU12"}, "once"),
        ({"au_names": []}, "at least one"),
        ({"au_names": "bp4"}, "`spec`"),
    ],
)
def test_bad_parameters_are_named_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        render_dataset(tmp_path / "new", **{"lab": "A", **SMALL, **change})
    assert not (tmp_path / "new").exists()
