"""Measure an AU detector on a folder of photographs whose expressions are labelled, some of them read AU by AU.

    python -m experiments.ablations.photographs PHOTOS --checkpoint demo --name real

PHOTOS holds images, `labels.csv` (columns file, person, expression) and, where there are, `codes.csv` (file and a
column per AU: 1 seen, 0 absent, -1 cannot tell). The collection that `experiments/results/real.md` speaks of is in no
part of this project. Faces are found and cropped once and kept in `--cache`. Nothing here trains anything.

Two rulers: the mean AUROC over AUs with five positives or more of the readings, and, with more photographs and coarser,
the mean AUROC of 13 AUs that expressions are made of (EMFACS) against faces labelled neutral. Then the share of neutral
faces that each AU calls active, and `thresholds_for`, which chooses thresholds by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from auformer.data.images import IMAGES, read_image
from auformer.files import atomic_path, read_json
from auformer.models import load_detector
from auformer.models.adapter_file import save_adapter
from auformer.predict.predictor import SENSITIVE, AUPredictor
from auformer.scoring.tables import Table
from experiments.harness import circumstances, new_parser, write_result

#: AUs of each expression after EMFACS (Friesen & Ekman 1983), those that press photographs can show.
EXPRESSIONS = {"happiness": (6, 12, 25), "surprise": (1, 2, 5, 25, 26), "anger": (4, 7), "sadness": (1, 4, 15)}
FEWEST = 5  # positives of a reading for its AUROC to count
LET_THROUGH = 0.10  # highest share of neutral faces that a threshold lets through
SPEAKS = ("AU25", "AU26")  # people labelled neutral often speak: no threshold is chosen by them
FOLDS = 5  # of people, in which the share of neutral faces is cross-fitted


def crops(folder: Path, predictor: AUPredictor, cache: Path | None = None) -> tuple[list[str], np.ndarray]:
    """Names of the photographs with a face, and the largest face of each, `(n, H, W, 3)` uint8."""
    if cache is not None and cache.exists():
        with np.load(cache) as known:
            return known["names"].tolist(), known["crops"]
    names, found = [], []
    for path in tqdm(sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES), unit="photo"):
        image = read_image(path)
        faces = predictor.cropper.found(image, predictor.detector(image, file=path.name))
        if faces:
            names.append(path.name)
            found.append(faces[0].crop)
    if cache is not None:
        with atomic_path(cache) as temporary, open(temporary, "wb") as file:
            np.savez(file, names=np.array(names), crops=np.stack(found))
    return names, np.stack(found)


def read_labels(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """The photographs' `person` and `expression`, and their readings as `AU12_read`, in the order of `names`."""
    table = pd.read_csv(folder / "labels.csv", dtype={"file": str}).set_index("file").reindex(list(names))
    if (folder / "codes.csv").exists():
        readings = pd.read_csv(folder / "codes.csv", dtype={"file": str}).set_index("file").add_suffix("_read")
        table = table.join(readings)
    return table.reset_index()


def score(labels: pd.DataFrame, probs: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Both rulers, and what neutral faces and smiles are called.

    Args:
        labels: As `read_labels` gives them.
        probs: Probability of each AU, in their order.
        thresholds: From which an AU counts as active.
    """
    expression = labels["expression"].to_numpy()
    neutral = expression == "neutral"
    pairs = {}
    for name, numbers in EXPRESSIONS.items():
        shown = expression == name
        either = shown | neutral
        for au in (f"AU{number}" for number in numbers):
            pairs[f"{name} {au}"] = float(roc_auc_score(shown[either], probs[au][either]))
    read = {}
    for au in probs:
        codes = labels.get(f"{au}_read")
        if codes is not None and (codes == 1).sum() >= FEWEST:
            known = (codes >= 0).to_numpy()
            read[au] = {
                "auroc": float(roc_auc_score(codes[known] == 1, probs[au][known])),
                "n": int((codes == 1).sum()),
            }
    active = {au: values >= thresholds[au] for au, values in probs.items()}
    quiet = {au: float(values[neutral].mean()) for au, values in active.items()}
    return {
        "photographs": len(labels), "expressions": pairs, "expressions_mean": float(np.mean(list(pairs.values()))),
        "read": read, "read_mean": float(np.mean([entry["auroc"] for entry in read.values()])) if read else None,
        "neutral_active": quiet,
        "neutral_active_mean": float(np.mean([share for au, share in quiet.items() if au not in SPEAKS])),
        "smiles_AU12_active": float(active["AU12"][expression == "happiness"].mean()),
        "smiles_AU6_active": float(active["AU6"][expression == "happiness"].mean()),
    }  # fmt: skip


def thresholds_for(
    labels: pd.DataFrame, probs: Mapping[str, np.ndarray], floor: Mapping[str, float], rows: np.ndarray | None = None
) -> dict[str, float]:
    """Per AU the smallest threshold that at most `LET_THROUGH` of the neutral faces reach, never below its floor."""
    neutral = (labels["expression"] == "neutral").to_numpy() & (True if rows is None else rows)
    found = dict(floor)
    for au, values in probs.items():
        if au not in SPEAKS:
            found[au] = max(floor[au], smallest_threshold(values[neutral]))
    return found


def smallest_threshold(values: np.ndarray, share: float = LET_THROUGH) -> float:
    """The smallest number that at most a share of some values reach.

    >>> smallest_threshold(np.arange(10) / 10, 0.2) > 0.7
    True
    >>> (np.arange(10) / 10 >= smallest_threshold(np.arange(10) / 10, 0.2)).sum()
    np.int64(2)
    """
    ordered = np.sort(values)[::-1]
    first_kept_out = ordered[int(np.floor(share * len(ordered)))]
    return float(np.nextafter(first_kept_out, np.inf))


def cross_fitted(
    labels: pd.DataFrame, probs: Mapping[str, np.ndarray], floor: Mapping[str, float]
) -> tuple[float, float]:
    """Share of neutral faces called active (mean of AUs), of smiles by AU12; each by thresholds of other people."""
    fold = labels["person"].to_numpy() % FOLDS
    neutral = (labels["expression"] == "neutral").to_numpy()
    smiles = (labels["expression"] == "happiness").to_numpy()
    active = {au: np.zeros(len(labels), bool) for au in probs}
    for number in range(FOLDS):
        chosen = thresholds_for(labels, probs, floor, fold != number)
        for au, values in probs.items():
            active[au][fold == number] = values[fold == number] >= chosen[au]
    quiet = [active[au][neutral].mean() for au in probs if au not in SPEAKS]
    return float(np.mean(quiet)), float(active["AU12"][smiles].mean())


def measure(photographs: Path, checkpoint: str, cache: Path | None = None, *, thirds: bool = False) -> dict[str, Any]:
    """All figures of one AU detector, with `thirds` by size and pose of the face too."""
    predictor = AUPredictor.from_checkpoint(checkpoint)
    names, images = crops(photographs, predictor, cache)
    labels, values = read_labels(photographs, names), predictor.predict_proba(images)
    probs = dict(zip(predictor.au_names, values.T, strict=True))
    thresholds = dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True))
    result = score(labels, probs, thresholds)
    floor = (predictor.network.metadata.get("extra") or {}).get(SENSITIVE) or thresholds
    result["thirds"] = by_thirds(labels, probs, shapes(photographs, names, predictor)) if thirds else None
    result["neutral_active_cross_fitted"], result["smiles_AU12_cross_fitted"] = cross_fitted(labels, probs, floor)
    return {**result, "thresholds": thresholds}


def shapes(folder: Path, names: Sequence[str], predictor: AUPredictor) -> pd.DataFrame:
    """Of photographs `width`, that of the face box in pixels, and `turn`, see `turn_of`; one row each."""
    found = []
    for name in tqdm(names, unit="photo"):
        image = read_image(folder / name)
        face = predictor.cropper.found(image, predictor.detector(image, file=name))[0].face
        found.append({"width": face.box[2], "turn": turn_of(face.points)})
    return pd.DataFrame(found)


def turn_of(points: np.ndarray) -> float:
    """How far the tip of the nose lies beside the middle of the eyes `(5, 2)`, in distances between them.

    >>> turn_of(np.array([[0, 0], [10, 0], [7, 5], [2, 9], [8, 9]]))
    0.2
    """
    eyes = points[1] - points[0]
    return abs(float((points[2] - points[:2].mean(0)) @ eyes / (eyes @ eyes)))


def by_thirds(labels: pd.DataFrame, probs: Mapping[str, np.ndarray], shape: pd.DataFrame) -> list[dict[str, Any]]:
    """Both rulers, and what neutral faces are called, of each third of the photographs by each column of `shape`.

    AUs with five positive readings or more in every third count, so that the thirds can be compared.
    """
    found, quiet = [], dict.fromkeys(probs, np.inf)
    for what, values in shape.items():
        bounds = np.quantile(values, [0, 1 / 3, 2 / 3, 1])
        thirds = [
            (values >= low) & (values < high) for low, high in zip(bounds[:3], [*bounds[1:3], np.inf], strict=True)
        ]
        parts = [
            score(labels[rows].reset_index(drop=True), {au: one[rows] for au, one in probs.items()}, quiet)
            for rows in (third.to_numpy() for third in thirds)
        ]
        shared = [au for au in probs if all(au in part["read"] for part in parts)]
        for low, high, part in zip(bounds[:3], bounds[1:], parts, strict=True):
            read = [part["read"][au]["auroc"] for au in shared]
            found.append(
                {
                    "what": str(what), "from": float(low), "to": float(high), "photographs": part["photographs"],
                    "expressions_mean": part["expressions_mean"], "read_aus": shared,
                    "read_mean": float(np.mean(read)) if read else None,
                }
            )  # fmt: skip
    return found


def thirds_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A row per third."""
    names = {"width": "width of the face, pixels", "turn": "nose beside the middle of the eyes"}
    rows = [
        [
            names[one["what"]], f"{one['from']:.3g} to {one['to']:.3g}", str(one["photographs"]),
            f"{one['expressions_mean']:.3f}", "" if one["read_mean"] is None else f"{one['read_mean']:.3f}",
        ]
        for one in found
    ]  # fmt: skip
    return Table(["", "third", "photographs", "expressions, mean", "readings, mean"], rows).markdown()


def set_thresholds(photographs: Path, adapter: Path, cache: Path | None = None) -> dict[str, float]:
    """Write the thresholds that neutral faces allow into an adapter file; its own become the more sensitive ones.

    A second call begins with the same ones: those of rendered validation subjects are never lost.
    """
    network = load_detector(adapter)
    extra = dict(network.metadata.get("extra") or {})
    floor = extra.get(SENSITIVE) or dict(network.thresholds)
    predictor = AUPredictor(network)
    names, images = crops(photographs, predictor, cache)
    probs = dict(zip(predictor.au_names, predictor.predict_proba(images).T, strict=True))
    chosen = thresholds_for(read_labels(photographs, names), probs, floor)
    save_adapter(adapter, network, thresholds=chosen, extra={**extra, SENSITIVE: floor})
    return chosen


def page(results: Mapping[str, dict[str, Any]]) -> str:
    """One column per AU detector."""
    names = list(results)
    aus = list(results[names[0]]["read"])
    rows = [["readings, mean", *(f"{results[name]['read_mean']:.3f}" for name in names)]]
    rows += [[f"readings, {au}", *(f"{results[name]['read'][au]['auroc']:.2f}" for name in names)] for au in aus]
    rows += [["expressions, mean", *(f"{results[name]['expressions_mean']:.3f}" for name in names)]]
    pairs = results[names[0]]["expressions"]
    rows += [[pair, *(f"{results[name]['expressions'][pair]:.2f}" for name in names)] for pair in pairs]
    for key, told in (
        ("neutral_active_mean", "neutral faces called active, mean of AUs but 25 and 26"),
        ("neutral_active_cross_fitted", "the same, thresholds from other people"),
        ("smiles_AU12_active", "smiles called AU12"),
        ("smiles_AU12_cross_fitted", "the same, thresholds from other people"),
    ):  # fmt: skip
        rows.append([told, *(f"{results[name][key]:.2f}" for name in names)])
    return Table(["", *names], rows).markdown()


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("photographs", type=Path, help="folder with images, labels.csv and codes.csv")
    parser.add_argument("--checkpoint", nargs="+", default=["demo"], help="AU detectors (default: demo)")
    parser.add_argument("--cache", type=Path, help="file that keeps the crops")
    parser.add_argument("--name", default="", help="write NAME.json, beside what it holds; default: only print")
    parser.add_argument("--thirds", action="store_true", help="by size and pose of the face too")
    parser.add_argument(
        "--set-thresholds", type=Path, metavar="ADAPTER", help="choose its thresholds, write them into it"
    )
    args = parser.parse_args(argv)
    if args.set_thresholds is not None:
        for au, threshold in set_thresholds(args.photographs, args.set_thresholds, args.cache).items():
            print(f"{au:5} {threshold:.3f}")
        return
    results = {
        Path(name).stem: measure(args.photographs, name, args.cache, thirds=args.thirds) for name in args.checkpoint
    }
    print(page(results))
    for name, result in results.items():
        if result["thirds"]:
            print(f"\n{name}\n\n{thirds_table(result['thirds'])}")
    if args.name:
        kept = (read_json(args.out / f"{args.name}.json") or {}).get("detectors", {})
        told = {name: {**result, **circumstances()} for name, result in results.items()}
        write_result(args.out, args.name, {"detectors": {**kept, **told}})


if __name__ == "__main__":
    main()
