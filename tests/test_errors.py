"""`errors.require`: optional packages."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from auformer import errors

ROOT = Path(__file__).resolve().parents[1]


def test_require_returns_the_module() -> None:
    assert errors.require("os.path", "prepare").join("a", "b")


def test_require_says_how_to_install() -> None:
    with pytest.raises(errors.MissingExtraError, match=re.escape('pip install ".[peft]"')) as caught:
        errors.require("no_such_package_here.part", "peft")
    assert isinstance(caught.value, ImportError)
    assert "`no_such_package_here.part`" in str(caught.value)


def test_require_does_not_blame_the_extra_for_a_broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import its_missing_half\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="its_missing_half") as caught:
        errors.require("half_installed", "export")
    assert not isinstance(caught.value, errors.MissingExtraError)


def test_every_extra_that_the_code_names_exists() -> None:
    """`require(module, extra)` in the sources against the extras of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("auformer", "data_prep")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = set(re.findall(r'require\("[\w.]+", "(\w+)"\)', text))
    assert named
    assert named <= set(config["options.extras_require"])
