"""`fit`: what a run folder holds, which epoch is chosen, what interruptions and faults leave behind."""

from __future__ import annotations

import errno
import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from auformer.models import read_adapter_header
from auformer.training import callbacks as checkpoint_io
from auformer.training.module import AUModule
from auformer.training.run import fit
from auformer.training.run_folder import RunFolder
from auformer.training.scores import NonFiniteLossError, tune_thresholds
from tests.helpers.runs import AUS, make_data, make_module, write_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def run(workspace: Path) -> RunFolder:
    """A run of three epochs, uninterrupted."""
    fit(make_module(workspace), make_data(workspace), workspace / "run", epochs=3, seed=0, progress=False)
    return RunFolder(workspace / "run")


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _without_time(path: Path) -> dict[str, Any]:
    return {name: value for name, value in json.loads(path.read_text(encoding="utf-8")).items() if name != "seconds"}


def test_every_figure_is_in_the_table_one_row_per_epoch(run: RunFolder) -> None:
    table = pd.read_csv(run.metrics)
    assert table["epoch"].tolist() == [0, 1, 2] and table["step"].tolist() == [3, 7, 11]
    terms, scores = ("loss", "mdwa", "dice", "experts"), ("main", "experts", "both", *AUS)
    wanted = {f"{part}/{name}" for part in ("train", "val") for name in terms} | {"train/lr", "val/auroc", "val/f1"}
    assert wanted | {f"val/f1_{name}" for name in scores} | {"val/num_aus"} <= set(table)
    assert not table.isna().any().any()
    assert table["train/loss"].iloc[-1] < table["train/loss"].iloc[0]
    total = table["train/mdwa"] + table["train/dice"] + table["train/experts"]
    assert table["train/loss"].to_numpy() == pytest.approx(total.to_numpy(), rel=1e-5)


def test_the_best_epoch_is_kept(run: RunFolder) -> None:
    table, summary = pd.read_csv(run.metrics), json.loads(run.summary.read_text(encoding="utf-8"))
    assert summary["epoch"] == int(table["val/f1"].idxmax()) + 1
    assert summary["score"] == pytest.approx(table["val/f1"].max())
    best = torch.load(run.best, weights_only=True)
    assert best["epoch"] + 1 == summary["epoch"] and torch.load(run.last, weights_only=True)["epoch"] == 2
    state = {name.removeprefix("network."): tensor for name, tensor in best["state_dict"].items()}
    assert _equal(state, load_file(run.adapter))


def test_the_same_run_again_returns_what_is_there_and_another_is_refused(workspace: Path, run: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    for way in ("nothing", "experts"):  # what is computed again changes no number
        module = make_module(workspace, recompute=way)
        assert fit(module, make_data(workspace), run.path, epochs=3, seed=0, progress=False) == run.adapter
    with pytest.raises(ValueError, match="without a finished run"):
        fit(make_module(workspace), make_data(workspace), run.path, epochs=2, seed=0, progress=False)
    assert {path: path.stat().st_mtime_ns for path in run.path.iterdir()} == before


def test_last_epoch_seldom_validation_and_a_fresh_start(workspace: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "run", {"epochs": 3, "seed": 0, "progress": False, "validate_every": 2}
    fit(make_module(workspace), make_data(workspace), out, select="last", **options)
    table = pd.read_csv(out / "metrics.csv")
    assert table["val/f1"].notna().tolist() == [False, True, False] and not (out / "best.ckpt").exists()
    assert read_adapter_header(out / "adapter.safetensors")["extra"]["selection"]["epoch"] == 3
    fit(make_module(workspace), make_data(workspace, val_fraction=0), out, select="last", resume=False, **options)
    assert "val/f1" not in pd.read_csv(out / "metrics.csv")
    with pytest.raises(ValueError, match="Expected a validation split"):
        fit(make_module(workspace), make_data(workspace, val_fraction=0), tmp_path / "none", **options)


def test_a_run_without_progress_stops_and_tuned_thresholds_travel(workspace: Path, tmp_path: Path) -> None:
    module = make_module(workspace, lr=1e-12)
    options = {"epochs": 5, "progress": True, "patience": 1, "tune": True, "tensorboard": True}
    adapter = fit(module, make_data(workspace), tmp_path, seed=0, **options)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (summary["epoch"], summary["epochs_trained"]) == (1, 2)
    part = module.validation_rows
    assert read_adapter_header(adapter)["thresholds"] == tune_thresholds(part["target"], part["prob"], AUS)
    assert any(RunFolder(tmp_path).events.glob("events*"))


def test_a_module_and_data_that_do_not_fit_are_refused(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data, AU1, AU4, but got one for AU1, AU4, AU12"):
        fit(make_module(workspace), make_data(workspace, au_names=["AU1", "AU4"]), tmp_path, epochs=1, seed=0)
    with pytest.raises(ValueError, match="Expected `image_size`"):
        fit(make_module(workspace), make_data(workspace, image_size=48), tmp_path, epochs=1, seed=0)
    for wrong in ({"epochs": 0}, {"validate_every": 2}, {"select": "first"}, {"patience": 0}):
        with pytest.raises(ValueError, match="`"):
            fit(make_module(workspace), make_data(workspace), tmp_path, seed=0, **{"epochs": 1, **wrong})


def test_settings_of_torch_are_put_back(workspace: Path, tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        flushed, fills = bool(torch.tensor(1e-40) * 1.0 == 0), torch.utils.deterministic.fill_uninitialized_memory
        return flushed, fills, torch.are_deterministic_algorithms_enabled()

    before, random = state(), torch.random.get_rng_state()
    options = {"epochs": 1, "seed": 0, "progress": False, "precision": "bf16-mixed"}
    fit(make_module(workspace), make_data(workspace), tmp_path, **options)
    assert state() == before and torch.equal(torch.random.get_rng_state(), random)
    assert load_file(tmp_path / "adapter.safetensors")["head.fc1.weight"].dtype == torch.float32


def _fault(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, act: Any) -> None:
    """Call `act(module, batch)` before one training step (both counted from 0)."""
    step = AUModule.training_step

    def faulty(self: AUModule, given: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            act(self, given)
        return step(self, given, batch_idx)

    monkeypatch.setattr(AUModule, "training_step", faulty)


def _interrupt(module: AUModule, given: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_a_run_that_goes_on_to_the_same_end(
    workspace: Path, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        _fault(patch, 1, 2, _interrupt)
        with pytest.raises(KeyboardInterrupt, match="epoch 2; .*last.ckpt holds the last finished epoch: run it again"):
            fit(make_module(workspace), make_data(workspace), tmp_path, epochs=3, seed=0, progress=True)
    assert signal.getsignal(signal.SIGINT) is handler and not RunFolder(tmp_path).finished
    with pytest.raises(ValueError, match="fit.seed was 0 and is now 5"):
        fit(make_module(workspace), make_data(workspace), tmp_path, epochs=3, seed=5, progress=False)
    module = make_module(workspace, seed=99)  # the checkpoint's weights count
    fit(module, make_data(workspace), tmp_path, epochs=3, seed=0, progress=True)
    assert _equal(load_file(tmp_path / "adapter.safetensors"), load_file(run.adapter))
    assert _without_time(tmp_path / "summary.json") == _without_time(run.summary)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "metrics.csv"), pd.read_csv(run.metrics))
    states = [torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (tmp_path, run.path)]
    assert _equal(*states)


def test_a_loss_that_is_not_finite_stops_and_the_last_epoch_is_kept(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(module: AUModule, given: Any) -> None:
        with torch.no_grad():
            module.network.expert_heads.bias[1] = float("nan")

    _fault(monkeypatch, 1, 2, spoil)
    told = "nan in epoch 2, batch 3 \\(action units AU4\\).*last.ckpt holds the last finished epoch"
    with pytest.raises(NonFiniteLossError, match=told):
        fit(make_module(workspace), make_data(workspace), tmp_path, epochs=3, seed=0, progress=False)
    module = AUModule.load_from_checkpoint(tmp_path / "last.ckpt")
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())
    assert RunFolder(tmp_path).resumable and RunFolder(tmp_path).adapter.is_file()


def test_a_batch_that_does_not_fit_into_memory_says_what_to_do(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crowd(module: AUModule, given: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    _fault(monkeypatch, 1, 2, crowd)
    told = "8 images of 32 x 32 pixels .*allocate 2.00 GiB.*--data.batch_size 4 --trainer.accumulate_grad_batches 2"
    with pytest.raises(ValueError, match=f"{told}.*last.ckpt holds the last finished epoch") as caught:
        fit(make_module(workspace), make_data(workspace), tmp_path, epochs=3, seed=0, progress=False)
    assert "GPU 0" not in str(caught.value)


def test_a_full_disk_is_named_and_the_old_checkpoint_stays_whole(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: Any) -> int:
        if "last" in self.name and (tmp_path / "last.ckpt").exists():
            write(self, bytes(content)[:1000])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    monkeypatch.setattr(checkpoint_io.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device; .*last.ckpt holds the last finished epoch"):
        fit(make_module(workspace), make_data(workspace), tmp_path, epochs=3, seed=0, progress=False)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_trained(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError, match="cannot write here") as caught:
        fit(make_module(workspace), make_data(workspace), tmp_path / "file" / "run", epochs=1, seed=0)
    assert caught.value.filename == str(tmp_path / "file" / "run")


@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 20)), min_size=1, max_size=30))
def test_tuned_thresholds_are_the_best_there_are(rows: list[tuple[int, int]]) -> None:
    target, prob = [[label] for label, _ in rows], [[value / 20] for _, value in rows]
    chosen = tune_thresholds(target, prob, ["AU12"])["AU12"]
    known = [(label, value / 20) for label, value in rows if label >= 0]
    labels = [label for label, _ in known]
    assert 0.05 <= chosen <= 0.95
    if sum(labels) in (0, len(labels)):
        assert chosen == 0.5
        return

    def f1(threshold: float) -> float:
        wrong = sum((value >= threshold) != bool(label) for label, value in known)
        hits = sum(value >= threshold and label == 1 for label, value in known)
        return 2 * hits / (2 * hits + wrong)

    assert f1(chosen) == pytest.approx(max(f1(step / 40) for step in range(2, 39)))
