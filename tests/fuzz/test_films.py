"""Hundreds of small valid videos: every frame is the one that its image says it is, at its time, upright."""

import csv
import logging
from collections import Counter

import numpy as np
import pytest

from auformer.data.packets import frame_times
from auformer.data.video import read_video
from auformer.predict import predict_to_files
from tests.helpers.films import SIZE, Film, all_films, number_in, write_film

FILMS = list(all_films())
SUFFIXES = list(dict.fromkeys(film.suffix for film in FILMS))
ROUNDED = 0.0011  # seconds: Matroska, FLV and ASF keep milliseconds
pytestmark = pytest.mark.slow


def faults(film: Film, path, caplog) -> list[str]:
    """What is wrong with what the reader says of a film."""
    frames, said = [], ""
    caplog.clear()
    try:
        for frame in read_video(path, threads=1):
            frames.append((number_in(image := frame.image()), frame.time_s, image.shape))
    except ValueError as error:
        said = str(error)
    planned = frame_times(path)
    said += "".join(record.getMessage() for record in caplog.records if record.name == "auformer.data.video")
    if not frames:
        return [f"it is refused: {said}"]
    numbers, times, shapes = zip(*frames, strict=True)
    wrong = [] if list(numbers) == film.numbers else [f"frames {numbers}"]
    if film.said not in said or (not film.said and said and film.order != "default"):
        wrong.append(f"it says: {said}")
    told = len(times) - film.untold
    if len(times) != len(film.times) or not np.allclose(times[:told], film.times[:told], rtol=0, atol=ROUNDED):
        wrong.append(f"times {np.round(times, 3).tolist()}, not {np.round(film.times, 3).tolist()}")
    if set(shapes) != {(SIZE[1], SIZE[0], 3)}:
        wrong.append(f"shapes {set(shapes)}")
    if len(planned) != len(times) or not np.allclose(planned, times, rtol=0, atol=1e-6):
        wrong.append(f"times by packets {np.round(planned, 3).tolist()}")
    return wrong


def test_the_corpus_is_large_and_of_many_kinds():
    names = Counter(film.name for film in FILMS)
    assert len(names) >= 300 and len({film.codec for film in FILMS}) >= 15 and len(SUFFIXES) >= 15
    assert {film.turn for film in FILMS} == set(range(8))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_and_its_time(suffix, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    found = {}
    for film in (film for film in FILMS if film.suffix == suffix):
        path = write_film(film, tmp_path)
        if wrong := faults(film, path, caplog):
            found[film.name] = wrong
        path.unlink()
    assert found == {}


def test_twenty_of_them_through_predict(tmp_path):
    """No face is there, so that there is one row per frame."""
    plain = [film for film in FILMS if film.parts in (0, film.joined) and not film.untold]
    films = {film.name: film for film in plain[:: len(plain) // 20]}
    for name, film in films.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        write_film(film, tmp_path / "in" / name)
    predict_to_files(tmp_path / "in", tmp_path / "out", plot=False)
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, film in films.items():
        mine = [row for row in rows if row["subject"] == f"{name}/film{film.suffix}"]
        assert [int(row["frame"]) for row in mine] == list(range(len(film.times))), name
        assert np.allclose([float(row["time_s"]) for row in mine], film.times, rtol=0, atol=ROUNDED), name
    assert len(films) >= 20 and {row["status"] for row in rows} == {"no_face"}
