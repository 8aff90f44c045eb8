"""The page about action units over time, from the lines of finished rows: `time.md` and its figures.

    python -m experiments.ablations.clips_page

Rows that have not run are not on it; what is missing is said. Differences between two rows are of the same seeds and
test subjects; their interval is a bootstrap over subjects. With `--folder`, that of `experiments.ablations.clips`, the
edges and the timelines are drawn from the weights in it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auformer.metrics import f1_from_counts, mean_over_aus
from auformer.models import load_detector
from auformer.scoring.tables import Table
from experiments.ablations.clip_rows import AUS, LENGTH, ROWS, predict_above
from experiments.ablations.clips import read_lines, read_part, render, tokens_of
from experiments.harness import RESULTS, new_parser

DRAWS = 2000
#: Rows of the timelines, with their colours.
SHOWN = {"auformer": "#c44e52", "auformer_in_time": "#dd8452", "frame_by_frame": "#7f7f7f", "vit_mdhr": "#1b6ca8"}
NAMES = {
    "vit_mdhr": "ViTMDHR, the whole", "frame_by_frame": "the same head frame by frame",
    "dynamics_only": "with MFD, without TCN", "time_only": "with TCN, without MFD",
    "sum_of_taps": "plain sum of the taps", "last_tap": "last tap alone", "edges_none": "edges: none",
    "edges_all": "edges: all", "edges_others": "edges: all of other regions", "no_region_loss": "region loss 0",
    "ends_zeros": "missing transitions count as zeros",
    **{f"reach_{k}": f"k = {k}" for k in (1, 2, 10)}, **{f"length_{t}": f"T = {t}" for t in (4, 8, 24)},
    "auformer": "AUFormer, frame by frame", "auformer_in_time": "AUFormer in time: MDHR's head on its tokens",
    "auformer_dynamics": "with MFD alone", "auformer_convolution": "with TCN alone",
    "auformer_one_frame": "the same head on its tokens, one frame at a time",
    "auformer_half": "AUFormer of half of the subjects, frame by frame",
    "auformer_half_in_time": "in time, the head trained on the other half",
    "auformer_half_one_frame": "that head, one frame at a time",
    "added_in_time": "AUFormer in time, first form", "added_one_frame": "the same, one frame at a time",
    "added_half_in_time": "first form, trained on the other half",
    "added_half_one_frame": "the same, one frame at a time, on the other half",
}  # fmt: skip
ABOUT = {
    "clips": """## Micro-expression clips

`python -m experiments.ablations.clips --folder runs/time`: lab A, subjects that no packaged weights have seen, 40 x 9
clips to train, 20 others x 6 to test; the 12 AUs of BP4D, a label per frame (level 1 or more); T = 16, k = 5, 20 epochs
of one window per clip, no augmentation, WA + 0.01 region loss. AUFormer trains frame by frame on all frames, 3 epochs,
with its own loss; MDHR's head then trains on its tokens for 20 epochs of windows, as ViTMDHR's does, while AUFormer
stays as it is; the probability is the mean of both. F1 at 0.5, per cent.
""",
    "fast": """
### A look with `--fast`

12 subjects to train, 8 to test, 10 epochs.
""",
    "added": """
### The first form of AUFormer in time

What MFD (each AU through 8 channels of its own) and TCN say was added to AUFormer's logits and trained with its loss
(commit b19c84e; `time_runs_added.jsonl`).
""",
    "videos": """
## Videos

`... --data videos`: 20 and 10 subjects x 600 frames (24 s): several expressions with rest between, talk, gaze, blinks,
a turning head. A training window from every 48 frames.
""",
    "costs": """
## Costs

`python -m experiments.ablations.clip_costs`: demo backbone, two clips of 16 frames, one thread, processor time, in
parentheses the median of the ratio to AUFormer within a round; MB kept for the backward pass of one clip of 4, 8, 16
and 32 frames.
""",
    "contrast": """
## Contrast

`python -m experiments.ablations.contrast --folder runs/contrast`: 2,000 rendered stills of 40 subjects, 1,000 of 20
others to test; mean F1 / AUROC, per cent, in parentheses how many seeds. `wa` and `mdwa` train encoder and map at once.
""",
}
Lines = list[dict[str, Any]]


def figure(counts: dict[str, Any], subjects: Any) -> float:
    """Mean F1 over action units of some subjects' TP, FP, FN, each as often as it is named."""
    total = np.sum([np.asarray(counts[subject]) for subject in subjects], axis=0)  # (3, N)
    cells = np.concatenate([total, np.zeros((1, total.shape[1]), total.dtype)])  # (4, N): TP, FP, FN, TN
    return float(mean_over_aus(f1_from_counts(cells)).value)


def difference(lines: Lines, over: str, under: str) -> tuple[float, float, float, int] | None:
    """Mean difference of F1 over shared seeds, its 95 % interval over test subjects, and how many seeds."""
    by_seed: dict[str, dict[int, Any]] = defaultdict(dict)
    for line in lines:
        if line["row"] in (over, under):
            by_seed[line["row"]][line["seed"]] = line["counts"]
    seeds = sorted(by_seed[over].keys() & by_seed[under].keys())
    if not seeds:
        return None
    people = sorted(by_seed[over][seeds[0]])
    rng = np.random.default_rng(0)

    def mean(subjects: Any) -> float:
        pairs = [(by_seed[over][seed], by_seed[under][seed]) for seed in seeds]
        return float(np.mean([figure(one, subjects) - figure(other, subjects) for one, other in pairs]))

    drawn = [mean(rng.choice(people, len(people))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return mean(people), float(low), float(high), len(seeds)


def spread(values: list[float]) -> str:
    """Mean, and standard deviation of several, per cent."""
    mean = f"{100 * np.mean(values):.1f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else mean


def rows_table(lines: Lines) -> str:
    """A row per network: seeds, trained parameters, F1, average precision, AUROC."""
    rows = []
    for row, name in NAMES.items():
        own = [line for line in lines if line["row"] == row]
        if own:
            figures = [spread([line[kind] for line in own]) for kind in ("f1", "ap", "auroc")]
            rows.append([name, str(len(own)), f"{own[0]['trained']:,}", *figures])
    return Table(["network", "seeds", "trained", "F1", "average precision", "AUROC"], rows).markdown()


def differences_text(lines: Lines, pairs: list[tuple[str, str]]) -> str:
    """One line of a list per pair that has run."""
    said = []
    for over, under in pairs:
        found = difference(lines, over, under)
        if found is not None:
            mean, low, high, seeds = found
            over_subjects = f"{100 * low:+.1f} to {100 * high:+.1f}; {seeds} seed{'s' if seeds > 1 else ''}"
            said.append(f"* {NAMES[over]} minus {NAMES[under]}: {100 * mean:+.1f} points of F1 ({over_subjects})")
    return "\n".join(said)


def contrast_table(lines: Lines) -> str:
    """F1 and AUROC by row and label noise."""
    noises = sorted({line["noise"] for line in lines})
    rows = []
    for row in dict.fromkeys(line["row"] for line in lines):
        cells = []
        for noise in noises:
            own = [line for line in lines if line["row"] == row and line["noise"] == noise]
            pair = " / ".join(spread([line[kind] for line in own]) for kind in ("f1", "auroc")) if own else "-"
            cells.append(f"{pair} ({len(own)})" if own else pair)
        rows.append([row, *cells])
    return Table(["trained by", *(f"noise {noise:g}" for noise in noises)], rows).markdown()


def costs_table(costs: dict[str, Any]) -> str:
    """Costs by network."""
    rows = [
        [
            name, f"{one['trained']:,}", f"{one['gflops_per_frame']:.3f}",
            f"{one['predict_ms_per_frame']:.1f} ({one['predict_ratio']:.2f})",
            f"{one['train_ms_per_frame']:.1f} ({one['train_ratio']:.2f})",
            ", ".join(f"{mb:.1f}" for mb in one["kept_mb_by_frames"].values()),
        ]
        for name, one in costs["networks"].items()
    ]  # fmt: skip
    head = ["network", "trained", "GFLOPs a frame", "prediction, ms a frame", "training, ms a frame", "MB kept"]
    return Table(head, rows).markdown()


def memory_text(path: Path) -> str:
    """What a long video takes beside a short one; that it has not been measured where there is no file."""
    command = "`python -m experiments.ablations.clip_memory --folder runs/clip-memory`"
    if not path.is_file():
        return f"\nMemory of `predict` on a long video ({command}) has not been measured."
    found = json.loads(path.read_text(encoding="utf-8"))["minutes"]
    parts = [f"{one['peak_mb']:,.0f} MB on {minutes} min ({one['rows']:,} rows)" for minutes, one in found.items()]
    return f"\nPeak memory of the whole process of `predict` ({command}): {', '.join(parts)}."


def curves(lines: Lines, out: Path) -> list[str]:
    """F1 against clip length and against reach, where there are several of each."""
    from matplotlib.figure import Figure

    whole = [line["f1"] for line in lines if line["row"] == "vit_mdhr" and line["seed"] == 0]
    written = []
    for kind, usual, title in (("length", LENGTH, "frames of a clip T"), ("reach", 5, "transitions k on either side")):
        points = {usual: whole[0]} if whole else {}
        for line in lines:
            if line["row"].startswith(f"{kind}_") and line["seed"] == 0:
                points[int(line["row"].rpartition("_")[2])] = line["f1"]
        if len(points) < 3:
            continue
        drawing = Figure(figsize=(4.5, 3), layout="constrained")
        axes = drawing.subplots()
        axes.plot(sorted(points), [100 * points[at] for at in sorted(points)], "o-", color="#1b6ca8")
        axes.set(xlabel=title, ylabel="mean F1, per cent")
        name = f"time_{kind}.png"
        drawing.savefig(out / name, dpi=100)
        written.append(f"![mean F1 against {title}]({name})")
    return written


@torch.no_grad()
def drawn_from_weights(folder: Path, out: Path) -> list[str]:
    """The edges between action units, and the timeline of a test clip or video, as networks of seed 0 say."""
    from matplotlib.figure import Figure

    written: list[str] = []
    for data in ("clips", "videos"):
        files = {row: folder / f"{data}-{row}-0.npy" for row in SHOWN}
        values = {row: np.load(path) for row, path in files.items() if path.is_file()}
        if not values:
            continue
        test = read_part("test", render(folder, data)["test"], data)
        if not written and (folder / f"{data}-vit_mdhr-0.safetensors").is_file():
            heard = mean_attention(folder, data, test)
            drawing = Figure(figsize=(5.5, 5), layout="constrained")
            axes = drawing.subplots()
            shown = axes.imshow(heard, cmap="Blues", vmin=0)
            axes.set_xticks(range(len(AUS)), AUS, rotation=90)
            axes.set_yticks(range(len(AUS)), AUS)
            axes.set(xlabel="is heard", ylabel="hears")
            drawing.colorbar(shown, shrink=0.8)
            drawing.savefig(out / "time_edges.png", dpi=100)
            written.append(f"![mean weight with which each AU hears each, rendered {data}](time_edges.png)")
        run = max(test["runs"], key=lambda rows: int(test["labels"][torch.from_numpy(rows)].clamp(0).sum()))
        truth = test["labels"][torch.from_numpy(run)].numpy()
        shown_aus = [au for au in range(len(AUS)) if truth[:, au].any()]
        drawing = Figure(figsize=(9, 1.1 * len(shown_aus) + 1.1), layout="constrained")
        for axes, au in zip(np.atleast_1d(drawing.subplots(len(shown_aus), 1, sharex=True)), shown_aus, strict=True):
            axes.fill_between(range(len(run)), truth[:, au], step="mid", color="#cccccc", label="truth")
            for row, prob in values.items():
                axes.plot(prob[run, au], color=SHOWN[row], lw=1.2, label=NAMES[row])
            axes.set(ylabel=AUS[au], ylim=(0, 1.05))
        axes.set_xlabel("frame")
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
        drawing.savefig(out / f"time_line_{data}.png", dpi=100)
        written.append(f"![probabilities over the frames of one of the {data}](time_line_{data}.png)")
    return written


def mean_attention(folder: Path, data: str, test: dict[str, Any]) -> np.ndarray:
    """How much each AU hears of each on average over frames `(N, N)`, in the whole ViTMDHR of seed 0."""
    network: Any = load_detector(folder / f"{data}-vit_mdhr-0.safetensors")
    tokens, total, count = tokens_of(folder, f"{data}-test", test), np.zeros((len(AUS), len(AUS))), 0
    cross = network.head.cross
    weights: list[torch.Tensor] = []
    plain = cross.attention

    def watched(z: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        weights.append(plain(z, active))
        return weights[-1]

    cross.attention = watched
    predict_above(network, lambda rows, frames: network.outputs_of_taps(tokens[rows].float(), frames), test, LENGTH)
    for each in weights:
        total, count = total + each.sum(0).numpy(), count + len(each)
    return total / count


def first_form(out: Path, clips: Lines) -> list[str]:
    """What AUFormer in time was before, beside AUFormer; nothing where no line is left of it."""
    added = [line for line in read_lines(out / "time_runs_added.jsonl") if line["data"] == "clips"]
    if not added:
        return []
    pairs = [
        (f"added{half}_in_time", other)
        for half in ("", "_half") for other in (f"auformer{half}", f"added{half}_one_frame")
    ]  # fmt: skip
    return [ABOUT["added"], rows_table(added), "", differences_text([*clips, *added], pairs)]


def page(out: Path, folder: Path | None) -> str:
    """The whole page."""
    lines, contrast = read_lines(out / "time_runs.jsonl"), read_lines(out / "contrast_runs.jsonl")
    costs = json.loads((out / "time_costs.json").read_text(encoding="utf-8"))
    clips, videos = ([line for line in lines if line["data"] == data] for data in ("clips", "videos"))
    pairs = [
        ("vit_mdhr", "frame_by_frame"), ("dynamics_only", "frame_by_frame"), ("time_only", "frame_by_frame"),
        ("vit_mdhr", "dynamics_only"), ("auformer_in_time", "auformer"), ("auformer_in_time", "auformer_one_frame"),
        ("auformer_dynamics", "auformer"), ("auformer_convolution", "auformer"),
        ("auformer_half_in_time", "auformer_half"), ("auformer_half_in_time", "auformer_half_one_frame"),
    ]  # fmt: skip
    missing = [NAMES[row] for row in ROWS if not any(line["row"] == row for line in clips)]
    commits = sorted({str(line["circumstances"].get("commit")) for line in [*lines, *contrast]})
    verdict = out / "time_verdict.md"
    figures = [*curves(clips, out), *(drawn_from_weights(folder, out) if folder else [])]
    none, fast = "No row has run.", read_lines(out / "time_runs_fast.jsonl")
    look = [] if not fast else [ABOUT["fast"], rows_table(fast), "", differences_text(fast, pairs)]
    parts = [
        "# Action units over time\n",
        verdict.read_text(encoding="utf-8") if verdict.is_file() else "",
        ABOUT["clips"],
        rows_table(clips) if clips else none,
        "",
        differences_text(clips, pairs),
        f"\nNot run: {'; '.join(missing)}." if missing else "",
        *first_form(out, clips),
        *look,
        ABOUT["videos"],
        rows_table(videos) if videos else none,
        "",
        differences_text(videos, pairs),
        ABOUT["costs"],
        costs_table(costs),
        memory_text(out / "time_memory.json"),
        ABOUT["contrast"],
        contrast_table(contrast) if contrast else none,
        "",
        *figures,
        f"\nCommits of the rows: {', '.join(commits) or 'none'}; machine: {costs['circumstances']['machine']}.",
    ]
    return "\n".join(part for part in parts if part is not None) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = new_parser(__doc__, out=RESULTS)
    parser.add_argument("--folder", type=Path, help="folder of experiments.ablations.clips, to draw from its weights")
    args = parser.parse_args(argv)
    (args.out / "time.md").write_text(page(args.out, args.folder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
