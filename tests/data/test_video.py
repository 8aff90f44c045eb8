"""Frames of videos: all of them, upright, at their own times, up to the damage and no further."""

from __future__ import annotations

import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from auformer.data.containers import clean_aperture
from auformer.data.packets import frame_times
from auformer.data.video import images_at, read_video, video_facts
from tests.helpers.films import GAPS, Film, number_in, write_film
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
    "upside down": ((1, 0, 0, -1), "bwrg"),
    "along the diagonal": ((0, 1, 1, 0), "rbgw"),
    "along the other diagonal": ((0, -1, -1, 0), "wgbr"),
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


class TestStreams:
    """Which of several streams of images is meant."""

    def shades(self, path):
        return [round(frame.image().mean()) for frame in read_video(path)]

    def test_the_default_one_and_the_other_is_named(self, tmp_path, caplog):
        path = write_film(Film(".mkv", "libx264", order="default"), tmp_path)
        assert [number_in(frame.image()) for frame in read_video(path)] == list(range(12))
        assert "has 2 video streams: stream 1 (96 x 64), the default one, is read, and not stream 0" in caplog.text

    @pytest.mark.parametrize("order", ["depth", "cover", "attached"])
    def test_depth_maps_and_covers_never(self, tmp_path, caplog, order):
        """The depth map is marked as the default stream; covers are streams of MP4 and attachments of Matroska."""
        path = write_film(Film(".mp4" if order == "cover" else ".mkv", "libx264", order=order), tmp_path)
        assert [number_in(frame.image()) for frame in read_video(path)] == list(range(12))
        assert caplog.text == ""

    def test_a_title_says_that_it_is_a_map(self, tmp_path):
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
            for stream, title in zip(streams, ("DEPTH", "COLOR"), strict=True):
                stream.width, stream.height, stream.pix_fmt, stream.metadata["title"] = 96, 64, "bgr0", title
            for stream, shade in zip(streams, (10, 200), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(flat(shade), format="rgb24")))
            for stream in streams:
                container.mux(stream.encode(None))
        assert self.shades(path) == [200]


class TestShape:
    def test_pixels_that_are_not_square(self, tmp_path):
        for pixel in (Fraction(4, 3), Fraction(3, 4)):
            path = write_film(Film(".mp4", "libx264", pixel=pixel), tmp_path)
            assert {frame.image().shape for frame in read_video(path)} == {(64, 96, 3)}

    def test_pixels_of_a_dvd(self, tmp_path):
        """MPEG-2 says the shape of the whole image, here 4:3."""
        path = tmp_path / "a.vob"
        with av.open(str(path), "w", format="vob") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = 72, 60, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(10, 9)
            for image in [flat(100, (72, 60))] * 4:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        assert [frame.image().shape for frame in read_video(path)] == [(60, 80, 3)] * 4

    def test_clean_aperture_of_mp4(self, tmp_path):
        """Eight columns on the left and four rows below are not meant to be seen."""
        image = flat(200)
        image[:, :8], image[-4:] = 20, 20
        path = write_video(tmp_path / "a.mp4", [image] * 3, fps=10)
        values = (88, 1, 60, 1, 4, 1, -2, 1)  # width, height, and how far its centre lies right and below
        path.write_bytes(with_clap(path.read_bytes(), struct.pack(">IIIIiIiI", *values)))
        (seen, *_) = [frame.image() for frame in read_video(path)]
        assert seen.shape == (60, 88, 3) and seen.min() > 150

    def test_clean_aperture_of_matroska(self, tmp_path):
        def element(number, content):
            return bytes.fromhex(number) + bytes([0x80 | len(content)]) + content

        crops = element("54CC", b"\x08") + element("54AA", b"\x00\x04")
        tracks = element("AE", element("83", b"\x02")) + element("AE", element("E0", element("B0", b"\x60") + crops))
        path = tmp_path / "a.mkv"
        header = element("1A45DFA3", b"") + bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7  # of unknown length
        path.write_bytes(header + element("EC", b"\x00" * 5) + element("1654AE6B", tracks))
        options = {"track": 0, "size": (96, 64)}
        assert clean_aperture(path, "matroska,webm", index=1, **options) == (8, 0, 0, 4)
        assert clean_aperture(path, "matroska,webm", index=0, **options) is None  # sound
        assert clean_aperture(path, "matroska,webm", index=1, track=0, size=(8, 8)) is None  # nothing would be left


@pytest.mark.parametrize(("matrix", "number"), [("itu601", 6), ("itu709", 1)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_by_the_streams_own_matrix_and_range(tmp_path, matrix, number, full):
    image = quarters()
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = number, 2 if full else 1
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG")
        frame.pts, frame.colorspace, frame.color_range = 0, number, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    seen = next(iter(read_video(path))).image()
    assert np.abs(seen.astype(int) - image).max() <= 4


class TestTimes:
    """What the corpus of tests/fuzz says about many kinds of files, on one of each."""

    @pytest.mark.parametrize(
        "film",
        [Film(".avi", "libx264", 2), Film(".ts", "libx264", 2, joined=3), Film(".avi", "mpeg4", slots=GAPS[0]),
         Film(".mp4", "mpeg4", cut=4), Film(".h264", "libx264", 2, Fraction(50)),
         Film(".webm", "libvpx", order="sound"), Film(".wmv", "wmv2", order="sound")],
        ids=lambda film: film.name,
    )  # fmt: skip
    def test_they_rise_and_each_frame_has_its_own(self, tmp_path, film):
        path = write_film(film, tmp_path)
        seen = [(number_in(frame.image()), frame.time_s) for frame in read_video(path)]
        assert [number for number, _ in seen] == film.numbers
        assert np.allclose([time for _, time in seen], film.times, atol=0.0011)
        assert np.allclose(frame_times(path), [time for _, time in seen], atol=1e-6)

    def test_frames_of_vp8_that_are_not_shown(self, tmp_path):
        """Encoders write them to refer to; here two frames are made such ones."""
        path, hidden = write_film(Film(".webm", "libvpx"), tmp_path), tmp_path / "hidden.webm"
        with av.open(str(path)) as source, av.open(str(hidden), "w") as target:
            copy = target.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(source.demux(video=0)):
                if packet.size:
                    data = bytearray(bytes(packet))
                    data[0] &= 0xEF if number in (4, 7) else 0xFF
                    changed = av.Packet(bytes(data))
                    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                    changed.stream, changed.is_keyframe = copy, packet.is_keyframe
                    target.mux(changed)
        seen = [(number_in(frame.image()), frame.time_s) for frame in read_video(hidden)]
        assert [number for number, _ in seen] == [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]
        assert frame_times(hidden) == [time for _, time in seen]

    def test_frames_become_images_after_the_file_is_closed(self, tmp_path):
        path = write_film(Film(".mp4", "libx264", 2), tmp_path)
        assert [number_in(frame.image()) for frame in list(read_video(path))] == list(range(12))


class TestWhatItIs:
    """Messages name the format and what to do."""

    def message(self, path):
        with pytest.raises(ValueError, match="cannot be read as one") as error:
            next(read_video(path))
        return str(error.value)

    def test_a_video_that_was_not_closed(self, tmp_path):
        path = write_video(tmp_path / "a.mp4", shades(10), fps=10)
        path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"moov") - 4])
        assert "the video was not closed (no moov atom)" in self.message(path)

    def test_an_avi_file_that_was_not_closed_is_read(self, tmp_path):
        """Its lengths are 0, and the index at its end is not there."""
        path = write_video(tmp_path / "a.avi", shades(10), fps=10, codec="mjpeg")
        data = path.read_bytes()
        data = data[: data.rindex(b"idx1")]
        path.write_bytes(data[:4] + bytes(4) + data[8:])
        assert len(list(read_video(path))) == 10

    @pytest.mark.parametrize(
        ("content", "words"),
        [(b"a,b\n1,2\n" * 30, "this is text"), ("Grüße\n".encode() * 800, "this is text"),
         (b"<!DOCTYPE html><HTML>404</HTML>", "this is a web page"), (bytes(5000), "nothing but zeros"),
         (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
         (b"PK\x03\x04" + bytes(300), "this is a ZIP file"), (b"\x1f\x8b\x08" + bytes(300), "this is a gzip file"),
         (bytes(range(256)) * 20, "it is none that FFmpeg knows, or its beginning is damaged (Invalid data")],
    )  # fmt: skip
    def test_files_of_other_kinds(self, tmp_path, content, words):
        (tmp_path / "a.mp4").write_bytes(content)
        assert words in self.message(tmp_path / "a.mp4")

    def test_bare_images_without_a_rate(self, tmp_path, caplog):
        path = write_film(Film(".mjpeg", "mjpeg", rate=Fraction(50)), tmp_path)
        assert [round(frame.time_s, 2) for frame in read_video(path)][:3] == [0, 0.04, 0.08]
        assert "says no frame rate: times are those of 25 frames a second" in caplog.text

    def test_an_image(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
        assert "this is an image, HEIC" in self.message(tmp_path / "a.mp4")


def with_clap(data: bytes, values: bytes) -> bytes:
    """An MP4 file whose header, at its end, says what is seen of its first video."""
    way, at, end, places = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"), 0, len(data), []
    for name in way:
        at = data.index(name, at)
        places.append(at - 4)
    entry = at + 12  # behind version and count
    places.append(entry)
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    box = (8 + len(values)).to_bytes(4, "big") + b"clap" + values
    changed = bytearray(data[:end] + box + data[end:])
    for place in places:
        changed[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + len(box)).to_bytes(4, "big")
    return bytes(changed)
