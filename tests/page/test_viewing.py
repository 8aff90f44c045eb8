"""Copies for viewing: the frames and times of the video, small and of even sides; what is said where there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from auformer.data.video import read_video, video_facts
from auformer.page.viewing import HIGHEST, Copies, _fitted
from tests.helpers.annotated import write_film
from tests.helpers.films import Film, number_in
from tests.helpers.films import write_film as write_numbered
from tests.helpers.page import wait_for

GAPS = (*range(0, 10), *range(20, 30))


def made(path: Path, folder: Path) -> dict:
    """What is told at the end."""
    told = Copies().ask(path, folder, threading.Event())
    wait_for(lambda: told["state"] in ("done", "failed"))
    return told


def test_a_copy_has_the_frames_at_their_times(tmp_path: Path) -> None:
    film = Film(".avi", "mpeg4", slots=GAPS)
    told = made(write_numbered(film, tmp_path), tmp_path / "view")
    frames = list(read_video(told["file"]))
    assert [number_in(frame.image()) for frame in frames] == film.numbers
    assert np.allclose([frame.time_s for frame in frames], film.times, atol=0.001)
    facts = video_facts(told["file"])
    assert facts.codec == "h264" and facts.delay_s == 0 and told["share"] == 1


def test_a_second_look_makes_no_second_copy(tmp_path: Path) -> None:
    path, copies = write_film(tmp_path / "a.mp4", 5), Copies()
    told = [copies.ask(path, tmp_path / "view", threading.Event()) for _ in range(3)]
    wait_for(lambda: told[0]["state"] == "done")
    assert told[0] is told[2] and len(list((tmp_path / "view").iterdir())) == 1


def test_of_a_damaged_video_what_comes_before_is_copied(tmp_path: Path) -> None:
    path = write_numbered(Film(".mkv", "mpeg4", slots=tuple(range(40))), tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    told = made(path, tmp_path / "view")
    assert told["state"] == "done" and 5 < len(list(read_video(told["file"]))) < 40


def test_without_an_encoder_or_a_video_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.avi").write_bytes(b"no video")
    told = made(tmp_path / "no.avi", tmp_path / "view")
    assert told["state"] == "failed" and "no.avi" in told["message"] and str(tmp_path) not in told["message"]
    monkeypatch.setattr("auformer.page.viewing.find_encoder", lambda: "mpeg4")
    told = made(write_film(tmp_path / "a.mp4", 5), tmp_path / "view")
    assert told["state"] == "failed" and "no H.264 encoder" in told["message"]
    assert not list((tmp_path / "view").glob("*"))


def test_nothing_stays_of_what_was_removed_meanwhile(tmp_path: Path) -> None:
    removed = threading.Event()
    path, copies = write_film(tmp_path / "a.mp4", 400), Copies()
    told = copies.ask(path, tmp_path / "view", removed)
    wait_for(lambda: told["share"] > 0)
    removed.set()
    wait_for(lambda: told["state"] in ("done", "failed") and not copies._known)
    assert not list((tmp_path / "view").glob("*"))


@pytest.mark.parametrize(
    ("size", "wanted"), [((481, 641), (480, 640)), ((1080, 1920), (540, 960)), ((48, 64), (48, 64))]
)
def test_sides_are_even_and_not_too_long(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    found = _fitted(np.zeros((*size, 3), np.uint8)).shape[:2]
    assert found == wanted and found[0] <= HIGHEST
