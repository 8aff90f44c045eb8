"""The head in its frame: where AUs push it, lips that stay shut, and a camera that crops as `predict` does."""

import numpy as np
import pytest

from auformer.faces.align import EYES, crop_matrix
from auformer.synthetic.muscles import AU_NAMES, INDEX, drive
from auformer.synthetic.scanned.head import PIVOT, HeadModel, look
from auformer.synthetic.scanned.shapes import TABLE, drive_matrix, sealed, shape_names, weights
from tests.helpers.facekit import miniature

F = np.float32
NAMES = shape_names()
MATRIX = drive_matrix(NAMES)


@pytest.fixture(scope="module")
def model():
    return HeadModel(miniature())


@pytest.fixture(scope="module")
def mirrored(model):
    """Vertices of the face, and for each the one at its mirror image; those at holes that have none are left out."""
    face = np.nonzero(model.part == "face")[0]
    at = model.base[face]
    far = np.stack([np.abs(at - point * [-1, 1, 1]).sum(1) for point in at])
    found = far.min(1) < 1e-4
    assert found.mean() > 0.99
    return face[found], face[far.argmin(1)[found]]


def _moved(model, **intensity):
    a = np.zeros((len(AU_NAMES), 2), F)
    for name, value in intensity.items():
        a[INDEX[name]] = value
    return model.moved(model.base, 1.0, weights(model.matrix, model.names, drive(a)))


def test_units_are_inter_pupil_distances_and_the_template_s_heights(model):
    middles = model.eye_middles(model.base)
    assert np.isclose(np.linalg.norm(middles[1] - middles[0]), 1) and np.allclose(middles.mean(0), 0, atol=1e-5)
    assert middles[0, 0] < 0 < middles[1, 0]
    at = model.template[model.landmarks]
    assert (
        abs(at[17:27, 1].mean() + 0.365) < 0.03
        and abs(at[8, 1] - 1.75) < 1e-4
        and abs(at[[62, 66], 1].mean() - 1.09) < 0.01
    )


def test_every_au_has_a_row_with_a_reason():
    assert tuple(TABLE) == AU_NAMES
    assert all(len(row.reason) > 10 and row.shapes for row in TABLE.values())
    assert len({row.reason for row in TABLE.values()}) == len(TABLE)


@pytest.mark.parametrize("name", AU_NAMES)
def test_halves_are_driven_alike_and_apart(model, mirrored, name):
    """The image-left half moves as the image-right one, mirrored; a sided AU leaves the other half alone."""
    face, mirror = mirrored
    left, right = ((_moved(model, **{name: np.array(side, F)}) - model.base) for side in ((1, 0), (0, 1)))
    assert np.allclose(left[face], right[mirror] * [-1, 1, 1], atol=2e-4)
    left, at = left[face], model.base[face]
    moves = np.linalg.norm(left, axis=1)
    assert moves.max() > 0.008
    if TABLE[name].sides and name not in ("AU23", "AU24", "AU25", "AU28"):  # these move the ring of the lips
        assert moves[at[:, 0] > 0.15].max() < 0.6 * moves.max()


@pytest.mark.parametrize(
    ("name", "landmark", "axis", "sign"),
    [
        ("AU1", 21, 1, -1), ("AU2", 18, 1, -1), ("AU4", 21, 1, 1), ("AU4", 21, 0, 1), ("AU5", 37, 1, -1),
        ("AU6", 41, 1, -1), ("AU7", 41, 1, -1), ("AU9", 31, 1, -1), ("AU10", 50, 1, -1), ("AU12", 48, 1, -1),
        ("AU12", 48, 0, -1), ("AU15", 48, 1, 1), ("AU16", 58, 1, 1), ("AU17", 8, 1, -1), ("AU18", 51, 2, 1),
        ("AU20", 48, 0, -1), ("AU22", 51, 2, 1), ("AU25", 66, 1, 1), ("AU27", 8, 1, 1),
        ("AU28", 57, 2, -1), ("AU43", 37, 1, 1),
    ],
)  # fmt: skip
def test_aus_push_landmarks_where_the_manual_says(model, name, landmark, axis, sign):
    place = model.landmarks[landmark]
    half, full = (_moved(model, **{name: value})[place, axis] - model.base[place, axis] for value in (0.5, 1.0))
    assert sign * full > 0.004 and sign * half > 0 and abs(half) < abs(full)


def test_the_jaw_scale_goes_from_26_to_27(model):
    chin = model.landmarks[8]
    down = [
        _moved(model, AU25=1, **{name: value})[chin, 1] for name, value in (("AU26", 0.5), ("AU26", 1), ("AU27", 1))
    ]
    half, dropped, stretched = (value - model.base[chin, 1] for value in down)
    assert 0.03 < half < dropped < 0.6 * stretched


def test_lids_meet_and_do_not_cross():
    a = np.zeros((len(AU_NAMES), 2), F)
    a[[INDEX["AU43"], INDEX["AU7"], INDEX["AU6"]]] = 1
    w = weights(MATRIX, NAMES, a, blink=1.0)
    for side in ("_R", "_L"):
        assert 0.7 <= w[NAMES.index(f"eyeBlink{side}")] <= 1
    assert weights(MATRIX, NAMES, 0 * a, blink=0.4)[NAMES.index("eyeBlink_L")] == F(0.4)
    up, down = (weights(MATRIX, NAMES, 0 * a, down=value) for value in (-1, 1))
    assert up[NAMES.index("eyeLookUp_R")] > 0.5 and up[NAMES.index("eyeLookDown_R")] == 0
    assert down[NAMES.index("eyeLookDown_R")] > 0.5 and down[NAMES.index("eyeLookUp_R")] == 0


def test_lips_stay_shut_unless_an_au_parts_them(model):
    def gap(**intensity):
        a = np.zeros((len(AU_NAMES), 2), F)
        for name, value in intensity.items():
            a[INDEX[name]] = value
        points = model.closed(_moved(model, **intensity), model.base, sealed(drive(a)))
        return (points[model.landmarks[[67, 66, 65]]] - points[model.landmarks[[61, 62, 63]]])[:, 1].max()

    rest = gap()
    for name in ("AU10", "AU9", "AU26", "AU12"):
        assert gap(**{name: 1.0}) < rest + 0.02, name
    assert gap(AU26=1.0, AU25=1.0) > rest + 0.10
    assert gap(AU25=1.0) > gap(AU25=0.3) > rest
    assert gap(AU10=1.0, AU25=0.5) > rest + 0.01


def test_nothing_active_moves_nothing(model):
    assert model.moved(model.base, 1.0, np.zeros(len(NAMES), F)) is model.base


def test_lids_are_kept_outside_the_eyeballs(model):
    points = model.rounded(model.base)
    balls = model.eyeballs(points)
    shut = model.moved(
        points, 1.0, weights(model.matrix, model.names, drive(np.eye(len(AU_NAMES), dtype=F)[INDEX["AU43"]]))
    )
    inside = shut.copy()
    lid = model.landmarks[[37, 38, 43, 44]]
    inside[lid, 2] -= 0.2
    out = model.covered(inside, balls)
    for centre, radius in balls:
        face = model.part == "face"
        assert np.linalg.norm(out[face] - centre, axis=1).min() > 1.03 * radius


@pytest.mark.parametrize("pose", [(0, 0, 0), (0.5, 0, 0), (-0.4, 0.2, 0), (0.3, -0.25, 0)])
@pytest.mark.parametrize("near", [0.0, 0.08])
def test_the_camera_takes_the_crop_that_predict_cuts(model, pose, near):
    """The projected middles of the eyes lie where the recipe puts pupils; so the crop is that of two landmarks."""
    camera = look(model.eye_middles(model.base), EYES, pose, near=near)
    size = 112
    eyes = camera.screen(model.eye_middles(model.base), size)[:, :2] + 0.5
    assert np.allclose(eyes, [(0.31818 * size, 0.34727 * size), (0.68182 * size, 0.34727 * size)], atol=0.02)
    assert np.allclose(crop_matrix(eyes, "eyes", size), [[1, 0, 0], [0, 1, 0]], atol=2e-3)


def test_roll_stays_in_the_crop_and_jitter_moves_it(model):
    middles = model.eye_middles(model.base)
    eyes = look(middles, EYES, (0.3, 0.1, 0.2)).screen(middles, 100)[:, :2]
    assert np.isclose(np.arctan2(*(eyes[1] - eyes[0])[::-1]), 0.2, atol=1e-3)
    still, moved = (
        look(middles, EYES, (0, 0, 0), jitter).screen(middles, 100) for jitter in ((0, 0, 1), (0.1, -0.1, 1.2))
    )
    assert np.isclose((moved[1] - moved[0])[0], (still[1] - still[0])[0] / 1.2, atol=1e-3)
    assert moved[:, 0].mean() < still[:, 0].mean() and moved[:, 1].mean() > still[:, 1].mean()


def test_a_turn_to_the_image_s_right_shows_the_left_of_the_face(model):
    """Yaw above 0: the nose goes to the right of the eyes' middle; pitch above 0: it goes down."""
    middles, nose = model.eye_middles(model.base), model.base[model.landmarks[[30]]]
    straight, turned, bowed = (
        look(middles, EYES, pose).screen(nose, 100)[0] for pose in ((0, 0, 0), (0.4, 0, 0), (0, 0.3, 0))
    )
    assert turned[0] > straight[0] + 5 and bowed[1] > straight[1]


def test_screen_is_the_turn_about_the_pivot(model, rng):
    """Against the same written with matrices, without perspective."""
    middles = model.eye_middles(model.base)
    camera = look(middles, EYES, (0.3, -0.1, 0.05))
    points = rng.normal(size=(5, 3)).astype(F)
    seen = (points - PIVOT) @ camera.turn.T + PIVOT - camera.origin
    flat = (seen[:, :2] - camera.centre) @ np.linalg.inv(camera.axes).T * 50 + 24.5
    assert np.allclose(camera.screen(points, 50)[:, :2], flat, atol=1e-3)


def test_a_subject_is_in_its_own_inter_pupil_distance(model):
    points, scale = model.of(np.array([2.0, -1.0, 0.5]), np.zeros(len(NAMES)))
    middles = model.eye_middles(points)
    assert np.isclose(np.linalg.norm(middles[1] - middles[0]), 1, atol=1e-5) and 0.8 < scale < 1.2
    assert not np.allclose(points, model.base, atol=0.01)
