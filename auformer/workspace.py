"""The one folder that a piece of work claims, fills, can be killed in, resumes, and finishes.

    FOLDER/record           what the work was begun with; written first, compared when the same command runs again
    FOLDER/STATE/NAME/      parts that are done, each kept whole; gone when the work is finished

A folder whose record differs is refused, unless `overwrite` says otherwise. One that holds files of the same names
which this kind of work did not write is always refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auformer.files import check_writable, write_json, write_text

MISSING = "(absent)"
SHOWN = 4  # differences that a message lists [ours]


class Workspace:
    """A folder that one piece of work fills.

    Args:
        path: The folder; need not exist yet.
        kind: What fills it, for messages, such as "a demo".
        owned: Names in the folder that this kind of work writes, the record among them where it stays.
        state: Name of the folder inside in which parts are kept while the work lasts.
        record: Name of the file that holds what the work was begun with: YAML by its suffix `.yaml`, else JSON. One
            that lies in `state` goes with it when the work is finished; `claim` is then given what the finished results
            say of themselves.
        error: The class that `claim` raises.
        mark: Items that the record of such work always holds; a file of its name without them is foreign.

    Attributes:
        state: The folder of what is only needed to resume.
    """

    def __init__(
        self, path: str | Path, *, kind: str, owned: Sequence[str], state: str = ".unfinished",
        record: str | None = None, error: type[Exception] = ValueError, mark: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.path, self.kind, self.owned, self.error = Path(path), kind, tuple(owned), error
        self.state = self.path / state
        self.record = self.path / (record or f"{state}/record.json")
        self.mark = dict(mark or {})
        self._discarded = self.state.with_name(f"{self.state.name}.removed")

    def recorded(self) -> dict[str, Any] | None:
        """What the work here was begun with; None where there is none, or it cannot be read."""
        try:
            text = self.record.read_text(encoding="utf-8")
            content = _from_yaml(text) if self.record.suffix == ".yaml" else json.loads(text)
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and self.mark.items() <= content.items() else None

    def claim(
        self,
        record: Mapping[str, Any],
        *,
        finished: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        free: Sequence[str] = (),
    ) -> None:
        """Take a new folder, or resume in one that was begun with the same record.

        Args:
            record: Everything that the results depend on, as plain values.
            finished: The record that finished results carry themselves, where they do.
            overwrite: Remove what such work left here before; other files stay.
            free: Dotted names of settings that may differ.

        Raises:
            ValueError: (or `error`) The folder holds work with another record, or files of the same names that no such
                work wrote.
            OSError: The folder cannot be written.
        """
        unfinished = self.record.is_file()
        found = self.recorded() if unfinished else finished
        if found is None:
            taken = [name for name in self.owned if (self.path / name).exists()]
            if taken:
                raise self.error(
                    f"Expected a new folder or that of {self.kind}, but {self.path} holds {', '.join(taken)}; "
                    "choose another folder"
                )
        elif not overwrite and (different := differences(found, record, free)):
            more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise self.error(
                f"Expected a new folder or that of {self.kind} with the same settings, but in {self.path} "
                f"{'; '.join(different[:SHOWN])}{more}. Choose another folder, or overwrite or delete this one"
            )
        if found is not None and not unfinished and not overwrite:
            return  # finished, perhaps in a place that can only be read
        check_writable(self.path)
        shutil.rmtree(self._discarded, ignore_errors=True)
        if found is not None and overwrite:
            self.clear()
        self._write(record)

    def keep(self, name: str, write: Callable[[Path], Any]) -> None:
        """Keep a part that is done: `write(folder)` fills a folder that takes its name when it is complete."""
        partial, final = self.state / f".{name}.partial", self.state / name
        for stale in (partial, final):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        partial.rename(final)

    def kept(self, name: str) -> Path | None:
        """The folder of a part that is done; None where it is not."""
        path = self.state / name
        return path if path.is_dir() else None

    def finish(self) -> None:
        """Forget what was only needed to resume, all of it at once."""
        if self.state.is_dir():
            self.state.rename(self._discarded)
        shutil.rmtree(self._discarded, ignore_errors=True)

    def clear(self) -> None:
        """Remove what such work wrote; the record goes last, so that an interruption here can be repeated."""
        if not self.record.is_file():
            self._write({**self.mark, "state": "being overwritten"})
        for path in (self.path / name for name in self.owned):
            if path == self.record:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.finish()
        self.record.unlink(missing_ok=True)

    def _write(self, record: Mapping[str, Any]) -> None:
        """Write the record, atomically."""
        if self.record.suffix == ".yaml":
            write_text(self.record, yaml_text(record))
        else:
            write_json(self.record, record)


def yaml_text(config: Mapping[str, Any]) -> str:
    """Settings as YAML, in their order."""
    import yaml  # here, so that the command line starts without it

    return str(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=100))


def _from_yaml(text: str) -> Any:
    """What YAML text holds; what cannot be read is a `ValueError`."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def plain(value: Any) -> Any:
    """A value as YAML and JSON give it back: tuples are lists, keys are text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def differences(old: Any, new: Any, free: Sequence[str] = (), name: str = "") -> list[str]:
    """Where two records differ, one text each.

    1 and 1.0 differ, since the one is a number of rows and the other all of them. Settings of the dotted names `free`
    may differ.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c was 2 and is now 3']
    >>> differences({"data": {"subset": 1.0}}, {"data": {"subset": 1}})
    ['data.subset was 1.0 and is now 1']
    """
    if name in free:
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *[key for key in new if key not in old]]
        parts = [
            differences(old.get(key, MISSING), new.get(key, MISSING), free, f"{name}.{key}" if name else str(key))
            for key in keys
        ]
        return [text for part in parts for text in part]
    plain_old, plain_new = plain(old), plain(new)
    same = plain_old == plain_new and type(plain_old) is type(plain_new)
    texts = [f"{text[:60]} ..." if len(text) > 60 else text for text in (str(plain_old), str(plain_new))]
    return [] if same else [f"{name} was {texts[0]} and is now {texts[1]}"]
