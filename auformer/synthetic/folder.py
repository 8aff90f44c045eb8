"""The folder of a rendered data set while it is being made: what is done, what is missing, and whose it is.

Subjects that are done are kept under `.unfinished/` until all are; then the tables are written and that folder goes. So a data set is
complete exactly when its side file is there and `.unfinished/` is not, and an interrupted run loses at most the subjects it was drawing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import write_faces, write_manifest
from auformer.synthetic.parameters import DatasetParameters
from auformer.synthetic.subject import SubjectJob

TABLES = ("manifest", "truth", "faces")


class DatasetFolder:
    """Paths and state of one data set folder.

    Args:
        out: the folder; need not exist yet.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.manifest, self.side = out / "manifest.csv", out / "manifest.json"
        self.faces, self.truth, self.images = out / "manifest.faces.parquet", out / "truth.parquet", out / "images"
        self.unfinished = out / ".unfinished"

    @property
    def is_complete(self) -> bool:
        """Whether all tables are written."""
        return self.side.exists() and self.manifest.exists() and not self.unfinished.exists()

    def claim(self, parameters: DatasetParameters) -> None:
        """Take a new folder, or check that this one was made with the same parameters.

        Raises:
            ValueError: it was made with others, or holds something that was not rendered here.
            OSError: it cannot be written.
        """
        note = self.unfinished / "parameters.json"
        if self.is_complete or note.exists():
            self._compare(parameters.as_dict(), _recorded(self.side if self.is_complete else note))
            return
        taken = [path.name for path in (self.manifest, self.side, self.faces, self.truth, self.images) if path.exists()]
        if taken:
            found = ", ".join(taken)
            raise ValueError(
                f"Expected `out` to be a new folder or one that was rendered here, but got {self.out}, which holds {found}"
            )
        partial = self.out / ".unfinished.partial"
        partial.mkdir(parents=True, exist_ok=True)
        (partial / note.name).write_text(json.dumps(parameters.as_dict(), indent=2) + "\n", encoding="utf-8")
        partial.rename(self.unfinished)

    def _compare(self, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Refuse a folder that was made with other parameters."""
        other = [
            f"{name} {found.get(name)!r} instead of {value!r}"
            for name, value in wanted.items()
            if found.get(name) != value
        ]
        if other:
            raise ValueError(
                f"Expected `out` to be a new folder or one made with the same parameters, but got {self.out}, made with "
                f"{'; '.join(other)}. Choose another folder, or delete this one."
            )

    def missing(self, jobs: list[SubjectJob]) -> list[SubjectJob]:
        """The subjects that are still to be drawn; in a complete data set those of which a picture has gone."""
        if self.is_complete:
            table = pd.read_csv(self.manifest, usecols=["subject", "image"], dtype=str)
            damaged = {
                subject
                for subject, image in zip(table["subject"], table["image"], strict=True)
                if not (self.out / image).exists()
            }
            return [job for job in jobs if job.name in damaged]
        return [
            job for job in jobs if not ((self.unfinished / job.name).is_dir() and (self.images / job.name).is_dir())
        ]

    def keep(self, name: str, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the tables of a subject that is done."""
        partial, final = self.unfinished / f".{name}.partial", self.unfinished / name
        for stale in (partial, final):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True)
        for table in TABLES:
            pd.DataFrame(dict(tables[table])).to_parquet(partial / f"{table}.parquet", index=False)
        partial.rename(final)

    def collect(self, jobs: list[SubjectJob]) -> dict[str, pd.DataFrame]:
        """The tables of all subjects, in the order of the jobs."""
        return {
            table: pd.concat(
                [pd.read_parquet(self.unfinished / job.name / f"{table}.parquet") for job in jobs], ignore_index=True
            )
            for table in TABLES
        }

    def close(self, tables: Mapping[str, pd.DataFrame], side: dict[str, Any]) -> None:
        """Write the tables, then forget what was only needed to go on.

        Raises:
            OSError: they cannot be written; the same call can be made again.
        """
        partial = self.unfinished / self.truth.name
        tables["truth"].to_parquet(partial, index=False)
        os.replace(partial, self.truth)
        write_faces(tables["faces"], self.manifest)
        write_manifest(tables["manifest"], self.manifest, side=side)
        shutil.rmtree(self.unfinished)


def _recorded(path: Path) -> Mapping[str, Any]:
    """The parameters in a JSON file, empty where there are none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected {path} to be the JSON file of a rendered data set, but got unreadable text ({error})"
        ) from error
    content = content.get("parameters", content) if isinstance(content, dict) else {}
    return content if isinstance(content, dict) else {}
