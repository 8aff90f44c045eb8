"""Score sentences against labels, with controls: a sentence that does not depend on its image must score worse.

  auformer describe runs/vlfau lab_b/manifest.csv --all --out runs/b.descriptions.csv
  auformer score-text runs/b.descriptions.csv lab_b/manifest.csv --train lab_a/manifest.csv --ngrams

`own`: each face's own sentences; `swapped`: those of a face of another subject; `constant`: the most frequent fact of
each action unit; `blank`: what the network says about a grey image. F1 is of what the sentences say.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer score-text`."""
    add = parser.add_argument
    add("descriptions", type=Path, metavar="FILE", help="descriptions file that `auformer describe --all` wrote")
    add("manifest", type=Path, metavar="MANIFEST", help="manifest with the labels of the same faces")
    frequent = "manifest whose most frequent facts are the constant sentences (default: MANIFEST)"
    add("--train", type=Path, metavar="MANIFEST", help=frequent)
    add("--ngrams", action="store_true", help="BLEU-4 and CIDEr-D too (needs the extra `language`)")


def run(args: argparse.Namespace) -> int:
    """Print a row of scores per condition; raises what `auformer.predict.text_scores.score_texts` does."""
    import math

    from auformer.predict.text_scores import score_texts
    from auformer.scoring.tables import Table

    found = score_texts(args.descriptions, args.manifest, train=args.train, ngrams=args.ngrams)
    per_cent = {"readable": "readable", "agreement": "agreement", "truth": "truth", "f1": "F1", "degree": "degree",
                "degree_near": "degree +-1"}  # fmt: skip
    if "side" in found.rows["own"]:
        per_cent["side"] = "side"
    plain = {"kappa": ("kappa", 2), **({"bleu4": ("BLEU-4", 1), "cider": ("CIDEr-D", 2)} if args.ngrams else {})}

    def cells(scores: dict[str, float]) -> list[str]:
        shown = [(100 * scores.get(name, math.nan), 1) for name in per_cent]
        shown += [(scores[name], plain[name][1]) for name in plain]
        return ["-" if math.isnan(value) else f"{value:.{digits}f}" for value, digits in shown]

    header = ["sentences", *per_cent.values(), *(name for name, _ in plain.values())]
    print(Table(header, [[name, *cells(scores)] for name, scores in found.rows.items()]).text())
    print(f"\n{found.faces:,} faces, {len(found.au_names)} action units. Per cent but for kappa, BLEU and CIDEr.")
    for line in found.said:
        print(line)
    return 0
