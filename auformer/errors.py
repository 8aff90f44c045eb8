"""What a user of the package can meet, and `require` for optional packages.

Everything else that is wrong with an argument is a plain `ValueError("Expected `x` to be ..., but got ...")`.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class ManifestError(ValueError):
    """A manifest or predictions file, or an image that one names, cannot be used as it is."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not belong to this network, these action units or these frozen weights."""


class DatasetLayoutError(ValueError):
    """A raw data set release does not look as its reader expects."""


class FaceNotFoundError(ValueError):
    """No face was found in an image that needs one."""


class MissingExtraError(ImportError):
    """An optional package is needed and not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package where it is used.

    Args:
        module: Dotted name of the module, for example `openpyxl`.
        extra: Name of the extra that brings it, for example `prepare`.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: The package is not installed; the message holds the exact `pip install`.

    >>> require("json", "prepare").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, something that it needs itself is not
        raise MissingExtraError(
            f'Expected the optional package `{module}` to be installed, but it is not. Run: pip install "auformer[{extra}]"',
            name=module,
        ) from error
