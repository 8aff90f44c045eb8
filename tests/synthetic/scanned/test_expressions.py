"""Expressions in unusual company: what each kind of face must have, what cannot be, and how little AUs go together."""

import numpy as np
import pytest

from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.pairs import EXCLUDED
from auformer.synthetic.scanned.expressions import KINDS, ONE_PIECE, TRACE, expected_rates, sample_expression
from auformer.synthetic.scanned.person import LINES, Person
from auformer.synthetic.scanned.plan import plan_scanned

DRAWS = 3000


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(5)
    pairs = [sample_expression(rng, "A") for _ in range(DRAWS)]
    return np.stack([a for a, _ in pairs]), np.array([kind for _, kind in pairs])


def test_shape_range_and_shares(drawn):
    a, kind = drawn
    assert a.shape == (DRAWS, len(AU_NAMES), 2) and a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1
    assert np.isclose(sum(KINDS.values()), 1)
    for name, share in KINDS.items():
        assert abs((kind == name).mean() - share) < 0.025


def test_what_excludes_each_other_does_not_act_together(drawn):
    strong = drawn[0].max(2) > TRACE
    for first, second, _ in EXCLUDED:
        assert not (strong[:, INDEX[first]] & strong[:, INDEX[second]]).any(), (first, second)
    assert not (strong[:, INDEX["AU26"]] & strong[:, INDEX["AU27"]]).any()


def test_what_parts_the_lips_comes_with_parted_lips(drawn):
    a, kind = drawn
    own = kind != "lab"
    for name in ("AU16", "AU22", "AU27"):
        acts = own & (a[:, INDEX[name]].max(1) > TRACE)
        assert acts.any() and (a[acts, INDEX["AU25"]].max(1) > 0.2).all()


@pytest.mark.parametrize(
    ("kind", "present", "absent"),
    [
        ("closed_smile", ("AU12",), ("AU25", "AU26", "AU27")),
        ("squint", ("AU7",), ("AU6",)),
        ("speech", ("AU25",), ()),
        ("raised_speech", ("AU25",), ("AU4",)),
        ("rest", (), AU_NAMES),
    ],
)
def test_kinds_show_what_they_are_named_for(drawn, kind, present, absent):
    a = drawn[0][drawn[1] == kind].max(2)
    for name in present:
        assert (a[:, INDEX[name]] > TRACE).mean() > 0.9, name
    for name in absent:
        assert (a[:, INDEX[name]] <= TRACE).all(), name


def test_bared_teeth_have_lowered_brows(drawn):
    a = drawn[0][drawn[1] == "bared"].max(2)
    assert (a[:, INDEX["AU4"]] > 0.3).all() and (a[:, INDEX["AU25"]] > 0.3).mean() > 0.85
    raised = drawn[0][drawn[1] == "raised_speech"].max(2)
    assert ((raised[:, INDEX["AU1"]] > 0.2) | (raised[:, INDEX["AU2"]] > 0.2)).mean() > 0.9


def test_independent_muscles_are_one_to_six_and_hardly_go_together(drawn):
    a = drawn[0][drawn[1] == "independent"].max(2) > TRACE
    parted = a[:, [INDEX[name] for name in ("AU16", "AU22", "AU27")]].any(1)
    number = a.sum(1) - (parted & a[:, INDEX["AU25"]])
    assert number.min() >= 1 and number.max() == 6
    together = np.corrcoef(a.T)
    names = [name for name in AU_NAMES if name not in ("AU16", "AU22", "AU25", "AU27", "AU28")]
    rows = [INDEX[name] for name in names]
    off = np.abs(together[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)])
    assert off.max() < 0.20  # the labs' AU1 and AU2 reach .45, their AU6 and AU12 .5


def test_some_act_on_one_half_only_but_not_a_jaw(drawn):
    a = drawn[0][drawn[1] == "independent"]
    lean = np.abs(a[..., 0] - a[..., 1]) / np.maximum(a.max(2), 1e-6)
    for name in AU_NAMES:
        acts = a[:, INDEX[name]].max(1) > TRACE
        if name in ONE_PIECE:
            assert (lean[acts, INDEX[name]] == 0).all(), name
        else:
            assert 0.03 < (lean[acts, INDEX[name]] > 0.55).mean() < 0.25, name


def test_expected_rates_are_those_of_the_draws(drawn):
    rates = expected_rates("A")
    level = np.floor(np.round(5 * drawn[0].max(2), 6) + 0.5) >= 1
    for name in AU_NAMES:
        assert abs(rates[name] - level[:, INDEX[name]].mean()) < 0.03
    assert all(expected_rates("B")[name] < rates[name] for name in AU_NAMES)


def test_a_person_is_the_same_under_its_number_and_another_under_another():
    one, again, other = Person.sample(400_007), Person.sample(400_007), Person.sample(400_008)
    assert one.traits == again.traits and one.rest == again.rest and (one.coefficients == again.coefficients).all()
    assert (one.coefficients != other.coefficients).any()
    with pytest.raises(ValueError, match="at least 0"):
        Person.sample(-1)


def test_what_looks_like_a_muscle_says_nothing_about_any_label():
    """Brows, sockets, lids, resting mouths and lines of 150 people against how often each AU acts on their images."""
    people = [Person.sample(400_000 + number) for number in range(150)]
    faces = np.array(
        [
            [p["brow_shift"], p.identity["brow_thickness"], p["socket"], p["hood"], p["lids"], p["ridge"],
             p.rest["mouthFrown_L"], p.rest["browDown_L"], *(p["lines"][name] for name in LINES)]
            for p in people
        ]
    )  # fmt: skip
    rates = np.array(
        [np.mean([frame.intensity.max(1) > 0.1 for frame in plan_scanned("A", n, 12)], 0) for n in range(150)]
    )
    assert (faces.std(0) > 0.01).all()
    together = np.corrcoef(faces.T, rates.T)[: faces.shape[1], faces.shape[1] :]
    assert np.abs(together).max() < 0.33  # 384 pairs of independent columns of 150 reach .30


def test_a_frame_is_the_same_whatever_their_number_and_the_seed_changes_it():
    five, two = list(plan_scanned("A", 3, 5)), list(plan_scanned("A", 3, 2))
    for a, b in zip(five, two, strict=False):
        assert (a.intensity == b.intensity).all() and a.scene == b.scene and a.background_seed == b.background_seed
    other = next(plan_scanned("A", 3, 1, seed=1))
    assert other.scene != two[0].scene
    assert (next(plan_scanned("B", 3, 1)).scene) != two[0].scene
    with pytest.raises(ValueError, match="0 to 99999"):
        list(plan_scanned("A", 100_000, 1))
