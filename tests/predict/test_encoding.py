"""Videos written in pieces and put together: every frame once, at its time, whatever was interrupted."""

from __future__ import annotations

import av
import numpy as np
import pytest

from auformer.predict.annotate import VideoWriter, find_encoder, join_videos, shape_of
from auformer.predict.recorder import VideoPieces
from auformer.predict.types import Selection
from auformer.predict.video import read_video, video_facts


def shade(k: int, shape: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.full((*shape, 3), 20 + 10 * k, np.uint8)


def seen(path) -> list[tuple[int, int]]:
    """Time in milliseconds and number of each frame's shade."""
    frames = read_video(path, Selection())
    return [(round(1000 * frame.time_s), round((frame.image.mean() - 20) / 10)) for frame in frames]


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_pieces_become_one_video(tmp_path, encoder):
    times = [5000, 5040, 5500, 5501, 5502, 7000]  # a variable rate; all begin with 0 in the end
    for piece in range(3):
        writer = VideoWriter(tmp_path / f"{piece}.mkv", encoder)
        for k in (2 * piece, 2 * piece + 1):
            writer.add(shade(k), times[k] / 1000)
        writer.finish()
    join_videos([tmp_path / f"{piece}.mkv" for piece in range(3)], tmp_path / "all.mp4")
    assert seen(tmp_path / "all.mp4") == [(time - 5000, k) for k, time in enumerate(times)]
    with av.open(str(tmp_path / "all.mp4")) as container:
        assert container.streams.video[0].start_time == 0 and not container.streams.video[0].codec_context.has_b_frames
    assert video_facts(tmp_path / "all.mp4").duration_s == pytest.approx(
        3.498, abs=0.01
    )  # the last is shown as long as the one before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mkv", "1.mkv", "2.mkv", "all.mp4"]


def test_times_that_stand_still_move_on(tmp_path):
    for piece in range(2):
        writer = VideoWriter(tmp_path / f"{piece}.mkv", find_encoder())
        for k in (2 * piece, 2 * piece + 1):
            writer.add(shade(k), 1.0)
        writer.finish()
    join_videos([tmp_path / "0.mkv", tmp_path / "1.mkv"], tmp_path / "all.mp4")
    assert seen(tmp_path / "all.mp4") == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_one_frame_and_none(tmp_path):
    writer = VideoWriter(tmp_path / "a.mkv", find_encoder())
    writer.finish()
    assert list(tmp_path.iterdir()) == []
    writer.add(shade(0), 2.0)
    writer.finish()
    join_videos([tmp_path / "a.mkv"], tmp_path / "a.mp4")
    assert seen(tmp_path / "a.mp4") == [(0, 0)] and video_facts(tmp_path / "a.mp4").duration_s == pytest.approx(
        0.04, abs=0.005
    )


class TestInterrupted:
    def pieces(self, tmp_path, after=-1):
        return VideoPieces(tmp_path / "part", tmp_path / "a_annotated.mp4", find_encoder(), after=after)

    def add(self, pieces, frames, **options):
        for k in frames:
            pieces.add(shade(k, **options), k, k / 10)

    def test_only_what_a_state_counts_on_stays(self, tmp_path):
        """States after frames 3 and 7; the second was not saved any more, and a third piece was not complete."""
        first = self.pieces(tmp_path)
        for frames in (range(4), range(4, 8)):
            self.add(first, frames)
            first.cut()
        self.add(first, range(8, 10))
        left = sorted(path.name for path in (tmp_path / "part").glob("annotated*"))
        assert left == ["annotated-000000000000.mkv", "annotated-000000000004.mkv"]
        (tmp_path / "part" / ".annotated-000000000008.part.mkv").write_bytes(b"as much as was written")

        second = self.pieces(tmp_path, after=3)
        self.add(second, range(4, 12), shape=(80, 96))  # frames of another size are fitted to those that there are
        second.finish()
        assert seen(tmp_path / "a_annotated.mp4") == [(100 * k, k) for k in range(12)]
        assert shape_of(tmp_path / "a_annotated.mp4") == (64, 96)
        second.remove()
        second.abandon()
        assert not list((tmp_path / "part").glob("annotated*"))

    def test_killed_after_the_last_frame(self, tmp_path):
        first = self.pieces(tmp_path)
        self.add(first, range(4))
        first.cut()
        self.pieces(tmp_path, after=3).finish()  # not one more frame comes
        assert len(seen(tmp_path / "a_annotated.mp4")) == 4

    def test_started_anew(self, tmp_path):
        first = self.pieces(tmp_path)
        self.add(first, range(4))
        first.cut()
        second = self.pieces(tmp_path)
        self.add(second, [5])
        second.finish()
        assert seen(tmp_path / "a_annotated.mp4") == [(0, 5)]

    def test_no_picture_no_video(self, tmp_path):
        self.pieces(tmp_path).finish()
        assert list(tmp_path.iterdir()) == []
