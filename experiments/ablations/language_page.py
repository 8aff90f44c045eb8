"""The page of the runs of `experiments.ablations.language`, from their lines alone.

    python -m experiments.ablations.language_page

Mean over the seeds that are there, and their standard deviation where there are two or more; a bar of the design is
shown beside what it was set for, reached or not. Runs that are missing are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from auformer.files import read_json, write_text
from auformer.report.table import Table
from experiments.ablations.language import EPOCHS, LINES, LM_EPOCHS, PAIR, networks, read_lines
from experiments.ablations.language_tables import (
    NAMES,
    Lines,
    answers_table,
    answers_words,
    heads_table,
    of,
    pair_table,
    runs_table,
    sentences_table,
    where_table,
)
from experiments.harness import RESULTS, new_parser

SPEED = RESULTS / "language_speed.json"
HEAD = """\
# Sentences and answers on rendered faces

VL-FAU (sentences learned beside detection) and AU-LLaVA (a small language model built here) beside AUFormer and a
linear probe, on the faces of `auformer demo`: 2,000 training images of 40 subjects of lab A, 600 of 10 others to choose
the epoch, 2,000 images of 20 unseen subjects of lab A and of 20 of lab B, which none was trained on. 12 action units
(AUs) of BP4D, frozen demo backbone. Per cent where nothing else is said; F1 at 0.5. Rendered faces say nothing about
photographs. The small LM is not what the AU-LLaVA paper measured; neither paper's tables, texts or code could be read
here."""
HIGHEST, LOWEST = float("inf"), float("-inf")
# what the design asked for: run, figure, where it is in a line (of lab A; `x - y`, `x / y`), lowest, highest, factor
BARS = (
    ("aullava", "F1, lab A", "occurrence.f1", 77, HIGHEST, 100),
    ("aullava", "AUROC, lab A", "occurrence.auroc", 91.5, HIGHEST, 100),
    ("aullava", "F1, lab B", "lab_b.occurrence.f1", 59, HIGHEST, 100),
    ("aullava", "AUROC, lab B", "lab_b.occurrence.auroc", 90.5, HIGHEST, 100),
    ("aullava", "level: r", "intensity.r", 0.75, HIGHEST, 1),
    ("aullava", "level: MAE", "intensity.mae", LOWEST, 0.40, 1),
    ("aullava", "F1 of P(level >= 1) from that of occurrence", "level.f1 - occurrence.f1", -2, 2, 100),
    ("aullava", "list in reversed order: decisions that differ", "differ.reversed", LOWEST, 3, 100),
    ("aullava", "list against one by one: decisions that differ", "differ.list", LOWEST, 3, 100),
    ("aullava", "level against occurrence: decisions that differ", "differ.level", LOWEST, 4, 100),
    ("aullava", "swapped images: AUROC", "swapped.auroc", 48, 52, 100),
    ("aullava", "swapped images: F1", "swapped.f1", LOWEST, 35, 100),
    # not to the bit, as the design says: matrix products of some processors add up the last rows in another order
    ("aullava", "blank images: largest difference between answers, 1e-6", "blank_apart", LOWEST, 1, 1e6),
    ("aullava", "ECE with temperature", "occurrence.ece", LOWEST, 0.04, 1),
    ("aullava", "batch against one by one: largest difference, 1e-6", "one_by_one", LOWEST, 10, 1e6),
    ("vlfau", "sentences: readable", "sentences.own.readable", 99, HIGHEST, 100),
    ("vlfau", "sentences: agreement", "sentences.own.agreement", 96, HIGHEST, 100),
    ("vlfau", "sentence F1 from the decision's", "sentences.own.f1 - sentences.decisions_f1", -2, 2, 100),
    ("vlfau", "sentence F1, own minus swapped", "sentences.own.f1 - sentences.swapped.f1", 40, HIGHEST, 100),
    ("vlfau", "attention: pointing", "where.own.pointing", 0.80, HIGHEST, 1),
    ("vlfau", "another AU's attention: pointing", "where.another AU's.pointing", LOWEST, 0.35, 1),
    ("vlfau", "deletion, share of the truth mask's", "where.own.deletion / where.the change itself.deletion", 0.8,
     HIGHEST, 1),
)  # fmt: skip

# F1 on lab A of one run from that of another of the same seed: run, the other, figure, lowest
RIVALS = (
    ("vlfau", "auformer", "F1 on lab A from AUFormer's of the same seed", -1.0),
    ("aullava", "probe", "F1 on lab A from the linear probe's of the same seed", 0.0),
)


def look_up(line: dict[str, Any], path: str) -> float:
    """A figure in a line, of lab A where the path names no lab; `x - y` and `x / y` are of two."""
    for sign in (" - ", " / "):
        if sign in path:
            one, other = (look_up(line, part) for part in path.split(sign))
            return one - other if sign == " - " else one / other
    found: Any = line if path.startswith("lab_") else line["lab_a"]
    for name in path.split("."):
        found = found[name]
    return float(found)


def bar_text(low: float, high: float) -> str:
    if high == HIGHEST:
        return f">= {low:g}"
    return f"<= {high:g}" if low == LOWEST else f"{low:g} to {high:g}"


def checks(lines: Lines) -> str:
    """What the design asked for, what was found, and whether that is reached; only of runs that are there."""
    rows = []
    for what, name, path, low, high, factor in BARS:
        mine = of(lines, what)
        if mine:
            value = factor * float(np.mean([look_up(line, path) for line in mine]))
            shown = f"{value:.3f}" if factor == 1 else f"{value:.1f}"
            rows.append([NAMES[what], name, bar_text(low, high), shown, "yes" if low <= value <= high else "no"])
    for what, other, name, low in RIVALS:
        path = "occurrence.f1"
        pairs = [(one, two) for one in of(lines, what) for two in of(lines, other) if one["seed"] == two["seed"]]
        if pairs:
            gain = float(np.mean([100 * (look_up(one, path) - look_up(two, path)) for one, two in pairs]))
            rows.append([NAMES[what], name, bar_text(low, HIGHEST), f"{gain:+.1f}", "yes" if gain >= low else "no"])
    return Table(["run", "figure", "bar", "found", "reached"], rows, text_columns=3).markdown()


def missing(lines: Lines, seeds: Sequence[int] = (0, 1, 2)) -> str:
    full = set()
    for line in lines:
        long = line["epochs"] >= (LM_EPOCHS if line["what"].startswith("aullava") else EPOCHS)
        if long and line.get("epochs_done") is None and line.get("every", 1) == 1:
            full.add((line["what"], line["seed"]))
    gone = {what: [str(seed) for seed in seeds if (what, seed) not in full] for what in networks()}
    named = "; ".join(f"{what} ({', '.join(rest)})" for what, rest in gone.items() if rest)
    if not named:
        return ""
    return (
        f"**Not complete.** Not run at full length ({EPOCHS} epochs, {LM_EPOCHS} of the language model), with their "
        f"seeds: {named}. The command at the end runs what is missing and resumes what was interrupted."
    )


def example_lines(lines: Lines) -> list[str]:
    """Five images with their own, swapped and true sentences, beside `language.png`."""
    shown = next((line["examples"] for line in reversed(lines) if line.get("examples")), None)
    if shown is None:
        return []
    rows = [[each["image"], each["au"], each["own"], each["swapped"], each["true"]] for each in shown]
    table = Table(["image", "AU", "own", "swapped", "a true sentence"], rows, text_columns=5).markdown()
    faces = [f"* {each['image']}: {each['face']} (true: {each['true_face']})" for each in shown]
    told = (
        "Five test images of lab A at equal distances, not chosen; each with where VL-FAU's branch of its strongest AU "
        "looked, what that AU changes in the image, the face whose sentence is the swapped one, and the sentences:"
    )
    picture = "![Rendered faces with the attention of a branch, the true change, and three sentences](language.png)"
    return ["## Examples", told, picture, table, "The sentences about these faces:", "\n".join(faces)]


def speed_lines(speed: dict[str, Any]) -> list[str]:
    """What `experiments.speed.bench_language` measured."""
    rows = [[name, f"{rate:.1f}"] for name, rate in speed["faces_per_cpu_second"].items()]
    fast = speed["times_as_fast"]
    load = "" if speed.get("load") is None else f", load {speed['load']:.1f} over the last minute"
    return [
        "## Speed",
        Table(["way", "faces a second of processor time"], rows).markdown(),
        ("" if speed["trained"] else "VL-FAU here is untrained, and its sentences as long as they may be. ")
        + f"Questions about 12 AUs in one packed pass are {fast['one pass a question']:.1f} times as fast as one pass "
        f"a question (bar: 4), and {fast['cached image']:.1f} times as fast as with the image in a cache; the largest "
        f"difference between their answers is {speed['largest_difference']:.0e}. `python -m "
        f"experiments.speed.bench_language` ({speed['threads']} threads, batches of {speed['batch']}, commit "
        f"{speed['commit']}, {speed['machine']}{load}).",
    ]


def page(lines: Lines, speed: dict[str, Any] | None = None) -> str:
    few = sorted({line["every"] for line in lines if line.get("every", 1) > 1})
    part = f"Lines on every {few[0]}th test image only are preliminary." if few else ""
    blocks = [HEAD, missing(lines), part, "## Decisions", runs_table(lines), heads_table(lines)]
    if of(lines, "vlfau") or of(lines, "aullava"):
        blocks += ["## What was asked for", checks(lines)]
    if any("list" in line["lab_a"] for line in lines):
        blocks += ["## Answers of the language model", answers_table(lines), answers_words(lines)]
    if any("pair" in line["lab_a"] for line in lines):
        blocks += [
            f"## {PAIR[0]} and {PAIR[1]}, never together in training", pair_table(lines),
            "Recall in the test images that show both, of networks trained without the rows that do.",
        ]  # fmt: skip
    if any("sentences" in line["lab_a"] for line in lines):
        blocks += [
            "## Sentences, lab A", sentences_table(lines, "lab_a"),
            "## Sentences, lab B", sentences_table(lines, "lab_b"),
            "`swapped`: the sentences of a face of another subject; `constant`: the most frequent fact of each AU in "
            "training; `blank`: what the network says about a grey image. BLEU and CIDEr hardly tell the first three "
            "apart; F1 does. Of every fourth of the test images.",
        ]  # fmt: skip
    if any("where" in line["lab_a"] for line in lines):
        blocks += [
            "## Where it looked, lab A", where_table(lines),
            "Truth is what an AU changes in the image (`auformer.synthetic.change`). Pointing: the highest cell is one "
            "with at least half of the largest change; energy: share of the map in such cells; deletion: fall of the "
            "AU's probability when the four highest of 49 cells get the image's mean colour. `fixed per AU` is the "
            "mean change in training and has not seen the image: pointing that does not exceed it says nothing about "
            "this image.",
        ]  # fmt: skip
    blocks += example_lines(lines)
    blocks += speed_lines(speed) if speed else []
    made = sorted({(line["commit"], line["machine"]) for line in lines})
    told = "; ".join(f"commit {commit}, {machine}" for commit, machine in made) or "no run yet"
    blocks.append(
        "Made from the lines of `language_runs.jsonl` by `python -m experiments.ablations.language` and then "
        f"`python -m experiments.ablations.language_page` ({told}; one thread a run)."
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def main(argv: list[str] | None = None) -> None:
    args = new_parser(__doc__).parse_args(argv)
    text = page(read_lines(LINES), read_json(SPEED))
    write_text(args.out / "language.md", text)
    print(text)


if __name__ == "__main__":
    main()
