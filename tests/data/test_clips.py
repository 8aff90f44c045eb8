from pathlib import Path

import numpy as np
import pytest

from auformer.data.clips import clip_rows, compose, parse_clip_input
from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.images import read_image
from auformer.data.manifest import read_manifest, write_manifest
from auformer.errors import ManifestError
from tests.helpers.benchmarks import AUS, rewrite, tiny_clips
from tests.helpers.faces import tiny_manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three subjects with two clips of six frames, 10 to 15, apex 11; the clip S1_0 has no apex."""
    return tiny_clips(tmp_path_factory.mktemp("clips"), subjects=3, clips=2, frames=6, no_apex=["S1_0"])


def images(manifest: Path, clip: str, *frames: int) -> list[np.ndarray]:
    subject, number = clip[1:].split("_")
    start = f"images/clips_{subject}_{number}"
    return [read_image(manifest.parent / f"{start}_{frame}.png").astype(float) for frame in frames]


def composed(manifest: Path, clip_input: str, clip: str) -> np.ndarray:
    """What a network sees of a clip, in grey levels."""
    rows = clip_rows(read_manifest(manifest), clip_input)
    dataset = AUDataset(rows, manifest.parent, AUS, 32)
    item = dataset[rows["clip"].tolist().index(clip)]
    return item["image"].numpy().transpose(1, 2, 0) * 255


def test_one_row_per_clip_at_its_apex(manifest):
    frame = read_manifest(manifest)
    for clip_input in ("apex", "difference", "mean:3"):
        rows = clip_rows(frame, clip_input)
        assert rows["clip"].tolist() == [f"S{subject}_{clip}" for subject in range(3) for clip in range(2)]
        # without an apex the middle, 12.5: of two equally near the earlier
        assert rows["frame"].tolist() == [11, 11, 12, 11, 11, 11]
    shuffled = frame.sample(frac=1, random_state=0)
    again = clip_rows(shuffled, "mean:3").sort_values("clip")
    assert again.drop(columns="status").equals(clip_rows(frame, "mean:3").sort_values("clip").drop(columns="status"))
    assert clip_rows(frame, "frames") is frame


def test_what_the_network_sees(manifest):
    apex, onset = images(manifest, "S0_1", 11, 10)
    np.testing.assert_allclose(composed(manifest, "apex", "S0_1"), apex, atol=1e-3)
    change = np.clip(127.5 + 2 * (apex - onset), 0, 255)
    np.testing.assert_allclose(composed(manifest, "difference", "S0_1"), change, atol=0.51)
    mean = np.mean(images(manifest, "S0_1", 11, 10, 12), axis=0)
    np.testing.assert_allclose(composed(manifest, "mean:3", "S0_1"), mean, atol=0.51)
    whole = np.mean(images(manifest, "S0_1", *range(10, 16)), axis=0)
    np.testing.assert_allclose(composed(manifest, "mean:99", "S0_1"), whole, atol=0.51)


def test_frames_without_a_face_are_passed_over(manifest):
    frame = read_manifest(manifest)
    frame.loc[(frame["clip"] == "S0_0") & frame["frame"].isin([10, 11]), "status"] = "no_face"
    frame.loc[frame["clip"] == "S2_1", "status"] = "no_face"
    rows = clip_rows(frame, "difference")
    assert rows["frame"].tolist()[0] == 12
    assert rows["@frames"].tolist()[0] == ("images/clips_0_0_12.png",)  # the onset: the nearest that is there
    assert rows["status"].tolist() == ["ok"] * 5 + ["no_face"] and rows["@frames"].tolist()[-1] == ()


def test_compose_by_hand():
    apex, onset = np.full((1, 1, 3), [130, 200, 10], np.uint8), np.full((1, 1, 3), [128, 100, 100], np.uint8)
    assert compose("difference", [apex, onset]).tolist() == [[[132, 255, 0]]]
    assert compose("mean", [apex, onset]).tolist() == [[[129, 150, 55]]]


@pytest.mark.parametrize("text", ["onset", "mean", "mean:0", "mean:x", "apex:2"])
def test_inputs_that_are_none(text):
    with pytest.raises(ValueError, match="`clip_input`"):
        parse_clip_input(text)


def test_stills_are_no_clips(manifest, tmp_path):
    with pytest.raises(ManifestError, match="no column `clip`"):
        clip_rows(read_manifest(tiny_manifest(tmp_path)), "apex")
    frame = read_manifest(manifest)
    frame.loc[0, "clip"] = None
    with pytest.raises(ManifestError, match="1 rows have no `clip`"):
        clip_rows(frame, "apex")


def test_the_data_module_feeds_clips(manifest):
    options = {"clip_input": "difference", "val_fraction": 0, "image_size": 32, "batch_size": 4}
    data = AUDataModule(str(manifest), test_subjects=["clips/S1"], **options)
    assert [len(data.splits[split]) for split in ("train", "test")] == [4, 2]
    assert set(data.splits["test"]["subject"]) == {"S1"}
    batch = next(iter(data.test_dataloader()))
    seen = batch["image"][1].numpy().transpose(1, 2, 0) * 255
    np.testing.assert_allclose(seen, composed(manifest, "difference", "S1_1"), atol=1e-3)
    augmented = next(iter(data.train_dataloader()))
    assert augmented["image"].shape == (4, 3, 32, 32)


def test_subjects_that_are_not_there(manifest):
    for subjects, message in (
        (["S1"], "to be like 'clips/S0', but S1"),
        ([f"clips/S{i}" for i in range(3)], "other subjects to train on"),
    ):
        with pytest.raises(ManifestError, match=message):
            AUDataModule(str(manifest), test_subjects=subjects, image_size=32)
    with pytest.raises(ValueError, match="either `fold` or `test_subjects`"):
        AUDataModule(str(manifest), test_subjects=["clips/S1"], fold="T1", image_size=32)


def test_an_apex_outside_the_frames_is_the_nearest_one(tmp_path):
    path = rewrite(tiny_clips(tmp_path, subjects=1, clips=1, frames=3), onset=0, apex=40, offset=50)
    rows = clip_rows(read_manifest(path), "apex")
    assert rows["frame"].tolist() == [12]
    write_manifest(rows.drop(columns=["@frames", "@compose"]), tmp_path / "clips.csv", {})
