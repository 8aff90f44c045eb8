"""Crop recipes: where the pupils land, in closed form, on patterns worked out by hand, and through resampling."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.faces import align, crop_matrix, warp

SIZE = 112
# worked out by hand: (1 - 1 / 2.75) / 2, 0.5 - 0.42 / 2.75
ON_RECIPE = np.array([(0.3181818, 0.3472727), (0.6818182, 0.3472727)])


def move(points, matrix):
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def smooth_picture(height=160, width=200):
    """Soft coloured spots: nothing finer than 6 pixels, so that resampling it twice loses little."""
    rng = np.random.default_rng(5)
    noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), 6)
    return np.clip(128 + 700 * noise, 0, 255).astype(np.uint8)


class TestMatrix:
    @given(
        x=st.floats(-500, 4000), y=st.floats(-500, 4000), distance=st.floats(5, 2000), angle=st.floats(-np.pi, np.pi),
        size=st.integers(16, 512),
    )  # fmt: skip
    def test_pupils_land_on_the_recipe_and_nothing_is_stretched(self, x, y, distance, angle, size):
        half = distance / 2 * np.array([np.cos(angle), np.sin(angle)])
        pupils = np.add((x, y), np.stack([-half, half]))
        matrix = crop_matrix(pupils, "eyes", size)
        assert np.allclose(move(pupils, matrix), ON_RECIPE * size, atol=1e-4)
        linear = matrix[:, :2] * (2.75 * distance / size)
        assert np.allclose(linear @ linear.T, np.eye(2), atol=1e-9) and np.linalg.det(linear) > 0

    def test_by_hand(self):
        """Pupils at (100, 100) and (140, 100): 40 apart, so the crop is a square of 110 from (65, 61.8) on."""
        matrix = crop_matrix(np.array([(100, 100), (140, 100), (120, 122), (104, 145), (136, 145)]), "eyes", 220)
        assert np.allclose(matrix, [[2, 0, -130], [0, 2, -123.6]])

    def test_only_the_pupils_count(self):
        points = np.array([(100.0, 100.0), (140.0, 103.0), (120.0, 122.0), (104.0, 145.0), (136.0, 145.0)])
        other = points.copy()
        other[2:] += 7
        assert np.array_equal(crop_matrix(points), crop_matrix(other))
        assert np.array_equal(crop_matrix(points), crop_matrix(points[:2]))


class TestPixels:
    def test_a_crop_that_fits_already_is_left_as_it_is(self, rng):
        image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        crop, matrix = align(image, ON_RECIPE * SIZE, size=SIZE)
        assert np.allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-5) and np.array_equal(crop, image)

    @pytest.mark.parametrize("factor", [2, 3, 7])
    def test_shrinking_averages_over_whole_cells(self, rng, factor):
        image = rng.integers(0, 256, (32 * factor, 32 * factor, 3), dtype=np.uint8)
        crop, _ = align(image, ON_RECIPE * 32 * factor, size=32)
        means = image.reshape(32, factor, 32, factor, 3).mean((1, 3))
        assert np.abs(crop - means).max() <= 0.51

    @pytest.mark.parametrize("scale", [0.5, 0.31, 0.13])
    def test_fine_patterns_turn_grey_and_not_into_other_patterns(self, scale):
        board = np.indices((400, 400)).sum(0) % 2 * 255
        crop = warp(board.astype(np.uint8), np.array([[scale, 0, 0.0], [0, scale, 0]]), int(400 * scale) - 1)
        assert np.abs(crop.astype(int) - 128).max() <= 20
        coarse = cv2.resize(board.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        assert np.abs(coarse.astype(int) - 128).min() >= 100  # the measure sees what aliasing does

    def test_mirroring_image_and_points_mirrors_the_crop(self):
        image = smooth_picture()
        points = np.array([(80.3, 70.1), (118.9, 76.4)])
        mirrored = np.array([(image.shape[1] - x, y) for x, y in points[::-1]])
        crop, _ = align(image, points, size=SIZE)
        other, _ = align(image[:, ::-1].copy(), mirrored, size=SIZE)
        assert np.abs(crop[:, ::-1].astype(int) - other).max() <= 3  # OpenCV rounds places to 1/32 of a pixel

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_quarter_turns_are_undone(self, turns):
        image = smooth_picture(200, 200)
        points = np.array([(82.0, 70.0), (120.0, 70.0)])
        turned = np.ascontiguousarray(np.rot90(image, turns))
        moved = points
        for _ in range(turns):  # anticlockwise: (x, y) -> (y, W - x)
            moved = np.stack([moved[:, 1], 200 - moved[:, 0]], 1)
        assert np.abs(align(turned, moved, size=SIZE)[0].astype(int) - align(image, points, size=SIZE)[0]).max() <= 3

    def test_borders(self):
        image = np.full((40, 40, 3), 200, np.uint8)
        points = np.array([(2.0, 10.0), (30.0, 10.0)])
        assert (align(image, points, size=64)[0] == 200).all()
        black = align(image, points, size=64, border="constant")[0]
        assert (black == 0).any() and (black == 200).any()
        with pytest.raises(ValueError, match="reflect, constant"):
            align(image, points, border="wrap")
        image = np.zeros((40, 40), np.uint8)
        image[:, 3] = 255
        shifted = warp(image, np.array([[1.0, 0, 10], [0, 1, 0]]), 40)
        assert np.flatnonzero(shifted[20]).tolist() == [7, 13]


def test_align_is_light():
    """The renderer reads its constants: no detector's files, no torch, no pandas."""
    code = "import sys, auformer.faces.align; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "cv2" in loaded and not {"torch", "pandas", "matplotlib", "sklearn"} & set(loaded)
