"""`auformer fit | validate | test`: LightningCLI on AUModule and AUDataModule."""

from __future__ import annotations

from argparse import HelpFormatter
from pathlib import Path
from typing import Any, Literal

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from auformer.data.datamodule import AUDataModule
from auformer.models import AUFormer
from auformer.models.checkpoints import CLASS_PATH, read_run_checkpoint
from auformer.training.callbacks import MetricsTable, RunBar, RunCheckpointIO
from auformer.training.config import LINKED, MODEL, with_bases
from auformer.training.module import AUModule
from auformer.training.run import ALWAYS, DEFAULTS, check_fit, fast_and_restored, quiet_lightning, run, run_extras
from auformer.training.run_folder import NO_NUMBER, RunFolder

RUNS = Path("runs")
PASSING = ("config", "base", "ckpt_path", "overwrite")  # options that are about one call, not about the run
# what may differ between an interrupted run and the call that resumes it
FREE_TRAINER = ("enable_progress_bar", "default_root_dir", "profiler", "max_time")
FREE = (*NO_NUMBER, "out", "tensorboard", "data.num_workers", *(f"trainer.{name}" for name in FREE_TRAINER))


class RunParser(LightningArgumentParser):
    """Its help shows the options of AUModule too, which LightningCLI hides behind `--model.help`."""

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """Usual help, then the model's options."""
        text = super().format_help(formatter)
        if "--model.help" not in text:
            return text
        model = LightningArgumentParser(prog="model", add_help=False, usage="")
        model.add_class_arguments(AUModule, "model", skip={*LINKED, "network"})
        model.add_class_arguments(AUFormer, "model.network", skip={"au_names"})
        options = model.format_help().partition("Trains a network")[2].partition(":")[2]
        more = "Those of another network: auformer fit --model.network.help auformer.models.baselines.LoRA"
        return f"{text}\nOptions of the model:{options}\n{more}\n"


class AUFormerCLI(LightningCLI):
    """LightningCLI with the run folders of this package; `args` are the words after `auformer`."""

    def __init__(self, args: list[str]) -> None:
        with quiet_lightning(), fast_and_restored():
            super().__init__(
                AUModule,
                AUDataModule,
                subclass_mode_model=True,
                save_config_callback=None,  # the run folder keeps it, and refuses to overwrite it
                load_from_checkpoint_support=False,  # hyper-parameters stay the constructor's plain arguments
                auto_configure_optimizers=False,
                seed_everything_default=0,
                trainer_defaults={**DEFAULTS, "deterministic": True, "gradient_clip_val": 1.0, "max_epochs": 20},
                parser_class=RunParser,
                parser_kwargs={"prog": "auformer"} | {w: {"prog": f"auformer {w}"} for w in self.subcommands()},
                args=with_bases(args),
            )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Sub-commands, and which arguments of the trainer's methods are not options."""
        hidden = {"model", "datamodule", "weights_only", "dataloaders"}
        return {
            "fit": (hidden - {"dataloaders"}) | {"train_dataloaders", "val_dataloaders"},
            "validate": hidden,
            "test": hidden,
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options of the run, defaults, and what the data tells the model."""
        for name, kind, default, text in (
            ("base", str | None, None, "In a file: the file that it builds on, relative to it."),
            ("out", str | None, None, "Run folder; runs/NAME for --config NAME.yaml by default."),
            ("overwrite", bool, False, "Begin anew where the run folder holds an earlier run."),
            ("patience", int | None, None, "Validations without a higher F1 before the run stops."),
            ("select", Literal["best", "last"], "best", "Epoch of the adapter file: best F1, or last."),
            ("tune", bool, False, "Choose a decision threshold per AU on the validation split."),
            ("tensorboard", bool, False, "Write event files for TensorBoard too."),
        ):
            parser.add_argument(f"--{name}", type=kind, default=default, help=text)
        parser.set_defaults({"model": MODEL})
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the words; Lightning would warn that they are also those of the process."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """For `validate` and `test` the model comes from the checkpoint; Lightning's own way imports any class."""
        word = self.config["subcommand"]
        if word == "fit":
            return
        folder = self.folder
        path = self._option("ckpt_path") or str(folder.best if folder.best.is_file() else folder.last)
        self.config[word]["ckpt_path"] = path
        plain = read_run_checkpoint(path, mmap=True)["hyper_parameters"]
        model = {"class_path": plain.pop(CLASS_PATH, MODEL["class_path"])}
        model["init_args"] = {name: value for name, value in plain.items() if name not in LINKED}
        self.config = self.parser.parse_object({word: {"model": model}}, self.config)

    def _option(self, name: str) -> Any:
        return self.config[self.config["subcommand"]].get(name)

    @property
    def folder(self) -> RunFolder:
        """The run folder: `--out`, else `runs/` and the name of the last configuration file."""
        files = self._option("config") or []
        return RunFolder(self._option("out") or RUNS / (Path(str(files[-1])).stem if files else "run"))

    def plain_config(self) -> dict[str, Any]:
        """The configuration of the run in plain values; `auformer fit --config` takes it."""
        text = self._parser(self.subcommand).dump(self.config[self.subcommand])
        content = {name: value for name, value in yaml.safe_load(text).items() if name not in PASSING}
        return {**content, "out": str(self.folder.path)}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of the configuration, with what every run has."""
        given = self._get(self.config_init, "trainer").as_dict()
        callbacks, plugins = _listed(given["callbacks"]), _listed(given["plugins"])
        loggers = [logger for logger in _listed(given["logger"]) if not isinstance(logger, bool)]
        if self.subcommand == "fit":
            plain = {name: value for name, value in given.items() if isinstance(value, bool | int | float | str)}
            settings = {"seed": self._option("seed_everything"), **plain}
            chosen = {name: self._option(name) for name in ("patience", "select", "tune", "tensorboard")}
            extras = run_extras(self.folder, self.datamodule, settings, **chosen)
            callbacks, loggers, plugins = [*extras[0], *callbacks], [*extras[1], *loggers], [*extras[2], *plugins]
            has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
            if given["enable_progress_bar"] is not False and not has_bar:
                callbacks.append(RunBar())
        else:
            table = self.folder.split_scores[str(self.subcommand)]
            table.unlink(missing_ok=True)
            loggers, plugins = [MetricsTable(table), *loggers], [RunCheckpointIO(), *plugins]
        own = {"callbacks": callbacks, "logger": loggers, "plugins": plugins, "default_root_dir": str(self.folder.path)}
        return super().instantiate_trainer(**{**kwargs, **own, **ALWAYS})

    def fit(self, model: AUModule, datamodule: AUDataModule, ckpt_path: str | None = None) -> None:
        """Train into the run folder; an interrupted run of the same configuration is resumed."""
        folder = self.folder
        if self.trainer.is_global_zero:
            if ckpt_path:
                _check_start(Path(ckpt_path), folder, overwrite=self._option("overwrite"))
            folder.open(self.plain_config(), overwrite=self._option("overwrite"), free=FREE)
        resumed = Path(ckpt_path) if ckpt_path else folder.last if folder.resumable else None
        run(self.trainer, model, datamodule, folder, resumed)
        self.trainer.print(f"{folder.adapter}: {folder.outcome()}")

    def validate(self, model: AUModule, datamodule: AUDataModule, ckpt_path: str, verbose: bool = True) -> None:
        """Score the validation split; figures go to `validate.csv` in the run folder."""
        check_fit(model, datamodule)
        self.trainer.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=verbose, weights_only=True)

    def test(self, model: AUModule, datamodule: AUDataModule, ckpt_path: str, verbose: bool = True) -> None:
        """Score the test split; figures go to `test.csv` in the run folder."""
        check_fit(model, datamodule)
        self.trainer.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=verbose, weights_only=True)


def _check_start(path: Path, folder: RunFolder, *, overwrite: bool) -> None:
    """Refuse a checkpoint to start from before the run folder is emptied for it."""
    read_run_checkpoint(path, mmap=True)
    if overwrite and path.resolve().is_relative_to(folder.path.resolve()):
        raise ValueError(
            f"Expected `ckpt_path` outside of the run folder, which --overwrite empties, but got {path}: choose "
            "another --out, or leave --overwrite out to resume"
        )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]
