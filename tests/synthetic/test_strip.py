"""The strip of a rendered video: faces where most happens, and what happens when."""

import numpy as np
import pytest

from auformer.cli import main
from auformer.data.images import read_image
from auformer.synthetic import strip
from auformer.synthetic.frames import SceneOptions
from auformer.synthetic.muscles import AU_NAMES
from auformer.synthetic.videos import plan_video

FRAMES, SIZE = 250, 32


def test_rows_are_dark_where_a_muscle_acts():
    image = strip.video_strip("A", 3, FRAMES, 25.0, size=SIZE).astype(float)
    plan = plan_video("A", 3, 0, FRAMES, 25.0, seed=0, options=SceneOptions())
    strength = np.stack([frame.intensity for frame in plan]).max(2)
    acting = [name for au, name in enumerate(AU_NAMES) if strength[:, au].any()]
    assert image.shape == (SIZE + (len(acting) + 2) * strip.ROW + strip.AXIS, strip.MARGIN + 10 * SIZE, 3)
    marked = (image[SIZE + 2, strip.MARGIN :] == (200, 60, 50)).all(1)
    assert 5 <= marked.sum() <= 10
    for place, name in enumerate(acting):
        row = image[SIZE + place * strip.ROW + 4, strip.MARGIN :, 0][~marked]
        course = strength[np.arange(10 * SIZE) * FRAMES // (10 * SIZE), AU_NAMES.index(name)][~marked]
        assert np.corrcoef(255 - row, course)[0, 1] > 0.8, name


def test_faces_are_those_with_most_movement(monkeypatch):
    shown = []
    monkeypatch.setattr(
        strip.Studio, "draw", lambda studio, lab, number, frame: shown.append(frame) or np.zeros((32, 32, 3), np.uint8)
    )
    strip.video_strip("A", 3, FRAMES, 25.0, size=SIZE)
    plan = plan_video("A", 3, 0, FRAMES, 25.0, seed=0, options=SceneOptions())
    moved = np.delete(np.stack([frame.intensity for frame in plan]).max(2), AU_NAMES.index("AU43"), 1).sum(1)
    assert [frame.number // 25 for frame in shown] == list(range(10))
    assert all(moved[frame.number] == moved[25 * tenth : 25 * tenth + 25].max() for tenth, frame in enumerate(shown))


def test_the_command_writes_it_beside_the_sheet(tmp_path, monkeypatch):
    monkeypatch.setattr("auformer.synthetic.sheet.contact_sheet", lambda *words: np.zeros((32, 32, 3), np.uint8))
    words = ["--sheet", "--videos", "1", "--frames", "70", "--subjects", "1", "--size", "32", "--seed", "4"]
    assert main(["synth", *words, "--aus", "AU12", "--first-subject", "2", "--out", str(tmp_path)]) == 0
    assert np.array_equal(read_image(tmp_path / "strip.png"), strip.video_strip("A", 2, 70, 25.0, size=32, seed=4))
    with pytest.raises(ValueError, match="at least 70 `frames` in a video of 25 a second, but got 60"):
        strip.write_strip(tmp_path / "short.png", "A", 2, 60, 25.0)
