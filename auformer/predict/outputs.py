"""Which files a run makes, and writing the tables among them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import side_path, write_predictions
from auformer.data.table_file import write_side, write_table
from auformer.predict.sources import Source
from auformer.predict.writers import format_notes, openface_table, pyfeat_table

PICTURE, TIMELINE, ANNOTATED, MAPS = "_aus.png", "_timeline.png", "_annotated", "_maps.png"


@dataclass(frozen=True)
class Plan:
    """What to write where.

    Args:
        out: the output folder.
        names: file name of each source's own outputs, by its name.
        kind: `native`, `openface` or `pyfeat`.
        suffix: `.csv` or `.parquet`, of native tables.
        per_source: one native table per source, as shards write.
        pictures: a picture per photo.
        timelines: a picture per recording.
        annotate: annotated pictures and videos.
        maps: evidence maps per source.
        report: a page.
        shard: which part of how many a run is; its page has a name of its own.

    Raises:
        ValueError: another tool's columns are asked for as Parquet.
    """

    out: Path
    names: dict[str, str]
    kind: str = "native"
    suffix: str = ".csv"
    per_source: bool = False
    pictures: bool = True
    timelines: bool = False
    annotate: bool = False
    maps: bool = False
    report: bool = False
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check what does not go together."""
        if self.kind != "native" and self.suffix != ".csv":
            raise ValueError(f"Expected `--format native` with --parquet, but got {self.kind}, which that tool reads from CSV files only.")

    @property
    def page(self) -> Path:
        """The report."""
        return self.out / ("report.html" if self.shard is None else f"report-{self.shard[0]}-of-{self.shard[1]}.html")

    def table(self, source: Source) -> Path:
        """The table that holds a source's rows."""
        if self.kind == "native" and not self.per_source:
            return self.out / f"predictions{self.suffix}"
        return self.out / f"{self.names[source.name]}{self.suffix if self.kind == 'native' else '.csv'}"

    def picture(self, source: Source) -> Path | None:
        """The plain picture of a source, None where there is none."""
        wanted, ending = (self.pictures, PICTURE) if source.kind == "photo" else (self.timelines, TIMELINE)
        return self.out / f"{self.names[source.name]}{ending}" if wanted else None

    def annotated(self, source: Source) -> Path | None:
        """The annotated picture or video of a source, None where there is none."""
        ending = ".png" if source.kind == "photo" else ".mp4"
        return self.out / f"{self.names[source.name]}{ANNOTATED}{ending}" if self.annotate else None

    def map_picture(self, source: Source) -> Path | None:
        """The evidence maps of a source, None where there are none."""
        return self.out / f"{self.names[source.name]}{MAPS}" if self.maps else None

    def files(self, sources: Iterable[Source]) -> list[Path]:
        """Everything that a run over these sources may write."""
        found: list[Path | None] = [self.page] if self.report else []
        for source in sources:
            table = self.table(source)
            found += [table, side_path(table), self.picture(source), self.annotated(source), self.map_picture(source)]
        return list(dict.fromkeys(path for path in found if path is not None))


def check_sources(plan: Plan, sources: Sequence[Source]) -> None:
    """Find out whether an output would replace a source.

    Raises:
        ValueError: it would.
    """
    given = {Path(source.file).resolve() for source in sources}
    for path in plan.files(sources):
        if path.resolve() in given:
            raise ValueError(f"Expected `--out` to be a folder where no source is replaced, but {path} is one of the photos or videos.")


def check_outputs(plan: Plan, sources: Sequence[Source], *, overwrite: bool) -> None:
    """Find out before the work starts whether its results can be written, and what they would replace.

    Raises:
        ValueError: an output exists.
        OSError: the folder cannot be written.
    """
    taken = [str(path) for path in plan.files(sources) if path.exists()]
    if taken and not overwrite:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ValueError(f"Expected `--out` to hold no results yet, but found {taken[0]}{more}: choose another folder, or add --overwrite.")
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=plan.out):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write here ({error.strerror})", str(plan.out)) from error


def write_source_table(plan: Plan, source: Source, table: pd.DataFrame, side: dict[str, Any], size: tuple[int, int] | None) -> Path:
    """Write the table of one source in the plan's format, with its side file.

    Args:
        plan: what to write where.
        source: whose rows.
        table: they.
        side: content of the side file.
        size: height and width of its pictures.

    Returns:
        The table's path.
    """
    path = plan.table(source)
    if plan.kind == "native":
        write_predictions(table, path, side)
        return path
    out = openface_table(table, photo=source.kind == "photo") if plan.kind == "openface" else pyfeat_table(table, size=size)
    write_side({**side, **format_notes(plan.kind, side["au_names"])}, path)
    write_table(out, path)
    return path
