"""`verify` against the published counts: manifests with these numbers pass, and every planted fault is named."""

import numpy as np
import pandas as pd
import pytest

from auformer.data.splits import PUBLISHED_FOLDS
from auformer.data_prep.verify.published import published
from tests.helpers.published_rows import (
    BP4D_AUS,
    DISFA_AUS,
    PUBLISHED,
    check,
    notes,
    problems,
    published_rows,
    with_intensities,
)

AUS = {"bp4d": [f"AU{au}" for au in BP4D_AUS], "disfa": [f"AU{au}" for au in DISFA_AUS]}


@pytest.fixture(scope="module", params=["bp4d", "disfa"])
def either(request):
    return published_rows(request.param)


@pytest.fixture(scope="module")
def bp4d():
    return published_rows("bp4d")


@pytest.fixture(scope="module")
def disfa():
    return published_rows("disfa")


def test_the_published_numbers_pass(either):
    wrong, known, report = check(either)
    assert wrong == {} and set(known) == {"no_images"}
    dataset = either["dataset"].iloc[0]
    entry = report["published"][0]
    for part in entry["parts"]:
        frames, positives = PUBLISHED[dataset][part["name"]]
        assert part["complete"] and part["frames"] == part["published_frames"] == frames
        assert list(part["positives"].values()) == list(part["published_positives"].values()) == list(positives)
    assert entry["frames"] == {"bp4d": 146_847, "disfa": 130_814}[dataset]


def test_the_totals_of_others():
    totals = {
        name: {total.source: total.frames or total.clips for total in published(name).totals}
        for name in ("bp4d", "disfa", "casme2")
    }
    assert totals == {
        "bp4d": {"ME-GraphAU, MDHR": 146_847, "JAA-Net": 146_576, "AU-Net": 146_538, "FG-Net": 146_423},
        "disfa": {"official text files, MDHR": 130_814, "FG-Net": 130_311, "JAA-Net": 126_144},
        "casme2": {"CD6ME": 256},
    }
    assert sum(part.frames for part in published("bp4d").folds.values()) == 146_847


def test_rows_without_a_usable_image_count_since_their_labels_do(either):
    frame = either.copy()
    frame.loc[frame.index[::50], "status"] = "no_face"
    assert problems(frame) == {}


def test_wider_label_sets_and_intensities_pass(bp4d, disfa):
    wide = bp4d.assign(AU26=np.int8(0), AU9=np.where(np.arange(len(bp4d)) % 9, 0, -1).astype(np.int8))
    assert problems(wide) == {}
    assert problems(with_intensities(disfa)) == {}


def test_a_part_of_a_release_is_compared_where_it_is_whole(either):
    dataset = either["dataset"].iloc[0]
    last = list(PUBLISHED_FOLDS[dataset])[-1]
    some = either[~either["subject"].isin(PUBLISHED_FOLDS[dataset][last][1:])]
    wrong, known, report = check(some.reset_index(drop=True))
    assert wrong == {} and f"{last} (1 of {len(PUBLISHED_FOLDS[dataset][last])} subjects)" in known["partial"]
    assert [part["complete"] for part in report["published"][0]["parts"]] == [True, True, False]
    broken = some.reset_index(drop=True)
    broken.loc[broken["subject"] == PUBLISHED_FOLDS[dataset][last][0], AUS[dataset]] = 1
    assert problems(broken) == {}  # nothing is published about one subject alone
    name = AUS[dataset][0]
    row = broken.index[(broken["fold"] != last) & (broken[name] == 0)][0]
    broken.loc[row, name] = 1
    assert f"{name} +1" in problems(broken)["unexplained"]


def more_positives(frame: pd.DataFrame, names: list[str], seed: int = 0) -> pd.DataFrame:
    """Some of the absent labels become present in every AU."""
    rng = np.random.default_rng(seed)
    frame = frame.copy()
    for name in names:
        frame[name] = np.where(rng.random(len(frame)) < 0.08, 1, frame[name]).astype(np.int8)
    return frame


def only(frame: pd.DataFrame, kind: str, **side: object) -> str:
    """The text of the one kind of fault that is found."""
    wrong = problems(frame, **side)
    assert set(wrong) == {kind}
    return wrong[kind]


def test_thresholds_1_and_3(disfa):
    text = only(more_positives(disfa, AUS["disfa"]), "threshold")
    assert "more positives in all folds" in text and "intensity of 1 or more" in text
    frame = disfa.copy()
    for name in AUS["disfa"]:
        frame[name] = np.where(np.arange(len(frame)) % 7 == 0, 0, frame[name]).astype(np.int8)
    assert "intensity of 3 or more" in problems(frame)["threshold"]


def test_threshold_by_the_intensities_themselves(disfa):
    frame = with_intensities(disfa)
    for name in AUS["disfa"]:
        frame[name] = (frame[f"{name}_intensity"] >= 1).astype(np.int8)
    assert "labels are those of intensity of 1 or more" in only(frame, "threshold")
    one = with_intensities(disfa)
    one["AU4"] = (one["AU4_intensity"] >= 3).astype(np.int8)
    assert only(one, "threshold").startswith("AU4: the labels are those of intensity of 3 or more")
    assert only(one[one["subject"] == "SN001"].reset_index(drop=True), "threshold")  # one subject is enough


def extra_frames(frame: pd.DataFrame, value: int) -> pd.DataFrame:
    """Frames before the coded ones of one task of every subject, with one label for all AUs."""
    first = frame[(frame["sequence"] == "T2") & (frame["frame"] <= 2800)].groupby("subject").head(40)
    extra = first.assign(frame=first["frame"] - 45, **dict.fromkeys(AUS["bp4d"], np.int8(value)))
    return pd.concat([frame, extra], ignore_index=True)


@pytest.mark.parametrize(
    ("value", "kind", "word"), [(0, "unknown_as_negative", "read as 0"), (1, "unknown_as_positive", "read as 1")]
)
def test_code_9_of_uncoded_frames_read_as_a_label(bp4d, value, kind, word):
    text = only(extra_frames(bp4d, value), kind)
    assert word in text and "1,640 frames more than published" in text
    assert problems(extra_frames(bp4d, -1)) == {}


def test_code_9_of_other_aus_read_as_0(bp4d):
    """Beyond the twelve AUs, a release without any unknown label has lost them."""
    text = only(bp4d.assign(AU9=np.int8(0), AU26=np.int8(0)), "unknown_as_negative")
    assert "146,847 rows" in text and "14 AUs" in text
    few = bp4d.groupby("subject").head(3).assign(AU9=np.int8(0)).reset_index(drop=True)
    assert "unknown_as_negative" not in problems(few)


def test_code_9_read_as_1_among_coded_frames(bp4d):
    assert "read as 1" in only(more_positives(bp4d, AUS["bp4d"]), "unknown_as_positive")


def test_frames_counted_from_0(either):
    text = only(either.assign(frame=either["frame"] - 1), "frame_base")
    assert "frames start at 0, those of the release at 1" in text
    assert "too high" in only(either.assign(frame=either["frame"] + 1), "frame_base")


def test_frames_counted_from_0_show_in_the_names_of_images(either):
    folder, number = either["subject"] + "/" + either["sequence"] + "/img", either["frame"]
    high = either.assign(image=folder + (number + 1).astype(str).str.zfill(5) + ".jpg")
    middle = high[number > 9].reset_index(drop=True)
    assert "frame numbers are one below the numbers of their images" in problems(middle)["frame_base"]
    low = either.assign(image=folder + (number - 1).astype(str) + ".png")
    assert problems(low) == {} and "counted from 0" in notes(low)["frame_base"]
    right = either.assign(image=folder + number.astype(str) + ".png")
    assert "frame_base" not in {**problems(right), **notes(right)}


def test_every_subject_lacks_one_frame(disfa):
    wrong = problems(disfa[disfa["frame"] < disfa.groupby("subject")["frame"].transform("max")].reset_index(drop=True))
    assert "one had no partner" in wrong["frame_base"] and set(wrong) == {"frame_base", "dropped_frames"}


def test_right_camera(disfa):
    file, image = "Video_RightCamera/RightVideoSN001_comp.avi", "RightVideoSN001/frame_1.jpg"
    for change in ({"sequence": "right"}, {"file": file}, {"image": image}):
        assert "130,814 of 130,814 rows: right camera" in only(disfa.assign(**change), "camera")
    assert "sidecar: right camera" in only(disfa, "camera", options={"camera": "right"})
    assert problems(disfa, options={"camera": "left"}) == {}


def test_permuted_au_files(either):
    names = AUS[either["dataset"].iloc[0]]
    one, two, three = names[0], names[2], names[-1]
    frame = either.assign(**{one: either[two], two: either[three], three: either[one]})
    wanted = f"{one} has the published counts of {two}, {two} has the published counts of {three}"
    assert wanted in only(frame, "permuted_aus")


def test_permuted_au_files_and_dropped_frames(bp4d):
    frame = bp4d.assign(AU12=bp4d["AU1"], AU1=bp4d["AU12"])[np.arange(len(bp4d)) % 500 != 0].reset_index(drop=True)
    wrong = problems(frame)
    assert set(wrong) == {"permuted_aus", "dropped_frames"}
    assert "AU12 has the published counts of AU1" in wrong["permuted_aus"]


def drop(frame: pd.DataFrame, subject: str, keep: int) -> pd.DataFrame:
    """Leave the first frames of a subject only."""
    rank = frame.groupby("subject").cumcount()
    return frame[(frame["subject"] != subject) | (rank < keep)].reset_index(drop=True)


def test_the_frames_that_jaanet_dropped(disfa):
    frame = disfa
    for subject, keep in (("SN021", 1793), ("SN029", 4391), ("SN023", 4423)):
        frame = drop(frame, subject, keep)
    text = only(frame, "jaanet_frames")
    assert "SN021 has 1,793 of 4,845" in text and "3,928 frames fewer" in text
    whole = drop(frame, "SN001", 4845 - (len(frame) - 126_144))  # the others that its total lacks
    assert len(whole) == 126_144 and "126,144 frames in all are its total" in problems(whole)["jaanet_frames"]


def test_dropped_frames_of_others(bp4d, disfa):
    for frame, text in (
        (drop(disfa, "SN001", 4845 - 503), "130,311 in all is the total of FG-Net"),
        (drop(disfa, "SN001", 4000), "SN001 has 4,000 of 4,845"),
        (bp4d[271:].reset_index(drop=True), "146,576 in all is the total of JAA-Net"),
    ):
        assert text in only(frame, "dropped_frames")


def test_both_cameras(disfa):
    both = pd.concat([disfa, disfa.assign(sequence="other")], ignore_index=True)
    assert "every frame is there 2 times" in problems(both)["extra_frames"]


def test_what_no_reason_fits(disfa):
    frame = disfa.copy()
    frame.loc[:99, "AU4"] = 1 - frame.loc[:99, "AU4"]
    frame.loc[:49, "AU6"] = 0
    text = only(frame, "unexplained")
    assert "AU4 " in text and "AU9" not in text


def test_faults_together(disfa):
    frame = more_positives(disfa, AUS["disfa"]).assign(sequence="right", frame=disfa["frame"] - 1)
    assert set(problems(frame)) == {"threshold", "camera", "frame_base"}


def test_swapped_folds(either):
    first, _, last = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    swapped = either.assign(fold=either["fold"].replace({first: last, last: first}))
    assert f"fold {first} holds the subjects of {last}" in only(swapped, "fold_naming")
    unnamed = swapped.assign(subject="person " + either["subject"])  # the counts tell, where names do not
    assert f"fold {first} has the counts of the published fold {last}" in only(unnamed, "fold_naming")
    assert problems(unnamed.assign(fold=either["fold"])) == {}


def test_folds_numbered_as_others_do(either):
    first, second, last = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    for numbers, text in (
        ({first: "fold3", second: "fold2", last: "fold1"}, "as ME-GraphAU does"),
        ({first: "0", second: "1", last: "2"}, "as FG-Net does"),
        ({first: "1", second: "2", last: "3"}, "neither as ME-GraphAU does nor as FG-Net does"),
    ):
        frame = either.assign(fold=either["fold"].replace(numbers))
        assert problems(frame) == {} and text in notes(frame)["fold_naming"]


def test_another_division(either):
    parts = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    first, second = list(parts)[:2]
    someone = parts[first][0]
    moved = either.assign(fold=either["fold"].mask(either["subject"] == someone, second))
    assert f"but {someone} are in other ones" in problems(moved)["other_partition"]
    own = moved.assign(fold=moved["fold"].replace({name: f"mine {name}" for name in parts}))
    assert problems(own) == {} and "not comparable with others fold by fold" in notes(own)["other_partition"]
