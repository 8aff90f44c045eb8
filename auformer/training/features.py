"""Mean and deviation of the plain ViT's pooled features, for the head's standardisation (method.md 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from auformer.models import AUNetwork


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
