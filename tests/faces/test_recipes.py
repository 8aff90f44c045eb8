"""The crop recipes of the field: by hand, against their own wording done independently, and undone through pixels."""

import cv2
import numpy as np
import pytest

from auformer.faces import CROP_RECIPES, align, crop_matrix

FACE = np.array([(100.0, 100.0), (140.0, 100.0), (121.0, 122.0), (104.0, 145.0), (138.0, 143.0)])
BOX = (80.0, 70.0, 90.0, 100.0)
ALL = tuple(CROP_RECIPES)


def move(points, matrix):
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def turned(points, degrees, scale=1.0, shift=(0, 0)):
    a = np.radians(degrees)
    return scale * points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + shift


def test_what_there_is():
    assert list(ALL) == ["eyes", "megraphau", "jaanet", "ffhq", "openface", "box"]
    sizes = {name: recipe.native_size for name, recipe in CROP_RECIPES.items()}
    assert sizes == {"eyes": 224, "megraphau": 224, "jaanet": 200, "ffhq": 256, "openface": 112, "box": 224}
    assert all(name == recipe.name and recipe.source for name, recipe in CROP_RECIPES.items())
    assert [name for name in ALL if not CROP_RECIPES[name].approximation] == ["eyes", "box"]
    assert [name for name in ALL if "[ours]" in CROP_RECIPES[name].approximation] == ["megraphau", "openface"]


@pytest.mark.parametrize("recipe", ALL[:-1])
def test_turn_scale_and_shift_of_the_face_leave_its_crop_as_it_is(recipe):
    first = move(FACE, crop_matrix(FACE, recipe, 200))
    for degrees, scale, shift in ((17, 1, (0, 0)), (-140, 0.4, (30, -8)), (90, 3.3, (-500, 12))):
        points = turned(FACE, degrees, scale, shift)
        matrix = crop_matrix(points, recipe, 200)
        assert np.allclose(move(points, matrix), first, atol=1e-6)
        linear = matrix[:, :2]
        assert np.allclose(linear @ linear.T, np.eye(2) * np.linalg.det(linear))  # nothing stretched, nor mirrored


@pytest.mark.parametrize("recipe", ALL)
def test_mirroring_the_face_mirrors_the_crop(recipe):
    mirrored = np.column_stack([300 - FACE[:, 0], FACE[:, 1]])[[1, 0, 2, 4, 3]]
    other = (300 - BOX[0] - BOX[2], *BOX[1:])
    first = move(FACE, crop_matrix(FACE, recipe, 96, BOX))
    again = move(mirrored, crop_matrix(mirrored, recipe, 96, other))
    assert np.allclose(again[[1, 0, 2, 4, 3]], np.column_stack([96 - first[:, 0], first[:, 1]]))


@pytest.mark.parametrize(("recipe", "at"), [("eyes", (0.318182, 0.347273)), ("megraphau", (0.328571, 0.328571))])
def test_pupils_land_on_the_recipe(recipe, at):
    """ME-GraphAU: (0.35 * 256 - 16) / 224 of the crop."""
    for points in (FACE, turned(FACE, 31, 0.7, (9, 9))):
        landed = move(points[:2], crop_matrix(points, recipe, 224)) / 224
        assert np.allclose(landed, [at, (1 - at[0], at[1])], atol=1e-5)
    assert np.allclose(CROP_RECIPES[recipe].pupils[0], at, atol=1e-5)


def test_jaanet_by_hand():
    """Extent 40 by 45: a square around (120, 122.5), 2.9 * 45 = 130.5 between the centres of its outer pixels."""
    matrix = crop_matrix(FACE, "jaanet", 200)
    assert np.allclose(move([(120, 122.5)], matrix), [(100, 100)])
    assert np.allclose(move([(120 - 65.25, 122.5 + 65.25)], matrix), [(0.5, 199.5)])
    wide = FACE.copy()
    wide[4] = (150, 143)  # now 50 wide
    assert np.allclose(move([(125 + 72.5, 122.5)], crop_matrix(wide, "jaanet", 200)), [(199.5, 100)])


@pytest.mark.parametrize("degrees", [0, 25])
def test_ffhq_as_its_quad(degrees):
    """The four corners, worked out the way the convention is written."""
    points = turned(FACE, degrees)
    eyes, across = points[:2].mean(0), points[1] - points[0]
    mouth = (points[3] + points[4]) / 2 - eyes
    x = across - np.array([-mouth[1], mouth[0]])
    x *= max(np.hypot(*across) * 2.0, np.hypot(*mouth) * 1.8) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    c = eyes + 0.1 * mouth
    corners = move([c - x - y, c - x + y, c + x + y, c + x - y], crop_matrix(points, "ffhq", 256))
    assert np.allclose(corners, [(0, 0), (0, 256), (256, 256), (256, 0)])
    narrow = points.copy()
    narrow[1] = points[0] + 0.4 * across  # a turned head: the mouth's distance decides
    side = np.linalg.det(crop_matrix(narrow, "ffhq", 256)[:, :2]) ** -0.5 * 256
    assert side == pytest.approx(3.6 * np.hypot(*(narrow[3:].mean(0) - narrow[:2].mean(0))))


def test_openface_is_the_best_fit():
    """A face like the template lands on it; of another one no similarity near ours comes nearer to it."""
    template = np.array(CROP_RECIPES["openface"].template) * 112
    assert np.allclose(template[1] - template[0], (44.8, 0)) and np.allclose(56 - template[0, 1], 0.7 * 38, atol=0.05)
    for points in (template, turned(template, 40, 2.2, (50, 3))):
        assert np.allclose(move(points, crop_matrix(points, "openface", 112)), template)
    landed = move(FACE, crop_matrix(FACE, "openface", 112))
    error = ((landed - template) ** 2).sum()
    middle = landed.mean(0)
    around = landed - middle
    moved = landed + np.array((0.1, 0)), landed - np.array((0, 0.1))
    for other in (*moved, middle + 1.005 * around, middle + turned(around, 0.3)):
        assert ((other - template) ** 2).sum() > error


def test_box_by_hand():
    """90 by 100 around (125, 120): a square of 120 from (65, 60) on."""
    matrix = crop_matrix(None, "box", 240, BOX)
    assert np.allclose(matrix, [[2, 0, -130], [0, 2, -120]])
    image = np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8)
    assert np.array_equal(align(image, None, "box", 120, box=BOX)[0], image[60:180, 65:185])


def half_a_pixel(recipe, degrees, scale, shift):
    """How far the crop of a moved picture lies from the crop of the picture, in pixels of 112."""
    rng = np.random.default_rng(5)
    image = np.clip(128 + 700 * cv2.GaussianBlur(rng.standard_normal((240, 260)), (0, 0), 6), 0, 255).astype(np.uint8)
    a = np.radians(degrees)
    linear = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    place = np.column_stack([linear, np.add(shift, (200, 160)) - linear @ (125, 120)])
    cv = place.copy()  # OpenCV's origin is the centre of the first pixel
    cv[:, 2] += cv[:, :2] @ [0.5, 0.5] - 0.5
    moved = cv2.warpAffine(image, cv, (440, 400), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    x, y, w, h = BOX
    centre = move([(x + w / 2, y + h / 2)], place)[0]
    box = (*(centre - (scale * w / 2, scale * h / 2)), scale * w, scale * h)
    crops = (align(image, FACE, recipe, 112, box=BOX), align(moved, move(FACE, place), recipe, 112, box=box))
    first, again = (crop.astype(float) for crop, _ in crops)
    return cv2.phaseCorrelate(first, again, cv2.createHanningWindow((112, 112), cv2.CV_64F))[0]


@pytest.mark.parametrize("recipe", ALL)
@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(14.0, 1.0, (0, 0)), (-21.0, 1.4, (12.3, -7.7)), (5.0, 0.7, (-3.2, 5.1))]
)
def test_a_known_move_is_undone_to_half_a_pixel(recipe, degrees, scale, shift):
    assert np.hypot(*half_a_pixel(recipe, 0.0 if recipe == "box" else degrees, scale, shift)) < 0.5


@pytest.mark.parametrize(
    ("points", "recipe", "box", "message"),
    [
        (np.zeros((5, 2)), "eyes", None, "two different pupils"),
        (np.array([(0, 0), (np.nan, 3)]), "eyes", None, "finite"),
        (np.zeros((5, 3)), "eyes", None, r"shape \(5, 2\)"),
        (np.zeros((1, 2)), "eyes", None, r"shape \(5, 2\)"),
        (FACE, "nose", None, "one of box, eyes"),
        (FACE[:2], "jaanet", None, r"shape \(5, 2\)"),
        (FACE[:2], "openface", None, r"shape \(5, 2\)"),
        (None, "eyes", None, "but got none"),
        (np.array([*FACE[:4], (np.nan, 0)]), "ffhq", None, "finite"),
        (np.array([*FACE[:2], (120, 80), (120, 60), (120, 60)]), "ffhq", None, "mouth above the eyes"),
        (FACE, "box", None, "pass that of the face"),
        (FACE, "box", (3, 4, 0, 20), "at least one pixel"),
        (FACE, "box", (3, 4, np.nan, 20), "at least one pixel"),
    ],
)
def test_what_cannot_be_is_refused(points, recipe, box, message):
    with pytest.raises(ValueError, match=message):
        crop_matrix(points, recipe, 96, box)
    with pytest.raises(ValueError, match="positive number of pixels"):
        crop_matrix(FACE, "eyes", 0)
