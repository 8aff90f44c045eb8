"""Scores over a whole split: what the heads say about its rows, over all ranks, and thresholds chosen on them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from auformer.agreement import agreement_sums, icc_from_sums, mae_from_sums
from auformer.metrics import auroc, confusion_counts, f1_from_counts, mean_f1, mean_over_aus
from auformer.models.intensity import LEVELS


class Outputs(NamedTuple):
    """The gathered rows of a split in its order, each once.

    Args:
        rows: Row of the split `(n,)`.
        target: Labels `(n, N)` in {1, 0, -1}.
        logits: Logits of the main head `(n, N)`.
        experts: Logits of the expert heads `(n, N)`, or None.
        coded: Intensities `(n, N)` in [0, 5], NaN where not coded; None without an intensity head.
        intensity: Predicted intensities `(n, N)`, or None.
        level_logits: Logits of their levels `(n, N, 5)`, of the form `ordinal`, or None.
    """

    rows: Tensor
    target: Tensor
    logits: Tensor
    experts: Tensor | None
    coded: Tensor | None = None
    intensity: Tensor | None = None
    level_logits: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """What the heads say, by name as in `AUNetwork.outputs`."""
        found = {"logits": self.logits, "expert_logits": self.experts, "intensity": self.intensity}
        return {name: one for name, one in {**found, "level_logits": self.level_logits}.items() if one is not None}


# the state that each part of the outputs is kept in, by its name in `AUNetwork.outputs`
PARTS = {"logits": "logits", "experts": "expert_logits", "intensity": "intensity", "level_logits": "level_logits"}


class OutputCollector(Metric):
    """Collects labels and logits per row; rows that several ranks or batches bring are counted once.

    Scores over a split are not means over batches, and under DDP a sampler may repeat rows to even out the ranks. So
    the rows themselves are gathered (a few bytes each) and the first of every row id is kept.
    """

    full_state_update = False
    index: list[Tensor]
    target: list[Tensor]

    def __init__(self, num_aus: int, *, experts: bool, intensity: str = "none") -> None:
        super().__init__()
        self.num_aus = num_aus
        there = {"logits": True, "experts": experts, "coded": intensity != "none", "intensity": intensity != "none"}
        there["level_logits"] = intensity == "ordinal"
        self.parts = [name for name, kept in there.items() if kept]
        for name in ("index", "target", *self.parts):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def start(self) -> None:
        """Forget everything; a rank that meets no batch then still has something of the right shape to gather."""
        self.reset()
        empty = torch.zeros(0, self.num_aus, device=self.device)
        found = dict.fromkeys(PARTS.values(), empty) | {"level_logits": empty.unsqueeze(-1).expand(-1, -1, LEVELS)}
        self.update(empty[:, 0].long(), empty.long(), found, empty)

    def update(self, index: Tensor, target: Tensor, found: Mapping[str, Tensor], coded: Tensor | None = None) -> None:
        """Add one batch: row ids `(B,)`, labels `(B, N)`, the network's `outputs`, and intensities `(B, N)`.

        Rows with the id -1, which pad short clips, are left out.
        """
        real = index >= 0
        self.index.append(index[real])
        self.target.append(target[real].to(torch.int8))
        for name in self.parts:
            if name == "coded":
                part = torch.full_like(found["intensity"], torch.nan) if coded is None else coded
            else:
                part = found[PARTS[name]]
            getattr(self, name).append(part.detach()[real].float())

    def compute(self) -> Outputs:
        """All rows of all ranks, in order, each once."""
        index = dim_zero_cat(self.index)
        order = torch.argsort(index, stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        kept = order[first]
        parts: dict[str, Any] = {name: dim_zero_cat(getattr(self, name))[kept] for name in self.parts}
        parts.setdefault("experts", None)
        return Outputs(index[kept], dim_zero_cat(self.target)[kept], **parts)


class NonFiniteLossError(ValueError):
    """The training loss became NaN or infinite; the message names epoch, batch and action units."""


def probabilities(outputs: Outputs, average_heads: bool) -> np.ndarray:
    """Predicted probabilities `(n, N)`: the main head's, or with `average_heads` the mean of both heads'."""
    main = outputs.logits.sigmoid()
    if average_heads and outputs.experts is not None:
        main = (main + outputs.experts.sigmoid()) / 2
    return main.cpu().numpy()


def split_scores(outputs: Outputs, au_names: Sequence[str], average_heads: bool) -> dict[str, float]:
    """Figures of one split at threshold 0.5; with `average_heads` the prediction is the mean of both heads.

    Returns:
        `f1` (mean over the AUs that have positives), `num_aus` (how many those are), `f1_AU12` (NaN where there is no
        positive), `auroc` (mean over the AUs where it is defined); with expert heads also `f1_main`, `f1_experts`,
        `f1_both`; with an intensity head also `icc` (ICC(3,1), mean over the AUs where it is defined), `icc_AU12` and
        `mae` (mean absolute error in levels, likewise). Rates 0 to 1.

    Raises:
        ValueError: No action unit has a positive row, so there is no F1 at all.
    """
    target = outputs.target.cpu().numpy()
    predicted = probabilities(outputs, average_heads)
    f1 = f1_from_counts(confusion_counts(target, predicted))
    mean = mean_over_aus(f1)
    if not mean.num:
        raise ValueError(
            f"Expected a split with at least one active action unit, but got none in its {len(target)} rows"
        )
    scores = {"f1": mean.value, "num_aus": float(mean.num), "auroc": mean_over_aus(auroc(target, predicted)).value}
    scores |= {f"f1_{name}": float(value) for name, value in zip(au_names, f1, strict=True)}
    if outputs.experts is not None:
        heads = {
            "main": probabilities(outputs, False),
            "experts": outputs.experts.sigmoid().cpu().numpy(),
            "both": probabilities(outputs, True),
        }
        scores |= {f"f1_{head}": mean_f1(confusion_counts(target, prob)).value for head, prob in heads.items()}
    if outputs.coded is not None and outputs.intensity is not None:
        sums = agreement_sums(outputs.coded.cpu().numpy(), outputs.intensity.cpu().numpy())
        icc = icc_from_sums(sums)
        scores |= {"icc": mean_over_aus(icc).value, "mae": mean_over_aus(mae_from_sums(sums)).value}
        scores |= {f"icc_{name}": float(value) for name, value in zip(au_names, icc, strict=True)}
    return scores


def blame(
    where: str,
    loss: Tensor,
    logits: Tensor,
    experts: Tensor | None,
    batch: Mapping[str, Tensor],
    au_names: Sequence[str],
    intensity: Tensor | None = None,
) -> str:
    """Message about a loss that is not finite, in `where`: action units and rows whose logits are not finite.

    Where all logits are finite it names the AU with the largest one. Logits and predicted intensities are `(B, N)`.
    """
    both = torch.cat([one for one in (logits, experts, intensity) if one is not None]).detach().float()
    rows = ~torch.isfinite(logits.detach()).all(1)
    wrong = (~torch.isfinite(both)).any(0).tolist()
    names = list(itertools.compress(au_names, wrong)) or [au_names[int(both.abs().amax(0).argmax())]]
    details = [f"action units {', '.join(names)}"]
    if known := batch["index"][rows].tolist()[:5]:
        details.append(f"rows {known} of the training split")
    if not torch.isfinite(batch["image"]).all():
        details.append(f"images that are not finite in {len(batch['image'])} rows")
    return (
        f"Expected a finite loss, but got {float(loss.detach())} in {where} ({'; '.join(details)}). "
        f"Lower the learning rate, or train in 32-true precision; labels and images of these rows may be broken too."
    )


LOWEST, HIGHEST = 0.05, 0.95  # a threshold outside says that the validation rows are too few to choose one [ours]


def tune_thresholds(target: Any, prob: Any, au_names: Sequence[str]) -> dict[str, float]:
    """Choose the threshold with the highest F1 for each action unit [ours].

    Candidates lie halfway between neighbouring probabilities; of several equally good ones the one nearest 0.5 is
    taken.

    Args:
        target: Labels `(n, N)`: 1, 0, and -1 or NaN where not annotated.
        prob: Predicted probabilities `(n, N)`.
        au_names: Names of the action units, `N`.

    Returns:
        Threshold per name in [0.05, 0.95]; 0.5 for an action unit without a positive or without a negative row.

    >>> tune_thresholds([[1], [1], [0], [0]], [[0.4], [0.3], [0.2], [0.1]], ["AU12"])
    {'AU12': 0.25}
    """
    labels, probs = np.asarray(target, dtype=np.float64), np.asarray(prob, dtype=np.float64)
    if labels.shape != probs.shape or labels.ndim != 2 or labels.shape[1] != len(au_names):
        raise ValueError(
            f"Expected `target` and `prob` to have shape (n, {len(au_names)}), but got {labels.shape} and {probs.shape}"
        )
    return {name: _best(labels[:, i], probs[:, i]) for i, name in enumerate(au_names)}


def _best(target: np.ndarray, prob: np.ndarray) -> float:
    known = (target == 0) | (target == 1)
    order = np.argsort(-prob[known], kind="stable")
    ranked, labels = prob[known][order], target[known][order]
    positives = labels.sum()
    if positives in (0, len(labels)):
        return 0.5
    edges = np.concatenate([[0.0], np.unique(ranked), [1.0]])
    candidates = np.clip((edges[1:] + edges[:-1]) / 2, LOWEST, HIGHEST)
    called = np.searchsorted(-ranked, -candidates, side="right")  # rows with a probability of at least the candidate
    hits = np.concatenate([[0.0], np.cumsum(labels)])[called]
    f1 = 2 * hits / (called + positives)  # 2 TP / (2 TP + FP + FN)
    best = candidates[f1 >= f1.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])
