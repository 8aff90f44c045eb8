import subprocess
import sys
from pathlib import Path

import albumentations as alb
import cv2
import numpy as np
import pytest

from auformer.data.transforms import _moved_strongly, build_augmentation, image_shape, resize, to_float

ROOT = Path(__file__).resolve().parents[2]


def face(size: int = 48) -> np.ndarray:
    """Smooth colours, darker at the left, so that a flip shows."""
    coarse = np.random.default_rng(3).integers(90, 150, (4, 4, 3), dtype=np.uint8)
    ramp = np.linspace(-60, 60, size)[None, :, None]
    return np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + ramp, 0, 255).astype(np.uint8)


def draw(augmentation, seed: int, image: np.ndarray | None = None) -> tuple[np.ndarray, bool]:
    return augmentation(face() if image is None else image, np.random.default_rng(seed))


def test_shrinking_averages_areas_and_growing_interpolates():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :4], image[4:, 4:] = 200, [10, 20, 30]
    image[0, 0] = 40  # a corner that bilinear interpolation would not see
    small = resize(image, 2)
    assert [small[i].tolist() for i in ((0, 0), (1, 1), (0, 1))] == [[190] * 3, [10, 20, 30], [0] * 3]
    image = np.repeat(np.array([[0, 100]], np.uint8)[..., None], 3, axis=2)
    assert resize(image, (1, 4))[0, :, 0].tolist() == [0, 25, 75, 100]
    assert resize(face(48), (20, 30)).shape == (20, 30, 3)  # height comes first
    assert resize(face(48), [60, 30]).shape == (60, 30, 3)  # grows one way, shrinks the other
    assert resize(image, (1, 2)) is image


@pytest.mark.parametrize("size", [0, -1, (1,), (1, 2, 3), (0, 5), 1.5, (1.0, 2.0), True, "112"])
def test_sizes_that_are_none(size):
    with pytest.raises((ValueError, TypeError)):
        image_shape(size)


def test_floats_are_exact_and_channels_come_first():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 15
    got = to_float(image)
    assert got.dtype == np.float32 and got.shape == (3, 2, 3) and got.flags.c_contiguous
    np.testing.assert_array_equal(got, np.moveaxis(image, 2, 0).astype(np.float32) / np.float32(255))
    assert to_float(np.full((1, 1, 3), 255, np.uint8)).tolist() == [[[1.0]], [[1.0]], [[1.0]]]


def test_draws_come_from_the_generator_alone():
    one, other = build_augmentation(48), build_augmentation(48)
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002  the global state, which must not matter
        draw(other, seed + 100)  # nor what came before
        (image, flipped), (again, again_flipped) = draw(one, seed), draw(other, seed)
        np.testing.assert_array_equal(image, again)
        assert flipped == again_flipped


def test_half_of_the_images_are_flipped_and_say_so():
    augmentation, given = build_augmentation(48), face()
    flips = 0
    for seed in range(200):
        image, flipped = draw(augmentation, seed, given)
        assert image.shape == (48, 48, 3) and image.dtype == np.uint8
        darker_left = image[:, :16].mean() < image[:, 32:].mean()
        assert darker_left != flipped
        flips += flipped
    assert 75 <= flips <= 125  # standard deviation 7
    np.testing.assert_array_equal(given, face())  # the image given is not changed


def test_what_happens_to_an_image_does_not_happen_together():
    """One seed for every transform, as `set_random_seed` gives it, would make all coins of an image fall alike."""
    augmentation = build_augmentation(48)
    grey = np.full((48, 48, 3), 128, np.uint8)
    coins = []
    for seed in range(400):
        image, flipped = draw(augmentation, seed, grey)
        noisy = np.median(np.abs(np.diff(image.astype(int), axis=1))) > 0
        cast = np.ptp(np.median(image, axis=(0, 1))) > 0
        holed = (np.abs(image.astype(int) - np.median(image, axis=(0, 1))).max(2) > 20).mean() > 0.004
        coins.append([flipped, noisy, cast, holed])
    coins = np.array(coins, float)
    rates = coins.mean(0)
    assert np.all(np.abs(rates - [0.5, 0.1, 0.45, 0.15]) < [0.1, 0.08, 0.15, 0.07]), rates
    assert np.abs(np.corrcoef(coins.T) - np.eye(4)).max() < 0.2  # standard error 0.05


def test_changes_stay_small():
    """A face keeps its place and its light: no corner moves far, the mean grey level stays near."""
    augmentation = build_augmentation(112)
    dot = np.full((112, 112, 3), 60, np.uint8)
    dot[22:34, 80:92] = 220  # a bright square, centre (85.5, 27.5)
    moved, levels = [], []
    for seed in range(150):
        image, flipped = draw(augmentation, seed, dot)
        bright = image.astype(int).sum(2) > 3 * 150
        y, x = np.nonzero(bright)
        if 110 < y.size < 190:  # 144 times the scale; not hidden by a hole, no bright hole beside it
            moved.append(np.hypot((111 - x.mean() if flipped else x.mean()) - 85.5, y.mean() - 27.5))
        levels.append(image.mean() / dot.mean())
    assert len(moved) > 110 and np.median(moved) > 1 and max(moved) < 14
    assert min(levels) > 0.75 and max(levels) < 1.35 and np.std(levels) > 0.03


def test_strong_changes_are_strong_and_half_of_the_images_grey():
    augmentation, default, given = build_augmentation(112, "strong"), build_augmentation(112), face(112)
    images = [draw(augmentation, seed, given)[0] for seed in range(200)]
    usual = [draw(default, seed, given)[0] for seed in range(200)]
    grey = np.mean([np.median(np.ptp(image.astype(int), axis=2)) == 0 for image in images])
    assert 0.38 < grey < 0.62  # standard deviation .035
    spreads = [np.std([image.mean() for image in some]) for some in (images, usual)]
    assert spreads[0] > 2 * spreads[1]
    for seed in range(5):
        np.testing.assert_array_equal(draw(augmentation, seed, given)[0], draw(augmentation, seed, given)[0])


def test_no_border_is_mirrored():
    """What stands at the border is drawn out, so that no mouth near it appears a second time."""
    given = np.full((112, 112, 3), 90, np.uint8)
    given[100:106, 50:62] = 250
    moved = alb.Compose(_moved_strongly(alb, 112, 112), seed=0)
    bars = []
    for _ in range(100):
        column = (moved(image=given)["image"].min(2) > 170).any(1)
        bars.append(np.count_nonzero(np.diff(column.astype(int), prepend=0) == 1))
    assert max(bars) == 1 and sum(bars) > 60


def test_in_place_changes_move_nothing():
    dot = np.full((112, 112, 3), 60, np.uint8)
    dot[22:34, 80:92] = 200
    augmentation, places = build_augmentation(112, "strong", in_place=False), []
    for seed in range(80):
        image, flipped = draw(augmentation, seed, dot)
        assert not flipped
        level = image.astype(float).mean(2)
        y, x = np.nonzero(level > (level[25:31, 83:89].mean() + np.median(level)) / 2)
        if 110 < y.size < 190:  # not noisy, not hidden, no bright hole beside it
            places.append((x.mean(), y.mean()))
    assert len(places) > 25
    assert np.abs(np.median(places, 0) - [85.5, 27.5]).max() < 0.6 and np.std(places, 0).max() < 1.5


def test_strengths_and_sizes():
    image = cv2.resize(face(), (40, 24))
    assert draw(build_augmentation((24, 40)), 0, image)[0].shape == (24, 40, 3)
    assert build_augmentation(48, "none") is None
    with pytest.raises(ValueError, match="one of default, strong, none, but got 'hard'"):
        build_augmentation(48, "hard")


def test_evaluation_runs_without_albumentations():
    code = (
        "import sys; sys.modules['albumentations'] = None; "
        "from auformer.data.transforms import build_augmentation; print(build_augmentation(8, 'none'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stderr
