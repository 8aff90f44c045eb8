"""Labels against a form written down by hand, base rates, and that neither names nor faces give labels away."""

from importlib.resources import files

import numpy as np
import pytest

from auformer.synthetic import AU_NAMES, Identity
from auformer.synthetic.frames import identity_number, plan_stills, sample_intensity, subject_name
from auformer.synthetic.labels import expected_rates, label_columns, occurrence, truth_columns
from experiments.pretraining.pretrain_data import FIRST


def intensities(lab: str, subjects: int, frames: int, seed: int = 0, first: int = 0) -> np.ndarray:
    """Drawn without rendering, `(S, F, N, 2)`."""
    return np.stack([[sample_intensity(lab, first + s, f, seed) for f in range(frames)] for s in range(subjects)])


@pytest.mark.parametrize(("lab", "wanted"), [("A", [0, 0, 1, 1, 1, 1, 1]), ("B", [0, 0, 0, 0, 1, 1, 1])])
def test_labels_by_hand(lab, wanted):
    """Present from FACS level 1 or 2 on; the person's right is on the image's left."""
    values = np.array([0.0, 0.09, 0.1, 0.29, 0.3, 0.5, 1.0])
    intensity = np.zeros((7, len(AU_NAMES), 2))
    intensity[:, AU_NAMES.index("AU12")] = np.stack([values, values / 10], 1)
    columns = label_columns(intensity, ("AU12", "AU4"), lab)
    assert columns["AU12"].tolist() == columns["AU12_right"].tolist() == wanted and columns["AU12"].dtype == np.int8
    assert columns["AU12_left"].tolist() == [0] * 6 + [int(lab == "A")] and not columns["AU4"].any()
    assert columns["AU12_intensity"] == pytest.approx(5 * values, abs=1e-6)


def test_a_label_of_a_clip_replaces_the_threshold():
    intensity = np.zeros((1, len(AU_NAMES), 2), np.float32)
    present = np.zeros((1, len(AU_NAMES), 2), bool)
    present[0, AU_NAMES.index("AU4"), 1] = True
    columns = label_columns(intensity, ("AU4", "AU1"), "A", present)
    assert {name: value.item() for name, value in columns.items()} == {
        "AU4": 1, "AU4_left": 1, "AU4_right": 0, "AU4_intensity": 0.0,
        "AU1": 0, "AU1_left": 0, "AU1_right": 0, "AU1_intensity": 0.0,
    }  # fmt: skip


def test_truth_names_the_person_s_own_sides():
    intensity = np.zeros((1, len(AU_NAMES), 2), np.float32)
    intensity[0, AU_NAMES.index("AU12")] = 0.75, 0.25
    columns = truth_columns(intensity)
    assert (columns["AU12_right"].item(), columns["AU12_left"].item(), len(columns)) == (0.75, 0.25, 48)


@pytest.mark.parametrize("lab", ["A", "B"])
def test_base_rates_are_those_of_the_sidecar(lab):
    """The specification: within .03 on 2,000 images."""
    present = occurrence(intensities(lab, 40, 50).max(-1), lab).reshape(-1, len(AU_NAMES))
    expected = expected_rates(lab)
    distance = np.abs(present.mean(0) - [expected[name] for name in AU_NAMES])
    assert distance.max() < 0.03, dict(zip(AU_NAMES, distance.round(3).tolist(), strict=True))


def test_the_card_s_rates_are_the_sampler_s_and_lab_b_codes_fewer_aus():
    text = files("auformer").joinpath("assets/renderer_card.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line[:1] == "|"}
    rates = {lab: expected_rates(lab) for lab in "AB"}
    assert [f"AU{number.strip()}" for number in rows["AU"]] == list(AU_NAMES)
    for lab in "AB":
        assert list(map(float, rows[f"lab {lab}"])) == pytest.approx(list(rates[lab].values()), abs=0.0051)
    assert all(rates["B"][name] < rates["A"][name] for name in AU_NAMES)
    assert sum(rates["A"].values()) > 1.6 * sum(rates["B"].values())


def test_aus_that_belong_together_come_together_and_pressed_lips_are_shut():
    drawn = intensities("A", 20, 50).reshape(-1, len(AU_NAMES), 2).max(-1)
    on = {name: drawn[:, i] >= 0.1 for i, name in enumerate(AU_NAMES)}

    def correlation(a, b):
        return float(np.corrcoef(on[a], on[b])[0, 1])

    assert correlation("AU6", "AU12") > 0.25 and correlation("AU1", "AU2") > 0.25
    assert correlation("AU12", "AU15") < -0.05
    assert not (on["AU24"] & (on["AU25"] | on["AU26"])).any()


def test_no_face_belongs_to_two_subjects():
    """Across numbers, labs and seeds: a face is a function of lab and number alone, and one to one."""
    subjects = [(lab, number) for lab in "AB" for number in (0, 1, 59, 60, 99_999)]
    numbers = [identity_number(*subject) for subject in subjects]
    assert len(set(numbers)) == len({subject_name(*subject) for subject in subjects}) == len(subjects)
    assert len({str(Identity.sample(number).traits) for number in numbers}) == len(numbers)
    assert identity_number("A", 99_999) < FIRST["drawn"] <= FIRST["drawn"] + 10_000 < identity_number("B", 0)


@pytest.mark.parametrize("number", [-1, 100_000])
def test_a_number_outside_the_lab_is_refused(number):
    with pytest.raises(ValueError, match="0 to 99999"):
        identity_number("A", number)


def _spread(counts: np.ndarray, frames: int) -> float:
    """Chi-square of AU counts `(subjects, N)` against equal rates of all subjects, of the AU where it is largest."""
    rate = counts.mean(0) / frames
    return float((((counts - frames * rate) ** 2) / (frames * rate * (1 - rate))).sum(0).max())


def test_who_it_is_does_not_predict_the_aus():
    """Shuffle test: subjects differ in their AU rates no more than when all labels are dealt out to them anew.

    An image of a subject at rest shows nothing but who it is, so no such image predicts an AU either.
    """
    subjects, frames = 60, 30
    present = occurrence(intensities("A", subjects, frames).max(-1), "A")  # (S, F, N)
    rng = np.random.default_rng(0)

    def shuffled():
        return _spread(rng.permutation(present.reshape(-1, len(AU_NAMES))).reshape(present.shape).sum(1), frames)

    dealt = np.array([shuffled() for _ in range(200)])
    assert _spread(present.sum(1), frames) < np.quantile(dealt, 0.99)
    planted = present.copy()
    planted[: subjects // 4, ::3, AU_NAMES.index("AU15")] = 1  # a quarter of the subjects is sad: the test would notice
    assert _spread(planted.sum(1), frames) > dealt.max()


def test_traits_do_not_predict_the_aus():
    subjects, frames = 100, 20
    present = occurrence(intensities("B", subjects, frames).max(-1), "B").mean(1)  # (S, N)
    people = [Identity.sample(identity_number("B", i)) for i in range(subjects)]
    traits = np.array([[person[trait] for trait in ("sex", "age", "skin", "glasses", "wrinkle")] for person in people])
    table = np.corrcoef(np.hstack([present, traits]).astype(float), rowvar=False)[:-5, -5:]  # standard error 0.1
    assert np.abs(table).max() < 0.4
    assert np.sqrt((table**2).mean()) < 0.13


def test_a_frame_does_not_depend_on_how_many_there_are():
    few, many = list(plan_stills("A", 3, 2, seed=9)), list(plan_stills("A", 3, 5, seed=9))
    for a, b in zip(few, many[:2], strict=True):
        assert np.array_equal(a.intensity, b.intensity)
        assert (a.scene, a.background, a.seed) == (b.scene, b.background, b.seed)
    assert many[2].seed != many[3].seed and many[2].scene != many[3].scene
    assert next(plan_stills("A", 3, 1, seed=10)).scene != few[0].scene
    assert next(plan_stills("A", 4, 1, seed=9)).scene != few[0].scene
