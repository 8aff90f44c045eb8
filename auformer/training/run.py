"""`fit`, the call for programs: one training run into one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from auformer.data.datamodule import AUDataModule
from auformer.training.callbacks import RunBar
from auformer.training.module import AUModule
from auformer.training.provenance import describe_data
from auformer.training.run_folder import NO_NUMBER, RunFolder, differences
from auformer.training.runs import ALWAYS, DEFAULTS, run, run_extras
from auformer.training.settings import fast_and_restored, quiet_lightning

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def fit(
    module: AUModule,
    datamodule: AUDataModule,
    out: str | Path,
    *,
    epochs: int, seed: int, gradient_clip: float = 1.0, precision: Precision = "32-true", patience: int | None = None,
    validate_every: int = 1, select: str = "best", tune: bool = False, progress: bool = True, tensorboard: bool = False,
    accelerator: str = "auto", resume: bool = True,
) -> Path:  # fmt: skip
    """Train a module and write a run folder; the same run again returns what is there, an interrupted one goes on.

    Args:
        module: Its network starts from the weights it has; afterwards it holds those of the last epoch.
        datamodule: Training and validation rows.
        out: The run folder: `adapter.safetensors`, `best.ckpt`, `last.ckpt`, `metrics.csv`, `config.yaml`, `summary.json`.
        epochs: Passes over the training rows.
        seed: Of whatever is random inside the run; the initial weights are the caller's. Kept in the files.
        gradient_clip: Highest norm of the gradient; 0 does not clip.
        precision: `32-true`, `bf16-mixed` or `16-mixed`, as for Lightning's trainer.
        patience: Validations without a better score before the run stops; None: never.
        validate_every: Epochs from one validation to the next.
        select: `best`: the epoch with the highest mean F1 on the validation part; `last`: the last one.
        tune: Choose thresholds per action unit on the validation part, for the header of the adapter file.
        progress: Show a progress bar.
        tensorboard: Write event files for TensorBoard too.
        accelerator: `auto`, `cpu` or `gpu`.
        resume: False: begin anew and replace what is there.

    Returns:
        The adapter file of the chosen epoch.

    Raises:
        ValueError: The folder holds another run, an argument is out of range, or the loss is not finite (`NonFiniteLossError`).
        OSError: The folder cannot be written.
    """
    if epochs < 1 or validate_every < 1 or validate_every > epochs:
        raise ValueError(f"Expected 1 <= `validate_every` <= `epochs`, but got {validate_every} and {epochs}")
    settings = {
        "epochs": epochs, "seed": seed, "gradient_clip": gradient_clip, "precision": precision, "patience": patience,
        "validate_every": validate_every, "select": select, "tune": tune,
    }  # fmt: skip
    shown = {"progress": progress, "tensorboard": tensorboard}
    return _fit(module, datamodule, RunFolder(out), settings, accelerator=accelerator, resume=resume, **shown)


def _fit(
    module: AUModule, datamodule: AUDataModule, folder: RunFolder, settings: dict[str, Any], *,
    progress: bool, tensorboard: bool, accelerator: str, resume: bool,
) -> Path:  # fmt: skip
    """Train with settings that `fit` has checked; they are what the folder's configuration remembers."""
    kind = type(module)
    model = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": dict(module.hparams)}
    config = json.loads(json.dumps({"model": model, "data": describe_data(datamodule), "fit": settings}))
    if resume and folder.finished and not differences(folder.stored_config(), config, NO_NUMBER):
        return folder.adapter
    folder.open(config, overwrite=not resume, free=NO_NUMBER)
    chosen = {name: settings[name] for name in ("patience", "select", "tune")}
    callbacks, loggers, plugins = run_extras(folder, datamodule, settings, tensorboard=tensorboard, **chosen)
    with quiet_lightning(), fast_and_restored(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        trainer = pl.Trainer(
            accelerator=accelerator, devices=1, precision=settings["precision"], max_epochs=settings["epochs"],
            gradient_clip_val=settings["gradient_clip"] or None, check_val_every_n_epoch=settings["validate_every"],
            default_root_dir=str(folder.path), enable_progress_bar=progress, deterministic=True,
            callbacks=[*callbacks, *([RunBar()] if progress else [])], logger=loggers, plugins=plugins, **ALWAYS, **DEFAULTS,
        )  # fmt: skip
        run(trainer, module, datamodule, folder, resume_from=folder.last if folder.resumable else None)
    return folder.adapter
