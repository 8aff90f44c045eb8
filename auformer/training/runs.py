"""What every run has, whether a program or the command line starts it: callbacks, loggers, checks, an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from auformer.data.datamodule import AUDataModule
from auformer.errors import require
from auformer.models import save_adapter
from auformer.models.batches import is_out_of_memory, shortage
from auformer.training.callbacks import PatientStopping, RunCheckpoints
from auformer.training.checkpoint_io import RunCheckpointIO
from auformer.training.metrics_table import MetricsTable
from auformer.training.module import AUModule
from auformer.training.provenance import crop_recipe, describe_data
from auformer.training.run_folder import RunFolder
from auformer.training.scores import NonFiniteLossError

ALWAYS: dict[str, Any] = {"use_distributed_sampler": False}  # the data module has samplers of its own
# Scores of half a part say nothing, figures are logged once per epoch (so nothing is gathered per step), the summary holds the sizes.
DEFAULTS: dict[str, Any] = {"num_sanity_val_steps": 0, "log_every_n_steps": 1_000_000, "enable_model_summary": False}


def run_extras(
    folder: RunFolder,
    datamodule: AUDataModule,
    settings: Mapping[str, Any],
    *,
    patience: int | None,
    select: str,
    tune: bool,
    tensorboard: bool,
) -> tuple[list[Callback], list[Logger], list[Any]]:
    """Callbacks, loggers and plugins of a run.

    Args:
        folder: The run folder.
        datamodule: For the header of the adapter file.
        settings: Settings of the run, plain values, for that header.
        patience: Validations without a better score before the run stops, or None.
        select: `best` or `last` epoch.
        tune: Choose thresholds on the validation part.
        tensorboard: Write event files too.

    Raises:
        ValueError: Something is to be chosen on the validation part, and there is none.
    """
    if "val" not in datamodule.parts and (select == "best" or tune or patience is not None):
        raise ValueError(
            "Expected a validation part to choose the epoch or thresholds on, but got none: "
            "name `val`, set `val_fraction` above 0, or use select='last' without `tune` and `patience`"
        )

    def write_adapter(module: AUModule, selection: Mapping[str, Any]) -> None:
        extra = {"config": {"model": _shareable(module), "fit": dict(settings)}, "selection": dict(selection)}
        save_adapter(folder.adapter, module.network, training_data=describe_data(datamodule), extra=extra)

    callbacks: list[Callback] = [RunCheckpoints(folder, write_adapter, select=select, tune=tune)]
    if patience is not None:
        callbacks.insert(0, PatientStopping(patience))
    loggers: list[Logger] = [MetricsTable(folder.metrics)]
    if tensorboard:
        require("tensorboard", "tensorboard")
        loggers.append(TensorBoardLogger(str(folder.path), name="", version=folder.events.name))
    return callbacks, loggers, [RunCheckpointIO()]


def run(trainer: Trainer, module: AUModule, datamodule: AUDataModule, folder: RunFolder, resume_from: Path | None) -> None:
    """Train, and mark the folder as finished.

    Args:
        trainer: Made with what `run_extras` gives.
        module: The module.
        datamodule: Its rows.
        folder: The run folder, opened.
        resume_from: Run checkpoint to go on from.

    Raises:
        KeyboardInterrupt: Interrupted; the message says how to go on.
        NonFiniteLossError: The loss is not finite; the message names the last good checkpoint.
        OSError: A file could not be written.
        ValueError: A batch does not fit into memory; the message says what to do.
    """
    check_fit(module, datamodule)
    module.network.crop_recipe = crop_recipe(datamodule)
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=resume_from, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(f"Interrupted in epoch {trainer.current_epoch + 1}; {_kept(folder)}: run it again to go on") from None
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"{error} {_kept(folder)}.") from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"{_too_large(datamodule, error)}; {_kept(folder)}.") from error
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}; {_kept(folder)}", error.filename or str(folder.path)) from error
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
        raise ValueError(f"Expected a network for the action units of the data, {names}, but got one for {', '.join(network.au_names)}")
    if tuple(network.image_size) != tuple(datamodule.image_size):
        raise ValueError(f"Expected `image_size` to be that of the network, {network.image_size}, but got {datamodule.image_size}")


def _kept(folder: RunFolder) -> str:
    """What an interrupted run leaves."""
    return f"{folder.last} holds the last finished epoch" if folder.last.is_file() else "no epoch was finished yet"


def _too_large(datamodule: AUDataModule, error: BaseException) -> str:
    """What to do about a batch that does not fit; a smaller one is another optimisation, so it is the user who decides."""
    size, (height, width) = datamodule.batch_size, datamodule.image_size
    ways = [f"--data.batch_size {size // 2} --trainer.accumulate_grad_batches 2 (as many images per step)"] if size > 1 else []
    way = ", or ".join([*ways, "--trainer.precision bf16-mixed", "a smaller backbone or image"])
    return f"Expected a batch of {size} images of {height} x {width} pixels to fit into memory, but got: {shortage(error)}. Try {way}"


def _shareable(module: AUModule) -> dict[str, Any]:
    """Hyper-parameters without folders of this machine."""
    plain = dict(module.hparams)
    local = plain.get("checkpoint_path")
    return {**plain, "checkpoint_path": Path(local).name if local else None}


def _finish(trainer: Trainer, module: AUModule, folder: RunFolder) -> None:
    """Write the summary of a run that came to its end."""
    if not folder.adapter.is_file():
        raise ValueError(f"Expected {trainer.max_epochs} epochs with a validation among them, but none was validated")
    checkpoints = next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoints))
    trainable, total = module.network.num_parameters()
    folder.finish(
        {
            **checkpoints.selection(trainer),
            "epochs_trained": trainer.current_epoch,
            "seconds": round(checkpoints.seconds(), 1),
            "trainable_parameters": trainable,
            "total_parameters": total,
        }
    )
