"""Rendered videos are trained on and predicted as they are: frames come from the files, those that the rows name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.films import film_frames
from auformer.data.manifest import read_manifest, write_manifest
from auformer.data.video import read_video
from auformer.errors import ManifestError
from auformer.models.auformer import AUFormer
from auformer.predict.manifest import predict_manifest
from auformer.synthetic.writing import render_dataset
from auformer.training.run import fit
from auformer.training.run_folder import RunFolder
from tests.helpers.clips import CLIP, clip_module
from tests.helpers.runs import AUS, VIT, write_vit

FRAMES = 72


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    render_dataset(folder, lab="A", subjects=3, videos=1, frames=FRAMES, size=32, au_names=AUS, seed=62)
    write_vit(folder.with_suffix(".safetensors"))
    return folder


@pytest.fixture(scope="module")
def shown(folder: Path) -> list[list[np.ndarray]]:
    """All frames of each video, in the order of the manifest."""
    files = read_manifest(folder / "manifest.csv")["file"].unique()
    return [[frame.image() for frame in read_video(folder / name)] for name in files]


def data(folder: Path, **arguments) -> AUDataModule:
    given = {"image_size": 32, "batch_size": 4, "augment": "none", "au_names": AUS, "seed": 1}
    return AUDataModule(str(folder / "manifest.csv"), **{**given, **arguments})


def pixels(image: torch.Tensor) -> np.ndarray:
    """An item's image or images as uint8 `(..., H, W, 3)`."""
    return (image * 255).round().byte().movedim(-3, -1).numpy()


def test_a_row_is_the_frame_that_it_names(folder, shown):
    table = read_manifest(folder / "manifest.csv")
    dataset = AUDataset(table, folder, AUS, 32)
    alone = [dataset[row] for row in (200, 3, 143, 144, 71, 0)]
    together = dataset.__getitems__([(5, 1), 215, 4, 5])
    assert [item["index"] for item in together] == [5, 215, 4, 5] and dataset._ahead.keys() == {5, 215, 4}
    for item in (*alone, *together):
        assert np.array_equal(pixels(item["image"]), shown[item["index"] // FRAMES][item["index"] % FRAMES])


def test_windows_are_read_in_one_pass(folder, shown, monkeypatch):
    calls = []
    plain = film_frames

    def counted(path, numbers):
        calls.append(sorted(numbers))
        return plain(path, calls[-1])

    monkeypatch.setattr("auformer.data.dataset.film_frames", counted)
    clips = data(folder, clip_length=CLIP, chunk_rows=9, val_fraction=0.0, frame_labels=1.0).train_dataset
    places, _ = clips.window(3, 2)
    images = pixels(clips[(3, 2)]["image"])
    assert calls == [(places % FRAMES).tolist()] and np.array_equal(images, [shown[0][place] for place in places])


@pytest.mark.parametrize("length", [1, CLIP])
def test_workers_read_the_same(folder, length):
    kept = []
    for workers in (0, 2):
        loaded = data(folder, clip_length=length, num_workers=workers, subset=60)
        kept.append(torch.cat([batch["image"] for batch in loaded.train_dataloader()]))
    assert torch.equal(*kept)


def test_fit_and_predictions_go_through(folder, tmp_path):
    module = clip_module(folder.with_suffix(".safetensors"))
    loaded = data(folder, clip_length=CLIP, chunk_rows=24, frame_labels=1.0)
    fit(module, loaded, tmp_path / "run", epochs=1, seed=0, progress=False)
    assert RunFolder(tmp_path / "run").finished
    table = read_manifest(folder / "manifest.csv")
    found = predict_manifest(module.network.eval(), table, batch_size=4)
    assert len(found) == 3 * FRAMES and found["AU12_prob"].notna().all()
    still = AUFormer(VIT, AUS, checkpoint_path=folder.with_suffix(".safetensors"), img_size=32, expert_width=2).eval()
    dataset = AUDataset(table, folder, AUS, 32)
    with torch.no_grad():
        some = still.predict_probs(torch.stack([dataset[row]["image"] for row in (1, 80)]))
    rows = predict_manifest(still, table, batch_size=50).loc[[1, 80], [f"{au}_prob" for au in AUS]]
    np.testing.assert_allclose(rows, some, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("file", "videos/none.mp4", "row 11 .*there is no such file"),
        ("file", "../secret.mp4", r"`file` should be the path of a video inside .* but is '\.\./secret.mp4'"),
        ("file", None, "`file` should be the path of a video .* but is ''"),
        ("frame", 500, r"row 11 .*: Expected a frame 500 \(counted from 0\) in .* but the video ends before"),
    ],
)
def test_what_no_frame_can_be_read_from_is_named(folder, tmp_path, column, value, said):
    table = read_manifest(folder / "manifest.csv")
    (tmp_path / "videos").symlink_to(folder / "videos")
    table.loc[10, column] = value
    write_manifest(table, tmp_path / "manifest.csv", {})
    with pytest.raises(ManifestError, match=said):
        AUDataset(read_manifest(tmp_path / "manifest.csv"), tmp_path, AUS, 32).__getitems__([9, 10])


def test_rows_without_image_or_video_are_refused(folder):
    table = read_manifest(folder / "manifest.csv").drop(columns="file")
    with pytest.raises(ManifestError, match="missing column `image`"):
        AUDataset(table, folder, AUS, 32)
