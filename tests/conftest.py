"""What every test may rely on: one thread, no network, no update checks, the same random numbers in each run."""

from __future__ import annotations

import os
import socket
from typing import Any

# Read by the libraries when they are first imported, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("auformer", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("auformer")

_LOOPBACK = ("localhost", "::1", "0.0.0.0", "")


def _refuse_outside(address: Any) -> None:
    """Raise unless an address is a path, or of this machine."""
    host = address[0] if isinstance(address, tuple) else None
    if isinstance(host, bytes):
        host = host.decode()
    if host is not None and host not in _LOOPBACK and not host.startswith("127."):
        raise ConnectionError(f"Expected tests to stay on this machine, but one connects to {host!r}")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_outside(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_outside(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run and for every test."""
    return np.random.default_rng(20240704)
