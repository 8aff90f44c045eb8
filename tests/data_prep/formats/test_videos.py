"""Frames of a video by position: only those that are wanted, up to the first damage, and why there are no more."""

import re

import numpy as np
import pytest

from auformer.data.video import read_video
from auformer.data_prep.formats.videos import match_numbers, read_frames, read_places
from auformer.errors import DatasetLayoutError
from tests.helpers.films import number_in, seen
from tests.helpers.trees.images import face_image, write_video
from tests.helpers.videos import write_slots, write_times

FRAMES = 30


@pytest.fixture(scope="module")
def images():
    return [face_image(0, k) for k in range(FRAMES)]


def distances(image: np.ndarray, images: list[np.ndarray]) -> list[float]:
    """Mean differences in levels."""
    return [float(np.abs(image.astype(int) - other).mean()) for other in images]


@pytest.mark.parametrize("wanted", [[0], [29], [0, 1, 2], [3, 11, 28], list(range(FRAMES))])
def test_position_k_is_image_k(images, tmp_path, wanted):
    path = write_video(tmp_path / "a é.mkv", images)
    found = list(read_frames(path, wanted))
    assert [position for position, *_ in found] == wanted and {status for *_, status, _ in found} == {"ok"}
    assert all((image == images[position]).all() for position, image, _, _ in found)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", None), ("a.avi", "mjpeg"), ("a.mp4", None), ("a.mkv", None)])
def test_lossy_frames_are_near_their_images_and_not_near_others(images, tmp_path, name, codec):
    path = write_video(tmp_path / name, images, codec=codec)
    for position, image, _, _ in read_frames(path, [0, 7, 19]):
        away = distances(image, images)
        assert np.argmin(away) == position and away[position] < 3


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mkv", "ffv1")])
def test_a_truncated_video_gives_what_is_whole(images, tmp_path, name, codec):
    path = write_video(tmp_path / name, images, codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = list(read_frames(path, list(range(FRAMES))))
    status = [status for *_, status, _ in found]
    whole = status.count("ok")
    assert 5 < whole < 25 and status == ["ok"] * whole + ["unreadable"] * (FRAMES - whole)
    assert name in found[-1][3] and str(tmp_path) not in found[-1][3]
    assert all(distances(image, images)[position] < 3 for position, image, _, _ in found[:whole])


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_damage_does_not_shift_frames_unless_it_is_told(images, tmp_path, name, rng):
    """Wherever bytes are overwritten: what comes out is no other image; where a frame is lost, the end is missing."""
    whole = write_video(tmp_path / name, images).read_bytes()
    hurt = 0
    for at in np.linspace(0.2, 0.9, 8):
        start = int(len(whole) * at)
        path = tmp_path / f"hurt_{name}"
        path.write_bytes(whole[:start] + rng.integers(0, 256, 400, dtype=np.uint8).tobytes() + whole[start + 400 :])
        found = list(read_frames(path, list(range(FRAMES))))
        status = [status for *_, status, _ in found]
        assert [position for position, *_ in found] == list(range(FRAMES)) and set(status) <= {"ok", "unreadable"}
        hurt += "unreadable" in status
        for position, image, _, _ in found:
            away = [] if image is None else distances(image, images)
            shifted = away and np.argmin(away) != position and min(away) < 3
            assert not shifted or (status[-1] == "unreadable" and "copy it again" in found[-1][3])
    assert hurt


def test_behind_damage_frames_go_on_at_the_next_key_frame(images, tmp_path):
    """Of a Motion JPEG file every frame is a key frame: one that is spoilt costs that frame alone."""
    path = write_video(tmp_path / "a.avi", images, codec="mjpeg")
    data = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(rb"00dc....\xff\xd8", data, re.DOTALL)]
    assert len(starts) == FRAMES
    data[starts[10] + 8 : starts[11]] = bytes(starts[11] - starts[10] - 8)
    path.write_bytes(bytes(data))
    found = list(read_frames(path, list(range(FRAMES))))
    assert [position for position, _, status, _ in found if status != "ok"] == [10]
    assert found[10][2:] == ("unreadable", "a.avi: it is damaged at frame 10")
    assert all(distances(image, images)[k] < 3 for k, image, *_ in found if k != 10)


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_positions_behind_the_end(images, tmp_path, name):
    path, text = write_video(tmp_path / name, images[:3]), f"{name}: it has 3 frames"
    found = [(position, status, text) for position, _, status, text in read_frames(path, [2, 3, 9])]
    assert found == [(2, "ok", ""), (3, "no_image", text), (9, "no_image", text)]


@pytest.mark.parametrize("content", [b"", b"no video at all", b"RIFF" + bytes(100)])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / "a.avi"
    path.write_bytes(content)
    found = list(read_frames(path, [0, 5]))
    assert [(position, status) for position, _, status, _ in found] == [(0, "unreadable"), (5, "unreadable")]
    assert "it cannot be read" in found[0][3] or "holds no video" in found[0][3]


GAP = [*range(10), *range(15, 30)]  # five frames were dropped


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"x264-params": "open-gop=1:keyint=8:bframes=2:scenecut=0", "crf": "12"}),
     ("mpeg2video", {"bf": "2", "g": "8"})],
)  # fmt: skip
def test_a_recording_that_begins_amid_a_group_of_images(tmp_path, codec, options):
    """Its first images cannot be decoded: no reader counts them, and nothing is damaged."""
    path = tmp_path / "a.ts"
    write_slots(path, [seen(k) for k in range(24)], range(24), codec, **options)
    whole = path.read_bytes()
    for first in range(1, len(whole) // 188 // 2, 4):
        path.write_bytes(whole[188 * first :])
        shown = [number_in(frame.image()) for frame in read_video(path)]
        assert shown == list(range(shown[0], 24)) and len(read_places(path).times) == len(shown)
        found = list(read_frames(path, list(range(len(shown)))))
        assert {status for *_, status, _ in found} == {"ok"}
        assert [number_in(image) for _, image, _, _ in found] == shown


class TestNumbers:
    """Which image a frame number means, where frames were dropped while recording."""

    @pytest.mark.parametrize(
        ("name", "codec", "options"),
        [("a.avi", "mpeg4", {}), ("a.avi", "mjpeg", {}), ("a.avi", "libx264", {"bf": "2"}), ("a.mp4", "libx264", {}),
         ("a.mkv", "mpeg4", {"bf": "1"}), ("a.ts", "libx264", {})],
    )  # fmt: skip
    def test_dropped_frames_keep_their_numbers(self, images, tmp_path, name, codec, options):
        path = write_slots(tmp_path / name, images[: len(GAP)], GAP, codec, **options)
        places = read_places(path)
        assert places.slots == GAP and places.length == 30
        positions = match_numbers(np.arange(30), places, name)
        assert positions.tolist() == [*range(10), *[-1] * 5, *range(10, 25)]
        for position, image, _, _ in read_frames(path, [9, 10, 20]):
            assert np.argmin(distances(image, images)) == position

    def test_two_stories_are_refused_and_told(self, images, tmp_path):
        places = read_places(write_slots(tmp_path / "a.avi", images[: len(GAP)], GAP))
        with pytest.raises(DatasetLayoutError, match="(?s)a.avi.*--numbering time.*--numbering order"):
            match_numbers(np.arange(25), places, "a.avi")
        assert match_numbers(np.arange(25), places, "", "order").tolist() == list(range(25))
        assert match_numbers(np.arange(12, 17), places, "", "time").tolist() == [-1, -1, -1, 10, 11]
        assert match_numbers(np.arange(10), places, "").tolist() == list(range(10))  # both say the same
        assert match_numbers(np.array([-1, 31]), places, "").tolist() == [-1, -1]

    def test_a_rate_that_varies_has_no_numbers_but_the_order(self, images, tmp_path):
        path = write_times(tmp_path / "a.mkv", images[:6], [0, 40, 100, 130, 900, 935])
        assert read_places(path).slots is None
        assert match_numbers(np.arange(8), read_places(path), "").tolist() == [0, 1, 2, 3, 4, 5, -1, -1]

    def test_what_is_no_video_has_no_places(self, tmp_path):
        (tmp_path / "b.avi").write_bytes(b"no video")
        assert read_places(tmp_path / "b.avi") is None and read_places(tmp_path / "missing.avi") is None
