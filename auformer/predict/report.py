"""The report of a run: one page with interactive timelines, a summary per AU, problems, and the settings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from auformer.data.images import read_image
from auformer.data.video import images_at
from auformer.files import write_text
from auformer.predict.descriptions import describe_predictions
from auformer.predict.figures import HIGH, au_summary, main_series, shown_aus, small
from auformer.predict.progress import about
from auformer.predict.sources import Source, sequence_files
from auformer.predict.thumbnails import photographs
from auformer.report.html import (
    Section,
    build_report,
    bullets,
    code,
    figure,
    meaning,
    paragraph,
    responsible_use,
    table,
)
from auformer.report.inks import au_label, au_order
from auformer.report.table import Table
from auformer.report.timeline import hover_timeline

MOST = (
    30  # sources with a section of their own; more photos are shown small. The page stays small enough to open [ours]
)
LISTED = 500  # lines of the list at the top [ours]
_FACES = 8  # of a video, in the table of its people: more are too wide for a page [ours]
_TOLD = 12  # frames of a video whose movements are told in a sentence [ours]
_SHOTS, _SHOT_WIDTH = 6, 150  # small images along a timeline, and their width in pixels [ours]
_PHOTO_WIDTH = 360  # pixels [ours]
_QUALITY = 80  # of JPEG [ours]
SCORES = (
    "How errors differ between people and groups is measured on labelled faces: auformer evaluate CHECKPOINT MANIFEST "
    "--out FILE, then auformer score FILE --by subject (or a group_... column)."
)


def write_report(
    path: Path, entries: Sequence[tuple[Source, pd.DataFrame, str]], side: dict[str, Any], *, command: str,
    describe: str = "",
) -> None:  # fmt: skip
    """Write the page; an existing one is replaced.

    Args:
        path: HTML file.
        entries: Each source with its rows and the problem with it, empty where there is none.
        side: Content of the sidecar; with a notice, the network has seen rendered faces only; `resting_levels` as of
            `auformer.predict.resting`, where that was asked for.
        command: How the run was started, for the settings.
        describe: Language of sentences about faces, `en` or `de`; empty: none.
    """
    aus, intensity = au_order(side["au_names"]), any(_levels_of(rows) for _, rows, _ in entries)
    use = responsible_use((side["notice"] or "").split("\n")[0], intensity=intensity)
    words = [use, paragraph(_population(side)), paragraph(SCORES)]
    sections = [Section("Sources", [_overview(entries), *words], wide=True)]
    photos = [entry for entry in entries if entry[0].kind == "photo"]
    single = entries if len(photos) <= MOST else [entry for entry in entries if entry[0].kind != "photo"]
    for source, rows, problem in single[:MOST]:
        if source.kind == "photo":
            section = _photo(source, rows, aus, problem)
        else:
            resting = side.get("resting_levels", {}).get(source.name, {})
            section = _video(source, rows, aus, problem, resting)
        told = _sentences(source, rows, side["au_names"], describe)
        sections.append(section._replace(blocks=[*section.blocks, *told]))
    if len(photos) > MOST:
        sections.append(photographs(photos, aus))
    if len(single) > MOST:
        more = len(single) - MOST
        rest = f"{more} more sources are in the table only: a page with all of them would be too large to open."
        sections.append(Section("Further sources", [paragraph(rest)]))
    settings = code(f"{command}\n\n{json.dumps(side, indent=1, ensure_ascii=False)}", "settings")
    sections.append(Section("Settings", [settings], wide=True))
    lead = f"Visible movements of facial muscles, image by image. {meaning(intensity=intensity)}"
    write_text(path, build_report("Action units", sections, lead=lead, footer=f"auformer {side['package_version']}"))


def _population(side: dict[str, Any]) -> str:
    """The people that the network was trained on."""
    data = (side.get("config") or {}).get("training_data") or {}
    train = data.get("train", data)
    if not isinstance(train, dict) or not train.get("datasets"):
        return "What the network was trained on is not known: its checkpoint does not say."
    counts = "".join(
        f" {train[name]:,} {word}"
        for name, word in (("rows", "faces,"), ("subjects", "people,"))
        if isinstance(train.get(name), int)
    )
    names = ", ".join(map(str, train["datasets"]))
    return f"The network was trained on{counts} data sets {names}. How well it does on others is another matter."


def _overview(entries: Sequence[tuple[Source, pd.DataFrame, str]]) -> str:
    """One line per source: images, those without a face, faces, whether there is a problem; below, which.

    More photos than have sections of their own share a line.
    """
    photos = [entry for entry in entries if entry[0].kind == "photo"]
    many = photos if len(photos) > MOST else []
    lines = [(f"{len(many):,} photos", "photo", many)] if many else []
    lines += [(entry[0].name, entry[0].kind, [entry]) for entry in entries if not many or entry[0].kind != "photo"]
    rows = []
    for name, kind, parts in lines[:LISTED]:
        found = [(part, part[part["status"] == "ok"]) for _, part, _ in parts]
        frames = sum(part["frame"].nunique() for part, _ in found)
        with_face = sum(seen["frame"].nunique() for _, seen in found)
        people = sum(seen["face"].nunique() for _, seen in found)
        without = "0" if frames == with_face else f"{frames - with_face} ({100 * (1 - with_face / frames):.0f} %)"
        problem = "see below" if any(words for _, _, words in parts) else "none"
        rows.append([name, kind, f"{frames:,}", without, f"{people:,}", problem])
    problems = [about(source.file, problem) for source, _, problem in entries if problem]
    header = ["Source", "Kind", "Images", "Without a face", "Faces", "Problem"]
    note = (
        "In a video, faces are numbered over time: one that was away for more than a second, or comes back elsewhere, "
        "gets a new number."
    )
    more = [f"{len(lines) - LISTED:,} more sources are in the table only."] if len(lines) > LISTED else []
    return table(Table(header, rows, title="What was read", notes=[note, *more, *problems]))


def _levels_of(rows: pd.DataFrame) -> list[str]:
    """Columns of intensities."""
    return [name for name in rows if str(name).endswith("_intensity_pred")]


def _video(source: Source, rows: pd.DataFrame, aus: list[str], problem: str, resting: Mapping[str, Any]) -> Section:
    """Timeline and summary of the face that a video shows longest, and how strongly each face shows each AU.

    `resting` holds what was subtracted from the intensities of each face, where that was asked for.
    """
    aus = au_order(shown_aus(rows, aus))
    blocks = [paragraph(f"Problem: {problem}")] if problem else []
    series = main_series(rows, aus)
    if series is None:
        return Section(source.name, blocks or [paragraph("No face was found.")], wide=True)
    seconds = series.unit != "Frame"
    summary = {au: au_summary(rows, au, series.face) for au in aus}
    which = f", the one seen longest of {series.others + 1}" if series.others else ""
    strips = "strips" if series.intensity is None else "bands (area: intensity, 0 to 5; line: probability, 0 to 1)"
    blocks.append(paragraph(f"Face {series.face}{which}. Point at the {strips} for numbers."))
    events = {au: summary[au]["spans"] for au in aus}
    shots, times = _shots(source, series.frames), series.frames.to_numpy()
    label = f"Probabilities of {len(aus)} action units over time in {source.name}"
    blocks.append(
        hover_timeline(
            times, series.probs, aus, events, shots, label=label, seconds=seconds, intensity=series.intensity
        )
    )
    blocks.append(_summary(summary, "s" if seconds else "frames"))
    if series.intensity is not None:
        blocks.append(_people(rows, aus, resting))
    return Section(source.name, blocks, wide=True)


def _summary(summary: dict[str, dict[str, Any]], unit: str) -> str:
    """Per AU: share of the frames, episodes, their mean length, mean probability."""
    rows = []
    for au, facts in summary.items():
        length = "–" if np.isnan(facts["mean_length"]) else f"{facts['mean_length']:.2f}"
        prob = "–" if np.isnan(facts["mean_prob"]) else f"{facts['mean_prob']:.3f}"
        numbers = (f"{100 * facts['share']:.1f}", str(len(facts["spans"])), length, prob)
        rows.append([au_label(au), *numbers])
    header = ["Action unit", "Active, % of frames", "Episodes", f"Mean length, {unit}", "Mean probability"]
    notes = ["Active: at or above the decision threshold, see Settings."]
    if "AU45" in summary:
        notes.append("AU45: eyes closed (AU43) for less than half a second; each episode is a blink.")
    return table(Table(header, rows, title="Per action unit, frames with this face", notes=notes))


def _people(rows: pd.DataFrame, aus: list[str], resting: Mapping[str, Any]) -> str:
    """Per AU the mean and the high intensity of each face, those seen longest first."""
    counts = rows.loc[rows["status"] == "ok", "face"].value_counts().sort_index()
    faces = counts.sort_values(ascending=False, kind="stable").index.tolist()[:_FACES]
    cells = []
    for au in aus:
        facts = [au_summary(rows, au, face) for face in faces]
        pairs = [(one["mean_intensity"], one["high_intensity"]) for one in facts]
        cells.append([au_label(au), *("–" if np.isnan(a) else f"{a:.2f} ({b:.1f})" for a, b in pairs)])
    header = ["Action unit", *(f"Face {face}, {counts[face]:,} frames" for face in faces)]
    notes = [f"Mean over the frames with the face, in brackets what the strongest {100 * (1 - HIGH):.0f} % reach."]
    if len(counts) > len(faces):
        notes.append(f"Of {len(counts)} faces the {len(faces)} seen longest; the others are in the table.")
    left = [str(face) for face in faces if resting.get(str(face), {}).get("levels") is None]
    if resting:
        which = f", but not from that of face {', '.join(left)}, seen too shortly" if left else ""
        notes.append(f"The resting level of each face was subtracted from its intensity{which}.")
    return table(Table(header, cells, title="Intensity, 0 to 5, of each person", notes=notes))


def _photo(source: Source, rows: pd.DataFrame, aus: list[str], problem: str) -> Section:
    """A photo and the probabilities of its faces."""
    blocks = [paragraph(f"Problem: {problem}")] if problem else []
    name = PurePosixPath(source.name).name
    with contextlib.suppress(ValueError):  # the problem is stated above
        blocks.append(figure(_jpeg(small(read_image(source.file), _PHOTO_WIDTH)), alt=f"photo {name}"))
    found = rows[rows["status"] == "ok"].head(8)
    if len(found):
        header = ["Action unit", *(f"Face {face}" for face in found["face"])]
        cells = []
        for au in aus:
            columns = found.reindex(columns=[f"{au}_{kind}" for kind in ("prob", "active", "intensity_pred")])
            cells.append([au_label(au), *(_photo_cell(*values) for values in columns.itertuples(index=False))])
        what = "Probability and intensity" if _levels_of(found) else "Probability"
        blocks.append(table(Table(header, cells, title=f"{what}, the largest face first")))
    return Section(source.name, blocks or [paragraph("No face was found.")])


def _photo_cell(prob: float, active: int, level: float) -> str:
    """What to say of one AU of one face; `level` is nan without an intensity.

    >>> _photo_cell(0.931, 1, 3.2), _photo_cell(0.1, 0, float("nan"))
    ('0.93 active, 3.2 of 5', '0.10')
    """
    return f"{prob:.2f}{' active' if active else ''}{'' if np.isnan(level) else f', {level:.1f} of 5'}"


def _sentences(source: Source, rows: pd.DataFrame, au_names: Sequence[str], language: str) -> list[str]:
    """What moves, in words: of each face of a photo, or of a video's main face in frames at equal steps."""
    found = rows[rows["status"] == "ok"]
    if not language or found.empty:
        return []
    if source.kind == "photo":
        found = found.head(_FACES)
        names = [f"Face {face}" for face in found["face"]]
    else:
        face = found["face"].value_counts().sort_index().idxmax()
        found = found[found["face"] == face].sort_values("frame")
        found = found.iloc[np.unique(np.linspace(0, len(found) - 1, _TOLD).round().astype(int))]
        names = [
            f"Frame {frame}" if pd.isna(time) else f"{time:.1f} s"
            for frame, time in zip(found["frame"], found["time_s"], strict=True)
        ]
    told = describe_predictions(found, au_names, language)
    texts = told.loc[told["au"] == "", "text"]
    lines = [f"{name}: {text}" for name, text in zip(names, texts, strict=True)]
    return [bullets("In words, made by rule from the decisions", lines)]


def _shots(source: Source, frames: pd.Series) -> list[tuple[float, bytes]]:
    """Small images of a video at even steps, where they can be read again."""
    steps = frames.iloc[np.unique(np.linspace(0, len(frames) - 1, _SHOTS).round().astype(int))]
    try:
        if source.kind == "video":
            images: Sequence[np.ndarray | None] = images_at(source.file, steps.to_list())
        elif source.kind == "sequence":
            files = sequence_files(source.file)
            images = [read_image(files[number]) for number in steps.index]
        else:
            return []
    except (ValueError, OSError):
        return []
    found = zip(steps, images, strict=True)
    return [(float(time), _jpeg(small(image, _SHOT_WIDTH))) for time, image in found if image is not None]


def _jpeg(image: np.ndarray) -> bytes:
    """A JPEG file in memory."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
