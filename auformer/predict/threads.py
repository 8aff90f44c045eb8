"""Who gets the processor's cores: the network, and the threads that read and detect beside it."""

from __future__ import annotations

import os

import torch

SMALL = 10_000_000  # parameters [ours]: measured on the demo network (3 million: detecting takes longer) and ViT-B (86: the network does)


def share_cores(network: torch.nn.Module, *, cores: int | None = None) -> int:
    """Leave half of the cores to reading and detecting where the network is small: frames a second rise by a tenth on two cores.

    Args:
        network: what predicts, on the CPU.
        cores: how many this process may use; all by default.

    Returns:
        Number of threads that torch now computes with, in the whole process.
    """
    if sum(parameter.numel() for parameter in network.parameters()) < SMALL:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or os.cpu_count() or 2) // 2)))
    return torch.get_num_threads()
