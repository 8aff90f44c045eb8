"""AUNCE in two runs of `fit`: contrast trains the encoder, then a probe is trained on the frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from auformer.contrast import BETA_NEGATIVE, BETA_POSITIVE, contrastive_loss, two_way_loss
from auformer.models.checkpoints import load_adapter, resolve_checkpoint
from auformer.models.contrastive import ContrastNetwork
from auformer.training.module import AUModule, NetworkFactory

MEMORY = "contrast_memory"  # its key in a run checkpoint
LAST_EPOCH = 0.1  # factor on the learning rate in the last epoch of the released schedule


class AUNCEModule(AUModule):
    """Trains a network of `auformer.models.contrastive` in one of two stages.

    `contrast` trains all but the probe on two views of each image (`data.views: 2`); there is no F1 to choose an epoch
    by, so `select: last`. `probe` trains the probe alone, on the encoder of `start`, the adapter file of the first
    stage. To train both at once by labels, take `AUModule`.

    Args:
        network: The network, see `AUModule`.
        au_names: Action units in the order of the labels.
        au_weights: Weight of each in the probe's loss.
        stage: `contrast` or `probe`.
        start: Adapter file of a `contrast` run, or its folder, for the stage `probe`.
        form: Of the contrastive loss, `corrected` or `released`, see `contrastive_loss`.
        beta_positive: Exponent of negatives for anchors whose action unit is active.
        beta_negative: The same for inactive; 0.4 in the first release.
        weighted: Weigh action units in contrast too, as the first release did.
        memory: Features of so many earlier images are further negatives [ours]; 0: none.
        encoder_mode: Of the frozen encoder while the probe is trained: `eval`, or `train` as released, where its
            BatchNorm goes on to learn.
        schedule: Of the learning rate: `cosine` as everywhere here, or `released`: constant, a tenth in the last epoch.
        lr: Highest learning rate; 1e-5 for contrast and 1e-3 for the probe as released.
        weight_decay: Decay of AdamW; 1e-6 as released.
        betas: Betas of AdamW.
        warmup_fraction: Fraction of the steps over which the rate rises, with `cosine`.
        seed: Of the draws that decide what a positive is.

    Raises:
        ValueError: An argument is out of range, or `start` does not fit the stage.
        CheckpointError: `start` does not fit the network.
    """

    network: Any

    def __init__(
        self,
        network: NetworkFactory,
        au_names: list[str],
        au_weights: list[float],
        stage: Literal["contrast", "probe"] = "contrast",
        start: str | None = None,
        form: Literal["released", "corrected"] = "corrected",
        beta_positive: float = BETA_POSITIVE,
        beta_negative: float = BETA_NEGATIVE,
        weighted: bool = False,
        memory: int = 0,
        encoder_mode: Literal["eval", "train"] = "eval",
        schedule: Literal["cosine", "released"] = "cosine",
        lr: float = 1e-3,
        weight_decay: float = 1e-6,
        betas: list[float] = [0.9, 0.999],  # noqa: B006 (a plain list, never changed: what YAML and checkpoints hold)
        warmup_fraction: float = 0.08,
        seed: int = 0,
    ) -> None:
        if (stage == "probe") != (start is not None):
            raise ValueError(
                f"Expected `start`, the adapter file of a contrast run, for the stage probe and only there, "
                f"but got stage {stage!r} and {start!r}"
            )
        if memory < 0 or min(beta_positive, beta_negative) <= 0:
            got = f"{memory}, {beta_positive} and {beta_negative}"
            raise ValueError(f"Expected `memory` of 0 or more and exponents above 0, but got {got}")
        super().__init__(
            network, au_names, au_weights, loss="weighted_bce", dice_weight=0.0, lr=lr, weight_decay=weight_decay,
            betas=betas, warmup_fraction=warmup_fraction,
        )  # fmt: skip
        own: dict[str, Any] = {
            "stage": stage, "start": start, "form": form, "beta_positive": beta_positive,
            "beta_negative": beta_negative, "weighted": weighted, "memory": memory, "encoder_mode": encoder_mode,
            "schedule": schedule, "seed": seed,
        }  # fmt: skip
        for name in set(self.hparams) - {"network", "au_names", "au_weights", *own, *_SHARED}:
            del self.hparams[name]
        self.hparams.update({**own, "decay_all": True})
        if not isinstance(self.network, ContrastNetwork):
            raise ValueError(
                f"Expected a network of auformer.models.contrastive, but got {type(self.network).__name__}"
            )
        if start is not None:
            load_adapter(resolve_checkpoint(start), self.network)
        probe = self.network.probe_names()
        for name, parameter in self.network.named_parameters():
            if not (self.network.frozen and name.startswith("backbone.")):
                parameter.requires_grad_((name in probe) == (stage == "probe"))
        self._memory: tuple[Tensor, Tensor] | None = None
        self.train()  # Lightning does not call it before the first batch

    def train(self, mode: bool = True) -> AUNCEModule:
        """Set training mode; under the probe the encoder stays as `encoder_mode` says."""
        super().train(mode)
        frozen = self.hparams.get("stage") == "probe" and self.hparams.get("encoder_mode") == "eval"
        if mode and frozen:
            self.network.eval()
        return self

    def draws(self) -> Tensor:
        """One number in [0, 1) per action unit, a function of (seed, step)."""
        generator = torch.Generator().manual_seed(1_000_003 * int(self.hparams["seed"]) + self.global_step)
        return torch.rand(len(self.network.au_names), generator=generator).to(self.device)

    def batch_terms(
        self, batch: Mapping[str, Tensor], batch_idx: int
    ) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """The probe's logits, and the loss of the stage."""
        images, weight = batch["image"], self.loss_function.weight
        if self.hparams["stage"] == "probe":
            found = self.network.outputs(images)
            two = torch.stack([found["logits"], torch.zeros_like(found["logits"])], 1)
            loss = two_way_loss(two, batch["label"], weight)
            return found, {"loss": loss, "probe": loss}
        if images.ndim != 5 or images.shape[1] != 2:
            raise ValueError(
                f"Expected two views of each image for contrast (`data.views: 2`), but got {tuple(images.shape)}"
            )
        first, second = self.network.features(images[:, 0]), self.network.features(images[:, 1])
        loss = contrastive_loss(
            first, second, batch["label"], self.draws(), form=self.hparams["form"],
            beta=(self.hparams["beta_positive"], self.hparams["beta_negative"]),
            weight=weight if self.hparams["weighted"] else None, memory=self._memory,
        )  # fmt: skip
        self._remember(first, batch["label"])
        return {"logits": self.network.probe(first.detach())}, {"loss": loss, "contrast": loss}

    def _remember(self, features: Tensor, target: Tensor) -> None:
        """Keep features of this batch for the next ones."""
        size = int(self.hparams["memory"])
        if size:
            now = (features.detach(), target)
            old = (now[0][:0], now[1][:0]) if self._memory is None else self._memory
            kept, labels = (torch.cat([before.to(new), new])[-size:] for before, new in zip(old, now, strict=True))
            self._memory = (kept, labels)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As `AUModule`, with the memory."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["hyper_parameters"].pop("decay_all", None)
        if self._memory is not None:
            checkpoint[MEMORY] = [one.cpu() for one in self._memory]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As `AUModule`, with the memory."""
        super().on_load_checkpoint(checkpoint)
        if MEMORY in checkpoint:
            self._memory = (checkpoint[MEMORY][0].to(self.device), checkpoint[MEMORY][1].to(self.device))

    def configure_optimizers(self) -> Any:
        """AdamW on what the stage trains; the schedule as asked for."""
        made = super().configure_optimizers()
        if self.hparams["schedule"] == "released":
            steps, epochs = int(self.trainer.estimated_stepping_batches), int(self.trainer.max_epochs or 1)
            last = steps - steps // epochs
            optimizer = made["optimizer"]
            factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < last else LAST_EPOCH)
            made["lr_scheduler"] = {"scheduler": factor, "interval": "step"}
        return made


_SHARED = ("lr", "weight_decay", "betas", "warmup_fraction")  # arguments of AUModule that it has too
