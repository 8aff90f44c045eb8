"""Sentences by rule where people look: under annotated images and videos, and on the page."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.data.images import write_image
from auformer.data.video import read_video
from auformer.faces import Face
from auformer.predict import FacePrediction, ImagePrediction
from auformer.predict.caption import FaceWords, strip
from auformer.report.inks import THEMES
from tests.helpers.photos import face_image
from tests.helpers.predicting import files, make_checkpoint, predict_with
from tests.helpers.videos import moving, photo_source, write_times

AUS = ["AU45", "AU12", "AU4"]  # one without words
WORDS = FaceWords(AUS, np.array([0.5, 0.5, 0.9]), "en")
INK = tuple(bytes.fromhex(THEMES["dark"]["ink"][1:]))


def face(width: float, probs: list[float], levels: list[float] | None = None) -> FacePrediction:
    found = Face((5.0, 5.0, width, width), 0.9, np.zeros((5, 2)), "eyes")
    intensity = None if levels is None else np.array(levels)
    return FacePrediction(found, np.zeros((8, 8, 3), np.uint8), np.array(probs), 0, intensity)


def image(*faces: FacePrediction) -> ImagePrediction:
    pixels = np.full((90, 120, 3), 200, np.uint8)
    return ImagePrediction(photo_source(), "ok" if faces else "no_face", "", list(faces), size=(90, 120), image=pixels)


def test_the_sentence_says_what_was_decided() -> None:
    """Each by its own threshold, with a degree where the intensity is known, and nothing of what has no words."""
    assert WORDS.sentence(face(20, [0.9, 0.5, 0.89])) == "One movement: the lip corners are pulled up and back."
    assert WORDS.sentence(face(20, [0.9, 0.6, 0.1], [5.0, 4.6, 5.0])) == (
        "One movement: the lip corners are strongly pulled up and back."
    )
    german = FaceWords(AUS, np.full(3, 0.5), "de")
    assert german.sentence(face(20, [0.9, 0.1, 0.1])) == "Kein Muskel des Gesichts bewegt sich sichtbar."


def test_the_caption_is_of_the_largest_face_and_keeps_the_size() -> None:
    drawn = np.zeros((90, 400, 3), np.uint8)
    small, large = face(20, [0.1, 0.9, 0.1]), face(60, [0.1, 0.1, 0.95])
    both, alone, nobody = (WORDS.caption(drawn, image(*faces)) for faces in ((small, large), (large,), ()))
    assert (both == alone).all() and both.shape == nobody.shape and nobody.shape[0] % 2 == 0
    assert (both[:90] == drawn).all()
    assert (both[90:] == INK).all(2).any() and not (nobody[90:] == INK).all(2).any()


def test_a_long_text_ends_inside_the_strip() -> None:
    long = strip(400, "the outer ends of the brows are strongly raised; " * 20)
    assert not (long[:, -2:] == INK).all(2).any() and not (long[-2:] == INK).all(2).any()
    assert long.shape == strip(400, "").shape


def test_umlauts_have_letters() -> None:
    """Those that a font lacks all look alike."""
    drawn = [strip(400, letter).tobytes() for letter in "aäouüößÄÖÜ"]
    assert len(set(drawn)) == len(drawn)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("described")
    write_times(folder / "talk.mp4", moving(4), range(0, 400, 100))
    write_image(folder / "face.png", face_image())
    given = (folder / "talk.mp4", folder / "face.png", "--out", folder / "out", "--describe", "en")
    (folder / "checkpoint").mkdir()
    assert predict_with(make_checkpoint(folder / "checkpoint"), *given, "--report", "--annotate") == 0
    return folder / "out"


def test_the_page_tells_each_face_and_steps_of_a_video(described: Path) -> None:
    """The sentences of the descriptions file, which is written beside the table."""
    assert {"predictions.descriptions.csv", "predictions.descriptions.json"} <= set(files(described))
    told = pd.read_csv(described / "predictions.descriptions.csv")
    page = html.unescape((described / "report.html").read_text(encoding="utf-8"))
    whole = told[told["au"].isna()]
    assert len(whole) == 5
    for source, time, text in zip(whole["subject"], whole["time_s"], whole["text"], strict=True):
        name = "Face 0" if source == "face.png" else f"{time:.1f} s"
        assert f"<li>{name}: {text}</li>" in page


def test_annotated_images_and_videos_have_the_caption(described: Path) -> None:
    """All frames of one size, with writing in the strip below."""
    frames = [frame.image() for frame in read_video(described / "talk_annotated.mp4")]
    assert len(frames) == 4 and len({frame.shape for frame in frames}) == 1
    height = strip(frames[0].shape[1], "").shape[0]
    assert frames[0].shape[0] == 3 * 128 + height  # three times the image's 128 rows
    for frame in frames:
        assert int(frame[-height + 4 : -4, 4:-4].max()) > 180
