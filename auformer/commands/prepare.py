"""A licensed data set, from its official release to aligned crops and a checked manifest.

  auformer prepare --list                     what each data set needs, from whom, and the expected tree
  auformer prepare disfa --root /data/DISFA --out /data/disfa-crops
  auformer prepare disfa --help               the options of one data set
  auformer prepare csv --root photos --out photos-crops     your own images, with or without a table of labels

Writes DIR/crops/, DIR/manifest.csv, its sidecars, and a summary. The same command again resumes an interrupted run, or
finds that all is there. The release is never written to.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auformer.data_prep.datasets.catalogue import Reader
    from auformer.data_prep.pipeline.prepare import Prepared

SIZE, WORKERS = 224, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the first words of `auformer prepare`; those that follow depend on the data set."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="data set, see --list")
    add("options", nargs=argparse.REMAINDER, metavar="...", help="its options: auformer prepare NAME --help")
    add(
        "--list",
        action="store_true",
        help="say what each data set needs, from whom to request it, and the expected tree",
    )


def run(args: argparse.Namespace) -> int:
    """Prepare a data set, then say what was written; or list the data sets.

    Raises:
        DatasetLayoutError: The release does not look as expected, or the output folder holds something else.
        ValueError: There is no such data set, or an option is out of range.
        OSError: The result cannot be written.
    """
    from auformer.data_prep.datasets.catalogue import NAMES, NOT_READ, load
    from auformer.data_prep.pipeline.summary import release_lines

    if args.list:
        releases = ["\n".join(release_lines(load(name).RELEASE)) for name in NAMES]
        print("\n\n".join(releases + [f"not read: {text}" for text in NOT_READ.values()]))
        return 0
    if args.name is None:
        raise ValueError(f"Expected a data set, one of {', '.join(NAMES)}. See: auformer prepare --list")
    reader = load(args.name)
    return _prepare(reader, _parser(reader).parse_args(args.options))


def _parser(reader: Reader) -> argparse.ArgumentParser:
    """The options of one data set: those of all, and its own."""
    from auformer.data_prep.pipeline.prepare import BORDERS, own_options
    from auformer.data_prep.pipeline.summary import release_lines
    from auformer.faces import CROP_RECIPES

    release, own = reader.RELEASE, own_options(reader)
    parser = argparse.ArgumentParser(
        prog=f"auformer prepare {release.name}",
        description="\n".join(release_lines(release)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--root", required=True, type=Path, metavar="DIR", help="folder of the release, never written to")
    add("--out", type=Path, metavar="DIR", help="folder for crops/, the manifest and its sidecars")
    add("--workers", type=int, default=WORKERS, metavar="N", help=f"processes (default: {WORKERS})")
    add("--limit", type=int, metavar="N", help="only the first N rows that have an image")
    add("--dry-run", action="store_true", help="read and count the labels; open no image, write nothing")
    detectors = "face detector: cascade, yunet, yunet:MODEL or table:FILE (default: cascade)"
    add("--detector", default="cascade", metavar="SPEC", help=detectors)
    add("--recipe", choices=sorted(CROP_RECIPES), default="eyes", help="how faces are cropped (default: eyes)")
    add("--size", type=int, default=SIZE, metavar="PIXELS", help=f"side of a crop (default: {SIZE})")
    add("--border", choices=BORDERS, default=BORDERS[0], help=f"what lies outside an image (default: {BORDERS[0]})")
    add("--partial", action="store_true", help="continue if files of the release are missing")
    add("--parquet", action="store_true", help="write manifest.parquet in place of manifest.csv")
    if "corrections" in own:
        keep = "keep the known faults of the release as they are"
        add("--no-corrections", dest="corrections", action="store_false", help=keep)
    for name, option in release.options.items():
        add(f"--{name.replace('_', '-')}", default=own[name], **option)
    return parser


def _prepare(reader: Reader, args: argparse.Namespace) -> int:
    """Do it and print the summary; the exit code."""
    from auformer.data_prep import prepare
    from auformer.data_prep.pipeline.prepare import own_options

    if args.out is None and not args.dry_run:
        raise ValueError("Expected `--out`, a folder for the result, but got none. To read the labels only: --dry-run")
    own = {name: getattr(args, name) for name in own_options(reader)}
    common = ("workers", "limit", "dry_run", "detector", "recipe", "size", "border", "partial", "parquet")
    settings = {name: getattr(args, name) for name in common}
    done = prepare(reader.RELEASE.name, args.root, args.out, options=own, progress=True, **settings)
    print("\n".join(_summary(done, args.limit)))
    if args.dry_run:
        done.findings.require_complete(args.partial)
    return 0


def _summary(done: Prepared, limit: int | None) -> list[str]:
    """What was prepared, what was found on the way, and where it is."""
    from auformer.data_prep.pipeline.summary import table_lines

    title = done.release.title + (f", the first {limit:,} rows with an image only" if limit else "")
    lines = [title, *table_lines(done.table)]
    if found := done.findings.lines():
        lines += ["", "Found on the way:", *(f"  {line}" for line in found)]
    if done.manifest is None:
        return [*lines, "", "Labels only: no image was opened, nothing was written."]
    return [*lines, "", str(done.manifest) if done.made else f"All was there already: {done.manifest}"]
