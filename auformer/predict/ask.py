"""A person's question about an image, answered by a language model in its trained forms, or by rule from decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from auformer.aus import ACTION_UNITS
from auformer.data.images import read_image
from auformer.data.transforms import resize, to_float
from auformer.language.facts import Fact, fact_of
from auformer.language.grammar import Grammar, shown
from auformer.language.lexicon import load_lexicon
from auformer.language.prompts import LEVELS
from auformer.language.questions import Declined, Question, understand
from auformer.models.batches import find_device
from auformer.models.checkpoint_path import DEMO_DETECTOR, resolve_checkpoint
from auformer.models.checkpoints import inspect_checkpoint, open_detector
from auformer.predict.describe import Describer, Seen, writes_sentences
from auformer.predict.descriptions import MODEL, RULE
from auformer.predict.predictor import AUPredictor
from auformer.report.html import demo_note


class Answered(NamedTuple):
    """What a question got.

    Args:
        faces: Lines of the answer per face, the largest first; empty where it was declined.
        source: `model` or `rule`.
        declined: Why there is no answer, or None.
        notice: What every output of the packaged demo network has to say; None for others.
    """

    faces: list[list[str]]
    source: str
    declined: str | None = None
    notice: str | None = None


def ask(
    checkpoint: str | Path, image: str | Path, question: str, *, language: str = "en", device: str = "auto",
    detector: str = "cascade", backbone_checkpoint: str | Path | None = None,
) -> Answered:  # fmt: skip
    """Answer a question about the faces of an image, or decline it with the reason, before anything is computed.

    Args:
        checkpoint: Anything that `open_detector` takes.
        image: A photo.
        question: In English or German, see `auformer.language.questions`.
        language: Of sentences in the answer, `en` or `de`.
        device: `auto`, or a name as torch takes it.
        detector: The face detector.
        backbone_checkpoint: Local file with the frozen weights, where they cannot be fetched.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        FaceNotFoundError: There is no face in the image.
        ValueError: The question is empty or too long, or the image cannot be read.
    """
    adapter = resolve_checkpoint(checkpoint)
    names = inspect_checkpoint(adapter)[1].au_names
    asked = understand(question, names)
    if isinstance(asked, Declined):
        return Answered([], RULE, asked.reason)
    device = find_device(device)
    network = open_detector(adapter, device=device, backbone_checkpoint=backbone_checkpoint).eval()
    predictor = AUPredictor(network, device=device, detector=detector)
    crops = [face.crop for face in predictor.predict_image(read_image(image))]
    images = torch.stack([torch.from_numpy(to_float(resize(crop, network.image_size))) for crop in crops])
    faces, source = answer(network, images.to(device), asked, language)
    notice = demo_note(intensity=bool(getattr(network, "intensity_aus", ()))) if adapter == DEMO_DETECTOR else None
    return Answered(faces, source, None, notice)


@torch.inference_mode()
def answer(network: Any, images: torch.Tensor, asked: Question, language: str = "en") -> tuple[list[list[str]], str]:
    """Lines of the answer for each image, and whether a model or a rule gave them.

    Args:
        network: In eval mode, on the device of the images.
        images: `(B, 3, H, W)` float in [0, 1], aligned.
        asked: What is to be answered.
        language: Of sentences.
    """
    speaks = hasattr(network, "probabilities") and asked.kind in network.questions
    if asked.kind == "describe":
        describer = Describer(network, language=language, everything=bool(asked.au_names), device=images.device)
        found = [describer.rows([Seen(("",) * 7, image)]) for image in images]
        wanted = asked.au_names or None
        lines = [[row[8] for row in rows if (row[7] in wanted if wanted else True)] for rows in found]
        return lines, MODEL if writes_sentences(network) else RULE
    if speaks:
        prefix = network.prefix(network.image_tokens(images))
        probs = network.probabilities(prefix, asked.kind, list(asked.au_names)).float().cpu()
        return [
            [_model_line(asked.kind, au, row) for au, row in zip(asked.au_names, each.tolist(), strict=True)]
            for each in probs
        ], MODEL
    describer = Describer(network, language=language, everything=True, device=images.device)
    lines = []
    for probs, levels in zip(*describer.values(images), strict=True):
        chosen = _chosen(network, asked, probs, levels)
        lines.append([_rule_line(asked, au, network, prob, level, language) for au, prob, level in chosen])
    return lines, RULE


def _chosen(network: Any, asked: Question, probs: Any, levels: Any) -> list[tuple[str, float, float]]:
    places = [network.au_names.index(au) for au in asked.au_names]
    return [(au, float(probs[at]), float(levels[at])) for au, at in zip(asked.au_names, places, strict=True)]


def _name(au: str) -> str:
    return f"{au}, {ACTION_UNITS[au].name.lower()}"


def _model_line(kind: str, au: str, probs: Sequence[float]) -> str:
    """An answer of a language model: the likeliest, and how likely."""
    if kind == "occurrence":
        return f"{'Yes' if probs[1] >= 0.5 else 'No'}: {_name(au)} (probability {probs[1]:.2f})."
    best = max(range(len(LEVELS)), key=lambda level: probs[level])
    mean = sum(level * prob for level, prob in enumerate(probs))
    return f"{best} of 5: {_name(au)} (expected {mean:.1f})."


def _rule_line(asked: Question, au: str, network: Any, prob: float, level: float, language: str) -> str:
    """An answer made of a decision and, where there is one, an intensity."""
    fact: Fact = fact_of(au, prob >= network.thresholds[au], level)
    if asked.kind == "level":
        known = level == level
        return f"{level:.1f} of 5: {_name(au)}." if known else f"{_name(au)}: this checkpoint gives no intensities."
    text = shown(Grammar([au], language).sentence(fact)) if au in load_lexicon(language).aus else ""
    return f"{'Yes' if fact.active else 'No'}: {_name(au)} (probability {prob:.2f}). {text}".rstrip()
