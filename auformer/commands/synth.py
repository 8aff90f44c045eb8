"""Render faces with known action units (AUs): images, a manifest, exact truth and landmarks.

  auformer synth --lab A --subjects 40 --frames 100 --aus all --out runs/lab_a
  auformer synth --lab A --subjects 20 --clips 8 --aus casme2 --out runs/clips     micro-expressions
  auformer synth --sheet --out runs/sheet                                          a contact sheet only

The same command again goes on where it stopped, or finds that all is there. Sets whose subject numbers do not overlap share no
face, nor do the two labs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUBJECTS, FRAMES = 40, 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer synth`."""
    add = parser.add_argument
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the data set")
    add(
        "--lab",
        choices=("A", "B"),
        default="A",
        help="A: expressive, even light; B: sparse, side light, worse camera (default: A)",
    )
    add("--subjects", type=int, metavar="N", help=f"number of faces (default: {SUBJECTS})")
    add("--frames", type=int, metavar="N", help=f"pictures per face (default: {FRAMES})")
    add("--clips", type=int, metavar="N", help="micro-expression clips per face, in place of pictures")
    add(
        "--aus",
        metavar="LIST",
        help="AUs to label: bp4d, disfa, all, another set, or AU1,AU12,... (default: bp4d in A, disfa in B)",
    )
    add("--size", type=int, default=112, metavar="PIXELS", help="side of a picture (default: 112)")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of expressions, scenes and noise; faces depend on their number only (default: 0)",
    )
    add("--first-subject", type=int, default=0, metavar="N", help="number of the first face (default: 0)")
    add("--pose-scale", type=float, default=1.0, metavar="X", help="factor on the spread of the head pose (default: 1)")
    add("--no-jitter", action="store_true", help="crop exactly by the `eyes` recipe")
    add("--no-roll", action="store_true", help="keep heads upright")
    add("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--sheet", action="store_true", help="write DIR/sheet.png; without --subjects, --frames or --clips, only that")


def run(args: argparse.Namespace) -> int:
    """Render, then say what was written.

    Raises:
        ValueError: the options do not fit together, or the folder holds something else.
    """
    if args.frames is not None and args.clips is not None:
        raise ValueError("Expected either `--frames` or `--clips`, but got both")
    if args.sheet:
        from auformer.synthetic.sheet import write_sheet

        print(f"wrote {write_sheet(args.out / 'sheet.png', args.size, args.seed, args.first_subject)}")
        if args.subjects is None and args.frames is None and args.clips is None:
            return 0
    from auformer.data.manifest import read_manifest

    manifest = _render(args)
    print(summary(read_manifest(manifest).attrs["side"]))
    print(manifest)
    return 0


def _render(args: argparse.Namespace) -> Path:
    """The data set of these options."""
    from auformer.synthetic.writing import render_dataset

    return render_dataset(
        args.out,
        lab=args.lab,
        subjects=SUBJECTS if args.subjects is None else args.subjects,
        frames=FRAMES if args.frames is None else args.frames,
        clips=0 if args.clips is None else _at_least_one(args.clips),
        au_names=args.aus,
        size=args.size,
        seed=args.seed,
        first_subject=args.first_subject,
        workers=args.workers,
        pose_scale=args.pose_scale,
        jitter=not args.no_jitter,
        roll=not args.no_roll,
        progress=True,
    )


def render(out: Path, options: Mapping[str, Any], *, workers: int) -> Path:
    """Render a data set, or find that it is there.

    Args:
        out: Folder of the data set.
        options: Options of `auformer synth` by name, as in a suite: `{lab: A, subjects: 30, no_jitter: true}`.
        workers: Processes.

    Raises:
        ValueError: There is no such option, its value is wrong, or the folder holds something else.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_arguments(parser)
    words = ["--out", str(out), "--workers", str(workers)]
    for name, value in options.items():
        flag = f"--{str(name).replace('_', '-')}"
        words += [flag] * bool(value) if isinstance(value, bool) else [flag, str(value)]
    try:
        args, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(f"Expected options of `auformer synth`, but {error}") from error
    if unknown or set(options) & {"out", "workers", "sheet"}:
        raise ValueError(
            f"Expected options of `auformer synth` that say what is rendered, but got {', '.join(options)}"
        )
    return _render(args)


def _at_least_one(clips: int) -> int:
    if clips < 1:
        raise ValueError(f"Expected `--clips` to be at least 1, but got {clips}")
    return clips


def summary(side: dict) -> str:
    """Text table of a rendered data set: rows, subjects, and how often each AU is present.

    Args:
        side: the manifest's JSON side file.
    """
    what = f"{side['clips']['count']} clips, " if "clips" in side else ""
    lines = [
        f"{side['dataset']}: {what}{side['rows']:,} pictures of {side['subjects']} subjects, {side['image_size'][0]} px",
        "",
    ]
    lines.append(f"{'AU':<6}{'positives':>10}{'rate':>8}{'expected':>10}")
    for name, rate in side["label_rates"].items():
        expected = f"{rate['expected']:.3f}" if "expected" in rate else "-"
        lines.append(f"{name:<6}{rate['positives']:>10,}{rate['measured']:>8.3f}{expected:>10}")
    return "\n".join(lines)
