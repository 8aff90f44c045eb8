"""A rendered face whose landmarks are known."""

import numpy as np
import pytest

from auformer.synthetic import AU_NAMES, Identity, Renderer


@pytest.fixture(scope="session")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """A frontal face that fills its image (160, 160, 3), and its landmarks (5, 2)."""
    renderer = Renderer(160)
    rendered = renderer.render(renderer.bake(Identity.sample(30_001)), np.zeros(len(AU_NAMES)), points=True)
    return rendered.image, rendered.points
