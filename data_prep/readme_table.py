"""The parts of README.md that repeat what the readers declare; `python -m auformer.data_prep.readme_table` writes them anew.

Everything between a mark such as `<!-- data sets -->` and its end `<!-- /data sets -->` comes from the `RELEASE` and the options of
each reader, from the published counts, and from here: one row per data set, its tree with what belongs to it, and what is not read.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from auformer.files import write_text

from .datasets.catalogue import NOT_READ, load, names
from .release import Release
from .verify.published import published

README = Path(__file__).with_name("README.md")

# What a command needs beside --root and --out.
_NEEDS = {"csv": " --table labels.csv", "feafa": " --columns columns.txt"}

# Counts of data sets that `auformer.data_prep.verify.published` does not have, with who says so.
COUNTS = {
    "csv": "your own",
    "disfaplus": "57,150 or 57,668 frames (Py-Feat)",
    "casme_sq": "53 micro- and 250 macro-expressions (first paper, Qu et al. 2016)",
    "ckplus": "593 frames of 123 people (release notes)",
    "unbc": "48,398 frames in 200 sequences of 25 people (Lucey et al. 2011)",
    "affwild2": "none for the frames with labels; 541 videos of 2.6 million frames in all (owner's page)",
    "emotionet": "24,600 photos in the manual set (its name)",
    "rafau": "4,601 photos, 253 of them `null` (counted in public)",
    "feafa": "A: 99,356 frames in 127 sequences; B: 130,828 in 27 (owner's page)",
    "bosphorus": "none for the coded frontal images; 4,666 images of 105 people in all (owner's page)",
}


def command(name: str) -> str:
    """The command that prepares a data set."""
    return f"auformer prepare {name} --root {name} --out {name}-crops{_NEEDS.get(name, '')}"


def counts(name: str) -> str:
    """What is published about the size of a data set's result, with who says so."""
    found = published(name)
    if name in COUNTS or found is None:
        return COUNTS[name]
    total = found.totals[0]
    number = f"{total.frames:,} frames" if total.frames else f"{total.clips:,} clips"
    parts = ", ".join(f"{part} {each.frames:,}" for part, each in found.parts.items())
    return f"{number} ({total.source})" + (f": {parts}" if parts else "")


def row(release: Release) -> str:
    """One line of the table of data sets."""
    title = f"[`{release.name}`](#{release.name}) {release.title}"
    return f"| {title} | {release.request} | {release.terms} | `{command(release.name)}` | {counts(release.name)} |"


def options(name: str) -> str:
    """The data set's own options in a sentence, empty where there are none."""
    parser = argparse.ArgumentParser(add_help=False)
    load(name).add_arguments(parser)
    described = [f"`{action.option_strings[0]}` {(action.help or '') % vars(action)}" for action in parser._actions]
    return f"Options: {'; '.join(described)}." if described else ""


def section(release: Release) -> list[str]:
    """Tree, frame numbers, action units, options and doubts of one data set."""
    aus = ", ".join(name.removeprefix("AU") for name in release.au_names) or "those of your table or of `--columns`"
    lines = [
        f"### {release.name}",
        "",
        f"{release.title}. Action units: {aus}. Frames: {release.frames}.",
        "",
        "```text",
    ]
    lines += [*release.tree.strip("\n").splitlines(), "```", ""]
    if options(release.name):
        lines += [options(release.name), ""]
    if release.doubts:
        lines += [f"Not confirmed by a public source, or to know: {release.doubts.rstrip('.')}.", ""]
    return [*lines, f"Layout read from: {release.source}.", ""]


def parts() -> dict[str, list[str]]:
    """Mark -> the lines that belong between it and its end."""
    releases = [load(name).RELEASE for name in names()]
    head = ["| data set | request | terms | command | published counts |", "|---|---|---|---|---|"]
    trees = [line for release in releases for line in section(release)]
    others = [f"* {text}" for text in NOT_READ.values()]
    return {"data sets": [*head, *map(row, releases)], "trees": trees[:-1], "not read": others}


def renewed(text: str) -> str:
    """The README with its repeated parts as they should be.

    Raises:
        ValueError: A pair of marks is not there exactly once.
    """
    for mark, lines in parts().items():
        pattern = re.compile(rf"<!-- {mark} -->\n.*?<!-- /{mark} -->", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(
                f"Expected one pair of marks <!-- {mark} -->, <!-- /{mark} --> in {README.name}, but got another number; restore them"
            )
        block = "\n".join([f"<!-- {mark} -->", *lines, f"<!-- /{mark} -->"])
        text = pattern.sub(lambda _, block=block: block, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    write_text(README, renewed(README.read_text(encoding="utf-8")))
