"""The header by which files of networks describe themselves: its one reader, which imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from auformer import __version__
from auformer.aus import parse_au_names
from auformer.errors import CheckpointError

HEADER = "auformer"  # key of the JSON string, in adapter files, run checkpoints and exported files
FORMAT_VERSION = 1
_REQUIRED = {
    "network": str, "arguments": dict, "au_names": list, "thresholds": dict, "backbone": dict, "image_size": list,
    "mean": list, "std": list,
}  # fmt: skip
_MOVED = re.compile(r"auformer\.models\.rivals\.\w+\.(?=\w+$)")  # where earlier builds kept the baselines


def parse_header(text: Any, where: str) -> dict[str, Any]:
    """Read and check the JSON string of a file that may come from a stranger; `where` names the file in messages.

    Raises:
        CheckpointError: Not an auformer header, another format, or a value of another kind than expected.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{where} is not an auformer adapter file: its header has no key `{HEADER}`")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The header of {where} is damaged: {error}") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        writer = header.get("package_version") if isinstance(header, dict) else None
        known = isinstance(writer, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", writer)
        ours = f"auformer {writer}" if known else "the version"
        raise CheckpointError(
            f"{where} has adapter format {version!r}, and this version of auformer ({__version__}) reads format "
            f"{FORMAT_VERSION}: use {ours} that wrote it, or write the file again with this one"
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(header.get(key), kind):
            raise CheckpointError(
                f"Expected `{key}` in the header of {where} to be a {kind.__name__}, but got {header.get(key)!r}"
            )
    try:
        names = parse_au_names(header["au_names"])
        if list(names) != header["au_names"] or header["arguments"].get("au_names") != header["au_names"]:
            raise ValueError("Expected `au_names` to be canonical and equal to the network's argument")
        check_thresholds(header["thresholds"], names)
        _check_strengths(header.get("intensity_aus"), names)
    except ValueError as error:
        raise CheckpointError(f"The header of {where} is not usable: {error}") from error
    if not isinstance(header["backbone"].get("fingerprint"), str):
        raise CheckpointError(f"The header of {where} has no fingerprint of the frozen weights")
    header["network"] = _MOVED.sub("auformer.models.baselines.", header["network"])
    return header


def check_thresholds(thresholds: Mapping[str, Any], au_names: tuple[str, ...]) -> None:
    """Refuse thresholds of other AUs, or outside [0, 1].

    Raises:
        ValueError: They are.
    """
    if set(thresholds) != set(au_names):
        raise ValueError(
            f"Expected `thresholds` for {', '.join(au_names)}, but got {', '.join(map(str, thresholds)) or 'none'}"
        )
    for au, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f"Expected the threshold of {au} to be between 0 and 1, but got {value!r}")


def _check_strengths(found: Any, au_names: tuple[str, ...]) -> None:
    if found is not None and (not isinstance(found, list) or found != [au for au in au_names if au in found]):
        raise ValueError(
            f"Expected `intensity_aus` to be some of {', '.join(au_names)} in their order, but got {found!r}"
        )
