"""The compiled loops against plain, independent forms: every triangle at every pixel, cross products, matrices."""

import numpy as np
import pytest

from auformer.synthetic.scanned import kernels
from auformer.synthetic.scanned.lighting import basis, openness_of, unit

F = np.float32
NO_MASK, NO_UV = np.zeros((1, 1), F), np.zeros((1, 2), F)


@pytest.fixture(scope="module")
def compiled():
    return kernels.compiled()


def _soup(rng, size, count):
    """Random triangles that share no corner."""
    centre = rng.uniform(-3, size + 3, (count, 1, 2))
    flat = centre + rng.normal(0, 4, (count, 3, 2))
    points = np.concatenate([flat, rng.uniform(-5, 5, (count, 3, 1))], 2).reshape(-1, 3).astype(F)
    return points, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def _buffers(size):
    depth, index = np.full((size, size), kernels.FAR, F), np.full((size, size), -1, np.int32)
    return depth, index, np.zeros((size, size), F), np.zeros((size, size), F)


def _every_pixel(points, triangles, facing, size):
    """Nearest triangle and depth at every pixel, by solving for the weights of every triangle at every pixel."""
    index, depth = np.full((size, size), -1), np.full((size, size), kernels.FAR)
    for y in range(size):
        for x in range(size):
            for t, corners in enumerate(points[triangles].astype(float)):
                matrix = np.vstack([corners[:, :2].T, np.ones(3)])
                turning = np.linalg.det(matrix)
                if abs(turning) < 1e-6 or (facing and turning * facing > 0):
                    continue
                weights = np.linalg.solve(matrix, [x, y, 1])
                if weights.min() >= 0 and (z := weights @ corners[:, 2]) > depth[y, x]:
                    index[y, x], depth[y, x] = t, z
    return index, depth


@pytest.mark.parametrize("facing", [1, 0, -1])
def test_raster_finds_the_nearest_triangle_at_every_pixel(compiled, rng, facing):
    size = 14
    points, triangles = _soup(rng, size, 30)
    buffers = _buffers(size)
    compiled.raster(points, triangles, facing, *buffers, NO_MASK, NO_UV)
    index, depth = _every_pixel(points, triangles, facing, size)
    assert (index >= 0).mean() > 0.2
    same = buffers[1] == index
    assert same.mean() > 0.995  # a pixel on an edge may go either way
    assert np.allclose(buffers[0][same], depth[same], atol=1e-3)
    hit = same & (index >= 0)
    corners = points[triangles[index[hit]]]
    w = np.stack([1 - buffers[2][hit] - buffers[3][hit], buffers[2][hit], buffers[3][hit]], 1)
    y, x = np.nonzero(hit)
    assert np.allclose((corners[..., :2] * w[..., None]).sum(1), np.stack([x, y], 1), atol=2e-3)


def test_raster_keeps_what_is_nearer_already(compiled, rng):
    points, triangles = _soup(rng, 16, 20)
    buffers = _buffers(16)
    buffers[0].fill(100)
    compiled.raster(points, triangles, 0, *buffers, NO_MASK, NO_UV)
    assert (buffers[1] == -1).all() and (buffers[0] == 100).all()


def test_a_mask_cuts_holes(compiled):
    points = np.array([(-40, -40, 0), (-40, 80, 0), (80, -40, 0)], F)
    triangle, uv = np.array([[0, 1, 2]], np.int32), (points[:, :2] / 2 + 0.1).astype(F)
    mask = (np.indices((8, 8)).sum(0) % 2).astype(F)
    buffers = _buffers(16)
    compiled.raster(points, triangle, 1, *buffers, mask, uv)
    drawn = buffers[1] == 0
    y, x = np.indices((16, 16))
    row, column = np.clip(np.floor(y / 2 + 0.6), 0, 7).astype(int), np.clip(np.floor(x / 2 + 0.6), 0, 7).astype(int)
    assert np.array_equal(drawn, mask[row, column] == 1)


def test_normals_are_those_of_the_cross_product_by_area(compiled, rng):
    points = rng.normal(size=(9, 3)).astype(F)
    triangles = np.array([[0, 1, 2], [2, 1, 3], [3, 4, 5], [5, 6, 0], [7, 8, 0]], np.int32)
    out = np.empty_like(points)
    compiled.normals(points, triangles, out)
    expected = np.zeros((9, 3))
    for a, b, c in triangles:
        # y points down: the outward normal of corners counter-clockwise as seen is the second edge times the first
        face = np.cross(points[c] - points[a], points[b] - points[a])
        for corner in (a, b, c):
            expected[corner] += face
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(out, expected, atol=1e-4)


def test_a_triangle_that_faces_the_camera_has_a_normal_towards_it(compiled):
    points = np.array([(2, 2, 0), (2, 12, 0), (12, 2, 0)], F)
    triangle, out, buffers = np.array([[0, 1, 2]], np.int32), np.empty((3, 3), F), _buffers(16)
    compiled.normals(points, triangle, out)
    compiled.raster(points, triangle, 1, *buffers, NO_MASK, NO_UV)
    assert (buffers[1] == 0).any() and np.allclose(out, [0, 0, 1])


def test_place_is_a_turn_a_shift_and_a_perspective(compiled, rng):
    points, turn, shift = (
        rng.normal(size=(7, 3)).astype(F),
        rng.normal(size=(3, 3)).astype(F),
        rng.normal(size=3).astype(F),
    )
    flat = np.array([[2, 1, 5, 0], [-1, 3, 7, 0], [0, 0, 4, 6]], F)
    out = np.empty_like(points)
    compiled.place(points, turn, shift, F(0.1), flat, out)
    seen = points @ turn.T + shift
    x, y = (seen[:, :2] / (1 - 0.1 * seen[:, 2:])).T
    assert np.allclose(out, np.stack([2 * x + y + 5, -x + 3 * y + 7, 4 * seen[:, 2] + 6], 1), atol=1e-3)


def test_compiled_loops_do_what_the_plain_ones_do(compiled, rng):
    points, triangles = _soup(rng, 12, 12)
    plain, fast = _buffers(12), _buffers(12)
    kernels.raster(points, triangles, 1, *plain, NO_MASK, NO_UV)
    compiled.raster(points, triangles, 1, *fast, NO_MASK, NO_UV)
    assert np.array_equal(plain[1], fast[1]) and np.allclose(plain[0], fast[0], atol=1e-4)
    one, two = np.empty_like(points), np.empty_like(points)
    kernels.normals(points, triangles, one)
    compiled.normals(points, triangles, two)
    assert np.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.3, -0.8, 0.5), (0, 1, 0), (0, -1, 0.01)])
def test_a_light_s_basis_turns_it_towards_us(direction):
    direction = unit(direction)
    turn = basis(direction)
    assert np.allclose(turn @ direction, [0, 0, 1], atol=1e-6)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-6) and np.isclose(np.linalg.det(turn), 1)


def test_the_bottom_of_a_pit_sees_less_of_the_sky_than_its_rim(compiled):
    """A flat sheet with a deep round pit."""
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-0.8, 1.2, 41))
    z = -0.6 * np.exp(-((x / 0.25) ** 2) - (((y - 0.2) / 0.25) ** 2))
    points = np.stack([x, y, z], 2).reshape(-1, 3).astype(F)
    i = np.arange(41 * 41).reshape(41, 41)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    normals = np.empty_like(points)
    compiled.normals(points, triangles, normals)
    opened = openness_of(compiled, points, normals, triangles).reshape(41, 41)
    assert opened[20, 20] < 0.65 < 0.9 < opened[2:6, 2:6].mean()


def test_numba_is_asked_for_by_name(monkeypatch):
    def missing(module, extra):
        raise ImportError(f"{module} from {extra}")

    monkeypatch.setattr(kernels, "require", missing)
    with pytest.raises(ImportError, match="numba from scanned"):
        kernels.compiled.__wrapped__()
