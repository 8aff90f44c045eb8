"""Some frames of a video: the same places, times and pixels as by reading all of them, and less is decoded."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from auformer.data.chosen import read_chosen
from auformer.data.video import Video, read_video
from tests.helpers.films import GAPS, Film, write_film

FRAMES = 50


def write(path, codec, gop, *, bframes=0, frames=FRAMES, **options):
    """A noisy square that moves over a slope, so that each frame differs from all others and needs those before it."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = bframes
        for k in range(frames):
            image = np.ascontiguousarray(np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None] * 2, (64, 96, 3)))
            image[5 + k % 30 : 29 + k % 30, k : k + 24] = np.roll(noise, k, 0)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def outcome(frames):
    """What comes, and the message at the end."""
    found = []
    try:
        found += ((frame.index, frame.time_s, frame.image().tobytes()) for frame in frames)
    except ValueError as error:
        return found, str(error)
    return found, ""


CHOICES = {
    "every 2nd": lambda k: k % 2 == 0, "every 7th": lambda k: k % 7 == 0, "from 23 on, every 9th": lambda k: k % 9 == 5,
    "the last": lambda k: k == FRAMES - 1, "some": lambda k: k in (3, 4, 17, 40), "none": lambda k: False,
}  # fmt: skip


def check(path, choices=CHOICES):
    whole, message = outcome(read_video(path))
    assert whole
    for name, wanted in choices.items():
        found = outcome(read_chosen(path, lambda index, time, wanted=wanted: wanted(index)))
        assert found == ([one for one in whole if wanted(one[0])], message), name


@pytest.fixture
def no_doubt(monkeypatch):
    """Reading all of a video fails from now on."""

    def frames(self, *, warn=True):
        raise AssertionError("the video was read as a whole")

    return lambda: monkeypatch.setattr(Video, "frames", frames)


X264 = {"preset": "veryfast", "crf": "20"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:open-gop=0"}
VPX = {"deadline": "realtime", "cpu-used": "8"}


class TestSameFrames:
    @pytest.mark.parametrize("gop", [1, 4, 12, 250])
    @pytest.mark.parametrize("bframes", [0, 3])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_h264(self, tmp_path, suffix, bframes, gop):
        check(write(tmp_path / f"a{suffix}", "libx264", gop, **X264, bf=str(bframes)))

    @pytest.mark.parametrize(
        ("suffix", "codec", "options"),
        [(".mp4", "libx265", X265), (".webm", "libvpx", VPX | {"auto-alt-ref": "1"}), (".mkv", "libvpx-vp9", VPX),
         (".avi", "mjpeg", {}), (".mov", "mjpeg", {})],
    )  # fmt: skip
    def test_other_codecs_are_read_by_groups(self, tmp_path, suffix, codec, options, no_doubt):
        path = write(tmp_path / f"a{suffix}", codec, 8, bframes=2 if codec == "libx265" else 0, **options)
        whole, _ = outcome(read_video(path))
        no_doubt()
        found, _ = outcome(read_chosen(path, lambda index, time: index % 9 == 5))
        assert found == [one for one in whole if one[0] % 9 == 5]

    @pytest.mark.parametrize(
        "options",
        [{"x264-params": "open-gop=1", "bf": "3"}, {"x264-params": "intra-refresh=1", "bf": "0"},
         {"x264-params": "interlaced=1"}, {"x264-params": "b-pyramid=strict", "bf": "5"}],
        ids=["open groups", "no key frames", "fields", "pyramid"],
    )  # fmt: skip
    def test_h264_of_other_kinds(self, tmp_path, options):
        check(write(tmp_path / "a.mp4", "libx264", 10, **X264, **options))

    def test_h265_whose_groups_refer_to_each_other(self, tmp_path):
        options = X265 | {"x265-params": "log-level=none:pools=1:open-gop=1"}
        check(write(tmp_path / "a.mp4", "libx265", 8, bframes=3, **options))

    @pytest.mark.parametrize(
        "film",
        [Film(".avi", "libx264", 2), Film(".avi", "mpeg4", 2, slots=GAPS[0]), Film(".mp4", "mpeg4", 2),
         Film(".mp4", "libx264", 2, cut=4), Film(".mp4", "libx264", 0, cut=4), Film(".mkv", "libx264", 2, joined=2),
         Film(".ts", "libx264", 2, joined=3), Film(".mp4", "libx264", 2, joined=2), Film(".h264", "libx264", 2),
         Film(".mkv", "libx264", 2, slots=GAPS[1], order="sound"), Film(".avi", "mjpeg", slots=GAPS[0]),
         Film(".mpg", "mpeg2video", 2), Film(".gif", "gif")],
        ids=lambda film: film.name,
    )  # fmt: skip
    def test_films(self, tmp_path, film):
        """Edit lists, gaps, joined files, bare streams: by groups, or with a doubt in them as a whole."""
        check(write_film(film, tmp_path), {name: CHOICES[name] for name in ("every 2nd", "every 7th", "some")})


class TestLessIsDecoded:
    def damaged(self, path, first, last):
        """Spoil the coded images of some frames of an MP4 file."""
        with av.open(str(path)) as container:
            packets = [(one.pts, one.pos, one.size) for one in container.demux(video=0) if one.size]
        data = bytearray(path.read_bytes())
        for place, (_, position, size) in enumerate(sorted(packets)):
            if first <= place <= last:
                data[position + 8 : position + size] = b"\xa5" * (size - 8)
        path.write_bytes(data)

    def test_groups_without_a_frame_and_what_follows_the_last_one(self, tmp_path, no_doubt):
        path = write(tmp_path / "a.mp4", "libx264", 10, **X264, bf="0", **{"x264-params": "scenecut=0"})
        whole, _ = outcome(read_video(path))
        self.damaged(path, 12, 29)
        self.damaged(path, 36, 39)
        assert outcome(read_video(path))[0] != whole
        no_doubt()
        found, message = outcome(read_chosen(path, lambda index, time: index in (3, 10, 31, 35, 40)))
        assert (found, message) == ([whole[k] for k in (3, 10, 31, 35, 40)], "")

    def test_frames_that_no_other_refers_to(self, tmp_path, no_doubt):
        path = write(tmp_path / "a.mp4", "libx264", 60, **X264, bf="1", **{"x264-params": "b-adapt=0:scenecut=0"})
        again = tmp_path / "b.mp4"  # twice: of the first group all is decoded
        with av.open(str(path)) as source, av.open(str(again), "w") as target:
            copy, step = target.add_stream_from_template(source.streams.video[0]), 512 * FRAMES
            packets = [one for one in source.demux(video=0) if one.size]
            for shift in (0, step):
                for one in packets:
                    new = av.Packet(bytes(one))
                    new.pts, new.dts, new.time_base = one.pts + shift, one.dts + shift, one.time_base
                    new.stream, new.is_keyframe = copy, one.is_keyframe
                    target.mux(new)
        whole, _ = outcome(read_video(again))
        self.damaged(again, FRAMES + 11, FRAMES + 11)
        assert outcome(read_video(again))[0][:-1] != whole[:-1]
        no_doubt()
        found, _ = outcome(read_chosen(again, lambda index, time: index in (1, FRAMES + 10, FRAMES + 12)))
        assert found == [whole[k] for k in (1, FRAMES + 10, FRAMES + 12)]

    def test_the_end(self, tmp_path, no_doubt):
        path = write(tmp_path / "a.mp4", "libx264", 10, **X264)
        whole, _ = outcome(read_video(path))
        asked = []
        no_doubt()
        found, _ = outcome(read_chosen(path, lambda index, time: asked.append(index) or (True if time < 0.5 else None)))
        assert found == whole[:13] and asked == list(range(14))


class TestDamage:
    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
    def test_a_file_that_ends_early_says_so(self, tmp_path, name):
        path = write(tmp_path / name, "libx264", 5, **X264)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
        check(path, {name: CHOICES[name] for name in ("every 2nd", "every 7th")})

    def test_a_doubt_after_frames_were_given(self, tmp_path, monkeypatch):
        """The first frames are not given again, and `keep` is not asked again."""
        from auformer.data import chosen

        path = write(tmp_path / "a.mp4", "libx264", 5, **X264)
        whole, _ = outcome(read_video(path))
        plain, groups, asked = chosen._Reader.read, [], []

        def read(self, group):
            groups.append(len(group))
            if len(groups) == 5:
                raise chosen._Doubt
            yield from plain(self, group)

        monkeypatch.setattr(chosen._Reader, "read", read)
        found, _ = outcome(read_chosen(path, lambda index, time: asked.append(index) or index % 3 == 0))
        assert len(groups) == 5 and found == whole[::3] and asked == list(range(FRAMES))

    def test_what_is_no_video(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"no video")
        with pytest.raises(ValueError, match="Expected a video"):
            next(read_chosen(tmp_path / "a.mp4", lambda index, time: True))
