"""The made-up release that the pipeline's tests prepare."""

from pathlib import Path

import pytest

from tests.helpers.trees.tiny import write_tiny


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("release") / "Tiny é 1")
