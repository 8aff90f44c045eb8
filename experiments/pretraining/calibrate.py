"""One temperature per action unit, so that probabilities mean what they say; part of `train_demo_detector`.

Fitted on rendered validation subjects only, by the likelihood of their labels. A temperature divides the logits of both
heads; it is multiplied into their last weights, so that nobody who reads the file has to know of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.utils.data import DataLoader

from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest
from auformer.models import AUFormer, load_detector
from auformer.models.adapter_file import save_adapter
from auformer.training.scores import tune_thresholds

WIDEST = 4.0  # temperatures lie between 1/4 and 4 [ours]
KEY = "temperatures"  # in the header's extra


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature of the smallest cross-entropy of the heads' mean probability.

    Args:
        logits: `(H, n)`, of H heads.
        target: `(n,)`, 1, 0, or -1 for not annotated.
    """
    known = target >= 0
    logits, truth = logits[:, known], target[known]

    def loss(log_temperature: float) -> float:
        prob = np.clip((1 / (1 + np.exp(-logits / np.exp(log_temperature)))).mean(0), 1e-7, 1 - 1e-7)
        return float(-(truth * np.log(prob) + (1 - truth) * np.log(1 - prob)).mean())

    bound = float(np.log(WIDEST))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


@torch.no_grad()
def validation_logits(network: AUFormer, manifests: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Logits of both heads `(2, n, N)` and labels `(n, N)` of all rows of manifests."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for path in manifests:
        rows = AUDataset(read_manifest(path), Path(path).parent, network.au_names, network.image_size)
        for batch in DataLoader(rows, batch_size=64):
            said = network.outputs(batch["image"])
            found.append((said["logits"], said["expert_logits"], batch["label"]))
    main, expert, target = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return np.stack([main, expert]), target


@torch.no_grad()
def divide_heads(network: AUFormer, by: Sequence[float]) -> None:
    """Divide the logits of both heads by a number per AU, in their last weights."""
    if network.expert_heads is None:
        raise ValueError("Expected an AUFormer with both heads")
    last, divisor = network.head.fc2, torch.tensor(by)
    for weight, bias in ((last.weight, last.bias), (network.expert_heads.weight, network.expert_heads.bias)):
        weight.div_(divisor[:, None])
        bias.div_(divisor)


def calibrate(adapter: Path, manifests: Sequence[str]) -> dict[str, float]:
    """Multiply the temperatures into an adapter file's heads, choose its thresholds again; the temperatures by AU."""
    network = load_detector(adapter)
    if not isinstance(network, AUFormer) or not network.average_heads:
        raise ValueError(f"Expected the adapter file of an AUFormer with both heads, but got {adapter}")
    logits, target = validation_logits(network, manifests)
    found = [fit_temperature(logits[:, :, place], target[:, place]) for place in range(len(network.au_names))]
    divide_heads(network, found)
    probs = (1 / (1 + np.exp(-logits / np.asarray(found)))).mean(0)
    temperatures = dict(zip(network.au_names, (round(one, 3) for one in found), strict=True))
    thresholds = tune_thresholds(prob=probs, target=target, au_names=network.au_names)
    extra = {**(network.metadata.get("extra") or {}), KEY: temperatures}
    save_adapter(adapter, network, thresholds=thresholds, extra=extra)
    return temperatures
