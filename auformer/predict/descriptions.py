"""A descriptions file: a row is one sentence about a face. Reading it, and sentences made by rule; without torch.

dataset, subject, sequence, frame, face   the key, as in a predictions file
file, time_s                              where known
au        the action unit (AU); empty: the whole face
text      the sentence
active    1 or 0: what the sentence says; empty where it is not one of the grammar's, and of the whole face
degree    1 to 3, slight to strong, of an active AU; empty where no degree is said
agrees    1 where `active` is the decision of the same forward pass, 0 where it is not
log_prob  mean log-probability per word, of a sentence that a network wrote; higher is surer
source    model or rule
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import KEY, predicted_aus, read_predictions
from auformer.data.table_file import open_table, read_sidecar, write_sidecar, write_table
from auformer.errors import ManifestError
from auformer.language.facts import Fact, predicted_facts
from auformer.language.grammar import Grammar, shown
from auformer.language.lexicon import lexicon_version, load_lexicon

COLUMNS = (*KEY, "file", "time_s", "au", "text", "active", "degree", "agrees", "log_prob", "source")
MODEL, RULE = "model", "rule"


def as_table(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of `COLUMNS` as a table with whole numbers that may be missing."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = dict.fromkeys(("active", "degree", "agrees"), "Int8")
    return table.astype({**whole, "log_prob": float, "time_s": float, "frame": int, "face": int})


def rule_rows(
    key: tuple[Any, ...], facts: Mapping[str, Fact], grammar: Grammar, *, everything: bool = False
) -> list[tuple[Any, ...]]:
    """Rows of one face whose sentences are made of its facts, the one about the whole face first.

    Args:
        key: The values of the columns before `au`.
        facts: By AU.
        grammar: Of those AUs.
        everything: A sentence about every AU, not only about active ones.
    """
    rows: list[tuple[Any, ...]] = [(*key, "", shown(grammar.face(facts.values())), None, None, 1, None, RULE)]
    for au in grammar.au_names:
        fact = facts.get(au)
        if fact is not None and (fact.active or everything):
            text = shown(grammar.sentence(fact))
            rows.append((*key, au, text, int(fact.active), fact.degree or None, 1, None, RULE))
    return rows


def read_descriptions(path: str | Path) -> pd.DataFrame:
    """A descriptions file, its sidecar in `attrs["side"]`.

    Raises:
        ManifestError: It cannot be read, or lacks a column.
    """
    table = open_table(path)
    missing = [name for name in (*KEY, "au", "text") if name not in table]
    if missing:
        raise ManifestError(f"Expected {path} to be a descriptions file, but it has no column {', '.join(missing)}")
    for name in ("dataset", "subject", "sequence", "au", "text"):
        table[name] = table[name].fillna("").astype(str)
    for name in ("frame", "face", "active", "degree", "agrees", "log_prob"):
        if name in table:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    if table[["frame", "face"]].isna().any().any():
        raise ManifestError(f"Expected whole numbers in the columns frame and face of {path}, but some are not")
    table = table.astype({"frame": int, "face": int})
    table.attrs["side"] = read_sidecar(path)
    return table


def describe_predictions(table: pd.DataFrame, au_names: Sequence[str], language: str = "en") -> pd.DataFrame:
    """Sentences by rule from a predictions table: of the `_active` columns and, where there are any, intensities."""
    known = load_lexicon(language).aus
    names = [au for au in au_names if au in known]
    grammar = Grammar(names, language)
    rows: list[tuple[Any, ...]] = []
    for row in table.to_dict("records"):
        if row.get("status", "ok") == "ok":
            key = (*(row[name] for name in KEY), row.get("file"), row.get("time_s"))
            rows += rule_rows(key, predicted_facts(row, names), grammar)
    return as_table(rows)


def write_rule_descriptions(predictions: str | Path, language: str = "en") -> Path:
    """Sentences by rule beside a predictions file: `predictions.csv` gets `predictions.descriptions.csv`.

    Returns:
        The descriptions file; one that is there is replaced, as it follows from the predictions alone.
    """
    path = Path(predictions)
    out = path.with_name(f"{path.stem}.descriptions{path.suffix}")
    table = read_predictions(path)
    names = predicted_aus(table)
    write_table(describe_predictions(table, names, language), out)
    known = load_lexicon(language).aus
    side: dict[str, Any] = {"kind": "descriptions", "predictions": path.name, "source": RULE, "language": language}
    side |= {"lexicon": lexicon_version(), "aus_without_words": [au for au in names if au not in known], "blank": None}
    write_sidecar({**side, "notice": table.attrs["side"].get("notice")}, out)
    return out
