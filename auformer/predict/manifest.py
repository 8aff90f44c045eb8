"""A checkpoint and a manifest in, a predictions table out."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from auformer.data.dataset import AUDataset
from auformer.data.manifest import KEY, au_columns
from auformer.models import AUNetwork, OnnxDetector
from auformer.models.batches import FittingBatches

DECIMALS = 7  # of probabilities: about the resolution of float32 near 1, and short enough to read in a CSV [ours]
SAVE_SECONDS = 60.0  # between two writes of an unfinished job [ours]
_CARRIED = ["file", "time_s", "x", "y", "w", "h", "score", "fold", "clip"]


class PartialPredictions:
    """Probabilities of an unfinished job on disk, so that the same job goes on where it was stopped.

    Args:
        path: The file, `.npz`.
        job: What the job is: network, rows and action units; what another job left is not used.
    """

    def __init__(self, path: str | Path, job: str) -> None:
        self.path, self.job = Path(path), job

    def load(self) -> np.ndarray | None:
        """Probabilities of the first rows `(m, N)`, or None where this job has left none."""
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), self.path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return content["probs"] if str(content["job"]) == self.job else None
        return None

    def save(self, probs: np.ndarray) -> None:
        """Replace what is on disk by the probabilities of the first rows `(m, N)`."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.npz")
        try:
            np.savez(temporary, job=np.array(self.job), probs=probs)
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def predict_manifest(
    network: AUNetwork | OnnxDetector,
    manifest: pd.DataFrame,
    *,
    au_names: Sequence[str] | None = None,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    num_workers: int = 0,
    progress: bool = False,
    partial: str | Path | None = None,
    identity: str = "",
) -> pd.DataFrame:
    """Predict every face of a manifest.

    Args:
        network: The network, in eval mode; it is moved to `device`.
        manifest: Table as `read_manifest` gives it, or a selection of its rows.
        au_names: AUs of the network to write, in this order; all by default.
        batch_size: Images per batch; where so many do not fit into memory they are halved for the rest of the job, with a warning.
        device: Where to compute.
        num_workers: Processes that read images; 0 reads them in this one.
        progress: Whether to show a progress bar on stderr.
        partial: File that keeps what is done, also at the end: the same call goes on from it. Remove it when the result is safe.
        identity: What tells this network from others, for example the SHA-256 of its file: a job of another is not gone on with.

    Returns:
        Predictions in the order of the manifest: the key; `file, time_s, x, y, w, h, score, fold, clip, group_*` where the manifest
        has them; `status`; per AU `_true` (only where the manifest has the AU), `_prob` (nan where `status` is not `ok`) and
        `_active` (`_prob` is at least the network's threshold).

    Raises:
        ManifestError: An image is missing or damaged; the message names row and file.
        ValueError: An argument is out of its range, or the network gives something that is no probability.
    """
    names = _checked_names(network, au_names)
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` to be at least 1, but got {batch_size}.")
    ok = (manifest["status"] == "ok").to_numpy() if "status" in manifest else np.ones(len(manifest), bool)
    probs = np.full((len(manifest), len(network.au_names)), np.nan)
    store = None if partial is None else PartialPredictions(partial, _job(network, manifest[ok], identity))
    if ok.any():
        dataset = AUDataset(manifest[ok], Path(manifest.attrs["path"]).parent, network.au_names, network.image_size)
        probs[ok] = _predict(
            network.to(device), dataset, batch_size, torch.device(device), num_workers, progress, store
        )
    columns = [network.au_names.index(au) for au in names]
    return _table(manifest, names, probs[:, columns].round(DECIMALS), [network.thresholds[au] for au in names])


def _checked_names(network: AUNetwork | OnnxDetector, au_names: Sequence[str] | None) -> list[str]:
    """The AUs to write, all of them the network's."""
    names = list(network.au_names if au_names is None else au_names)
    unknown = [au for au in names if au not in network.au_names]
    if unknown or not names:
        raise ValueError(
            f"Expected `au_names` to be among {', '.join(network.au_names)}, but got {', '.join(unknown) or 'none'}."
        )
    return names


def _predict(
    network: AUNetwork | OnnxDetector,
    dataset: AUDataset,
    batch_size: int,
    device: torch.device,
    num_workers: int,
    progress: bool,
    store: PartialPredictions | None,
) -> np.ndarray:
    """Probabilities `(n, N)` of a data set, kept in the store also when the work stops early."""
    done = store.load() if store is not None else None
    parts = [] if done is None else [done]
    first = 0 if done is None else len(done)
    rest = Subset(dataset, range(first, len(dataset)))
    generator = torch.Generator()  # so that the loader draws nothing from the global one
    loader = DataLoader(
        rest, batch_size, num_workers=num_workers, pin_memory=device.type == "cuda", generator=generator
    )
    batches, saved = FittingBatches(batch_size), time.monotonic()

    def predict(images: torch.Tensor) -> torch.Tensor:
        return network.predict_probs(images.to(device, non_blocking=True)).cpu().double()

    try:
        with (
            torch.inference_mode(),
            tqdm(total=len(dataset), initial=first, desc="predict", unit="img", disable=not progress) as bar,
        ):
            for batch in loader:
                parts.append(_checked_probs(batches.run(predict, batch["image"])))
                bar.update(len(batch["image"]))
                if store is not None and time.monotonic() - saved > SAVE_SECONDS:
                    store.save(np.concatenate(parts))
                    saved = time.monotonic()
    finally:
        if store is not None and parts:
            store.save(np.concatenate(parts))
    return np.concatenate(parts)


def _checked_probs(probs: torch.Tensor) -> np.ndarray:
    """Probabilities `(B, N)` float64 as an array; a network that gives nan is an error here, not an empty cell later."""
    array = probs.numpy()
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(
            "Expected the network to give probabilities in [0, 1], but got others, or nan: its weights are damaged."
        )
    return array


def _job(network: AUNetwork | OnnxDetector, rows: pd.DataFrame, identity: str) -> str:
    """Digest of what is predicted by what."""
    digest = hashlib.sha256(repr((identity, network.au_names, network.image_size, len(rows))).encode())
    digest.update(
        pd.util.hash_pandas_object(rows[[*KEY, *(["image"] if "image" in rows else [])]], index=False)
        .to_numpy()
        .tobytes()
    )
    return digest.hexdigest()


def _table(
    manifest: pd.DataFrame, au_names: Sequence[str], probs: np.ndarray, thresholds: Sequence[float]
) -> pd.DataFrame:
    """The predictions table from probabilities `(rows, N)`."""
    groups = [name for name in manifest if str(name).startswith("group_")]
    carried = [*KEY, *(name for name in _CARRIED if name in manifest), *groups]
    columns: dict[str, object] = {str(name): manifest[name] for name in carried if name in manifest}
    columns["status"] = manifest.get("status", "ok")
    annotated = set(au_columns(manifest))
    for column, (au, threshold) in enumerate(zip(au_names, thresholds, strict=True)):
        if au in annotated:
            columns[f"{au}_true"] = manifest[au]
        prob = pd.Series(probs[:, column], index=manifest.index)
        columns[f"{au}_prob"] = prob
        columns[f"{au}_active"] = (prob >= threshold).astype("Int8").mask(prob.isna())
    return pd.DataFrame(columns, index=manifest.index).reset_index(drop=True)
