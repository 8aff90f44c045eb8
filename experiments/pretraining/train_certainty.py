"""Train the head that says whether the landmark network looks at a face: `auformer.faces.certainty`.

    python -m experiments.pretraining.train_certainty --facekit ict.npz --out runs/certainty

Renders faces of both renderers, in wider scenes than any data set (6 minutes on one core with 160 and 50 subjects),
covers some, adds scenes and patterns without a face, lets the landmark network look twice at squares on, beside and far
from the face, and trains a small head on what its frozen trunk makes of them. A look is one on a face where the five
landmarks are within `NEAR` of their places and at most `SEEN` of the face is covered; none where they are further than
`FAR`, most of it is covered, or there is no face; what lies between is left out. Writes
`auformer/assets/points_certainty.safetensors`, and `points_certainty.json` into the folder `--results`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from auformer.faces.certainty import MODEL, Certainty, pooled
from auformer.faces.recipes import Square
from auformer.faces.regressor import SIDE, ask, square_of
from auformer.files import atomic_path
from auformer.synthetic import Identity, Renderer, sample_aus, sample_scene
from experiments.harness import RESULTS, circumstances, new_parser, write_result

FIRST_DRAWN, FIRST_SCANNED = 310_000, 790_000  # subjects of no data set, test or other training
SIZE, IMAGES, SQUARES, PATTERNS = 160, 20, 6, 2500
FACTOR = (1.1, 3.2)  # side of the image in sides of the `eyes` crop [ours]
POSE_SCALE = 1.5  # heads turned further than anything that the landmark network has learned: no face to follow [ours]
NEAR, FAR = 0.13, 0.30  # mean distance of the landmarks from their places, in inter-pupil distances [ours]
SEEN, HIDDEN = 0.3, 0.5  # share of the face that is covered [ours]
WIDTH, STEPS, BATCH, LEARNING_RATE, SEED = 48, 4000, 256, 2e-3, 0


def drawn(number: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Grey images (160, 160) of one subject of the first renderer with its landmarks, and one wall without."""
    renderer, rng = Renderer(SIZE), np.random.default_rng([991, number])
    face = renderer.bake(Identity.sample(number))
    for i in range(IMAGES):
        lab = "A" if rng.random() < 0.5 else "B"
        scene, wall = sample_scene(rng, lab, pose_scale=POSE_SCALE)
        scene["jitter"] = (*rng.normal(0, 0.25, 2), float(rng.uniform(*FACTOR)))
        background = renderer.background(rng, **wall)
        intensity = sample_aus(rng, lab)[1]
        one = renderer.render(face, intensity, scene=scene, background=background, seed=number * 99 + i, points=True)
        assert one.points is not None
        yield cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY), one.points
    wall_only = np.clip(background * 255, 0, 255).astype(np.uint8)
    yield cv2.cvtColor(wall_only, cv2.COLOR_RGB2GRAY), None


def scanned(facekit: Path) -> Callable[[int], Iterator[tuple[np.ndarray, np.ndarray | None]]]:
    """The same of the second renderer."""
    from auformer.synthetic.scanned import Person, ScannedRenderer, read_facekit, sample_expression
    from auformer.synthetic.scanned import sample_scene as sample_photograph

    renderer = ScannedRenderer(read_facekit(facekit), SIZE)

    def images(number: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        rng = np.random.default_rng([992, number])
        face = renderer.bake(Person.sample(number))
        for i in range(IMAGES):
            scene, wall = sample_photograph(rng, pose_scale=1.2)
            scene["jitter"] = (*rng.normal(0, 0.25, 2), float(rng.uniform(*FACTOR)))
            background, expression = renderer.background(rng, **wall), sample_expression(rng, "A")[0]
            one = renderer.render(
                face, expression, scene=scene, background=background, seed=number * 99 + i, points=True
            )
            assert one.points is not None
            yield cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY), one.points

    return images


def pattern(rng: np.random.Generator) -> np.ndarray:
    """A grey image (160, 160) without a face: noise of many scales, stripes, shapes, writing."""
    image = np.full((SIZE, SIZE), rng.uniform(20, 235), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.integers(5)
        if kind == 0:
            cells = int(rng.integers(3, 60))
            noise = cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (SIZE, SIZE))
            image += noise * rng.uniform(10, 70)
        elif kind == 1:
            angle, wave = rng.uniform(0, math.pi), rng.uniform(4, 60)
            y, x = np.mgrid[:SIZE, :SIZE]
            image += rng.uniform(10, 70) * np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / wave)
        else:
            for _ in range(int(rng.integers(1, 14))):
                at, size = rng.integers(-10, SIZE + 10, 2), rng.integers(4, 80, 2)
                place, shade = (int(at[0]), int(at[1])), float(rng.uniform(0, 255))
                if kind == 2:
                    cv2.ellipse(image, place, (int(size[0] // 2) + 1, int(size[1] // 2) + 1), 0, 0, 360, shade, -1)
                elif kind == 3:
                    cv2.rectangle(image, place, (int(at[0] + size[0]), int(at[1] + size[1])), shade, -1)
                else:
                    letters = "".join(chr(c) for c in rng.integers(48, 123, 6))
                    cv2.putText(image, letters, place, 0, float(rng.uniform(0.3, 2)), shade, int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 4)))
    return np.clip(image, 0, 255).astype(np.uint8)


def cover(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A copy with something in front of the face, and the share of the face that it covers, in [0, 1]."""
    unit = float(np.hypot(*(points[1] - points[0])))
    middle, image, mask = points.mean(0), image.copy(), np.zeros_like(image)
    at = middle + rng.normal(0, 0.8, 2) * unit
    half = np.exp(rng.uniform(-1.2, 0.7, 2)) * unit
    axes = (int(half[0]) + 1, int(half[1]) + 1)
    if rng.random() < 0.5:
        cv2.ellipse(mask, (int(at[0]), int(at[1])), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    else:
        left, top = (int(value) for value in at - half)
        cv2.rectangle(mask, (left, top), (left + 2 * axes[0], top + 2 * axes[1]), 255, -1)
    front = pattern(rng) if rng.random() < 0.5 else np.full_like(image, int(rng.integers(256)))
    image[mask > 0] = front[mask > 0]
    face = np.zeros_like(mask)
    cv2.ellipse(face, (int(middle[0]), int(middle[1])), (int(unit), int(1.3 * unit)), 0, 0, 360, 255, -1)
    return image, float((mask[face > 0] > 0).mean()) if (face > 0).any() else 0.0


def draw_square(points: np.ndarray | None, kind: str, rng: np.random.Generator) -> Square:
    """A square to be looked at: `near` the face's own, `wide` of it, or anywhere (`off`, or without a face)."""
    if points is None or kind == "off":
        side, turn = SIZE * math.exp(rng.uniform(-1.6, 0.1)), rng.normal(0, 0.2)
        centre = rng.uniform(0.1, 0.9, 2) * SIZE
        return Square(centre, np.array([math.cos(turn), math.sin(turn)]) * side / 2)
    own = square_of(points)
    shift, scale, turn = (0.05, 0.07, 0.08) if kind == "near" else (0.25, 0.35, 0.4)
    turn, half = rng.uniform(-turn, turn), float(np.hypot(*own.axis))
    axis = own.axis * math.exp(rng.uniform(-scale, scale))
    axis = np.array(
        [axis[0] * math.cos(turn) - axis[1] * math.sin(turn), axis[0] * math.sin(turn) + axis[1] * math.cos(turn)]
    )
    return Square(own.centre + rng.uniform(-shift, shift, 2) * 2 * half, axis)


def error_of(found: np.ndarray, points: np.ndarray) -> float:
    """Mean distance of landmarks (5, 2) from their places, in inter-pupil distances of a face turned to the camera."""
    unit = float(np.hypot(*square_of(points).axis)) * 2 / SIDE
    return float(np.hypot(*(found - points).T).mean() / max(unit, 1e-6))


def darken(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, few pixels, noise, weak contrast: what cameras do."""
    if rng.random() < 0.4:
        small = int(rng.integers(50, 140))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2)))
    values = image.astype(np.float32)
    if rng.random() < 0.5:
        values = values * float(rng.uniform(0.3, 1.2)) + float(rng.uniform(-40, 60))
    if rng.random() < 0.4:
        values += rng.standard_normal(values.shape).astype(np.float32) * float(rng.uniform(0, 14))
    return np.clip(values, 0, 255).astype(np.uint8)


def examples(images: Iterator[tuple[np.ndarray, np.ndarray | None]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the trunk makes of looks at images, pooled (n, 1024), and whether each is one on a face (n,), 0 or 1."""
    rng, inputs, labels = np.random.default_rng([993, seed]), [], []
    for image, points in images:
        if rng.random() < 0.5:
            image = image[:, ::-1].copy()
            points = None if points is None else np.column_stack([SIZE - points[:, 0], points[:, 1]])[[1, 0, 2, 4, 3]]
        for kind in ("near", "near", "wide", "wide", "off", "off"):
            seen, hidden = image, 0.0
            if points is not None and rng.random() < 0.35:
                seen, hidden = cover(image, points, rng)
            seen, square = darken(seen, rng), draw_square(points, kind, rng)
            for _ in range(2):
                found, features = ask(seen, square)
                error = 9.0 if points is None else error_of(found, points)
                good, bad = error < NEAR and hidden < SEEN, error > FAR or hidden > HIDDEN
                if good or bad:
                    inputs.append(pooled(features).astype(np.float16))
                    labels.append(float(good))
                square = square_of(found)
    return np.array(inputs), np.array(labels, np.float32)


def gather(
    first: int, subjects: int, source: Callable[[int], Any], out: Path, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Examples of a range of subjects, kept in a file of the folder `out`."""
    path = out / f"{name}_{first}_{subjects}.npz"
    if not path.exists():
        parts = [examples(source(number), number) for number in range(first, first + subjects)]
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.savez(
                temporary, inputs=np.concatenate([a for a, _ in parts]), labels=np.concatenate([b for _, b in parts])
            )
    with np.load(path) as file:
        return file["inputs"], file["labels"]


def patterns(number: int) -> Iterator[tuple[np.ndarray, None]]:
    """Fifty images without a face."""
    rng = np.random.default_rng([994, number])
    yield from ((pattern(rng), None) for _ in range(50))


def train(inputs: np.ndarray, labels: np.ndarray, steps: int) -> nn.Module:
    """The head in eval mode."""
    torch.manual_seed(SEED)
    net = nn.Sequential(nn.Dropout(0.1), nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps + 1)
    rng = np.random.default_rng(SEED)
    for _ in range(steps):
        rows = rng.integers(0, len(inputs), BATCH)
        logits = net(torch.from_numpy(inputs[rows].astype(np.float32)))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def rates(head: Certainty, inputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How many looks on a face are taken for none, and the other way round, at the threshold of following."""
    from auformer.faces.certainty import CERTAIN

    said = head.of_pooled(inputs.astype(np.float32)) >= CERTAIN
    return {
        "looks": len(labels), "on_faces": round(float(labels.mean()), 3),
        "faces_missed": round(float(1 - said[labels == 1].mean()), 4) if (labels == 1).any() else None,
        "none_taken_for_faces": round(float(said[labels == 0].mean()), 4) if (labels == 0).any() else None,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=Path("runs/certainty"))
    parser.add_argument("--facekit", type=Path, required=True, help="ICT-FaceKit, for scanned faces")
    parser.add_argument("--subjects", type=int, nargs=2, default=(160, 50), help="drawn and scanned")
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of points_certainty.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scan, (some, few) = scanned(args.facekit), args.subjects
    train_sets = [
        gather(FIRST_DRAWN, some, drawn, args.out, "drawn"), gather(FIRST_SCANNED, few, scan, args.out, "scanned"),
        gather(0, PATTERNS // 50, patterns, args.out, "patterns"),
    ]  # fmt: skip
    tests = {
        "drawn": gather(FIRST_DRAWN + 5000, max(1, some // 8), drawn, args.out, "drawn"),
        "scanned": gather(FIRST_SCANNED + 5000, max(1, few // 5), scan, args.out, "scanned"),
        "patterns": gather(9000, 6, patterns, args.out, "patterns"),
    }
    net = train(*(np.concatenate(each) for each in zip(*train_sets, strict=True)), args.steps)
    state = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    tensors = {"hidden.weight": state["1.weight"], "hidden.bias": state["1.bias"]}
    tensors |= {"out.weight": state["3.weight"], "out.bias": state["3.bias"]}
    with atomic_path(MODEL) as temporary:
        save_file(tensors, temporary, metadata={"made_by": "auformer experiments.pretraining.train_certainty"})
    head = Certainty(MODEL)
    result = {
        "command": f"python -m experiments.pretraining.train_certainty --subjects {some} {few} --steps {args.steps}",
        "training_looks": int(sum(len(labels) for _, labels in train_sets)),
        "unseen": {name: rates(head, *test) for name, test in tests.items()},
        **circumstances("torch"),
    }
    write_result(args.results, "points_certainty", result)
    print(result)


if __name__ == "__main__":
    main()
