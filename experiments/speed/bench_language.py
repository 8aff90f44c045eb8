"""Answers of a language model in one packed pass against one pass a question; faces described a second.

    python -m experiments.speed.bench_language

The small language model about 12 action units (AUs): all questions packed behind one image prefix; one pass a question
with the image read anew each time; and the image kept in a cache that every question goes on from. The answers are
compared. Then, in processor time, in which others on the machine do not count, the rate of `describe` of VL-FAU and
AU-LLaVA, with AUFormer's own rate of decisions beside it. Without `--vlfau`, an adapter file, VL-FAU is a fresh one,
whose sentences are as long as they may be, so its rate is a lower bound; all else takes as long whatever the weights.
`experiments.ablations.language_page` shows the result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from auformer.aus import AU_SETS
from auformer.demo.run import BACKBONE
from auformer.files import write_json
from auformer.models import AUFormer, load_detector
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.decoding import Reader, answer_probs
from auformer.models.language.vlfau import VLFAU
from experiments.harness import circumstances, medians, new_parser, ratio, spread, time_in_turn

AUS = AU_SETS["bp4d"]
BATCH = 32


def ways_to_answer(network: AULLaVA, tokens: torch.Tensor) -> dict[str, Any]:
    """P(yes) `(B, 12)` in three ways, from the ViT's tokens."""
    slots = [network.slot("occurrence", au) for au in AUS]

    def packed() -> torch.Tensor:
        return torch.stack(answer_probs(network.lm, network.prefix(tokens), slots), 1)[..., 1]

    def each() -> torch.Tensor:
        return torch.cat([answer_probs(network.lm, network.prefix(tokens), [slot])[0][:, 1:] for slot in slots], 1)

    def cached() -> torch.Tensor:
        reader, found = Reader(network.lm, network.prefix(tokens)), []
        for slot in slots:
            logits = reader.read(torch.tensor(slot.prompt).expand(len(tokens), -1))
            found.append(logits[:, list(slot.firsts)].softmax(-1)[:, 1])
        return torch.stack(found, 1)

    return {"packed": packed, "one pass a question": each, "cached image": cached}


def cpu_seconds(way: Callable[[], object], rounds: int) -> float:
    """Median seconds of processor time of a call, over rounds after one that does not count."""
    found = []
    for _ in range(rounds + 1):
        start = time.process_time()
        way()
        found.append(time.process_time() - start)
    return statistics.median(found[1:])


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--vlfau", type=Path, help="adapter file of a trained VL-FAU")
    args = parser.parse_args(argv)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    make = {"backbone": BACKBONE, "au_names": AUS, "pretrained": True}
    aullava = AULLaVA(**make, questions=["occurrence", "level", "describe"], intensity="level").eval()
    vlfau: Any = VLFAU(**make, expert_width=4).eval() if args.vlfau is None else load_detector(args.vlfau)
    auformer = AUFormer(**make, expert_width=4).eval()
    images = torch.rand(BATCH, 3, 112, 112)
    tokens = aullava.image_tokens(images)
    ways = ways_to_answer(aullava, tokens)
    answers = {name: way() for name, way in ways.items()}
    apart = max(float((each - answers["packed"]).abs().max()) for each in answers.values())
    seconds = time_in_turn(ways, args.rounds)
    rates = {
        "describe, VL-FAU": lambda: vlfau.describe(images), "describe, AU-LLaVA": lambda: aullava.describe(images),
        "decisions, AUFormer": lambda: auformer.predict_probs(images),
        "decisions, VL-FAU": lambda: vlfau.predict_probs(images),
        "decisions and levels, AU-LLaVA": lambda: aullava.outputs(images),
    }  # fmt: skip
    faces = {name: cpu_seconds(way, max(2, args.rounds // 2)) for name, way in rates.items()}
    found = {
        "threads": torch.get_num_threads(), "batch": BATCH, "trained": args.vlfau is not None,
        "largest_difference": apart,
        "seconds": medians(seconds),
        "times_as_fast": {name: round(ratio(seconds, name, "packed"), 2) for name in ways if name != "packed"},
        "spread": {name: round(spread(seconds, name, "packed"), 2) for name in ways if name != "packed"},
        "faces_per_cpu_second": {name: round(BATCH / value, 1) for name, value in faces.items()},
        **circumstances("torch", "transformers"),
    }  # fmt: skip
    write_json(args.out / "language_speed.json", found)
    print(found)


if __name__ == "__main__":
    main()
