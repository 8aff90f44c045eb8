"""The folder of a demo: what lies where, whose it is, and what may be removed from it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from auformer.files import write_text

COMMAND = "auformer demo"
PARTS = ("train", "val", "test_a", "test_b")
RUNS = ("auformer", "linear_probe")
FILES = (
    "report.html", "table.md", "metrics.json", "predictions.csv", "predictions.json", "adapter.safetensors", "config.yaml",
    "f1_lab_a.png", "f1_lab_b.png", "training.png", "faces.png",
)  # fmt: skip


class DemoFolder:
    """Paths of a demo.

    Args:
        path: The folder; need not exist yet.

    Attributes:
        config: Settings of the demo that lies here, written first.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"

    def file(self, name: str) -> Path:
        """One of `FILES`."""
        assert name in FILES, name
        return self.path / name

    def part(self, name: str) -> Path:
        """Folder of the rendered faces of one of `PARTS`."""
        assert name in PARTS, name
        return self.path / "faces" / name

    def run(self, name: str) -> Path:
        """Run folder of one of `RUNS`."""
        assert name in RUNS, name
        return self.path / name

    def claim(self, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Take the folder for a demo of these settings: a new one, or one of the same demo, which then goes on.

        Args:
            config: Settings, plain values.
            overwrite: Remove what a demo left here before; other files stay.

        Raises:
            ValueError: The folder holds a demo of other settings, or files of the same names that no demo wrote.
            OSError: The folder cannot be written.
        """
        stored = self._stored()
        if stored is None:
            taken = [path.name for path in self._own() if path.exists()]
            if taken:
                found = ", ".join(taken)
                raise ValueError(
                    f"Expected `--out` to be a new folder or that of a demo, but got {self.path}, which holds {found}"
                )
        elif overwrite:
            self._clear()
        elif different := _differences(stored, dict(config)):
            raise ValueError(
                f"Expected `--out` to be a new folder or that of a demo with the same settings, but got {self.path}, made with "
                f"{'; '.join(different[:4])}. Choose another folder, or add --overwrite to remove that demo."
            )
        write_text(self.config, config_text(config))

    def _own(self) -> list[Path]:
        """Everything that a demo writes here."""
        return [self.path / name for name in (*FILES, *RUNS, "faces")]

    def _stored(self) -> dict[str, Any] | None:
        """Settings of the demo that lies here; None where there is none."""
        try:
            content = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            return None
        return content if isinstance(content, dict) and content.get("command") == COMMAND else None

    def _clear(self) -> None:
        """Remove what a demo wrote; its settings go last, so that an interruption here can be repeated."""
        for path in sorted(self._own(), key=lambda path: path == self.config):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def config_text(config: Mapping[str, Any]) -> str:
    """Settings as YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    """Where the settings that lie here are others, one text each.

    >>> _differences({"seed": 1, "test": {"faces": 2}}, {"seed": 0, "test": {"faces": 2}})
    ['seed 1 instead of 0']
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(key for key in stored if key not in wanted)]
        parts = [_differences(stored.get(key), wanted.get(key), f"{name}.{key}" if name else str(key)) for key in keys]
        return [text for part in parts for text in part]
    return [] if stored == wanted else [f"{name} {stored!r} instead of {wanted!r}"]
