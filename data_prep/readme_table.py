"""The sections of README.md that come from the readers: `python -m auformer.data_prep.readme_table` writes them anew.

Everything between a mark such as `<!-- data sets -->` and its end `<!-- /data sets -->` comes from the `RELEASE` of
each reader, from the published counts, and from here: one row per data set, its tree with what belongs to it, and what
is not read.
"""

from __future__ import annotations

from pathlib import Path

from auformer.files import write_text

from .datasets.catalogue import NAMES, NOT_READ, load
from .release import Release
from .verify.published import published

README = Path(__file__).with_name("README.md")

# What a command needs beside --root and --out.
_NEEDS = {"csv": " --table labels.csv", "annotations": " --table talk.eaf", "feafa": " --columns columns.txt"}

# Counts of data sets that `auformer.data_prep.verify.published` does not have, with who says so.
_COUNTS = {
    "csv": "your own",
    "annotations": "your own",
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


def _counts(name: str) -> str:
    """What is published about the size of a data set's result, with who says so."""
    found = published(name)
    if name in _COUNTS or found is None:
        return _COUNTS[name]
    total = found.totals[0]
    number = f"{total.frames:,} frames" if total.frames else f"{total.clips:,} clips"
    folds = ", ".join(f"{fold} {each.frames:,}" for fold, each in found.folds.items())
    return f"{number} ({total.source})" + (f": {folds}" if folds else "")


def _row(release: Release) -> str:
    name = release.name
    command = f"auformer prepare {name} --root {name} --out {name}-crops{_NEEDS.get(name, '')}"
    cells = (f"[`{name}`](#{name}) {release.title}", release.request, release.terms, f"`{command}`", _counts(name))
    return f"| {' | '.join(cells)} |"


def _section(release: Release) -> list[str]:
    """Tree, frame numbers, action units, options and doubts of one data set."""
    aus = ", ".join(name.removeprefix("AU") for name in release.au_names) or "those of your table or of `--columns`"
    head = f"{release.title}. Action units: {aus}. Frames: {release.frames}."
    lines = [f"### {release.name}", "", head, "", "```text", *release.tree.strip("\n").splitlines(), "```", ""]
    if release.options:
        described = [f"`--{name.replace('_', '-')}` {option['help']}" for name, option in release.options.items()]
        lines += [f"Options: {'; '.join(described)}.", ""]
    if release.doubts:
        lines += [f"Unconfirmed, or worth knowing: {release.doubts.rstrip('.')}.", ""]
    return [*lines, f"Layout read from: {release.source}.", ""]


def renewed(text: str) -> str:
    """The README with its repeated sections as they should be.

    Raises:
        ValueError: A pair of marks is not there exactly once.
    """
    releases = [load(name).RELEASE for name in NAMES]
    head = ["| data set | request | terms | command | published counts |", "|---|---|---|---|---|"]
    trees = [line for release in releases for line in _section(release)][:-1]
    sections = {"data sets": [*head, *map(_row, releases)], "trees": trees}
    for mark, lines in {**sections, "not read": [f"* {text}" for text in NOT_READ.values()]}.items():
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended or begin in rest or end in before + after:
            raise ValueError(
                f"Expected one pair of marks {begin}, {end} in {README.name}, but got another number; restore them"
            )
        text = "\n".join([before + begin, *lines, end + after])
    return text


if __name__ == "__main__":
    write_text(README, renewed(README.read_text(encoding="utf-8")))
