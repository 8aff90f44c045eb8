"""Faces come out with the verdicts of the hand-worked example, evidence where it is, and nothing cut off."""

import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex

from auformer.aus import AU_SETS
from auformer.report.faces import au_bars, blend_evidence, face_grid
from tests.helpers.figures import cut_texts, texts

NAMES = ["AU12", "AU1", "AU4", "AU6"]


@pytest.fixture
def face(rng):
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_no_evidence_shows_the_face_in_grey(face):
    blended = blend_evidence(face, np.full((4, 4), 3.0))
    grey = np.round(face @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(blended, np.repeat(grey[..., None], 3, axis=2))


def test_evidence_colours_its_own_patch_and_leaves_far_ones_grey():
    face = np.full((32, 32, 3), 120, np.uint8)
    evidence = np.zeros((4, 4))
    evidence[1, 3] = 2.0  # rows 8-15, columns 24-31
    blended = blend_evidence(face, evidence).astype(int)
    colour = np.ptp(blended, axis=2)
    row, column = np.unravel_index(colour.argmax(), colour.shape)
    assert 8 <= row < 16 and 24 <= column < 32
    assert colour[8:16, 24:].mean() > 10 * colour[24:, :8].mean()
    assert colour[24:, :8].max() <= 1


def test_evidence_is_on_a_scale_of_its_own(face, rng):
    evidence = rng.random((7, 5))
    np.testing.assert_array_equal(blend_evidence(face, evidence), blend_evidence(face, 40 * evidence - 3))


def test_other_evidence_and_images_are_refused(face):
    for evidence in (np.zeros(4), np.full((2, 2), np.nan), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="`evidence`"):
            blend_evidence(face, evidence)
    with pytest.raises(ValueError, match="uint8"):
        blend_evidence(face / 255, np.zeros((2, 2)))


def test_verdicts_by_hand_in_au_order_with_sign_and_word(face):
    truth = np.array([[1, 1, 0, -1], [1, 0, 0, 0]])
    probs = np.array([[0.9, 0.2, 0.5, 0.9], [0.5, 0.1, 0.2, 0.3]])  # seen from 0.5 on; the first AU6: not annotated
    lines = texts(face_grid(np.stack([face, face]), NAMES, truth, probs))
    assert lines == ["✓ found 12", "○ missed 1", "✗ false 4", "✓ found 12", "○ missed –", "✗ false –"]
    strict = texts(face_grid(np.stack([face, face]), NAMES, truth, probs, thresholds=np.array([0.6, 0.1, 0.6, 0.6])))
    assert strict == ["✓ found 1 12", "○ missed –", "✗ false –", "✓ found –", "○ missed 12", "✗ false 1"]


def test_the_grid_shows_every_face_beside_its_own_map(face, rng):
    faces, maps = np.stack([face, 255 - face, face // 2]), rng.random((3, 4, 4))
    figure = face_grid(faces, NAMES, np.zeros((3, 4)), np.zeros((3, 4)), maps=maps, captions=["a", "b", "c"])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    blended = map(blend_evidence, faces, maps)
    np.testing.assert_array_equal(shown, [image for pair in zip(faces, blended, strict=True) for image in pair])
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all(abs(box.width - box.height) < 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_arguments_must_fit_together(face):
    none, one, four = np.zeros((0, 4)), np.zeros((1, 4)), np.zeros(4)
    for draw, match in (
        (lambda: face_grid(face[None], NAMES, one[:, :3], one), "`truth`"),
        (lambda: face_grid(np.zeros((0, 8, 8, 3), np.uint8), NAMES, none, none), "K > 0"),
        (lambda: face_grid(face[None], NAMES, one, one, maps=np.zeros((2, 4, 4))), "`maps`"),
        (lambda: face_grid(face[None], NAMES, one, one, captions=["a", "b"]), "`captions`"),
        (lambda: au_bars(face, NAMES, four, four[:3]), "`thresholds`"),
        (lambda: au_bars(face, NAMES, four, four, np.zeros((4, 4))), "`maps`"),
        (lambda: au_bars(face, NAMES, four, four, intensity=four[:3]), "`intensity`"),
    ):
        with pytest.raises(ValueError, match=match):
            draw()


def test_a_photo_s_bars_are_full_from_the_threshold_on(face):
    figure = au_bars(face, NAMES, np.array([0.5, 0.2, 0.7, 0.1]), np.array([0.5, 0.1, 0.8, 0.5]))
    axes = figure.axes[1]
    labels = axes.get_yticklabels()
    names = ["AU1 Inner brow raiser", "AU4 Brow lowerer", "AU6 Cheek raiser", "AU12 Lip corner puller"]
    assert [label.get_text() for label in labels] == names
    assert [label.get_fontweight() for label in labels] == ["bold", "normal", "normal", "bold"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.2, 0.7, 0.1, 0.5])
    hollow = [to_hex(bar.get_facecolor()) == "#ffffff" for bar in axes.patches]
    assert hollow == [False, True, True, False]
    np.testing.assert_allclose([segment[0][0] for segment in axes.collections[0].get_segments()], [0.1, 0.8, 0.5, 0.5])


def test_a_photo_s_intensities_stand_beside_its_probabilities(face):
    """AU4 has none: no bar and no number; the numbers stand inside long bars and behind short ones."""
    levels = dict(zip(NAMES, (3.25, 0.5, 5.0, np.nan), strict=True))
    missing = NAMES[3]
    figure = au_bars(face, NAMES, np.full(4, 0.5), np.full(4, 0.5), intensity=np.array(list(levels.values())))
    rows = sorted(NAMES, key=lambda name: int(name[2:]))
    axes = figure.axes[2]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], np.nan_to_num([levels[au] for au in rows]))
    numbers = {text.get_position()[1]: (text.get_text(), text.get_ha()) for text in axes.texts}
    words = {5.0: ("5.0", "right"), 3.25: ("3.2", "right"), 0.5: ("0.5", "left")}
    assert numbers == {row: words[levels[au]] for row, au in enumerate(rows) if au != missing}
    assert axes.get_xlim() == (0, 5) and axes.get_ylim() == figure.axes[1].get_ylim()
    assert {"Intensity", "Probability"} <= set(texts(figure)) and cut_texts(figure) == []


def test_a_photo_s_maps_stand_under_their_aus(face, rng):
    maps = rng.random((4, 4, 4))
    figure = au_bars(face, NAMES, np.array([0.5, 0.2, 0.7, 0.1]), np.full(4, 0.5), maps)
    tiles = {axes.get_title(): axes for axes in figure.axes[2:]}
    assert list(tiles) == ["AU1", "AU4", "AU6", "AU12"]
    for name, axes in tiles.items():
        np.testing.assert_array_equal(axes.images[0].get_array(), blend_evidence(face, maps[NAMES.index(name)]))
        assert axes.spines["left"].get_visible() == (name in ("AU12", "AU4"))


@pytest.mark.parametrize(("names", "theme"), [(AU_SETS["all"], "light"), (["AU12"], "dark")])
def test_other_people_s_file_names_neither_warn_nor_reach_over_the_edge(face, names, theme):
    title = "W$_{x}$/日本語/" + "WWWWWWWWWW" * 9 + ".jpg"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = np.zeros((len(names), 2, 2))
        figure = au_bars(
            face, names, np.ones(len(names)), np.full(len(names), 0.5), maps, title,
            "Rendered faces only.\nNot feeling.", intensity=np.full(len(names), 5.0), theme=theme,
        )  # fmt: skip
        assert cut_texts(figure) == []
    shown = next(text for text in texts(figure) if text.startswith("W"))
    assert shown.startswith("W$_{x}$/???") and "…" in shown and shown.endswith("W.jpg")
