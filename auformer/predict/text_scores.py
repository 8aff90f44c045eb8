"""Scores of a descriptions file against the labels of a manifest, beside the controls that show what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auformer.data.manifest import KEY, au_columns, read_manifest
from auformer.errors import ManifestError
from auformer.language.facts import Fact, label_facts
from auformer.language.grammar import Grammar
from auformer.language.metrics import (
    bleu,
    cider,
    constant,
    frequent_facts,
    read_texts,
    references,
    swapped,
    text_scores,
)
from auformer.predict.descriptions import read_descriptions

MOST_TEXTS = 4000  # that n-gram scores are computed of, spread evenly over the file [ours]: CIDEr takes a while


class TextScores(NamedTuple):
    """Scores of one descriptions file.

    Args:
        rows: Per condition (`own`, `swapped`, `constant`, and `blank` of a file that a network wrote) its scores.
        au_names: AUs with sentences and labels.
        faces: Faces with sentences and labels.
        said: What was left out, or is to be known.
    """

    rows: dict[str, dict[str, float]]
    au_names: list[str]
    faces: int
    said: list[str]


def score_texts(
    descriptions: str | Path, manifest: str | Path, *, train: str | Path | None = None, ngrams: bool = False
) -> TextScores:
    """Score the sentences about action units (AUs) in a descriptions file.

    Args:
        descriptions: As `describe --all` writes it: a sentence about every AU.
        manifest: Labels, by the same key.
        train: Manifest whose most frequent facts are the constant sentences; `manifest` itself by default.
        ngrams: BLEU-4 and CIDEr-D too.

    Raises:
        ManifestError: A file cannot be used, sentences are only about active AUs, or keys do not meet.
        MissingExtraError: n-grams are asked for and sacrebleu is not installed.
    """
    table = read_descriptions(descriptions)
    texts, au_names = joined(table, read_manifest(manifest), where=str(descriptions))
    side, said = table.attrs["side"], []
    grammar = Grammar(au_names, side.get("language", "en"), sides=bool(side.get("sides")))
    labels = read_manifest(train or manifest)
    if train is None:
        said.append("The constant sentences are the most frequent facts of the manifest itself: name --train.")
    frequent = most_frequent(labels, au_names)
    blank = side.get("blank") or {}
    conditions = {"own": texts, "constant": constant(texts, grammar, frequent)}
    if texts["subject"].nunique() > 1:
        conditions["swapped"] = swapped(texts)
    else:
        said.append("One subject only: sentences cannot be swapped with those of another.")
    if blank:
        conditions["blank"] = texts.assign(text=[blank.get(au, "") for au in texts["au"]])
    order = [name for name in ("own", "swapped", "constant", "blank") if name in conditions]
    rows: dict[str, dict[str, float]] = {}
    for name in order:
        rows[name] = condition_scores(conditions[name], grammar, ngrams=ngrams)
    return TextScores(rows, au_names, texts["image"].nunique(), said)


def condition_scores(texts: pd.DataFrame, grammar: Grammar, *, ngrams: bool) -> dict[str, float]:
    """Scores of the sentences of one condition, see `auformer.language.metrics.text_scores`."""
    scores = text_scores(read_texts(texts, grammar))
    if ngrams:
        known = texts[texts["true"] >= 0]
        few = known.iloc[np.linspace(0, len(known) - 1, min(len(known), MOST_TEXTS)).astype(int)]
        wanted = references(few, grammar)
        scores |= {"bleu4": bleu(few["text"].tolist(), wanted), "cider": cider(few["text"].tolist(), wanted)}
    return scores


def joined(table: pd.DataFrame, manifest: pd.DataFrame, *, where: str) -> tuple[pd.DataFrame, list[str]]:
    """The table that `auformer.language.metrics` scores, and its AUs.

    Raises:
        ManifestError: Sentences are only about active AUs, or no key is in both.
    """
    sentences = table[table["au"] != ""]
    aus = [au for au in dict.fromkeys(sentences["au"]) if au in au_columns(manifest)]
    labels = {
        tuple(row[name] for name in KEY): label_facts(row, aus, sides=True) for row in manifest.to_dict("records")
    }
    keys = list(zip(*(sentences[name].tolist() for name in KEY), strict=True))
    if not aus or not any(key in labels for key in keys):
        raise ManifestError(
            f"Expected sentences in {where} about labelled faces of the manifest, but no key is in both"
        )
    counts = sentences.groupby(list(KEY)).size()
    if (counts != counts.max()).any():
        raise ManifestError(
            f"Expected a sentence about every action unit in {where}, but some faces have fewer than others: sentences "
            "about active ones only cannot be scored; write the file with --all"
        )
    rows = []
    decided = sentences["active"].tolist() if "active" in sentences else [None] * len(sentences)
    agrees = sentences["agrees"].tolist() if "agrees" in sentences else [None] * len(sentences)
    for key, au, text, said, same in zip(keys, sentences["au"], sentences["text"], decided, agrees, strict=True):
        if key not in labels or au not in aus:
            continue
        fact = labels[key].get(au)
        true, degree, side = (-1, 0, "") if fact is None else (int(fact.active), fact.degree, fact.side)
        rows.append((key, key[1], au, text, true, degree, side, _decision(said, same)))
    columns = ["image", "subject", "au", "text", "true", "true_degree", "true_side", "active"]
    return pd.DataFrame(rows, columns=columns), aus


def _decision(said: Any, agrees: Any) -> int:
    """The decision that a row agrees with or not; -1 where that is not known."""
    if pd.isna(said) or pd.isna(agrees):
        return -1
    return int(said) if int(agrees) else 1 - int(said)


def most_frequent(manifest: pd.DataFrame, au_names: list[str]) -> Mapping[str, Fact]:
    """The most frequent fact of each AU among a manifest's rows."""
    facts = [label_facts(row, au_names) for row in manifest.to_dict("records")]
    states = np.array([[int(each[au].active) if au in each else -1 for au in au_names] for each in facts])
    degrees = np.array([[each[au].degree if au in each else 0 for au in au_names] for each in facts])
    return frequent_facts(au_names, states, degrees)
