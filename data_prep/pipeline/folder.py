"""The output folder while it is being filled: whose it is, which units are done, and when it is complete.

Units that are done leave a table each in `.prepare/`; when all are there the manifest is written, last of all files, and `.prepare/`
goes. So a data set is complete exactly when its manifest is there, and a killed run loses at most the units that it was at.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data.manifest import faces_path, sidecar_path
from auformer.data.table_file import read_sidecar, read_table, write_table
from auformer.errors import DatasetLayoutError, ManifestError
from auformer.files import write_text

from .units import CROPS, Unit

STATE = ".prepare"  # what is only needed to go on
RECORD = "prepared_with"  # key of the side file
LABELS = "labels_sha256"  # in it, fingerprint of the reader's table
_OUR_NAMES = ("manifest.csv", "manifest.parquet", "manifest.json", "manifest.faces.parquet", CROPS)


def keep_apart(root: Path, out: Path) -> None:
    """Make sure that nothing will be written into the release.

    Args:
        root: its folder.
        out: the output folder.

    Raises:
        DatasetLayoutError: The output folder is the release's, lies in it, or would write where it lies.
    """
    root, out = root.resolve(), out.resolve()
    if out == root or root in out.parents:
        raise DatasetLayoutError(f"Expected `--out` to lie outside `--root`, which is never written to, but got {out}")
    for ours in (out / CROPS, out / STATE):
        if root == ours or ours in root.parents:
            raise DatasetLayoutError(
                f"Expected `--root` to lie outside {ours}, where crops are written; choose another `--out`"
            )


class OutFolder:
    """Paths and state of one prepared data set.

    Args:
        out: the folder; need not exist yet.
        parquet: whether the manifest is Parquet, or else CSV.
    """

    def __init__(self, out: Path, *, parquet: bool) -> None:
        self.out = out
        self.manifest = out / f"manifest.{'parquet' if parquet else 'csv'}"
        self.state = out / STATE
        self._note = self.state / "options.json"

    def claim(self, record: Mapping[str, Any]) -> None:
        """Take a new folder, or check that this one was filled with the same options.

        Args:
            record: everything that the files depend on, as plain JSON values.

        Raises:
            DatasetLayoutError: It was filled with others, or holds something else.
            OSError: It cannot be written.
        """
        record = json.loads(json.dumps(record))  # tuples become lists, as they will be when read again
        found = self._recorded()
        if found is not None:
            _compare(self.out, record, found)
        else:
            taken = [name for name in _OUR_NAMES if (self.out / name).exists()]
            if taken:
                raise DatasetLayoutError(
                    f"Expected `--out` to be a new folder or one that was filled by `auformer prepare`, but {self.out} holds "
                    f"{', '.join(taken)}; choose another folder"
                )
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.out):
                pass
        except OSError as error:
            raise OSError(error.errno, f"cannot write here ({error.strerror})", str(self.out)) from error
        if found is None:
            write_text(self._note, json.dumps(record, indent=2))

    def _recorded(self) -> dict[str, Any] | None:
        """The options that the folder was filled with; None for a folder that was not."""
        if self._note.is_file():
            found = json.loads(self._note.read_text(encoding="utf-8"))
        elif sidecar_path(self.manifest).is_file():
            found = read_sidecar(self.manifest).get(RECORD)
        else:
            return None
        return found if isinstance(found, dict) else None

    def is_complete(self) -> bool:
        """Whether the manifest is there and every crop that it names."""
        if not self.manifest.is_file():
            return False
        try:
            images = read_table(self.manifest)["image"].dropna()
        except (ManifestError, KeyError):  # damaged since: it is written again
            return False
        return all((self.out / image).is_file() for image in images if image)

    def missing(self, units: Sequence[Unit]) -> list[Unit]:
        """Units that are not done."""
        return [unit for unit in units if not self._shard(unit).is_file() or not self._has_crops(unit)]

    def _shard(self, unit: Unit) -> Path:
        """The table of a unit that is done."""
        return self.state / f"{unit.number:06d}.parquet"

    def _has_crops(self, unit: Unit) -> bool:
        """Whether all crops that a unit's table speaks of are there."""
        ok = set(self._read(unit).query("status == 'ok'")["row"])
        return all((self.out / row.image).is_file() for row in unit.rows if row.number in ok)

    def _read(self, unit: Unit) -> pd.DataFrame:
        """The table of a unit."""
        return pd.read_parquet(self._shard(unit))

    def keep(self, unit: Unit, results: pd.DataFrame) -> None:
        """Keep the table of a unit that is done."""
        write_table(results, self._shard(unit))

    def collect(self, units: Sequence[Unit]) -> pd.DataFrame:
        """The tables of all units, by the number of the row."""
        tables = [self._read(unit) for unit in units]
        return pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)

    def finish(self) -> None:
        """Forget what was only needed to go on, and temporary files of killed runs."""
        shutil.rmtree(self.state, ignore_errors=True)
        for name in (self.manifest, sidecar_path(self.manifest), faces_path(self.manifest)):
            for path in self.out.glob(f".{name.stem}.*{name.suffix}"):
                path.unlink(missing_ok=True)


def _compare(out: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a folder that was filled with other options."""
    names = [name for name in dict.fromkeys([*wanted, *found]) if wanted.get(name) != found.get(name)]
    if not names:
        return
    if names == [LABELS]:
        what = "the labels or files of the release, which have changed since"
    else:
        what = "; ".join(
            f"{name} ({_shown(found, name)} there, {_shown(wanted, name)} now)" for name in names if name != LABELS
        )
    raise DatasetLayoutError(
        f"Expected `--out` to be a new folder or one filled with the same options, but {out} differs in {what}. "
        "Choose another folder, or delete this one"
    )


def _shown(record: Mapping[str, Any], name: str) -> str:
    """A value for a message, short."""
    return str(record.get(name, "not set"))[:60]
