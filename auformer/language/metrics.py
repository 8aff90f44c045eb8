"""Scores of sentences: what they say against labels and decisions, with controls, and n-gram scores beside them.

A sentence can read well and say nothing of its image. So each score is to be shown for the image's `own` sentence, the
one of a face of another subject (`swapped`), and the most frequent fact of each action unit (AU) (`constant`). BLEU and
CIDEr are here because the field reports them; on sentences of a grammar the constant ones score nearly as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from auformer.errors import require
from auformer.language.facts import Fact
from auformer.language.grammar import Grammar, plain
from auformer.language.vocabulary import split

#: Columns of the tables here: which image (any label), whose face, which AU, the sentence about it, and where known
#: what is true (1, 0, -1 unknown; degree 0 unknown; `true_side` too where sides are known) and what the network decided
#: (1, 0, -1 none).
COLUMNS = ("image", "subject", "au", "text", "true", "true_degree", "active")
MAX_N, SIGMA = 4, 6.0  # of CIDEr-D (Vedantam et al., CVPR 2015, arxiv.org/abs/1411.5726, section 3)


def read_texts(texts: pd.DataFrame, grammar: Grammar) -> pd.DataFrame:
    """Add what each sentence says: `said`, `said_degree`, `said_side`.

    `said` is 1 or 0, and -1 where a sentence cannot be read or is about another AU.
    """
    facts = [grammar.read(str(text)) for text in texts["text"]]
    kept = [fact if fact is not None and fact.au == au else None for fact, au in zip(facts, texts["au"], strict=True)]
    said = [-1 if fact is None else int(fact.active) for fact in kept]
    degrees = [0 if fact is None else fact.degree for fact in kept]
    return texts.assign(said=said, said_degree=degrees, said_side=["" if fact is None else fact.side for fact in kept])


def text_scores(read: pd.DataFrame) -> dict[str, float]:
    """Scores of sentences that `read_texts` has read; rates of 0 to 1, nan where nothing can be scored.

    Returns:
        `readable`; `agreement` with the decisions; `truth`, agreement with the labels; `f1`, mean over AUs with a
        positive label; `degree` exact and `degree_near` within one step, over true positives with both degrees known,
        and their quadratic `kappa`; where sentences name sides, `side`: the right one, of the true positives that act
        on one side only. A sentence that cannot be read is wrong wherever there is something to compare it
        with, and counts against F1 as the opposite of the label.
    """
    said, known = read["said"].to_numpy(), (read["true"] >= 0).to_numpy()
    true = read["true"].to_numpy()
    decided = (read["active"] >= 0).to_numpy()
    scores = {
        "readable": _mean(said >= 0),
        "agreement": _mean((said == read["active"].to_numpy())[decided]),
        "truth": _mean((said == true)[known]),
    }
    counted = np.where(said >= 0, said, 1 - true)
    scores["f1"] = _mean(
        np.array(list(sentence_f1(read["au"].to_numpy()[known], true[known], counted[known]).values()))
    )
    both = known & (said == 1) & (true == 1) & (read["said_degree"] > 0).to_numpy()
    both &= (read["true_degree"] > 0).to_numpy()
    one, other = read["said_degree"].to_numpy()[both], read["true_degree"].to_numpy()[both]
    scores |= {"degree": _mean(one == other), "degree_near": _mean(np.abs(one - other) <= 1)}
    scores["kappa"] = quadratic_kappa(one, other)
    if "true_side" in read and (read["said_side"] != "").any():
        one_sided = known & (said == 1) & (true == 1) & (read["true_side"] != "").to_numpy()
        scores["side"] = _mean((read["said_side"] == read["true_side"]).to_numpy()[one_sided])
    return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def sentence_f1(aus: np.ndarray, true: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """F1 per AU of what sentences say, over AUs with a positive label; all `(n,)`, labels and sayings 0 or 1.

    >>> sentence_f1(np.array(["AU1"] * 4), np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    {'AU1': 0.5}
    """
    found = {}
    for au in dict.fromkeys(aus.tolist()):
        mine = aus == au
        hits = int((true[mine] * said[mine]).sum())
        if true[mine].sum():
            found[au] = float(2 * hits / (true[mine].sum() + said[mine].sum()))
    return found


def quadratic_kappa(one: np.ndarray, other: np.ndarray, levels: int = 3) -> float:
    """Cohen's kappa with quadratic weights of two ratings of 1 to `levels`; nan where chance explains all.

    >>> quadratic_kappa(np.array([1, 2, 3]), np.array([1, 2, 3]))
    1.0
    """
    if not len(one):
        return math.nan
    counts = np.zeros((levels, levels))
    np.add.at(counts, (one - 1, other - 1), 1)
    weights = (np.arange(levels)[:, None] - np.arange(levels)) ** 2
    chance = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    expected = (weights * chance).sum()
    return float(1 - (weights * counts).sum() / expected) if expected else math.nan


# controls
# ----------------------------------------------------------------------------------------------------------------


def swapped(texts: pd.DataFrame) -> pd.DataFrame:
    """Each image with the sentences of one of another subject, half of the images further on where that is one.

    Raises:
        ValueError: There is only one subject.
    """
    images = texts.drop_duplicates("image")[["image", "subject"]].reset_index(drop=True)
    number, subjects = len(images), images["subject"].to_numpy()
    if len(set(subjects.tolist())) < 2:
        raise ValueError("Expected images of at least two subjects to swap their sentences, but got one")
    partner = {}
    for place in range(number):
        other = (place + number // 2) % number
        while subjects[other] == subjects[place]:
            other = (other + 1) % number
        partner[images["image"].iat[place]] = images["image"].iat[other]
    said = texts.set_index(["image", "au"])["text"]
    keys = [(partner[image], au) for image, au in zip(texts["image"], texts["au"], strict=True)]
    return texts.assign(text=[said.get(key, "") for key in keys])


def constant(texts: pd.DataFrame, grammar: Grammar, frequent: Mapping[str, Fact]) -> pd.DataFrame:
    """Each AU with the plainest sentence of its most frequent fact, whatever the image."""
    return texts.assign(text=[grammar.sentence(frequent[au]) for au in texts["au"]])


def frequent_facts(au_names: Sequence[str], states: np.ndarray, degrees: np.ndarray) -> dict[str, Fact]:
    """The most frequent fact of each AU.

    Args:
        au_names: The N AUs.
        states: Labels `(n, N)`: 1, 0, -1 unknown.
        degrees: Degrees `(n, N)` of 1 to 3, 0 unknown.

    Raises:
        ValueError: An AU has no label at all.
    """
    found = {}
    for place, au in enumerate(au_names):
        known = states[:, place] >= 0
        if not known.any():
            raise ValueError(f"Expected labels of {au} to find its most frequent fact, but got none")
        active = states[known, place] == 1
        pairs = Counter(zip(active.tolist(), np.where(active, degrees[known, place], 0).tolist(), strict=True))
        state, degree = max(pairs, key=lambda pair: (pairs[pair], not pair[0]))
        found[au] = Fact(au, bool(state), int(degree))
    return found


# n-grams
# -----------------------------------------------------------------------------------------------------------------


def references(texts: pd.DataFrame, grammar: Grammar) -> list[list[str]]:
    """All sentences that say what is true, per row; rows without a label have none."""
    found = []
    sides = texts["true_side"] if "true_side" in texts and len(grammar.sides) > 1 else [""] * len(texts)
    for au, true, degree, side in zip(texts["au"], texts["true"], texts["true_degree"], sides, strict=True):
        fact = None if true < 0 else Fact(au, bool(true), int(degree) if true else 0, side if true else "")
        found.append([] if fact is None else grammar.texts(fact))
    return found


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU-4 of 0 to 100 by sacrebleu, words as `vocabulary.split` has them, without smoothing.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    library = require("sacrebleu", "language")
    most = max(map(len, references))
    columns = [[_spaced(each[place]) if place < len(each) else None for each in references] for place in range(most)]
    metric = library.BLEU(tokenize="none", force=True, smooth_method="none")
    return float(metric.corpus_score([_spaced(text) for text in texts], columns).score)


def _spaced(text: str) -> str:
    return " ".join(split(plain(text)))


def _grams(text: str) -> list[Counter[tuple[str, ...]]]:
    words = split(plain(text))
    return [
        Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1)) for n in range(1, MAX_N + 1)
    ]


def cider(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of 0 to 10, the mean over texts; document frequencies from the references of all texts.

    Vedantam et al., CVPR 2015: tf-idf vectors of 1- to 4-grams, clipped to the reference's, a Gaussian penalty of the
    difference in length (sigma 6), mean over references and n, times 10. As pycocoevalcap computes it.
    """
    cooked: dict[str, list[Counter[tuple[str, ...]]]] = {}
    for text in {text for each in references for text in each} | set(texts):
        cooked[text] = _grams(text)
    seen: Counter[tuple[str, ...]] = Counter()
    for each in references:
        seen.update({gram for text in each for counts in cooked[text] for gram in counts})
    log_images = math.log(len(references))
    vectors = {text: _vector(counts, seen, log_images) for text, counts in cooked.items()}
    pairs: dict[tuple[str, str], float] = {}
    scores = []
    for text, each in zip(texts, references, strict=True):
        for reference in each:
            if (text, reference) not in pairs:
                pairs[text, reference] = _similarity(vectors[text], vectors[reference])
        scores.append(10 * sum(pairs[text, reference] for reference in each) / len(each))
    return float(np.mean(scores))


Vector = tuple[list[dict[tuple[str, ...], float]], list[float], int]


def _vector(counts: list[Counter[tuple[str, ...]]], seen: Counter[tuple[str, ...]], log_images: float) -> Vector:
    """Weights per n-gram, norms per n, and the number of 2-grams, which pycocoevalcap takes for the length."""
    weights = [
        {gram: number * (log_images - math.log(max(1.0, seen[gram]))) for gram, number in grams.items()}
        for grams in counts
    ]
    norms = [math.sqrt(sum(weight**2 for weight in each.values())) for each in weights]
    return weights, norms, sum(counts[1].values())


def _similarity(text: Vector, reference: Vector) -> float:
    penalty = math.exp(-((text[2] - reference[2]) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for mine, theirs, norm, other in zip(text[0], reference[0], text[1], reference[1], strict=True):
        dot = sum(min(weight, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, weight in mine.items())
        total += dot / (norm * other) if norm and other else dot
    return penalty * total / MAX_N
