"""Rendered videos: what happens in them, labels per frame, blinks that are found again, files, resuming, refusals."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from auformer.aus import AU_SETS
from auformer.blinks import blinks
from auformer.cli import main
from auformer.data.manifest import read_manifest
from auformer.data.video import Video
from auformer.synthetic import AU_NAMES, subject, videos, writing
from auformer.synthetic.eyelids import BLINK_S, RATE, lid_course
from auformer.synthetic.frames import SceneOptions
from auformer.synthetic.muscles import INDEX
from auformer.synthetic.pairs import EXCLUDED
from auformer.synthetic.videos import fewest_frames, plan_video, plan_videos
from auformer.synthetic.writing import render_dataset, render_options
from tests.helpers.trees import files

SMALL = {"lab": "A", "subjects": 2, "videos": 2, "frames": 80, "size": 32}
LIDS = INDEX["AU43"]


def planned(index: int, frames: int = 400, fps: float = 25.0, **options):
    """One video of subject 3 as frames, and its intensities `(frames, N, 2)`."""
    plan = plan_video("A", 3, index, frames, fps, seed=0, options=SceneOptions(**options))
    return plan, np.stack([frame.intensity for frame in plan])


def same(one, other):
    """Two sets hold the same: every file to the byte, films to a few grey levels on average, as another libx264 may."""
    films = [{str(path.relative_to(root)): path for path in root.rglob("*.mp4")} for root in (one, other)]
    left, right = ({name: data for name, data in files(root).items() if name not in films[0]} for root in (one, other))
    for name, path in films[0].items():
        with Video(path) as a, Video(films[1][name]) as b:
            for x, y in zip(a.frames(), b.frames(), strict=True):
                if np.abs(x.image().astype(int) - y.image()).mean() > 2:
                    return False
    return left == right and films[0].keys() == films[1].keys()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return render_dataset(tmp_path_factory.mktemp("videos") / "set", **SMALL).parent


@pytest.mark.parametrize("fps", [20.0, 25.0, 29.97, 60.0, 120.0])
def test_rendered_blinks_are_found_again(fps):
    """By the rule that predictions are read with, at every rate; long closures are none."""
    rendered, shut, minutes = 0, 0.0, 0.0
    for seed in range(40):
        closure, number = lid_course(np.random.default_rng([3, seed]), round(30 * fps), fps)
        found = blinks(5.0 * closure, np.arange(len(closure)) / fps)
        assert len(found) == number.max() and closure[0] == closure[-1] == 0
        for count, (first, last) in enumerate(found, 1):
            assert (number[first : last + 1] == count).all()
            assert BLINK_S[0] - 1 / fps <= (number == count).sum() / fps <= BLINK_S[1] + 1 / fps
        rendered, minutes = rendered + len(found), minutes + 0.5
        shut += ((number == 0) & (closure > 0.5)).sum() / fps
    assert 0.6 * RATE[0] < rendered / minutes < RATE[1] and shut > 10  # eyes also close for long


def test_a_video_has_expressions_with_rest_between():
    shares = []
    for index in range(12):
        plan, course = planned(index)
        assert [(frame.sequence, frame.number) for frame in plan] == [(f"video{index:03d}", t) for t in range(400)]
        assert np.allclose([frame.time_s for frame in plan], np.arange(400) / 25)
        acting = np.delete(course, LIDS, axis=1).max(axis=(1, 2)) > 0
        edges = np.diff(acting.astype(int))
        begins, ends = np.flatnonzero(edges == 1) + 1, np.flatnonzero(edges == -1) + 1
        assert 2 <= len(begins) == len(ends) <= 4 and not acting[0] and not acting[-1]
        assert (begins[1:] - ends[:-1] >= 10).all() and begins[0] >= 10 and 400 - ends[-1] >= 10  # 0.4 s
        assert max(course[a:b].max() for a, b in zip(begins, ends, strict=True)) > 0.18
        assert np.abs(np.diff(np.delete(course, [LIDS, INDEX["AU5"]], axis=1), axis=0)).max() < 0.45  # no jolts
        shares.append(acting.mean())
        for first, second, why in EXCLUDED:
            together = (course[:, INDEX[first]].max(1) > 0.1) & (course[:, INDEX[second]].max(1) > 0.1)
            assert not together.any(), why
    assert 0.2 < np.mean(shares) < 0.7


@pytest.mark.parametrize(("frames", "fewest", "most"), [(600, 2, 4), (3000, 8, 16)])
def test_a_longer_video_has_more_expressions(frames, fewest, most):
    counts = []
    for seed in range(40):
        episodes = videos._episodes(np.random.default_rng(seed), frames, 25.0)
        ends = [first + length for first, length in episodes]
        assert all(begin - end >= 10 for end, (begin, _) in zip([0, *ends], [*episodes, (frames, 0)], strict=True))
        counts.append(len(episodes))
    assert min(counts) == fewest and max(counts) == most


def test_head_gaze_and_talk_go_on_and_the_room_stays():
    talking = []
    for index in range(8):
        plan, course = planned(index)
        assert (
            len({(str(frame.scene["light"]), str(frame.scene["camera"]), frame.background_seed) for frame in plan}) == 1
        )
        assert len({frame.seed for frame in plan}) == len(plan)
        pose = np.array([frame.scene["pose"] for frame in plan])
        assert np.abs(np.diff(pose, axis=0)).max() < 0.03 and (pose.std(0) > 0.004).all()
        looks = [frame.scene["gaze"] for frame in plan]
        assert 6 < len(set(looks)) < 60
        lips = np.array([frame.scene["speech"]["open"] for frame in plan])
        assert max(frame.scene["speech"]["pucker"] for frame in plan) < 0.1
        assert not course[lips > 0][:, [INDEX["AU25"], INDEX["AU26"]]].any()  # talk is in the rests
        talking.append((lips > 0).mean())
    assert 0.02 < np.mean(talking) < 0.3
    upright, _ = planned(0, roll=False, pose_scale=0.0)
    assert all(frame.scene["pose"] == (0.0, 0.0, 0.0) for frame in upright)


def test_videos_do_not_depend_on_how_many_there_are():
    few, many = (list(plan_videos("B", 4, count, 100, 25.0, seed=2)) for count in (1, 2))
    assert len(few) == 100 and len(many) == 200
    for a, b in zip(few, many[:100], strict=True):
        assert np.array_equal(a.intensity, b.intensity) and (a.scene, a.seed, a.truth) == (b.scene, b.seed, b.truth)
    assert not np.array_equal(many[50].intensity, many[150].intensity)


def test_labels_are_those_of_each_frame(rendered):
    manifest, truth = read_manifest(rendered / "manifest.csv"), pd.read_parquet(rendered / "truth.parquet")
    assert manifest.attrs["au_names"] == [*AU_NAMES, "AU45"] and len(manifest) == 2 * 2 * 80
    assert not {"clip", "image", "onset"} & set(manifest.columns)
    for name in AU_NAMES:
        sides = truth[[f"{name}_left", f"{name}_right"]].to_numpy(float)
        level = np.floor(np.round(5 * sides, 6) + 0.5)
        assert (manifest[name] == (level.max(1) >= 1)).all()
        assert (manifest[[f"{name}_left", f"{name}_right"]].to_numpy() == (level >= 1)).all()
        assert np.allclose(manifest[f"{name}_intensity"], 5 * sides.max(1), atol=1e-5)
    counted = 0
    for (_, name), rows in manifest.groupby(["subject", "file"]):
        assert (rendered / name).is_file() and rows["time_s"].to_numpy() == pytest.approx(np.arange(80) / 25)
        found = blinks(rows["AU43_intensity"].to_numpy(), rows["time_s"].to_numpy())
        marked = np.zeros(80, int)
        for first, last in found:
            marked[first : last + 1] = 1
        assert (rows["AU45"] == marked).all()
        assert len(found) == truth.loc[rows.index, "blink"].max()
        counted += len(found)
    side = manifest.attrs["side"]
    assert side["videos"]["blinks"] == counted > 0
    assert (side["videos"]["count"], side["videos"]["frames"], side["videos"]["fps"]) == (4, 80, 25.0)
    assert side["label_rates"]["AU45"]["positives"] == (manifest["AU45"] == 1).sum() and "expected" not in str(side)


def test_files_play_as_the_manifest_says(rendered):
    """As many frames as rows, at their times; each looks like the frame that was drawn."""
    manifest = read_manifest(rendered / "manifest.csv")
    rows = manifest[manifest["file"] == manifest["file"].iloc[0]]
    with Video(rendered / rows["file"].iloc[0]) as video:
        shown = [(frame.time_s, frame.image()) for frame in video.frames()]
    assert [time for time, _ in shown] == pytest.approx(rows["time_s"].tolist(), abs=2e-3)
    images = np.stack([image for _, image in shown]).astype(float)
    assert images.shape == (80, 32, 32, 3) and images[..., 0].mean() > images[..., 2].mean() + 5
    noise = np.abs(np.diff(images, axis=0)).mean()
    assert 0.5 < noise < 12


def test_the_same_seed_gives_the_same_bytes_of_labels(rendered, tmp_path):
    again = render_dataset(tmp_path / "again", **SMALL, workers=2).parent
    assert same(again, rendered)
    other = render_dataset(tmp_path / "other", **SMALL, seed=1).parent
    assert (other / "manifest.csv").read_bytes() != (rendered / "manifest.csv").read_bytes()
    fewer = render_dataset(tmp_path / "bp4d", **SMALL, au_names="bp4d").parent
    assert read_manifest(fewer / "manifest.csv").attrs["au_names"] == list(AU_SETS["bp4d"])  # without AU43 no AU45


def test_an_interrupted_run_is_resumed_and_a_lost_video_drawn_again(rendered, tmp_path, monkeypatch):
    drawn, add = [], subject.VideoFile.add

    def full_disk(video, image):
        drawn.append(1)
        if len(drawn) == 200:  # in the second subject
            raise OSError(28, "No space left on device")
        add(video, image)

    with monkeypatch.context() as patch:
        patch.setattr(subject.VideoFile, "add", full_disk)
        with pytest.raises(OSError, match="No space left"):
            render_dataset(tmp_path, **SMALL)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["A00000"]
    assert not (tmp_path / "manifest.csv").exists()
    jobs, draw = [], writing.render_subject
    monkeypatch.setattr(writing, "render_subject", lambda job: (jobs.append(job.name), draw(job))[1])
    render_dataset(tmp_path, **SMALL)
    assert jobs == ["A00001"] and same(tmp_path, rendered)
    (tmp_path / "videos" / "A00000" / "video001.mp4").unlink()
    render_dataset(tmp_path, **SMALL)
    assert jobs == ["A00001", "A00000"] and same(tmp_path, rendered)


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    words = ["--videos", "1", "--frames", "90", "--fps", "30", "--subjects", "1", "--aus", "AU12,AU43", "--size", "32"]
    assert main(["synth", *words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    side = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    count = side["videos"]["blinks"]
    assert f"synthetic_a: 1 videos of 30 frames a second with {count} blinks, 90 images of 1 subjects" in out
    rows = [line.split()[0] for line in out.splitlines() if line.startswith("AU") and line[2].isdigit()]
    assert rows == ["AU12", "AU43", "AU45"]
    assert pd.read_csv(tmp_path / "manifest.csv")["time_s"].iloc[-1] == pytest.approx(89 / 30, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--videos", "1", "--clips", "1"], "either `--clips` or `--videos`, but got both"),
        (["--videos", "0"], "`--videos` to be at least 1, but got 0"),
        (["--fps", "30"], "`--videos` beside `--fps`"),
        (["--sheet", "--fps", "30"], "`--videos` beside `--fps`"),
        (["--videos", "1", "--fps", "15"], "`fps` to be 20 to 240 frames a second .* but got 15"),
        (["--videos", "1", "--fps", "nan"], "`fps`"),
        (["--videos", "1", "--frames", "50"], "at least 70 `frames` in a video of 25 .* but got 50"),
        (["--videos", "1", "--aus", "AU45"], "rendered ones"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path, capsys, words, message):
    assert main(["synth", *words, "--size", "32", "--out", str(tmp_path / "new")]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "new").exists()


def test_suites_may_ask_for_videos(tmp_path):
    path = render_options(tmp_path, {"videos": 1, "frames": fewest_frames(20), "fps": 20, "subjects": 1, "size": 32})
    assert len(read_manifest(path)) == fewest_frames(20) == 56
    with pytest.raises(ValueError, match="either `--frames` or `--clips`"):
        render_options(tmp_path / "x", {"clips": 1, "frames": 3})
