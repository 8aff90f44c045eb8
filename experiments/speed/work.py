"""Amounts of work on paper: operations and numbers moved, of a stage's forward pass and of its two gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

FLOAT = 4  # bytes of a float32


class Work(NamedTuple):
    """Amount of work.

    Args:
        matrix: Operations of matrix products and convolutions, 2 per multiplication with its addition.
        pointwise: Other operations.
        elements: Numbers read and written.
    """

    matrix: float = 0.0
    pointwise: float = 0.0
    elements: float = 0.0

    def plus(self, *others: Work) -> Work:
        """Sum of this and others."""
        return Work(*(sum(values) for values in zip(self, *others, strict=True)))

    @property
    def flops(self) -> float:
        """All operations."""
        return self.matrix + self.pointwise

    @property
    def bytes(self) -> float:
        """Bytes moved, in float32."""
        return FLOAT * self.elements


class Stage(NamedTuple):
    """One stage.

    Args:
        name: What it does.
        forward: Of the forward pass.
        to_inputs: Of the gradients of its inputs.
        to_weights: Of the gradients of its weights.
    """

    name: str
    forward: Work
    to_inputs: Work = Work()
    to_weights: Work = Work()

    @property
    def training(self) -> Work:
        """Forward and backward."""
        return self.forward.plus(self.to_inputs, self.to_weights)


def linear(
    name: str, matrix: float, inputs: float, outputs: float, weights: float, *, trained: bool = False, passes: bool = True, added: float = 0
) -> Stage:
    """A stage that is linear in its inputs: each of the two gradients costs as many products as the forward pass.

    Args:
        name: What it does.
        matrix: Operations.
        inputs: Numbers read.
        outputs: Numbers written.
        weights: Their number over the batch.
        trained: Whether they are trained.
        passes: Whether its inputs need a gradient.
        added: Numbers read in the forward pass to add its outputs to.
    """
    gradient = Work(matrix, 0.0, inputs + outputs + weights)
    return Stage(name, gradient.plus(Work(elements=added)), gradient if passes else Work(), gradient if trained else Work())


def total(stages: Sequence[Stage], *, training: bool = False) -> Work:
    """Sum over stages, of the forward pass or of forward and backward."""
    return Work().plus(*(stage.training if training else stage.forward for stage in stages))
