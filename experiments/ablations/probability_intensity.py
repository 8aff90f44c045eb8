"""A probability is not an intensity: the AU detector's probability of each AU against its true intensity.

    python -m experiments.ablations.probability_intensity

Each AU is shown alone, at six intensities, on unseen rendered identities in the renderer's own light (lab A), cropped
exactly. Writes `probability_intensity.png` and the numbers behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from auformer.aus import AU_SETS
from auformer.predict.predictor import AUPredictor
from auformer.report.style import save_png
from auformer.report.timeline import intensity_curves
from auformer.synthetic import Identity, Renderer
from experiments.harness import circumstances, new_parser, write_result

FIRST = 40_000  # number of the first identity; none of the packaged weights has seen these
LEVELS = np.linspace(0, 1, 6)


def measure(predictor: AUPredictor, identities: int) -> dict[str, np.ndarray]:
    """AU -> probabilities (identities, levels) of that AU, shown alone."""
    drawn = AU_SETS["synthetic"]
    aus = [au for au in predictor.au_names if au in drawn]
    renderer = Renderer(max(predictor.network.image_size))
    rows = {au: np.zeros((identities, len(LEVELS))) for au in aus}
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


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--checkpoint", default="demo", help="AU detector (default: %(default)s)")
    parser.add_argument("--identities", type=int, default=24, help="unseen faces (default: %(default)s)")
    args = parser.parse_args(argv)
    predictor = AUPredictor.from_checkpoint(args.checkpoint, batch_size=32)
    rows = measure(predictor, args.identities)
    thresholds = dict(zip(predictor.au_names, predictor.thresholds.tolist(), strict=True))
    title = f"{args.checkpoint}: probability is not intensity"
    save_png(intensity_curves(5 * LEVELS, rows, thresholds, title=title), args.out / "probability_intensity.png")
    words = f"--checkpoint {args.checkpoint} --identities {args.identities}"
    result = {
        "command": f"python -m experiments.ablations.probability_intensity {words}",
        **circumstances("torch"),
        "levels": (5 * LEVELS).tolist(),
        "mean_probability": {au: values.mean(0).round(4).tolist() for au, values in rows.items()},
        "thresholds": thresholds,
    }
    write_result(args.out, "probability_intensity", result)
    return result


if __name__ == "__main__":
    main()
