import pickle

import cv2
import numpy as np
import pytest
import torch

from auformer.data.dataset import AUDataset
from auformer.data.images import read_image
from auformer.data.manifest import join_manifests, read_manifest, write_manifest
from auformer.data.transforms import build_augmentation
from auformer.errors import ManifestError
from tests.helpers.faces import tiny_manifest

AUS = ["AU1", "AU4", "AU12"]


def test_an_item_is_the_image_its_labels_and_its_row(tmp_path):
    frame = read_manifest(tiny_manifest(tmp_path, subjects=2, frames=3))
    dataset = AUDataset(frame, tmp_path, ["AU12", "AU9", "AU1"], 32)
    assert len(dataset) == 6
    for row in range(6):
        item = dataset[row]
        pixels = read_image(tmp_path / frame["image"][row])
        assert item["image"].is_contiguous() and item["label"].dtype == torch.int64
        want = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(item["image"].numpy(), want, strict=True)
        assert item["label"].tolist() == [frame["AU12"][row], -1, frame["AU1"][row]]  # by name; AU9 is not annotated
        assert item["index"] == row and set(item) == {"image", "label", "index"}


def test_images_are_brought_to_size(tmp_path):
    frame = read_manifest(tiny_manifest(tmp_path, subjects=1, frames=2, size=48))
    dataset = AUDataset(frame, str(tmp_path), AUS, [16, 24])
    want = cv2.resize(read_image(tmp_path / frame["image"][0]), (24, 16), interpolation=cv2.INTER_AREA)
    assert torch.equal((dataset[0]["image"] * 255).round().byte(), torch.from_numpy(want).permute(2, 0, 1))


def test_augmentation_is_a_function_of_seed_epoch_and_row(tmp_path):
    frame = read_manifest(tiny_manifest(tmp_path, subjects=1, frames=4))
    build = lambda seed: AUDataset(frame, tmp_path, AUS, 32, build_augmentation(32), seed=seed)  # noqa: E731
    one, other = build(5), build(5)
    items = {(row, epoch): one[row, epoch]["image"] for epoch in (0, 1) for row in range(4)}
    for row, epoch in reversed(items):  # another order, another object
        assert torch.equal(other[row, epoch]["image"], items[row, epoch])
    assert torch.equal(one[2]["image"], items[2, 0])  # a row alone is that of epoch 0
    assert all(not torch.equal(items[row, 0], items[row, 1]) for row in range(4))
    assert all(not torch.equal(build(6)[row, 0]["image"], items[row, 0]) for row in range(4))
    again = pickle.loads(pickle.dumps(one))  # in another process
    assert torch.equal(again[1, 3]["image"], one[1, 3]["image"])
    frame = frame.assign(image=frame["image"][0])  # equal images in several rows
    assert len({tuple(item["image"].flatten().tolist()) for item in map(build(5).__getitem__, range(4))}) == 4


def test_a_flip_swaps_the_sides_and_nothing_else(tmp_path):
    frame = read_manifest(tiny_manifest(tmp_path, subjects=2, frames=4, au_names=AUS, sides=True))
    plain = AUDataset(frame, tmp_path, ["AU12", "AU9"], 32)
    flip = AUDataset(frame, tmp_path, ["AU12", "AU9"], 32, lambda image, rng: (image[:, ::-1].copy(), True))
    for row in range(8):
        label = int(frame["AU12"][row])
        assert plain[row]["sides"].tolist() == [[label, 0], [-1, -1]]
        assert flip[row]["sides"].tolist() == [[0, label], [-1, -1]]
        assert torch.equal(flip[row]["label"], plain[row]["label"])
        assert torch.equal(flip[row]["image"].flip(2), plain[row]["image"])


@pytest.mark.parametrize("fault", ["missing", "truncated", "text"])
def test_a_bad_image_is_named_with_manifest_and_row(tmp_path, fault):
    path = tiny_manifest(tmp_path, subjects=2, frames=3)
    frame = read_manifest(path)
    image = tmp_path / frame["image"][4]
    if fault == "missing":
        image.unlink()
    else:
        image.write_bytes(image.read_bytes()[:100] if fault == "truncated" else b"hello")
    selected = AUDataset(frame[frame["subject"] == "S001"], tmp_path, AUS, 32)
    with pytest.raises(ManifestError, match=r"manifest\.csv, row 5 \(line 6 of a CSV\).*tiny_S001_1\.png"):
        selected[1]
    joined = AUDataset(join_manifests(path).iloc[3:], None, AUS, 32)
    with pytest.raises(ManifestError, match=r"manifest\.csv, row 5 \(line 6 of a CSV\).*tiny_S001_1\.png"):
        joined[1]
    assert selected[0]["index"] == 0


def test_rows_without_an_image_are_refused(tmp_path):
    frame = read_manifest(tiny_manifest(tmp_path, subjects=1, frames=2))
    with pytest.raises(ManifestError, match=r"manifest\.csv: missing column `image`"):
        AUDataset(frame.drop(columns="image"), tmp_path, AUS, 32)
    frame.loc[1, "status"] = "no_face"
    with pytest.raises(ManifestError, match="`status` is `ok`"):
        AUDataset(frame, tmp_path, AUS, 32)


def test_joined_manifests_have_the_union_of_the_action_units(tmp_path):
    one = tiny_manifest(tmp_path / "a", subjects=1, frames=2, au_names=["AU1", "AU12"], dataset="a", sides=True)
    options = {"au_names": ["AU12", "AU25"], "dataset": "b", "name": "b.parquet", "size": 16}
    other = tiny_manifest(tmp_path / "b", subjects=1, frames=3, **options)
    joined = join_manifests([one, other])
    dataset = AUDataset(joined, None, ["AU1", "AU12", "AU25"], 16)
    first, second = read_manifest(one), read_manifest(other)
    for row in range(5):
        table, place = (first, row) if row < 2 else (second, row - 2)
        assert dataset[row]["label"].tolist() == [table[au][place] if au in table else -1 for au in dataset.au_names]
        assert dataset[row]["sides"][2].tolist() == [-1, -1]  # neither has sides of AU25
    assert dataset[0]["sides"][1].tolist() == [first["AU12"][0], 0] and dataset[2]["sides"][1].tolist() == [-1, -1]
    assert dataset.path(1) == str(tmp_path / "a" / first["image"][1])
    assert dataset.path(4).startswith(str(tmp_path / "b"))
    (tmp_path / "b" / second["image"][1]).unlink()
    with pytest.raises(ManifestError, match=r"b\.parquet, row 2 "):
        dataset[3]


def test_one_face_in_two_manifests_is_refused(tmp_path):
    one = tiny_manifest(tmp_path / "a", subjects=2, frames=2)
    other = tiny_manifest(tmp_path / "b", subjects=2, frames=2, first_subject=1)
    message = r"b.manifest\.csv, row 1 .*the same key is in .*a.manifest\.csv, row 3 .*subject S001"
    with pytest.raises(ManifestError, match=message):
        join_manifests([one, other])
    with pytest.raises(ManifestError, match="at least one manifest"):
        join_manifests([])


def test_tables_that_differ_in_other_columns_join(tmp_path):
    one = tiny_manifest(tmp_path / "a", subjects=1, frames=2, dataset="a")
    frame = read_manifest(tiny_manifest(tmp_path / "b", subjects=1, frames=2, dataset="b")).drop(columns="fold")
    write_manifest(frame.assign(group_sex="f", AU12_intensity=1.5), tmp_path / "b" / "manifest.csv", {})
    joined = join_manifests([one, tmp_path / "b" / "manifest.csv"])
    assert joined["fold"].isna().tolist() == [False, False, True, True]
    assert joined["AU12_intensity"].isna().tolist() == [True, True, False, False]
