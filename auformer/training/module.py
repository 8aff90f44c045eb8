"""The Lightning module: one shared step, optimiser, scores over whole splits, checkpoints without frozen weights."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.modules.module import _IncompatibleKeys

from auformer.errors import CheckpointError
from auformer.intensity_losses import IntensityLoss
from auformer.losses import AULoss, region_loss, wa_loss
from auformer.models import AUNetwork
from auformer.models.adapter_file import HEADER, describe, parse_header
from auformer.models.auformer import continue_from
from auformer.models.checkpoints import (
    CLASS_PATH,
    INSTANTIATOR,
    MODULES,
    adopt_header,
    allowed_class,
    check_header,
    load_detector,
    network_class,
    read_run_checkpoint,
)
from auformer.models.network import load_tensors
from auformer.training.optimiser import WarmupCosine, parameter_groups
from auformer.training.scores import NonFiniteLossError, OutputCollector, blame, probabilities, split_scores


@torch.no_grad()
def measure_features(network: AUNetwork, batches: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the plain ViT's pooled features, for the head's standardisation (method.md 3.2).

    The network is in eval mode meanwhile: BatchNorm of a convolutional stem must not learn from it.

    Args:
        network: The network; its backbone is still the plain, pre-trained one.
        batches: Dicts with `image (B, 3, H, W)`, without augmentation.

    Returns:
        Mean and standard deviation `(D,)`, float32 on the CPU; added up in float64: the batch size does not matter.

    Raises:
        ValueError: There are fewer than two images.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    device = next(network.parameters()).device
    total, squares, count = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 0
    shift = None  # the first batch's mean is taken off: near a large mean E[x^2] - E[x]^2 loses digits
    try:
        for batch in batches:
            features = network.measured_features(batch["image"].to(device)).double().cpu()
            shift = features.mean(0) if shift is None else shift
            total, squares = total + (features - shift).sum(0), squares + (features - shift).square().sum(0)
            count += len(features)
    finally:
        for module, training in modes:
            module.training = training
    if count < 2 or shift is None:
        raise ValueError(f"Expected at least two training images to measure features on, but got {count}")
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1)
    return (mean + shift).float(), variance.clamp_min(0).sqrt().float()


class NetworkFactory(Protocol):
    """Makes the network for a list of action units: `functools.partial(LoRA, backbone=..., rank=8)`.

    In a configuration it is the class path and the arguments of the network, all but `au_names`.
    """

    def __call__(self, *, au_names: list[str]) -> AUNetwork:
        """The network; its weights are drawn from torch's global random state."""
        ...


def network_factory(spec: Mapping[str, Any], where: str = "`network`") -> NetworkFactory:
    """The factory of a network that is named as in a configuration, by `class_path` and `init_args`.

    Raises:
        CheckpointError: The class is not a network below `auformer.models`.
    """
    return partial(network_class(spec.get("class_path"), where), **(spec.get("init_args") or {}))


class AUModule(pl.LightningModule):
    """Trains a network of this package: AUFormer, a baseline, or a network that sees clips.

    Batches are dicts: `image (B, 3, H, W)` float in [0, 1], `label (B, N)` in {1, 0, -1}, `index (B,)` the row in its
    split, and for a network with an intensity head `intensity (B, N)` in [0, 5], NaN where not coded; it is trained
    together with occurrence, on `loss = occurrence + intensity_weight * intensity`. For a network that sees clips they
    are `(B, T, ...)`, and rows that pad a clip have the label -1 and the index -1: they count nowhere.

    Args:
        network: The network, all but its action units; in YAML `class_path` and `init_args`, of a class below
            `auformer.models`.
        au_names: Action units in the order of the labels.
        au_weights: Weight of each in the loss, see `auformer.losses.au_weights`.
        loss: Of main head and expert heads: `mdwa` (the paper's), `wa`, `asl`, `focal`, `bce` or `weighted_bce`, see
            `AULoss`.
        margin: Margin of MDWA, in [0, 1).
        gamma_low: Exponent of the AU with the smallest weight.
        gamma_high: Exponent of the AU with the largest weight.
        dice_weight: Factor of the Dice term.
        expert_loss_weight: Factor of the expert heads' term; with 0 the expert heads are not built.
        intensity_weight: Factor of the intensities' term, where the network has an intensity head, see `IntensityLoss`;
            with 0 the head is not built.
        region_weight: Factor of the cross-entropy of MDHR's regional heads, where the network has some; 0.01 as
            released.
        lr: Highest learning rate.
        weight_decay: Decay of AdamW; biases, norms and other vectors have none.
        decay_all: They have it too, as in MDHR's released code.
        betas: Betas of AdamW.
        warmup_fraction: Fraction of the optimiser steps over which the learning rate rises; then it falls as a cosine.
        start: Checkpoint of an AUFormer on the same frozen weights whose experts and heads the training begins with,
            for the AUs that it knows, such as `demo`; for training on a few hundred frames of one's own.

    Raises:
        ValueError: Names and weights differ in number, or an argument is out of its range.
        CheckpointError: The network's class is not one of this package.
    """

    network: AUNetwork

    def __init__(
        self,
        network: NetworkFactory,
        au_names: list[str],
        au_weights: list[float],
        loss: Literal["mdwa", "wa", "asl", "focal", "bce", "weighted_bce"] = "mdwa",
        margin: float = 0.05,
        gamma_low: float = 1.0,
        gamma_high: float = 2.0,
        dice_weight: float = 1.0,
        expert_loss_weight: float = 1.0,
        intensity_weight: float = 1.0,
        region_weight: float = 0.01,
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        decay_all: bool = False,
        betas: list[float] = [0.9, 0.99],  # noqa: B006 (a plain list, never changed: what YAML and checkpoints hold)
        warmup_fraction: float = 0.08,
        start: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network"], logger=False)
        if len(au_names) != len(au_weights):
            raise ValueError(
                f"Expected `au_weights` to hold one weight per AU, {len(au_names)}, but got {len(au_weights)}"
            )
        if lr <= 0 or len(betas) != 2:
            raise ValueError(f"Expected `lr` to be above 0 and `betas` to be two numbers, but got {lr} and {betas}")
        self.loss_function = AULoss(
            torch.tensor(au_weights, dtype=torch.float32), kind=loss, margin=margin, gamma_low=gamma_low,
            gamma_high=gamma_high, dice_weight=dice_weight, expert_weight=expert_loss_weight,
        )  # fmt: skip
        if not 0 <= intensity_weight < math.inf:
            raise ValueError(f"Expected `intensity_weight` to be 0 or more, but got {intensity_weight}")
        self.network, self.hparams["network"] = _build(
            network, au_names, expert_heads=expert_loss_weight > 0, intensity=intensity_weight > 0
        )
        if start is None:
            del self.hparams["start"]
        else:
            continue_from(load_detector(start, backbone_checkpoint=_weights(network)), self.network)
        form = self.network.intensity
        self.intensity_loss = (
            None if form == "none" else IntensityLoss("ordinal" if form == "ordinal" else "regression")
        )
        if form == "none":
            del self.hparams["intensity_weight"]  # it weighs nothing, so it is no fact about the run
        if not 0 <= region_weight < math.inf:
            raise ValueError(f"Expected `region_weight` to be 0 or more, but got {region_weight}")
        if not self.network.region_heads:
            del self.hparams["region_weight"]
        self.learning_rate = 0.0
        self.sums: dict[str, Any] = {}  # `rows`, and each term of the loss times its rows, over the epoch
        self.validation_rows: dict[str, Any] = {}  # `target`, `prob` `(n, N)` of the last validation, for thresholds
        has_experts = getattr(self.network, "expert_heads", None) is not None
        self.outputs = OutputCollector(len(au_names), experts=has_experts, intensity=form)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to probabilities `(B, N)`, as the network predicts them."""
        return self.network.predict_probs(images)

    def loss_terms(self, logits: Tensor, target: Tensor, experts: Tensor | None) -> dict[str, Tensor]:
        """The loss and its terms over rows: `loss` and what it is made of, scalars."""
        terms = self.loss_function(logits, target, experts)
        return {name: term for name, term in terms.items() if name != "experts" or experts is not None}

    def joint_terms(self, found: Mapping[str, Tensor], target: Tensor, coded: Tensor | None) -> dict[str, Tensor]:
        """The loss and its terms from the network's `outputs`, labels `(B, N)` and coded intensities.

        Intensities `(B, N)` are NaN where not coded, and None where nothing is; without an intensity head they do not
        count.
        """
        terms = self.loss_terms(found["logits"], target, found.get("expert_logits"))
        if self.intensity_loss is not None:
            coded = torch.full_like(found["intensity"], torch.nan) if coded is None else coded
            strength = self.intensity_loss(found, coded)
            terms |= {**strength, "loss": terms["loss"] + self.hparams["intensity_weight"] * strength["intensity"]}
        if "time_logits" in found:
            over_time = wa_loss(found["time_logits"], target, self.loss_function.weight)
            terms |= {"time": over_time, "loss": terms["loss"] + over_time}
        if "region_logits" in found:
            regions = region_loss(found["region_logits"], target, self.network.region_heads)
            terms |= {"regions": regions, "loss": terms["loss"] + self.hparams["region_weight"] * regions}
        return terms

    def rows(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch as the network's outputs are: of clips `(B, T, ...)` labels and the like with a row per frame."""
        if self.network.clip_length == 1:
            return dict(batch)
        return {name: one if name == "image" else one.flatten(0, 1) for name, one in batch.items()}

    def batch_terms(
        self, batch: Mapping[str, Tensor], batch_idx: int
    ) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """What the network says about a batch, and the loss with its terms."""
        found = self.network.outputs(batch["image"])
        return found, self.joint_terms(found, batch["label"], batch.get("intensity"))

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """One batch: the loss, or an error that names epoch, batch and AU where it is not finite."""
        batch = self.rows(batch)
        found, terms = self.batch_terms(batch, batch_idx)
        logits, experts = found["logits"], found.get("expert_logits")
        if not torch.isfinite(terms["loss"]):
            where = f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}"
            strength = found.get("intensity")
            raise NonFiniteLossError(
                blame(where, terms["loss"], logits, experts, batch, self.network.au_names, strength)
            )
        # logged once per epoch: `log` costs as much as all else that Lightning does in a step (measured)
        self.sums["rows"] = self.sums.get("rows", 0.0) + len(logits)
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + term.detach() * len(logits)
        return terms["loss"]

    def on_train_epoch_start(self) -> None:
        """Begin the sums of an epoch."""
        self.sums = {}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the learning rate of the step."""
        self.learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self) -> None:
        """Log the mean of the loss and of its terms over the rows, and the learning rate of the last step."""
        rows = self.sums.pop("rows")
        self.log_dict({f"train/{name}": total / rows for name, total in self.sums.items()}, sync_dist=True)
        self.log("train/lr", self.learning_rate)

    def _score_split(self, stage: str) -> None:
        """Score a whole split and log every figure."""
        outputs = self.outputs.compute()
        if self.trainer.sanity_checking or not len(outputs.rows):
            return
        losses = self.joint_terms(outputs.named(), outputs.target.long(), outputs.coded)
        figures = {name: float(value) for name, value in losses.items()}
        figures |= split_scores(outputs, self.network.au_names, self.network.average_heads)
        logged = {f"{stage}/{name}": value for name, value in figures.items()}
        self.log_dict(logged, sync_dist=True, batch_size=len(outputs.rows))
        if stage == "val":
            prob = probabilities(outputs, self.network.average_heads)
            self.validation_rows = {"target": outputs.target.cpu().numpy(), "prob": prob}

    def on_validation_epoch_start(self) -> None:
        """Begin a split."""
        self.outputs.start()

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Gather one batch of a validation or test split."""
        batch, found = self.rows(batch), self.network.outputs(batch["image"])
        self.outputs.update(batch["index"], batch["label"], found, batch.get("intensity"))

    def on_validation_epoch_end(self) -> None:
        """Score the validation split: `val/f1`, `val/f1_AU12`, `val/loss`, ..."""
        self._score_split("val")

    def predict_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Probabilities `(B, N)` of one batch, for `Trainer.predict`."""
        return self(batch["image"])

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Score the test split."""
        self._score_split("test")

    def on_fit_start(self) -> None:
        """Measure the features of the plain ViT, unless a checkpoint brought the statistics; those of rank 0 count."""
        if self.network.has_feature_statistics:
            return
        statistics: Any = None
        if self.trainer.is_global_zero:
            data: Any = getattr(self.trainer, "datamodule", None)
            with self.trainer.precision_plugin.forward_context():
                statistics = measure_features(self.network, data.statistics_dataloader())
        mean, std = self.trainer.strategy.broadcast(statistics)
        self.network.set_feature_statistics(mean.to(self.device), std.to(self.device))

    def configure_optimizers(self) -> Any:
        """AdamW on what is trainable, warm-up and cosine per step."""
        h = self.hparams
        fused = self.trainer.precision != "16-mixed"  # it would hide gradients that a scaler scales from clipping
        optimizer = torch.optim.AdamW(
            parameter_groups(self.network, h["weight_decay"], decay_all=h.get("decay_all", False)),
            lr=h["lr"],
            betas=tuple(h["betas"]),
            fused=fused,
        )
        factor = WarmupCosine(int(self.trainer.estimated_stepping_batches), h["warmup_fraction"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip by norm: Lightning refuses fused optimisers under autocast, although bfloat16 scales no gradients."""
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out; add the header of an adapter file, and the class of a module of ours."""
        frozen = self._frozen()
        state = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name not in frozen}
        plain = {name: value for name, value in self.hparams.items() if name not in (CLASS_PATH, INSTANTIATOR)}
        if type(self).__module__.partition(".")[0] == "auformer":
            plain[CLASS_PATH] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint |= {"state_dict": state, "hyper_parameters": plain, HEADER: json.dumps(describe(self.network))}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over thresholds and crop recipe; refuse other action units, another network or other frozen weights."""
        header = parse_header(checkpoint.get(HEADER), "The run checkpoint")
        check_header(header, self.network, "The run checkpoint")
        adopt_header(header, self.network)

    def _frozen(self) -> set[str]:
        return {f"network.{name}" for name in self.network.frozen_names()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights; nothing is changed unless all fit. Only what is frozen may be missing, and only as a whole.

        Raises:
            CheckpointError: A key is missing or not expected, or a tensor has another shape or type.
        """
        frozen = self._frozen()
        spared = frozen if not frozen & state_dict.keys() else set()
        own = {name: tensor for name, tensor in self.state_dict().items() if name not in spared}
        what = f"The checkpoint does not fit {type(self).__name__} with {len(self.network.au_names)} action units"
        load_tensors(own, state_dict, what)
        return _IncompatibleKeys(sorted(spared), [])

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: Any, map_location: Any = None, *,
        weights_only: bool = True, backbone_checkpoint: str | None = None, **overrides: Any,
    ) -> AUModule:  # fmt: skip
        """Build the module that a run checkpoint holds.

        Args:
            checkpoint_path: A `.ckpt` file of a run.
            map_location: Where to put the tensors; the CPU by default.
            weights_only: Only True: nothing in a checkpoint is ever executed.
            backbone_checkpoint: Local file with the frozen weights, in place of the network's own `checkpoint_path`.
            overrides: Other hyper-parameters that replace those of the file, for example `lr`.

        Raises:
            CheckpointError: See `auformer.models.checkpoints.read_run_checkpoint` and `load_state_dict`; or the file
                holds another class.
        """
        if not weights_only:
            raise ValueError(
                "Expected `weights_only` to be True: auformer executes nothing that a checkpoint holds, but got False"
            )
        path = str(checkpoint_path)
        checkpoint = read_run_checkpoint(path, map_location or "cpu", mmap=map_location is None)
        plain, spec = checkpoint["hyper_parameters"], checkpoint["hyper_parameters"].pop("network")
        class_path = plain.pop(CLASS_PATH, None)
        kind = cls if class_path is None else allowed_class(class_path, cls, MODULES, path)
        odd = sorted(map(str, (plain.keys() | overrides.keys()) - inspect.signature(kind).parameters.keys()))
        if odd:
            raise CheckpointError(f"Expected {path} to hold arguments of {kind.__name__}, but got {', '.join(odd[:5])}")
        if backbone_checkpoint is not None:
            spec = {**spec, "init_args": {**spec["init_args"], "checkpoint_path": backbone_checkpoint}}
        module = kind(**{"network": network_factory(spec, path), **plain, **overrides})
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
        return module if map_location is None else module.to(next(iter(checkpoint["state_dict"].values())).device)


def _weights(factory: Any) -> str | None:
    """The local file with the frozen weights, where a network's factory names one."""
    return getattr(factory, "keywords", {}).get("checkpoint_path")


def _build(
    factory: Any, au_names: list[str], *, expert_heads: bool, intensity: bool
) -> tuple[AUNetwork, dict[str, Any]]:
    """A network, without the heads that get no gradient, and how it is named in a configuration."""
    words = (factory.func, *factory.args) if isinstance(factory, partial) else ()
    place = next((number for number, word in enumerate(words) if isinstance(word, type)), None)
    if place is None:
        raise ValueError(f"Expected `network` to be a functools.partial of a network's class, but got {factory!r}")
    kind: Any = words[place]  # the parser has words of its own before it
    given = inspect.signature(kind).bind_partial(*words[place + 1 :], **factory.keywords)
    arguments = json.loads(json.dumps(given.arguments, default=str))
    if not expert_heads and "expert_heads" in inspect.signature(kind).parameters:
        arguments["expert_heads"] = False
    if not intensity:
        arguments.pop("intensity", None)
    class_path = f"{kind.__module__}.{kind.__qualname__}"
    network = network_class(class_path, "`network`")(au_names=au_names, **arguments)
    return network, {"class_path": class_path, "init_args": arguments}
