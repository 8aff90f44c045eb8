"""Blinks counted by an AU detector in rendered videos, beside the blinks that were rendered.

    python -m experiments.ablations.rendered_blinks --folder runs/blinks

Renders videos of subjects that no packaged weights have seen, in both labs, and predicts them as a user would, with
`auformer predict`: faces found and tracked, AU45 from AU43 over time. A counted blink is right where it shares a frame
with a rendered one that no other shares. Blinks whose frames, and those before and after, all have a face are counted
beside: the others were lost by the face detector. Writes `rendered_blinks.json` and `.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from auformer.cli import main as auformer
from auformer.data.manifest import read_predictions
from auformer.episodes import runs
from auformer.scoring.tables import Table
from auformer.synthetic import LABS
from auformer.synthetic.writing import render_dataset
from experiments.harness import circumstances, new_parser, write_result

FIRST_SUBJECT = 41_000
VIDEOS, SECONDS, FPS, SIZE = 2, 30, 25.0, 112  # of each subject; their length, frames a second, pixels per side
KEY = ["subject", "sequence"]


def spans(marked: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each stretch of marked frames (n,)."""
    return [(int(first), int(last)) for first, last in runs(np.arange(len(marked)), marked, 1.0)]


def compare(rendered: list[tuple[int, int]], counted: list[tuple[int, int]]) -> dict[str, int]:
    """How many blinks of one video were rendered, counted, and counted rightly; both lists in order of time.

    >>> compare([(2, 5), (20, 24)], [(3, 4), (10, 11), (24, 26)])
    {'rendered': 2, 'counted': 3, 'right': 2}
    """
    right, free = 0, list(rendered)
    for first, last in counted:
        met = next((span for span in free if span[0] <= last and first <= span[1]), None)
        if met is not None:
            free.remove(met)
            right += 1
    return {"rendered": len(rendered), "counted": len(counted), "right": right}


def count(folder: Path, predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per video of a rendered set: what was rendered, and what its predictions count."""
    truth = pd.read_parquet(folder / "truth.parquet")
    if "AU45_active" not in predictions:
        raise SystemExit("this AU detector gives no AU45; it must predict AU43")
    files, rows = predictions["file"].str.replace("\\", "/"), []
    for (subject, sequence), frames in truth.groupby(KEY):
        name = f"{subject}/{sequence}.mp4"
        own = predictions[files.str.endswith(name)].groupby("frame")[["AU45_active", "AU43_prob"]].max()  # of any track
        own = own.reindex(frames["frame"])
        active, face = own["AU45_active"].fillna(0).to_numpy(bool), own["AU43_prob"].notna().to_numpy()
        blink = frames["blink"].to_numpy()
        rendered = [spans(blink == number)[0] for number in range(1, blink.max() + 1)]
        whole = [(first, last) for first, last in rendered if face[max(0, first - 1) : last + 2].all()]
        row = {"video": name, "frames": len(frames), "with_face": int(face.sum()), **compare(rendered, spans(active))}
        rows.append({**row, "whole": len(whole), "whole_right": compare(whole, spans(active))["right"]})
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over videos, counted over rendered, sensitivity and precision."""
    names = ("frames", "with_face", "rendered", "counted", "right", "whole", "whole_right")
    total = {name: sum(row[name] for row in rows) for name in names}
    ratio = total["counted"] / total["rendered"] if total["rendered"] else float("nan")
    return {
        "videos": len(rows), **total, "counted_over_rendered": round(ratio, 4),
        "sensitivity": round(total["right"] / max(1, total["rendered"]), 4),
        "precision": round(total["right"] / max(1, total["counted"]), 4),
    }  # fmt: skip


def page(result: dict[str, Any]) -> str:
    columns = ["frames", "with_face", "rendered", "counted", "right", "counted_over_rendered", "whole", "whole_right"]
    rows = [[f"lab {lab}", *(f"{result['labs'][lab][name]:,}" for name in columns)] for lab in result["labs"]]
    return f"""# Blinks in rendered videos

Counted by `{result["checkpoint"]}` through `auformer predict` (AU45 from AU43 over time) beside those that were
rendered, on subjects unseen in training. It says nothing about videos of people. Whole: rendered blinks in
which the face was found in every frame, and in those before and after; the others the face detector lost.

{Table(["", *(name.replace("_", " ") for name in columns)], rows).markdown()}

Command: `{result["command"]}`; {result["machine"]}; commit {result["commit"]}.
"""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/blinks"), help="of the run (default: %(default)s)")
    parser.add_argument("--checkpoint", default="demo", help="AU detector (default: %(default)s)")
    parser.add_argument("--subjects", type=int, default=8, help="faces in each lab (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="length of a video (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default: %(default)s)")
    args = parser.parse_args(argv)
    labs = {}
    for lab in LABS:
        folder, out = args.folder / f"lab_{lab.lower()}", args.folder / f"predicted_{lab.lower()}"
        render_dataset(
            folder, lab=lab, subjects=args.subjects, videos=VIDEOS, frames=round(args.seconds * FPS), fps=FPS,
            au_names="AU43", size=SIZE, first_subject=FIRST_SUBJECT, workers=args.workers, progress=True,
        )  # fmt: skip
        words = ["predict", folder / "videos", "--out", out, "--checkpoint", args.checkpoint, "--faces", "largest"]
        if auformer([*map(str, words), "--no-plot"]):
            raise SystemExit(f"{folder}: not all videos could be predicted")
        labs[lab] = summarise(count(folder, read_predictions(out / "predictions.csv")))
    words = f"--checkpoint {args.checkpoint} --subjects {args.subjects} --seconds {args.seconds}"
    result = {
        "command": f"python -m experiments.ablations.rendered_blinks {words}",
        **circumstances("torch"),
        "checkpoint": args.checkpoint,
        "fps": FPS,
        "size": SIZE,
        "labs": labs,
    }
    write_result(args.out, "rendered_blinks", result, page(result))
    return result


if __name__ == "__main__":
    main()
