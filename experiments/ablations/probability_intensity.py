"""A probability is not an intensity: the detector's probability of each AU against its true intensity on rendered faces.

    python experiments/probability_intensity.py --out experiments/results

Each AU is shown alone, at six intensities, on unseen rendered identities in the renderer's own light (lab A), cropped
exactly. Writes `probability_intensity.png` and the numbers behind it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from auformer.aus import AU_SETS
from auformer.files import write_text
from auformer.predict.predictor import AUPredictor
from auformer.report.style import save_png
from auformer.report.timeline import intensity_curves
from auformer.scoring.provenance import commit, machine
from auformer.synthetic import Identity, Renderer

FIRST = 40_000  # number of the first identity; none of the packaged weights has seen these
LEVELS = np.linspace(0, 1, 6)


def measure(predictor: AUPredictor, identities: int) -> dict[str, np.ndarray]:
    """AU -> probabilities (identities, levels) of that AU, shown alone."""
    drawn = AU_SETS["synthetic"]
    aus = [au for au in predictor.au_names if au in drawn]
    size = max(predictor.network.image_size)
    renderer, rows = Renderer(size), {au: np.zeros((identities, len(LEVELS))) for au in aus}
    for number in range(identities):
        face = renderer.bake(Identity.sample(FIRST + number))
        crops = []
        for au in aus:
            for level in LEVELS:
                strength = np.zeros(len(drawn))
                strength[drawn.index(au)] = level
                crops.append(renderer.render(face, strength, seed=number).image)
        probs = predictor.predict_proba(crops).reshape(len(aus), len(LEVELS), -1)
        for place, au in enumerate(aus):
            rows[au][number] = probs[place, :, predictor.au_names.index(au)]
    return rows


def main(args: list[str] | None = None) -> dict:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--identities", type=int, default=24, help="unseen faces")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figure and the numbers")
    options = parser.parse_args(args)
    predictor = AUPredictor.from_checkpoint(options.checkpoint, batch_size=32)
    rows = measure(predictor, options.identities)
    thresholds = dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True))
    title = f"{options.checkpoint}: probability is not intensity"
    save_png(intensity_curves(5 * LEVELS, rows, thresholds, title=title), options.out / "probability_intensity.png")
    result = {
        "command": f"python experiments/probability_intensity.py --checkpoint {options.checkpoint} --identities {options.identities}",
        "machine": machine(),
        "commit": commit(),
        "levels": (5 * LEVELS).tolist(),
        "mean_probability": {au: values.mean(0).round(4).tolist() for au, values in rows.items()},
        "thresholds": thresholds,
    }
    write_text(options.out / "probability_intensity.json", json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
