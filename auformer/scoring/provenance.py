"""Where predictions come from: the network, the images, the machine and the commit."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from auformer import __version__


def machine() -> str:
    """Processor, cores and Python of this machine in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor that does not say
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def commit() -> str:
    """Short hash of the commit that this code is of, with `+` behind it where the working tree differs; empty outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude", "*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


UNKNOWN = "unknown"


class AUChoice(NamedTuple):
    """AUs of an evaluation.

    Attributes:
        predicted: To predict, in the order of the network.
        without_truth: Those of them that the manifest has no labels for.
        not_in_checkpoint: Asked for, or labelled in the manifest, but not predicted by the network.
    """

    predicted: list[str]
    without_truth: list[str]
    not_in_checkpoint: list[str]


def choose_aus(network_aus: Sequence[str], manifest_aus: Sequence[str], asked: Sequence[str] | None = None) -> AUChoice:
    """Match the AUs of a network, of a manifest, and those that were asked for.

    Args:
        network_aus: What the network predicts.
        manifest_aus: What the manifest has labels for.
        asked: What to predict; everything that the network can by default.

    Raises:
        ValueError: Nothing is left to predict.

    Example:
        >>> choose_aus(["AU1", "AU12"], ["AU12", "AU25"])
        AUChoice(predicted=['AU1', 'AU12'], without_truth=['AU1'], not_in_checkpoint=['AU25'])
    """
    wanted = list(manifest_aus if asked is None else asked)
    predicted = [au for au in network_aus if asked is None or au in asked]
    if not predicted:
        raise ValueError(
            f"Expected an AU that the checkpoint predicts ({', '.join(network_aus)}), but got {', '.join(wanted)}."
        )
    without_truth = [au for au in predicted if au not in manifest_aus]
    return AUChoice(predicted, without_truth, [au for au in wanted if au not in network_aus])


def image_warnings(network: Any, manifest_side: Mapping[str, Any], image_size: Sequence[int] | None) -> list[str]:
    """Differences between the images that a network was trained on and those of a manifest.

    Args:
        network: A network with `crop_recipe` and `image_size`.
        manifest_side: Side file of the manifest.
        image_size: Height and width of the manifest's images; None where not known.
    """
    warnings = []
    trained, found = network.crop_recipe, manifest_side.get("crop_recipe")
    if trained and found and trained != found:
        warnings.append(
            f"The checkpoint was trained on crops by the recipe '{trained}', the manifest's are by '{found}': scores suffer."
        )
    height, width = network.image_size
    if image_size is not None and tuple(image_size) != (height, width):
        sizes = f"{image_size[0]} x {image_size[1]} pixels (height x width), the checkpoint takes {height} x {width}"
        warnings.append(f"The manifest's images have {sizes}: they are resized.")
    return warnings


def predictions_side(
    network: Any,
    checkpoint: str,
    adapter: Path,
    manifest: pd.DataFrame,
    choice: AUChoice,
    *,
    fold: str | None = None,
    warnings: Sequence[str] = (),
    notice: str | None = None,
) -> dict[str, Any]:
    """Side file of a predictions file.

    Args:
        network: The network, as `load_detector` gives it.
        checkpoint: CHECKPOINT as the user wrote it, for the file `adapter`.
        adapter: The file itself.
        manifest: What was predicted, with the `attrs` of `read_manifest`; of its parts, only `fold` where that is given.
        choice: AUs predicted and missed.
        fold: See `manifest`.
        warnings: What a reader of the scores should know.
        notice: What every output of this checkpoint has to say.

    Returns:
        Plain JSON values; None where something is not known.
    """
    header = network.metadata
    return {
        "checkpoint": checkpoint,
        "adapter": {
            "file": adapter.name,
            "sha256": file_sha256(adapter),
            "package_version": header.get("package_version"),
        },
        "au_names": choice.predicted,
        "thresholds": {au: network.thresholds[au] for au in choice.predicted},
        "aus_without_truth": choice.without_truth,
        "aus_not_in_checkpoint": choice.not_in_checkpoint,
        "crop_recipe": network.crop_recipe,
        "image_size": list(network.image_size),
        "config": {name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")},
        "epoch_selection": (header.get("extra") or {}).get("selection"),
        "manifest": {**_manifest_facts(manifest), "fold": fold},
        "package_version": __version__,
        "warnings": list(warnings),
        "notice": notice,
    }


def _manifest_facts(manifest: pd.DataFrame) -> dict[str, Any]:
    """What the side file says about the manifest."""
    rows = {str(status): int(num) for status, num in manifest["status"].value_counts().items()}
    path, side = Path(manifest.attrs["path"]), manifest.attrs["side"]
    facts = {"file": path.name, "sha256": file_sha256(path), "rows": rows}
    return facts | {name: side.get(name) for name in ("dataset", "crop_recipe", "image_size")}


def provenance_lines(side: Mapping[str, Any]) -> list[str]:
    """What stands above the scores of a predictions file: its source, warnings, and the notice of its checkpoint.

    Args:
        side: Side file of the predictions, empty where there is none.
    """
    adapter, source = side.get("adapter") or {}, side.get("manifest") or {}
    sha256 = f", SHA-256 {adapter['sha256'][:12]}" if adapter.get("sha256") else ""
    lines = [
        f"Checkpoint: {side.get('checkpoint') or UNKNOWN}{sha256}; epoch: {_selection_text(side.get('epoch_selection'))}."
    ]
    fold = f", fold {source['fold']}" if source.get("fold") else ""
    recipes = f"crop recipe: {source.get('crop_recipe') or UNKNOWN} (trained on: {side.get('crop_recipe') or UNKNOWN})"
    lines.append(f"Manifest: {source.get('file') or UNKNOWN}{fold}; {recipes}.")
    if side.get("aus_not_in_checkpoint"):
        lines.append(f"AUs that the checkpoint lacks: {', '.join(side['aus_not_in_checkpoint'])}.")
    lines += [f"Warning: {warning}" for warning in side.get("warnings") or []]
    return lines + (str(side["notice"]).splitlines() if side.get("notice") else [])


def _selection_text(selection: Any) -> str:
    """How the epoch was chosen, in words: from what training writes, or a text of another tool."""
    if not selection or not isinstance(selection, Mapping):
        return str(selection or UNKNOWN)
    how = ", ".join(str(selection[name]) for name in ("rule", "monitor") if selection.get(name))
    return f"{selection.get('epoch') or UNKNOWN} of {selection.get('epochs') or UNKNOWN} ({how or UNKNOWN})"


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
