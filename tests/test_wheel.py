"""The wheel and the sdist: built, installed outside the checkout, used. `make wheel-test` runs this file alone."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import auformer
from tests.helpers.trees.others import write_ckplus

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

pytestmark = pytest.mark.wheel


def _run(*words: str | Path, cwd: Path) -> str:
    """What a program prints, away from the checkout; its failure is the test's."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is committed or could be, so that no `build` folder is left behind and no old one leaks in."""
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    else:  # an unpacked sdist
        names = [
            str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts
        ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", out, source, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that holds the package, and sees the heavy packages of this one behind it."""
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / PROGRAMS / ("python.exe" if os.name == "nt" else "python")
    # Folders named in a .pth come last, and .pth files inside them (an editable install) are not read.
    heavy = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (_site_packages(python) / "heavy.pth").write_text("".join(f"{path}\n" for path in sorted(heavy)), encoding="utf-8")
    install = (*PIP, "--python", python, "install", "--no-deps", "--no-index", "--ignore-installed")
    if request.param == "wheel":
        _run(*install, request.getfixturevalue("wheel"), cwd=folder)
    else:  # writes beside the sources
        own = shutil.copytree(request.getfixturevalue("source"), folder / "source")
        _run(*install, "--no-build-isolation", "--editable", own, cwd=folder)
    return python


def _auformer(words: str, python: Path, cwd: Path) -> str:
    """What the installed command prints."""
    return _run(python.with_name("auformer"), *words.split(), cwd=cwd)


def _site_packages(python: Path) -> Path:
    return Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=python.parent).strip())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path, source: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    roots = {"auformer": source / "auformer", "auformer/data_prep": source / "data_prep"}
    files = {f"{at}/{path.relative_to(root).as_posix()}" for at, root in roots.items() for path in root.rglob("*.*")}
    assert names == {file for file in files if "__pycache__" not in file}
    assert {"auformer/py.typed", "auformer/data_prep/__init__.py", "auformer/data_prep/README.md"} <= names
    assert wheel.stat().st_size < 20 * MEGABYTE


def test_the_metadata_say_what_setup_cfg_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name.split(".dist-info/")[-1]: name for name in archive.namelist() if ".dist-info/" in name}
        text, entry = (archive.read(held[name]).decode() for name in ("METADATA", "entry_points.txt"))
    assert f"Version: {auformer.__version__}\n" in text
    assert "Requires-Python: >=3.10\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    assert "Requires-Dist: opencv-python-headless<5,>=4.9\n" in text
    assert "auformer = auformer.cli:main" in entry
    assert "# auformer" in text, "the README is the long description"
    assert any(name.endswith("LICENSE") for name in held)


def test_the_sdist_holds_experiments_tests_and_documents(source: Path, tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    name = _run(sys.executable, "-c", code, cwd=source).splitlines()[-1]
    with tarfile.open(tmp_path / name) as archive:
        held = {member.name.split("/", 1)[-1] for member in archive if member.isfile()}
    assert {"Makefile", "ruff.toml", ".ci/run", "CITATION.cff", "CHANGELOG.md", "docs/glossary.md"} <= held
    folders = ("auformer", "data_prep", "experiments", "tests")
    wanted = {path.relative_to(source).as_posix() for folder in folders for path in (source / folder).rglob("*.*")}
    assert {name for name in wanted - held if "__pycache__" not in name and (source / name).is_file()} == set()


def test_the_installed_package_is_not_the_checkout(python: Path, tmp_path: Path) -> None:
    code = """
import importlib.util as u, auformer, auformer.data_prep
print(auformer.__file__, auformer.data_prep.__file__, sep="\\n")
print([name for name in ("data_prep", "tests", "experiments") if u.find_spec(name)])"""
    *files, generic = _run(python, "-c", code, cwd=tmp_path).splitlines()
    assert len(files) == 2
    assert all(Path(file).is_relative_to(python.parents[1]) for file in files), files
    assert generic == "[]", "no generic name is importable"
    names = {path.name.split("-")[0] for path in _site_packages(python).iterdir() if not path.name.startswith("__")}
    assert names <= {"auformer", "heavy.pth"}


def test_what_a_new_user_does(python: Path, tmp_path: Path) -> None:
    """Render, look at the packaged AU detector, evaluate it."""
    assert _auformer("--version", python, tmp_path) == f"auformer {auformer.__version__}\n"
    _auformer("synth --lab A --subjects 2 --frames 6 --aus all --out faces", python, tmp_path)
    assert (tmp_path / "faces" / "manifest.csv").is_file()
    said = _auformer("info demo", python, tmp_path)
    assert "AU12  Lip corner puller" in said
    assert "rendered faces only" in said
    said = _auformer("evaluate demo faces/manifest.csv --out predictions.csv", python, tmp_path)
    assert "AU12" in said
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 2 * 6
    assert (tmp_path / "predictions.json").is_file()


def test_what_the_owner_of_a_licensed_set_does(python: Path, tmp_path: Path) -> None:
    """Prepare a release (a miniature one) and verify the manifest."""
    write_ckplus(tmp_path / "release", faces=True)
    assert "ckplus" in _auformer("prepare --list", python, tmp_path)
    _auformer("prepare ckplus --root release --out crops --workers 2", python, tmp_path)
    assert len(pd.read_csv(tmp_path / "crops" / "manifest.csv")) == 3
    assert "AU12" in _auformer("verify crops/manifest.csv", python, tmp_path)
