"""What `bench_loader` measured as a page: tables, and whether the loader keeps up."""

from __future__ import annotations

import math
from typing import Any


def cores_needed(stages_ms: float, training: float) -> float:
    """How many cores the loader keeps busy while training takes so many pictures per second.

    >>> cores_needed(2.0, 100.0)
    0.2
    """
    return stages_ms * training / 1000


def workers_needed(loader: dict[str, float], training: float) -> int | None:
    """The smallest number of workers that was measured and keeps up with training; None where none did.

    >>> workers_needed({"0": 90.0, "1": 80.0, "2": 160.0}, 100.0)
    2
    """
    enough = [int(workers) for workers, rate in loader.items() if rate >= training]
    return min(enough, default=None)


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    how = result["settings"]
    lines = [
        "# Does the loader keep up?",
        "",
        f"`python -m experiments.speed.bench_loader`: {how['images']} rendered JPEG pictures of each size, training augmentation, "
        f"{how['threads']} threads for the network, torch {how['torch']}, {how['machine']}; commit {how['commit']}, {how['date']}. "
        f"Load of the machine before the start: {how['load']}; other programs lower the rates, least those of the stages, which are in "
        "processor time.",
        "",
        *_rates(result["sizes"]),
        "",
        *(line for size, one in result["sizes"].items() for line in _verdict(size, one)),
        "",
        "## Where the time of one picture goes",
        "",
        "Milliseconds of processor time per picture, and share of the whole.",
        "",
        *_stages({size: one["stages_ms"] for size, one in result["sizes"].items()}),
        "",
        "The augmentation by transform, each at the rate at which it happens:",
        "",
        *_stages({size: one["transforms_ms"] for size, one in result["sizes"].items()}),
    ]
    return "\n".join(lines) + "\n"


def _rates(sizes: dict[str, Any]) -> list[str]:
    """Pictures per second of loader and training."""
    workers = list(next(iter(sizes.values()))["loader"])
    lines = [
        f"| size | {' | '.join(f'loader, {n} workers' for n in workers)} | training step alone | what trains |",
        f"|---|{'---|' * len(workers)}---|---|",
    ]
    for size, one in sizes.items():
        rates = [f"{one['loader'][n]:.0f}/s" for n in workers]
        lines.append(f"| {size} px | {' | '.join(rates)} | {one['training']:.1f}/s | {one['backbone']}, batch {one['batch']} |")
    return lines


def _verdict(size: str, one: dict[str, Any]) -> list[str]:
    """What the rates of one size mean."""
    stages, training = one["stages_ms"], one["training"]
    bound = max((name for name in stages if name != "all"), key=stages.__getitem__)
    needed = workers_needed(one["loader"], training)
    enough = "no number of workers that was measured keeps up" if needed is None else f"{needed} workers keep up"
    busy, faster = 100 * cores_needed(stages["all"], training), math.floor(1000 / stages["all"])
    said = (
        f"* {size} px: {enough} on this machine; loading takes {busy:.1f} % of one core while it trains. "
        f"One core loads {faster} pictures a second; what bounds it is `{bound}`, {100 * stages[bound] / stages['all']:.0f} % of its time. "
        f"A GPU that trains on 1,000 pictures a second would keep {cores_needed(stages['all'], 1000.0):.1f} cores busy with loading."
    )
    if "together" in one:
        shares = ", ".join(f"{100 * share:.0f} % with {workers} workers" for workers, share in one["together"].items())
        said += f" Training on what the loader gives runs at this share of training on pictures that are there already: {shares}."
    return [said]


def _stages(sizes: dict[str, dict[str, float]]) -> list[str]:
    """A table of stages by size."""
    names = list(next(iter(sizes.values())))
    lines = [f"| | {' | '.join(f'{size} px' for size in sizes)} |", f"|---|{'---|' * len(sizes)}"]
    for name in names:
        cells = []
        for stages in sizes.values():
            whole = stages.get("all", sum(stages.values()))
            cells.append(f"{stages.get(name, 0.0):.3f} ({100 * stages.get(name, 0.0) / whole:.0f} %)")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines
