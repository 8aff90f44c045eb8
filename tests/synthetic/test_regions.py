"""Each AU moves the pixels of its own region of the face, visibly already when it is faint."""

from functools import cache

import numpy as np
import pytest

from auformer.synthetic import AU_NAMES, Identity, Renderer, sample_scene

SIZE = 112
IDENTITIES = (3, 7, 21, 40)

#: Where FACS says the skin changes: boxes (left, top, right, bottom) in inter-pupil distances from the middle between
#: the pupils, y down, each with its mirror image. Written down from the manual's descriptions, not from the renderer's
#: own table.
REGIONS = {
    "AU1": [(0.0, -1.15, 0.55, -0.1)], "AU2": [(0.2, -1.15, 1.1, -0.05)], "AU4": [(0.0, -0.7, 0.95, 0.05)],
    "AU5": [(0.2, -0.35, 0.8, 0.15)], "AU6": [(0.2, -0.3, 1.15, 0.75)], "AU7": [(0.2, -0.2, 0.95, 0.35)],
    "AU9": [(0.0, -0.5, 0.55, 1.1)], "AU10": [(0.0, 0.3, 0.7, 1.25)],
    "AU12": [(0.2, 0.1, 1.0, 1.5), (0.0, 0.75, 0.2, 1.5)], "AU14": [(0.25, 0.8, 0.85, 1.4)],
    "AU15": [(0.1, 0.9, 0.75, 1.6)], "AU17": [(0.0, 0.95, 0.6, 1.8)], "AU20": [(0.2, 0.8, 1.0, 1.6)],
    "AU23": [(0.0, 0.8, 0.65, 1.45)], "AU24": [(0.0, 0.8, 0.7, 1.7)], "AU25": [(0.0, 0.8, 0.5, 1.5)],
    "AU26": [(0.0, 0.75, 1.0, 2.0)], "AU11": [(0.15, 0.4, 0.75, 1.1)], "AU16": [(0.0, 0.95, 0.6, 1.7)],
    "AU18": [(0.0, 0.75, 0.8, 1.5)], "AU22": [(0.0, 0.7, 0.7, 1.6)], "AU27": [(0.0, 0.5, 1.0, 2.0)],
    "AU28": [(0.0, 0.75, 0.7, 1.7)], "AU43": [(0.2, -0.3, 0.8, 0.2)],
}  # fmt: skip


def region_mask(name: str) -> np.ndarray:
    """Pixels `(SIZE, SIZE)` of an AU's region in a frontal crop: side 2.75, centre 0.42 below the pupils."""
    centre = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    x, y = np.abs(centre[None, :] * 2.75), centre[:, None] * 2.75 + 0.42
    mask = np.zeros((SIZE, SIZE), bool)
    for left, top, right, bottom in REGIONS[name]:
        mask |= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return mask


@cache
def change(name: str, left: float, right: float) -> np.ndarray:
    """What an AU at these intensities (image left, right) changes on each identity `(4, SIZE, SIZE)`, in levels."""
    renderer, faces, scene, wall = studio()
    intensity = np.zeros((len(AU_NAMES), 2), np.float32)
    intensity[AU_NAMES.index(name)] = left, right
    moved = np.stack([renderer.render(face, intensity, scene=scene, background=wall, seed=5).image for face in faces])
    return np.abs(moved - at_rest()).mean(-1)


@cache
def studio():
    renderer = Renderer(SIZE)
    scene, background = sample_scene(np.random.default_rng(1), "A", pose_scale=0.0, jitter=False, roll=False)
    scene.update(gaze=(0.0, 0.0), speech={"open": 0.0, "jaw": 0.0, "pucker": 0.0})
    faces = [renderer.bake(Identity.sample(number)) for number in IDENTITIES]
    return renderer, faces, scene, renderer.background(np.random.default_rng(2), **background)


@cache
def at_rest() -> np.ndarray:
    renderer, faces, scene, wall = studio()
    images = [
        renderer.render(face, np.zeros(len(AU_NAMES)), scene=scene, background=wall, seed=5).image for face in faces
    ]
    return np.stack(images).astype(float)


@pytest.mark.parametrize("name", AU_NAMES)
def test_an_au_moves_the_pixels_of_its_own_region(name):
    moved, mask = change(name, 1.0, 1.0).mean(0), region_mask(name)
    assert moved[mask].mean() > 2.0
    assert moved[mask].mean() > 8 * moved[~mask].mean()


@pytest.mark.parametrize("name", AU_NAMES)
def test_a_faint_au_can_be_seen_and_grows_with_its_intensity(name):
    """The specification: at intensity 0.3 the most changed 5 % of the pixels change by at least 2 levels of 255."""
    faint = change(name, 0.3, 0.3)
    strongest = np.sort(faint.reshape(len(IDENTITIES), -1), axis=1)[:, -SIZE * SIZE // 20 :]
    assert strongest.mean() >= 2.0 and faint.mean() < change(name, 1.0, 1.0).mean()


@pytest.mark.parametrize("name", ["AU2", "AU6", "AU11", "AU12", "AU14", "AU15", "AU43"])
def test_the_first_column_is_the_left_half_of_the_image(name):
    left, right = change(name, 1.0, 0.0).mean(0), change(name, 0.0, 1.0).mean(0)
    half = SIZE // 2
    assert left[:, :half].mean() > 3 * left[:, half:].mean()
    assert right[:, half:].mean() > 3 * right[:, :half].mean()


def test_every_au_has_a_region_and_regions_tell_aus_apart():
    """The test above can fail: with the region of another part of the face in its place, it would."""
    assert set(REGIONS) == set(AU_NAMES)
    moved = change("AU1", 1.0, 1.0).mean(0)
    assert moved[region_mask("AU17")].mean() < moved[~region_mask("AU17")].mean()
