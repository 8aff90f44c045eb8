"""Who imports whom: `make lint` goes red on a planted fault, light modules stay light, extras stay optional."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# not transformers and tokenizers: torchmetrics imports them by itself where they are installed
EXTRAS = (
    "openpyxl", "defusedxml", "xlrd", "onnx", "onnxscript", "peft", "ray", "tensorboard", "mne",
    "praatio", "starlette", "uvicorn", "sacrebleu",
)  # fmt: skip
HEAVY = ("torch", "timm", "pytorch_lightning", "torchmetrics", "albumentations")

# Floors that a notebook without a network may use.
LIGHT = (
    "auformer", "auformer.cli", "auformer.aus", "auformer.errors", "auformer.files", "auformer.lazy",
    "auformer.workspace", "auformer.pool", "auformer.metrics", "auformer.data.manifest", "auformer.data.schema",
    "auformer.data.table_file", "auformer.data.splits", "auformer.data.images", "auformer.data.clips", "auformer.faces",
    "auformer.synthetic", "auformer.report", "auformer.scoring", "auformer.scoring.scores", "auformer.scoring.tables",
    "auformer.episodes", "auformer.annotations", "auformer.annotations.export", "auformer.annotations.summary",
    "auformer.benchmark.suite", "auformer.benchmark.protocols", "auformer.benchmark.store", "auformer.benchmark.groups",
    "auformer.benchmark.tables", "auformer.data_prep", "auformer.language.grammar", "auformer.language.answers",
    "auformer.language.questions", "auformer.language.metrics", "auformer.synthetic.change",
)  # fmt: skip


def _python(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what `make types` and `make contracts` read; what mypy knows of the checkout is shared."""
    for folder in ("auformer", "data_prep"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    for name in ("setup.cfg", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (ROOT / ".mypy_cache").mkdir(exist_ok=True)
    (tmp_path / ".mypy_cache").symlink_to(ROOT / ".mypy_cache", target_is_directory=True)
    return tmp_path


def _make(target: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """`make TARGET` in a copy of the tree, with the environment that runs the tests."""
    words = ["make", "-o", f"{sys.prefix}/.installed-dev", f"VENV={sys.prefix}", target]
    return subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)


def _plant(tree: Path, file: str, code: str) -> None:
    with (tree / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n\n{code}\n")


needs_make = pytest.mark.skipif(os.name == "nt", reason="the Makefile is for Linux and macOS")


@needs_make
@pytest.mark.parametrize(
    ("file", "code", "found"),
    [
        ("auformer/metrics.py", "from auformer.scoring import scores", "auformer.metrics -> auformer.scoring"),
        ("auformer/metrics.py", "def f():\n    import torch", "auformer.metrics -> torch"),
        ("auformer/models/heads.py", "from ..training import module", "auformer.models.heads -> auformer.training"),
        ("auformer/predict/__init__.py", "from auformer.scoring import scores", "auformer.predict -> auformer.scoring"),
        ("auformer/data/schema.py", "from auformer.data import manifest", "No cycles are allowed in auformer.data."),
        ("auformer/commands/score.py", "import auformer.data_prep", "auformer.commands.score -> auformer.data_prep"),
        ("auformer/models/heads.py", "import albumentations", "auformer.models.heads -> albumentations"),
        ("data_prep/__init__.py", "def f():\n    import timm", "auformer.data_prep -> timm"),
        ("data_prep/release.py", "from auformer import training", "auformer.data_prep.release -> auformer.training"),
        ("auformer/novel.py", "", "auformer.novel"),
    ],
)  # fmt: skip
def test_a_planted_import_is_found(file: str, code: str, found: str, tree: Path) -> None:
    _plant(tree, file, code)
    done = _make("contracts", tree)
    assert done.returncode != 0
    assert found in done.stdout, done.stdout


@needs_make
@pytest.mark.slow
def test_a_planted_type_is_found(tree: Path) -> None:
    _plant(tree, "auformer/metrics.py", 'WRONG: int = "text"')
    _plant(tree, "data_prep/release.py", 'WRONG: int = "text"')
    done = _make("types", tree)
    assert done.returncode != 0
    wrong = {line.split(":")[0] for line in done.stdout.splitlines() if "[assignment]" in line}
    assert {"auformer/metrics.py", "auformer/data_prep/release.py"} <= wrong, done.stdout + done.stderr


@needs_make
def test_the_tree_as_it_is_keeps_the_contracts(tree: Path) -> None:
    done = _make("contracts", tree)
    assert done.returncode == 0, done.stdout


def test_light_modules_do_not_pull_torch() -> None:
    code = f"""
import importlib, sys
for name in {LIGHT}:
    importlib.import_module(name)
    pulled = sorted(set({HEAVY}) & set(sys.modules))
    if pulled:
        sys.exit(f"{{name}} imports {{pulled}}")
"""
    assert _python(code) == ""


def test_the_package_and_the_command_line_start_without_any_dependency() -> None:
    """`auformer --version` within a moment rests on this: nothing outside the standard library is read."""
    code = "import sys; from auformer.cli import main; main(['--version']); print({'numpy', 'yaml'} & set(sys.modules))"
    assert _python(code).splitlines()[-1] == "set()"


@pytest.mark.slow
def test_every_module_imports_without_the_extras() -> None:
    code = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({EXTRAS}))  # as if they were not installed
import auformer, auformer.data_prep
for package in (auformer, auformer.data_prep):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith(("__main__", "page.server", "page.forms")):  # `auformer page` alone imports these
            importlib.import_module(found.name)
print(len([name for name in sys.modules if name.startswith("auformer.")]), "albumentations" in sys.modules)
"""
    count, late = _python(code).split()
    assert int(count) > 150
    assert late == "False", "albumentations looks for updates when it is imported"


def test_no_file_names_a_folder_of_one_machine() -> None:
    """Paths such as a home or a temporary folder belong to the machine they were typed on."""
    roots = ["/" + name + "/" for name in ("home", "root", "tmp", "mnt", "opt", "work", "Users")]
    sources = [
        path for folder in ("auformer", "data_prep", "experiments", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {root}"
        for path in [*sources, ROOT / "setup.cfg", ROOT / "Makefile", ROOT / ".ci" / "run"]
        for root in roots
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(quote + root in line for quote in "\"'` =(")
    ]
    assert found == []
