"""Rivals of AUFormer under the same loss, optimiser and standardised features: only the network differs."""

from __future__ import annotations

from auformer.lit import AUModule
from auformer.models import AUNetwork, FullFineTuning, LinearProbe


class LinearProbeModule(AUModule):
    """Trains a linear map on the pooled features of the frozen ViT; arguments of the experts are not used."""

    def build_network(self) -> AUNetwork:
        """The linear probe, from the hyper-parameters."""
        h = self.hparams
        return LinearProbe(
            h["backbone"], h["au_names"], pretrained=h["pretrained"], checkpoint_path=h["checkpoint_path"],
            img_size=h["img_size"], pool=h["pool"],
        )  # fmt: skip


class FullFineTuningModule(AUModule):
    """Trains every parameter of the ViT below the head of AUFormer; arguments of the experts are not used.

    Its learning rate is another one: 3e-4; from 2e-3 on it collapses (experiments/results/demo.md).
    """

    def build_network(self) -> AUNetwork:
        """The whole ViT, from the hyper-parameters."""
        h = self.hparams
        return FullFineTuning(
            h["backbone"], h["au_names"], pretrained=h["pretrained"], checkpoint_path=h["checkpoint_path"],
            img_size=h["img_size"], pool=h["pool"],
        )  # fmt: skip
