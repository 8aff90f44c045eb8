"""Tables of `experiments.ablations.language_page`: decisions, answers, sentences, and where a network looked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from auformer.report.table import Table
from experiments.ablations.language import PAIR, networks

Lines = list[dict[str, Any]]
NAMES = {
    "aullava": "AU-LLaVA, small LM", "vlfau": "VL-FAU on experts", "auformer": "AUFormer", "probe": "linear probe",
    "vlfau_unguided": "VL-FAU, attention not guided", "vlfau_silent": "VL-FAU without sentences",
    "plain_vlfau": "VL-FAU on the plain ViT", "aullava_unpaired": "AU-LLaVA, pair left out",
    "probe_unpaired": "linear probe, pair left out",
}  # fmt: skip
CONDITIONS = ("own", "swapped", "constant", "blank")
HEADS = {"logits": "main head", "expert_logits": "expert heads", "branch_logits": "branches"}
ANSWERS = {"occurrence": "each AU, yes or no", "list": "all in a list", "level": "level of 1 or more",
           "swapped": "each AU, of a face of another subject"}  # fmt: skip


def of(lines: Lines, what: str) -> Lines:
    return [line for line in lines if line["what"] == what]


def cell(lines: Lines, get: Callable[[dict[str, Any]], float], digits: int = 1, factor: float = 100.0) -> str:
    """Mean over lines, with the standard deviation where there are several; empty without lines."""
    values = [factor * get(line) for line in lines]
    if not values or any(value is None or np.isnan(value) for value in values):
        return ""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def spent(line: dict[str, Any]) -> str:
    """Epochs of a run, and how many of them were done before it was interrupted."""
    done = line.get("epochs_done")
    return str(line["epochs"]) if done is None else f"{done} of {line['epochs']}, interrupted"


def runs_table(lines: Lines) -> str:
    rows = []
    for what in networks():
        mine = of(lines, what)
        if not mine:
            continue
        decided = [
            cell(mine, lambda line, lab=lab, key=key: line[lab]["occurrence"][key])
            for lab in ("lab_a", "lab_b") for key in ("f1", "auroc")
        ]  # fmt: skip
        epochs = ", ".join(sorted({spent(line) for line in mine}))
        seconds = cell(mine, lambda line: math.nan if line["seconds"] is None else line["seconds"] / 60, 0, 1.0)
        rows.append([NAMES[what], f"{mine[0]['trainable_parameters']:,}", str(len(mine)), epochs, *decided, seconds])
    header = ["run", "trained", "seeds", "epochs", "A: F1", "A: AUROC", "B: F1", "B: AUROC", "minutes"]
    return Table(header, rows).markdown()


def sentences_table(lines: Lines, lab: str) -> str:
    shown = (("readable", 100, 1), ("agreement", 100, 1), ("truth", 100, 1), ("f1", 100, 1), ("degree", 100, 1),
             ("degree_near", 100, 1), ("kappa", 1, 2), ("bleu4", 1, 1), ("cider", 1, 2))  # fmt: skip
    rows = []
    for what in networks():
        mine = [line for line in of(lines, what) if "sentences" in line[lab]]
        for name in CONDITIONS if mine else ():
            cells = [
                cell(mine, lambda line, name=name, key=key: line[lab]["sentences"][name][key], digits, factor)
                for key, factor, digits in shown
            ]
            rows.append([NAMES[what], name, *cells])
    header = [
        "run",
        "sentences",
        "readable",
        "agreement",
        "truth",
        "F1",
        "degree",
        "degree ±1",
        "kappa",
        "BLEU-4",
        "CIDEr-D",
    ]
    return Table(header, rows, text_columns=2).markdown()


def where_table(lines: Lines) -> str:
    rows = []
    for what in networks():
        mine = [line for line in of(lines, what) if "where" in line["lab_a"]]
        for name in [name for name in mine[0]["lab_a"]["where"] if name != "pairs"] if mine else ():
            cells = [
                cell(mine, lambda line, name=name, key=key: line["lab_a"]["where"][name][key], 3, 1.0)
                for key in ("pointing", "energy", "deletion")
            ]
            rows.append([NAMES[what], name, *cells])
    return Table(["run", "map", "pointing", "energy", "deletion"], rows, text_columns=2).markdown()


def heads_table(lines: Lines) -> str:
    """F1 and AUROC of each head alone, of runs with several."""
    rows = []
    for what in networks():
        mine = [line for line in of(lines, what) if len(line["lab_a"].get("heads", ())) > 1]
        for head in mine[0]["lab_a"]["heads"] if mine else ():
            cells = [
                cell(mine, lambda line, lab=lab, key=key, head=head: line[lab]["heads"][head][key])
                for lab in ("lab_a", "lab_b") for key in ("f1", "auroc")
            ]  # fmt: skip
            rows.append([NAMES[what], HEADS[head], *cells])
    header = ["run", "head alone", "A: F1", "A: AUROC", "B: F1", "B: AUROC"]
    return Table(header, rows, text_columns=2).markdown() if rows else ""


def answers_table(lines: Lines) -> str:
    """What AU-LLaVA answers to each kind of question, by lab, and how well its levels agree with the coded ones."""
    rows = []
    for what in networks():
        mine = [line for line in of(lines, what) if "list" in line["lab_a"]]
        for kind, name in ANSWERS.items() if mine else ():
            cells = [
                cell(mine, lambda line, lab=lab, key=key, kind=kind: line[lab][kind][key], digits, factor)
                for lab in ("lab_a", "lab_b")
                for key, digits, factor in (("f1", 1, 100.0), ("auroc", 1, 100.0), ("ece", 3, 1.0))
            ]
            rows.append([NAMES[what], name, *cells])
    header = ["run", "question", "A: F1", "A: AUROC", "A: ECE", "B: F1", "B: AUROC", "B: ECE"]
    return Table(header, rows, text_columns=2).markdown() if rows else ""


def answers_words(lines: Lines) -> str:
    """What else is known of AU-LLaVA's answers on lab A."""
    mine = of(lines, "aullava")
    if not mine:
        return ""
    inside: Any = [line["lab_a"] for line in mine]
    return (
        f"Lab A: ECE {cell(inside, lambda lab: lab['ece_raw'], 3, 1.0)} before the temperature of "
        f"{cell(inside, lambda lab: lab['temperature'], 2, 1.0)}; levels: r "
        f"{cell(inside, lambda lab: lab['intensity']['r'], 2, 1.0)}, MAE "
        f"{cell(inside, lambda lab: lab['intensity']['mae'], 2, 1.0)} of 5 (the median level of each AU: "
        f"{cell(inside, lambda lab: lab['intensity']['mae_constant'], 2, 1.0)}), ICC(3,1) "
        f"{cell(inside, lambda lab: lab['intensity']['icc'], 2, 1.0)}; of lists that are written freely, "
        f"{cell(inside, lambda lab: lab['free_list_readable'])} % have the fixed form, of constrained ones all."
    )


def pair_table(lines: Lines) -> str:
    """Recall of two AUs that no training row showed together, in test images that show both."""
    rows = []
    for what in networks():
        mine = [line for line in of(lines, what) if "pair" in line["lab_a"]]
        if mine:
            cells = [
                cell(mine, lambda line, lab=lab, key=key: line[lab]["pair"][key])
                for lab in ("lab_a", "lab_b") for key in ("both", *PAIR)
            ]  # fmt: skip
            rows.append([NAMES[what], *cells])
    header = ["run", *(f"{lab}: {key}" for lab in "AB" for key in ("both found", *PAIR))]
    return Table(header, rows).markdown() if rows else ""
