"""Faces that are small, cut by the border, or covered: are they noticed, and are their probabilities less sure?

    python -m experiments.ablations.spoilt --facekit ict.npz --photographs PHOTOS

Draws faces of both renderers whole and spoilt: shrunk to a box below 40 pixels, cut by a border, behind a patch (drawn
faces), behind a hand or a microphone (scanned ones); predicts all with the packaged AU detector; and counts the words
of the column `quality` on whole and spoilt ones, and on photographs of a folder. Sureness is the mean distance of a
face's probabilities from 0.5, as the network gives them and as they are written. Writes `quality.json` and
`quality.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from auformer.data.images import read_image
from auformer.faces import Face, align, make_detector
from auformer.predict.predictor import AUPredictor
from auformer.predict.quality import COVERED, CUT, SMALL, WORDS, less_sure, share_outside
from auformer.scoring.tables import Table
from auformer.synthetic import Identity, Renderer, sample_aus, sample_scene
from experiments.harness import circumstances, new_parser, write_result
from experiments.pretraining.train_certainty import SIZE, cover

FIRST = {"drawn": 320_000, "scanned": 795_000}  # subjects of no data set, test or other training
FACTOR = 1.6  # side of an image in sides of the `eyes` crop
BOX = (22, 33)  # pixels of a small face's box
SHARE = (0.2, 0.4)  # of a cut face that lies outside
SEEN = 0.15  # share of the face from which on a cover counts
WANTED = {"small": SMALL, "cut": CUT, "patch": COVERED, "hand": COVERED, "microphone": COVERED}
BORDERS = ("reflect", "edge", "constant")


class Drawn(NamedTuple):
    """One face whole, and spoilt in some ways: image (H, W, 3) and landmarks (5, 2) by kind."""

    whole: tuple[np.ndarray, np.ndarray]
    spoilt: dict[str, tuple[np.ndarray, np.ndarray]]


def shrink(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A copy whose face has a box of `BOX` pixels; boxes are 2.5 inter-pupil distances wide."""
    scale = float(rng.uniform(*BOX)) / (2.5 * float(np.hypot(*(points[1] - points[0]))))
    side = round(scale * len(image))
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), points * (side / len(image))


def cut(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that shows the face without a fifth to two fifths of it, at a side or at the chin."""
    wanted, side = float(rng.uniform(*SHARE)), int(rng.integers(3))
    for off in range(1, len(image)):
        piece = (image[:, off:], image[:, :-off], image[:-off])[side]
        moved = points - (off if side == 0 else 0, 0)
        if share_outside(Face((0, 0, 0, 0), 1.0, moved, ""), piece.shape) >= wanted:
            return np.ascontiguousarray(piece), moved
    raise AssertionError("no piece of the image cuts the face")


def hidden(image: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    """Share of a face that differs between two images."""
    unit, face = float(np.hypot(*(points[1] - points[0]))), np.zeros(image.shape[:2], np.uint8)
    middle = points.mean(0)
    cv2.ellipse(face, (int(middle[0]), int(middle[1])), (int(unit), int(1.3 * unit)), 0, 0, 360, 255, -1)
    return float((cv2.absdiff(image, other).max(-1)[face > 0] > 12).mean())


def drawn(subjects: int) -> Iterator[Drawn]:
    """Faces of the first renderer."""
    renderer = Renderer(SIZE)
    for number in range(FIRST["drawn"], FIRST["drawn"] + subjects):
        rng = np.random.default_rng([771, number])
        lab = "AB"[number % 2]
        scene, wall = sample_scene(rng, lab)
        scene["jitter"] = (*rng.normal(0, 0.05, 2), FACTOR)
        one = renderer.render(
            renderer.bake(Identity.sample(number)), sample_aus(rng, lab)[1], scene=scene,
            background=renderer.background(rng, **wall), seed=number, points=True,
        )  # fmt: skip
        image, points = one.image, np.asarray(one.points)
        spoilt = {"small": shrink(image, points, rng), "cut": cut(image, points, rng)}
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        covered, share = cover(gray, points, rng)
        if share > SEEN:
            patched = image.copy()
            patched[covered != gray] = covered[covered != gray][:, None]
            spoilt["patch"] = patched, points
        yield Drawn((image, points), spoilt)


def scanned(subjects: int, facekit: Path) -> Iterator[Drawn]:
    """Faces of the second renderer."""
    from auformer.synthetic.scanned import Person, ScannedRenderer, read_facekit, sample_expression
    from auformer.synthetic.scanned import sample_scene as sample_photograph

    renderer = ScannedRenderer(read_facekit(facekit), SIZE)
    for number in range(FIRST["scanned"], FIRST["scanned"] + subjects):
        rng = np.random.default_rng([772, number])
        face, kind = renderer.bake(Person.sample(number)), ("hand", "microphone")[number % 2]
        scene, wall = sample_photograph(rng, pose_scale=0.7)
        scene["jitter"] = (*rng.normal(0, 0.05, 2), FACTOR)
        scene["camera"] |= {"jpeg": 0}
        background, expression = renderer.background(rng, **wall), sample_expression(rng, "A")[0]
        worn = {**scene["worn"], "hand": 0.0, "microphone": 0.0}
        both = [
            renderer.render(
                face, expression, scene={**scene, "worn": wears}, background=background, seed=number, points=True
            )
            for wears in (worn, {**worn, kind: 1.0})
        ]
        image, points = both[0].image, np.asarray(both[0].points)
        spoilt = {"small": shrink(image, points, rng), "cut": cut(image, points, rng)}
        if hidden(image, both[1].image, points) > SEEN:
            spoilt[kind] = both[1].image, points
        yield Drawn((image, points), spoilt)


def look(predictor: AUPredictor, image: np.ndarray, points: np.ndarray) -> dict[str, Any] | None:
    """What is predicted of the face at these landmarks; None where it is not found."""
    unit = float(np.hypot(*(points[1] - points[0])))
    for face in predictor.detector(image):
        if np.hypot(*(face.points[:2] - points[:2]).T).mean() > 0.5 * unit:
            continue
        found = predictor.cropper.find(image, face, 0)
        crops = [found.crop]
        if CUT in found.quality:  # how else its border could be filled
            crops += [align(image, face.points, predictor.recipe, len(found.crop), border=one)[0] for one in BORDERS]
        probs = predictor.outputs(crops)["probs"]
        written = less_sure(probs[0], predictor.thresholds, found.quality)
        sure = np.abs(probs - 0.5).mean(1)
        return {
            "words": found.quality, "sure": float(sure[0]), "written": float(np.abs(written - 0.5).mean()),
            "flips": int((predictor.is_active(written) != predictor.is_active(probs[0])).sum()),
            "borders": dict(zip(BORDERS, sure[1:].tolist(), strict=False)),
        }  # fmt: skip
    return None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the spoilt faces of each kind and the whole ones: how many are found, their words, their sureness."""
    table: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        found = [row for row in some if row["look"] is not None]
        pairs = [row for row in found if row["whole"] is not None]

        def mean(of: list[Any]) -> float | None:
            return round(float(np.mean(of)), 4) if of else None

        table[kind] = {
            "faces": len(some), "found": len(found),
            "words": {word: mean([word in row["look"]["words"] for row in found]) for word in WORDS},
            "sure_whole": mean([row["whole"]["sure"] for row in pairs]),
            "sure": mean([row["look"]["sure"] for row in pairs]),
            "written": mean([row["look"]["written"] for row in pairs]),
            "flips": sum(row["look"]["flips"] for row in found),
            "borders": {one: mean([row["look"]["borders"][one] for row in pairs if row["look"]["borders"]])
                        for one in BORDERS},
        }  # fmt: skip
    return table


def measure(predictor: AUPredictor, faces: Iterator[Drawn]) -> dict[str, Any]:
    """`summary` of rendered faces."""
    rows: list[dict[str, Any]] = []
    for one in faces:
        whole = look(predictor, *one.whole)
        rows.append({"kind": "whole", "look": whole, "whole": whole})
        rows += [
            {"kind": kind, "look": look(predictor, *spoilt), "whole": whole} for kind, spoilt in one.spoilt.items()
        ]
    return summary(rows)


def photographs(predictor: AUPredictor, folder: Path, step: int) -> dict[str, Any]:
    """Words on the largest face of every `step`-th photograph of a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[::step]
    words, faces = dict.fromkeys(WORDS, 0), 0
    for path in files:
        image = read_image(path)
        found = predictor.cropper.found(image, predictor.detector(image))[:1]
        faces += len(found)
        for word in (word for one in found for word in one.quality):
            words[word] += 1
    return {"photographs": len(files), "faces": faces, "words": words}


def page(result: dict[str, Any]) -> str:
    """The page of a result."""
    rows = [
        [name, kind, str(one["faces"]), str(one["found"]),
         *(f"{100 * (one['words'][word] or 0):.0f}" for word in WORDS),
         *("" if one[key] is None else f"{one[key]:.3f}" for key in ("sure_whole", "sure", "written")),
         str(one["flips"])]
        for name in ("drawn", "scanned") for kind, one in result[name].items()
    ]  # fmt: skip
    columns = ["faces", "spoilt by", "number", "found", *(f"{word}, %" for word in WORDS), "sureness whole",
               "spoilt", "as written", "decisions changed"]  # fmt: skip
    borders = [
        [name, *("" if value is None else f"{value:.3f}" for value in result[name]["cut"]["borders"].values())]
        for name in ("drawn", "scanned")
    ]
    photos = result["photographs"]
    shares = ", ".join(
        f"{100 * number / photos['faces']:.1f} % {word}" for word, number in photos["words"].items() if photos["faces"]
    )
    return f"""# Faces that are small, cut or covered: the column `quality`

Rendered faces of unseen subjects, whole and spoilt; `small` a box of {BOX[0]} to {BOX[1]} pixels, `cut` with 20 to
40 % of the face beyond the border, `patch`, `hand` and `microphone` over more than {100 * SEEN:.0f} % of it. Found: by
the face detector, with `--min-face 20`. Sureness: mean distance of all probabilities from 0.5, of the same face whole,
spoilt as the network gives it, and spoilt as `predict` writes it.

{Table(columns, rows).markdown()}

Most faces of which much is covered are not found at all (a row `no_face`); of those that are, `covered` notices some.
Without it the network is less sure of them by itself, since they were covered in its training now and then.

The crop of a cut face is filled with the image's outermost pixels, so that no mirrored mouth appears; sureness by how
it is filled (no other crop changes):

{Table(["faces", *BORDERS], borders).markdown()}

Photographs of people who look at the camera, the largest face of each, nearly none of them spoilt: of
{photos["faces"]:,} faces {shares or "none"}.

Command: `{result["command"]}`; {result["machine"]}; commit {result["commit"]}.
"""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--facekit", type=Path, required=True, help="ICT-FaceKit, for scanned faces")
    add("--photographs", type=Path, required=True, help="folder of photographs, of which false words are counted")
    add("--subjects", type=int, default=24, help="rendered faces of each renderer (default: %(default)s)")
    add("--step", type=int, default=7, help="every so many photographs (default: %(default)s)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    predictor = AUPredictor.from_checkpoint("demo", detector=make_detector("cascade", min_size=20))
    usual = AUPredictor.from_checkpoint("demo")
    result = {
        "command": "python -m experiments.ablations.spoilt --facekit ict.npz --photographs PHOTOS",
        "subjects": args.subjects,
        "drawn": measure(predictor, drawn(args.subjects)),
        "scanned": measure(predictor, scanned(args.subjects, args.facekit)),
        "photographs": photographs(usual, args.photographs, args.step),
        **circumstances(),
    }
    write_result(args.out, "quality", result, page(result))
    print(page(result))
    return result


if __name__ == "__main__":
    main()
