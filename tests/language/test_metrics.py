"""Scores of sentences by hand and by slow forms, and the controls."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from auformer.language.facts import Fact
from auformer.language.grammar import Grammar
from auformer.language.metrics import (
    COLUMNS,
    bleu,
    cider,
    constant,
    frequent_facts,
    quadratic_kappa,
    read_texts,
    references,
    swapped,
    text_scores,
)

GRAMMAR = Grammar(["AU4", "AU12"])


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_scores_by_hand() -> None:
    texts = table(
        (0, "a", "AU4", "the brows are strongly lowered and drawn together", 1, 3, 1),
        (0, "a", "AU12", "the lip corners are not pulled up", 0, 0, 0),
        (1, "b", "AU4", "the brows are slightly lowered and drawn together", 1, 3, 0),  # disagrees, two degrees off
        (1, "b", "AU12", "the lip corners pulled are up", 1, 1, 1),  # not of the grammar
        (2, "c", "AU4", "the lip corners are pulled up and back", 0, 0, 0),  # about another AU
        (2, "c", "AU12", "zygomaticus major clearly draws the lip corners towards the cheekbones", 1, 2, 1),
        (3, "d", "AU4", "the brows are not lowered", -1, 0, -1),
    )  # fmt: skip
    found = text_scores(read_texts(texts, GRAMMAR))
    assert found["readable"] == pytest.approx(5 / 7)
    assert found["agreement"] == pytest.approx(3 / 6)
    assert found["truth"] == pytest.approx(4 / 6)
    # AU4: 2 hits, 1 unreadable that counts as said -> 2*2/(2+3); AU12: 1 hit of 2 -> 2*1/(2+1)
    assert found["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["degree"] == pytest.approx(2 / 3) and found["degree_near"] == pytest.approx(2 / 3)


def test_sides_are_scored_where_they_are_said() -> None:
    texts = table(
        (0, "a", "AU12", "the lip corners are pulled up and back, only on the left", 1, 0, 1),
        (1, "b", "AU12", "the lip corners are pulled up and back, on the right side alone", 1, 0, 1),
        (2, "c", "AU12", "the lip corners are pulled up and back", 1, 0, 1),
    ).assign(true_side=["left", "left", ""])
    found = text_scores(read_texts(texts, Grammar(["AU12"], sides=True)))
    assert found["readable"] == 1.0 and found["side"] == 0.5
    assert references(texts, Grammar(["AU12"], sides=True))[1][0].endswith("only on the left")
    assert text_scores(read_texts(texts, Grammar(["AU12"])))["readable"] == pytest.approx(1 / 3)


def test_kappa_against_scikit_learn(rng: np.random.Generator) -> None:
    from sklearn.metrics import cohen_kappa_score

    one, other = rng.integers(1, 4, 200), rng.integers(1, 4, 200)
    expected = cohen_kappa_score(one, other, weights="quadratic", labels=[1, 2, 3])
    assert quadratic_kappa(one, other) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(quadratic_kappa(one[:0], other[:0]))


def test_swapped_sentences_are_those_of_another_subject(rng: np.random.Generator) -> None:
    rows = [(image, f"s{image // 3}", au, f"{image} {au}", 0, 0, 0) for image in range(12) for au in ("AU4", "AU12")]
    texts = table(*rows)
    found = swapped(texts)
    for row, other in zip(texts.itertuples(), found.itertuples(), strict=True):
        image, au = other.text.split()
        assert au == row.au and f"s{int(image) // 3}" != row.subject
    assert (found.drop(columns="text") == texts.drop(columns="text")).all().all()
    with pytest.raises(ValueError, match="at least two subjects"):
        swapped(texts[texts["subject"] == "s0"])


def test_constant_sentences_do_not_depend_on_the_image() -> None:
    states = np.array([[1, 0], [1, 0], [0, -1], [1, 1]])
    degrees = np.array([[2, 0], [2, 0], [0, 0], [1, 3]])
    frequent = frequent_facts(["AU4", "AU12"], states, degrees)
    assert frequent == {"AU4": Fact("AU4", True, 2), "AU12": Fact("AU12", False)}
    rows = [(image, f"s{image}", au, "x", 0, 0, 0) for image in range(3) for au in ("AU4", "AU12")]
    assert constant(table(*rows), GRAMMAR, frequent).groupby("au")["text"].nunique().eq(1).all()
    with pytest.raises(ValueError, match="labels of AU12"):
        frequent_facts(["AU12"], np.array([[-1]]), np.array([[0]]))


def slow_cider(texts: list[str], refs: list[list[str]]) -> float:
    """CIDEr-D straight from its formula, for texts without signs."""

    def grams(text: str, n: int) -> Counter[str]:
        words = text.split()
        return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    total = 0.0
    for text, mine in zip(texts, refs, strict=True):
        score = 0.0
        for ref in mine:
            for n in range(1, 5):
                seen = {
                    g: sum(any(g in grams(r, n) for r in each) for each in refs)
                    for g in {*grams(text, n), *grams(ref, n)}
                }
                weight = {g: math.log(len(refs)) - math.log(max(1, count)) for g, count in seen.items()}
                a = {g: c * weight[g] for g, c in grams(text, n).items()}
                b = {g: c * weight[g] for g, c in grams(ref, n).items()}
                dot = sum(min(v, b.get(g, 0)) * b.get(g, 0) for g, v in a.items())
                norm = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
                apart = (len(text.split()) - 1) - (len(ref.split()) - 1)
                score += (dot / norm if norm else dot) * math.exp(-apart * apart / 72) / 4
        total += 10 * score / len(mine)
    return total / len(texts)


def test_cider_against_its_formula(rng: np.random.Generator) -> None:
    rows = [
        (image, "s", au, str(rng.choice(GRAMMAR.texts(Fact(au, bool(rng.integers(2))), cues=False))), state, degree, 0)
        for image in range(8) for au in ("AU4", "AU12")
        for state, degree in [(int(rng.integers(2)), 0)]
    ]  # fmt: skip
    texts = table(*rows)
    refs = [[text for text in each if "," not in text] for each in references(texts, GRAMMAR)]
    found = cider(texts["text"].tolist(), refs)
    assert found == pytest.approx(slow_cider(texts["text"].tolist(), refs), abs=1e-6)
    assert found > 0


def test_bleu_by_hand() -> None:
    assert bleu(["the chin is not raised"], [["the chin is not raised"]]) == pytest.approx(100.0)
    # 5 of 6 words, 3 of 5 pairs, 2 of 4, 1 of 3; equally long
    expected = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert bleu(["a b c d x f"], [["a b c d e f"]]) == pytest.approx(expected)
    assert bleu(["a b c d"], [["z z z z", "a b c d"]]) == pytest.approx(100.0)


def test_references_are_all_true_sentences() -> None:
    rows = [(0, "s", "AU4", "", 1, 2, 1), (0, "s", "AU12", "", 0, 0, 0), (1, "s", "AU4", "", -1, 0, 0)]
    one, other, none = references(table(*rows), GRAMMAR)
    assert set(one) == set(GRAMMAR.texts(Fact("AU4", True, 2))) and other == GRAMMAR.texts(Fact("AU12", False))
    assert none == []
