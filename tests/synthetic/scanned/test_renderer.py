"""Images of scanned faces, on a miniature model: the same from the same, sides, what is worn, and the dense targets."""

from dataclasses import replace

import numpy as np
import pytest

from auformer.synthetic.dense import CHANNELS
from auformer.synthetic.muscles import AU_NAMES, INDEX
from auformer.synthetic.scanned.accessories import put_in_front
from auformer.synthetic.scanned.head import look
from auformer.synthetic.scanned.person import HATS, LENSES, STYLES, Person
from auformer.synthetic.scanned.renderer import PLAIN_LIGHT, ScannedRenderer
from auformer.synthetic.scanned.scenes import LIGHTS, sample_scene
from tests.helpers.facekit import miniature

F = np.float32
SIZE = 64
BARE = {"lens": "none", "hat": "none", "style": "bald"}


@pytest.fixture(scope="module")
def renderer():
    return ScannedRenderer(miniature(), SIZE)


def _person(number=400_000, **traits):
    person = Person.sample(number)
    return replace(person, traits={**person.traits, **BARE, **traits})


@pytest.fixture(scope="module")
def face(renderer):
    return renderer.bake(_person())


def _acting(**intensity):
    a = np.zeros((len(AU_NAMES), 2), F)
    for name, value in intensity.items():
        a[INDEX[name]] = value
    return a


def _difference(one, other):
    return np.abs(one.image.astype(int) - other.image).mean(2)


def test_the_same_call_gives_the_same_bytes(renderer, face):
    scene, wall = sample_scene(np.random.default_rng(4))
    background = renderer.background(np.random.default_rng(1), **wall)
    once, _, again = (
        renderer.render(face, _acting(AU12=value), scene=scene, background=background, seed=3, points=True, dense=8)
        for value in (0.5, 1.0, 0.5)
    )
    fresh = ScannedRenderer(miniature(), SIZE)
    other = fresh.render(
        fresh.bake(_person()), _acting(AU12=0.5), scene=scene, background=background, seed=3, points=True, dense=8
    )
    for image in (again, other):
        assert np.array_equal(once.image, image.image) and np.array_equal(once.points, image.points)
        assert np.array_equal(once.dense, image.dense)
    noisy = renderer.render(face, _acting(), scene={**scene, "camera": {"noise": 0.05}}, background=background, seed=4)
    assert once.image.shape == (SIZE, SIZE, 3) and once.image.dtype == np.uint8
    assert (noisy.image != once.image).any()


@pytest.mark.parametrize("name", AU_NAMES)
def test_every_au_is_seen_on_its_own_side(renderer, face, name):
    """What changes lies on the half that acts: columns are image left and image right."""
    rest = renderer.render(face, _acting())
    half = SIZE // 2
    for column, (own, other) in enumerate(((slice(0, half), slice(half, SIZE)), (slice(half, SIZE), slice(0, half)))):
        sides = np.zeros(2)
        sides[column] = 1.0
        change = _difference(renderer.render(face, _acting(**{name: sides})), rest)
        assert np.sort(change.ravel())[-SIZE * SIZE // 20 :].mean() > 1.0, name
        if name not in ("AU17", "AU18", "AU22", "AU26", "AU27", "AU28", "AU23", "AU25"):
            assert change[:, own].mean() > 1.4 * change[:, other].mean(), name


def test_more_of_an_au_changes_more(renderer, face):
    rest = renderer.render(face, _acting())
    for name in AU_NAMES:
        change = [_difference(renderer.render(face, _acting(**{name: v})), rest).mean() for v in (0.25, 1.0)]
        assert 0 < change[0] < change[1], name


def test_intensities_are_checked(renderer, face):
    for wrong in (np.zeros(5), np.full(len(AU_NAMES), 1.5), np.full(len(AU_NAMES), np.nan)):
        with pytest.raises(ValueError, match="`intensity`"):
            renderer.render(face, wrong)
    for size in (30, 33, 16):
        with pytest.raises(ValueError, match="`size`"):
            ScannedRenderer(miniature(), size)


def test_landmarks_follow_the_skin_but_pupils_do_not(renderer, face):
    rest, smile = (renderer.render(face, _acting(AU12=v), points=True).points for v in (0.0, 1.0))
    assert np.allclose(rest[:2], smile[:2]) and rest[0, 0] < rest[2, 0] < rest[1, 0]
    assert smile[3, 1] < rest[3, 1] - 0.5 and smile[4, 0] > rest[4, 0] + 0.5
    assert np.allclose(rest[:2], [(0.31818 * SIZE, 0.34727 * SIZE), (0.68182 * SIZE, 0.34727 * SIZE)], atol=0.3)


def test_light_from_the_left_lights_the_left(renderer, face):
    def halves(x):
        light = {**PLAIN_LIGHT, "dir": (x, 0, 0.4), "amb": 0.05, "ground": 0.05, "second": 0.0}
        image = renderer.render(face, _acting(), scene={"light": light}).image.astype(float)
        middle = image[SIZE // 3 : 2 * SIZE // 3]
        return middle[:, 12:28].mean(), middle[:, 36:52].mean()

    (left, right), (left_too, right_too) = halves(-1), halves(1)
    assert left > 1.2 * right and right_too > 1.2 * left_too


def test_a_nose_casts_a_shadow(renderer, face):
    light = {**PLAIN_LIGHT, "dir": (-1, -0.1, 0.5), "amb": 0.05, "ground": 0.05, "second": 0.0, "soft": 0.01}
    with_, without = (
        renderer.render(face, _acting(), scene={"light": {**light, "shadow": value}}).image.astype(float)
        for value in (1.0, 0.0)
    )
    darker = (without - with_).mean(2)
    beside = darker[int(0.45 * SIZE) : int(0.6 * SIZE)]
    assert beside[:, 34:44].max() > 15 and beside[:, 34:44].mean() > 4 * np.abs(beside[:, 20:30]).mean()


def test_shut_eyes_hide_the_iris_and_the_white(renderer, face):
    eye, iris = CHANNELS.index("eye"), CHANNELS.index("iris")
    open_, shut = (renderer.render(face, _acting(AU43=v), dense=16).dense for v in (0.0, 1.0))
    assert open_[..., eye].sum() > 1 and open_[..., iris].sum() > 0.1
    assert shut[..., eye].sum() < 0.7 * open_[..., eye].sum()


def test_gaze_moves_the_iris(renderer, face):
    iris = CHANNELS.index("iris")
    columns = np.arange(32)

    def place(x):
        plane = renderer.render(face, _acting(AU5=1), scene={"gaze": (x, 0)}, dense=32).dense[..., iris].astype(float)
        return (plane.sum(0) * columns).sum() / plane.sum()

    assert place(-0.5) < place(0) < place(0.5)


def test_dense_targets_are_the_drawn_renderer_s_channels(renderer, face):
    cells = 16
    rest, smile = (renderer.render(face, _acting(AU12=v, AU4=v), dense=cells).dense for v in (0.0, 1.0))
    assert rest.shape == (cells, cells, len(CHANNELS)) and rest.dtype == np.float16 and np.isfinite(rest).all()
    at = {name: i for i, name in enumerate(CHANNELS)}
    for name in ("face", "hair", "brow", "eye", "iris", "upper_lip", "lower_lip", "opening", "teeth"):
        assert rest[..., at[name]].min() >= 0 and rest[..., at[name]].max() <= 1.001, name
    on = rest[..., at["face"]].astype(float)
    assert on[cells // 2, cells // 2] > 0.9
    off = on == 0
    assert (rest[off][:, [at[n] for n in ("template_x", "template_y", "move_x", "bulge")]] == 0).all()
    for name in ("move_x", "move_y", "bulge", "furrow"):
        assert np.abs(rest[..., at[name]]).max() < 1e-3
    full = on > 0.99
    x, y = np.meshgrid((np.arange(cells) + 0.5) / cells - 0.5, (np.arange(cells) + 0.5) / cells - 0.5)
    template_x, template_y = (rest[..., at[f"template_{axis}"]].astype(float) for axis in "xy")
    assert np.abs(template_x - 2.75 * x)[full].max() < 0.15  # a frontal crop is 2.75 IPD wide
    assert np.abs(template_y - 2.75 * y - 0.42)[full].max() < 0.25
    corner = smile[11:13, 3:6].astype(float), smile[11:13, 10:13].astype(float)
    assert corner[0][..., at["move_x"]].min() < -0.02 and corner[1][..., at["move_x"]].max() > 0.02
    assert smile[..., at["bulge"]].max() > 0.005 and smile[..., at["furrow"]].max() > 0.002
    upper, lower = (smile[..., at[name]].astype(float).sum(1) for name in ("upper_lip", "lower_lip"))
    rows = np.arange(cells)
    assert (upper * rows).sum() / upper.sum() < (lower * rows).sum() / lower.sum()
    assert rest[:6, :, at["brow"]].sum() > 5 * rest[8:, :, at["brow"]].sum()


def test_teeth_are_seen_in_an_open_mouth_only(renderer, face):
    opening, teeth = CHANNELS.index("opening"), CHANNELS.index("teeth")
    shut, parted = (renderer.render(face, _acting(AU25=v, AU26=v), dense=16).dense for v in (0.0, 1.0))
    assert shut[..., teeth].sum() == 0
    assert parted[..., opening].sum() > shut[..., opening].sum() + 0.3


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("hat", HATS)
def test_what_is_worn_is_seen_and_can_be_taken_off(renderer, lens, hat):
    face = renderer.bake(_person(lens=lens, hat=hat))
    worn = {"hat": 1.0, "glasses": 1.0, "glare": 1.0, "hand": 0.0, "microphone": 0.0, "seed": 1}
    bare = renderer.render(face, _acting(), scene={"worn": {**worn, "hat": 0.0, "glasses": 0.0}})
    dressed = renderer.render(face, _acting(), scene={"worn": worn})
    change = _difference(dressed, bare)
    rows = change.mean(1)
    if lens != "none":
        assert rows[int(0.28 * SIZE) : int(0.42 * SIZE)].mean() > 1
    if hat not in ("none", "scarf"):  # a scarf stays on
        assert rows[: int(0.15 * SIZE)].mean() > 1
    if lens == hat == "none":
        assert (change == 0).all()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_hair_is_drawn_and_stays_off_the_chin(renderer, style):
    face = renderer.bake(_person(style=style))
    amount = renderer.render(face, _acting(), dense=16).dense[..., CHANNELS.index("hair")].astype(float)
    assert amount[13:, 6:10].max() < 0.05
    assert (amount.sum() > 0.5) == (style != "bald")


@pytest.mark.parametrize("kind", ["hand", "microphone"])
def test_something_in_front_covers_pixels_and_is_lit(renderer, face, kind):
    scene = {"worn": {"hat": 1.0, "glasses": 1.0, "glare": 0.0, "hand": 0.0, "microphone": 0.0, "seed": 5, kind: 1.0}}
    plain, covered = renderer.render(face, _acting()), renderer.render(face, _acting(), scene=scene)
    assert 0.01 < (_difference(plain, covered) > 8).mean() < 0.9


def test_what_stands_outside_the_image_changes_nothing(renderer):
    lit = np.zeros((40, 40, 4), F)
    camera = look(np.array([(-0.5, 0, 0), (0.5, 0, 0)], F), _Recipe, (0, 0, 0))
    seeds = [seed for seed in range(60) if not _covers(lit, camera, seed)]
    assert len(seeds) < 60


class _Recipe:
    side, centre_below = 0.6, 3.5  # a crop far below the face


def _covers(lit, camera, seed):
    out = lit.copy()
    put_in_front(out, "microphone", camera, np.ones(40, F), np.full(3, 0.3, F), seed)
    return bool(out.any())


def test_photographs_are_grey_small_or_plain_as_asked(renderer, face):
    image = renderer.render(face, _acting(), scene={"camera": {"grey": 1.0}}).image
    assert np.ptp(image.astype(int), axis=2).max() == 0
    sharp, small, blurred = (
        renderer.render(face, _acting(), scene={"camera": camera}).image.astype(float)
        for camera in ({}, {"low": 0.3}, {"blur": 2.0})
    )
    for softer in (small, blurred):
        assert np.abs(np.diff(softer, axis=1)).mean() < 0.8 * np.abs(np.diff(sharp, axis=1)).mean()
    for change in (
        {"exposure": 2.0}, {"jpeg": 20}, {"motion": 4.0}, {"sharpen": 1.0}, {"noise": 0.05}, {"vignette": 0.5},
        {"chroma": 0.05}, {"saturation": 0.3}, {"contrast": 1.5}, {"gamma": 1.3}, {"gain": (1.2, 1, 0.8)},
    ):  # fmt: skip
        assert (renderer.render(face, _acting(), scene={"camera": change}).image != sharp).mean() > 0.2, change


def test_scenes_hold_numbers_within_bounds_and_come_from_everywhere():
    rng = np.random.default_rng(2)
    scenes = [sample_scene(rng)[0] for _ in range(400)]
    directions = np.array([scene["light"]["dir"] for scene in scenes], float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert (directions[:, 1] < -0.75).mean() > 0.05  # overhead
    assert (directions[:, 2] > 0.95).mean() > 0.05  # flash
    assert (directions[:, 0] < -0.6).mean() > 0.05 and (directions[:, 0] > 0.6).mean() > 0.05
    assert 0.2 < np.mean([scene["camera"]["grey"] for scene in scenes]) < 0.4
    assert 0.5 < np.mean([scene["camera"]["jpeg"] > 0 for scene in scenes]) < 0.85
    assert 0.02 < np.mean([scene["worn"]["hand"] + scene["worn"]["microphone"] for scene in scenes]) < 0.15
    yaw = np.array([scene["pose"][0] for scene in scenes])
    assert 0.18 < yaw.std() < 0.3 and abs(yaw.mean()) < 0.04
    still, _ = sample_scene(np.random.default_rng(1), pose_scale=0, jitter=False, roll=False)
    assert still["pose"] == (0.0, 0.0, 0.0) and still["jitter"] == (0.0, 0.0, 1.0)
    assert len(LIGHTS) == 6


def test_confounders_move_bones_and_not_labels(renderer):
    """Low brows, deep sockets and heavy lids change the face at rest."""
    plain = _person(brow_shift=0.0, ridge=0.0, socket=0.0, hood=0.0, lids=0.0)
    at_rest = renderer.render(renderer.bake(plain), _acting())
    for trait, value in (("brow_shift", 0.1), ("ridge", 0.1), ("socket", 0.1), ("hood", 1.2), ("lids", 0.18)):
        other = renderer.render(renderer.bake(replace(plain, traits={**plain.traits, trait: value})), _acting())
        rows = _difference(other, at_rest)[int(0.15 * SIZE) : int(0.45 * SIZE)]
        assert rows.mean() > 0.1, trait
