"""How strongly, not only whether: a head for intensities of 0 to 5 on the streams that occurrence is read from [ours].

A score per action unit (AU) is the sum of two: a map of the standardised pooled features, as of the main head, and,
where the network has experts, a linear map of what the AU's own expert handed on last, averaged over the grid. One of
two forms makes an intensity of it:

* `regression`: `5 sigmoid(z)`;
* `ordinal`: cumulative links (McCullagh, "Regression models for ordinal data", JRSS B 1980): `P(y >= k) =
  sigmoid(z - theta_k)` for the levels k = 1 to 5 with `theta_1 = 0` and every further threshold above the one before by
  a softplus, so that it never rises with k; the intensity is the expectation `sum_k P(y >= k)`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORMS = ("none", "regression", "ordinal")
LEVELS = 5  # FACS scores a trace as A = 1 and the maximum as E = 5; 0 is absent
GAP_BIAS = 0.5413248546129181  # softplus of it is 1: thresholds start one unit of the score apart [ours]


def check_form(intensity: str) -> None:
    """Refuse a form that there is not.

    Raises:
        ValueError: Names the forms.
    """
    if intensity not in FORMS:
        raise ValueError(f"Expected `intensity` to be one of {', '.join(FORMS)}, but got {intensity!r}")


class IntensityHead(nn.Module):
    """Intensities of `N` action units from pooled features and, where there are experts, from theirs.

    Args:
        form: `regression` or `ordinal`.
        dim: Pooled features `D`.
        num_aus: Action units `N`.
        expert_width: Channels `R` of one expert, or None in a network without experts.
        linear: One linear map of the pooled features instead of `D -> D/4 -> N` with GELU, for the linear probe.
    """

    def __init__(
        self, form: str, dim: int, num_aus: int, *, expert_width: int | None = None, linear: bool = False
    ) -> None:
        super().__init__()
        self.form = form
        hidden = max(dim // 4, 1)  # as the main head's
        self.main: nn.Module = (
            nn.Linear(dim, num_aus)
            if linear
            else nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, num_aus))
        )
        self.expert_weight: nn.Parameter | None = None
        if expert_width is not None:
            self.expert_weight = nn.Parameter(torch.empty(num_aus, expert_width))
            nn.init.normal_(self.expert_weight, std=expert_width**-0.5)
        if form == "ordinal":
            self.gap_bias = nn.Parameter(torch.full((num_aus, LEVELS - 1), GAP_BIAS))

    def thresholds(self) -> Tensor:
        """Where the score passes from level to level `(N, 5)`: 0 first, never falling."""
        return F.pad(F.softplus(self.gap_bias).cumsum(1), (1, 0))

    def forward(self, features: Tensor, means: Tensor | None) -> dict[str, Tensor]:
        """Intensities, in float32 at least.

        Args:
            features: Pooled features, standardised `(B, D)`.
            means: What each expert of the last group handed on, averaged over the grid `(B, N, R)`; `(B, 1, R)` of an
                expert that all share; None while there are no experts.

        Returns:
            `intensity (B, N)` in [0, 5]; with `ordinal` also `level_logits (B, N, 5)`, of `P(y >= k)`.
        """
        score = self.main(features)
        if means is not None and self.expert_weight is not None:
            score = score + (means * self.expert_weight).sum(-1)
        score = score.to(torch.promote_types(score.dtype, torch.float32))
        if self.form == "regression":
            return {"intensity": LEVELS * score.sigmoid()}
        logits = score.unsqueeze(-1) - self.thresholds()
        return {"intensity": logits.sigmoid().sum(-1), "level_logits": logits}
