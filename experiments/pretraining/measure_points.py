"""What `experiments/measure_points.py` has measured, as numbers and as a page.

Measure the five points on rendered faces of subjects that no training has seen: network, eye cascades, and what `detect` makes of both.

    python experiments/measure_points.py --faces 100 --clips 10

Writes `experiments/results/points.md` and `.json`. Errors are distances of a pupil from its place, mean of the two, in inter-pupil
distances (IPD); missed faces have none and are counted. Jitter: root mean square of how far a pupil moves from one frame of a still clip to
the next, in which nothing but the camera's noise changes, and so what the detector makes of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from auformer.faces.cascade import cascades, choose_points, contradiction, find_boxes, find_points
from auformer.faces.regressor import locate
from auformer.scoring.provenance import commit, machine
from auformer.synthetic import LABS, Identity, Renderer, sample_aus, sample_scene
from experiments.pretraining.points_data import FIRST_TEST

METHODS = ("eyes", "regressor", "chosen")
THRESHOLDS = (0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # inter-pupil distances between network and eyes
Rows = list[dict[str, Any]]

_HEAD = """# Five points of a face

On rendered faces of subjects that no training has seen, which says little about photographs. Distances in inter-pupil distances
(IPD), median / 95th percentile, of the faces that the cascade finds. `eyes`: pupils by OpenCV's eye cascades, the rest by
proportion; `network`: `assets/points.onnx`; `detect`: what the default detector returns. Size: side of the picture in pixels, of
which the face's box has about 0.9. Turned: 14 to 24 degrees to a side; tilted: 8 to 17 degrees.
"""


def summary(rows: Rows, clips: Rows, settings: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    """Medians and 95th percentiles by lab, pose and size, and over all; what was chosen and why."""
    table = []
    for lab, pose, size in [*settings, ("all", "all", 0)]:
        asked = [r for r in rows if lab == "all" or (r["lab"], r["pose"], r["size"]) == (lab, pose, size)]
        found = [r for r in asked if r["found"]]
        errors = {
            name: _spread([r[name] for r in found]) for name in (*METHODS, *(f"{name}_below" for name in METHODS))
        }
        table.append({"lab": lab, "pose": pose, "size": size, "faces": len(asked), "found": len(found), **errors})
    found = [r for r in rows if r["found"]]
    contradicted = []
    for threshold in THRESHOLDS:
        some = [r for r in found if r["seen"] == "eyes" and r["apart"] > threshold]
        nearer = sum(r["eyes"] < r["regressor"] for r in some)
        contradicted.append({"threshold": threshold, "faces": len(some), "eyes_nearer": nearer})
    steps = []
    for lab, size in dict.fromkeys((lab, size) for lab, _, size in settings):
        some = [r for r in clips if (r["lab"], r["size"]) == (lab, size)]
        spread = {name: _spread([r[name] for r in some]) for name in (*METHODS, "box")}
        steps.append({"lab": lab, "size": size, "clips": len(some), **spread})
    seen = {name: sum(r["seen"] == name for r in found) for name in ("eyes", "one_eye", "box")}
    source = {name: sum(r["source"] == name for r in found) for name in ("regressor", "eyes")}
    return {
        "errors": table,
        "contradictions": contradicted,
        "jitter": steps,
        "eyes_seen": seen,
        "points_source": source,
    }


def markdown(result: dict[str, Any]) -> str:
    """The results as a page."""
    seen, source = result["eyes_seen"], result["points_source"]
    lines = [
        _HEAD,
        *_tables(result["errors"]),
        "",
        "## Jitter",
        "",
        f"Still clips of {result['frames']} frames: root mean square step of a pupil from frame to frame; of the box, of its corners.",
        "",
        *_rows("lab | size | clips | box | eyes | network | detect", [
            [r["lab"], r["size"], r["clips"], *(_pair(r[name], 4) for name in ("box", *METHODS))] for r in result["jitter"]
        ]),
        "",
        "## Where the two contradict each other",
        "",
        "Faces where both eyes were found, and a pupil lies further than this from the network's; in how many of them the eyes were nearer",
        "to the truth.",
        "",
        *_rows("IPD | faces | eyes nearer", [[r["threshold"], r["faces"], r["eyes_nearer"]] for r in result["contradictions"]]),
        "",
        f"Both eyes were found in {seen['eyes']} faces, one in {seen['one_eye']}, none in {seen['box']}.",
        f"`detect` gave the network's points to {source['regressor']} and those of the eyes to {source['eyes']}.",
        "",
        "## Photographs",
        "",
        "Portraits in the public domain, pupils read off by eye: mean error of the two. Too few to say more than that it works on them.",
        "",
        *_rows("picture | eyes | network | detect", [[r["picture"], *(f"{r[name]:.3f}" for name in METHODS)] for r in result["portraits"]]),
        "",
        f"Command: `{result['command']}`; seed {result['seed']}; {result['seconds']} s on one core;",
        f"{result['machine']}; commit {result['commit']}.",
        *([f"Training: {result['training']}."] if result["training"] else []),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _tables(errors: Rows) -> list[str]:
    """Errors of pupils, then of the other points."""
    where = [[r["lab"], r["pose"], r["size"] or ""] for r in errors]
    pupils = [
        [*w, r["faces"], r["found"], *(_pair(r[name]) for name in METHODS)] for w, r in zip(where, errors, strict=True)
    ]
    others = [[*w, *(_pair(r[f"{name}_below"]) for name in METHODS)] for w, r in zip(where, errors, strict=True)]
    return [
        "## Pupils",
        "",
        *_rows("lab | pose | size | faces | found | eyes | network | detect", pupils),
        "",
        "## Nose tip and mouth corners",
        "",
        *_rows("lab | pose | size | eyes | network | detect", others),
    ]


def _rows(head: str, cells: list[list[Any]]) -> list[str]:
    """A table in Markdown."""
    return [
        f"| {head} |",
        "|" + "---|" * (head.count("|") + 1),
        *("| " + " | ".join(map(str, row)) + " |" for row in cells),
    ]


def _spread(values: list[float]) -> list[float] | None:
    """Median and 95th percentile."""
    return [round(float(np.percentile(values, q)), 4) for q in (50, 95)] if values else None


def _pair(values: list[float] | None, digits: int = 3) -> str:
    """Median / 95th percentile."""
    return "" if values is None else f"{values[0]:.{digits}f} / {values[1]:.{digits}f}"


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


def scenes(
    lab: str, pose: str, size: int, faces: int
) -> Iterator[tuple[Renderer, Any, dict[str, Any], np.ndarray, np.ndarray]]:
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
        yield (
            renderer,
            renderer.bake(Identity.sample(number)),
            scene,
            sample_aus(rng, lab)[1],
            renderer.background(rng, **wall),
        )


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
                        row |= {
                            "seen": found["seen"],
                            "source": found["source"],
                            "apart": contradiction(found["regressor"], found["eyes"]),
                        }
                    rows.append(row)
    return rows


def jitter(clips: int) -> list[dict[str, Any]]:
    """One row per still clip of 20 frames: root mean square step of the pupils from frame to frame, in IPD, of each method."""
    rows = []
    for lab in LABS:
        for size in SIZES:
            for renderer, face, scene, muscles, wall in tqdm(
                scenes(lab, "frontal", size, clips), total=clips, mininterval=10
            ):
                tracks: dict[str, list[np.ndarray]] = {name: [] for name in (*METHODS, "box")}
                for frame in range(FRAMES):
                    picture = renderer.render(
                        face, muscles, scene=scene, background=wall, seed=10_000 + frame, points=True
                    )
                    found = answers(cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY))
                    if found is not None:
                        x, y, w, h = found["box"]
                        unit = np.hypot(*(picture.points[1] - picture.points[0]))
                        for name in METHODS:
                            tracks[name].append(found[name][:2] / unit)
                        tracks["box"].append(np.array([(x, y), (x + w, y + h)]) / unit)
                if len(tracks["box"]) > 1:
                    steps = {name: np.diff(np.array(track), axis=0) for name, track in tracks.items()}
                    rows.append(
                        {"lab": lab, "size": size}
                        | {k: float(np.sqrt((v**2).sum(-1).mean())) for k, v in steps.items()}
                    )
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
            rows.append(
                {"picture": name}
                | {k: round(float(np.hypot(*(found[k][:2] - true).T).mean() / unit), 4) for k in METHODS}
            )
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
    result = summary(
        errors(options.faces),
        jitter(options.clips),
        [(lab, pose, size) for lab in LABS for pose in POSES for size in SIZES],
    )
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
