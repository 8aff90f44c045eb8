"""Micro-expression clips: their course over time, what changes from frame to frame, their rows in the manifest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.data.images import read_image
from auformer.data.manifest import read_manifest
from auformer.synthetic import AU_NAMES
from auformer.synthetic.clips import COMPANIONS, clip_profile, plan_clips
from auformer.synthetic.frames import SceneOptions
from auformer.synthetic.writing import render_dataset

AUS = ("AU1", "AU2", "AU4", "AU7", "AU12", "AU14", "AU15", "AU17")


def clips(count: int = 24, **options):
    """Clips of one subject as lists of frames."""
    frames = list(plan_clips("A", 5, count, AUS, **options))
    names = sorted({frame.sequence for frame in frames})
    return [[frame for frame in frames if frame.sequence == name] for name in names]


@given(st.integers(4, 60), st.data())
def test_a_profile_rises_stays_and_falls(frames, data):
    apex = data.draw(st.integers(1, frames - 2))
    hold = data.draw(st.integers(0, frames - 2 - apex))
    profile = clip_profile(frames, apex, hold)
    assert profile.shape == (frames,) and profile[0] == profile[-1] == 0
    assert np.allclose(profile[apex : apex + hold + 1], 1)
    assert (profile[:apex] < 1).all() and (profile[apex + hold + 1 :] < 1).all()
    assert (np.diff(profile[: apex + 1]) > 0).all() and (np.diff(profile[apex + hold :]) < 0).all()
    # a cosine is symmetric about its middle
    assert np.allclose(profile[: apex + 1] + profile[: apex + 1][::-1], 1, atol=1e-6)


@pytest.mark.parametrize(("frames", "apex", "hold"), [(6, 0, 1), (6, 5, 0), (6, 2, 3), (6, 2, -1)])
def test_a_profile_that_does_not_fit_is_refused(frames, apex, hold):
    with pytest.raises(ValueError, match="`apex`"):
        clip_profile(frames, apex, hold)


def test_clips_are_what_the_specification_says():
    lengths, peaks, acting = set(), [], []
    for clip in clips():
        first, columns = clip[0], clip[0].clip
        lengths.add(len(clip))
        assert [frame.number for frame in clip] == list(range(columns["onset"], columns["offset"] + 1))
        assert all(frame.clip == columns and np.array_equal(frame.present, first.present) for frame in clip)
        course = np.stack([frame.intensity for frame in clip])  # (T, N, 2)
        on = course.max(axis=(0, 2)) > 0
        assert np.array_equal(on, first.present.any(1)) and 1 <= on.sum() <= 2
        apex = columns["apex"] - columns["onset"]
        assert np.array_equal(course[apex], course.max(0)) and not course[0].any() and not course[-1].any()
        peaks += course[apex].max(1)[on].tolist()
        names = [name for name, active in zip(AU_NAMES, on, strict=True) if active]
        assert set(names) <= set(AUS)
        assert len(names) == 1 or names[1] in COMPANIONS[names[0]] or names[0] in COMPANIONS[names[1]]
        acting += names
    assert min(lengths) >= 24 and max(lengths) <= 48 and len(lengths) > 8
    assert min(peaks) >= 0.15 and max(peaks) <= 0.45
    assert set(acting) == set(AUS)  # 24 clips already cover the list


def test_only_face_noise_and_a_little_pose_change_within_a_clip():
    drift = []
    for clip in clips(12):
        fixed = [{key: value for key, value in frame.scene.items() if key != "pose"} for frame in clip]
        assert all(scene == fixed[0] for scene in fixed)
        assert len({(str(frame.background), frame.background_seed) for frame in clip}) == 1
        assert len({frame.seed for frame in clip}) == len(clip)
        assert set(clip[0].scene["speech"].values()) == {0.0}
        pose = np.array([frame.scene["pose"] for frame in clip])
        step = np.diff(pose, axis=0)
        assert np.allclose(step, step[0], atol=1e-9)
        drift.append(pose[-1] - pose[0])
    assert 0.006 < np.std(drift) < 0.015
    upright = clips(2, options=SceneOptions(roll=False))
    assert all(frame.scene["pose"][2] == 0 for clip in upright for frame in clip)


def test_some_clips_act_on_one_side_only():
    sides = np.concatenate([clip[0].present[clip[0].present.any(1)] for clip in clips(60)])  # (AUs of clips, 2)
    assert 0.05 < (sides.sum(1) == 1).mean() < 0.3
    assert {tuple(row) for row in sides.tolist()} == {(True, True), (True, False), (False, True)}


def test_clips_on_disk(tmp_path):
    path = render_dataset(tmp_path, lab="B", subjects=2, clips=2, au_names="casme2", size=32)
    manifest, truth = read_manifest(path), pd.read_parquet(path.with_name("truth.parquet"))
    side = manifest.attrs["side"]
    assert side["clips"]["count"] == 4 and "expected" not in side["label_rates"]["AU4"]
    assert manifest["clip"].nunique() == 4 and all((tmp_path / image).is_file() for image in manifest["image"])
    for _, rows in manifest.groupby("clip"):
        assert len(rows) == rows["offset"].iloc[0] - rows["onset"].iloc[0] + 1
        for name in manifest.attrs["au_names"]:
            assert rows[name].nunique() == rows[f"{name}_left"].nunique() == 1
            course = rows[f"{name}_intensity"].to_numpy()
            assert (course.max() > 0) == bool(rows[name].iloc[0])
            exact = 5 * truth.loc[rows.index, [f"{name}_left", f"{name}_right"]].max(axis=1).to_numpy()
            assert np.allclose(course, exact, atol=1e-5)
            if rows[name].iloc[0]:
                assert rows["frame"].iloc[course.argmax()] == rows["apex"].iloc[0]
                assert 0.75 <= course.max() <= 2.25


def test_an_apex_frame_differs_from_onset_where_the_au_is(tmp_path):
    """Brow clips change the upper half of the image more than the lower, mouth clips the lower more."""
    for names, upper in (("AU2", True), ("AU17", False)):
        path = render_dataset(tmp_path / names, lab="A", subjects=1, clips=2, au_names=names, size=64)
        manifest = read_manifest(path)
        change = np.zeros((64, 64))
        for _, rows in manifest.groupby("clip"):
            files = zip(rows["frame"], rows["image"], strict=True)
            images = {frame: read_image(tmp_path / names / image).astype(float) for frame, image in files}
            columns = rows.iloc[0]
            around = [images[columns["apex"] + k] for k in (0, 1)], [images[columns["onset"] + k] for k in (0, 1)]
            change += np.abs(np.mean(around[0], 0) - np.mean(around[1], 0)).mean(-1)
        assert (change[:32].mean() > change[32:].mean()) == upper
