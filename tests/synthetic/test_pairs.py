"""Which AUs come together: rules, what later AUs leave as it was, and that their looks do not contradict them."""

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.synthetic import AU_NAMES, CHANNELS, Identity, Renderer, sample_aus, sample_scene
from auformer.synthetic.clips import COMPANIONS
from auformer.synthetic.frames import plan_stills
from auformer.synthetic.muscles import INDEX, LATER, drive
from auformer.synthetic.pairs import EXCLUDED, choose, silenced
from auformer.synthetic.sampling import LOADING_CAP, SPEECH_RATE, _table
from experiments.pretraining.points_data import sample_expression

FIRST = [name for name in AU_NAMES if name not in LATER]
CELLS = 56


def sampler_of_17(rng: np.random.Generator, lab: str) -> np.ndarray:
    """Intensities `(17, 2)` by the sampler as it was before the later AUs, written down anew."""
    count, at = len(FIRST), FIRST.index
    loadings = np.array([[cause.get(name, 0.0) for name in FIRST] for cause in _table()["factors"]])
    loadings /= np.maximum(1, np.sqrt((loadings**2).sum(0) / LOADING_CAP))
    cut = np.array([NormalDist().inv_cdf(1 - _table()["labs"][lab]["rates"][name]) for name in FIRST])
    z = rng.standard_normal(len(loadings)) @ loadings
    z = z + np.sqrt(1 - (loadings**2).sum(0)) * rng.standard_normal(count) - cut
    on, pressed, parted, jaw = z > 0, at("AU24"), at("AU25"), at("AU26")
    if on[pressed] and (on[parted] or on[jaw]):
        if z[pressed] > z[parted]:
            on[parted] = on[jaw] = False
        else:
            on[pressed] = False
    if on[jaw] and not on[parted] and rng.random() < 0.9:
        on[parted] = not on[pressed]
    level = 0.18 + 0.82 * rng.beta(1.25, 1.9, count)
    a = np.where(on, level, np.where(rng.random(count) < 0.15, rng.uniform(0, 0.08, count), 0))
    if on[pressed]:
        a[parted] = a[jaw] = 0
    one_sided = (rng.random(count) < 0.06) * rng.choice([-0.5, 0.5], count)
    lean = np.clip(rng.normal(0, 0.10, count) + one_sided, -0.6, 0.6)
    return np.stack([a * (1 - np.maximum(lean, 0)), a * (1 + np.minimum(lean, 0))], 1)


@pytest.mark.parametrize("lab", ["A", "B"])
def test_where_no_later_au_acts_the_others_are_as_they_were(lab):
    """To the last bit, and so is the rest of the stream; where one acts, most of the others are as well."""
    places, without = [AU_NAMES.index(name) for name in FIRST], 0
    same = np.zeros(len(FIRST))
    for seed in range(400):
        rng, old = np.random.default_rng([1, seed]), np.random.default_rng([1, seed])
        on, sides = sample_aus(rng, lab)
        before = sampler_of_17(old, lab).astype(np.float32)
        assert rng.random() == old.random()
        equal = (sides[places] == before).all(1)
        if not on[[INDEX[name] for name in LATER]].any():
            assert equal.all(), np.array(FIRST)[~equal]
            without += 1
        same += equal
    assert 100 < without < 340 and same.min() > 300


def test_a_scene_is_as_it_was():
    """Numbers of the version that drew blinks into scenes, of frames without one."""
    for lab, frame, yaw, gaze, seeds in (
        ("A", 0, 0.1234420558, -0.103230033, (59601280, 499155792)),
        ("B", 2, -0.037553704, 0.2709387629, (324764703, 1238912440)),
    ):
        planned = list(plan_stills(lab, 3, frame + 1, seed=0))[frame]
        assert planned.scene["pose"][0] == pytest.approx(yaw, abs=1e-9)
        assert planned.scene["gaze"][0] == pytest.approx(gaze, abs=1e-9)
        assert (planned.background_seed, planned.seed) == seeds


@pytest.mark.parametrize("lab", ["A", "B"])
def test_excluded_pairs_never_meet(lab):
    rng, jaw, drop, parted = np.random.default_rng(5), INDEX["AU27"], INDEX["AU26"], INDEX["AU25"]
    seen = np.zeros(len(AU_NAMES), int)
    for _ in range(2000):
        on, sides = sample_aus(rng, lab)
        a = sides.max(1)
        seen += on
        assert sides.min() >= 0 and a.max() <= 1 and (a[on] > 0.1).all() and (a[~on] <= 0.08).all()
        for first, second, why in EXCLUDED:
            assert not (on[INDEX[first]] and on[INDEX[second]]), why
            assert not (on[INDEX[first]] and a[INDEX[second]]), why
        if on[jaw]:
            assert on[parted] and a[parted] > 0.4 and a[drop] == 0
        else:
            assert a[jaw] == 0
    assert seen.min() > 40


@given(st.lists(st.sampled_from(AU_NAMES), unique=True), st.randoms(use_true_random=False))
def test_an_au_goes_only_where_one_stays_that_excludes_it(names, random):
    on, cause = np.isin(AU_NAMES, names), np.array([random.random() for _ in AU_NAMES])
    stays = choose(on, cause)
    assert not (stays & ~on).any()
    apart = {frozenset(pair[:2]) for pair in EXCLUDED} | {frozenset(("AU26", "AU27"))}
    chosen = {name for name, stay in zip(AU_NAMES, stays, strict=True) if stay}
    assert not any(pair <= chosen for pair in apart)
    for gone in set(names) - chosen:
        assert any({gone, name} in apart for name in chosen)
    assert not (silenced(stays) & stays).any()


def test_the_rules_name_rendered_aus_and_companions_of_clips_obey_them():
    pairs = [frozenset(row[:2]) for row in EXCLUDED]
    assert len(set(pairs)) == len(pairs) and all(
        row[0] in AU_NAMES and row[1] in AU_NAMES and row[2] for row in EXCLUDED
    )
    assert set(COMPANIONS) == set(AU_NAMES)
    assert not {frozenset((name, other)) for name, others in COMPANIONS.items() for other in others} & set(pairs)


def test_expressions_for_pre_training_obey_the_rules():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        a = sample_expression(rng).max(1)
        assert not any(a[INDEX[first]] > 0.09 and a[INDEX[second]] > 0.09 for first, second, _ in EXCLUDED)
        assert not (a[INDEX["AU27"]] and a[INDEX["AU26"]])


def test_a_talking_mouth_shows_no_pucker_that_a_coder_would_call_au18():
    rng, talk = np.random.default_rng(0), 0
    for _ in range(500):
        speech = sample_scene(rng, "A")[0]["speech"]
        talk += speech["open"] > 0
        assert speech["pucker"] < 0.1
    assert abs(talk / 500 - SPEECH_RATE) < 0.05


def test_lips_that_are_busy_do_not_talk():
    speech = {"open": 0.4, "jaw": 0.3, "pucker": 0.09}
    rest = drive(np.zeros(len(AU_NAMES)), speech)
    assert rest[[INDEX["AU25"], INDEX["AU26"], INDEX["AU18"]], 0] == pytest.approx([0.4, 0.3, 0.09])
    for name in ("AU24", "AU27", "AU28"):
        a = np.zeros(len(AU_NAMES))
        a[INDEX[name]] = 0.5
        talking, silent = drive(a, speech), drive(a)
        assert np.array_equal(talking, silent), name


@pytest.fixture(scope="module")
def parts():
    """Area of each part of a face in cells, mean of four identities, and mouth width, for AUs by name."""
    renderer = Renderer(112)
    faces = [renderer.bake(Identity.sample(number)) for number in (0, 3, 21, 40)]

    def measure(**strengths: float) -> dict[str, float]:
        a = np.zeros(len(AU_NAMES))
        for name, value in strengths.items():
            a[INDEX[name]] = value
        drawn = [renderer.render(face, a, points=True, dense=CELLS) for face in faces]
        areas = np.mean([image.dense[..., :9].astype(float).sum((0, 1)) for image in drawn], axis=0)
        found = dict(zip(CHANNELS, areas.tolist(), strict=False))
        found["width"] = float(np.mean([image.points[4, 0] - image.points[3, 0] for image in drawn]))
        assert all(image.dense.shape == (CELLS, CELLS, len(CHANNELS)) for image in drawn)
        return found

    return measure


def test_lids_close_with_au43(parts):
    """Less and less of the eyeball is seen, at level E none, whatever else acts: no closed eye is labelled open."""
    seen = [parts(AU43=value)["eye"] for value in (0, 0.1, 0.3, 0.5, 0.7, 0.85)]
    assert all(after < 0.97 * before for before, after in pairwise(seen))
    assert seen[2] > 0.55 * seen[0] and 0 < seen[-1] < 0.2 * seen[0]  # a droop, and a slit
    for others in ({}, {"AU4": 1.0}, {"AU6": 1.0, "AU12": 1.0}, {"AU7": 1.0}):
        closed = parts(AU43=0.9, **others)
        assert closed["eye"] == closed["iris"] == 0
        assert parts(AU43=0.0, **others)["eye"] > 0.25 * seen[0]


def test_opening_is_one_scale(parts):
    """Lips part, the jaw drops, the mouth is stretched: each opens further, and AU27 opens by itself."""
    part, drop = parts(AU25=0.6)["opening"], parts(AU25=0.6, AU26=0.6)["opening"]
    stretch = [parts(AU25=0.7, AU27=value)["opening"] for value in (0.2, 0.4, 0.7, 1.0)]
    assert part < drop < stretch[1] and all(np.diff(stretch) > 0)
    assert stretch[-1] > 1.2 * parts(AU25=1.0, AU26=1.0)["opening"]
    assert parts(AU27=0.5)["opening"] > 0.5 * stretch[1]


def test_sucked_in_lips_show_no_red_and_no_opening(parts):
    rest, sucked = parts(), parts(AU28=1.0, AU25=0.8)
    red = [parts(AU28=value)["upper_lip"] + parts(AU28=value)["lower_lip"] for value in (0.3, 0.6, 1.0)]
    assert all(np.diff([rest["upper_lip"] + rest["lower_lip"], *red]) < 0)
    assert red[-1] < 0.25 * (rest["upper_lip"] + rest["lower_lip"]) and sucked["opening"] == sucked["teeth"] == 0


def test_a_funnel_turns_lips_out_and_a_pucker_is_short(parts):
    rest, funnel, pucker = parts(), parts(AU22=1.0), parts(AU18=1.0)
    assert funnel["upper_lip"] + funnel["lower_lip"] > 1.15 * (rest["upper_lip"] + rest["lower_lip"])
    assert pucker["width"] < 0.8 * rest["width"] and pucker["width"] < funnel["width"] < 0.95 * rest["width"]
    assert parts(AU22=1.0, AU25=0.6)["teeth"] > parts(AU25=0.6)["teeth"] / 2


def test_a_lower_lip_that_is_pulled_down_bares_the_lower_teeth(parts):
    assert parts(AU16=1.0, AU25=0.6)["teeth"] > 1.3 * parts(AU25=0.6)["teeth"]
    assert parts(AU16=1.0, AU25=0.6)["opening"] > 1.3 * parts(AU25=0.6)["opening"]
    assert parts(AU16=1.0)["opening"] == parts()["opening"]  # by itself it does not part the lips
