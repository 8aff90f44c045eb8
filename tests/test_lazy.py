"""Public names of the packages that import them on demand."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize("room", ["", ".benchmark", ".data", ".predict", ".training"])
def test_every_public_name_is_what_its_module_holds(room: str) -> None:
    package = importlib.import_module(f"auformer{room}")
    assert set(package.__all__) <= set(dir(package))
    for name in set(package.__all__) - {"__version__"}:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match=f"'auformer{room}' has no attribute 'AUFormr'"):
        _ = package.AUFormr
