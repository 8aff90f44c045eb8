"""What `experiments/measure_points.py` has measured, as numbers and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

METHODS = ("eyes", "regressor", "chosen")
THRESHOLDS = (0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # inter-pupil distances between network and eyes
Rows = list[dict[str, Any]]

_HEAD = """# Five points of a face

On rendered faces of subjects that no training has seen, which says little about photographs. Distances in inter-pupil distances
(IPD), median / 95th percentile, of the faces that the cascade finds. `eyes`: pupils by OpenCV's eye cascades, the rest by
proportion; `network`: `assets/points.onnx`; `detect`: what the default detector returns. Size: side of the picture in pixels, of
which the face's box has about 0.9. Turned: 14 to 24 degrees to a side; tilted: 8 to 17 degrees.
"""


def summary(rows: Rows, clips: Rows, settings: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    """Medians and 95th percentiles by lab, pose and size, and over all; what was chosen and why."""
    table = []
    for lab, pose, size in [*settings, ("all", "all", 0)]:
        asked = [r for r in rows if lab == "all" or (r["lab"], r["pose"], r["size"]) == (lab, pose, size)]
        found = [r for r in asked if r["found"]]
        errors = {name: _spread([r[name] for r in found]) for name in (*METHODS, *(f"{name}_below" for name in METHODS))}
        table.append({"lab": lab, "pose": pose, "size": size, "faces": len(asked), "found": len(found), **errors})
    found = [r for r in rows if r["found"]]
    contradicted = []
    for threshold in THRESHOLDS:
        some = [r for r in found if r["seen"] == "eyes" and r["apart"] > threshold]
        nearer = sum(r["eyes"] < r["regressor"] for r in some)
        contradicted.append({"threshold": threshold, "faces": len(some), "eyes_nearer": nearer})
    steps = []
    for lab, size in dict.fromkeys((lab, size) for lab, _, size in settings):
        some = [r for r in clips if (r["lab"], r["size"]) == (lab, size)]
        spread = {name: _spread([r[name] for r in some]) for name in (*METHODS, "box")}
        steps.append({"lab": lab, "size": size, "clips": len(some), **spread})
    seen = {name: sum(r["seen"] == name for r in found) for name in ("eyes", "one_eye", "box")}
    source = {name: sum(r["source"] == name for r in found) for name in ("regressor", "eyes")}
    return {"errors": table, "contradictions": contradicted, "jitter": steps, "eyes_seen": seen, "points_source": source}


def markdown(result: dict[str, Any]) -> str:
    """The results as a page."""
    seen, source = result["eyes_seen"], result["points_source"]
    lines = [
        _HEAD,
        *_tables(result["errors"]),
        "",
        "## Jitter",
        "",
        f"Still clips of {result['frames']} frames: root mean square step of a pupil from frame to frame; of the box, of its corners.",
        "",
        *_rows("lab | size | clips | box | eyes | network | detect", [
            [r["lab"], r["size"], r["clips"], *(_pair(r[name], 4) for name in ("box", *METHODS))] for r in result["jitter"]
        ]),
        "",
        "## Where the two contradict each other",
        "",
        "Faces where both eyes were found, and a pupil lies further than this from the network's; in how many of them the eyes were nearer",
        "to the truth.",
        "",
        *_rows("IPD | faces | eyes nearer", [[r["threshold"], r["faces"], r["eyes_nearer"]] for r in result["contradictions"]]),
        "",
        f"Both eyes were found in {seen['eyes']} faces, one in {seen['one_eye']}, none in {seen['box']}.",
        f"`detect` gave the network's points to {source['regressor']} and those of the eyes to {source['eyes']}.",
        "",
        "## Photographs",
        "",
        "Portraits in the public domain, pupils read off by eye: mean error of the two. Too few to say more than that it works on them.",
        "",
        *_rows("picture | eyes | network | detect", [[r["picture"], *(f"{r[name]:.3f}" for name in METHODS)] for r in result["portraits"]]),
        "",
        f"Command: `{result['command']}`; seed {result['seed']}; {result['seconds']} s on one core;",
        f"{result['machine']}; commit {result['commit']}.",
        *([f"Training: {result['training']}."] if result["training"] else []),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _tables(errors: Rows) -> list[str]:
    """Errors of pupils, then of the other points."""
    where = [[r["lab"], r["pose"], r["size"] or ""] for r in errors]
    pupils = [[*w, r["faces"], r["found"], *(_pair(r[name]) for name in METHODS)] for w, r in zip(where, errors, strict=True)]
    others = [[*w, *(_pair(r[f"{name}_below"]) for name in METHODS)] for w, r in zip(where, errors, strict=True)]
    return [
        "## Pupils",
        "",
        *_rows("lab | pose | size | faces | found | eyes | network | detect", pupils),
        "",
        "## Nose tip and mouth corners",
        "",
        *_rows("lab | pose | size | eyes | network | detect", others),
    ]


def _rows(head: str, cells: list[list[Any]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *("| " + " | ".join(map(str, row)) + " |" for row in cells)]


def _spread(values: list[float]) -> list[float] | None:
    """Median and 95th percentile."""
    return [round(float(np.percentile(values, q)), 4) for q in (50, 95)] if values else None


def _pair(values: list[float] | None, digits: int = 3) -> str:
    """Median / 95th percentile."""
    return "" if values is None else f"{values[0]:.{digits}f} / {values[1]:.{digits}f}"
