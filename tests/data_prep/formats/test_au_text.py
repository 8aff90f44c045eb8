"""AU texts: a table made by hand, texts that are written and read back, columns of labels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.aus import ACTION_UNITS
from auformer.data_prep.formats.au_text import AUText, Term, label_columns, parse_aus

B, L, R = Term(), Term("left"), Term("right")


@pytest.mark.parametrize(
    ("text", "aus"),
    [
        ("4+L12", {"AU4": B, "AU12": L}),
        ("A1B+A2C", {"AU1": Term("", 2), "AU2": Term("", 3)}),
        ("AU4+AU7(k)", {"AU4": B}),
        ("AU4(k)+L7", {"AU7": L}),
        ("AUR2+12(k)+45", {"AU2": R, "AU45": B}),
        ("AU7(k)", {}),
        ("AU7（ｋ）+4", {"AU4": B}),
        ("4、7", {"AU4": B, "AU7": B}),
        ("１２＋４", {"AU12": B, "AU4": B}),
        ("4\n7", {"AU4": B, "AU7": B}),
        ("1 2 4", {"AU1": B, "AU2": B, "AU4": B}),
        ("R 12", {"AU12": R}),
        ("12R", {"AU12": R}),
        ("au12l + AU 04e", {"AU12": L, "AU4": Term("", 5)}),
        ("L12A+R12C", {"AU12": Term("", 3)}),
        ("12+L12B", {"AU12": Term("", 2)}),
        ("4+4", {"AU4": B}),
        ("4+", {"AU4": B}),
        ("0", {}),
    ],
)
def test_a_text_that_leaves_nothing_open(text, aus):
    assert parse_aus(text) == AUText(aus)


@pytest.mark.parametrize(
    ("text", "aus", "ambiguous", "unread", "complete"),
    [
        ("14 or 17", [], ["AU14", "AU17"], [], True),
        ("R14A or 17A", [], ["AU14", "AU17"], [], True),  # 1417 where only digits are kept
        ("4 + L14 OR L17", ["AU4"], ["AU14", "AU17"], [], True),
        ("12/15", [], ["AU12", "AU15"], [], True),
        ("4+12?", ["AU4"], ["AU12"], [], True),
        ("4 or 7+4", ["AU4"], ["AU7"], [], True),
        ("4+?", ["AU4"], [], [], False),
        ("4+foo", ["AU4"], [], ["foo"], False),
        ("=1+1", ["AU1"], [], ["=1"], False),
        *((text, [], [], [], False) for text in ("?", "", " \u3000 ", "+", "null", "/")),
        # 4.7: a comma list that a spreadsheet took for a number
        *((text, [], [], [text], False) for text in ("123", "4.7", "L12R", "12F", "AU", "-4", "14Aor17A", "4\0")),
    ],
)
def test_what_is_open_is_said(text, aus, ambiguous, unread, complete):
    read = parse_aus(text)
    assert (list(read.aus), read.ambiguous, read.unread, read.complete) == (aus, ambiguous, unread, complete)


@pytest.mark.parametrize(
    "text",
    ["4" + " " * 30_000 + "x", "1+" * 20_000, "0" * 30_000, "9" * 30_000, "L" * 30_000, "4 or " * 8_000, "(" * 30_000],
)
def test_a_hostile_text_is_read_at_once(text):
    assert isinstance(parse_aus(text), AUText)


def test_marked_terms_are_kept_on_request():
    assert parse_aus("AU4+AU7(k)", keep_marked=True).aus == {"AU4": B, "AU7": B}


terms = st.builds(Term, st.sampled_from(["", "left", "right"]), st.sampled_from([None, 1, 2, 3, 4, 5]))
spellings = st.tuples(
    st.sampled_from(["", "AU", "AU "]), st.booleans(), st.booleans(), st.sampled_from(["+", " + ", ",", "，", ", "])
)


def written(aus: dict[str, Term], spelling: tuple[str, bool, bool, str]) -> str:
    """A text for these terms: the prefix, side before or after the number, a leading zero, and what is put between."""
    prefix, after, zero, between = spelling
    texts = []
    for au, term in aus.items():
        number = f"{int(au[2:]):02d}" if zero else au[2:]
        letter = "" if term.intensity is None else "ABCDE"[term.intensity - 1]
        side = term.side[:1].upper()
        texts.append(prefix + (number + letter + side if after else side + number + letter))
    return between.join(texts)


@given(st.dictionaries(st.sampled_from(sorted(ACTION_UNITS)), terms, min_size=1), spellings)
def test_what_is_written_is_read_back(aus, spelling):
    read = parse_aus(written(aus, spelling))
    assert read == AUText(aus) and list(read.aus) == list(aus)


@given(st.text(max_size=40))
def test_any_text_is_read(text):
    read = parse_aus(text)
    assert set(read.aus) | set(read.ambiguous) <= set(ACTION_UNITS)
    assert not set(read.aus) & set(read.ambiguous)
    assert read.complete == (not read.unread) or not read.aus or "?" in text


def test_label_columns_by_hand():
    texts = [parse_aus(text) for text in ("4+L12A", "R12", "12C+2", "14 or 17", "?", "4+foo")]
    columns = label_columns(texts, ["AU4", "AU12"])
    assert list(columns) == ["AU2", "AU4", "AU12", "AU12_left", "AU12_right", "AU12_intensity", "AU14", "AU17"]
    expected = {
        "AU2": [0, 0, 1, 0, -1, -1], "AU4": [1, 0, 0, 0, -1, 1], "AU12": [1, 1, 1, 0, -1, -1],
        "AU12_left": [1, 0, 1, 0, -1, -1], "AU12_right": [0, 1, 1, 0, -1, -1], "AU14": [0, 0, 0, -1, -1, -1],
        "AU17": [0, 0, 0, -1, -1, -1],
    }  # fmt: skip
    assert {name: columns[name].tolist() for name in expected} == expected
    assert [None if math.isnan(value) else value for value in columns["AU12_intensity"]] == [1, None, 3, 0, None, None]


def test_label_columns_of_no_text():
    assert label_columns([], ["AU4"]).to_dict("list") == {"AU4": []}
