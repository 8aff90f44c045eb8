"""Files that were joined byte by byte: where the parts begin, and that nothing of them is missing in silence."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from auformer.data.joins import part_starts
from auformer.data.video import read_video
from auformer.data_prep.formats.videos import read_frames
from tests.helpers.films import Film, number_in, seen, write_film

KINDS = {".mp4": "mov,mp4,m4a,3gp,3g2,mj2", ".mkv": "matroska,webm", ".flv": "flv", ".wmv": "asf"}
CODECS = {".mp4": "mpeg4", ".mkv": "mpeg4", ".flv": "flv", ".wmv": "wmv2"}


def write_pieces(path, **options: str):
    """An MP4 file in fragments, or a Matroska file of which no length is known, as browsers record them."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        (stream.width, stream.height), stream.pix_fmt, stream.codec_context.gop_size = (96, 64), "yuv420p", 6
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(seen(number).copy(), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path):
    numbers, message = [], ""
    try:
        for frame in read_video(path):
            numbers.append(number_in(frame.image()))
    except ValueError as error:
        message = str(error)
    return numbers, message


@pytest.mark.parametrize("suffix", KINDS)
def test_where_each_part_begins(tmp_path, suffix):
    path = write_film(Film(suffix, CODECS[suffix], order="sound"), tmp_path)
    size = path.stat().st_size
    assert part_starts(path, KINDS[suffix]) == [0]
    path.write_bytes(path.read_bytes() * 3)
    assert part_starts(path, KINDS[suffix]) == [0, size, 2 * size]
    path.write_bytes(path.read_bytes()[: 2 * size + 20])
    assert part_starts(path, KINDS[suffix])[:2] == [0, size]
    assert part_starts(path, "mpegts") == []


def test_matroska_of_unknown_length_is_gone_through(tmp_path):
    path = write_pieces(tmp_path / "live.mkv", live="1")
    assert b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" in path.read_bytes()
    size = path.stat().st_size
    assert part_starts(path, KINDS[".mkv"]) == [0]
    path.write_bytes(path.read_bytes() * 2)
    assert part_starts(path, KINDS[".mkv"]) == [0, size]


@pytest.mark.parametrize("suffix", KINDS)
def test_what_is_not_read_is_said(tmp_path, suffix):
    numbers, message = read(write_film(Film(suffix, CODECS[suffix], joined=3), tmp_path))
    assert numbers == list(range(12)) * (2 if suffix == ".mkv" else 1)
    assert "holds 3 videos that were joined byte by byte" in message and "one by one" in message


def test_two_matroska_files_are_both_read(tmp_path):
    assert read(write_film(Film(".mkv", "mpeg4", joined=2), tmp_path)) == ([*range(12), *range(12)], "")


def test_fragments_of_which_some_are_passed_over(tmp_path):
    flags = "frag_keyframe+empty_moov+default_base_moof"
    path = write_pieces(tmp_path / "pieces.mp4", movflags=flags)
    assert read(path) == (list(range(12)), "")
    path.write_bytes(path.read_bytes() * 2)
    assert "holds 2 videos" in read(path)[1]


def test_labels_of_the_second_part_have_no_image(tmp_path):
    path = write_film(Film(".mp4", "mpeg4", joined=2), tmp_path)
    said = [(position, status, message) for position, _, status, message in read_frames(path, [3, 15])]
    assert said[0] == (3, "ok", "") and said[1][:2] == (15, "unreadable") and "2 videos" in said[1][2]
