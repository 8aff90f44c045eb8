from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser

from auformer.data.datamodule import AUDataModule
from tests.helpers.faces import tiny_manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Ten subjects with four frames each, 32 px."""
    return str(
        tiny_manifest(tmp_path_factory.mktemp("faces"), subjects=10, frames=4, au_names=["AU1", "AU4", "AU12"], size=32)
    )


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
    trainer.fit(recorder, AUDataModule(manifest, image_size=32, batch_size=8), ckpt_path=resume)
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=False)
    return recorder


def test_lightning_tells_the_epoch_also_after_a_resume(manifest, tmp_path):
    whole = fit(manifest, tmp_path / "whole", 3).seen
    fit(manifest, tmp_path / "resumed", 1)
    rest = fit(manifest, tmp_path / "resumed", 3, tmp_path / "resumed" / "last.ckpt").seen
    assert [step for step in whole if step[0] >= 1] == rest
    loader = AUDataModule(manifest, image_size=32, batch_size=8).train_dataloader()
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
