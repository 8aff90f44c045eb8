"""Frames of videos: all of them, upright, at their own times, up to the damage and no further."""

from __future__ import annotations

import re
import struct

import av
import numpy as np
import pytest

from auformer.data.video import images_at, read_video, video_facts
from tests.helpers.trees.images import write_video
from tests.helpers.videos import write_sound, write_times


def flat(shade: int, size=(96, 64)):
    return np.full((size[1], size[0], 3), shade, np.uint8)


def shades(count):
    return [flat(20 + 8 * k) for k in range(count)]


def quarters(width=96, height=64):
    """Red, green, blue and white quarters: each corner is known."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    image[: height // 2, width // 2 :] = (30, 220, 30)
    image[height // 2 :, : width // 2] = (30, 30, 220)
    image[height // 2 :, width // 2 :] = 230
    return image


def corners(image):
    """Which colour is in each corner, row by row."""
    names = {(True, False, False): "r", (False, True, False): "g", (False, False, True): "b", (True, True, True): "w"}
    h, w = image.shape[:2]
    return "".join(names[tuple(image[y, x] > 128)] for y in (h // 5, -h // 5) for x in (w // 5, -w // 5))


class TestFrames:
    @pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
    def test_all_frames_in_order_with_their_times(self, tmp_path, name):
        path = write_video(tmp_path / name, shades(20), fps=10)
        frames = list(read_video(path))
        assert [frame.index for frame in frames] == list(range(20))
        assert np.allclose([frame.time_s for frame in frames], np.arange(20) / 10, atol=0.002)
        assert all(abs(int(frame.image().mean()) - (20 + 8 * frame.index)) < 8 for frame in frames)
        assert frames[0].image().shape == (64, 96, 3) and frames[0].image().dtype == np.uint8

    def test_a_variable_frame_rate_keeps_its_times(self, tmp_path):
        times = [0, 40, 80, 500, 520, 2000]
        path = write_times(tmp_path / "vfr.mkv", shades(6), times)
        assert [round(1000 * frame.time_s) for frame in read_video(path)] == times

    def test_times_begin_with_the_first_frame(self, tmp_path):
        path = write_times(tmp_path / "late.mkv", shades(3), [5000, 5100, 5200])
        assert [round(1000 * frame.time_s) for frame in read_video(path)] == [0, 100, 200]

    def test_odd_sizes_alpha_grey_and_more_bits(self, tmp_path):
        odd = write_times(tmp_path / "odd.mkv", [quarters(95, 63)], [0], "ffv1", "bgr0")
        assert next(iter(read_video(odd))).image().shape == (63, 95, 3)
        for number, pix_fmt in enumerate(["gray", "yuva420p", "gbrp16le", "gray16le"]):
            path = write_times(tmp_path / f"{number}.mkv", [flat(100)], [0], "ffv1", pix_fmt)
            image = next(iter(read_video(path))).image()
            assert image.shape == (64, 96, 3) and image.dtype == np.uint8 and abs(image.mean() - 100) < 3

    def test_one_frame_in_memory_at_a_time(self, tmp_path):
        """The reader waits for whoever takes its frames."""
        path = write_video(tmp_path / "a.mp4", shades(20), fps=10)
        frames = read_video(path)
        assert next(frames).index == 0
        frames.close()


MATRICES = {  # (a, b, c, d) of the display matrix -> corners of what should be seen
    "plain": ((1, 0, 0, 1), "rgbw"),
    "quarter turn clockwise": ((0, 1, -1, 0), "brwg"),
    "half turn": ((-1, 0, 0, -1), "wbgr"),
    "quarter turn back": ((0, -1, 1, 0), "gwrb"),
    "mirrored": ((-1, 0, 0, 1), "grwb"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_rotation_flag(tmp_path, name):
    """Phones store pictures lying down, with a matrix in the track's header."""
    (a, b, c, d), seen = MATRICES[name]
    path = write_video(tmp_path / "a.mp4", [quarters()] * 3, fps=10)
    data = path.read_bytes()
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = data.index(plain, data.index(b"tkhd"))
    turned = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + turned + data[place + 36 :])
    image = next(iter(read_video(path))).image()
    assert corners(image) == seen and image.shape == ((96, 64, 3) if a == 0 else (64, 96, 3))


class TestDamage:
    def frames_and_message(self, path):
        frames, message = [], ""
        try:
            for frame in read_video(path):
                frames.append(frame.index)
        except ValueError as error:
            message = str(error)
        return frames, message

    @pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4"])
    def test_truncated(self, tmp_path, name, rng):
        images = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(30)]
        options = {"movflags": "faststart"} if name == "a.mp4" else {}
        path = tmp_path / name
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        whole, message = self.frames_and_message(path)
        assert whole == list(range(30)) and message == ""
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        frames, message = self.frames_and_message(path)
        assert frames == list(range(len(frames))) and 8 <= len(frames) < 20
        assert str(path) in message and re.search("ends early|is damaged", message)

    def test_zero_bytes_text_sound_folder_and_nothing(self, tmp_path):
        (tmp_path / "empty.mp4").write_bytes(b"")
        (tmp_path / "text.mp4").write_text("this is no video\n" * 20)
        write_sound(tmp_path / "sound.wav").rename(tmp_path / "sound.avi")
        (tmp_path / "folder.mp4").mkdir()
        said = {
            "empty": "is empty",
            "text": "cannot be read as one",
            "sound": "no moving pictures",
            "folder": "is a folder",
            "missing": "no such file",
        }
        for name, words in said.items():
            path = tmp_path / (f"{name}.avi" if name == "sound" else f"{name}.mp4")
            frames, message = self.frames_and_message(path)
            assert frames == [] and words in message and str(path) in message
            with pytest.raises(ValueError, match="Expected a video"):
                video_facts(path)

    def test_a_header_cut_off(self, tmp_path):
        path = write_video(tmp_path / "a.mp4", shades(10), fps=10)  # its index is at the end
        path.write_bytes(path.read_bytes()[:2000])
        frames, message = self.frames_and_message(path)
        assert frames == [] and "cannot be read as one" in message


def test_facts_and_images_at_times(tmp_path):
    path = write_video(tmp_path / "a.mp4", shades(20), fps=10)
    facts = video_facts(path)
    assert (facts.frames, facts.fps, facts.codec) == (20, 10, "h264") and facts.duration_s == pytest.approx(2, abs=0.01)
    images = images_at(path, [0.0, 1.0, 1.9])
    assert np.allclose([image.mean() for image in images], [20, 100, 172], atol=8)
