"""From an identity, muscle intensities and a scene to an image with known truth [ours].

The order of work per image: move the skin, add bulges and furrows, draw the mouth, light everything, draw the eyes,
look the turned head up from the camera's side, expose. Everything that a subject keeps is baked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from auformer.synthetic.camera import Camera
from auformer.synthetic.canvas import Array, Canvas, F, warp
from auformer.synthetic.dense import dense_targets
from auformer.synthetic.eyes import draw_eyes
from auformer.synthetic.hair import bake_glasses, composite
from auformer.synthetic.identity import Identity
from auformer.synthetic.light import Light, Shader
from auformer.synthetic.mouth import Opening, draw_mouth
from auformer.synthetic.muscles import Movement, MuscleFields, bake_muscles, drive
from auformer.synthetic.pose import PoseMap, View, pupil_points
from auformer.synthetic.relief import bake_relief, nose_tip
from auformer.synthetic.skin import bake_brows, bake_skin, lip_colour, skin_colour


@dataclass
class Face:
    """One subject, baked: colour and cover, relief, masks at rest, muscles, colours."""

    identity: Identity
    rgba: Array
    height: Array
    masks: Array
    muscles: MuscleFields
    glasses: tuple[Array, Array] | None
    lips: Array
    skin: float


@dataclass(frozen=True)
class Rendered:
    """One image.

    Args:
        image: uint8 RGB `(S, S, 3)`.
        points: Pupils, nose tip, mouth corners `(5, 2)`, image left first, in pixels from the image's corner; None if
            not asked for.
        dense: Targets `(G, G, 15)`, see `dense.CHANNELS`; None if not asked for.
    """

    image: Array
    points: Array | None = None
    dense: Array | None = None


class Renderer:
    """Draws faces at one size. It owns scratch buffers: one per worker.

    Args:
        size: Side of the images in pixels, a multiple of 4, at least 32.

    Raises:
        ValueError: The size is not usable.
    """

    def __init__(self, size: int = 112) -> None:
        if size < 32 or size % 4:
            raise ValueError(f"Expected `size` to be a multiple of 4 and at least 32, but got {size}")
        self.size = size
        self.canvas = Canvas(size)
        self.camera = Camera(size)
        self._shader = Shader(self.canvas)
        self._pose = PoseMap(size, self.canvas.ppi)
        self._relief = np.empty((size, size), F)

    def bake(self, identity: Identity) -> Face:
        """Everything that this subject keeps from image to image."""
        canvas, number = self.canvas, identity.number
        relief, skin, brows, hair, furrows, later = (np.random.default_rng([991, number, k]) for k in range(6))
        height = bake_relief(canvas, identity, relief)
        base = skin_colour(identity, skin)
        albedo, brow = bake_brows(canvas, identity, bake_skin(canvas, identity, base, skin), base, brows)
        layers = composite(canvas, identity, albedo, base, hair)
        return Face(
            identity=identity, rgba=layers.rgba, height=(height + layers.relief).astype(F),
            masks=np.dstack([layers.face, layers.hair, brow * layers.face]).astype(F),
            muscles=bake_muscles(canvas, identity, furrows, later), glasses=bake_glasses(canvas, identity.traits),
            lips=lip_colour(identity, base, skin), skin=float(base.mean()),
        )  # fmt: skip

    def background(self, rng: np.random.Generator, **settings: Any) -> Array:
        """A background `(S, S, 3)`; settings as `sample_scene` gives them."""
        return self.camera.background(rng, **settings)

    def render(
        self, face: Face, intensity: Any, *, scene: Mapping[str, Any] | None = None, background: Array | None = None,
        seed: int = 0, points: bool = False, dense: int = 0,
    ) -> Rendered:  # fmt: skip
        """One image of a baked face.

        Args:
            face: From `bake`.
            intensity: AU intensities `(N,)` or `(N, 2)` in [0, 1] in the order of `AU_NAMES`; columns are the
                image-left and the image-right half.
            scene: `pose` (yaw, pitch, roll in radians), `jitter` (crop shift in IPD, factor), `light`, `camera`,
                `gaze`, `speech`; see `sample_scene`. None is a frontal head in plain light.
            background: From `background`; None is a plain grey wall.
            seed: Draws the camera noise.
            points: Also return the five landmarks.
            dense: Cells per side of the dense targets, 0 for none.

        Raises:
            ValueError: Intensities of another shape or outside [0, 1].
        """
        canvas, scene = self.canvas, scene or {}
        muscles = drive(intensity, scene.get("speech"))
        movement = face.muscles.move(muscles)
        look_up = None if movement is None else movement.look_up(canvas)
        textures = (face.rgba, face.height, face.masks) if dense else (face.rgba, face.height)
        rgba, height, *masks = (texture.copy() if look_up is None else warp(texture, look_up) for texture in textures)
        relief = face.muscles.relief(muscles, self._relief)
        height += relief
        lips = draw_mouth(canvas, face.identity, face.lips, muscles, rgba, height, movement)
        view = View.of(face.identity, scene.get("pose", (0, 0, 0)), scene.get("jitter", (0, 0, 1)))
        light = Light.of(view.turn, scene.get("light", {}))
        lit = self._shader.shade(rgba, height, relief, light, face.identity["oil"])
        if lips.opening is not None:
            _light_opening(lit, lips.opening, light)
        eyes = draw_eyes(canvas, face.identity, muscles, lit, light, scene.get("gaze", (0, 0)))
        _put_on_glasses(lit, face, light)
        pixels = self._pose.canvas_pixels(view)
        if background is None:
            background = np.full((self.size, self.size, 3), 0.2, F)
        noise = np.random.default_rng([4242, seed])
        image = self.camera.expose(warp(lit, pixels), background, face.skin, scene.get("camera", {}), noise)
        targets = (
            dense_targets(canvas, face.identity, masks[0], lips, eyes, relief, movement, pixels, dense)
            if dense
            else None
        )
        return Rendered(image, view.pixels(landmarks(face.identity, movement), self.size) if points else None, targets)


def landmarks(identity: Identity, movement: Movement | None) -> Array:
    """Pupils, nose tip, mouth corners `(5, 2)` in the frontal frame; the skin's movement carries all but the pupils."""
    p = identity.traits
    moving = np.array([(0, nose_tip(p)), (-p["mouth_width"], p["mouth_y"]), (p["mouth_width"], p["mouth_y"])], F)
    if movement is not None:
        moving = moving + movement.at(moving)
    return np.concatenate([pupil_points(identity), moving])


def _put_on_glasses(lit: Array, face: Face, light: Light) -> None:
    """Darken the image by the frame, and let it shine a little."""
    if face.glasses is not None:
        lit[..., :3] *= face.glasses[0]
        lit[..., :3] += face.glasses[1] * (light.key * F(0.25))


def _light_opening(lit: Array, opening: Opening, light: Light) -> None:
    """The inside of the mouth keeps a light of its own."""
    r0, r1, c0, c1 = opening.box
    out, cover = lit[r0:r1, c0:c1, :3], opening.cover[..., None]
    out *= 1 - cover
    out += opening.colour * cover * (light.key * F(0.60) + light.ambient)
