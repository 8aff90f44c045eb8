"""Occurrence and intensity trained together: what is trained, logged, kept and resumed, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auformer.agreement import agreement_sums, icc_from_sums, mae_from_sums
from auformer.data.manifest import read_manifest, write_manifest
from auformer.errors import CheckpointError
from auformer.intensity_losses import IntensityLoss
from auformer.models import AUFormer, LinearProbe, load_detector, read_adapter_header
from auformer.training.module import AUModule
from auformer.training.run import describe_data, fit
from auformer.training.scores import OutputCollector, Outputs, blame, split_scores
from tests.helpers.runs import AUS, make_data, make_module, write_workspace
from tests.helpers.vits import moved, state_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AU1 and AU12 are coded, AU12 in two thirds of the rows; AU4 is not."""
    folder = write_workspace(tmp_path_factory.mktemp("intensity"))
    for split in ("data", "test"):
        path = folder / split / "manifest.csv"
        frame = read_manifest(path)
        for au in ("AU1", "AU12"):
            frame[f"{au}_intensity"] = frame[au] * (1.0 + frame["frame"] % 5)
        frame.loc[frame["frame"] % 3 == 0, "AU12_intensity"] = np.nan
        write_manifest(frame, path, {"crop_recipe": "eyes"})
    return folder


def module(workspace: Path, intensity: str = "ordinal", **arguments: Any) -> AUModule:
    return make_module(workspace, intensity=intensity, **arguments)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_loss_is_the_sum_of_both(workspace: Path) -> None:
    for form in ("regression", "ordinal"):
        joint = module(workspace, form, intensity_weight=0.25)
        batch = next(iter(make_data(workspace).train_dataloader()))
        found = joint.network.outputs(batch["image"])
        terms = joint.joint_terms(found, batch["label"], batch["intensity"])
        occurrence = joint.loss_terms(found["logits"], batch["label"], found["expert_logits"])
        strength = IntensityLoss(form)(found, batch["intensity"])
        assert strength["intensity"] > 0
        torch.testing.assert_close(terms["loss"], occurrence["loss"] + 0.25 * strength["intensity"])
        assert set(terms) == set(occurrence) | set(strength)
        bare = joint.joint_terms(found, batch["label"], None)
        torch.testing.assert_close(bare["loss"], occurrence["loss"], rtol=0, atol=0)


@pytest.mark.parametrize("form", ["regression", "ordinal"])
@pytest.mark.parametrize("kind", [AUFormer, LinearProbe])
def test_a_run_trains_logs_and_keeps_the_head(workspace: Path, tmp_path: Path, kind: Any, form: str) -> None:
    joint = module(workspace, form, network=kind)
    before = state_of(joint)
    path = fit(joint, make_data(workspace), tmp_path / "run", epochs=2, seed=0, progress=False)
    trainable = {f"network.{name}" for name, one in joint.network.named_parameters() if one.requires_grad}
    assert {name for name in moved(joint, before) if "standardise" not in name} == trainable
    last = rows_of(tmp_path / "run")[-1]
    wanted = {"val/icc", "val/icc_AU1", "val/mae", "val/intensity", "train/intensity", "train/concordance"}
    assert wanted <= set(last) and -1 <= float(last["val/icc_AU1"]) <= 1
    assert last["val/icc_AU4"] == "nan"  # not coded
    header = read_adapter_header(path)
    assert header["intensity_aus"] == ["AU1", "AU12"] and header["arguments"]["intensity"] == form
    assert header["extra"]["config"]["model"]["intensity_weight"] == 1.0
    assert header["training_data"]["train"]["coded_intensities"] == {"AU1": 30, "AU12": 20}
    found = load_detector(path, backbone_checkpoint=workspace / "vit.safetensors")
    assert found.intensity_aus == ("AU1", "AU12")


def test_scores_are_of_the_whole_split(workspace: Path, tmp_path: Path) -> None:
    """Not means over batches: those of 6 rows in batches of 4 would be others."""
    joint, data = module(workspace), make_data(workspace, batch_size=4)
    fit(joint, data, tmp_path / "run", epochs=1, seed=0, progress=False)
    batches = list(data.val_dataloader())
    assert len(batches) == 2
    with torch.no_grad():
        found = torch.cat([joint.network.eval().outputs(batch["image"])["intensity"] for batch in batches])
    sums = agreement_sums(torch.cat([batch["intensity"] for batch in batches]).numpy(), found.numpy())
    last, icc = rows_of(tmp_path / "run")[-1], icc_from_sums(sums)
    assert float(last["val/icc_AU1"]) == pytest.approx(icc[0], abs=1e-5)
    assert float(last["val/icc"]) == pytest.approx(np.nanmean(icc), abs=1e-5)
    assert float(last["val/mae"]) == pytest.approx(np.nanmean(mae_from_sums(sums)), abs=1e-5)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(workspace: Path, tmp_path: Path) -> None:
    whole = fit(module(workspace), make_data(workspace), tmp_path / "whole", epochs=3, seed=0, progress=False)

    class Stopping(AUModule):
        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            if self.current_epoch == 2 and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                raise OSError(28, "No space left on device")

    def stopping() -> AUModule:
        return module(workspace, kind=Stopping)

    with pytest.raises(OSError, match="holds the last finished epoch"):
        fit(stopping(), make_data(workspace), tmp_path / "cut", epochs=3, seed=0, progress=False)
    again = fit(stopping(), make_data(workspace), tmp_path / "cut", epochs=3, seed=0, progress=False)
    one, other = (load_detector(path, backbone_checkpoint=workspace / "vit.safetensors") for path in (whole, again))
    assert not moved(one, state_of(other)) and one.intensity_aus == other.intensity_aus == ("AU1", "AU12")


def test_a_run_checkpoint_holds_the_head(workspace: Path, tmp_path: Path) -> None:
    joint = module(workspace, intensity_weight=0.5)
    fit(joint, make_data(workspace), tmp_path / "run", epochs=1, seed=0, progress=False)
    found = AUModule.load_from_checkpoint(tmp_path / "run" / "best.ckpt")
    assert found.hparams["intensity_weight"] == 0.5 and found.network.intensity_aus == ("AU1", "AU12")
    assert not moved(found.network, state_of(joint.network))
    with pytest.raises(CheckpointError, match="intensity"):
        make_module(workspace).load_state_dict(torch.load(tmp_path / "run" / "best.ckpt")["state_dict"])


# Loss per epoch of the workspace's two epochs without an intensity head: of commit d547d23, before there was one.
LOSSES = [1.11285, 1.09308]


def test_without_the_head_intensities_change_nothing(workspace: Path, tmp_path: Path) -> None:
    """They lie in the batches all the same. The hyper-parameters, and so an adapter file, do not mention them."""
    plain = make_module(workspace)
    path = fit(plain, make_data(workspace), tmp_path / "run", epochs=2, seed=0, progress=False)
    rows = rows_of(tmp_path / "run")
    assert [float(row["train/loss"]) for row in rows] == pytest.approx(LOSSES, abs=1e-4)
    assert not [name for name in rows[0] if "icc" in name or "intensity" in name]
    assert "intensity" not in json.dumps(read_adapter_header(path))
    bare = write_workspace(tmp_path / "bare")
    other = fit(make_module(bare), make_data(bare), tmp_path / "other", epochs=2, seed=0, progress=False)
    assert path.read_bytes() == other.read_bytes()


def test_with_weight_0_there_is_no_head(workspace: Path) -> None:
    network = module(workspace, intensity_weight=0.0).network
    assert network.intensity == "none" and network.intensity_head is None
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="`intensity_weight` to be 0 or more"):
            module(workspace, intensity_weight=wrong)


def test_a_head_without_intensities_to_learn_from_is_refused(tmp_path: Path) -> None:
    bare = write_workspace(tmp_path)
    with pytest.raises(ValueError, match="training rows with intensities above 0 .* add the columns"):
        fit(module(bare), make_data(bare), tmp_path / "run", epochs=1, seed=0, progress=False)


def test_other_intensities_are_another_run(workspace: Path) -> None:
    data = make_data(workspace)
    before, plain = describe_data(data, intensity=True), describe_data(data)
    assert before["train"]["digest"] != plain["train"]["digest"]
    data.splits["train"] = data.splits["train"].assign(AU1_intensity=0.5)
    assert describe_data(data, intensity=True)["train"]["digest"] != before["train"]["digest"]
    assert describe_data(data) == plain


def test_rows_that_come_twice_count_once() -> None:
    outputs = OutputCollector(2, experts=False, intensity="ordinal")
    outputs.start()
    found = {"logits": torch.zeros(3, 2), "intensity": torch.rand(3, 2), "level_logits": torch.rand(3, 2, 5)}
    coded = torch.tensor([[1.0, np.nan], [2.0, 3.0], [0.0, 0.0]])
    outputs.update(torch.tensor([2, 0, 2]), torch.zeros(3, 2), found, coded)
    part = outputs.compute()
    assert part.rows.tolist() == [0, 2] and part.experts is None
    assert part.coded is not None and part.coded[0].tolist() == [2.0, 3.0] and part.coded[1, 0] == 1.0
    assert torch.equal(part.level_logits, found["level_logits"][[1, 0]])  # type: ignore[arg-type]
    outputs.start()
    assert outputs.compute().level_logits.shape == (0, 2, 5)  # type: ignore[union-attr]
    outputs.update(torch.tensor([0]), torch.zeros(1, 2), {name: one[:1] for name, one in found.items()}, None)
    assert torch.isnan(outputs.compute().coded).all()  # type: ignore[arg-type]


def test_a_constant_has_no_icc() -> None:
    coded = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, np.nan]])
    part = Outputs(
        torch.arange(2), torch.ones(2, 3), torch.ones(2, 3), None, coded, torch.tensor([[1.0] * 3, [3.0] * 3])
    )
    scores = split_scores(part, AUS, False)
    assert np.isnan(scores["icc_AU1"]) and np.isnan(scores["icc_AU12"])
    assert scores["icc"] == scores["icc_AU4"] == pytest.approx(1.0)  # off by one throughout


def test_blame_looks_at_intensities_too() -> None:
    batch = {"index": torch.arange(2), "image": torch.zeros(2, 3, 2, 2)}
    broken = torch.tensor([[0.0, 0.0, float("nan")], [0.0, 0.0, 0.0]])
    text = blame("epoch 1, batch 1", torch.tensor(float("nan")), torch.zeros(2, 3), None, batch, AUS, broken)
    assert "action units AU12)" in text
