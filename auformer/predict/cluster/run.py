"""Large collections: spread over a cluster, and the tables, one per source, of a cluster or of shards joined."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import read_predictions, write_predictions
from auformer.data.table_file import read_sidecar, sidecar_path, write_sidecar
from auformer.errors import ManifestError, require
from auformer.predict.cluster.ray import check_address, run_on_ray
from auformer.predict.cluster.worker import Job
from auformer.predict.outputs import NAME, Plan
from auformer.predict.progress import Progress, Written
from auformer.predict.recorder import COUNTED, Recorder
from auformer.predict.sidecar import MADE_WITH, Loaded, finished_sidecar, own_sidecar, run_mark, run_settings
from auformer.predict.sources import Source
from auformer.predict.types import Selection

DEVICES = ("auto", "cpu", "cuda")  # which of several GPUs is Ray's choice
_OWN = (  # in sidecars, what may differ between sources
    *("source", "source_mark", "counts", "problem", "settings", "AU45", "resting_levels", "resting_notes"),
    "left_out",
)


def predict_on_cluster(
    load: Callable[[str], Loaded], plan: Plan, sources: Sequence[Source], selection: Selection, *, suffix: str,
    address: str | None, workers: int | None, device: str, overwrite: bool, progress: Progress,
) -> Written:  # fmt: skip
    """Spread the sources over a cluster and join the tables; what is finished by an earlier run is left alone.

    `load` gives the predictor, here on the CPU to find mistakes before the work is spread; `suffix` is that of the
    joined table; other arguments are those of `predict_to_files`, which says what is raised.
    """
    _check_arguments(plan, sources, workers, device)
    require("ray", "cluster")
    check_address(address)
    loaded = load("cpu")
    settings = run_settings(loaded.predictor, selection, resting=plan.resting)
    mark = run_mark(settings, loaded.checkpoint, plan)
    finished = {source.name: side for source in sources if (side := finished_sidecar(plan, source, mark))}
    problems = {name: str(side["problem"]) for name, side in finished.items() if side.get("problem")}
    pending = [source for source in sources if source.name not in finished]
    joined = plan.out / f"{NAME}{suffix}"
    _check_outputs(loaded, plan, sources, pending, mark, joined, overwrite)
    job = Job(
        os.getcwd(), loaded.checkpoint, loaded.backbone_checkpoint, loaded.options, plan, selection, settings, mark,
        uuid.uuid4().hex, len(sources),
    )  # fmt: skip
    progress.begun("sources", len(sources), len(finished), finished=len(finished), sources=len(sources))
    begun_again = 0
    tables = {source.name: plan.table(source) for source in pending}
    for row in run_on_ray(job, pending, address=address, workers=workers, device=device) if pending else ():
        problem, table = row["problem"], tables[row["name"]]
        if not problem and not table.is_file():
            problem = f"{table} is not here, though it was written: all machines must see one output folder"
        if problem:
            problems[row["name"]] = problem
        begun_again += row["attempts"] > 1
        progress.advanced(None)
    sides = {source: side for source in sources if (side := own_sidecar(plan, source, mark))}
    found = _join(plan, sides, len(sources), suffix) if plan.kind == "native" else 0
    counts = {"sources": len(sources), **_counts(sides.values())}
    wrong = [(source, problems[source.name]) for source in sources if source.name in problems]
    notes = _whole_tracks(list(sides.values())).get("resting_notes", [])
    return Written(
        plan.out, list(sources), [joined] if found else [], counts, wrong, begun_again=begun_again, joined=found,
        notes=notes,
    )  # fmt: skip


def _check_arguments(plan: Plan, sources: Sequence[Source], workers: int | None, device: str) -> None:
    """Refuse what does not go together."""
    message = ""
    if plan.shard is not None:
        message = "one of --cluster and --shard, but got both: the cluster shares the sources out by itself"
    elif sources[0].kind == "camera":
        message = "files with --cluster, but got a camera: predict that on the machine that it is plugged into"
    elif plan.report:
        message = "no --report with --cluster, but got it: make the page of the few files that you want to look at"
    elif device not in DEVICES:
        message = f"`--device` to be {', '.join(DEVICES)} with --cluster, but got {device!r}: Ray deals out the GPUs"
    elif workers is not None and workers < 1:
        message = f"`--workers` to be at least 1, but got {workers}"
    if message:
        raise ValueError(f"Expected {message}.")


def _check_outputs(
    loaded: Loaded, plan: Plan, sources: Sequence[Source], pending: Sequence[Source], mark: str, joined: Path,
    overwrite: bool,
) -> None:  # fmt: skip
    """Refuse to replace anything but outputs of this run."""
    parts = Recorder(loaded.predictor, plan, pending, mark=mark, notice=None).parts
    new = [one for one in pending if not parts[one.name].begun and own_sidecar(plan, one, mark) is None]
    plan.check(sources, new, page=False, overwrite=overwrite)
    taken = [path for path in (joined, sidecar_path(joined)) if path.exists()]
    if taken and plan.kind == "native" and not overwrite and read_sidecar(joined).get(MADE_WITH) != mark:
        raise ValueError(
            f"Expected `--out` to hold no results yet, but found {taken[0]}: choose another folder, or add --overwrite."
        )


def _join(plan: Plan, sides: dict[Source, dict[str, Any]], num_sources: int, suffix: str) -> int:
    """Join the tables that there are, and return how many; their sidecars then say how many sources there are now."""
    names = set()
    for source, side in sides.items():
        table = plan.table(source)
        if table.is_file():
            names.add(table.name)
            if side.get("num_sources") != num_sources:  # the collection has grown
                write_sidecar({**side, "num_sources": num_sources}, table)
    return merge_tables(plan.out, suffix=suffix, overwrite=True, only=names)[1] if names else 0


def merge_tables(
    folder: str | Path, *, suffix: str = ".csv", overwrite: bool = False, only: Collection[str] | None = None
) -> tuple[Path, int, int, list[tuple[str, str]]]:
    """Join the tables, one per source, that shards or a cluster wrote to a folder, into `predictions.csv` there.

    Args:
        folder: The output folder of the shards.
        suffix: `.csv` or `.parquet`, of the joined table.
        overwrite: Replace a joined table that is there.
        only: File names of the tables to join; all by default.

    Returns:
        The joined table, how many sources it holds, how many there should be, and files with their problems.

    Raises:
        ValueError: There is no table of a shard, or the joined one is there already.
        ManifestError: The tables come from different checkpoints or settings.
    """
    folder = Path(folder)
    path = folder / f"{NAME}{suffix}"
    taken = [one for one in (path, sidecar_path(path)) if one.exists()]
    if taken and not overwrite:
        raise ValueError(f"Expected no joined table yet, but found {taken[0]}: move it away, or add --overwrite.")
    tables = []
    for one in (file for ending in (".csv", ".parquet") for file in sorted(folder.glob(f"*{ending}"))):
        if one.stem != NAME and (only is None or one.name in only):
            try:
                tables.append(read_predictions(one))
            except ManifestError:  # not ours
                continue
    tables = [table for table in tables if "num_sources" in table.attrs["side"]]
    if not tables:
        raise ValueError(f"Expected tables that `auformer predict --shard` wrote in {folder}, but found none.")
    sides = [table.attrs["side"] for table in tables]
    _check_alike(sides, [table.attrs["path"] for table in tables])
    problems = [(side["source"], side["problem"]) for side in sides if side.get("problem")]
    side = {key: value for key, value in sides[0].items() if key not in (*_OWN, "format_version")}
    counts = {"sources": len(tables), **_counts(sides)}
    for table in tables:
        table.attrs = {}
    order = ["subject", "frame", "face"]
    joined = pd.concat(tables, ignore_index=True).sort_values(order, kind="stable", ignore_index=True)
    side |= {"settings": _comparable(sides[0], "settings"), "counts": counts, **_whole_tracks(sides)}
    write_predictions(joined, path, side)
    return path, len(tables), side["num_sources"], problems


def _check_alike(sides: list[dict[str, Any]], paths: list[str]) -> None:
    """Refuse tables that differ in checkpoint, thresholds, crop recipe, settings or number of sources."""
    for side, path in zip(sides, paths, strict=True):
        for what in ("adapter", "thresholds", "faces", "num_sources", "settings"):
            mine, first = _comparable(side, what), _comparable(sides[0], what)
            if mine != first:
                raise ManifestError(
                    f"{path}: expected the same `{what}` as {paths[0]}, but got {mine} and {first}: all shards need "
                    "the same command; predict the odd ones again with --overwrite"
                )


def _whole_tracks(sides: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What sidecars say of blinks and resting levels, of all sources together."""
    found: dict[str, Any] = {}
    for side in sides:
        if "AU45" in side:
            reasons = found.setdefault("AU45", {**side["AU45"], "not_counted": {}})["not_counted"]
            reasons.update(side["AU45"]["not_counted"])
        if "resting_levels" in side:
            found.setdefault("resting_levels", {}).update(side["resting_levels"])
            notes = [*found.get("resting_notes", []), *side["resting_notes"]]
            found["resting_notes"] = list(dict.fromkeys(notes))
    return found


def _comparable(side: dict[str, Any], what: str) -> Any:
    """An entry of a sidecar as it should be in all of them: settings without the number of the shard."""
    value = side.get(what)
    if what != "settings" or not isinstance(value, dict):
        return value
    return {key: one for key, one in value.items() if key != "shard"}


def _counts(sides: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """`COUNTED` over all sources."""
    totals = {name: Counter[str]() for name in COUNTED}
    for side in sides:
        for name, total in totals.items():
            total.update(side.get("counts", {}).get(name, {}))
    return {name: dict(total) for name, total in totals.items()}
