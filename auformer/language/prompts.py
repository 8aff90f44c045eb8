"""What a language model is asked about a face, and what it may answer; each change of a form is another `VERSION`.

Two styles of the same questions. `short` is for the small model that this package trains from nothing: a word for the
kind, the names of the action units (AUs), a colon. `full` is for a pre-trained model: the purpose, a definition per AU,
the form of the answer, the question; AU-LLaVA's text states the same [W: abstract and captions of arXiv 2409.08444; the
wording is ours].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auformer.aus import ACTION_UNITS, MAX_INTENSITY
from auformer.language.grammar import Grammar
from auformer.language.lexicon import load_lexicon

VERSION = "1"  # travels in the adapter file; a model answers only the forms it was trained on
#: Kinds of questions: one AU at a time, but for `list`, which asks for all of them in one answer.
KINDS = ("occurrence", "list", "level", "value", "describe")
STYLES = ("short", "full")
NO, YES = "no", "yes"
LEVELS = tuple(str(level) for level in range(int(MAX_INTENSITY) + 1))
VALUES = tuple(f"{value / 100:.2f}" for value in range(101))
TASK = (
    "Task: say which muscles of the face in the image act, by the Facial Action Coding System (FACS), which describes "
    "movements and nothing else."
)
FORMS = {
    "occurrence": "Answer with yes or no.",
    "list": "Answer with the name of each action unit, a colon, and yes or no, with semicolons between them.",
    "level": "Answer with one digit: 0 for absent, 1 for a trace, 5 for the maximum.",
    "value": "Answer with a number from 0.00 to 1.00.",
    "describe": "Answer with one sentence about the muscle.",
}
ASKED = {
    "occurrence": "Is {aus} active?",
    "list": "Which of {aus} are active?",
    "level": "How intense is {aus}?",
    "value": "How intense is {aus}?",
    "describe": "What does the muscle of {aus} do?",
}


def definition(au: str) -> str:
    """One line about an AU, of its name, its muscle and what it does.

    >>> definition("AU12")
    'AU12, lip corner puller (zygomaticus major): the lip corners are pulled up and back.'
    """
    unit, words = ACTION_UNITS[au], load_lexicon().aus.get(au)
    name = f"{au}, {unit.name[:1].lower()}{unit.name[1:]}" + (f" ({unit.muscle})" if unit.muscle else "")
    return f"{name}: {' '.join(words.actions[0].replace('*', '').split())}." if words else f"{name}."


def question(kind: str, au_names: Sequence[str], style: str = "full") -> str:
    """The text before an answer.

    Args:
        kind: One of `KINDS`.
        au_names: The one AU asked about; for `list` all of them, in the order of the answer.
        style: `short` or `full`.

    Raises:
        ValueError: There is no such kind or style, or the number of AUs does not fit.

    >>> question("level", ["AU12"], "short")
    'level AU12:'
    """
    if kind not in KINDS or style not in STYLES:
        raise ValueError(f"Expected a kind of {', '.join(KINDS)} in style short or full, but got {kind!r}, {style!r}")
    if not au_names or (kind != "list" and len(au_names) != 1):
        raise ValueError(f"Expected one AU in a question of kind {kind}, some in a list, but got {list(au_names)}")
    if style == "short":
        return f"{kind} {' '.join(au_names)}:"
    lines = [TASK, *map(definition, au_names), FORMS[kind]]
    return "\n".join([*lines, f"Question: {ASKED[kind].format(aus=', '.join(au_names))}", "Answer:"])


def answers(kind: str, au: str, grammar: Grammar | None = None) -> tuple[str, ...]:
    """Everything that may be answered about one AU; of `list`, to its slot.

    Raises:
        ValueError: There is no such kind, or sentences are asked for without a grammar.
    """
    if kind in ("occurrence", "list"):
        return NO, YES
    if kind == "level":
        return LEVELS
    if kind == "value":
        return VALUES
    if kind != "describe" or grammar is None:
        raise ValueError(f"Expected a kind of {', '.join(KINDS)}, and a grammar for sentences, but got {kind!r}")
    return tuple(dict.fromkeys(text for fact in grammar.facts() if fact.au == au for text in grammar.texts(fact)))


def list_answer(states: Mapping[str, bool]) -> str:
    """The one answer to a list, in the order of the AUs given.

    >>> list_answer({"AU1": False, "AU2": True})
    'AU1: no; AU2: yes'
    """
    return "; ".join(f"{au}: {YES if active else NO}" for au, active in states.items())
