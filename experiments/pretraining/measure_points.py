"""Measure the five points on rendered faces of subjects that no training has seen: network, eye cascades, and what `detect` makes of both.

    python experiments/measure_points.py --faces 100 --clips 10

Writes `experiments/results/points.md` and `.json`. Errors are distances of a pupil from its place, mean of the two, in inter-pupil
distances (IPD); missed faces have none and are counted. Jitter: root mean square of how far a pupil moves from one frame of a still clip to
the next, in which nothing but the camera's noise changes, and so what the detector makes of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from auformer.faces.cascade import cascades, find_boxes
from auformer.faces.eyes import find_points
from auformer.faces.points import choose_points, contradiction
from auformer.faces.regressor import locate
from auformer.scoring.machine import commit, machine
from auformer.synthetic import LABS, Identity, Renderer, sample_aus, sample_scene
from experiments.pretraining.points_data import FIRST_TEST
from experiments.pretraining.points_page import METHODS, markdown, summary

RESULTS = Path(__file__).parent / "results"
SIZES = (160, 64)  # pixels of the `eyes` crop that is rendered; the face's box has about 0.9 of it
# Ranges in radians of what is asked on top of the lab's own pose: head turned to a side, or tilted (roll). [ours]
POSES = {"frontal": None, "turned": (0.25, 0.42), "tilted": (0.14, 0.30)}
SEED, FRAMES, SMALLEST = 0, 20, 40
# Portraits in the public domain that come with other packages, and their pupils, read off the pictures by eye. [ours]
PORTRAITS = {
    "scikit-image, astronaut (Eileen Collins)": ("astronaut", [(203.5, 100.7), (247.0, 103.2)]),
    "matplotlib, grace_hopper.jpg": ("grace_hopper.jpg", [(222.5, 189.0), (305.0, 186.5)]),
}


def scenes(lab: str, pose: str, size: int, faces: int) -> Iterator[tuple[Renderer, Any, dict[str, Any], np.ndarray, np.ndarray]]:
    """Renderer, baked face, scene, muscles and background of each test face."""
    renderer = Renderer(size)
    for i in range(faces):
        number = FIRST_TEST + 1000 * LABS.index(lab) + i
        rng = np.random.default_rng([881, SEED, number, list(POSES).index(pose)])
        scene, wall = sample_scene(rng, lab)
        limits = POSES[pose]
        if limits:
            yaw, pitch, roll = scene["pose"]
            more = float(rng.choice([-1, 1]) * rng.uniform(*limits))
            scene["pose"] = (more, pitch, roll) if pose == "turned" else (yaw, pitch, more)
        yield renderer, renderer.bake(Identity.sample(number)), scene, sample_aus(rng, lab)[1], renderer.background(rng, **wall)


def answers(gray: np.ndarray) -> dict[str, Any] | None:
    """Points (5, 2) by each method for the largest face; None if there is none."""
    boxes = find_boxes(gray, SMALLEST)
    if not boxes:
        return None
    box = max(boxes, key=lambda found: found[0][2])[0]
    eyes, seen = find_points(gray, box, cascades()[1:])
    chosen, source, _ = choose_points(gray, box, cascades()[1:])
    return {"eyes": eyes, "regressor": locate(gray, box), "chosen": chosen, "seen": seen, "source": source, "box": box}


def errors(faces: int) -> list[dict[str, Any]]:
    """One row per face: what was asked, and errors of each method in IPD."""
    rows = []
    for lab in LABS:
        for pose in POSES:
            for size in SIZES:
                for i, (renderer, face, scene, muscles, wall) in enumerate(
                    tqdm(scenes(lab, pose, size, faces), total=faces, mininterval=10)
                ):
                    picture = renderer.render(face, muscles, scene=scene, background=wall, seed=i, points=True)
                    found, true = answers(cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)), picture.points
                    row: dict[str, Any] = {"lab": lab, "pose": pose, "size": size, "found": found is not None}
                    if found is not None:
                        unit = np.hypot(*(true[1] - true[0]))
                        away = {name: np.hypot(*(found[name] - true).T) / unit for name in METHODS}
                        row |= {name: float(each[:2].mean()) for name, each in away.items()}
                        row |= {f"{name}_below": float(each[2:].mean()) for name, each in away.items()}
                        row |= {"seen": found["seen"], "source": found["source"], "apart": contradiction(found["regressor"], found["eyes"])}
                    rows.append(row)
    return rows


def jitter(clips: int) -> list[dict[str, Any]]:
    """One row per still clip of 20 frames: root mean square step of the pupils from frame to frame, in IPD, of each method."""
    rows = []
    for lab in LABS:
        for size in SIZES:
            for renderer, face, scene, muscles, wall in tqdm(scenes(lab, "frontal", size, clips), total=clips, mininterval=10):
                tracks: dict[str, list[np.ndarray]] = {name: [] for name in (*METHODS, "box")}
                for frame in range(FRAMES):
                    picture = renderer.render(face, muscles, scene=scene, background=wall, seed=10_000 + frame, points=True)
                    found = answers(cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY))
                    if found is not None:
                        x, y, w, h = found["box"]
                        unit = np.hypot(*(picture.points[1] - picture.points[0]))
                        for name in METHODS:
                            tracks[name].append(found[name][:2] / unit)
                        tracks["box"].append(np.array([(x, y), (x + w, y + h)]) / unit)
                if len(tracks["box"]) > 1:
                    steps = {name: np.diff(np.array(track), axis=0) for name, track in tracks.items()}
                    rows.append({"lab": lab, "size": size} | {k: float(np.sqrt((v**2).sum(-1).mean())) for k, v in steps.items()})
    return rows


def portraits() -> list[dict[str, Any]]:
    """One row per portrait that is installed: the mean error of the two pupils in IPD, of each method."""
    from matplotlib.cbook import get_sample_data

    rows = []
    for name, (file, pupils) in PORTRAITS.items():
        if "." in file:
            with get_sample_data(file, asfileobj=True) as stream:
                gray = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_GRAYSCALE)
        else:
            try:
                from skimage import data
            except ModuleNotFoundError:
                continue
            gray = cv2.cvtColor(getattr(data, file)(), cv2.COLOR_RGB2GRAY)
        found = answers(gray)
        if found is not None:
            true = np.array(pupils)
            unit = np.hypot(*(true[1] - true[0]))
            rows.append({"picture": name} | {k: round(float(np.hypot(*(found[k][:2] - true).T).mean() / unit), 4) for k in METHODS})
    return rows


def main(args: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100, help="faces per lab, pose and size")
    parser.add_argument("--clips", type=int, default=10, help="still clips per lab and size")
    parser.add_argument("--training", default="", help="how the network was trained, for the page")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(args)
    cv2.setNumThreads(1)
    start = time.process_time()
    result = summary(errors(options.faces), jitter(options.clips), [(lab, pose, size) for lab in LABS for pose in POSES for size in SIZES])
    result |= {
        "portraits": portraits(),
        "command": f"python experiments/measure_points.py --faces {options.faces} --clips {options.clips}",
        "seed": SEED,
        "frames": FRAMES,
        "training": options.training,
        "seconds": round(time.process_time() - start),
        "machine": machine(),
        "commit": commit(),
    }
    (options.out / "points.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "points.md").write_text(markdown(result), encoding="utf-8")


if __name__ == "__main__":
    main()
