"""Networks that see clips in `fit`: frozen weights, padding, interruption, files, evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from auformer.data.clip_dataset import ClipDataset
from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest, write_manifest
from auformer.data.windows import find_runs
from auformer.errors import CheckpointError
from auformer.losses import wa_loss
from auformer.models import load_adapter
from auformer.models.checkpoints import load_detector
from auformer.models.temporal.auformer_in_time import AUFormerInTime
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.predict.manifest import evaluate, predict_manifest
from auformer.training.module import AUModule
from auformer.training.run import fit
from auformer.training.run_folder import RunFolder
from tests.helpers.clips import CLIP, clip_data, clip_module, clip_network, tiny_clips
from tests.helpers.runs import AUS, write_vit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    tiny_clips(folder / "data")
    write_vit(folder / "vit.safetensors")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    """Three epochs, uninterrupted."""
    module, data = clip_module(folder / "vit.safetensors"), clip_data(folder / "data" / "manifest.csv")
    frozen = {name: one.clone() for name, one in module.network.backbone.state_dict().items()}
    fit(module, data, folder / "run", epochs=3, seed=0, progress=False)
    assert all(torch.equal(one, frozen[name]) for name, one in module.network.backbone.state_dict().items())
    return RunFolder(folder / "run")


def test_the_file_holds_the_head_alone(folder, run):
    state = load_file(run.adapter)
    assert state and not [name for name in state if name.startswith("backbone.")]
    assert {"standardise.mean", "head.classifier.prototypes"} <= state.keys()
    table = pd.read_csv(run.metrics)
    assert {"train/wa", "train/regions", "val/f1"} <= set(table) and len(table) == 3
    detector = load_detector(run.adapter, backbone_checkpoint=folder / "vit.safetensors")
    assert detector.clip_length == CLIP and bool(detector.standardise.measured)
    assert detector.metadata["training_data"]["clip_length"] == CLIP


def test_an_interrupted_run_ends_with_the_same_weights(folder, run, monkeypatch):
    other = RunFolder(folder / "resumed")

    def stop(self: AUModule) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        before(self)

    before = AUModule.on_train_epoch_start
    data = folder / "data" / "manifest.csv"
    with monkeypatch.context() as patch:
        patch.setattr(AUModule, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(clip_module(folder / "vit.safetensors"), clip_data(data), other.path, epochs=3, seed=0, progress=False)
    assert other.resumable
    fit(clip_module(folder / "vit.safetensors"), clip_data(data), other.path, epochs=3, seed=0, progress=False)
    one, two = load_file(run.adapter), load_file(other.adapter)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_permuted_manifest_and_workers_give_the_same_windows(folder, tmp_path):
    path = folder / "data" / "manifest.csv"
    table = read_manifest(path)
    (tmp_path / "images").symlink_to(folder / "data" / "images")
    write_manifest(table.sample(frac=1, random_state=1), tmp_path / "manifest.csv", {})
    kept = [
        clip_data(path, augment="default", num_workers=2),
        clip_data(path, augment="default"),
        clip_data(tmp_path / "manifest.csv", augment="default"),
    ]
    for epoch in (0, 3):
        batches = []
        for data in kept:
            loader = data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            batches.append(torch.cat([batch["image"] for batch in loader]))
        assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], torch.cat([batch["image"] for batch in kept[1].train_dataloader()]))


def test_a_window_is_drawn_anew_in_each_epoch(folder):
    clips = clip_data(folder / "data" / "manifest.csv", chunk_rows=None).train_dataset
    drawn = [clips.window(0, epoch)[0].tolist() for epoch in range(12)]
    assert len({rows[0] for rows in drawn}) > 2 and drawn == [clips.window(0, epoch)[0].tolist() for epoch in range(12)]


def test_frames_of_a_window_meet_the_same_augmentation(folder):
    data = clip_data(folder / "data" / "manifest.csv", augment="mdhr")
    dataset = data.train_dataset
    grey = np.full((32, 32, 3), 90, np.uint8)
    dataset.rows._read = lambda row: grey
    clip = dataset[(0, 5)]["image"]
    assert torch.equal(clip[0], clip[1]) and torch.equal(clip[0], clip[3])
    assert not torch.equal(clip, dataset[(1, 5)]["image"])


@pytest.mark.parametrize("kind", [ViTMDHR, AUFormerInTime])
def test_padding_reaches_neither_loss_nor_metrics(folder, kind):
    data = clip_data(folder / "data" / "manifest.csv", val_fraction=0.4)
    module = clip_module(folder / "vit.safetensors", kind).eval()
    batches = list(data.val_dataloader())
    batch = next(each for each in batches if (each["index"] < 0).any())
    padded = batch["index"] < 0
    assert (batch["label"][padded] == -1).all() and batch["intensity"][padded].isnan().all()
    rows = module.rows(batch)
    with torch.no_grad():
        found, terms = module.batch_terms(rows, 0)
        changed = {name: one.clone() for name, one in found.items() if name.endswith("logits")}
        for each in changed.values():
            each[padded.flatten()] = 9.0
        again = module.joint_terms({**found, **changed}, rows["label"], None)
        module.outputs.start()
        for each in batches:
            module.validation_step(each, 0)
    assert torch.equal(terms["loss"], again["loss"])
    assert module.outputs.compute().rows.tolist() == list(range(len(data.splits["val"])))


def test_the_head_over_time_has_a_loss_of_its_own(folder):
    """The WA loss of its logits, with the weights of the others; nothing of AUFormer's own terms changes."""
    batch = next(iter(clip_data(folder / "data" / "manifest.csv").train_dataloader()))
    module = clip_module(folder / "vit.safetensors", AUFormerInTime).eval()
    rows = module.rows(batch)
    with torch.no_grad():
        found, terms = module.batch_terms(rows, 0)
        own = wa_loss(found["time_logits"], rows["label"], module.loss_function.weight)
        alone = module.loss_terms(found["logits"], rows["label"], found["expert_logits"])["loss"]
    assert terms["time"] == own > 0
    torch.testing.assert_close(terms["loss"], alone + own + module.hparams["region_weight"] * terms["regions"])


def test_a_row_has_the_value_of_its_own_place_and_not_of_padding(folder):
    table = read_manifest(folder / "data" / "manifest.csv")[:15]  # runs of 9 and 6 rows
    clips = ClipDataset(AUDataset(table, folder / "data", AUS, 32), find_runs(table), CLIP)
    places = np.arange(5 * CLIP)[:, None]  # of windows that begin at rows 0, 4, 8, 9, 13
    assert clips.by_row(places)[:, 0].tolist() == [*range(9), 12, 13, 14, 15, 16, 17]


def test_predictions_have_a_row_per_frame_and_resume(folder, run, tmp_path):
    path = folder / "data" / "manifest.csv"
    table = read_manifest(path)
    lost = table.assign(status=np.where(table.index == 4, "no_face", "ok"))
    lost.attrs = table.attrs
    network = load_detector(run.adapter, backbone_checkpoint=folder / "vit.safetensors")
    whole = predict_manifest(network, lost)
    assert len(whole) == len(table) and whole["AU12_prob"].isna().tolist() == [
        index == 4 for index in range(len(table))
    ]
    dataset = AUDataset(table, path.parent, AUS, network.image_size)
    with torch.no_grad():  # rows 0-3 are a window; 5-8 are the next, the run being cut at row 4
        for rows in ([0, 1, 2, 3], [5, 6, 7, 8]):
            probs = network.predict_probs(torch.stack([dataset[row]["image"] for row in rows]).unsqueeze(0))
            np.testing.assert_allclose(whole.loc[rows, [f"{au}_prob" for au in AUS]], probs, atol=1e-6)
    partial = tmp_path / "partial.npz"
    calls = []
    plain = network.outputs

    def failing(images: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(images)

    network.outputs = failing
    with pytest.raises(KeyboardInterrupt):
        predict_manifest(network, lost, batch_size=2 * CLIP, partial=partial)
    network.outputs = plain
    resumed = predict_manifest(network, lost, batch_size=2 * CLIP, partial=partial)
    pd.testing.assert_frame_equal(resumed, whole, rtol=0, atol=1e-6)


def test_evaluate_and_what_does_not_fit(folder, run, tmp_path):
    found = evaluate(
        run.adapter, folder / "data" / "manifest.csv", tmp_path / "p.csv",
        backbone_checkpoint=folder / "vit.safetensors",
    )  # fmt: skip
    assert len(found) == 75 and found["AU1_prob"].between(0, 1).all()
    data = folder / "data" / "manifest.csv"
    with pytest.raises(
        ValueError, match="`clip_length` and `view` of the data to be those of the network, 4 and whole"
    ):
        fit(clip_module(folder / "vit.safetensors"), clip_data(data, clip_length=3), tmp_path / "no", epochs=1, seed=0)
    other = clip_network(folder / "vit.safetensors", reach=1)
    with pytest.raises(CheckpointError, match="expected `reach` 1, but got 2"):
        load_adapter(run.adapter, other)


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({"frame": lambda table: table["frame"] * 2}, {}, "`train`: expected consecutive frames for clips of 4"),
        ({}, {"clip_length": 0}, "`clip_length` >= 1"),
        ({}, {"chunk_rows": 1}, "`chunk_rows` >= 2"),
        ({}, {"clip_length": 1, "chunk_rows": 8}, "`chunk_rows` together with a `clip_length` above 1"),
        ({}, {"views": 2}, "and one view, for clips of 4"),
        ({}, {"clip_input": "apex"}, "`clip_input` frames or mean:K"),
        ({}, {"view": "left"}, "`view` whole or centre"),
        ({}, {"augment": "mdhr2"}, "'mdhr2'"),
    ],
)  # fmt: skip
def test_bad_input_has_a_message(folder, tmp_path, change, arguments, said):
    table = read_manifest(folder / "data" / "manifest.csv")
    (tmp_path / "images").symlink_to(folder / "data" / "images")
    for name, values in change.items():
        table[name] = values(table)
    write_manifest(table, tmp_path / "manifest.csv", {})
    with pytest.raises(ValueError, match=said):
        _ = clip_data(tmp_path / "manifest.csv", **arguments).train_dataset


def test_short_runs_and_unknown_labels_train(folder, tmp_path):
    """Runs of one frame beside longer ones, two faces in one sequence, labels that are not known inside a window."""
    table = read_manifest(folder / "data" / "manifest.csv")
    (tmp_path / "images").symlink_to(folder / "data" / "images")
    table = table[(table["sequence"] == "v0") | (table["frame"] == 12)]  # v1: one frame
    second = table[table["sequence"] == "v0"].assign(face=1)
    table = pd.concat([table, second], ignore_index=True)
    table.loc[table["frame"] % 3 == 0, "AU1"] = -1
    write_manifest(table.sample(frac=1, random_state=0), tmp_path / "manifest.csv", {})
    module = clip_module(folder / "vit.safetensors")
    data = clip_data(tmp_path / "manifest.csv", chunk_rows=None)
    assert len(data.train_dataset) == 4 * 3  # two faces and one short run of each subject
    fit(module, data, tmp_path / "run", epochs=1, seed=0, progress=False)
    assert RunFolder(tmp_path / "run").finished
