"""The renderer's landmarks are where they should be, and its crop is the `eyes` recipe's."""

import cv2
import numpy as np
import pytest

from auformer.faces.align import align
from auformer.synthetic import AU_NAMES, Identity, Renderer, sample_aus, sample_scene

SIZE = 112


@pytest.fixture(scope="module")
def renderer():
    return Renderer(SIZE)


def image(renderer: Renderer, number: int, *, intensity=None, **options):
    """One image of a subject with its points."""
    rng = np.random.default_rng([4, number])
    scene, background = sample_scene(rng, "A", **options)
    scene.update(gaze=(0.0, 0.0), speech={"open": 0.0, "jaw": 0.0, "pucker": 0.0})
    wall = renderer.background(np.random.default_rng(number), **background)
    face = renderer.bake(Identity.sample(number))
    au = np.zeros(len(AU_NAMES)) if intensity is None else intensity
    return renderer.render(face, au, scene=scene, background=wall, seed=number, points=True)


@pytest.mark.parametrize("number", range(8))
def test_without_jitter_and_roll_the_pupils_lie_on_the_recipe(renderer, number):
    """In any pose: the side is 2.75 inter-pupil distances, the centre 0.42 below the pupils."""
    points = image(renderer, number, pose_scale=2.0, jitter=False, roll=False).points
    assert np.abs(points[:2] / SIZE - [(0.31818, 0.34727), (0.68182, 0.34727)]).max() * SIZE < 0.05


def _shift(a: np.ndarray, b: np.ndarray) -> float:
    """Distance in pixels by which one image lies beside another, from phase correlation."""
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_64F)
    (x, y), _ = cv2.phaseCorrelate(a.mean(-1), b.mean(-1), window)
    return float(np.hypot(x, y))


@pytest.mark.parametrize("number", range(6))
def test_a_frame_cropped_again_by_its_own_pupils_is_the_frame(renderer, number):
    _, intensity = sample_aus(np.random.default_rng(number), "A")
    rendered = image(renderer, number, intensity=intensity, jitter=False, roll=False)
    crop, matrix = align(rendered.image, rendered.points, recipe="eyes", size=SIZE)
    corners = np.array([(0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)], float)
    assert np.abs(corners @ matrix[:, :2].T + matrix[:, 2] - corners).max() < 0.5
    assert _shift(crop.astype(float), rendered.image.astype(float)) < 0.1
    assert np.abs(crop.astype(float) - rendered.image).mean() < 1.0
    moved = np.roll(rendered.image, 1, axis=1)  # the measure sees a single pixel
    assert _shift(moved.astype(float), rendered.image.astype(float)) > 0.7


@pytest.mark.parametrize("number", range(6))
def test_jitter_and_roll_are_undone_by_align(renderer, number):
    """The same head with jitter, cropped by its pupils, lies where it lies without."""
    plain = image(renderer, number, jitter=False, roll=False)
    moved = image(renderer, number, jitter=True, roll=True)
    assert np.abs(moved.points - plain.points).max() > 0.5
    crop, _ = align(moved.image, moved.points, recipe="eyes", size=SIZE)
    inner = slice(20, -20)
    assert _shift(crop[inner, inner].astype(float), plain.image[inner, inner].astype(float)) < 0.5


def test_pupils_are_the_dark_of_the_eyes(renderer):
    """In images without noise the darkest place around each pupil point is within two pixels of it."""
    misses = []
    for number in range(12):
        rendered = image(renderer, number, jitter=True, roll=True)
        grey = cv2.GaussianBlur(rendered.image, (0, 0), 1.2).mean(-1)
        for x, y in rendered.points[:2]:
            column, row = round(x - 0.5), round(y - 0.5)
            window = grey[row - 4 : row + 5, column - 4 : column + 5]
            dy, dx = np.unravel_index(window.argmin(), window.shape)
            misses.append(np.hypot(column - 4 + dx + 0.5 - x, row - 4 + dy + 0.5 - y))
    assert np.median(misses) < 2.0, misses


def test_mouth_corners_follow_the_muscles(renderer):
    """AU12 draws them outward and up, AU15 down, AU20 outward, AU26 with the jaw; nose tip and pupils hardly move."""

    def moved(name):
        intensity = np.zeros(len(AU_NAMES))
        intensity[AU_NAMES.index(name)] = 1.0
        options = {"pose_scale": 0.0, "jitter": False, "roll": False}
        return image(renderer, 3, intensity=intensity, **options).points - image(renderer, 3, **options).points

    ipd = SIZE / 2.75
    smile, sad, stretch, jaw = (moved(name) / ipd for name in ("AU12", "AU15", "AU20", "AU26"))
    assert smile[3, 0] < -0.05 and smile[4, 0] > 0.05 and (smile[3:, 1] < -0.08).all()
    assert (sad[3:, 1] > 0.05).all() and stretch[3, 0] < -0.05 < 0.05 < stretch[4, 0]
    assert (jaw[3:, 1] > 0.05).all()
    for change in (smile, sad, stretch, jaw):
        assert np.abs(change[:2]).max() == 0 and np.abs(change[2]).max() < 0.03


def test_points_turn_with_the_head(renderer):
    face = renderer.bake(Identity.sample(3))

    def points(pose):
        return renderer.render(face, np.zeros(len(AU_NAMES)), scene={"pose": pose}, points=True).points

    ahead = points((0.0, 0.0, 0.0))
    assert points((0.3, 0.0, 0.0))[2, 0] > ahead[2, 0] + 3  # yaw: the nose goes to the image's right
    assert points((0.0, 0.3, 0.0))[2, 1] > ahead[2, 1] + 3  # pitch: the face looks down
    turned = points((0.0, 0.0, 0.1))
    (x, y) = turned[1] - turned[0]
    assert np.arctan2(y, x) == pytest.approx(0.1, abs=0.01)  # roll: clockwise in the image
