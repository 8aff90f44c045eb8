"""An adapter file and a manifest in, a predictions file out."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from auformer import __version__
from auformer.aus import MAX_INTENSITY
from auformer.data.clip_dataset import ClipDataset
from auformer.data.clips import apex_frames, parse_clip_input
from auformer.data.dataset import AUDataset
from auformer.data.films import row_image
from auformer.data.manifest import KEY, au_columns, read_manifest, read_predictions, sidecar_path, write_predictions
from auformer.data.windows import find_runs
from auformer.files import atomic_path, check_writable, digest, sha256
from auformer.models import AUNetwork, OnnxDetector
from auformer.models.batches import FittingBatches, find_device
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.checkpoints import open_detector
from auformer.report.html import demo_note

DECIMALS = 7  # of probabilities: about the resolution of float32 near 1, and short enough to read in a CSV [ours]
SAVE_SECONDS = 60.0  # between two writes of an unfinished job [ours]
_CARRIED = ["file", "time_s", "x", "y", "w", "h", "score", "fold", "clip"]


class AUChoice(NamedTuple):
    """AUs of an evaluation."""

    predicted: list[str]  # to predict, in the order of the network
    without_truth: list[str]  # those of them that the manifest has no labels for
    not_in_checkpoint: list[str]  # asked for, or labelled in the manifest, but not predicted by the network


def choose_aus(network_aus: Sequence[str], manifest_aus: Sequence[str], asked: Sequence[str] | None = None) -> AUChoice:
    """Match the AUs of a network with those of a manifest, and those that were asked for (all by default).

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


def image_warnings(network: Any, sidecar: Mapping[str, Any], image_size: Sequence[int] | None) -> list[str]:
    """Differences between the images that a network was trained on and those of a manifest; None: size unknown."""
    warnings = []
    trained, found = network.crop_recipe, sidecar.get("crop_recipe")
    if trained and found and trained != found:
        warnings.append(
            f"The checkpoint was trained on crops by the recipe '{trained}', the manifest's are by '{found}': scores "
            "suffer."
        )
    height, width = network.image_size
    if image_size is not None and tuple(image_size) != (height, width):
        sizes = f"{image_size[0]} x {image_size[1]} pixels (height x width), the checkpoint takes {height} x {width}"
        warnings.append(f"The manifest's images have {sizes}: they are resized.")
    return warnings


def evaluate(
    checkpoint: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    au_names: Sequence[str] | None = None,
    fold: str | None = None,
    batch_size: int = 64,
    device: str = "auto",
    num_workers: int = 0,
    backbone_checkpoint: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Predict a manifest with a checkpoint and write a predictions file; the same call resumes an interrupted run.

    Args:
        checkpoint: As `resolve_checkpoint` takes it: adapter file, `.ckpt`, folder, `.onnx` file, `demo`, or
            `hf://owner/name`.
        manifest: Manifest of faces.
        out: The predictions file, `.csv` or `.parquet`; its sidecar lies beside it.
        au_names: AUs to predict; all that the network predicts by default.
        fold: Only rows whose `fold` has this name.
        batch_size: Images per batch.
        device: `auto` (a GPU where there is one), or a name as torch takes it.
        num_workers: Processes that read images; 0 reads them in this one.
        backbone_checkpoint: Local file with the frozen weights, where they cannot be fetched.
        overwrite: Replace an existing predictions file.
        progress: Show a progress bar on stderr.

    Returns:
        The predictions, as `read_predictions` gives them.

    Raises:
        ManifestError: The manifest or one of its images cannot be used.
        CheckpointError: The checkpoint cannot be used.
        ValueError: The arguments do not fit the checkpoint, the manifest or this machine.
        OSError: The output cannot be written.
    """
    out, manifest = Path(out), Path(manifest)
    _check_out(out, manifest, overwrite)
    table = _rows_of(read_manifest(manifest), fold)
    device, adapter = find_device(device), resolve_checkpoint(checkpoint)
    network = open_detector(adapter, device=device, backbone_checkpoint=backbone_checkpoint)
    partial = out.with_name(f".{out.name}.partial.npz")
    write_manifest_predictions(
        network, adapter, [table], out, checkpoint=str(checkpoint), asked=au_names, fold=fold, batch_size=batch_size,
        device=device, num_workers=num_workers, progress=progress, partial=partial,
        notice=demo_note(intensity=bool(getattr(network, "intensity_aus", ()))) if adapter == DEMO_DETECTOR else None,
        warnings=image_warnings(network, table.attrs["side"], _image_size(table)),
    )  # fmt: skip
    partial.unlink(missing_ok=True)
    return read_predictions(out)


def write_manifest_predictions(
    network: AUNetwork | OnnxDetector, adapter: Path, manifests: Sequence[pd.DataFrame], out: Path, *,
    checkpoint: str = "adapter.safetensors", asked: Sequence[str] | None = None, fold: str | None = None,
    warnings: Sequence[str] = (), notice: str | None = None, more: Mapping[str, Any] | None = None,
    reuse: bool = False, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """Predict manifests (tables of `read_manifest`, or selections of their rows) into one file with its sidecar.

    Labels count that all manifests have; `asked` is as in `choose_aus`. The sidecar takes over `checkpoint` (the
    adapter file as the user wrote it), `fold`, `warnings`, `notice` (what every output of this checkpoint has to say)
    and the keys of `more`. With `reuse`, predictions that are there already with the same sidecar are kept. `options`
    go to `predict_manifest`.
    """
    labelled = [au for au in au_columns(manifests[0]) if all(au in au_columns(table) for table in manifests)]
    choice = choose_aus(network.au_names, labelled, asked)
    sidecar = _sidecar(network, checkpoint, adapter, manifests, choice, fold)
    sidecar |= {"warnings": list(warnings), "notice": notice, **(more or {})}
    if reuse and out.is_file():
        found = read_predictions(out)
        if all(found.attrs["side"].get(name) == value for name, value in sidecar.items()):
            return found
    options |= {"au_names": choice.predicted, "identity": sidecar["adapter"]["sha256"]}
    predictions = pd.concat([predict_manifest(network, table, **options) for table in manifests], ignore_index=True)
    write_predictions(predictions, out, sidecar)
    return predictions


def _sidecar(
    network: Any, checkpoint: str, adapter: Path, manifests: Sequence[pd.DataFrame], choice: AUChoice, fold: str | None
) -> dict[str, Any]:
    """Where predictions come from, in plain JSON values; None where something is not known."""
    header, learned = network.metadata, getattr(network, "intensity_aus", ())
    strengths = {"intensity_aus": [au for au in choice.predicted if au in learned]} if learned else {}
    facts = [{**_manifest_facts(table), "fold": fold} for table in manifests]
    if len(facts) > 1:
        paths = [Path(table.attrs["path"]) for table in manifests]
        shared = {name: facts[0][name] for name in ("crop_recipe", "image_size")}
        facts = [{"file": " and ".join(f"{path.parent.name}/{path.name}" for path in paths), "parts": facts, **shared}]
    return {
        "checkpoint": checkpoint,
        "adapter": {"file": adapter.name, "sha256": sha256(adapter), "package_version": header.get("package_version")},
        "au_names": choice.predicted,
        "thresholds": {au: network.thresholds[au] for au in choice.predicted},
        **strengths,
        "aus_without_truth": choice.without_truth,
        "aus_not_in_checkpoint": choice.not_in_checkpoint,
        "crop_recipe": network.crop_recipe,
        "image_size": list(network.image_size),
        "config": {name: header.get(name) for name in ("network", "arguments", "backbone", "training_data", "extra")},
        "epoch_selection": (header.get("extra") or {}).get("selection"),
        "manifest": facts[0],
        "package_version": __version__,
    }


def _manifest_facts(manifest: pd.DataFrame) -> dict[str, Any]:
    """What the sidecar says about a manifest."""
    rows = {str(status): int(num) for status, num in manifest["status"].value_counts().items()}
    path, sidecar = Path(manifest.attrs["path"]), manifest.attrs["side"]
    facts = {"file": path.name, "sha256": sha256(path), "rows": rows}
    if notes := manifest.attrs.get("notes"):  # letters, labels that were made of intensities, ...
        facts["read_as"] = list(notes)
    return facts | {name: sidecar.get(name) for name in ("dataset", "crop_recipe", "image_size")}


def _check_out(out: Path, manifest: Path, overwrite: bool) -> None:
    """Find out before the work starts whether its result can be written, and what it would replace."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"Expected `--out` to end in .csv or .parquet, but got {out}.")
    if sidecar_path(out).resolve() == sidecar_path(manifest).resolve():
        told = "one sidecar would replace the other"
        raise ValueError(f"Expected `--out` to have another name than the manifest, but got {out}: {told}.")
    taken = [str(path) for path in (out, sidecar_path(out)) if path.exists()]
    if taken and not overwrite:
        told = f"found {' and '.join(taken)}: choose another name, or add --overwrite"
        raise ValueError(f"Expected `--out` to be a new file, but {told}.")
    check_writable(out.parent)


def _rows_of(manifest: pd.DataFrame, fold: str | None) -> pd.DataFrame:
    """The rows of one fold of a manifest, or all."""
    if fold is None:
        return manifest
    names = sorted(manifest["fold"].dropna().unique()) if "fold" in manifest else []
    if not names:
        raise ValueError(f"`--fold {fold}`: the manifest has no folds (column `fold`); leave the option out.")
    if fold not in names:
        raise ValueError(f"Expected `--fold` to be one of {', '.join(names)}, but got {fold!r}.")
    return manifest[manifest["fold"] == fold]


def _image_size(manifest: pd.DataFrame) -> list[int] | None:
    """Height and width of the manifest's images: from its sidecar, else of its first image; None without images."""
    if manifest.attrs["side"].get("image_size"):
        return list(manifest.attrs["side"]["image_size"])
    ok = manifest[manifest["status"] == "ok"]
    if not len(ok) or not {"image", "file"} & set(ok):
        return None
    return list(row_image(Path(manifest.attrs["path"]).parent, ok.iloc[0]).shape[:2])


class PartialPredictions:
    """Values of an unfinished job in an `.npz` file, so that the same job can be resumed, and no other one."""

    def __init__(self, path: str | Path, job: str) -> None:
        self.path, self.job = Path(path), job

    def load(self) -> np.ndarray | None:
        """Values of the first rows `(m, K)`, or None where this job has left none."""
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), self.path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return content["values"] if str(content["job"]) == self.job else None
        return None

    def save(self, values: np.ndarray) -> None:
        """Replace what is on disk by the values of the first rows `(m, K)`."""
        with atomic_path(self.path) as temporary:
            np.savez(temporary, job=np.array(self.job), values=values)


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
    clip_input: str = "frames",
) -> pd.DataFrame:
    """Predict every face of a manifest.

    Args:
        network: The network, in eval mode; it is moved to `device`.
        manifest: Table as `read_manifest` gives it, or a selection of its rows.
        au_names: AUs of the network to write, in this order; all by default.
        batch_size: Images per batch; where so many do not fit into memory they are halved for the rest of the job, with
            a warning.
        device: Where to compute.
        num_workers: Processes that read images; 0 reads them in this one.
        progress: Whether to show a progress bar on stderr.
        partial: File that keeps what is done, also at the end: the same call goes on from it. Remove it when the result
            is safe.
        identity: What tells this network from others, for example the SHA-256 of its file: a job of another is not gone
            on with.
        clip_input: For a network that sees clips, `mean:K` gives one row per clip of the manifest, its apex with the
            mean of the probabilities of the K frames nearest to it.

    Returns:
        Predictions in the order of the manifest: the key; `file, time_s, x, y, w, h, score, fold, clip, group_*` where
        the manifest has them; `status`; per AU `_true` (only where the manifest has the AU), `_prob` (nan where
        `status` is not `ok`) and `_active` (`_prob` is at least the network's threshold); of AUs whose intensity the
        network has learned also `_intensity_pred` in [0, 5], and `_intensity_true` where the manifest has it.

    Raises:
        ManifestError: An image is missing or damaged; the message names row and file.
        ValueError: An argument is out of its range, or the network gives something that is no probability or intensity.
    """
    names = list(network.au_names if au_names is None else au_names)
    unknown = [au for au in names if au not in network.au_names]
    if unknown or not names:
        raise ValueError(
            f"Expected `au_names` to be among {', '.join(network.au_names)}, but got {', '.join(unknown) or 'none'}."
        )
    if batch_size < 1 or num_workers < 0:
        raise ValueError(f"Expected `batch_size` >= 1 and `num_workers` >= 0, but got {batch_size} and {num_workers}.")
    ok = (manifest["status"] == "ok").to_numpy(bool) if "status" in manifest else np.ones(len(manifest), bool)
    number, learned = len(network.au_names), getattr(network, "intensity_aus", ())
    values = np.full((len(manifest), number * (2 if learned else 1)), np.nan)
    store = None if partial is None else PartialPredictions(partial, _job(network, manifest[ok], identity))
    if ok.any():
        root, view = Path(manifest.attrs["path"]).parent, getattr(network, "view", "whole")
        dataset = AUDataset(manifest[ok], root, network.au_names, network.image_size, view=view)
        values[ok] = _predict(
            network.to(device), _samples(dataset, manifest[ok], network), batch_size, torch.device(device),
            num_workers, progress, store,
        )  # fmt: skip
    kind, nearest = parse_clip_input(clip_input)
    if kind == "mean":
        groups = apex_frames(manifest, nearest)
        values, manifest = np.stack([values[group].mean(0) for group in groups]), manifest.iloc[[g[0] for g in groups]]
    places = {au: network.au_names.index(au) for au in names}
    probs = {au: values[:, place].round(DECIMALS) for au, place in places.items()}
    intensities = {au: values[:, number + place].round(DECIMALS) for au, place in places.items() if au in learned}
    return _table(manifest, probs, intensities, network.thresholds)


def _samples(rows: AUDataset, frame: pd.DataFrame, network: Any) -> AUDataset | ClipDataset:
    """What a network sees at once: rows, or windows of consecutive rows that cover them."""
    length: int = getattr(network, "clip_length", 1)
    return rows if length == 1 else ClipDataset(rows, find_runs(frame), length)


def _predict(
    network: AUNetwork | OnnxDetector, dataset: AUDataset | ClipDataset, batch_size: int, device: torch.device,
    num_workers: int, progress: bool, store: PartialPredictions | None,
) -> np.ndarray:  # fmt: skip
    """Probabilities of a data set `(n, N)`, of a network with an intensity head its intensities behind them `(n, 2N)`.

    They are kept in the store also when the work stops early; of a network that sees clips with a row per place of a
    window, those of padding among them.
    """
    length = dataset.length if isinstance(dataset, ClipDataset) else 1
    done = store.load() if store is not None else None
    parts = [] if done is None else [done]
    first = 0 if done is None else len(done) // length
    batch_size = max(1, batch_size // length)
    rest = Subset(dataset, range(first, len(dataset)))
    generator = torch.Generator()  # so that the loader draws nothing from the global one
    loader = DataLoader(
        rest, batch_size, num_workers=num_workers, pin_memory=device.type == "cuda", generator=generator
    )
    batches, saved, unit = FittingBatches(batch_size), time.monotonic(), "img" if length == 1 else "clip"

    def predict(images: torch.Tensor) -> torch.Tensor:
        images, samples = images.to(device, non_blocking=True), len(images)
        if length > 1:
            return network.outputs(images)["probs"].view(samples, length, -1).cpu().double()
        if not getattr(network, "intensity_aus", ()):
            return network.predict_probs(images).cpu().double()
        found = network.outputs(images)
        return torch.cat([found["probs"], found["intensity"]], dim=1).cpu().double()

    try:
        with (
            torch.inference_mode(),
            tqdm(total=len(dataset), initial=first, desc="predict", unit=unit, disable=not progress) as bar,
        ):
            for batch in loader:
                found = batches.run(predict, batch["image"])
                parts.append(_checked(found.flatten(0, -2), len(network.au_names)))
                bar.update(len(batch["image"]))
                if store is not None and time.monotonic() - saved > SAVE_SECONDS:
                    store.save(np.concatenate(parts))
                    saved = time.monotonic()
    finally:
        if store is not None and parts:
            store.save(np.concatenate(parts))
    values = np.concatenate(parts)
    return dataset.by_row(values) if isinstance(dataset, ClipDataset) else values


def _checked(values: torch.Tensor, number: int) -> np.ndarray:
    """Values of `_predict` as an array; a network that gives nan is an error, not an empty cell later."""
    array = values.numpy()
    parts = {"probabilities": (array[:, :number], 1), "intensities": (array[:, number:], MAX_INTENSITY)}
    for what, (part, highest) in parts.items():
        if not ((part >= 0) & (part <= highest)).all():
            raise ValueError(
                f"Expected the network to give {what} in [0, {highest:g}], but got others, or nan: its weights are "
                "damaged."
            )
    return array


def _job(network: AUNetwork | OnnxDetector, rows: pd.DataFrame, identity: str) -> str:
    """Digest of what is predicted by what."""
    columns = [*KEY, *(["image"] if "image" in rows else [])]
    hashes = pd.util.hash_pandas_object(rows[columns], index=False).to_numpy()
    return digest([identity, list(network.au_names), list(network.image_size), hashes.tobytes().hex()])


def _table(
    manifest: pd.DataFrame,
    probs: Mapping[str, np.ndarray],
    intensities: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """The predictions table from probabilities and intensities `(rows,)` by AU."""
    groups = [name for name in manifest if str(name).startswith("group_")]
    carried = [*KEY, *(name for name in _CARRIED if name in manifest), *groups]
    columns: dict[str, object] = {str(name): manifest[name] for name in carried if name in manifest}
    columns["status"] = manifest.get("status", "ok")
    annotated = set(au_columns(manifest))
    for au, values in probs.items():
        if au in annotated:
            columns[f"{au}_true"] = manifest[au]
        prob = pd.Series(values, index=manifest.index)
        columns[f"{au}_prob"] = prob
        columns[f"{au}_active"] = (prob >= thresholds[au]).astype("Int8").mask(prob.isna())
        if au in intensities:
            columns[f"{au}_intensity_pred"] = pd.Series(intensities[au], index=manifest.index)
            if f"{au}_intensity" in manifest:
                columns[f"{au}_intensity_true"] = manifest[f"{au}_intensity"]
    return pd.DataFrame(columns, index=manifest.index).reset_index(drop=True)
