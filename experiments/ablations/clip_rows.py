"""The rows of the comparison over time: which networks there are, and how one is trained and tested.

Everything above a frozen network trains on what that network gave once for every frame: ViTMDHR above the tokens of the
ViT; the head of AUFormer in time above an AUFormer that has been trained frame by frame and stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auformer.aus import AU_SETS
from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.splits import count_labels
from auformer.data.windows import cut_chunks, evaluation_windows, training_window
from auformer.losses import au_weights, region_loss, wa_loss
from auformer.metrics import auroc, average_precision, confusion_counts, f1_from_counts, mean_over_aus
from auformer.models import AUFormer, AUNetwork, load_detector, save_adapter
from auformer.models.temporal.auformer_in_time import AUFormerInTime, FrameByFrame
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.training import fit
from auformer.training.module import AUModule
from auformer.training.optimiser import WarmupCosine, parameter_groups

BACKBONE, SIZE = "vit_auformer_demo_112", 112
AUS = list(AU_SETS["bp4d"])
LENGTH, DIM = 16, 96
EPOCHS, BATCH, LR, DECAY, REGIONS = 20, 16, 2e-3, 0.05, 0.01  # the design's section 6
AUFORMER_EPOCHS, AUFORMER_LR = 3, 5e-3  # every frame three times [ours]; best of the grid in results/demo.md

OFF: dict[str, Any] = {"dynamics": "none", "over_time": False}
#: Rows above the tokens of the ViT, by name: what differs from the whole ViTMDHR.
HEADS: dict[str, dict[str, Any]] = {
    "vit_mdhr": {},
    "frame_by_frame": OFF,
    "dynamics_only": {"over_time": False},
    "time_only": {"dynamics": "none"},
    "sum_of_taps": {"dynamics": "sum"},
    "last_tap": {"taps": [6]},
    "edges_none": {"edges": "none"},
    "edges_all": {"edges": "all"},
    "edges_others": {"edges": "others"},
    "no_region_loss": {"region_weight": 0.0},
    "ends_zeros": {"ends": "zeros"},
    **{f"reach_{k}": {"reach": k} for k in (1, 2, 10)},
    **{f"length_{t}": {"clip_length": t} for t in (4, 8, 24)},
}
#: MDHR's head on the tokens of an AUFormer of the same seed: what it has, and how many frames it sees at once. One
#: frame: what the same training gives without time.
IN_TIME: dict[str, tuple[str, int]] = {
    "auformer_in_time": ("both", LENGTH),
    "auformer_dynamics": ("dynamics", LENGTH),
    "auformer_convolution": ("convolution", LENGTH),
    "auformer_one_frame": ("both", 1),
}
#: The same with an AUFormer that trains on the first half of the subjects, and a head that trains on the others: what
#: it sees there is what AUFormer gives for people that it does not know, as in the test.
HALF = {"auformer_half_in_time": ("both", LENGTH), "auformer_half_one_frame": ("both", 1)}
ROWS = [*HEADS, "auformer", *IN_TIME, "auformer_half", *HALF]
Say = Callable[[Tensor, int], dict[str, Tensor]]  # rows `(B T,)` and frames of a clip to a network's outputs
Part = Mapping[str, Any]  # `table`, `root`, `labels (n, N)`, `runs`, `chunk`


def images_of(part: Part, rows: np.ndarray) -> Tensor:
    """Images of some rows `(n, 3, H, W)`."""
    data = AUDataset(part["table"], part["root"], AUS, SIZE)
    return torch.stack([item["image"] for item in data.__getitems__(rows.tolist())])


def scores(target: np.ndarray, prob: np.ndarray) -> dict[str, Any]:
    """F1 at 0.5, average precision and AUROC over all rows, means over action units, and F1 of each."""
    f1 = f1_from_counts(confusion_counts(target, prob))
    found = {"f1": mean_over_aus(f1), "ap": mean_over_aus(average_precision(target, prob))}
    found["auroc"] = mean_over_aus(auroc(target, prob))
    return {name: round(float(one.value), 5) for name, one in found.items()} | {
        "f1_by_au": {au: round(float(one), 5) if one == one else None for au, one in zip(AUS, f1, strict=True)}
    }


def by_subject(table: Any, target: np.ndarray, prob: np.ndarray) -> dict[str, list[list[int]]]:
    """TP, FP and FN of each AU by subject, from which intervals over subjects are drawn."""
    called, known = prob >= 0.5, target >= 0
    counts: dict[str, list[list[int]]] = {}
    for subject in sorted(table["subject"].unique()):
        own = (table["subject"] == subject).to_numpy()[:, None] & known
        hits, false, missed = (called & (target == 1)), (called & (target == 0)), (~called & (target == 1))
        counts[subject] = [[int(one) for one in (kind & own).sum(0)] for kind in (hits, false, missed)]
    return counts


def train_head(
    row: str, seed: int, kept: Path, parts: Mapping[str, Part], tokens: Mapping[str, Tensor], epochs: int = EPOCHS
) -> tuple[dict[str, Any], np.ndarray]:
    """One row above the tokens of the ViT.

    Args:
        row: Of `HEADS`.
        seed: Of weights, order and windows.
        kept: Where its weights go, `.safetensors`; beside it the state after each epoch, see `train_above`.
        parts: Training and test rows.
        tokens: Of all taps `(n, h w, taps D)`, by part.
        epochs: Passes over the runs.

    Returns:
        Trained parameters and processor seconds, and the probabilities of the test rows `(n, N)`.
    """
    options = {"clip_length": LENGTH, "dim": DIM, **HEADS[row]}
    weight_of_regions, length = options.pop("region_weight", REGIONS), options["clip_length"]
    torch.manual_seed(seed)
    network = ViTMDHR(BACKBONE, AUS, pretrained=True, **options)
    channels = slice(None) if len(network.taps) == 3 else slice(2 * network.embed_dim, None)
    some = np.random.default_rng(0).permutation(len(tokens["train"]))[:2048]
    sample = tokens["train"][some][..., channels].float().flatten(0, 1)
    network.set_feature_statistics(sample.mean(0), sample.std(0))
    weight = au_weights(*count_labels(parts["train"]["table"], AUS), au_names=AUS)

    def say(part: str) -> Say:
        return lambda rows, frames: network.outputs_of_taps(tokens[part][rows][..., channels].float(), frames)

    def loss(found: dict[str, Tensor], target: Tensor) -> Tensor:
        regions = region_loss(found["region_logits"], target, network.region_heads)
        return wa_loss(found["logits"], target, weight) + weight_of_regions * regions

    seconds = train_above(network, say("train"), loss, parts["train"], kept, seed, length, epochs)
    prob = predict_above(network, say("test"), parts["test"], length)
    return {"trained": network.num_parameters()[0], "cpu_seconds": seconds}, prob


def train_above(
    network: AUNetwork, say: Say, loss: Callable[[dict[str, Tensor], Tensor], Tensor], part: Part, kept: Path,
    seed: int, length: int, epochs: int, seen: int | None = None,
) -> float:  # fmt: skip
    """Train what a network has above kept features, on a window per run and epoch; processor seconds.

    After each epoch the state is kept beside the weights, from which a killed row goes on; at the end the weights.
    `seen` frames of a window are seen at once; all by default.
    """
    labels, runs = part["labels"], cut_chunks(part["runs"], part["chunk"])
    optimizer = torch.optim.AdamW(parameter_groups(network, DECAY), lr=LR, betas=(0.9, 0.999))
    batches = -(-len(runs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(epochs * batches, 0.0))
    network.train()
    state, path = {"network": network, "optimizer": optimizer, "schedule": schedule}, kept.with_suffix(".pt")
    first, seconds = _resume(path, state)
    for epoch in range(first, epochs):
        begin = time.process_time()
        order = np.random.default_rng([seed, epoch]).permutation(len(runs))
        for group in np.array_split(order, batches):
            places = [training_window(runs[run], length, np.random.default_rng([seed, epoch, run])) for run in group]
            rows = torch.from_numpy(np.concatenate([place for place, _ in places]))
            real = torch.from_numpy(np.concatenate([counts for _, counts in places]))
            value = loss(say(rows, seen or length), torch.where(real.unsqueeze(1), labels[rows], -1))
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        seconds += time.process_time() - begin
        _keep(path, state, epoch + 1, seconds)
        print(f"{kept.stem}: epoch {epoch + 1}, loss {float(value.detach()):.4f}", flush=True)
    save_adapter(kept, network)
    return round(seconds, 1)


def _keep(path: Path, parts: Mapping[str, Any], epoch: int, seconds: float) -> None:
    """Write the state after an epoch, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**state, "epoch": epoch, "seconds": seconds}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def _resume(path: Path, parts: Mapping[str, Any]) -> tuple[int, float]:
    """Load a state that was kept: epochs that are done, and seconds that they took."""
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epoch"], state["seconds"]


@torch.no_grad()
def predict_above(network: AUNetwork, say: Say, part: Part, length: int, seen: int | None = None) -> np.ndarray:
    """Probabilities of every row `(n, N)`, each in its window."""
    network.eval()
    windows, counts = evaluation_windows(part["runs"], length)
    prob = np.full((len(part["labels"]), len(AUS)), np.nan)
    for place, real in zip(windows, counts, strict=True):
        prob[place[real]] = say(torch.from_numpy(place), seen or length)["probs"].numpy()[real]
    return prob


def train_auformer(
    seed: int, folder: Path, manifest: Path, without: list[str] | None = None
) -> tuple[Path, dict[str, Any]]:
    """AUFormer frame by frame through `fit`, which resumes: its file, and what the run says of itself.

    `without` names people, `dataset/subject`, that it does not see.
    """
    data = AUDataModule(
        str(manifest), au_names=AUS, val_fraction=0.0, frame_labels=1.0, image_size=SIZE, batch_size=BATCH,
        augment="none", seed=seed, test_subjects=without,
    )  # fmt: skip
    network = partial(AUFormer, backbone=BACKBONE, pretrained=True, expert_width=4)
    torch.manual_seed(seed)
    module = AUModule(network, data.au_names, data.au_weights, lr=AUFORMER_LR)
    begin = time.process_time()
    adapter = fit(module, data, folder, epochs=AUFORMER_EPOCHS, seed=seed, select="last", progress=False)
    spent = round(time.process_time() - begin, 1)
    return adapter, {"trained": module.network.num_parameters()[0], "cpu_seconds": spent}


@torch.no_grad()
def frame_by_frame(adapter: Path, parts: Mapping[str, Part]) -> dict[str, FrameByFrame]:
    """What a trained AUFormer gives for each row of each part; tokens in half precision, of all taps side by side."""
    network = in_time_of(adapter, "both").eval()
    found = {}
    for name, part in parts.items():
        pieces = []
        for rows in np.split(np.arange(len(part["labels"])), np.arange(64, len(part["labels"]), 64)):
            each = network.frame_by_frame(images_of(part, rows))
            pieces.append((each.logits, each.expert_logits, torch.cat(each.tokens, -1).half()))
        logits, experts, tokens = (torch.cat(column) for column in zip(*pieces, strict=True))
        found[name] = FrameByFrame(logits, experts, [tokens])
    return found


def in_time_of(adapter: Path, parts: str) -> AUFormerInTime:
    """A fresh AUFormer in time above a trained AUFormer."""
    network = AUFormerInTime(BACKBONE, AUS, pretrained=True, expert_width=4, clip_length=LENGTH, time=parts, dim=DIM)
    if network.load_state_dict(load_detector(adapter).state_dict(), strict=False).unexpected_keys:
        raise ValueError(f"Expected an AUFormer with the experts of this comparison, but got {adapter}")
    return network


def train_in_time(
    row: str, seed: int, kept: Path, parts: Mapping[str, Part], adapter: Path, known: Mapping[str, FrameByFrame]
) -> tuple[dict[str, Any], np.ndarray]:
    """One row above a trained AUFormer: only the head over time is trained. Arguments as of `train_head`."""
    kind, seen = (IN_TIME | HALF)[row]
    torch.manual_seed(seed)
    network = in_time_of(adapter, kind)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("time_head."))
    weight = au_weights(*count_labels(parts["train"]["table"], AUS), au_names=AUS)

    def say(part: str) -> Say:
        def outputs(rows: Tensor, frames: int) -> dict[str, Tensor]:
            each = known[part]
            assert each.expert_logits is not None
            taps = list(each.tokens[0][rows].float().chunk(len(network.taps), -1))
            return network.with_time(FrameByFrame(each.logits[rows], each.expert_logits[rows], taps), frames)

        return outputs

    def loss(found: dict[str, Tensor], target: Tensor) -> Tensor:
        regions = region_loss(found["region_logits"], target, network.region_heads)
        return wa_loss(found["time_logits"], target, weight) + REGIONS * regions

    seconds = train_above(network, say("train"), loss, parts["train"], kept, seed, LENGTH, EPOCHS, seen)
    prob = predict_above(network, say("test"), parts["test"], LENGTH, seen)
    return {"trained": network.num_parameters()[0], "cpu_seconds": seconds}, prob


def second_half(part: Part) -> tuple[list[str], dict[str, Any]]:
    """The second half of the people of a part, `dataset/subject`, and the part with their runs alone."""
    people = part["table"]["dataset"] + "/" + part["table"]["subject"]
    others = sorted(people.unique())[people.nunique() // 2 :]
    own = people.isin(others).to_numpy()
    return others, {**part, "runs": [run for run in part["runs"] if own[run[0]]]}


def auformer_alone(known: FrameByFrame) -> np.ndarray:
    """Probabilities of AUFormer frame by frame `(n, N)`, the mean of both heads'."""
    assert known.expert_logits is not None
    return (known.logits.sigmoid() + known.expert_logits.sigmoid()).div(2).numpy()
