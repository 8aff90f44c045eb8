"""Who gets the cores."""

from __future__ import annotations

import os

import pytest
import torch

from auformer.predict.pipeline import SMALL, share_cores


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_small_networks_leave_half_to_the_others_and_large_ones_nothing(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    torch.set_num_threads(4)
    with torch.device("meta"):
        large = torch.nn.Linear(SMALL, 1)
    assert (
        share_cores(large) == 4 and share_cores(torch.nn.Linear(2, 2)) == 2 and share_cores(torch.nn.Linear(2, 2)) == 2
    )
    torch.set_num_threads(1)
    assert share_cores(torch.nn.Linear(2, 2)) == 1
