"""Measure the five landmarks on rendered faces of subjects that no training has seen.

    python -m experiments.pretraining.measure_points --faces 100 --clips 10

The network, the eye cascades, and what `detect` makes of both. Writes `points.md` and `points.json`. Errors are
distances of a pupil from its place, mean of the two, in inter-pupil distances (IPD); missed faces have none and are
counted. Jitter: root mean square of how far a pupil moves from one frame of a still clip to the next, in which nothing
but the camera's noise changes, and so what the face detector makes of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from auformer.faces.cascade import cascades, choose_points, contradiction, find_boxes, find_points
from auformer.faces.regressor import locate
from auformer.scoring.tables import Table
from auformer.synthetic import LABS, Identity, Renderer, sample_aus, sample_scene
from experiments.harness import circumstances, new_parser, write_result
from experiments.pretraining.points_data import FIRST_TEST

METHODS = ("eyes", "regressor", "chosen")
COLUMNS = ["eyes", "network", "detect"]  # what the page calls them
THRESHOLDS = (0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # inter-pupil distances between network and eyes
SIZES = (160, 64)  # pixels of the `eyes` crop that is rendered; the face's box has about 0.9 of it
# Ranges in radians of what is asked on top of the lab's own pose: head turned to a side, or tilted (roll). [ours]
POSES = {"frontal": None, "turned": (0.25, 0.42), "tilted": (0.14, 0.30)}
SEED, FRAMES, SMALLEST = 0, 20, 40
# Portraits in the public domain that come with other packages, and their pupils, read off the images by eye. [ours]
PORTRAITS = {
    "scikit-image, astronaut (Eileen Collins)": ("astronaut", [(203.5, 100.7), (247.0, 103.2)]),
    "matplotlib, grace_hopper.jpg": ("grace_hopper.jpg", [(222.5, 189.0), (305.0, 186.5)]),
}
Rows = list[dict[str, Any]]


def scenes(lab: str, pose: str, size: int, faces: int) -> Iterator[tuple[Renderer, dict[str, Any]]]:
    """A renderer, and what it draws: baked face, muscles, scene and background of each test face."""
    renderer = Renderer(size)
    for i in tqdm(range(faces), mininterval=10):
        number = FIRST_TEST + 1000 * LABS.index(lab) + i
        rng = np.random.default_rng([881, SEED, number, list(POSES).index(pose)])
        scene, wall = sample_scene(rng, lab)
        if limits := POSES[pose]:
            yaw, pitch, roll = scene["pose"]
            more = float(rng.choice([-1, 1]) * rng.uniform(*limits))
            scene["pose"] = (more, pitch, roll) if pose == "turned" else (yaw, pitch, more)
        face, intensity = renderer.bake(Identity.sample(number)), sample_aus(rng, lab)[1]
        background = renderer.background(rng, **wall)
        yield renderer, {"face": face, "intensity": intensity, "scene": scene, "background": background}


def render(renderer: Renderer, drawn: dict[str, Any], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey image, and its true landmarks (5, 2)."""
    image = renderer.render(**drawn, seed=seed, points=True)
    return cv2.cvtColor(image.image, cv2.COLOR_RGB2GRAY), image.points


def answers(gray: np.ndarray) -> dict[str, Any] | None:
    """Landmarks (5, 2) by each method for the largest face; None if there is none."""
    boxes = find_boxes(gray, SMALLEST)
    if not boxes:
        return None
    box = max(boxes, key=lambda found: found[0][2])[0]
    eyes, seen = find_points(gray, box, cascades()[1:])
    chosen, source, *_ = choose_points(gray, box, cascades()[1:])
    return {"eyes": eyes, "regressor": locate(gray, box), "chosen": chosen, "seen": seen, "source": source, "box": box}


def errors(faces: int) -> Rows:
    """One row per face: what was asked, and errors of each method in IPD."""
    rows = []
    for lab, pose, size in settings():
        for i, (renderer, drawn) in enumerate(scenes(lab, pose, size, faces)):
            gray, true = render(renderer, drawn, i)
            found = answers(gray)
            row: dict[str, Any] = {"lab": lab, "pose": pose, "size": size, "found": found is not None}
            if found is not None:
                unit = np.hypot(*(true[1] - true[0]))
                away = {name: np.hypot(*(found[name] - true).T) / unit for name in METHODS}
                row |= {name: float(each[:2].mean()) for name, each in away.items()}
                row |= {f"{name}_below": float(each[2:].mean()) for name, each in away.items()}
                row |= {"seen": found["seen"], "source": found["source"]}
                row["apart"] = contradiction(found["regressor"], found["eyes"])
            rows.append(row)
    return rows


def jitter(clips: int) -> Rows:
    """One row per still clip: root mean square step of the pupils from frame to frame, in IPD, of each method."""
    rows = []
    for lab, size in ((lab, size) for lab in LABS for size in SIZES):
        for renderer, drawn in scenes(lab, "frontal", size, clips):
            tracks: dict[str, list[np.ndarray]] = {name: [] for name in (*METHODS, "box")}
            for frame in range(FRAMES):
                gray, true = render(renderer, drawn, 10_000 + frame)
                found = answers(gray)
                if found is not None:
                    x, y, w, h = found["box"]
                    unit = np.hypot(*(true[1] - true[0]))
                    for name in METHODS:
                        tracks[name].append(found[name][:2] / unit)
                    tracks["box"].append(np.array([(x, y), (x + w, y + h)]) / unit)
            if len(tracks["box"]) > 1:
                steps = {name: np.diff(np.array(track), axis=0) for name, track in tracks.items()}
                moved = {name: float(np.sqrt((each**2).sum(-1).mean())) for name, each in steps.items()}
                rows.append({"lab": lab, "size": size, **moved})
    return rows


def portraits() -> Rows:
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
        if (found := answers(gray)) is not None:
            true = np.array(pupils)
            away = {one: np.hypot(*(found[one][:2] - true).T).mean() for one in METHODS}
            unit = np.hypot(*(true[1] - true[0]))
            rows.append({"image": name} | {one: round(float(value / unit), 4) for one, value in away.items()})
    return rows


def settings() -> list[tuple[str, str, int]]:
    return [(lab, pose, size) for lab in LABS for pose in POSES for size in SIZES]


def summary(rows: Rows, clips: Rows) -> dict[str, Any]:
    """Medians and 95th percentiles by lab, pose and size, and over all; what was chosen and why."""
    table = []
    for lab, pose, size in [*settings(), ("all", "all", 0)]:
        asked = [r for r in rows if lab == "all" or (r["lab"], r["pose"], r["size"]) == (lab, pose, size)]
        found = [r for r in asked if r["found"]]
        spread = {f"{name}{end}": _spread([r[name + end] for r in found]) for end in ("", "_below") for name in METHODS}
        table.append({"lab": lab, "pose": pose, "size": size, "faces": len(asked), "found": len(found), **spread})
    found = [r for r in rows if r["found"]]
    contradicted = []
    for threshold in THRESHOLDS:
        some = [r for r in found if r["seen"] == "eyes" and r["apart"] > threshold]
        nearer = sum(r["eyes"] < r["regressor"] for r in some)
        contradicted.append({"threshold": threshold, "faces": len(some), "eyes_nearer": nearer})
    steps = []
    for lab, size in dict.fromkeys((lab, size) for lab, _, size in settings()):
        some = [r for r in clips if (r["lab"], r["size"]) == (lab, size)]
        spread = {name: _spread([r[name] for r in some]) for name in (*METHODS, "box")}
        steps.append({"lab": lab, "size": size, "clips": len(some), **spread})
    seen = {name: sum(r["seen"] == name for r in found) for name in ("eyes", "one_eye", "box")}
    source = {name: sum(r["source"] == name for r in found) for name in ("regressor", "eyes")}
    result = {"errors": table, "contradictions": contradicted, "jitter": steps}
    return {**result, "eyes_seen": seen, "points_source": source}


def _spread(values: list[float]) -> list[float] | None:
    """Median and 95th percentile."""
    return [round(float(np.percentile(values, q)), 4) for q in (50, 95)] if values else None


def _pair(values: list[float] | None, digits: int = 3) -> str:
    return "" if values is None else f"{values[0]:.{digits}f} / {values[1]:.{digits}f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]], text_columns: int = 1) -> str:
    return Table(header, [list(map(str, row)) for row in rows], text_columns=text_columns).markdown()


def page(result: dict[str, Any]) -> str:
    seen, source, rows = result["eyes_seen"], result["points_source"], result["errors"]
    where = [[r["lab"], r["pose"], r["size"] or ""] for r in rows]
    pupils = [
        [*w, r["faces"], r["found"], *(_pair(r[name]) for name in METHODS)] for w, r in zip(where, rows, strict=True)
    ]
    others = [[*w, *(_pair(r[f"{name}_below"]) for name in METHODS)] for w, r in zip(where, rows, strict=True)]
    steps = [
        [r["lab"], r["size"], r["clips"], *(_pair(r[name], 4) for name in ("box", *METHODS))] for r in result["jitter"]
    ]
    apart = [[r["threshold"], r["faces"], r["eyes_nearer"]] for r in result["contradictions"]]
    faces = [[r["image"], *(f"{r[name]:.3f}" for name in METHODS)] for r in result["portraits"]]
    training = f"Training: {result['training']}.\n" if result["training"] else ""
    return f"""# Five landmarks of a face

On rendered faces of subjects that no training has seen, which says little about photographs. Distances in inter-pupil
distances (IPD), median / 95th percentile, of the faces that the cascade finds. `eyes`: pupils by OpenCV's eye cascades,
the rest by proportion; `network`: `assets/points.onnx`; `detect`: what the default face detector returns. Size: side of
the image in pixels, of which the face's box has about 0.9. Turned: 14 to 24 degrees to a side; tilted: 8 to 17 degrees.

## Pupils

{_table(["lab", "pose", "size", "faces", "found", *COLUMNS], pupils, 2)}

## Nose tip and mouth corners

{_table(["lab", "pose", "size", *COLUMNS], others, 2)}

## Jitter

Still clips of {result["frames"]} frames: root mean square step of a pupil from frame to frame; of the box, of its
corners.

{_table(["lab", "size", "clips", "box", *COLUMNS], steps)}

## Where the two contradict each other

Faces where both eyes were found, and a pupil lies further than this from the network's; in how many of them the eyes
were nearer to the truth.

{_table(["IPD", "faces", "eyes nearer"], apart)}

Both eyes were found in {seen["eyes"]} faces, one in {seen["one_eye"]}, none in {seen["box"]}.
`detect` gave the network's landmarks to {source["regressor"]} and those of the eyes to {source["eyes"]}.

## Photographs

Portraits in the public domain, pupils read off by eye: mean error of the two. Too few to say more than that it works on
them.

{_table(["image", *COLUMNS], faces)}

Command: `{result["command"]}`; seed {result["seed"]}; {result["seconds"]} s on one core;
{result["machine"]}; commit {result["commit"]}.
{training}"""


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--faces", type=int, default=100, help="faces per lab, pose and size (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=10, help="still clips per lab and size (default: %(default)s)")
    parser.add_argument("--training", default="", help="how the network was trained, for the page")
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    start = time.process_time()
    result = {**summary(errors(args.faces), jitter(args.clips)), "portraits": portraits()}
    words = f"--faces {args.faces} --clips {args.clips}"
    result |= {"command": f"python -m experiments.pretraining.measure_points {words}", "seed": SEED, "frames": FRAMES}
    result |= {"training": args.training, "seconds": round(time.process_time() - start), **circumstances()}
    write_result(args.out, "points", result, page(result))


if __name__ == "__main__":
    main()
