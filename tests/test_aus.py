"""The table of action units and what users may write for them."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from auformer.aus import ACTION_UNITS, AU_SETS, REGIONS, SHARED_BP4D_DISFA, canonical, parse_au_names

ASSETS = Path(__file__).resolve().parents[1] / "auformer" / "assets"


def test_the_table_holds_every_number_once_under_its_own_name() -> None:
    assert all(key == unit.key == f"AU{unit.number}" for key, unit in ACTION_UNITS.items())
    numbers = [unit.number for unit in ACTION_UNITS.values()]
    assert numbers == sorted(set(numbers))
    # FACS has no AU3 and no AU40 in the adult system; 1-39 are muscles, 41-46 lids, 51-58 head, 61-66 gaze
    assert set(numbers) == ({*range(1, 47)} - {3, 40}) | {*range(51, 59)} | {*range(61, 67)}


def test_every_unit_says_where_it_is_and_what_moves() -> None:
    assert {unit.region for unit in ACTION_UNITS.values()} == set(REGIONS)
    for unit in ACTION_UNITS.values():
        assert unit.name
        assert unit.name[0].isupper()
        assert bool(unit.muscle) == (unit.region not in ("head", "gaze"))


@pytest.mark.parametrize(
    ("key", "name", "muscle", "region"),
    [
        ("AU1", "Inner brow raiser", "frontalis", "brow"),
        ("AU6", "Cheek raiser", "orbicularis oculi", "cheeks"),
        ("AU9", "Nose wrinkler", "alaeque nasi", "nose"),
        ("AU12", "Lip corner puller", "zygomaticus major", "mouth"),
        ("AU17", "Chin raiser", "mentalis", "chin"),
        ("AU45", "Blink", "levator palpebrae", "eyes"),
    ],
)
def test_spot_checks_against_the_manual(key: str, name: str, muscle: str, region: str) -> None:
    unit = ACTION_UNITS[key]
    assert (unit.name, unit.region) == (name, region)
    assert muscle in unit.muscle


@pytest.mark.parametrize(
    ("name", "size", "first", "last"),
    [
        ("bp4d", 12, "AU1", "AU24"), ("bp4d_plus", 12, "AU1", "AU24"), ("bp4d_coded", 27, "AU1", "AU39"),
        ("bp4d_intensity", 5, "AU6", "AU17"), ("disfa", 8, "AU1", "AU26"), ("disfa12", 12, "AU1", "AU26"),
        ("disfa_plus", 12, "AU1", "AU26"),
        ("casme", 4, "AU1", "AU14"), ("casme2", 8, "AU1", "AU17"), ("samm", 4, "AU2", "AU12"),
        ("mmew", 8, "AU1", "AU14"),
        ("fourdme", 8, "AU1", "AU45"), ("cd6me", 12, "AU1", "AU17"), ("affwild2", 12, "AU1", "AU26"),
        ("affwild2_2020", 8, "AU1", "AU25"),
        ("emotionet", 12, "AU1", "AU43"), ("emotionet23", 23, "AU1", "AU56"), ("unbc", 10, "AU4", "AU43"),
        ("synthetic", 24, "AU1", "AU43"), ("all", 24, "AU1", "AU43"),
    ],
)  # fmt: skip
def test_sets_of_data_sets(name: str, size: int, first: str, last: str) -> None:
    names = AU_SETS[name]
    assert (len(names), names[0], names[-1]) == (size, first, last)


def test_sets_are_known_units_in_facs_order() -> None:
    for name, names in AU_SETS.items():
        numbers = [ACTION_UNITS[au].number for au in names]
        assert numbers == sorted(set(numbers)), name


def test_shared_units_of_cross_domain_work_are_the_common_ones() -> None:
    assert tuple(au for au in AU_SETS["bp4d"] if au in AU_SETS["disfa"]) == SHARED_BP4D_DISFA


def test_the_rendered_set_is_what_the_renderer_moves() -> None:
    """One list in code, one table of muscles in the assets."""
    muscles = json.loads((ASSETS / "muscles.json").read_text(encoding="utf-8"))
    assert tuple(muscles) == AU_SETS["all"]


@pytest.mark.parametrize("name", ["AU12", "au12", "AU012", "12", "012", 12, " AU 12 ", np.int64(12), np.str_("Au12")])
def test_canonical_accepts_how_people_write_it(name: str | int) -> None:
    assert canonical(name) == "AU12"


@pytest.mark.parametrize(
    "name", ["", "AU", "AU0", 0, -12, "AU3", 40, "AU12_left", "AU12_r", "12.0", 12.0, True, None, "smile", "AU99"]
)
def test_canonical_refuses_what_is_no_action_unit(name: object) -> None:
    with pytest.raises(ValueError, match="Expected `name` to be an action unit"):
        canonical(name)  # type: ignore[arg-type]


@given(st.sampled_from(sorted(ACTION_UNITS)), st.integers(0, 3), st.booleans())
def test_canonical_is_the_identity_on_every_spelling(key: str, zeros: int, lower: bool) -> None:
    text = f"{'au' if lower else 'AU'}{'0' * zeros}{key[2:]}"
    assert canonical(text) == key == canonical(canonical(text))


def test_parse_reads_sets_lists_and_sequences() -> None:
    assert parse_au_names("bp4d") == AU_SETS["bp4d"]
    assert parse_au_names(" DISFA ") == AU_SETS["disfa"]
    assert parse_au_names("au12, 4,AU01") == ("AU12", "AU4", "AU1")
    assert parse_au_names(["AU06", 12]) == ("AU6", "AU12")
    assert parse_au_names("12") == ("AU12",)
    assert parse_au_names(AU_SETS["samm"]) == AU_SETS["samm"]


def test_parse_refuses_doubles_nothing_and_unknown_names() -> None:
    with pytest.raises(ValueError, match="but got AU12 more than once"):
        parse_au_names("AU12,4,12")
    with pytest.raises(ValueError, match="at least one action unit"):
        parse_au_names(" , ")
    with pytest.raises(ValueError, match="at least one action unit"):
        parse_au_names([])
    with pytest.raises(ValueError, match="one of affwild2.*but got 'bp4e'"):
        parse_au_names("bp4e")
    with pytest.raises(ValueError, match="but got 'smile'"):
        parse_au_names("AU12,smile")
