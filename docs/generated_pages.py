"""The parts of the documentation that come from the package itself, written into `docs/_generated` by each build.

Nothing here is typed by hand: AUs and muscles come from `auformer.aus`, images from the renderer, figures from
`experiments/results`, papers from the docstrings of the baselines.
"""

from __future__ import annotations

import csv
import inspect
import json
import re
from pathlib import Path
from typing import Any

from au_pictures import BESIDE, write_au_images

import auformer.models
from auformer.aus import ACTION_UNITS
from auformer.models.baselines import Baseline
from auformer.synthetic import AU_NAMES

ROOT = Path(__file__).resolve().parents[1]
ARXIV = re.compile(r"arxiv\.org/abs/[\d.]+\d")
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)[^)]+\)")
# documents of the repository that are parts of a page
DOCUMENTS = {
    "data_sets": "data_prep/README.md",
    "detector_card": "auformer/assets/demo_detector_card.md",
    "detector_scores": "experiments/results/demo_detector.md",
}


def write_pages(docs: Path) -> None:
    """Write every generated part below `docs/_generated`; the pages include them."""
    folder = docs / "_generated"
    (folder / "au").mkdir(parents=True, exist_ok=True)
    write_au_images(folder / "au")
    detector = json.loads((ROOT / "experiments/results/demo_detector.json").read_text(encoding="utf-8"))
    parts = {
        "action_units": action_units(),
        "scores": scores(detector),
        "baselines": baselines(),
        "published": published(ROOT / "auformer/assets/published_f1.csv"),
        **{name: without_files(ROOT / file) for name, file in DOCUMENTS.items()},
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def action_units() -> str:
    """A section per rendered AU with its image, and a table of those that FACS has besides."""
    sections = []
    for name in AU_NAMES:
        unit = ACTION_UNITS[name]
        with_others = f", shown with {' and '.join(BESIDE[name])}" if name in BESIDE else ""
        alt = f"A rendered face at rest, and with {name}, {unit.name.lower()}{with_others}"
        sections.append(f"## {name}: {unit.name}\n\n![{alt}](/_generated/au/{name}.png)\n\nMuscle: {unit.muscle}.\n")
        if with_others:
            sections.append(f"Right{with_others}.\n")
    others = [unit for name, unit in ACTION_UNITS.items() if name not in AU_NAMES]
    rows = [[unit.key, unit.name, unit.muscle or "the head or the eyes as a whole"] for unit in others]
    rest = table(["AU", "name", "muscle"], rows)
    return "\n".join([*sections, f"## The other {len(others)}\n", "They are known by name, and not rendered.\n", rest])


def scores(detector: dict[str, Any]) -> str:
    """The AU detector's AUs from the best to the worst, by the AUROC of the lab in which it is lower."""
    labs = (detector["lab_a"]["per_au"], detector["lab_b"]["per_au"])
    lowest = {name: min(lab[name]["auroc"] for lab in labs) for name in labs[0]}
    rows = [
        [name, ACTION_UNITS[name].name, *(f"{lab[name][key]:.2f}" for key in ("auroc", "f1") for lab in labs)]
        for name in sorted(lowest, key=lambda name: -lowest[name])
    ]
    head = ["AU", "name", "AUROC, lab A", "AUROC, lab B", "F1, lab A", "F1, lab B"]
    source = f"From `experiments/results/demo_detector.json` (commit {detector['commit']}, {detector['date']}).\n"
    return f"{table(head, rows)}\n{source}"


def baselines() -> str:
    """A row per baseline: what it is in a sentence, and its paper."""
    rows = []
    for name in sorted(vars(auformer.models)["__all__"]):
        kind = getattr(auformer.models, name)
        if not (inspect.isclass(kind) and issubclass(kind, Baseline)):
            continue
        said = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
        paper = ARXIV.search(said)
        if paper is None:
            raise ValueError(f"Expected the docstring of {name} to name its paper as arxiv.org/abs/..., but got {said}")
        said = ARXIV.sub(lambda found: f"[{found[0].removeprefix('arxiv.org/abs/')}](https://{found[0]})", said)
        rows.append([f"`{kind.__module__}.{name}`", said])
    return table(["class", "what, and from which paper"], rows)


def without_files(document: Path) -> str:
    """A document of the repository whose links to other files, which the site does not have, are plain text."""
    return LOCAL_LINK.sub(r"\1", document.read_text(encoding="utf-8"))


def published(file: Path) -> str:
    """The published results that lie in the package, each with its source."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return table(list(rows[0]), [list(row.values()) for row in rows])
