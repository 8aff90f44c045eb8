"""Statistics of predictions over time: per person, video and AU, and per pair of AUs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auformer.annotations.tables import rounded
from auformer.annotations.videos import Person, Video, collect
from auformer.episodes import runs

_KEY = ("dataset", "subject", "sequence", "file", "face", "person")


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """What each person shows in each video, per AU.

    Args:
        table: As `auformer.predict.read_predictions` gives it.

    Returns:
        A row per person, video and AU: the key, `file`, `face`, `person`, `au`; `frames` of the video in the table,
        `usable_frames` in which the face is seen, `usable_share`, `usable_s` (their seconds); `active_share` of the
        usable time; `episodes`, `episodes_per_minute` of usable time, `mean_duration_s`; `mean_prob`; `mean_intensity`
        over the usable frames, `mean_intensity_active` over the active ones, `peak_intensity`. Where a source has no
        times, shares are of frames and what needs time is empty. Empty too: the mean of nothing.

    Raises:
        ManifestError: Times of a source run backwards, or the table has no action unit.
    """
    collected = collect(table, untimed=True)
    parts = [_person(video, person) for video in collected.videos for person in video.people]
    if not parts:
        raise ValueError(f"Expected a face in some image, but {table.attrs.get('path', 'the table')} has none")
    return rounded(pd.concat(parts, ignore_index=True))


def cooccurrence(table: pd.DataFrame) -> pd.DataFrame:
    """How much of the time two AUs are active together.

    Returns:
        A row per person, video and pair of AUs: the key, `file`, `face`, `person`, `au_1`, `au_2`; `both_share` of the
        usable time; `expected_share`, what it would be if the two were independent; `jaccard`, both over either
        (empty where neither is ever active); `share_of_1` and `share_of_2`, how much of each AU's active time the other
        is active too.

    Raises:
        ManifestError: Times of a source run backwards, or the table has no action unit.
    """
    collected = collect(table, untimed=True)
    parts = [_pairs(video, person) for video in collected.videos for person in video.people]
    return rounded(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()


def _weights(video: Video, person: Person) -> np.ndarray:
    """(n,) seconds of each frame; 1 where there are no times, or where all frames have one time."""
    lengths = person.ends - person.times
    return lengths if video.timed and lengths.sum() > 0 else np.ones(len(lengths))


def _about(video: Video, person: Person) -> dict[str, object]:
    return dict(zip(_KEY, (*video.key, video.file, person.face, person.label), strict=True))


def _person(video: Video, person: Person) -> pd.DataFrame:
    weights, active, timed = _weights(video, person), person.active, video.timed and len(video.times) > 1
    seconds = float((person.ends - person.times).sum()) if timed else np.nan
    shares = weights @ active / weights.sum()
    found = [runs(person.times, column, video.usual) for column in active.T]
    counts = np.array([len(each) for each in found])
    durations = [
        float((person.ends[each[:, 1]] - person.times[each[:, 0]]).mean()) if len(each) else np.nan for each in found
    ]
    columns = {
        "au": list(video.au_names),
        "frames": len(video.times),
        "usable_frames": len(person.times),
        "usable_share": len(person.times) / len(video.times),
        "usable_s": seconds,
        "active_share": shares,
        "episodes": counts if timed else pd.array([pd.NA] * len(counts), "Int64"),
        "episodes_per_minute": counts / seconds * 60 if timed and seconds > 0 else np.nan,
        "mean_duration_s": durations if timed else np.nan,
        "mean_prob": _means(person.probs, np.ones_like(active)),
        "mean_intensity": _means(person.intensity, np.ones_like(active)),
        "mean_intensity_active": _means(person.intensity, active),
        "peak_intensity": np.fmax.reduce(person.intensity, axis=0),
    }
    return pd.DataFrame({**_about(video, person), **columns})


def _means(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(N,) means of the known values (n, N) that are chosen; nan where there is none."""
    known = chosen & ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def _pairs(video: Video, person: Person) -> pd.DataFrame:
    weights, active = _weights(video, person), person.active.astype(float)
    together = (active * weights[:, None]).T @ active / weights.sum()
    alone = np.diag(together)
    first, second = np.triu_indices(len(video.au_names), k=1)
    both, one, two = together[first, second], alone[first], alone[second]
    names = np.array(video.au_names)
    columns = {
        "au_1": names[first],
        "au_2": names[second],
        "both_share": both,
        "expected_share": one * two,
        "jaccard": _ratio(both, one + two - both),
        "share_of_1": _ratio(both, one),
        "share_of_2": _ratio(both, two),
    }
    return pd.DataFrame({**_about(video, person), **columns})


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(k,) quotients; nan where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
