"""Frames of sources by a selection: of videos by their times, of numbered images by the rate they are given."""

import numpy as np
import pytest

from auformer.data.images import write_image
from auformer.predict.sources import find_sources
from auformer.predict.types import Selection
from auformer.predict.video import count_frames, read_source
from tests.helpers.trees.images import write_video


def flat(shade):
    return np.full((64, 96, 3), shade, np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Twenty frames, ten a second."""
    return write_video(tmp_path_factory.mktemp("v") / "a.mp4", [flat(20 + 8 * k) for k in range(20)], fps=10)


def taken(path, after=-1, **options):
    (source,) = find_sources([path])
    return [(frame.index, frame.ordinal) for frame in read_source(source, Selection(**options), after=after)]


def test_selection(video):
    assert taken(video, every=7) == [(0, 0), (7, 1), (14, 2)]
    assert taken(video, fps=2) == [(0, 0), (5, 1), (10, 2), (15, 3)]
    assert taken(video, start=0.5, end=0.8) == [(5, 0), (6, 1), (7, 2)]
    assert taken(video, start=0.5, every=10) == [(5, 0), (15, 1)]
    assert len(taken(video, fps=1000)) == 20 and taken(video, start=9) == []


def test_resuming_after_a_frame_counts_as_before(video):
    assert taken(video, every=3, after=6) == taken(video, every=3)[3:]


def test_damage_behind_what_is_asked_for_is_no_matter(video, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.avi", list(noise), fps=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert taken(path, end=0.5) == [(k, k) for k in range(5)]
    with pytest.raises(ValueError, match="ends early|is damaged"):
        taken(path)


class TestNumberedImages:
    @pytest.fixture
    def pattern(self, tmp_path):
        for number in (7, 8, 10, 11):
            write_image(tmp_path / "f" / f"{number}.png", flat(number))
        return tmp_path / "f" / "%d.png"

    def frames(self, pattern, **options):
        (source,) = find_sources([pattern])
        return [(frame.index, frame.time_s) for frame in read_source(source, Selection(**options))]

    def test_they_have_no_times(self, pattern):
        assert self.frames(pattern, every=2) == [(7, None), (10, None)]
        for options in ({"start": 0.1}, {"end": 1.0}):
            with pytest.raises(ValueError, match="rate with `fps`"):
                self.frames(pattern, **options)

    def test_their_rate_gives_them_times_by_number(self, pattern):
        """Image 9 is not there: a gap of one frame."""
        assert self.frames(pattern, fps=4) == [(7, 0.0), (8, 0.25), (10, 0.75), (11, 1.0)]
        assert self.frames(pattern, fps=4, start=0.2, end=0.8) == [(8, 0.25), (10, 0.75)]
        (source,) = find_sources([pattern])
        assert count_frames(source, Selection(fps=4)) == 4
