"""Rivals of AUFormer under the same loss, optimiser and standardised features: only the network differs."""

from __future__ import annotations

from typing import Any, ClassVar

from auformer.models import AUNetwork
from auformer.models.baselines import (
    SSF,
    AdaptFormer,
    BitFit,
    Convpass,
    FullFineTuning,
    HoulsbyAdapter,
    LastBlocks,
    LinearProbe,
    LoRA,
    VPTDeep,
)
from auformer.training.module import AUModule


class RivalModule(AUModule):
    """Base of the rivals: trains another network, `network_class`; arguments of the experts are not used.

    Attributes:
        network_class: The network.
        size_argument: Which of its arguments `adapter_size` is; None where it has no such size.
    """

    network_class: ClassVar[Any] = AUNetwork
    size_argument: ClassVar[str | None] = None

    def build_network(self) -> AUNetwork:
        """The rival's network, from the hyper-parameters."""
        h, kind = self.hparams, self.network_class
        if h["adapter_size"] is not None and self.size_argument is None:
            raise ValueError(
                f"Expected no `adapter_size` for {kind.__name__}, which has no such size, but got {h['adapter_size']}"
            )
        own = {} if h["adapter_size"] is None else {str(self.size_argument): h["adapter_size"]}
        return kind(
            h["backbone"], h["au_names"], pretrained=h["pretrained"], checkpoint_path=h["checkpoint_path"],
            img_size=h["img_size"], pool=h["pool"], **own,
        )  # fmt: skip


class LinearProbeModule(RivalModule):
    """Trains a linear map on the pooled features of the frozen ViT."""

    network_class = LinearProbe


class FullFineTuningModule(RivalModule):
    """Trains every parameter of the ViT below the head of AUFormer.

    Its learning rate is another one: 3e-4; from 2e-3 on it collapses (experiments/results/demo.md).
    """

    network_class = FullFineTuning


class LastBlocksModule(RivalModule):
    """Trains the last blocks of the ViT; `adapter_size`: how many."""

    network_class = LastBlocks
    size_argument = "num_blocks"


class BitFitModule(RivalModule):
    """Trains the biases of the ViT."""

    network_class = BitFit


class LoRAModule(RivalModule):
    """Trains updates of low rank to the linear maps of the ViT; `adapter_size`: their rank."""

    network_class = LoRA
    size_argument = "rank"


class HoulsbyAdapterModule(RivalModule):
    """Trains bottlenecks after every sub-layer, and the norms; `adapter_size`: width of the bottlenecks."""

    network_class = HoulsbyAdapter
    size_argument = "width"


class AdaptFormerModule(RivalModule):
    """Trains a bottleneck beside every MLP; `adapter_size`: its width."""

    network_class = AdaptFormer
    size_argument = "width"


class ConvpassModule(RivalModule):
    """Trains a convolutional bypass beside every sub-layer; `adapter_size`: its channels."""

    network_class = Convpass
    size_argument = "width"


class VPTDeepModule(RivalModule):
    """Trains prompts in every block; `adapter_size`: how many per block."""

    network_class = VPTDeep
    size_argument = "num_prompts"


class SSFModule(RivalModule):
    """Trains a scale and a shift after every operation of the ViT."""

    network_class = SSF
