"""Join the tables that the jobs of an array, or the processes of a cluster, wrote, one per source."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import read_predictions, read_sidecar, sidecar_path, write_predictions
from auformer.errors import ManifestError
from auformer.predict.cluster.ray import run_on_ray
from auformer.predict.cluster.worker import MADE_WITH, Attempts, Job, finished_side, own_side, say_how_many
from auformer.predict.outputs import Plan, check_outputs, check_sources
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import Source
from auformer.predict.table import FOLDER, Part, fingerprint, run_settings
from auformer.predict.types import Selection

_OWN = ("source", "source_mark", "counts", "problem", "settings")  # of the side files, what may differ between sources
NAME = "predictions"


def merge_tables(
    folder: Path, *, suffix: str = ".csv", overwrite: bool = False, only: Collection[str] | None = None
) -> tuple[Path, int, int, list[tuple[str, str]]]:
    """Write `predictions.csv` from the tables, one per source, that the jobs of an array or a cluster wrote to a folder.

    Args:
        folder: where the shards wrote to.
        suffix: `.csv` or `.parquet`, of the joined table.
        overwrite: replace a joined table that is there.
        only: file names of the tables to join; all by default.

    Returns:
        The joined table, how many sources it holds, how many there should be, and what was wrong with which.

    Raises:
        ValueError: there is no table of a shard, or the joined one is there already.
        ManifestError: the tables come from different checkpoints or settings.
    """
    path = folder / f"{NAME}{suffix}"
    taken = [one for one in (path, sidecar_path(path)) if one.exists()]
    if taken and not overwrite:
        raise ValueError(f"Expected no joined table yet, but found {taken[0]}: move it away, or add --overwrite.")
    found = [one for ending in (".csv", ".parquet") for one in sorted(folder.glob(f"*{ending}"))]
    tables = [_read(one) for one in found if one.stem != NAME and (only is None or one.name in only)]
    tables = [table for table in tables if "num_sources" in table.attrs["side"]]
    if not tables:
        raise ValueError(f"Expected tables that `auformer predict --shard` wrote in {folder}, but found none.")
    sides = [table.attrs["side"] for table in tables]
    _check_alike(sides, [table.attrs["path"] for table in tables])
    problems = [(side["source"], side["problem"]) for side in sides if side.get("problem")]
    side = {key: value for key, value in sides[0].items() if key not in (*_OWN, "format_version")}
    settings = {key: value for key, value in sides[0]["settings"].items() if key != "shard"}
    counts = {"sources": len(tables), **{name: _sum(sides, name) for name in ("pictures", "points_source")}}
    for table in tables:
        table.attrs = {}
    joined = pd.concat(tables, ignore_index=True).sort_values(
        ["subject", "frame", "face"], kind="stable", ignore_index=True
    )
    write_predictions(joined, path, {**side, "settings": settings, "counts": counts})
    return path, len(tables), side["num_sources"], problems


def _read(path: Path) -> pd.DataFrame:
    """A table with its side file; one that is no predictions file counts as none."""
    try:
        return read_predictions(path)
    except ManifestError:
        table = pd.DataFrame()
        table.attrs["side"] = {}
        return table


def _check_alike(sides: list[dict[str, Any]], paths: list[str]) -> None:
    """Refuse tables that were not made in one way.

    Raises:
        ManifestError: two differ in checkpoint, thresholds, crop recipe, settings or number of sources.
    """
    for side, path in zip(sides, paths, strict=True):
        for what in ("adapter", "thresholds", "faces", "num_sources", "settings"):
            mine, first = _comparable(side, what), _comparable(sides[0], what)
            if mine != first:
                raise ManifestError(
                    f"{path}: expected the same `{what}` as {paths[0]}, but got {mine} and {first}: all shards need the same command; "
                    "predict the odd ones again with --overwrite"
                )


def _comparable(side: dict[str, Any], what: str) -> Any:
    """An entry of a side file as it should be in all of them: settings without the number of the shard."""
    value = side.get(what)
    return (
        {key: one for key, one in value.items() if key != "shard"}
        if what == "settings" and isinstance(value, dict)
        else value
    )


def _sum(sides: list[dict[str, Any]], name: str) -> dict[str, int]:
    """Counts of one kind over all sources."""
    total: dict[str, int] = {}
    for side in sides:
        for key, value in side.get("counts", {}).get(name, {}).items():
            total[key] = total.get(key, 0) + value
    return total


class ClusterRun:
    """One collection, its folder of tables, and what is left to do.

    Args:
        predictor: as every process will make one; only its settings are used.
        plan: what to write where, a table per source.
        sources: all of the collection.
        selection: which frames of recordings.
        facts: `checkpoint` and `notice` for the side files, `options` of `AUPredictor`, `backbone_checkpoint`.
        suffix: `.csv` or `.parquet`, of the joined table; other tools' tables are not joined.
        overwrite: replace outputs of other settings, or of files that have changed since.

    Attributes:
        pending: sources that are not finished.
        problems: by name of a source, what is wrong with it.
        begun_again: how many sources were begun more than once, because a process ended in the middle of them.

    Raises:
        ValueError: an output exists that is none of this run's, or would replace a source.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        predictor: AUPredictor,
        plan: Plan,
        sources: Sequence[Source],
        selection: Selection,
        *,
        facts: dict[str, Any],
        suffix: str,
        overwrite: bool,
    ) -> None:
        self.plan, self.sources, self.suffix = plan, list(sources), suffix
        settings = run_settings(predictor, selection, shard=None)
        outputs = [plan.kind, plan.pictures, plan.timelines, plan.annotate, plan.maps]
        self.mark = fingerprint([settings, facts["checkpoint"]["sha256"], outputs])
        self.problems: dict[str, str] = {}
        self.begun_again = 0
        self.pending = [source for source in self.sources if not self._is_finished(source)]
        self._check_outputs(predictor, overwrite)
        self.job = Job(
            folder=os.getcwd(),
            checkpoint=facts["checkpoint"],
            backbone_checkpoint=facts["backbone_checkpoint"],
            options=facts["options"],
            plan=plan,
            selection=selection,
            settings=settings,
            mark=self.mark,
            notice=facts["notice"],
            num_sources=len(self.sources),
        )

    def results(self, *, address: str | None, workers: int | None, device: str) -> Iterator[str]:
        """Predict what is left; the names of sources as they are done, in any order.

        Args:
            address: as `run_on_ray` takes it.
            workers: number of processes; None for what the cluster holds.
            device: `auto`, `cpu` or `cuda`.
        """
        attempts = Attempts(self.plan.out)
        attempts.reset()
        if not self.pending:
            return
        by_name = {source.name: source for source in self.pending}
        for row in run_on_ray(self.job, self.pending, address=address, workers=workers, device=device):
            source = by_name[row["name"]]
            problem = row["problem"]
            if not problem and not self.plan.table(source).is_file():
                problem = f"{self.plan.table(source)} is not here, though it was written: all machines must see one output folder"
            if problem:
                self.problems[source.name] = problem
            self.begun_again += int(row["attempts"]) > 1
            yield source.name
        attempts.reset()

    def join(self) -> tuple[Path, int] | None:
        """Join the tables of all sources into one.

        Returns:
            The joined table, and how many sources it holds; None where there is nothing to join, or another tool's tables are not joined.
        """
        if self.plan.kind != "native":
            return None
        there = [
            source
            for source in self.sources
            if (side := own_side(self.plan, source, self.mark)) and self._counted(source, side)
        ]
        if not there:
            return None
        names = {self.plan.table(source).name for source in there}
        path, found, _, _ = merge_tables(self.plan.out, suffix=self.suffix, overwrite=True, only=names)
        return path, found

    def counts(self) -> dict[str, dict[str, int]]:
        """How many pictures have each status, and how many faces by where their points come from, in all tables that there are."""
        totals: dict[str, dict[str, int]] = {"pictures": {}, "points_source": {}}
        for source in self.sources:
            side = own_side(self.plan, source, self.mark) or {"counts": {}}
            for name, total in totals.items():
                for key, value in side["counts"].get(name, {}).items():
                    total[key] = total.get(key, 0) + value
        return totals

    def _is_finished(self, source: Source) -> bool:
        """Whether a source need not be predicted; what was wrong with it is remembered."""
        side = finished_side(self.plan, source, self.mark)
        if side is not None and side.get("problem"):
            self.problems[source.name] = str(side["problem"])
        return side is not None

    def _counted(self, source: Source, side: dict[str, Any]) -> bool:
        """Whether a source's table is there; its side file then says how many sources there are now."""
        if not self.plan.table(source).is_file():
            return False
        say_how_many(self.plan, source, side, len(self.sources))
        return True

    def _check_outputs(self, predictor: AUPredictor, overwrite: bool) -> None:
        """Refuse to replace what is none of this run's.

        Raises:
            ValueError: see the class.
            OSError: see the class.
        """
        check_sources(self.plan, self.sources)
        parent, thresholds = self.plan.out / FOLDER, predictor.thresholds
        begun = {source.name for source in self.pending if Part(parent, source, self.mark, thresholds).begun}
        new = [
            source
            for source in self.pending
            if source.name not in begun and own_side(self.plan, source, self.mark) is None
        ]
        check_outputs(self.plan, new, overwrite=overwrite)
        joined = self.plan.out / f"{NAME}{self.suffix}"
        taken = [path for path in (joined, sidecar_path(joined)) if path.exists()]
        if taken and self.plan.kind == "native" and not overwrite and read_sidecar(joined).get(MADE_WITH) != self.mark:
            raise ValueError(
                f"Expected `--out` to hold no results yet, but found {taken[0]}: choose another folder, or add --overwrite."
            )
