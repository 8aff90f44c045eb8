"""RAF-AU: 4,601 photos from the web, coded by two FACS coders, with the side of one-sided action units."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..formats.au_text import label_columns, note_terms, parse_aus
from ..formats.folds import with_folds
from ..formats.frames import find_photo, frame_number, index_photos, pair_photos
from ..formats.text_lines import bad_line, read_lines, second_line
from ..release import Findings, Release, find_path

RELEASE = Release(
    name="rafau",
    title="RAF-AU",
    request="RAF-AU (RAFAU_label.txt, aligned images) from Weihong Deng, Beijing University of Posts and "
    "Telecommunications",
    terms="research only; neither images nor annotations may be passed on",
    tree="""\
RAFAU_label.txt           a line per image: 0001.jpg 4+L12, or null
aligned/0001_aligned.jpg""",
    # those that OpenGraphAU reads
    au_names=tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, *range(14, 21), *range(22, 28), 32, 39)),
    frames="the number in the image's name, from 1; every photo is a subject of its own, since nothing is said about "
    "who is shown",
    source="lingjivoo/OpenGraphAU:tool/dataset_process.py; Yan et al. 2020 (arXiv 2008.05196)",
    doubts="what `null` means: such photos show expressions, so all their action units are taken as unknown and not "
    "as absent; photos of RAF-DB are among them",
)

_ALIGNED = ("aligned", "Image/aligned", "*/aligned")
_SUFFIX = "_aligned"


def read(root: Path, findings: Findings) -> pd.DataFrame:
    """One row per line of the file of labels, with `AU12_left` and `AU12_right` where a side is given."""
    path = find_path(root, "RAFAU_label.txt", "*/RAFAU_label.txt", what="the file RAFAU_label.txt")
    folder = find_path(root, *_ALIGNED, what="the folder aligned")
    photos = index_photos(folder)
    lines = _read_labels(path)
    stems, texts = list(lines), [parse_aus(text) for _, text in lines.values()]
    for read_text, (number, said) in zip(texts, lines.values(), strict=True):
        note_terms(read_text, repr(said), f"{path.name} line {number}", findings)
    nothing = sum(not (text.aus or text.ambiguous or text.unread) for text in texts)
    if nothing:
        findings.note("photos without labels", path.name, f"{nothing:,} of {len(texts):,} lines say `null` or nothing")
    rows = pd.DataFrame({"subject": stems, "sequence": "photo", "frame": [frame_number(stem) or 0 for stem in stems]})
    rows = pd.concat([rows, label_columns(texts, RELEASE.au_names)], axis=1)
    images = [find_photo(photos, f"{stem}{_SUFFIX}.jpg") or find_photo(photos, f"{stem}.jpg") for stem in stems]
    lost = [stem for stem, image in zip(stems, images, strict=True) if image is None]
    if len(lost) == len(stems):
        text = "not one of the images that the file of labels names is there"
        findings.miss(folder.relative_to(root).as_posix(), text)
    elif lost:
        text = f"{len(lost):,} of {len(stems):,}, the first is {lost[0]}.jpg"
        findings.note("labels without an image", folder.name, text)
    unnamed = {name.removesuffix(_SUFFIX) for name in photos} - set(stems)
    findings.lack("lines for images that are there", sorted(unnamed))
    rows = pair_photos(rows, root, images).sort_values("subject", kind="stable", ignore_index=True)
    return with_folds(rows, RELEASE.name)


def _read_labels(path: Path) -> dict[str, tuple[int, str]]:
    """Name of an image without suffix -> number of its line, and what the line says."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        name, _, text = line.strip().partition(" ")
        stem, _, suffix = name.rpartition(".")
        if not stem or not suffix.isalpha():
            raise bad_line(path, number, "an image and its codes, as in `0001.jpg 4+L12`", repr(line))
        if stem in found:
            raise second_line(path, number, name, found[stem][0])
        found[stem] = (number, text)
    return found
