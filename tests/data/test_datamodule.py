import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from auformer.data.datamodule import AUDataModule
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, write_manifest
from auformer.errors import ManifestError
from tests.helpers.faces import tiny_manifest

AUS = ["AU1", "AU4", "AU12"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Ten subjects with four frames each, 32 px, folds T1 to T3."""
    return str(tiny_manifest(tmp_path_factory.mktemp("faces"), subjects=10, frames=4, au_names=AUS, size=32))


def module(train: str | list[str] | None = None, **arguments) -> AUDataModule:
    return AUDataModule(train, **({"image_size": 32, "batch_size": 8} | arguments))


def batches(loader: DataLoader, epoch: int | None = None) -> list[dict[str, torch.Tensor]]:
    if epoch is not None:
        loader.sampler.set_epoch(epoch)
    return list(loader)


def rewritten(path: str, target: Path, **columns) -> str:
    """The manifest with other columns, its images where they are."""
    frame = read_manifest(path).assign(**columns)
    for image in frame["image"]:
        write_image(target / image, np.zeros((32, 32, 3), np.uint8))
    write_manifest(frame, target / "manifest.csv", {})
    return str(target / "manifest.csv")


def test_construction_reads_action_units_and_weights(manifest):
    data = module(manifest)
    assert data.au_names == AUS and all(isinstance(weight, float) for weight in data.au_weights)
    rows = data.splits["train"]
    inverse = np.array([len(rows) / (rows[au] == 1).sum() for au in AUS])
    np.testing.assert_allclose(data.au_weights, 3 * inverse / inverse.sum(), rtol=1e-6)
    assert set(data.splits) == {"train", "val"}
    assert rows["subject"].nunique() == 8 and data.splits["val"]["subject"].nunique() == 2


def test_the_weights_of_the_published_fold(tmp_path):
    """Positives of BP4D's P2 and P1, the training splits of the first published fold, give the published weights."""
    p2 = [10223, 6568, 9870, 23312, 27651, 27954, 26187, 25762, 10024, 18379, 8657, 7867]
    p1 = [8322, 8172, 10085, 21055, 29862, 29183, 28277, 20274, 7664, 16080, 8023, 7076]
    count = (np.array(p1) + p2) // 100
    total = (50631 + 50182) // 100
    frame = read_manifest(tiny_manifest(tmp_path, subjects=1, frames=2, au_names=["AU1"])).drop(columns="AU1")
    frame = frame.iloc[[0] * total].assign(frame=np.arange(total))
    names = ["AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24"]
    frame = frame.assign(**{au: (np.arange(total) < n).astype(int) for au, n in zip(names, count, strict=True)})
    write_manifest(frame, tmp_path / "manifest.csv", {})
    want = [
        1.342985, 1.689665, 1.248091, 0.561356, 0.433044, 0.435894, 0.457287, 0.541004, 1.408054, 0.722762, 1.493145,
        1.666711,
    ]  # fmt: skip
    data = module(str(tmp_path / "manifest.csv"), val_fraction=0, au_names="bp4d")
    np.testing.assert_allclose(data.au_weights, want, rtol=0.01)  # counts are rounded to hundreds here


def test_a_fold_is_the_test_split(manifest):
    data = module(manifest, fold="T2")
    assert set(data.splits["test"]["fold"]) == {"T2"}
    assert not {"T2"} & {*data.splits["train"]["fold"], *data.splits["val"]["fold"]}
    assert sum(map(len, data.splits.values())) == 40


def test_manifests_named_for_each_split(manifest, tmp_path):
    other = str(tiny_manifest(tmp_path / "v", subjects=2, frames=3, au_names=["AU12"], dataset="v"))
    third = str(tiny_manifest(tmp_path / "t", subjects=2, frames=3, au_names=["AU9"], dataset="t"))
    data = module(manifest, val=[other], test=third)
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [40, 6, 6]
    assert data.au_names == AUS  # what is trained on decides
    (batch,) = batches(data.test_dataloader())
    assert batch["label"].unique().tolist() == [-1]


def test_training_manifests_of_two_data_sets(manifest, tmp_path):
    other = str(tiny_manifest(tmp_path, subjects=2, frames=4, au_names=["AU12", "AU9"], dataset="other"))
    data = module([manifest, other], val_fraction=0)
    assert data.au_names == ["AU1", "AU4", "AU9", "AU12"] and data.val_dataloader() == []
    labels = torch.cat([batch["label"] for batch in batches(data.statistics_dataloader())])
    assert ((labels == -1).sum(0) == torch.tensor([8, 8, 40, 0])).all()


@pytest.mark.parametrize("names", ["AU12,AU1", ["AU12", "1"]])
def test_the_order_of_named_action_units_is_kept(manifest, names):
    data = module(manifest, au_names=names)
    assert data.au_names == ["AU12", "AU1"]
    batch = next(iter(data.val_dataloader()))
    rows = data.splits["val"].iloc[batch["index"].tolist()]
    assert batch["label"].tolist() == rows[["AU12", "AU1"]].to_numpy().tolist()


def test_a_subset_is_of_training_rows_only(manifest):
    whole, half, few = (module(manifest, subset=subset, seed=1) for subset in (None, 0.5, 7))
    assert [len(data.splits["train"]) for data in (whole, half, few)] == [32, 16, 7]
    assert set(few.splits["train"].index) < set(half.splits["train"].index) < set(whole.splits["train"].index)
    assert whole.splits["val"].equals(half.splits["val"]) and whole.splits["val"].equals(few.splits["val"])
    assert half.au_weights != whole.au_weights
    with pytest.raises(ValueError, match="`size` to be at most the 32"):
        module(manifest, subset=33)


def test_label_noise_touches_training_rows_only(manifest):
    clean, noisy = (module(manifest, fold="T1", label_noise=noise) for noise in (0.0, 0.5))
    for split in ("val", "test"):
        assert clean.splits[split].equals(noisy.splits[split])
    assert not clean.splits["train"][AUS].equals(noisy.splits["train"][AUS])
    assert clean.au_weights != noisy.au_weights


def test_rows_without_a_face_are_left_out(manifest, tmp_path, caplog):
    status = ["no_face" if i % 4 == 0 else "ok" for i in range(40)]
    with caplog.at_level(logging.WARNING):
        data = module(rewritten(manifest, tmp_path, status=status), val_fraction=0)
    assert len(data.splits["train"]) == 30 and "train: 10 of 40 rows are left out (no_face: 10)" in caplog.text
    with pytest.raises(ManifestError, match="`train`, but none of its 40"):
        module(rewritten(manifest, tmp_path / "none", status="no_face"))


def test_evaluation_needs_no_training_split(manifest):
    data = module(None, test=manifest)
    assert data.au_names == AUS and data.au_weights == [1.0] * 3 and len(batches(data.test_dataloader())) == 5
    with pytest.raises(ValueError, match="Expected a `train` split, but the data module has test"):
        data.train_dataloader()
    with pytest.raises(ValueError, match="Expected a `train` split"):
        data.statistics_dataloader()


def test_a_subject_in_two_splits(manifest, tmp_path):
    other = rewritten(manifest, tmp_path, sequence="other")
    for arguments in ({"val": other}, {"test": other}):
        with pytest.raises(ManifestError, match="S000 of tiny.*and others"):
            module(manifest, **arguments)


def test_a_subject_whose_rows_are_in_two_folds(manifest, tmp_path):
    folds = ["T1" if i == 0 else "T2" for i in range(40)]
    with pytest.raises(ManifestError, match=r"1 are in `.*` and in `test`: S000 of tiny"):
        module(rewritten(manifest, tmp_path, fold=folds), fold="T1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fold": "T9"}, r"\(T1, T2, T3\), but got 'T9'"),
        ({"au_names": "AU1,AU25"}, r"AU25 \(not annotated\)"),
        ({"au_names": "AU1,AU99"}, "AU99"),
        ({"fold": "T1", "test": "other.csv"}, "`fold` together with `train`"),
        ({"val": "none.csv"}, r"none\.csv, but there is no such file"),
        ({"batch_size": 0}, "`batch_size` >= 1"),
        ({"num_workers": -1}, "`num_workers` >= 0"),
        ({"seed": -1}, "`seed` >= 0"),
        ({"augment": "hard"}, "one of default, strong, none"),
        ({"image_size": 0}, "`image_size`"),
        ({"val_fraction": 1.0}, "`val_fraction`"),
        ({"label_noise": 2.0}, "`label_noise`"),
        ({"subset": 0}, "`size`"),
    ],
)
def test_arguments_that_make_no_sense(manifest, arguments, message):
    with pytest.raises(ValueError, match=message):
        module(manifest, **arguments)


def test_nothing_to_read(manifest, tmp_path):
    with pytest.raises(ValueError, match="but got none"):
        module(None)
    with pytest.raises(ValueError, match="`fold` together"):
        module(None, test=manifest, fold="T1")
    frame = read_manifest(manifest).drop(columns=AUS)
    write_manifest(frame, tmp_path / "m.csv", {})
    with pytest.raises(ValueError, match="label columns"):
        module(str(tmp_path / "m.csv"))


def test_an_au_that_is_never_active_can_be_left_out(manifest, tmp_path, caplog):
    path = rewritten(manifest, tmp_path, AU4=0)
    for noise in (0.0, 0.5):  # wrong labels do not make it active
        with pytest.raises(ManifestError, match=r"AU4 \(32 annotated.*AU25 \(not annotated\).*leave_out_missing"):
            module(path, au_names="AU1,AU4,AU25", label_noise=noise)
    with caplog.at_level(logging.WARNING):
        data = module(path, leave_out_missing=True)
    assert data.au_names == ["AU1", "AU12"] and len(data.au_weights) == 2
    assert "AU4" in caplog.text and "AU12" not in caplog.text
    with pytest.raises(ManifestError, match="never are: AU4"):
        module(path, au_names="AU4", leave_out_missing=True)


def test_workers_change_nothing(manifest):
    alone, helped = module(manifest), module(manifest, num_workers=2)
    one, other = alone.train_dataloader(), helped.train_dataloader()
    for epoch in (0, 1):  # the second with workers that live on
        for mine, theirs in zip(batches(one, epoch), batches(other, epoch), strict=True):
            assert set(mine) == set(theirs)
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_epochs_differ_in_order_and_augmentation(manifest):
    loader = module(manifest, val_fraction=0).train_dataloader()
    faces = {}
    for epoch in (0, 1):
        seen = batches(loader, epoch)
        order = torch.cat([batch["index"] for batch in seen])
        images = torch.cat([batch["image"] for batch in seen])
        assert sorted(order.tolist()) == list(range(40))
        faces[epoch] = (order, images[order.argsort()])
    assert not torch.equal(faces[0][0], faces[1][0])
    assert (faces[0][1] != faces[1][1]).flatten(1).any(1).all()


def test_the_global_random_state_is_neither_read_nor_moved(manifest):
    torch.manual_seed(0)
    first = batches(module(manifest).train_dataloader(), 2)
    assert torch.equal(torch.rand(3), torch.manual_seed(0) and torch.rand(3))
    torch.manual_seed(1)
    for mine, theirs in zip(first, batches(module(manifest).train_dataloader(), 2), strict=True):
        assert torch.equal(mine["image"], theirs["image"])


def pairs(seen: list[dict[str, torch.Tensor]]) -> list[tuple[int, torch.Tensor]]:
    """Row and image of everything in the batches."""
    return [(int(row), image) for batch in seen for row, image in zip(batch["index"], batch["image"], strict=True)]


def with_ranks(data: AUDataModule, rank: int, num_ranks: int) -> AUDataModule:
    data.trainer = SimpleNamespace(global_rank=rank, world_size=num_ranks)
    return data


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_the_rows(manifest, num_ranks):
    arguments = {"fold": "T1", "val_fraction": 0, "batch_size": 5}  # 16 test rows: of 3 ranks one has 6, the others 5
    single = module(manifest, **arguments)
    ranks = [with_ranks(module(manifest, **arguments), rank, num_ranks) for rank in range(num_ranks)]
    one = dict(pairs(batches(single.train_dataloader(), 1)))
    shared = [batches(data.train_dataloader(), 1) for data in ranks]
    seen = [pair for share in shared for pair in pairs(share)]
    assert len({len(share) for share in shared}) == 1
    assert len({i for i, _ in seen}) == len(seen) == len(one) // num_ranks * num_ranks
    assert all(torch.equal(one[i], image) for i, image in seen)

    tested = [batches(data.test_dataloader()) for data in ranks]
    assert len({len(share) for share in tested}) == 1
    rows = sorted(int(i) for share in tested for batch in share for i in batch["index"])
    assert rows == list(range(len(single.splits["test"])))


def test_evaluation_is_in_order_and_without_augmentation(manifest):
    data = module(manifest, fold="T3", val_fraction=0.3)
    for loader, dataset in ((data.val_dataloader(), data.val_dataset), (data.test_dataloader(), data.test_dataset)):
        seen = batches(loader, 7)
        assert torch.cat([batch["index"] for batch in seen]).tolist() == list(range(len(dataset)))
        plain = torch.stack([dataset[row]["image"] for row in range(len(dataset))])
        assert torch.equal(torch.cat([batch["image"] for batch in seen]), plain) and dataset.transform is None


def test_no_augmentation_on_request(manifest):
    data = module(manifest, augment="none")
    assert torch.equal(data.train_dataset[0, 0]["image"], data.train_dataset[0, 5]["image"])
    assert not torch.equal(module(manifest).train_dataset[0, 0]["image"], data.train_dataset[0, 0]["image"])


def test_images_for_statistics(manifest, monkeypatch):
    data = module(manifest)
    seen = batches(data.statistics_dataloader())
    assert sum(len(batch["index"]) for batch in seen) == 32
    plain = module(manifest, augment="none").train_dataset
    wanted = torch.stack([plain[row]["image"] for row in range(32)])
    assert torch.equal(torch.cat([batch["image"] for batch in seen]), wanted)
    monkeypatch.setattr("auformer.data.datamodule.STATISTICS_IMAGES", 12)
    loaders = [with_ranks(data, rank, 2).statistics_dataloader() for rank in (0, 1)]
    few = [torch.cat([batch["image"] for batch in batches(loader)]) for loader in loaders]
    assert len(few[0]) == 12 and torch.equal(*few)  # the same on every rank
    assert len({tuple(image.flatten().tolist()) for image in few[0]}) == 12


class Recorder(pl.LightningModule):
    """Keeps the rows and the first pixels of every batch."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int], float]] = []

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.seen.append((self.current_epoch, batch["index"].tolist(), float(batch["image"].sum())))

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        assert batch["index"].numel()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(manifest: str, folder: Path, epochs: int, resume: Path | None = None) -> Recorder:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(recorder, module(manifest), ckpt_path=resume)
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=False)
    return recorder


def test_lightning_tells_the_epoch_also_after_a_resume(manifest, tmp_path):
    whole = fit(manifest, tmp_path / "whole", 3).seen
    fit(manifest, tmp_path / "resumed", 1)
    rest = fit(manifest, tmp_path / "resumed", 3, tmp_path / "resumed" / "last.ckpt").seen
    assert [step for step in whole if step[0] >= 1] == rest
    loader = module(manifest).train_dataloader()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        expected = [(epoch, batch["index"].tolist(), float(batch["image"].sum())) for batch in loader]
        assert [step for step in whole if step[0] == epoch] == expected


def test_every_argument_can_be_given_in_yaml(manifest):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AUDataModule, "data")
    given = f"""
data:
  train: [{manifest}]
  au_names: [AU1, AU12]
  image_size: [32, 24]
  subset: 0.5
  batch_size: 4
"""
    data = parser.instantiate(parser.parse_string(given)).data
    assert data.au_names == ["AU1", "AU12"] and data.image_size == (32, 24) and len(data.splits["train"]) == 16
    # one row and all rows: what has no dot is a number of rows
    for text, want in (("0.5", 0.5), ("16", 16), ("1", 1), ("1.0", 1.0)):
        config = parser.parse_args([f"--data.train={manifest}", f"--data.subset={text}", "--data.image_size=32"])
        assert repr(config.data.subset) == repr(want)
        assert repr(parser.parse_string(parser.dump(config)).data.subset) == repr(want)
