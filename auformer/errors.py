"""Errors that a user of the package can meet, and `require` for optional packages.

Any other wrong argument is a plain `ValueError("Expected `x` to be ..., but got ...")`.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class ManifestError(ValueError):
    """A manifest or predictions file, or an image that one names, cannot be used as it is."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not match the network, the action units or the frozen weights."""


class DatasetLayoutError(ValueError):
    """The release of a data set is not laid out as its reader expects."""


class FaceNotFoundError(ValueError):
    """No face was found in an image that needs one."""


class MissingExtraError(ImportError):
    """An optional package is needed but not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package where it is used.

    Args:
        module: Dotted name of the module, for example `openpyxl`.
        extra: Name of the extra that installs it, for example `prepare`.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: The package is not installed; the message says how to install it.

    >>> require("json", "prepare").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is installed, one of its own dependencies is not
        raise MissingExtraError(
            f"Expected the optional package `{module}` to be installed, but it is not. "
            f'From a clone of the repository: pip install ".[{extra}]"',
            name=module,
        ) from error
