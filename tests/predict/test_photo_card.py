"""The figure of a photo that Pillow draws: bars as long as their numbers, what it says, and its size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from auformer.data.images import read_image
from auformer.faces import Face
from auformer.predict import photo_card as module
from auformer.predict.photo_card import BAR, FACE, MARGIN, ROW, TITLE, WIDTH, photo_card, save_card
from auformer.predict.types import FacePrediction, ImagePrediction
from auformer.report.inks import SERIES
from tests.helpers.photos import face_image
from tests.helpers.videos import photo_source

AUS = ("AU12", "AU1", "AU25")  # drawn as AU1, AU12, AU25
TOP = MARGIN + TITLE + 18


def photo(probs, intensity=None, name="a.jpg", faces=1):
    face = Face((0.0, 0.0, 40.0, 40.0), 0.9, np.zeros((5, 2)), "regressor")
    levels = None if intensity is None else np.array(intensity, float)
    one = FacePrediction(face, face_image(30_001, 112), np.array(probs, float), 0, levels)
    return ImagePrediction(photo_source(name), faces=[one] * faces)


def card(*args, thresholds=(0.5, 0.5, 0.5), notice=None, **named):
    return photo_card(photo(*args, **named), AUS, np.array(thresholds, float), notice=notice)


def colour(index):
    return [int(SERIES["light"][index][k : k + 2], 16) for k in (1, 3, 5)]


def reach(image, row, index):
    """Pixels of a colour in the middle line of a row's bar."""
    line = image[TOP + ROW * row + (ROW - BAR) // 2 + BAR - 2]
    return int((line == colour(index)).all(-1).sum())


def test_bars_are_as_long_as_their_numbers_and_full_from_the_threshold_on():
    image = card([0.8, 0.2, 0.5], thresholds=(0.9, 0.1, 0.6))
    whole = WIDTH - MARGIN - module.BARS - module.NUMBER
    assert image.shape[1] == WIDTH and image.dtype == np.uint8
    assert reach(image, 0, 0) == pytest.approx(0.2 * whole, abs=4)  # AU1 reaches its threshold
    assert reach(image, 1, 0) == reach(image, 2, 0) == 2  # hollow: two edges


def test_intensities_have_bars_of_their_own_and_none_where_there_is_none():
    image = card([0.8, 0.2, 0.5], [5.0, 2.5, np.nan])
    half = (WIDTH - MARGIN - module.BARS - module.GAP) // 2
    assert reach(image, 1, 1) > 0.7 * half and 0.3 * half < reach(image, 0, 1) < 0.55 * half
    assert reach(image, 2, 1) == 0


def test_what_it_says(monkeypatch):
    said = []
    plain = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *a, **k: (said.append(text), plain(self, at, text, *a, **k))[1],
    )
    card([0.8, 0.2, 0.5], faces=2, notice="trained on rendered faces only")
    assert {"a.jpg, largest of 2 faces", "AU12 Lip corner puller", "trained on rendered faces only", "0.80"} <= set(
        said
    )
    said.clear()
    card([0.8, 0.2, 0.5], [1.25, 2, 3], name="x" * 300 + ".jpg")
    assert said[0].startswith("xxx") and said[0].endswith(".jpg") and "..." in said[0] and "1.2" in said


def test_the_face_is_in_it():
    image = card([0, 0, 0])
    shown = np.asarray(Image.fromarray(image[TOP : TOP + FACE, MARGIN : MARGIN + FACE]).resize((112, 112)))
    assert np.abs(shown.astype(int) - face_image(30_001, 112)).mean() < 4


def test_the_file_is_small_and_whole(tmp_path):
    image = card([0.8, 0.2, 0.5], [5.0, 2.5, 1.0])
    save_card(tmp_path / "a.png", image)
    kept = read_image(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 70_000 and [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert kept.shape == image.shape and np.abs(kept.astype(int) - image).mean() < 4
