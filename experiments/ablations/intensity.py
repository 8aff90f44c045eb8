"""Intensities on rendered faces of unseen subjects: AUFormer, a linear probe, and the probability mapped to levels.

    python -m experiments.ablations.intensity --folder runs/detector

Trained, for each seed, with the recipe and data of `experiments.pretraining.train_demo_detector` (all rendered AUs,
labs A and B together): `joint`, AUFormer for occurrence and intensity; `alone`, AUFormer for occurrence; `probe`, a
linear probe for both. What users do without an intensity head is the fourth way: the probability of `alone`, mapped to
levels by an isotonic regression per AU, fitted on the validation subjects. Beside the scores: what joint training costs
occurrence, and whether a rendered ramp of each AU, everything else fixed, is predicted as one.

Every finished run is a line of `intensity_runs.jsonl`, so nothing runs twice, and an interrupted one resumes;
`intensity.md` and `.json` are made from those lines alone, as soon as all runs of a seed are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from auformer.aus import AU_SETS
from auformer.data.manifest import read_manifest
from auformer.files import read_json
from auformer.models import AUNetwork, load_detector
from auformer.pool import run_tasks
from auformer.predict.manifest import predict_manifest
from auformer.scoring.intensity import fold_sums
from auformer.scoring.scores import score_predictions
from auformer.synthetic import Identity, Renderer
from experiments.ablations.intensity_page import KEY, LABS, pack_sums, page, read_lines, summarise, whole_seeds
from experiments.harness import RESULTS, circumstances, new_parser, write_result
from experiments.pretraining import train_demo_detector
from experiments.pretraining.train_demo_detector import EPOCHS, FORM, RATES, SPLITS

SEEDS = (0, 1, 2)
FIRST = 40_000  # number of the first identity of the ramps; none of the packaged weights has seen these
LEVELS = np.linspace(0, 5, 11)
SMALL = {"train": (4, 40), "val": (2, 16), "test": (2, 16)}  # subjects and images of each lab, to see it work
BATCH = 64


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One run, trained or resumed: the line without where it was made."""
    manifests = job["manifests"]
    adapter = train_demo_detector.train(
        Path(job["folder"]), manifests, what=job["what"], form=job["form"], seed=job["seed"], epochs=job["epochs"],
        progress=job["progress"],
    )  # fmt: skip
    network, summary = load_detector(adapter), read_json(adapter.with_name("summary.json")) or {}
    tables = {split: [predicted(network, path) for path in manifests[split]] for split in ("val", "test")}
    line = {name: job[name] for name in KEY}
    line |= {"seconds": summary["seconds"], "validation_f1": summary["score"]}
    line |= {"trainable_parameters": summary["trainable_parameters"], "aus": list(network.au_names)}
    line["occurrence"] = dict(zip(LABS, map(_occurrence, tables["test"]), strict=True))
    line["sums"] = {"isotonic": _packed(isotonic(tables["val"], tables["test"], network.au_names), network.au_names)}
    if network.intensity != "none":
        line["sums"]["head"] = _packed(tables["test"], network.au_names)
        line["ramp"] = ramp(network, job["identities"])
    return line


def predicted(network: AUNetwork, path: str) -> pd.DataFrame:
    """Predictions of a manifest beside its coded intensities, also of a network that gives none."""
    manifest = read_manifest(path)
    table = predict_manifest(network, manifest)
    for au in network.au_names:
        table[f"{au}_intensity_true"] = manifest[f"{au}_intensity"].to_numpy(float)
    return table


def _occurrence(table: pd.DataFrame) -> dict[str, Any]:
    """F1 at 0.5 and AUROC, mean and per AU."""
    scores = score_predictions(table)
    return {
        name: {"mean": scores["mean"][name], **{au: entry[name] for au, entry in scores["per_au"].items()}}
        for name in ("f1", "auroc")
    }


def isotonic(
    fitted_on: Sequence[pd.DataFrame], tables: Sequence[pd.DataFrame], au_names: Sequence[str]
) -> list[pd.DataFrame]:
    """Predictions whose intensities are their probabilities, mapped by a rising step function per AU.

    It is fitted to the coded intensities of the rows of `fitted_on`, all together.
    """
    rows, mapped = pd.concat(list(fitted_on), ignore_index=True), [table.copy() for table in tables]
    for au in au_names:
        curve = IsotonicRegression(y_min=0.0, y_max=5.0, out_of_bounds="clip")
        curve.fit(rows[f"{au}_prob"].to_numpy(float), rows[f"{au}_intensity_true"].to_numpy(float))
        for table in mapped:
            table[f"{au}_intensity_pred"] = curve.predict(table[f"{au}_prob"].to_numpy(float))
    return mapped


def ramp(network: AUNetwork, identities: int) -> dict[str, float]:
    """AU -> Spearman's correlation of rendered and predicted intensity, mean over unseen faces.

    Each AU is shown alone, at eleven intensities from 0 to 5, in the renderer's own light; a prediction that does not
    move counts as 0.
    """
    drawn = AU_SETS["synthetic"]
    renderer, found = Renderer(max(network.image_size)), {au: np.zeros(identities) for au in network.au_names}
    for number in range(identities):
        face = renderer.bake(Identity.sample(FIRST + number))
        for au, values in found.items():
            strengths = np.zeros((len(LEVELS), len(drawn)))
            strengths[:, drawn.index(au)] = LEVELS / 5
            crops = np.stack([renderer.render(face, strength, seed=number).image for strength in strengths])
            predicted = _intensities(network, crops)[:, network.au_names.index(au)]
            if np.ptp(predicted) > 0:
                values[number] = spearmanr(LEVELS, predicted).statistic
    return {au: round(float(values.mean()), 4) for au, values in found.items()}


def _intensities(network: AUNetwork, crops: np.ndarray) -> np.ndarray:
    """Intensities `(n, N)` of uint8 RGB crops `(n, S, S, 3)`."""
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return np.concatenate([network.outputs(part)["intensity"].double().numpy() for part in images.split(BATCH)])


def _packed(tables: Sequence[pd.DataFrame], au_names: Sequence[str]) -> dict[str, str]:
    """Lab -> sums of its subjects as text."""
    return {lab: pack_sums(fold_sums(table, au_names)[0][""]) for lab, table in zip(LABS, tables, strict=True)}


def run_jobs(jobs: Sequence[Mapping[str, Any]], path: Path, workers: int) -> None:
    """Do what has no line yet, on one thread each."""
    done = {tuple(line[name] for name in KEY) for line in read_lines(path)}
    todo = [dict(job) for job in jobs if tuple(job[name] for name in KEY) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    for job, line in run_tasks(run, todo, workers=workers, threads=1):
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps({**line, **circumstances("torch")}) + "\n")
        shown = {name: line[name] for name in (*KEY[:3], "seconds", "validation_f1")}
        print({**shown, "folder": job["folder"]}, flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=None)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("runs/detector"), help="of data and runs (default: %(default)s)")
    add("--what", nargs="+", choices=tuple(RATES), default=list(RATES), help="default: all three")
    add("--seed", nargs="+", type=int, default=list(SEEDS), metavar="N", help="default: 0 1 2")
    add("--form", choices=("regression", "ordinal"), default=FORM, help="of the intensities (default: %(default)s)")
    add("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    add("--identities", type=int, default=24, help="faces of the ramps (default: %(default)s)")
    add("--jobs", type=int, default=1, help="runs at a time, one thread each (default: %(default)s)")
    add("--small", action="store_true", help="few images, to see it work; results go to --folder, and mean nothing")
    args = parser.parse_args(argv)
    out = args.out or (args.folder if args.small else RESULTS)
    splits = {split: dict.fromkeys("AB", size) for split, size in SMALL.items()} if args.small else SPLITS
    manifests = train_demo_detector.render(args.folder, args.jobs, splits)
    images = sum(subjects * frames for subjects, frames in splits["train"].values())
    common = {"epochs": args.epochs, "images": images, "folder": str(args.folder), "manifests": manifests}
    common |= {"identities": args.identities, "progress": args.jobs == 1}
    forms = {what: "none" if what == "alone" else args.form for what in args.what}
    jobs = [{"what": what, "seed": seed, "form": form, **common} for seed in args.seed for what, form in forms.items()]
    path = out / "intensity_runs.jsonl"
    run_jobs(jobs, path, args.jobs)
    asked = {"epochs": args.epochs, "images": images}
    lines = [line for line in read_lines(path) if asked.items() <= line.items() and line["form"] in (args.form, "none")]
    seeds = whole_seeds(lines)
    if not seeds:
        print(f"no page yet: it needs {', '.join(RATES)} of one seed; {path} has {len(lines)} such runs")
        return
    summary = summarise([line for line in lines if line["seed"] in seeds])
    write_result(out, "intensity", summary, page(summary))
    print(page(summary))


if __name__ == "__main__":
    main()
