"""How well the cascade does on rendered faces whose points are known.

Both labs, expressions, poses, glasses, beards, skin of all tones.
"""

import numpy as np
import pytest

from auformer.faces import detect
from auformer.synthetic import LABS, Identity, Renderer, sample_aus, sample_scene

SIZE, FACES = 128, 24  # per lab


@pytest.fixture(scope="module")
def measured():
    """Pupil errors in inter-pupil distances per lab; a missed face has none."""
    renderer = Renderer(SIZE)
    errors: dict[str, list[float]] = {lab: [] for lab in LABS}
    for number in range(FACES):
        face = renderer.bake(Identity.sample(31_000 + number))
        for lab in LABS:
            rng = np.random.default_rng([number, ord(lab)])
            scene, background = sample_scene(rng, lab)
            wall = renderer.background(rng, **background)
            rendered = renderer.render(
                face, sample_aus(rng, lab)[1], scene=scene, background=wall, seed=number, points=True
            )
            for found in detect(rendered.image)[:1]:
                true = rendered.points[:2]
                errors[lab].append(
                    float(np.hypot(*(found.points[:2] - true).T).mean() / np.hypot(*(true[1] - true[0])))
                )
    return errors


@pytest.mark.parametrize(("lab", "found", "median", "most"), [("A", 23, 0.02, 0.035), ("B", 21, 0.025, 0.045)])
def test_found_and_how_near(measured, lab, found, median, most):
    errors = np.array(measured[lab])
    assert len(errors) >= found, f"{len(errors)} of {FACES} faces found"
    assert np.median(errors) < median and np.percentile(errors, 90) < most, np.round(np.sort(errors), 3)
