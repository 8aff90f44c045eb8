"""From a person, muscle intensities and a scene to an image of a scanned face with known truth [ours].

Per image: move the vertices, look the relief of the acting muscles up, draw the z-buffer from the camera and from the
key light, light every pixel, put on glasses, hair and hat, hold something in front, develop the photograph. Pixels are
drawn finer than the image and averaged. Everything that a subject keeps is baked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from auformer.faces.align import EYES
from auformer.synthetic.canvas import SPAN, Array, Canvas, F, smoothstep
from auformer.synthetic.head import half_width
from auformer.synthetic.muscles import drive
from auformer.synthetic.renderer import Rendered
from auformer.synthetic.scanned import kernels, pixels
from auformer.synthetic.scanned.accessories import Glasses, bake_glasses, put_in_front, put_on_glasses
from auformer.synthetic.scanned.dense import Seen, dense_targets
from auformer.synthetic.scanned.facekit import FaceKit
from auformer.synthetic.scanned.hair import Layer, bake_hair, bake_hat
from auformer.synthetic.scanned.head import Camera3D, HeadModel, look
from auformer.synthetic.scanned.lighting import SHADOW_SPAN, basis, openness_of, pack
from auformer.synthetic.scanned.person import Person
from auformer.synthetic.scanned.photograph import Photographer
from auformer.synthetic.scanned.shapes import sealed, weights
from auformer.synthetic.scanned.texture import Skin, bake_textures

FINER = 1.4  # screen pixels per image pixel and side
SHADOW_FINER = 1.2  # pixels of the shadow map per image pixel and side
HEAD_MIDDLE = np.array([0.0, 0.25, -0.85], F)
NECK = 2.1  # template height below which nothing casts a shadow on the face
GAZE = 0.45  # radians of a full gaze sideways; half of it up and down
MIDDLE_SKIN = 0.3  # brightness that the exposure expects where no skin is seen
PLAIN_LIGHT: dict[str, Any] = {
    "dir": (0.3, -0.5, 0.85), "key": 0.85, "color": (1, 1, 1), "amb": 0.38, "amb_color": (1, 1, 1), "ground": 0.22,
    "ground_color": (1, 1, 1), "up": (0, -1, 0.2), "second_dir": (-0.7, -0.1, 0.6), "second": 0.12,
    "second_color": (1, 1, 1), "shine": 1.0, "shadow": 0.7, "soft": 0.04,
}  # fmt: skip
PLAIN_CAMERA: dict[str, Any] = {
    "exposure": 1.0, "auto": 0.6, "gain": (1, 1, 1), "contrast": 1.0, "gamma": 1.0, "saturation": 1.0, "grey": 0.0,
    "vignette": 0.0, "blur": 0.0, "motion": 0.0, "angle": 0.0, "low": 1.0, "sharpen": 0.0, "noise": 0.0, "chroma": 0.0,
    "jpeg": 0,
}  # fmt: skip


@dataclass
class ScannedFace:
    """One subject, baked."""

    person: Person
    points: Array
    scale: float
    skin: Skin
    attributes: Array
    face: Array
    eyes: Array
    balls: list[tuple[Array, float]]
    glasses: Glasses | None
    hair: Layer | None
    hat: list[Layer]
    inner: Array
    cloth: Array


class ScannedRenderer:
    """Draws scanned faces at one size. It owns scratch buffers: one per worker.

    Args:
        kit: A copy of the face model, from `read_facekit`.
        size: Side of the images in pixels, a multiple of 4, at least 32.

    Raises:
        ValueError: The size is not usable.
        MissingExtraError: numba is not installed.
    """

    def __init__(self, kit: FaceKit, size: int = 112) -> None:
        if size < 32 or size % 4:
            raise ValueError(f"Expected `size` to be a multiple of 4 and at least 32, but got {size}")
        self.size, self.fine = size, int(size * FINER)
        self.model = HeadModel(kit)
        self.canvas = Canvas(4 * round(self.fine * SPAN / EYES.side * 1.1 / 4))
        self.photographer = Photographer(size)
        self._kernels = kernels.compiled()
        n, far = self.fine, int(SHADOW_FINER * size)
        self._depth, self._index = np.empty((n, n), F), np.empty((n, n), np.int32)
        self._weights = np.empty((2, n, n), F)
        self._colour, self._facing = np.zeros((n, n, 3), F), np.zeros((n, n, 3), F)
        self._extra, self._cavity = np.zeros((n, n, 4), F), np.zeros((n, n, 4), F)
        self._reaches, self._highlight = np.zeros((n, n), F), np.zeros((n, n), F)
        self._kind, self._lit = np.zeros((n, n), np.uint8), np.zeros((n, n, 4), F)
        self._layer, self._layer_weights = (np.empty((n, n), F), np.empty((n, n), np.int32)), np.empty((2, n, n), F)
        self._shadow, self._shadow_index = np.empty((far, far), F), np.empty((far, far), np.int32)
        self._shadow_weights = np.empty((2, far, far), F)
        self._normals = np.empty_like(self.model.base)
        self._relief = np.empty((self.canvas.size, self.canvas.size), F)
        self._layers_of_skin = np.empty((self.canvas.size, self.canvas.size, 3), F)
        at = self.model.template[self.model.triangles].mean(1)
        casts = (self.model.kinds == pixels.SKIN) & (at[:, 1] < NECK)
        self._opaque = np.ascontiguousarray(self.model.triangles[casts])
        self._no_mask, self._no_uv = np.zeros((1, 1), F), np.zeros((1, 2), F)

    def bake(self, person: Person) -> ScannedFace:
        """Everything that this subject keeps from image to image."""
        model, identity = self.model, person.identity
        rest = np.array([person.rest.get(name, 0.0) for name in model.names], F)
        lids = [model.names.index(f"eyeBlink{side}") for side in ("_R", "_L")]
        rest[lids] += person["lids"]
        points, scale = model.of(person.coefficients[: len(model.identities)], rest)
        points = model.rounded(points + _bones(model.template, model.part == "face", person))
        columns = self.canvas.to_pixels(identity.warp(model.template))
        marks = identity.warp(model.template[model.landmarks])
        skin = bake_textures(self.canvas, person, marks[48:68], marks[36:48])
        normals = model.normals(points, np.empty_like(points))
        rng = np.random.default_rng([994, person.number])
        return ScannedFace(
            person=person, points=points, scale=scale, skin=skin,
            attributes=self._attributes(points, normals, columns, rng), face=_face_cover(model, person),
            eyes=_eye_colours(identity, rng), balls=model.eyeballs(points),
            glasses=bake_glasses(person, points, model.landmarks), hair=bake_hair(person, points),
            hat=bake_hat(person, points), inner=_mouth_colours(rng),
            cloth=np.clip(rng.uniform(0.01, 0.6) * (1 + rng.normal(0, 0.3, 3)), 0.005, 0.9).astype(F),
        )  # fmt: skip

    def _attributes(self, points: Array, normals: Array, columns: Array, rng: np.random.Generator) -> Array:
        """Per vertex `(n, 8)`, see `pixels.skin`."""
        model = self.model
        out = np.zeros((len(points), 8), F)
        out[:, :2] = columns
        opened = openness_of(self._kernels, points, normals, model.triangles)
        out[:, 2] = 0.28 + 0.72 * opened
        collar = float(rng.uniform(1.95, 2.7))
        out[:, 3] = smoothstep((model.template[:, 1] - collar - 0.4 * np.abs(points[:, 0])) / 0.3 + 0.5) * model.skin
        for ball, (centre, radius) in zip(model.balls, model.eyeballs(points), strict=True):
            out[ball, 4:7] = (points[ball] - centre) / radius
        deep = (float(points[model.landmarks[62], 2]) - points[:, 2]).clip(0)
        for name, near, fall in (
            ("teeth", 1.2, 3.2),
            ("gums", 0.75, 2.0),
            ("mouth_socket", 0.30, 1.2),
            ("eye_socket", 0.5, 0),
        ):
            out[:, 7] = np.where(model.part == name, near * np.exp(-fall * deep), out[:, 7])
        return out

    def background(self, rng: np.random.Generator, **settings: Any) -> Array:
        """A background `(S, S, 3)`; settings as `scenes.sample_background` gives them."""
        return self.photographer.background(rng, **settings)

    def render(
        self, face: ScannedFace, intensity: Any, *, scene: Mapping[str, Any] | None = None,
        background: Array | None = None, seed: int = 0, points: bool = False, dense: int = 0,
    ) -> Rendered:  # fmt: skip
        """One image of a baked face.

        Args:
            face: From `bake`.
            intensity: AU intensities `(24,)` or `(24, 2)` in [0, 1] in the order of `AU_NAMES`, columns image left and
                image right.
            scene: As `scenes.sample_scene` gives it; None is a frontal head in plain light.
            background: From `background`; None is a plain grey wall.
            seed: Draws the camera noise.
            points: Also return the five landmarks.
            dense: Cells per side of the dense targets, 0 for none.

        Raises:
            ValueError: Intensities of another shape or outside [0, 1].
        """
        scene = scene or {}
        muscles = drive(intensity, scene.get("speech"))
        model, gaze = self.model, scene.get("gaze", (0.0, 0.0))
        strong = muscles * F(face.person["mobility"])
        weight = weights(model.matrix, model.names, strong, scene.get("blink", 0.0), gaze[1])
        moved = model.moved(face.points, face.scale, weight)
        if moved is not face.points:
            moved = model.closed(model.covered(moved, face.balls), face.points, sealed(muscles))
        relief = face.skin.muscles.relief(muscles * face.skin.gains[:, None], self._relief)
        camera = look(
            model.eye_middles(face.points), EYES, scene.get("pose", (0, 0, 0)), scene.get("jitter", (0, 0, 1)),
            scene.get("near", 0.0),
        )  # fmt: skip
        worn = scene.get("worn", {"hat": 1.0, "glasses": 1.0, "glare": 0.0, "hand": 0.0, "microphone": 0.0, "seed": 0})
        layers = self._layers(face, bool(worn["hat"]))
        light = pack({**PLAIN_LIGHT, **scene.get("light", {})}, SHADOW_FINER * self.size / SHADOW_SPAN)
        screen = camera.screen(moved, self.fine)
        placed = [camera.screen(layer.points, self.fine) for layer in layers]
        ppi = self.fine / float(np.linalg.norm(camera.axes[:, 0]))
        back = np.array([ppi, self.fine / 2, self.fine / 2], F)
        middle = camera.screen(HEAD_MIDDLE[None], self.fine)[0]
        to_shadow = self._cast(screen, placed, layers, light, back, middle)
        self._draw_head(face, screen, relief, moved, gaze, sealed(muscles) == 1)
        exposure = self._light_head(light, back, to_shadow)
        if face.glasses is not None and worn["glasses"]:
            put_on_glasses(self._lit, face.glasses, camera, light, bool(worn["glare"]), int(worn["seed"]))
        amount = self._draw_layers(layers, placed, light, to_shadow, back)
        seen = Seen(self._index, self._weights[0], self._weights[1], self._kind, amount)
        targets = self._targets(face, moved, relief, seen, dense) if dense else None
        for kind in ("hand", "microphone"):
            if worn[kind]:
                put_in_front(self._lit, kind, camera, light, face.skin.base, int(worn["seed"]))
        rgba = cv2.resize(self._lit, (self.size, self.size), interpolation=cv2.INTER_AREA)
        wall = np.full((self.size, self.size, 3), 0.2, F) if background is None else background
        image = self.photographer.develop(
            rgba, wall, exposure, {**PLAIN_CAMERA, **scene.get("camera", {})}, np.random.default_rng([4243, seed])
        )
        return Rendered(image, self._points(face, moved, camera) if points else None, targets)

    def _layers(self, face: ScannedFace, hat: bool) -> list[Layer]:
        """What is on the head; a scarf is never taken off, and hides the hair."""
        worn = face.hat if hat or face.person["hat"] == "scarf" else []
        hidden = bool(worn) and face.person["hat"] == "scarf"
        return [*([face.hair] if face.hair is not None and not hidden else []), *worn]

    def _draw_head(
        self, face: ScannedFace, screen: Array, relief: Array, moved: Array, gaze: tuple[float, float], shut: bool
    ) -> None:
        model, skin = self.model, face.skin
        self._depth.fill(kernels.FAR)
        self._index.fill(-1)
        drawn = model.triangles[: model.hidden] if shut else model.triangles
        self._kernels.raster(screen, drawn, 1, self._depth, self._index, *self._weights, self._no_mask, self._no_uv)
        model.normals(screen, self._normals)
        eyes = face.eyes.copy()
        x, y = GAZE * gaze[0], 0.5 * GAZE * gaze[1]
        eyes[:, :3] = np.sin(x), np.sin(y) * np.cos(x), np.cos(x) * np.cos(y)
        for e, ((centre, radius), lid) in enumerate(zip(face.balls, ((37, 38), (43, 44)), strict=True)):
            eyes[e, 11] = (moved[model.landmarks[list(lid)], 1].mean() - centre[1]) / radius
        buffers = (self._index, *self._weights)
        np.add(skin.height, relief, out=self._layers_of_skin[..., 0])
        self._layers_of_skin[..., 1] = relief
        self._layers_of_skin[..., 2] = skin.gloss
        k, triangles, out = self._kernels, model.triangles, (self._colour, self._extra)
        k.facing(triangles, model.kinds, *buffers, self._normals, self._kind, self._facing)
        k.skin(triangles, *buffers, self._kind, face.attributes, skin.albedo, self._layers_of_skin, face.cloth, *out)
        k.eyes(triangles, *buffers, self._kind, face.attributes, eyes, *out)
        k.inside(triangles, *buffers, self._kind, face.attributes, face.inner, *out)

    def _light_head(self, light: Array, back: Array, to_shadow: Array) -> float:
        """Light every pixel of the head -> mean brightness of the skin, for the exposure."""
        k = self._kernels
        k.furrow(self._depth, self._kind, self._extra, back[0], light[33], self._facing, self._cavity)
        k.shade(self._depth, self._kind, back, self._shadow, to_shadow, light, self._reaches)
        k.shine(self._kind, self._facing, self._cavity, self._extra, light, self._highlight)
        k.light(self._kind, self._colour, self._cavity, self._extra, self._reaches, self._highlight, light, self._lit)
        shown = self._kind == pixels.SKIN
        return float(self._lit[shown, :3].mean()) if shown.any() else MIDDLE_SKIN

    def _cast(
        self, screen: Array, placed: list[Array], layers: list[Layer], light: Array, back: Array, middle: Array
    ) -> Array:
        """Draw the depth map from the key light, centred on `middle (3,)` of the screen.

        Returns:
            `(3, 4)` from screen IPD to pixels and depth of the map.
        """
        far, offset = self._shadow.shape[0], np.array([back[1], back[2], 0], F)
        turn = basis(light[:3]) * F(far / SHADOW_SPAN)
        to_shadow = np.zeros((3, 4), F)
        to_shadow[:, :3] = turn
        to_shadow[:, 3] = -(turn @ ((middle - offset) / back[0]))
        to_shadow[:2, 3] += far / 2
        self._shadow.fill(kernels.FAR)
        if light[34] <= 0:
            return to_shadow
        buffers = (self._shadow, self._shadow_index, *self._shadow_weights)
        flat = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], F)
        whole, shift = (turn / back[0]).astype(F), (to_shadow[:, 3] - turn @ offset / back[0]).astype(F)

        def seen(points: Array) -> Array:
            out = np.empty_like(points)
            self._kernels.place(points, whole, shift, F(0), flat, out)
            return out

        self._kernels.raster(seen(screen), self._opaque, 1, *buffers, self._no_mask, self._no_uv)
        for points, layer in zip(placed, layers, strict=True):
            self._kernels.raster(seen(points), layer.triangles, 0, *buffers, layer.cover, layer.uv)
        return to_shadow

    def _draw_layers(
        self, layers: list[Layer], placed: list[Array], light: Array, to_shadow: Array, back: Array
    ) -> Array:
        """Hair and hats: first what lies behind the head, then what lies before it -> cover of hair `(n, n)`."""
        amount = np.zeros_like(self._depth)
        depth, index = self._layer
        w1, w2 = self._layer_weights
        for over in (False, True):
            for layer, points in zip(layers, placed, strict=True):
                if layer.solid and not over and not layer.hangs:
                    continue  # the far side of a hat is behind the head
                depth.fill(kernels.FAR)
                index.fill(-1)
                facing = 0 if layer.solid and over else (1 if over else -1)
                mask, uv = (layer.cover, layer.uv) if layer.solid or not over else (self._no_mask, self._no_uv)
                self._kernels.raster(points, layer.triangles, facing, depth, index, w1, w2, mask, uv)
                normals = np.empty_like(points)
                self._kernels.normals(points, layer.triangles, normals)
                self._kernels.hair(
                    layer.triangles, index, w1, w2, depth, self._depth, normals, layer.uv, layer.cover, layer.strands,
                    layer.colour, light, self._shadow, to_shadow, back, over, self._lit, amount,
                )  # fmt: skip
        return amount

    def _targets(self, face: ScannedFace, moved: Array, relief: Array, seen: Seen, cells: int) -> Array:
        vertex = np.column_stack([self.model.template, (moved - face.points)[:, :2], face.face])
        return dense_targets(seen, self.model.triangles, vertex, face.attributes[:, :2], face.skin.masks, relief, cells)

    def _points(self, face: ScannedFace, moved: Array, camera: Camera3D) -> Array:
        """Pupils, nose tip, mouth corners `(5, 2)` in image pixels from its corner, image left first."""
        marks = self.model.landmarks
        five = np.concatenate([self.model.eye_middles(face.points), moved[marks[[30, 48, 54]]]])
        return (camera.screen(five, self.size)[:, :2] + F(0.5)).astype(F)


def _bones(template: Array, face: Array, person: Person) -> Array:
    """Offsets `(n, 3)` of brow ridge, sockets and the skin over the upper lid: what is not an AU but looks like one."""
    x, y = np.abs(template[:, 0]), template[:, 1]
    out = np.zeros((len(template), 3), F)
    out[:, 2] += person["ridge"] * np.exp(-(((x - 0.35) / 0.35) ** 2) - ((y + 0.34) / 0.10) ** 2)
    out[:, 2] -= person["socket"] * np.exp(-(((x - 0.40) / 0.24) ** 2) - ((y + 0.12) / 0.09) ** 2)
    hang = person["hood"] * np.exp(-(((x - 0.62) / 0.22) ** 2) - ((y + 0.17) / 0.06) ** 2)
    out[:, 1] += 0.045 * hang
    out[:, 2] += 0.030 * hang
    return (out * face[:, None]).astype(F)


def _face_cover(model: HeadModel, person: Person) -> Array:
    """1 inside the outline that the drawn renderer calls the face, per vertex `(n,)`."""
    at = person.identity.warp(model.template)
    inside = smoothstep((half_width(person.identity, at[:, 1]) - np.abs(at[:, 0])) / 0.045 + 0.5)
    return (inside * smoothstep((person.identity["chin"] + 0.01 - at[:, 1]) / 0.03 + 0.5)).astype(F)


def _eye_colours(identity: Any, rng: np.random.Generator) -> Array:
    """Per eye `(2, 13)`, see `pixels.eyes`; gaze and lid are filled in per image."""
    eyes = np.zeros((2, 13), F)
    iris = rng.uniform(0.38, 0.43)
    eyes[:, 3], eyes[:, 4] = iris, iris * rng.uniform(0.32, 0.58)
    eyes[:, 5:8] = np.array(identity["iris_colour"]) * rng.uniform(0.7, 1.3)
    eyes[:, 8:11] = np.array([0.56, 0.52, 0.50]) * rng.uniform(0.75, 1.1)
    eyes[:, 12] = rng.uniform(0.0, 0.45)
    return eyes


def _mouth_colours(rng: np.random.Generator) -> Array:
    """Colours of the mouth's wall, gums with tongue, and teeth `(3, 3)`."""
    tooth = (
        np.array([0.78, 0.71, 0.61])
        * rng.uniform(0.65, 1.1)
        * np.array([1, rng.uniform(0.94, 1.02), rng.uniform(0.78, 1.08)])
    )
    return np.array([(0.16, 0.045, 0.04), np.array((0.30, 0.10, 0.095)) * rng.uniform(0.7, 1.3), tooth], F)
