"""For whom the packaged AU detector works: rendered faces by age, sex, skin, glasses, beard, pose, light and occlusion.

    python -m experiments.ablations.groups --facekit ict.npz

Renders unseen subjects of the second renderer, where all of these are known, and scores each group: mean AUROC over
AUs, mean F1 at the header's thresholds, and mean ICC(3,1) of the intensities.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.data.manifest import read_manifest
from auformer.models import load_detector
from auformer.predict.manifest import predict_manifest
from auformer.scoring.intensity import score_intensity
from auformer.scoring.scores import score_predictions
from auformer.scoring.tables import Table
from auformer.synthetic.scanned import Person
from auformer.synthetic.scanned.plan import person_number
from auformer.synthetic.writing import render_dataset
from experiments.harness import circumstances, new_parser, write_result

FIRST, SUBJECTS, FRAMES = 30_000, 80, 30  # subjects that nothing is trained on
FEWEST = 100  # rows of a group that is shown
DEGREES = 180 / np.pi


def groups(manifest: pd.DataFrame, truth: pd.DataFrame, lab: str) -> dict[str, pd.Series]:
    """What is known about each row, as names of groups, in the manifest's order."""
    person = {name: Person.sample(person_number(lab, int(name[2:]))) for name in manifest["subject"].unique()}
    traits = {name: {**one.identity.traits, **one.traits} for name, one in person.items()}
    beard = manifest["subject"].map(lambda name: "beard" if traits[name]["beard"] > 0.3 else "none")
    worn = (manifest["group_glasses"] == "glasses") & (truth["worn_glasses"] > 0.5)
    turned = np.hypot(truth["yaw"], truth["pitch"]) * DEGREES
    above = truth["light_dir_1"] / np.linalg.norm(truth[[f"light_dir_{axis}" for axis in range(3)]], axis=1)
    dark = truth["light_amb"] + truth["light_key"] < 0.75
    hidden = np.where(truth["worn_hand"] > 0, "hand", np.where(truth["worn_microphone"] > 0, "microphone", "nothing"))
    return {
        "age": manifest["group_age"], "sex": manifest["group_sex"], "skin": manifest["group_skin"],
        "glasses": worn.map({True: "glasses", False: "none"}), "beard": beard,
        "head turned by": pd.cut(turned, [-1, 10, 20, 90], labels=["under 10°", "10 to 20°", "over 20°"]).astype(str),
        "light": pd.Series(np.where(dark, "dim", np.where(above < -0.75, "from above", "other"))),
        "in front": pd.Series(hidden),
    }  # fmt: skip


def measure(checkpoint: str, folder: Path, facekit: Path, workers: int = 1) -> list[dict[str, Any]]:
    """Scores of all rows and of every group that has enough of them."""
    network, lab, rows = load_detector(checkpoint), "A", []
    path = render_dataset(
        folder / "groups", lab=lab, subjects=SUBJECTS, frames=FRAMES, au_names="all", first_subject=FIRST,
        geometry="scanned", facekit=facekit, workers=workers, progress=True,
    )  # fmt: skip
    manifest, truth = read_manifest(path), pd.read_parquet(path.with_name("truth.parquet"))
    table = predict_manifest(network, manifest, progress=True)
    assert (table["subject"].to_numpy() == manifest["subject"].to_numpy()).all()
    known = groups(manifest.reset_index(drop=True), truth, lab)
    everything = pd.Series("all", index=range(len(table)))
    for what, values in {"all": everything, **known}.items():
        for name in sorted(values.unique()):
            chosen = table[(values == name).to_numpy()].copy()
            if len(chosen) < FEWEST:
                continue
            auroc = score_predictions(chosen)["mean"]["auroc"]
            icc = score_intensity(chosen)["mean"]["icc"]
            for au in network.au_names:  # the score at the header's thresholds
                chosen[f"{au}_prob"] = (chosen[f"{au}_prob"] >= network.thresholds[au]).astype(float)
            rows.append({
                "what": what, "group": name, "rows": len(chosen), "subjects": int(chosen["subject"].nunique()),
                "auroc": auroc, "f1": score_predictions(chosen)["mean"]["f1"], "icc": icc,
            })  # fmt: skip
    return rows


def page(rows: list[dict[str, Any]]) -> str:
    columns = ["", "group", "images", "subjects", "AUROC", "F1", "ICC"]
    cells = [
        [row["what"], row["group"], str(row["rows"]), str(row["subjects"])]
        + [f"{row[key]:.3f}" for key in ("auroc", "f1", "icc")]
        for row in rows
    ]
    return Table(columns, cells).markdown()


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--facekit", type=Path, required=True, help="ICT-FaceKit")
    parser.add_argument("--folder", type=Path, default=Path("runs/groups"), help="of the images (default: %(default)s)")
    parser.add_argument("--checkpoint", default="demo", help="default: %(default)s")
    args = parser.parse_args(argv)
    rows = measure(args.checkpoint, args.folder, args.facekit)
    print(page(rows))
    write_result(args.out, "groups", {**circumstances(), "checkpoint": args.checkpoint, "groups": rows})


if __name__ == "__main__":
    main()
