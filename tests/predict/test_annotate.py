"""Boxes and bars drawn into images; videos written in pieces and joined: every frame once, at its time."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest

from auformer.data.video import read_video, video_facts
from auformer.faces import Face
from auformer.predict import FacePrediction, ImagePrediction
from auformer.predict.annotate import VideoPieces, VideoWriter, draw, find_encoder, join_videos, shape_of
from auformer.report.style import SERIES
from tests.helpers.videos import photo_source

AUS = ("AU12", "AU1")
CUTS = np.array([0.5, 0.5])
ORANGE = tuple(bytes.fromhex(SERIES["dark"][1][1:]))  # of intensities
BLUE = tuple(bytes.fromhex(SERIES["dark"][0][1:]))  # of the bars, and of face 0


def predicted(height: int, width: int, *faces: tuple[int, tuple[float, ...], list[float]]) -> ImagePrediction:
    crop = np.zeros((8, 8, 3), np.uint8)
    found = [
        FacePrediction(Face(box, 0.9, np.zeros((5, 2)), "eyes"), crop, np.array(probs), number)
        for number, box, probs in faces
    ]
    image = np.full((height, width, 3), 200, np.uint8)
    return ImagePrediction(photo_source(), "ok" if found else "no_face", "", found, size=(height, width), image=image)


def bars(panel: np.ndarray) -> list[int]:
    """How many pixels of each bar, from above, are filled; a hollow bar counts with its outline."""
    blue = (panel == BLUE).all(2).sum(1)
    runs = np.split(np.arange(len(blue)), np.flatnonzero(np.diff(blue > 0)) + 1)
    return [int(blue[run].sum()) for run in runs if blue[run[0]] > 0]


class TestDrawing:
    @pytest.mark.parametrize(("height", "width", "factor"), [(480, 640, 1), (479, 641, 1), (100, 80, 4)])
    def test_sizes_are_even_and_small_images_grow(self, height, width, factor):
        drawn = draw(predicted(height, width, (0, (20.0, 30.0, 40.0, 40.0), [0.2, 0.2])), AUS, CUTS)
        assert drawn.shape[0] == height * factor + height * factor % 2
        assert drawn.shape[1] > width * factor and drawn.shape[1] % 2 == 0
        assert tuple(drawn[-1, 0]) == (200, 200, 200)
        box = drawn[30 * factor : 32 * factor, 20 * factor : 60 * factor]
        assert (box == BLUE).all(2).any()  # the upper side of the box of face 0

    def test_bars_by_number_full_where_active(self):
        """AU1 (0.25, hollow) is above AU12 (0.75, full), whatever their order in the network."""
        box = (20.0, 30.0, 40.0, 40.0)
        low, high = bars(draw(predicted(480, 640, (1, box, [0.75, 0.25])), AUS, CUTS)[:, 640:])
        assert high > 4 * low
        low, high = bars(draw(predicted(480, 640, (1, box, [0.75, 0.74])), AUS, CUTS)[:, 640:])
        assert low == pytest.approx(high, rel=0.05)
        assert bars(draw(predicted(480, 640), AUS, CUTS)[:, 640:]) == []

    def test_a_bar_of_intensity_under_that_of_the_probability(self):
        """AU1 2.5, AU12 5.0: half of the room and all of it; without a face the room stays, and is empty."""
        one = predicted(480, 640, (0, (20.0, 30.0, 40.0, 40.0), [0.75, 0.25]))
        face = replace(one.faces[0], intensity=np.array([5.0, 2.5]))
        drawn = draw(replace(one, faces=[face]), AUS, CUTS, intensity=True)
        orange = (drawn == ORANGE).all(2)
        rows = np.flatnonzero(orange.any(1))
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        half, whole = (int(orange[run].sum(1).max()) for run in runs)
        assert whole == pytest.approx(2 * half, abs=3)
        blue = np.flatnonzero((drawn[:, 640:] == BLUE).all(2).any(1))
        assert blue.min() < runs[0].min() and not np.intersect1d(blue, rows).size
        empty = draw(predicted(480, 640), AUS, CUTS, intensity=True)
        assert empty.shape == drawn.shape and not (empty == ORANGE).all(2).any()

    def test_an_intensity_that_was_not_learned_has_no_bar(self):
        one = predicted(480, 640, (0, (20.0, 30.0, 40.0, 40.0), [0.75, 0.25]))
        face = replace(one.faces[0], intensity=np.array([np.nan, np.nan]))
        assert not (draw(replace(one, faces=[face]), AUS, CUTS, intensity=True) == ORANGE).all(2).any()

    def test_the_panel_is_of_the_largest_face_and_boxes_may_leave_the_image(self):
        small, large = (1, (10.0, 300.0, 60.0, 60.0), [0.1, 0.1]), (2, (500.0, -40.0, 300.0, 300.0), [0.9, 0.9])
        both = draw(predicted(480, 640, small, large), AUS, CUTS)
        assert np.array_equal(both[:, 640:], draw(predicted(480, 640, large), AUS, CUTS)[:, 640:])


def shade(k: int, shape: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.full((*shape, 3), 20 + 10 * k, np.uint8)


def seen(path) -> list[tuple[int, int]]:
    """Time in milliseconds and number of each frame's shade."""
    frames = read_video(path)
    return [(round(1000 * frame.time_s), round((frame.image().mean() - 20) / 10)) for frame in frames]


def write(folder, times, encoder):
    """A piece for every two times in seconds, and their video."""
    pieces = [folder / f"{k}.mkv" for k in range(len(times) // 2)]
    for number, path in enumerate(pieces):
        writer = VideoWriter(path, encoder)
        for k in (2 * number, 2 * number + 1):
            writer.add(shade(k), times[k])
        writer.finish()
    join_videos(pieces, folder / "all.mp4")
    return folder / "all.mp4"


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_pieces_become_one_video(tmp_path, encoder):
    times = [5.0, 5.04, 5.5, 5.501, 5.502, 7.0]  # a variable rate; all begin with 0 in the end
    path = write(tmp_path, times, encoder)
    assert seen(path) == [(round(1000 * (time - 5)), k) for k, time in enumerate(times)]
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.start_time == 0 and not stream.codec_context.has_b_frames
    # the last frame is shown as long as the one before
    assert video_facts(path).duration_s == pytest.approx(3.498, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mkv", "1.mkv", "2.mkv", "all.mp4"]


def test_times_that_stand_still_move_on(tmp_path):
    assert seen(write(tmp_path, [1.0] * 4, find_encoder())) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_one_frame_lasts_40_ms_and_none_makes_no_file(tmp_path):
    writer = VideoWriter(tmp_path / "a.mkv", find_encoder())
    writer.finish()
    assert list(tmp_path.iterdir()) == []
    writer.add(shade(0), 2.0)
    writer.finish()
    join_videos([tmp_path / "a.mkv"], tmp_path / "a.mp4")
    assert seen(tmp_path / "a.mp4") == [(0, 0)]
    assert video_facts(tmp_path / "a.mp4").duration_s == pytest.approx(0.04, abs=0.005)


class TestPieces:
    """Every frame once, whatever was interrupted."""

    def pieces(self, tmp_path, after=-1):
        return VideoPieces(tmp_path / "part", tmp_path / "a.mp4", find_encoder(), after=after)

    def add(self, pieces, frames, shape=(64, 96)):
        for k in frames:
            pieces.add(shade(k, shape), k, k / 10)

    def test_killed_in_the_third_piece_and_resumed(self, tmp_path):
        first = self.pieces(tmp_path)
        for frames in (range(4), range(4, 8)):
            self.add(first, frames)
            first.cut()
        self.add(first, range(8, 10))
        first.abandon()
        second = self.pieces(tmp_path, after=3)  # the state of the second piece was not saved
        self.add(second, range(4, 12), shape=(80, 96))  # frames of another size are fitted to the first ones
        second.finish()
        assert seen(tmp_path / "a.mp4") == [(100 * k, k) for k in range(12)]
        assert shape_of(tmp_path / "a.mp4") == (64, 96)
        second.remove()
        assert not list((tmp_path / "part").iterdir())

    def test_killed_after_the_last_frame_or_started_anew(self, tmp_path):
        first = self.pieces(tmp_path)
        self.add(first, range(4))
        first.cut()
        self.pieces(tmp_path, after=3).finish()  # not one more frame comes
        assert len(seen(tmp_path / "a.mp4")) == 4
        anew = self.pieces(tmp_path)
        self.add(anew, [5])
        anew.finish()
        assert seen(tmp_path / "a.mp4") == [(0, 5)]

    def test_no_image_no_video(self, tmp_path):
        self.pieces(tmp_path).finish()
        assert list(tmp_path.iterdir()) == []
