"""Mean and deviation of the plain ViT's pooled features, for the head's standardisation (method.md 3.2).

The Lightning module: one shared step, the optimiser, scores over whole parts, checkpoints without frozen weights.

More than 250 lines, because a third of them are the arguments of one class and what each means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from auformer.losses import AULoss
from auformer.models import AUFormer, AUNetwork
from auformer.models.checkpoints import check_checkpoint, complete_checkpoint, load_module, load_weights
from auformer.training.optimiser import WarmupCosine, parameter_groups
from auformer.training.scores import NonFiniteLossError, PartOutputs, blame, part_scores, probabilities


@torch.no_grad()
def measure_features(network: AUNetwork, batches: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Measure `network.pooled_features` over training images.

    The network is in eval mode meanwhile (BatchNorm of a convolutional stem must not learn from it), and gets its modes back.

    Args:
        network: The network; its backbone is still the plain, pre-trained one.
        batches: Dicts with `image (B, 3, H, W)`, without augmentation.

    Returns:
        Mean and standard deviation `(D,)`, float32 on the CPU; added up in float64, so that the batch size does not matter.

    Raises:
        ValueError: There are fewer than two images.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    device = next(network.parameters()).device
    total, squares, count = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 0
    shift = None  # features near a large mean lose digits in E[x^2] - E[x]^2; the first batch's mean is close enough to take them off
    try:
        for batch in batches:
            features = network.pooled_features(batch["image"].to(device)).double().cpu()
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


class AUModule(pl.LightningModule):
    """Trains AUFormer. A rival method is a subclass that overrides `build_network`.

    Batches are dicts: `image (B, 3, H, W)` float in [0, 1], `label (B, N)` in {1, 0, -1}, `index (B,)` the row in its part.

    Args:
        au_names: Action units in the order of the labels.
        au_weights: Weight of each in the loss, see `auformer.losses.au_weights`.
        backbone: Name of a timm ViT [ours: the paper's size and weights are not in our sources].
        pretrained: Load its weights through timm.
        checkpoint_path: Load them from a local file instead.
        img_size: Image size in pixels, one number or `[H, W]`; the backbone's own by default.
        expert_width: Bottleneck channels `R` of one expert.
        dilations: Dilations of the multi-receptive-field branch; an empty list leaves it out.
        window: Odd side of the context operator's neighbourhood; 0 leaves it out.
        pool: `avg` (mean of the patch tokens) or `token` (the class token).
        average_heads: Predict the mean of both heads' probabilities, where `expert_loss_weight` trains both, instead of the main head's.
        loss: Of main head and expert heads: `mdwa` (the paper's), `wa`, `asl`, `focal`, `bce` or `weighted_bce`, see `AULoss`.
        margin: Margin of MDWA, in [0, 1).
        gamma_low: Exponent of the AU with the smallest weight.
        gamma_high: Exponent of the AU with the largest weight.
        dice_weight: Factor of the Dice term.
        expert_loss_weight: Factor of the expert heads' term; with 0 the expert heads are not built.
        lr: Highest learning rate.
        weight_decay: Decay of AdamW; biases, norms and other vectors have none.
        betas: Betas of AdamW.
        warmup_fraction: Part of the optimiser steps over which the learning rate rises; then it falls as a cosine.
        experts_beside: `both` sub-layers of a block, or only its `attention` or its `mlp`.
        carry: Hand each expert its own output in the previous group.
        shared_expert: One expert for all action units.
        blocks: Which blocks have experts: `all`, `first_half` or `last_half`.
        recompute: What AUFormer computes again for the backward pass to save memory: `nothing`, the inside of its `experts`, or `blocks`.
        adapter_size: Of a rival only: width, rank, or number of prompts or blocks of what it trains; its paper's by default.

    Raises:
        ValueError: Names and weights differ in number, or an argument is out of its range.
    """

    network: AUNetwork

    def __init__(
        self,
        au_names: list[str],
        au_weights: list[float],
        backbone: str = "vit_base_patch16_224.augreg_in21k",
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        img_size: int | list[int] | None = None,
        expert_width: int = 8,
        dilations: list[int] = [1, 3, 5],  # noqa: B006 (a plain list, never changed: what YAML and checkpoints hold)
        window: int = 3,
        pool: str = "avg",
        average_heads: bool = True,
        loss: Literal["mdwa", "wa", "asl", "focal", "bce", "weighted_bce"] = "mdwa",
        margin: float = 0.05,
        gamma_low: float = 1.0,
        gamma_high: float = 2.0,
        dice_weight: float = 1.0,
        expert_loss_weight: float = 1.0,
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        betas: list[float] = [0.9, 0.99],  # noqa: B006
        warmup_fraction: float = 0.08,
        experts_beside: Literal["both", "attention", "mlp"] = "both",
        carry: bool = True,
        shared_expert: bool = False,
        blocks: Literal["all", "first_half", "last_half"] = "all",
        recompute: Literal["nothing", "experts", "blocks"] = "nothing",
        adapter_size: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if len(au_names) != len(au_weights):
            raise ValueError(
                f"Expected `au_weights` to hold one weight per AU, {len(au_names)}, but got {len(au_weights)}"
            )
        if lr <= 0 or len(betas) != 2:
            raise ValueError(f"Expected `lr` to be above 0 and `betas` to be two numbers, but got {lr} and {betas}")
        self.loss_function = AULoss(
            torch.tensor(au_weights, dtype=torch.float32),
            kind=loss, margin=margin, gamma_low=gamma_low, gamma_high=gamma_high, dice_weight=dice_weight, expert_weight=expert_loss_weight,
        )  # fmt: skip
        self.network = self.build_network()
        self.learning_rate = 0.0
        self.sums: dict[str, Any] = {}  # `rows`, and each term of the loss times its rows, over the epoch
        self.validation_part: dict[
            str, Any
        ] = {}  # `target`, `prob` `(n, N)` of the last validation: to choose thresholds from
        self.outputs = PartOutputs(len(au_names), experts=getattr(self.network, "expert_heads", None) is not None)

    def build_network(self) -> AUNetwork:
        """The network to train, from the hyper-parameters."""
        if (h := self.hparams)["adapter_size"] is not None:
            raise ValueError(
                f"Expected `adapter_size` for a rival only, but got {h['adapter_size']} for AUFormer: it has `expert_width`"
            )
        return AUFormer(
            h["backbone"], h["au_names"], pretrained=h["pretrained"], checkpoint_path=h["checkpoint_path"], img_size=h["img_size"],
            expert_width=h["expert_width"], dilations=h["dilations"], window=h["window"], pool=h["pool"],
            expert_heads=h["expert_loss_weight"] > 0, average_heads=h["average_heads"],
            experts_beside=h["experts_beside"], carry=h["carry"], shared_expert=h["shared_expert"], blocks=h["blocks"],
            recompute=h["recompute"],
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, 3, H, W)` in [0, 1] to probabilities `(B, N)`, as the network predicts them."""
        return self.network.predict_probs(images)

    def loss_terms(self, logits: Tensor, target: Tensor, experts: Tensor | None) -> dict[str, Tensor]:
        """The loss and its terms over rows: `loss` and what it is made of, scalars."""
        terms = self.loss_function(logits, target, experts)
        return {name: term for name, term in terms.items() if name != "experts" or experts is not None}

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """One batch: the loss, or an error that names epoch, batch and AU where it is not finite."""
        logits, experts = self.network.forward_all(batch["image"])
        terms = self.loss_terms(logits, batch["label"], experts)
        if not torch.isfinite(terms["loss"]):
            where = f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}"
            raise NonFiniteLossError(blame(where, terms["loss"], logits, experts, batch, self.network.au_names))
        # summed here and logged once per epoch: `log` in every step costs as much as all else that Lightning does in a step (measured)
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

    def _part_end(self, stage: str) -> None:
        """Score a whole part and log every figure."""
        part = self.outputs.compute()
        if self.trainer.sanity_checking or not len(part.rows):
            return
        losses, average = (
            self.loss_terms(part.logits, part.target.long(), part.experts),
            bool(self.hparams["average_heads"]),
        )
        figures = {
            **{name: float(value) for name, value in losses.items()},
            **part_scores(part, self.network.au_names, average),
        }
        self.log_dict(
            {f"{stage}/{name}": value for name, value in figures.items()}, sync_dist=True, batch_size=len(part.rows)
        )
        if stage == "val":
            self.validation_part = {"target": part.target.cpu().numpy(), "prob": probabilities(part, average)}

    def on_validation_epoch_start(self) -> None:
        """Begin a part."""
        self.outputs.start()

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Gather one batch of a validation or test part."""
        logits, experts = self.network.forward_all(batch["image"])
        self.outputs.update(batch["index"], batch["label"], logits, experts)

    def on_validation_epoch_end(self) -> None:
        """Score the validation part: `val/f1`, `val/f1_AU12`, `val/loss`, ..."""
        self._part_end("val")

    def predict_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Probabilities `(B, N)` of one batch, for `Trainer.predict`."""
        return self(batch["image"])

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Score the test part."""
        self._part_end("test")

    def on_fit_start(self) -> None:
        """Measure the features of the plain ViT on training images, unless a checkpoint brought the statistics; rank 0's count for all."""
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
        fused = (
            self.trainer.precision != "16-mixed"
        )  # with a gradient scaler, the fused step would hide the scaled gradients from clipping
        optimizer = torch.optim.AdamW(
            parameter_groups(self.network, h["weight_decay"]), lr=h["lr"], betas=tuple(h["betas"]), fused=fused
        )
        factor = WarmupCosine(int(self.trainer.estimated_stepping_batches), h["warmup_fraction"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm ourselves: Lightning refuses fused optimisers under autocast, although bfloat16 scales no gradients."""
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            torch.nn.utils.clip_grad_norm_(
                [one for group in optimizer.param_groups for one in group["params"]], gradient_clip_val
            )
        elif gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out, add the header of an adapter file."""
        complete_checkpoint(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse other action units, another network or other frozen weights."""
        check_checkpoint(self, checkpoint)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights; only the backbone of a network that keeps it frozen may be missing, and it is missing as a whole.

        Raises:
            CheckpointError: A key is missing or not expected, or a tensor has another shape or type.
        """
        return load_weights(self, state_dict)

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
            backbone_checkpoint: Local file with the frozen weights, in place of the hyper-parameter `checkpoint_path` of the file.
            overrides: Other hyper-parameters that replace those of the file, for example `lr`.

        Raises:
            CheckpointError: See `auformer.models.checkpoints.read_checkpoint` and `load_weights`.
        """
        if not weights_only:
            raise ValueError(
                "Expected `weights_only` to be True: auformer executes nothing that a checkpoint holds, but got False"
            )
        local = {} if backbone_checkpoint is None else {"checkpoint_path": backbone_checkpoint}
        return load_module(cls, checkpoint_path, map_location, {**overrides, **local})
