"""`fit`, the call for programs: one training run into one folder, and what every run has."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import KEY, MANIFEST
from auformer.data.table_file import read_sidecar
from auformer.errors import require
from auformer.models import save_adapter
from auformer.models.batches import is_out_of_memory, shortage
from auformer.training.callbacks import MetricsTable, PatientStopping, RunBar, RunCheckpointIO, RunCheckpoints
from auformer.training.module import AUModule
from auformer.training.run_folder import NO_NUMBER, RunFolder
from auformer.training.scores import NonFiniteLossError


def crop_recipe(data: AUDataModule) -> str | None:
    """Crop recipe of the training images, if all their manifests name the same one."""
    if "train" not in data.splits:
        return None
    recipes = [read_sidecar(path).get("crop_recipe") for path in data.splits["train"][MANIFEST].astype(str).unique()]
    return recipes[0] if isinstance(recipes[0], str) and len({*map(str, recipes)}) == 1 else None


def describe_data(data: AUDataModule, *, intensity: bool = False) -> dict[str, Any]:
    """What the splits of a run are and how they are fed, in plain JSON values; no paths of this machine.

    With `intensity`, intensities are data of the run too.
    """
    strengths = [f"{name}_intensity" for name in data.au_names] if intensity else []
    described: dict[str, Any] = {}
    for split in ("train", "val"):
        if split not in data.splits:
            continue
        rows = data.splits[split]
        keys_and_labels = [*KEY, *[name for name in (*data.au_names, *strengths) if name in rows.columns]]
        hashes = pd.util.hash_pandas_object(rows[keys_and_labels], index=False).to_numpy()
        described[split] = {
            "datasets": sorted(set(rows["dataset"].astype(str))),
            "rows": len(rows),
            "subjects": int(rows[["dataset", "subject"]].drop_duplicates().shape[0]),
            "digest": hashlib.sha256(hashes.astype("<u8").tobytes()).hexdigest()[:16],
        }
    if "train" in described:
        rows = data.splits["train"]
        known = {name: rows[name][rows[name] >= 0] for name in data.au_names if name in rows.columns}
        described["train"]["label_rates"] = {
            name: round(float((labels == 1).mean()), 4) for name, labels in known.items() if len(labels)
        }
        if intensity:
            described["train"]["coded_intensities"] = {
                name: int(rows[f"{name}_intensity"].notna().sum()) for name in data.intensity_aus
            }
    fed: dict[str, Any] = {"image_size": list(data.image_size), "batch_size": data.batch_size}
    if data.clip_length > 1:
        fed |= {"clip_length": data.clip_length, "chunk_rows": data.chunk_rows}
    if data.view != "whole":
        fed["view"] = data.view
    return {**described, **fed, "augmented": data.augmentation is not None, "seed": data.seed}


# what Lightning warns of although it is meant
_EXPECTED = (
    ".*does not have many workers.*",
    ".*Found .* module.* in eval mode.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*Total length of .* across ranks is zero.*",
    "(?s).*instantiate_classes.* was deprecated.*",
    "(?s).*JsonargparseDeprecationWarning per type is shown.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside, Lightning reports problems only."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _EXPECTED:
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def fast_and_restored() -> Iterator[None]:
    """Inside, denormal numbers are zero and deterministic algorithms leave fresh memory; then all is as before.

    Small gradients behind the zero-initialised up-projections are denormal numbers, which cost a CPU a hundred cycles
    each. Filling fresh memory with NaN finds reads of unwritten memory and is paid for by every buffer.
    """
    flushed = bool((torch.tensor([1e-40]) * 1.0 == 0).all())
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    filled, benchmark = deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    torch.set_flush_denormal(True)
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


ALWAYS: dict[str, Any] = {"use_distributed_sampler": False}  # the data module has samplers of its own
# scores of half a split say nothing, figures are logged once per epoch, the summary holds the sizes
DEFAULTS: dict[str, Any] = {"num_sanity_val_steps": 0, "log_every_n_steps": 1_000_000, "enable_model_summary": False}


def run_extras(
    folder: RunFolder, datamodule: AUDataModule, settings: Mapping[str, Any], *,
    patience: int | None, select: str, tune: bool, tensorboard: bool,
) -> tuple[list[Callback], list[Logger], list[Any]]:  # fmt: skip
    """Callbacks, loggers and plugins of a run; options as of `fit`.

    Data and `settings`, plain values, go into the header of the adapter file.

    Raises:
        ValueError: Something is to be chosen on the validation split, and there is none.
    """
    if "val" not in datamodule.splits and (select == "best" or tune or patience is not None):
        raise ValueError(
            "Expected a validation split to choose the epoch or thresholds on, but got none: "
            "name `val`, set `val_fraction` above 0, or use select='last' without `tune` and `patience`"
        )

    def write_adapter(module: AUModule, selection: Mapping[str, Any]) -> None:
        extra = {"config": {"model": _shareable(module), "fit": dict(settings)}, "selection": dict(selection)}
        described = describe_data(datamodule, intensity=module.network.intensity != "none")
        save_adapter(folder.adapter, module.network, training_data=described, extra=extra)

    callbacks: list[Callback] = [RunCheckpoints(folder, write_adapter, select=select, tune=tune)]
    if patience is not None:
        callbacks.insert(0, PatientStopping(patience))
    loggers: list[Logger] = [MetricsTable(folder.metrics)]
    if tensorboard:
        require("tensorboard", "tensorboard")
        loggers.append(TensorBoardLogger(str(folder.path), name="", version=folder.events.name))
    return callbacks, loggers, [RunCheckpointIO()]


def run(
    trainer: Trainer, module: AUModule, datamodule: AUDataModule, folder: RunFolder, resume_from: Path | None
) -> None:
    """Train with what `run_extras` gives, from a run checkpoint where there is one; mark the folder as finished.

    Raises:
        KeyboardInterrupt: Interrupted; the message says how to resume.
        NonFiniteLossError: The loss is not finite; the message names the last good checkpoint.
        OSError: A file could not be written.
        ValueError: A batch does not fit into memory; the message says what to do.
    """
    check_fit(module, datamodule)
    module.network.crop_recipe = crop_recipe(datamodule)
    take_intensities(module, datamodule)
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=resume_from, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(
            f"Interrupted in epoch {trainer.current_epoch + 1}; {_kept(folder)}: run it again to resume"
        ) from None
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"{error} {_kept(folder)}.") from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"{_too_large(datamodule, error)}; {_kept(folder)}.") from error
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror or error}; {_kept(folder)}", error.filename or str(folder.path)
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C from the first one on
    if trainer.is_global_zero:
        _finish(trainer, module, folder)


def check_fit(module: AUModule, datamodule: AUDataModule) -> None:
    """Refuse a module and a data module that were not made for each other.

    Raises:
        ValueError: Other action units or another image size.
    """
    network, names = module.network, ", ".join(datamodule.au_names)
    if list(network.au_names) != list(datamodule.au_names):
        raise ValueError(
            f"Expected a network for the action units of the data, {names}, "
            f"but got one for {', '.join(network.au_names)}"
        )
    if tuple(network.image_size) != tuple(datamodule.image_size):
        raise ValueError(
            f"Expected `image_size` to be that of the network, {network.image_size}, but got {datamodule.image_size}"
        )
    if (network.clip_length, network.view) != (datamodule.clip_length, datamodule.view):
        raise ValueError(
            f"Expected `clip_length` and `view` of the data to be those of the network, {network.clip_length} and "
            f"{network.view}, but got {datamodule.clip_length} and {datamodule.view}"
        )


def take_intensities(module: AUModule, datamodule: AUDataModule) -> None:
    """Let a network with an intensity head know which action units it is trained for.

    Raises:
        ValueError: None of them is coded in intensity.
    """
    if module.network.intensity == "none":
        return
    if not datamodule.intensity_aus:
        raise ValueError(
            "Expected training rows with intensities above 0 (`AU12_intensity`, ...) for a network with an intensity "
            "head, but got none; train without the head (`network.intensity: none`), or add the columns"
        )
    module.network.intensity_aus = tuple(datamodule.intensity_aus)


def _kept(folder: RunFolder) -> str:
    return f"{folder.last} holds the last finished epoch" if folder.last.is_file() else "no epoch was finished yet"


def _too_large(datamodule: AUDataModule, error: BaseException) -> str:
    """What to do about a batch that does not fit; a smaller one is another optimisation, so the user decides."""
    size, (height, width) = datamodule.batch_size, datamodule.image_size
    ways = ["--trainer.precision bf16-mixed", "a smaller backbone or image"]
    if size > 1:
        ways.insert(0, f"--data.batch_size {size // 2} --trainer.accumulate_grad_batches 2 (as many images per step)")
    return (
        f"Expected a batch of {size} images of {height} x {width} pixels to fit into memory, but got: "
        f"{shortage(error)}. Try {', or '.join(ways)}"
    )


def _shareable(module: AUModule) -> dict[str, Any]:
    """Hyper-parameters without folders of this machine."""
    network = module.hparams["network"]
    local = network["init_args"].get("checkpoint_path")
    arguments = {**network["init_args"], "checkpoint_path": Path(local).name if local else None}
    return {**module.hparams, "network": {**network, "init_args": arguments}}


def _finish(trainer: Trainer, module: AUModule, folder: RunFolder) -> None:
    if not folder.adapter.is_file():
        raise ValueError(f"Expected {trainer.max_epochs} epochs with a validation among them, but none was validated")
    checkpoints = next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoints))
    trainable, total = module.network.num_parameters()
    figures = {"epochs_trained": trainer.current_epoch, "seconds": round(checkpoints.seconds(), 1)}
    sizes = {"trainable_parameters": trainable, "total_parameters": total}
    folder.finish({**checkpoints.selection(trainer), **figures, **sizes})


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def fit(
    module: AUModule, datamodule: AUDataModule, out: str | Path, *,
    epochs: int, seed: int, gradient_clip: float = 1.0, precision: Precision = "32-true", patience: int | None = None,
    validate_every: int = 1, select: str = "best", tune: bool = False, progress: bool = True, tensorboard: bool = False,
    accelerator: str = "auto", resume: bool = True,
) -> Path:  # fmt: skip
    """Train a module into a run folder; the same run again returns what is there, an interrupted one is resumed.

    Args:
        module: Its network starts from the weights it has; afterwards it holds those of the last epoch.
        datamodule: Training and validation rows.
        out: The run folder, see `auformer.training.run_folder.RunFolder`.
        epochs: Passes over the training rows.
        seed: Of whatever is random inside the run; the initial weights are the caller's. Kept in the files.
        gradient_clip: Highest norm of the gradient; 0 does not clip.
        precision: `32-true`, `bf16-mixed` or `16-mixed`, as for Lightning's trainer.
        patience: Validations without a better score before the run stops; None: never.
        validate_every: Epochs from one validation to the next.
        select: `best`: the epoch with the highest mean F1 on the validation split; `last`: the last one.
        tune: Choose a decision threshold per AU on the validation split, for the header of the adapter file.
        progress: Show a progress bar.
        tensorboard: Write event files for TensorBoard too.
        accelerator: `auto`, `cpu` or `gpu`.
        resume: False: begin anew and replace what is there.

    Returns:
        The adapter file of the chosen epoch.

    Raises:
        ValueError: The folder holds another run, an argument is out of range, or the loss is not finite
            (`NonFiniteLossError`).
        OSError: The folder cannot be written.
    """
    if epochs < 1 or validate_every < 1 or validate_every > epochs:
        raise ValueError(f"Expected 1 <= `validate_every` <= `epochs`, but got {validate_every} and {epochs}")
    settings = {
        "epochs": epochs, "seed": seed, "gradient_clip": gradient_clip, "precision": precision, "patience": patience,
        "validate_every": validate_every, "select": select, "tune": tune,
    }  # fmt: skip
    folder, kind = RunFolder(out), type(module)
    model = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": dict(module.hparams)}
    described = describe_data(datamodule, intensity=module.network.intensity != "none")
    config = json.loads(json.dumps({"model": model, "data": described, "fit": settings}))
    if resume and folder.holds(config, NO_NUMBER):
        return folder.adapter
    folder.open(config, overwrite=not resume, free=NO_NUMBER)
    callbacks, loggers, plugins = run_extras(
        folder, datamodule, settings, patience=patience, select=select, tune=tune, tensorboard=tensorboard
    )
    with quiet_lightning(), fast_and_restored(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainer = pl.Trainer(
            accelerator=accelerator, devices=1, precision=precision, max_epochs=epochs, deterministic=True,
            gradient_clip_val=gradient_clip or None, check_val_every_n_epoch=validate_every,
            enable_progress_bar=progress, default_root_dir=str(folder.path), logger=loggers, plugins=plugins,
            callbacks=[*callbacks, *([RunBar()] if progress else [])], **ALWAYS, **DEFAULTS,
        )  # fmt: skip
        run(trainer, module, datamodule, folder, resume_from=folder.last if folder.resumable else None)
    return folder.adapter
