"""Scores of the runs of `experiments.ablations.language`: decisions, answers, sentences with controls, and where."""

from __future__ import annotations

import time
from pathlib import Path
from textwrap import wrap
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader

from auformer.agreement import agreement_sums, icc_from_sums, mae_from_sums
from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest
from auformer.language.facts import label_facts
from auformer.language.grammar import Grammar
from auformer.language.metrics import constant, swapped
from auformer.language.prompts import LEVELS
from auformer.metrics import (
    auroc,
    confusion_counts,
    expected_calibration_error,
    mean_f1,
    mean_over_aus,
    reliability_bins,
)
from auformer.models import load_detector
from auformer.predict.photo_card import font
from auformer.predict.text_scores import condition_scores, most_frequent
from auformer.synthetic.change import fixed_regions, mean_changes, read_changes

LABS = {"lab_a": "test_a", "lab_b": "test_b"}
BATCH = 50
SENTENCE_STEP = 4  # sentences of every fourth test image are scored [ours]: n-gram scores take a while
BEST_CELLS = 4  # that are wiped out of an image to see whether its decision rested on them, of 49
NUM_EXAMPLES = 5
DELETED = 150  # pairs of image and AU in which cells are wiped out, at equal distances
HEADS = ("logits", "expert_logits", "branch_logits")
TILE, TEXT = 168, 420  # pixels of an image in the picture of examples, and of the words beside it
MASK = 0.5  # a cell counts as changed from half of the largest change on


@torch.no_grad()
def score(
    what: str, adapter: Path, manifests: dict[str, Path], picture: Path | None = None, every: int = 1
) -> dict[str, Any]:
    """Everything that is known of one run, by lab, on every n-th test image.

    Of VL-FAU also five examples, whose images go into the file `picture`.
    """
    network = load_detector(adapter)
    found: dict[str, Any] = {}
    for lab, split in LABS.items():
        whole = read_manifest(manifests[split])
        kept = np.arange(0, len(whole), every)
        rows, step = whole.iloc[kept], max(1, SENTENCE_STEP // every)
        loaded = AUDataset(rows, Path(manifests[split]).parent, network.au_names, network.image_size)
        images = torch.cat([batch["image"] for batch in DataLoader(loaded, 200)])
        target = loaded.labels
        if what.startswith("aullava"):
            found[lab] = answers(network, images, rows, target)
        else:
            heads = by_head(network, images, target)
            found[lab] = {"occurrence": heads.pop("probs"), "heads": heads}
        if what.endswith("_unpaired"):
            found[lab]["pair"] = pair(network, images, target)
        speaks = "vlfau" in what and what != "vlfau_silent"
        if speaks or what == "aullava":
            found[lab]["sentences"] = sentences(network, images, rows, manifests["train"], step)
        if "vlfau" in what and lab == "lab_a":
            found[lab]["where"] = where(
                network, images, truth_of(manifests[split], network, kept), manifests["train"], target, step
            )
        if what == "vlfau" and lab == "lab_a" and picture is not None:
            truth = truth_of(manifests[split], network, kept)
            found["examples"] = examples(network, images, rows, truth, picture)
    return found


def truth_of(manifest: Path, network: Any, kept: np.ndarray) -> np.ndarray:
    """What each AU changes in the images that are kept `(n, N, h, w)`."""
    truth = read_changes(manifest, network.au_names)
    assert truth is not None
    return truth[kept]


def examples(
    network: Any, images: torch.Tensor, rows: pd.DataFrame, truth: np.ndarray, picture: Path
) -> list[dict[str, str]]:
    """Sentences of five images that were not chosen by anything but their place, and a picture with a row for each.

    The row: the image; where the branch of its strongest action unit (AU) looked; what that AU changes in the image;
    the face whose sentence is the swapped one; the three sentences.
    """
    names, grammar = list(network.au_names), Grammar(network.au_names)
    places = [round(place) for place in np.linspace(0, len(images) - 1, NUM_EXAMPLES)]
    other = partners(rows["subject"].to_numpy())
    said = [network.describe(images[[place]])[0] for place in places]
    swapped_ = [network.describe(images[[int(other[place])]])[0] for place in places]
    maps = network.attention_maps(images[places]).numpy()
    found, lines = [], [_heading()]
    for number, place in enumerate(places):
        facts = label_facts(rows.iloc[place], names)
        mass = [
            truth[place, at].sum() if names[at] in facts and facts[names[at]].active else 0 for at in range(len(names))
        ]
        strongest = int(np.argmax(mass))
        au = names[strongest]
        found.append({
            "image": str(rows["image"].iat[place]), "au": au,
            "own": said[number].sentences[au].text, "swapped": swapped_[number].sentences[au].text,
            "true": grammar.sentence(facts[au]), "face": said[number].face.text,
            "true_face": grammar.face(facts.values()),
        })  # fmt: skip
        image, stranger = (
            cv2.resize((images[at].permute(1, 2, 0).numpy() * 255).astype(np.uint8), (TILE, TILE))
            for at in (place, int(other[place]))
        )
        tiles = [image, _heated(image, maps[number, strongest]), _heated(image, truth[place, strongest]), stranger]
        lines.append(np.hstack([*tiles, _said(found[-1])]))
    whole = cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR)
    picture.write_bytes(cv2.imencode(".png", whole & 0xF8)[1].tobytes())
    return found


def _heading() -> np.ndarray:
    """What the columns of the picture are."""
    sheet = Image.new("RGB", (4 * TILE + TEXT, 26), "white")
    names = ("image", "where the branch looked", "what the AU changes", "face of the swapped one", "")
    for column, name in enumerate(names):
        ImageDraw.Draw(sheet).text((column * TILE + 6, 6), name, "black", font(12))
    return np.asarray(sheet)


def _said(example: dict[str, str]) -> np.ndarray:
    """The sentences of a row of the picture `(TILE, TEXT, 3)`."""
    sheet = Image.new("RGB", (TEXT, TILE), "white")
    lines = [example["au"]]
    for name in ("own", "swapped", "true"):
        lines += ["", *wrap(f"{name}: {example[name]}", 62)]
    ImageDraw.Draw(sheet).multiline_text((10, 4), "\n".join(lines), "black", font(13), spacing=2)
    return np.asarray(sheet)


def _heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image `(S, S, 3)` with a map `(h, w)` in red over it."""
    large = cv2.resize((heat / max(float(heat.max()), 1e-9)).astype(np.float32), image.shape[1::-1])[..., None]
    return (image * (1 - 0.6 * large) + np.array([255, 40, 0]) * 0.6 * large).astype(np.uint8)


def decisions(target: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Mean F1 at 0.5 and mean AUROC of probabilities `(n, N)`."""
    f1, area = mean_f1(confusion_counts(target, probs)), mean_over_aus(auroc(target, probs))
    ece = float(np.nanmean(expected_calibration_error(reliability_bins(target, probs))))
    return {"f1": f1.value, "auroc": area.value, "ece": ece}


def differ(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one >= 0.5) != (other >= 0.5)).mean())


def answers(network: Any, images: torch.Tensor, rows: pd.DataFrame, target: np.ndarray) -> dict[str, Any]:
    """AU-LLaVA's answers of all kinds, how far they agree with each other, and the controls."""
    tokens = torch.cat([network.image_tokens(each) for each in images.split(BATCH)])
    parts = {name: [] for name in ("probs", "intensity", "present", "list", "reversed")}
    backwards = list(network.au_names)[::-1]
    for each in tokens.split(BATCH):
        got = network.token_outputs(each)
        levels = network.probabilities(network.prefix(each), "level")
        parts["probs"].append(got["probs"])
        parts["intensity"].append(got["intensity"])
        parts["present"].append(levels[..., 1:].sum(-1))
        parts["list"].append(network.list_probs(each))
        parts["reversed"].append(network.list_probs(each, backwards))
    got = {name: torch.cat(each).numpy() for name, each in parts.items()}
    coded = np.stack([rows[f"{au}_intensity"].to_numpy(float) for au in network.au_names], 1)
    sums = agreement_sums(coded, got["intensity"])
    guess = np.abs(coded - np.median(coded, axis=0)).mean()
    subjects = rows["subject"].to_numpy()
    other = partners(subjects)
    few = slice(0, 100)
    singly = torch.cat([network.predict_probs(image[None]) for image in images[few]]).numpy()
    blank = network.predict_probs(torch.full_like(images[:5], 0.5))
    temperature = float(network.temperatures[0])
    logits = np.log(got["probs"] / (1 - got["probs"]))
    raw = decisions(target, 1 / (1 + np.exp(-logits * temperature)))["ece"]
    return {
        "occurrence": decisions(target, got["probs"]), "list": decisions(target, got["list"]),
        "level": decisions(target, got["present"]), "temperature": temperature, "ece_raw": raw,
        "swapped": decisions(target, got["probs"][other]),
        "intensity": {
            "r": correlation(coded, got["intensity"]),
            "mae": float(np.abs(coded - got["intensity"]).mean()), "mae_constant": float(guess),
            "icc": mean_over_aus(icc_from_sums(sums)).value, "mae_mean": mean_over_aus(mae_from_sums(sums)).value,
        },
        "differ": {
            "reversed": differ(got["list"], got["reversed"]), "list": differ(got["list"], got["probs"]),
            "level": differ(got["present"], got["probs"]),
        },
        "one_by_one": float(np.abs(singly - got["probs"][few]).max()),
        "blank_apart": float((blank - blank[:1]).abs().max()),
        "free_list_readable": free_share(network, tokens[::40]),
        "levels": len(LEVELS),
    }  # fmt: skip


def correlation(coded: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's r per AU, the mean over AUs; both `(n, N)`."""
    return float(np.nanmean([np.corrcoef(one, two)[0, 1] for one, two in zip(coded.T, predicted.T, strict=True)]))


def partners(subjects: np.ndarray) -> np.ndarray:
    """For each image, one of another subject, half of the images further on."""
    number = len(subjects)
    other = (np.arange(number) + number // 2) % number
    assert (subjects[other] != subjects).all()
    return other


def free_share(network: Any, tokens: torch.Tensor) -> float:
    """Share of freely written lists that are exactly of the fixed form."""
    from auformer.language.answers import read_strictly

    texts = network.free_answers(tokens, "list", network.au_names)
    return float(np.mean([read_strictly(text, network.au_names) is not None for text in texts]))


def pair(network: Any, images: torch.Tensor, target: np.ndarray) -> dict[str, float]:
    """Recall of both AUs of the pair that no training row showed together, where a test row does."""
    from experiments.ablations.language import PAIR

    places = [network.au_names.index(au) for au in PAIR]
    both = (target[:, places] == 1).all(1)
    probs = torch.cat([network.predict_probs(each) for each in images[torch.from_numpy(both)].split(BATCH)]).numpy()
    active = probs[:, places] >= 0.5
    return {"rows": int(both.sum()), "both": float(active.all(1).mean()),
            **{au: float(active[:, at].mean()) for at, au in enumerate(PAIR)}}  # fmt: skip


def by_head(network: Any, images: torch.Tensor, target: np.ndarray) -> dict[str, Any]:
    """Decisions of the prediction (`probs`) and of each head alone."""
    parts: dict[str, list[torch.Tensor]] = {}
    for each in images.split(BATCH):
        found = network.outputs(each)
        for name in [name for name in found if name == "probs" or name in HEADS]:
            parts.setdefault(name, []).append(found[name] if name == "probs" else found[name].sigmoid())
    return {name: decisions(target, torch.cat(each).numpy()) for name, each in parts.items()}


def sentences(
    network: Any, images: torch.Tensor, rows: pd.DataFrame, train: Path, step: int = SENTENCE_STEP
) -> dict[str, Any]:
    """Scores of the sentences of every `step`-th image: own, swapped, constant, and of a grey image; and how fast."""
    chosen = np.arange(0, len(images), step)
    names, grammar = list(network.au_names), Grammar(network.au_names)
    start, said = time.process_time(), []
    for each in images[chosen].split(BATCH):
        said += network.describe(each)
    seconds = time.process_time() - start
    (blank,) = network.describe(torch.full_like(images[:1], 0.5))
    lines, faces = [], []
    for place, each in zip(chosen.tolist(), said, strict=True):
        row = rows.iloc[place]
        facts = label_facts(row, names)
        for at, au in enumerate(names):
            fact = facts.get(au)
            true, degree = (-1, 0) if fact is None else (int(fact.active), fact.degree)
            lines.append((place, row["subject"], au, each.sentences[au].text, true, degree, int(each.probs[at] >= 0.5)))
        if each.face is not None:
            read = grammar.read_face(each.face.text)
            truth = {au for au, fact in facts.items() if fact.active}
            faces.append((read is not None, read is not None and {fact.au for fact in read} == truth))
    texts = pd.DataFrame(lines, columns=["image", "subject", "au", "text", "true", "true_degree", "active"])
    frequent = most_frequent(read_manifest(train), names)
    conditions = {
        "own": texts, "swapped": swapped(texts), "constant": constant(texts, grammar, frequent),
        "blank": texts.assign(text=[blank.sentences[au].text for au in texts["au"]]),
    }  # fmt: skip
    found: dict[str, Any] = {name: condition_scores(each, grammar, ngrams=True) for name, each in conditions.items()}
    found["decisions_f1"] = decisions(
        texts["true"].to_numpy().reshape(-1, len(names)),
        texts["active"].to_numpy().reshape(-1, len(names)).astype(float),
    )["f1"]
    found["images"], found["cpu_seconds"] = len(chosen), seconds
    if faces:
        found["face"] = {"readable": float(np.mean([one for one, _ in faces])),
                         "exact": float(np.mean([same for _, same in faces]))}  # fmt: skip
    return found


def where(
    network: Any, images: torch.Tensor, truth: np.ndarray, train: Path, target: np.ndarray, step: int = SENTENCE_STEP
) -> dict[str, dict[str, float]]:
    """Does the attention point at what changed, and does the decision rest on it? Beside maps that cannot know."""
    names, grid = list(network.au_names), network.grid_size
    learned = read_changes(train, names)
    assert learned is not None
    chosen = np.arange(0, len(images), step)
    attention = torch.cat([network.attention_maps(each) for each in images[chosen].split(BATCH)]).numpy()
    truth, active = truth[chosen], target[chosen] == 1
    rng, number = np.random.default_rng(0), len(names)
    maps = {
        "own": attention,
        "another AU's": attention[:, (np.arange(number) + 1) % number],
        "fixed per AU": np.broadcast_to(mean_changes(learned), attention.shape),
        "region asset": np.broadcast_to(fixed_regions(names, grid), attention.shape),
        "random": rng.random(attention.shape),
        "the change itself": truth,
    }
    pairs = [(image, au) for image, au in np.argwhere(active) if truth[image, au].max() > 0]
    few = [pairs[place] for place in np.linspace(0, len(pairs) - 1, min(len(pairs), DELETED)).astype(int)]
    found = {}
    for name, each in maps.items():
        hits, energy = [], []
        for image, au in pairs:
            mask = truth[image, au] >= MASK * truth[image, au].max()
            one = each[image, au]
            hits.append(bool(mask.flat[int(one.argmax())]))
            energy.append(float(one[mask].sum() / one.sum()) if one.sum() else 0.0)
        found[name] = {"pointing": float(np.mean(hits)), "energy": float(np.mean(energy)),
                       "deletion": deletion(network, images[chosen], few, each)}  # fmt: skip
    found["pairs"] = {"pointing": len(pairs), "deletion": len(few)}
    return found


def deletion(network: Any, images: torch.Tensor, pairs: list[Any], maps: np.ndarray) -> float:
    """Mean fall of an active AU's probability when the four best cells of its map become the image's mean colour."""
    rows, columns = network.grid_size
    height, width = network.image_size
    side = height // rows, width // columns
    falls = []
    for start in range(0, len(pairs), BATCH):
        some = pairs[start : start + BATCH]
        whole = torch.stack([images[image] for image, _ in some])
        wiped = whole.clone()
        for place, (image, au) in enumerate(some):
            for cell in np.argsort(-maps[image, au], axis=None)[:BEST_CELLS]:
                top, left = (int(cell) // columns) * side[0], (int(cell) % columns) * side[1]
                mean = whole[place].mean((1, 2))[:, None, None]
                wiped[place, :, top : top + side[0], left : left + side[1]] = mean
        before, after = network.predict_probs(whole), network.predict_probs(wiped)
        places = torch.tensor([au for _, au in some])[:, None]
        falls.append((before - after).gather(1, places)[:, 0])
    return float(torch.cat(falls).mean())
