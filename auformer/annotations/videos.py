"""A predictions file as videos and the people in them: times, what is active when, and episodes with their numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from auformer.aus import ACTION_UNITS
from auformer.data.cells import LETTERS
from auformer.data.schema import aus_with
from auformer.episodes import frame_ends, runs, usual_length
from auformer.errors import ManifestError
from auformer.predict.agreement import active_values
from auformer.predict.sources import Source, unique_stems
from auformer.predict.table import DATASET, TIME_DECIMALS

_SOURCE = ["dataset", "subject", "sequence"]
_INTENSITIES = ("intensity_pred", "intensity")  # kinds of columns that hold intensities: ours, OpenFace's


@dataclass(frozen=True, eq=False)
class Person:
    """One face of a video over the n frames in which it is seen.

    Args:
        face: Its number in the predictions file.
        label: What files call it: `face0`, in tables of a data set its subject.
        places: (n,) positions of the frames among those of the video, rising.
        times: (n,) seconds, rising.
        ends: (n,) seconds at which the frames end.
        active: (n, N) bool.
        probs: (n, N) probability, nan where unknown.
        intensity: (n, N) in 0 to 5, nan where unknown.
    """

    face: int
    label: str
    places: np.ndarray
    times: np.ndarray
    ends: np.ndarray
    active: np.ndarray
    probs: np.ndarray
    intensity: np.ndarray


@dataclass(frozen=True, eq=False)
class Video:
    """A source with m frames.

    Args:
        key: `dataset, subject, sequence` of its rows.
        file: Its path as the table has it; empty where it does not say.
        stem: A name for its files, different from those of the others.
        au_names: The N action units.
        times: (m,) seconds, rising; numbers of frames where the table has no times.
        ends: (m,) at which the frames end.
        usual: The usual frame length.
        people: Its faces by number; empty where none is seen.
        timed: Whether `times` are seconds.
    """

    key: tuple[str, str, str]
    file: str
    stem: str
    au_names: tuple[str, ...]
    times: np.ndarray
    ends: np.ndarray
    usual: float
    people: tuple[Person, ...]
    timed: bool = True

    @property
    def length(self) -> float:
        """Seconds from 0 to the end of the last frame."""
        return float(self.ends.max())

    def track(self, au: str, person: Person) -> str:
        """What a tier for an AU of a person is called: `AU12`, and `AU12@face1` where there are several people."""
        return f"{au}@{person.label}" if len(self.people) > 1 else au

    def own_stem(self, person: Person) -> str:
        """The stem of a person's own file."""
        return f"{self.stem}-{person.label}" if len(self.people) > 1 else self.stem


class Collected(NamedTuple):
    """Videos, how many rows have no times (photographs), and of how many sources those are."""

    videos: list[Video]
    rows_without_times: int
    sources_without_times: int


def collect(table: pd.DataFrame, *, untimed: bool = False) -> Collected:
    """Bring a predictions file into videos and people.

    Args:
        table: As `auformer.predict.compare.read_predictions` gives it.
        untimed: Whether rows without times count too, by the numbers of their frames; else they are left out.

    Raises:
        ManifestError: Times of a source run backwards, or the table has no action unit.
    """
    where = str(table.attrs.get("path", "predictions"))
    au_names = tuple(sorted({au for kind in ("prob", "active") for au in aus_with(table.columns, kind)}, key=_number))
    if not au_names:
        raise ManifestError(f"{where}: expected columns such as `AU12_prob` or `AU12_active`, but there is none")
    values = _Values(table, au_names)
    times = pd.to_numeric(table["time_s"]) if "time_s" in table else pd.Series(np.nan, table.index)
    lacking = times.isna().to_numpy(bool)
    groups = _groups(table)
    kept: list[tuple[tuple[str, str, str], np.ndarray, bool]] = []
    for rows in groups:
        some = rows[~lacking[rows]]
        rows, timed = (some, True) if len(some) or not untimed else (rows, False)
        if len(rows):
            key = tuple(str(table[name].iloc[rows[0]]) for name in _SOURCE)
            kept.append((key, rows, timed))  # type: ignore[arg-type]
    seconds = np.where(lacking, table["frame"].to_numpy(float), times.to_numpy(float))
    stems = _stems([key for key, _, _ in kept])
    videos = [
        values.video(key, stem, rows, seconds, timed=timed, where=where)
        for (key, rows, timed), stem in zip(kept, stems, strict=True)
    ]
    without = sum(bool(lacking[rows].all()) for rows in groups)
    return Collected(videos, int(lacking.sum()), without)


def episode_table(video: Video, person: Person) -> pd.DataFrame:
    """The episodes of a person.

    Returns:
        By begin, then AU: `au`, `begin_s`, `end_s`, `frames`, `mean_prob`, `mean_intensity`, `peak_intensity` (nan
        where unknown). Times have six decimals. Episodes of one AU do not overlap; one whose frames all have the time
        stamp of the frame after them has no length.
    """
    parts = []
    for column, au in enumerate(video.au_names):
        found = runs(person.times, person.active[:, column], video.usual)
        if not len(found):
            continue
        first, last = found[:, 0], found[:, 1]
        levels = person.intensity[:, column]
        columns = {
            "begin_s": person.times[first].round(TIME_DECIMALS),
            "end_s": person.ends[last].round(TIME_DECIMALS),
            "frames": last - first + 1,
            "mean_prob": _means(person.probs[:, column], first, last),
            "mean_intensity": _means(levels, first, last),
            "peak_intensity": _peaks(levels, first, last),
        }
        parts.append(pd.DataFrame({"au": au, **columns}))
    if not parts:
        names = ["au", "begin_s", "end_s", "frames", "mean_prob", "mean_intensity", "peak_intensity"]
        return pd.DataFrame({name: pd.Series(dtype=str if name == "au" else float) for name in names})
    return pd.concat(parts, ignore_index=True).sort_values("begin_s", kind="stable", ignore_index=True)


def letters(peak: np.ndarray) -> np.ndarray:
    """FACS letters of intensities (k,) in 0 to 5: the nearest of A to E, at least A; empty text where nan.

    >>> letters(np.array([0.2, 2.6, 5.0, np.nan])).tolist()
    ['A', 'C', 'E', '']
    """
    level = np.clip(np.rint(np.nan_to_num(peak, nan=1.0)), 1, 5).astype(int)
    return np.where(np.isnan(peak), "", np.array(list(LETTERS))[level - 1])


def au_text(au: str) -> str:
    """Number and FACS name.

    >>> au_text("AU12")
    'AU12 Lip corner puller'
    """
    return f"{au} {ACTION_UNITS[au].name}"


def _groups(table: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each source, in the order in which the sources come; by codes, which take less memory than texts."""
    codes = np.zeros(len(table), np.int64)
    for name in _SOURCE:
        found, texts = pd.factorize(table[name], use_na_sentinel=False)
        codes = codes * len(texts) + found
        codes = pd.factorize(codes)[0].astype(np.int64)  # so that they stay small
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []


class _Values:
    """The numbers of a table: N columns (rows,) of each kind, stacked where a person's rows are taken from them."""

    def __init__(self, table: pd.DataFrame, au_names: tuple[str, ...]) -> None:
        self.au_names = au_names
        self.frames, self.faces = table["frame"].to_numpy(), table["face"].to_numpy()
        self.seen = (table["status"] == "ok").to_numpy(bool)
        self.files = table.get("file")
        self.active = [active_values(table, au) == 1 for au in au_names]
        self.probs = [_numbers(table, [f"{au}_prob"]) for au in au_names]
        self.intensity = [_numbers(table, [f"{au}_{kind}" for kind in _INTENSITIES]) for au in au_names]

    def video(
        self, key: tuple[str, str, str], stem: str, rows: np.ndarray, seconds: np.ndarray, *, timed: bool, where: str
    ) -> Video:
        """One source of some rows; `seconds` are those of all rows."""
        rows = rows[np.lexsort((self.faces[rows], self.frames[rows]))]
        frames, first = np.unique(self.frames[rows], return_index=True)
        times = seconds[rows[first]]
        back = np.flatnonzero(np.diff(times) < 0)
        if len(back):
            at = back[0]
            raise ManifestError(
                f"{where}: expected the times of {key[2]} to rise with its frames, but frame {frames[at]} is at "
                f"{times[at]:g} s and frame {frames[at + 1]} at {times[at + 1]:g} s; correct `time_s`, or predict again"
            )
        ends, usual = frame_ends(times), usual_length(times)
        seen = rows[self.seen[rows]]
        people = []
        for face in np.unique(self.faces[seen]):
            own = seen[self.faces[seen] == face]
            places = np.searchsorted(frames, self.frames[own])
            label = f"face{face}" if key[0] == DATASET else _word(key[1]) + (f"-face{face}" if face else "")
            values = [_stacked(columns, own) for columns in (self.active, self.probs, self.intensity)]
            people.append(Person(int(face), label, places, times[places], ends[places], *values))
        file = self.files.iloc[rows[0]] if self.files is not None else ""
        file = "" if pd.isna(file) else str(file)
        return Video(key, file, stem, self.au_names, times, ends, usual, tuple(people), timed)


def _number(au: str) -> int:
    return int(au[2:])


def _numbers(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """(rows,) the first of some columns that is there, else nan."""
    name = next((name for name in names if name in table), None)
    if name is None:
        return np.full(len(table), np.nan)
    values = pd.to_numeric(table[name])
    return values.to_numpy() if values.dtype == np.float64 else values.to_numpy(float, na_value=np.nan)  # no copy


def _stacked(columns: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """(n, N) some rows of N columns."""
    return np.stack([column[rows] for column in columns], axis=1)


def _word(text: str) -> str:
    """A text without what no file name or tier may hold."""
    return re.sub(r'[\s%*?"<>|:/\\@]', "_", text)


def _stems(keys: list[tuple[str, str, str]]) -> list[str]:
    """A file name per source: that of the user's own file, subject and sequence in tables of a data set."""
    names = [key[2] if key[0] == DATASET else f"{_word(key[1])}_{_word(key[2])}.rows" for key in keys]
    return unique_stems([Source(name, name, "video") for name in names])


def _means(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Means (k,) of the known values from each first to each last place; nan where none is known."""
    known = ~np.isnan(values)
    sums, counts = (_slices(np.add, each, first, last) for each in (np.where(known, values, 0.0), known.astype(float)))
    return np.divide(sums, counts, out=np.full(len(first), np.nan), where=counts > 0)


def _peaks(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Highest known values (k,) from each first to each last place; nan where none is known."""
    return _slices(np.fmax, values, first, last)


def _slices(function: np.ufunc, values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A function reduced over the places from each first to each last one, which do not overlap."""
    bounds = np.column_stack((first, last + 1)).ravel()
    return function.reduceat(np.append(values, np.nan if function is np.fmax else 0.0), bounds)[::2]
