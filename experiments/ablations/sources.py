"""What stands at the end of the ablation page: what the methods cost, and where the numbers are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auformer.scoring.tables import Table
from experiments.ablations.lines import Line


def costs_table(costs: Mapping[str, Any]) -> Table:
    """Costs of the methods, as `experiments/method_costs.py` measured them.

    Args:
        costs: Content of `method_costs.json`.
    """
    about = costs["settings"]
    rows = [
        [name, f"{one['trained']:,}", f"{one['forward']:.2f}", f"{one['training']:.2f}", f"{one['kept_bytes'] / 2**20:.0f}"]
        for name, one in costs["methods"].items()
    ]
    notes = [
        f"Ratios of times measured in turn in one process, medians over {about['rounds']} rounds: a prediction to that of the frozen "
        "ViT, a training step to that of full fine-tuning (its own row is to itself, and shows how sure the others are). Kept: what "
        f"autograd keeps between forward and backward. {about['backbone']}, {about['image_size']} px, {about['aus']}, "
        f"batch {about['batch']}, {about['precision']}, {about['threads']} thread(s); {about['machine']}, torch {about['torch']}, "
        f"commit {about['commit']}, {about['date']}."
    ]
    notes += [f"{name}: {reason}" for name, reason in costs["left_out"].items()]
    return Table(["method", "trained", "prediction / ViT", "training / full", "kept MiB"], rows, notes=notes)


def sources_table(lines: Sequence[Line]) -> Table:
    """A row per entry of the suite: its runs, seeds, machines, commits and hours of training.

    Args:
        lines: Of finished runs.
    """
    rows = []
    for name in dict.fromkeys(str(line["name"]) for line in lines):
        some = [line for line in lines if line["name"] == name]
        own = [line for line in some if not line.get("trained_by")]  # the others took over a training that is counted already
        hours = sum(float(line["seconds"]) for line in own) / 3600
        seeds = ", ".join(map(str, sorted({line["seed"] for line in some})))
        places = [", ".join(dict.fromkeys(str(line[key]) for line in some)) for key in ("machine", "commit")]
        rows.append([name, *places, seeds, str(len(some)), str(len(own)), f"{hours:.1f}"])
    return Table(["entry", "machine", "commits", "seeds", "runs", "trainings", "process-hours"], rows, text_columns=4)
