"""Render faces with known action units (AUs): images, a manifest, exact truth and landmarks.

  auformer synth --lab A --subjects 40 --frames 100 --aus all --out runs/lab_a
  auformer synth --lab A --subjects 20 --clips 8 --aus casme2 --out runs/clips     micro-expressions
  auformer synth --lab A --subjects 4 --videos 2 --out runs/videos                 MP4, with blinks
  auformer synth --geometry scanned --facekit ICT-FaceKit --aus all --out runs/scanned    as photographs show faces
  auformer synth --sheet --out runs/sheet                                          a contact sheet only

Run the same command again to resume an interrupted run; a finished data set is left as it is. Data sets whose subject
numbers do not overlap share no face, nor do the two labs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer synth`."""
    add = parser.add_argument
    labs = "A: expressive, even light; B: sparse, side light, worse camera (default: A)"
    aus = "AUs to label: bp4d, disfa, all, another set, or AU1,AU12,... (default: bp4d in A, disfa in B, all in videos)"
    geometry = "drawn: by this package alone; scanned: stills on the model in --facekit, needs numba (default: drawn)"
    seed = "seed of expressions, scenes and noise; faces depend on their number only (default: 0)"
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the data set")
    add("--lab", choices=("A", "B"), default="A", help=labs)
    add("--subjects", type=int, metavar="N", help="number of faces (default: 40)")
    add("--frames", type=int, metavar="N", help="images per face (default: 100), or frames per video (default: 3000)")
    add("--clips", type=int, metavar="N", help="micro-expression clips per face, in place of images")
    add("--videos", type=int, metavar="N", help="videos per face (MP4), in place of images; a row per frame")
    add("--fps", type=float, metavar="X", help="frames a second of the videos, 20 to 240 (default: 25)")
    add("--aus", metavar="LIST", help=aus)
    add("--size", type=int, default=112, metavar="PIXELS", help="side of an image (default: 112)")
    add("--seed", type=int, default=0, metavar="N", help=seed)
    add("--first-subject", type=int, default=0, metavar="N", help="number of the first face (default: 0)")
    add("--pose-scale", type=float, default=1.0, metavar="X", help="factor on the spread of the head pose (default: 1)")
    uneven = "share of active AUs that act more on one side, of drawn stills, to learn sides from (default: 0)"
    add("--asymmetry", type=float, metavar="SHARE", help=uneven)
    add("--geometry", choices=("drawn", "scanned"), help=geometry)
    add("--facekit", type=Path, metavar="PATH", help="your copy of ICT-FaceKit: its folder, or a .npz of its arrays")
    add("--no-jitter", action="store_true", help="crop exactly by the `eyes` recipe")
    add("--no-roll", action="store_true", help="keep heads upright")
    add("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    add(
        "--sheet",
        action="store_true",
        help="write DIR/sheet.png, with --videos also DIR/strip.png, the first of them over time; without --subjects, "
        "--frames, --clips or --videos, only that",
    )


def run(args: argparse.Namespace) -> int:
    """Render, then say what was written.

    Raises:
        ValueError: The options do not fit together, or the folder holds something else.
    """
    from auformer.synthetic.writing import OPTIONS, check_options, render_options

    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    check_options(options)
    if args.sheet:
        for path in _sheets(args):
            print(f"wrote {path}")
        if all(getattr(args, name) is None for name in ("subjects", "frames", "clips", "videos")):
            return 0
    from auformer.data.manifest import read_manifest

    manifest = render_options(args.out, options, workers=args.workers, progress=True)
    print(summary(read_manifest(manifest).attrs["side"]))
    print(manifest)
    return 0


def _sheets(args: argparse.Namespace) -> list[Path]:
    """Write the contact sheets of the geometry that was asked for -> their paths."""
    if args.geometry == "scanned":
        from auformer.synthetic.scanned.facekit import read_facekit
        from auformer.synthetic.scanned.plan import person_number
        from auformer.synthetic.scanned.sheet import write_sheets

        first = person_number(args.lab, args.first_subject)
        return write_sheets(args.out, read_facekit(args.facekit), args.size, args.seed, first)
    from auformer.synthetic.sheet import write_sheet

    sheets = [write_sheet(args.out / "sheet.png", args.size, args.seed, args.first_subject)]
    if args.videos is not None:
        from auformer.synthetic.frames import SceneOptions
        from auformer.synthetic.strip import write_strip
        from auformer.synthetic.writing import FPS, VIDEO_FRAMES

        frames = VIDEO_FRAMES if args.frames is None else args.frames
        options = SceneOptions(args.pose_scale, not args.no_jitter, not args.no_roll)
        fps = FPS if args.fps is None else args.fps
        path = args.out / "strip.png"
        shown = {"size": args.size, "seed": args.seed, "options": options}
        sheets.append(write_strip(path, args.lab, args.first_subject, frames, fps, **shown))
    return sheets


def summary(side: dict[str, Any]) -> str:
    """Text table of a rendered data set, from its sidecar: rows, subjects, and how often each AU is present."""
    what = f"{side['clips']['count']} clips, " if "clips" in side else ""
    if "videos" in side:
        what = "{count} videos of {fps:g} frames a second with {blinks} blinks, ".format(**side["videos"])
    lines = [
        f"{side['dataset']}: {what}{side['rows']:,} images of {side['subjects']} subjects, {side['image_size'][0]} px",
        "",
        f"{'AU':<6}{'positives':>10}{'rate':>8}{'expected':>10}",
    ]
    for name, rate in side["label_rates"].items():
        expected = f"{rate['expected']:.3f}" if "expected" in rate else "-"
        lines.append(f"{name:<6}{rate['positives']:>10,}{rate['measured']:>8.3f}{expected:>10}")
    return "\n".join(lines)
