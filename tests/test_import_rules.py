"""The rules of the house that can be read from the source: imports, lengths, docstrings, prints; each with a planted breach."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.import_rules import RULES, breaches, imports

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("auformer", "data_prep", "experiments")


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _module(path: Path) -> tuple[str, bool]:
    """Dotted name of a file, and whether it is a package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return (".".join(parts[:-1]), True) if parts[-1] == "__init__" else (".".join(parts), False)


def _in_each(paths: list[Path], rule: Callable[[str], list[str]]) -> list[str]:
    """What breaks a rule in each of the files, with the file in front."""
    return [f"{path.relative_to(ROOT)}: {found}" for path in paths for found in rule(path.read_text(encoding="utf-8"))]


# imports ----------------------------------------------------------------------------------------------------------------------------


def test_modules_import_only_what_the_table_allows() -> None:
    found = []
    for path in _sources(*PACKAGES):
        name, package = _module(path)
        found += breaches(name, path.read_text(encoding="utf-8"), package=package)
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("auformer.losses", "import timm"),
        ("auformer.losses", "from auformer.models import AUFormer"),
        ("auformer.metrics", "def f():\n    import torch"),
        ("auformer.metrics", "import torch.nn.functional as F"),
        ("auformer.models.experts", "import pytorch_lightning as pl"),
        ("auformer.models.experts", "from ..lit import AUModule"),
        ("auformer.models.folder", "import huggingface_hub"),
        ("auformer.data.transforms", "import albumentations as A"),
        ("auformer.data.datamodule", "def f():\n    import albumentations"),
        ("auformer.data.manifest", "import importlib\nimportlib.import_module('torch')"),
        ("auformer.data.manifest", "from auformer.scoring import scores"),
        ("auformer.predict.predictor", "def f():\n    from auformer.scoring import scores"),
        ("auformer.faces.detect", "import pandas"),
        ("auformer.synthetic.writing", "from auformer.faces.detect import detect"),
        ("auformer.scoring.scores", "import torch"),
        ("auformer.training", "from auformer.data.datamodule import AUDataModule"),
        ("auformer.commands.score", "import pandas as pd"),
        ("auformer.cli", "from auformer.training import cli_main"),
        ("auformer.aus", "import numpy"),
        ("auformer.aus", "from auformer.errors import ManifestError"),
        ("auformer", "from auformer.models import AUFormer"),
        ("auformer.report", "from auformer.data.manifest import read_manifest"),
        ("auformer.data_prep.datasets.casme2", "import openpyxl"),
        ("auformer.data_prep.datasets.casme2", "from auformer.errors import require\nrequire('xlrd', 'prepare')"),
        ("experiments.base", "from tests.helpers import reference"),
        ("auformer.report.html", "from auformer import AUFormer"),
    ],
)
def test_a_planted_breach_is_found(module: str, source: str) -> None:
    assert len(breaches(module, source)) == 1, list(imports(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("auformer.models.experts", "from . import backbone\nfrom .heads import Head\nimport torch, numpy, math"),
        ("auformer.models.folder", "def f():\n    from huggingface_hub import snapshot_download"),
        ("auformer.models.adapter_file", "from auformer import __version__"),
        ("auformer.data.transforms", "def f():\n    import albumentations"),
        ("auformer.losses", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("auformer.commands.score", "def run(args):\n    import pandas\n    from auformer.scoring import scores"),
        ("auformer.predict.manifest", "import torch\nfrom auformer.data.manifest import KEY"),
        (
            "auformer.data_prep.datasets.casme2",
            "from auformer.errors import require\ndef f():\n    require('openpyxl', 'prepare')",
        ),
        ("experiments.speed.bench", "from tests.helpers import reference"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert breaches(module, source) == []


def test_every_entry_of_the_table_is_about_this_tree() -> None:
    """A name that no file could have is a typing mistake; modules of later versions are listed by name."""
    later = {"auformer.predict", "auformer.benchmark.runner", "auformer.faces.table"}
    known = {_module(path)[0] for path in _sources(*PACKAGES)} | {"experiments"}
    assert {name for name in RULES if name not in known} <= later


@pytest.mark.parametrize("module", ["auformer", "auformer.cli", "auformer.data.manifest", "auformer.scoring.scores"])
def test_light_modules_do_not_pull_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'timm', 'pytorch_lightning', 'albumentations'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_package_and_the_command_line_start_without_any_dependency() -> None:
    """`auformer --version` in under a second rests on this: nothing outside the standard library is read."""
    code = "import sys, auformer.cli as c; c.main(['--version']); print({m.split('.')[0] for m in sys.modules} & {'numpy', 'yaml'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_lazy_names_are_what_their_modules_hold() -> None:
    import auformer
    from auformer.losses import MDWALoss

    assert auformer.MDWALoss is MDWALoss
    assert {"AUFormer", "AUModule", "AUDataModule", "load_detector"} <= set(dir(auformer))
    for name in auformer.__all__:
        assert getattr(auformer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'AUFormr'"):
        _ = auformer.AUFormr


# lengths, docstrings, prints --------------------------------------------------------------------------------------------------------


def _long_files(source: str, limit: int = 250) -> list[str]:
    """At most 250 lines; up to 300 where the first lines (the docstring) say why, and for tests."""
    lines = source.count("\n")
    reason = ast.get_docstring(ast.parse(source)) or ""
    return [f"{lines} lines"] if lines > 300 or (lines > limit and "lines" not in reason) else []


def _functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _long_functions(source: str) -> list[str]:
    return [
        f"{f.name}: {length} lines" for f in _functions(source) if (length := (f.end_lineno or 0) - f.lineno + 1) > 50
    ]


def _bare_functions(source: str) -> list[str]:
    """Functions of more than ten lines without a docstring; what is public is ruff's matter, and a constructor is told in its class."""
    long = [f for f in _functions(source) if (f.end_lineno or 0) - f.lineno >= 10]
    return [f.name for f in long if not ast.get_docstring(f) and not f.name.startswith("__")]


def _prints(source: str) -> list[str]:
    """Calls of `print`, as `print(...)` or handed on by name."""
    return [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and node.id == "print"
    ]


def test_files_and_functions_stay_short() -> None:
    package, tests = _sources(*PACKAGES), _sources("tests")
    assert _in_each(package, _long_files) + _in_each(tests, lambda source: _long_files(source, 300)) == []
    assert _in_each(package + tests, _long_functions) == []


def test_functions_say_what_they_do() -> None:
    assert _in_each(_sources(*PACKAGES), _bare_functions) == []


def test_only_commands_print() -> None:
    quiet = [path for path in _sources("auformer", "data_prep") if "commands" not in path.relative_to(ROOT).parts]
    assert _in_each(quiet, _prints) == []


def test_planted_breaches_of_length_docstring_and_print_are_found() -> None:
    assert _long_files("x = 1\n" * 251) == ["251 lines"]
    assert _long_files('"""260 lines, since the table is one idea."""\n' + "x = 1\n" * 259) == []
    assert _long_files('"""Many lines."""\n' + "x = 1\n" * 300) == ["301 lines"]
    assert _long_functions("def f():\n" + "    x = 1\n" * 50) == ["f: 51 lines"]
    assert _long_functions("def f():\n" + "    x = 1\n" * 49) == []
    assert _bare_functions("class A:\n    def f(self):\n" + "        x = 1\n" * 10) == ["f"]
    assert _bare_functions("def f():\n" + "    x = 1\n" * 9) == []
    assert _prints("def f():\n    g(print)\n") == ["line 2"]


def test_no_file_names_a_folder_of_one_machine() -> None:
    """Paths such as a home or a temporary folder belong to the machine they were typed on."""
    roots = ["/" + name + "/" for name in ("home", "root", "tmp", "mnt", "opt", "work", "Users")]
    found = [
        f"{path.relative_to(ROOT)}: {root}"
        for path in [*_sources(*PACKAGES, "tests"), ROOT / "setup.cfg", ROOT / "Makefile", ROOT / ".ci" / "run"]
        for root in roots
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(quote + root in line for quote in "\"'` =(")
    ]
    assert found == []
