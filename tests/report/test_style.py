"""What all figures share: no global state, one look in two themes, files that are whole."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from auformer.aus import AU_SETS
from auformer.data.images import decode_image
from auformer.report.faces import face_grid
from auformer.report.scores import f1_bars, training_curves
from auformer.report.style import THEMES, au_order, image_bytes, save_png
from tests.helpers.figures import cut_texts

BP4D = AU_SETS["bp4d"]
LOG = pd.DataFrame({"train/loss": [1.5, 1.2], "val/loss": [1.6, 1.4], "val/f1": [0.4, 0.7]})


def _bars(theme: str) -> Figure:
    scores = dict.fromkeys(BP4D, 1.0)
    labels = ("AUFormer", "Linear probe", "Full fine-tuning (committed run)")
    given = dict.fromkeys(labels, scores)
    return f1_bars(given, floor=scores, hatched=labels[2:], title="F1 per action unit", theme=theme)


def _curves(theme: str) -> Figure:
    return training_curves({"AUFormer": LOG, "Linear probe": LOG}, title="Training", theme=theme)


def _grid(theme: str) -> Figure:
    faces, everything = np.zeros((3, 16, 16, 3), np.uint8), np.ones((3, 12))
    words = {"captions": ["AU15 Lip corner depressor"] * 3, "title": "Faces"}
    return face_grid(faces, BP4D, everything, everything, maps=np.zeros((3, 2, 2)), theme=theme, **words)


@pytest.mark.parametrize("draw", [_bars, _curves, _grid])
@pytest.mark.parametrize("theme", list(THEMES))
def test_nothing_is_cut_off_and_the_ground_is_the_theme_s(draw, theme):
    figure = draw(theme)
    assert cut_texts(figure) == []
    image = decode_image(image_bytes(figure), "figure")
    assert to_hex(image[0, 0] / 255) == THEMES[theme]["background"]


def test_a_text_over_the_edge_is_noticed():
    figure = _curves("light")
    figure.text(0.9, 0.5, "far too long to be read")
    assert cut_texts(figure) == ["far too long to be read"]


def test_the_same_figure_gives_the_same_bytes():
    first = image_bytes(_grid("light"))
    assert first == image_bytes(_grid("light")) != image_bytes(_grid("dark"))
    assert image_bytes(_grid("light"), "webp").startswith(b"RIFF")


def test_drawing_leaves_pyplot_alone():
    code = (
        "import sys; from auformer.report.scores import f1_bars; from auformer.report.style import image_bytes; "
        "image_bytes(f1_bars({'a': {'AU1': 0.5}})); "
        "print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("False False", 0), done.stderr


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", list(THEMES))
@pytest.mark.parametrize("ink", ["ink", "quiet", "right", "wrong"])
def test_inks_are_readable_on_their_ground(theme, ink):
    """At least 4.5 : 1, WCAG 2.2 level AA for small text."""
    low, high = sorted((_luminance(THEMES[theme][ink]), _luminance(THEMES[theme]["background"])))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_png_files_are_whole_or_not_there(tmp_path, monkeypatch):
    path = save_png(_curves("light"), tmp_path / "new" / "curves.png")
    assert cv2.imread(str(path)).shape[1] == 936
    before = path.read_bytes()
    monkeypatch.setattr("auformer.report.style.image_bytes", lambda figure: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_png(_curves("dark"), path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["curves.png"]
    with pytest.raises(ValueError, match=r"\.png"):
        save_png(_curves("light"), tmp_path / "curves.jpg")


def test_unknown_theme_and_order_of_all_aus():
    with pytest.raises(ValueError, match="light, dark"):
        training_curves({"AUFormer": LOG}, theme="sepia")
    assert au_order(reversed(AU_SETS["all"])) == [
        f"AU{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43)
    ]
