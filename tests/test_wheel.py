"""The wheel: built, installed outside the checkout, used. `make wheel-test` runs this file alone."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import auformer

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000


def _run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program away from the checkout; its failure is the test's."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that no `build` folder is left in the checkout and no old one leaks into the wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("auformer", "data_prep"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        out,
        source,
        cwd=source,
    )
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of a new environment that holds the wheel, and sees the heavy packages of this one behind it."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / ("python.exe" if os.name == "nt" else "python")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    own = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    # Folders named in a .pth come after the environment's own, and .pth files inside them are not read: an editable install stays unseen.
    heavy = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (own / "heavy.pth").write_text("".join(f"{path}\n" for path in sorted(heavy)), encoding="utf-8")
    return programs


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("auformer", "data_prep")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert {name for name in names if ".dist-info/" not in name} == files
    assert "auformer/py.typed" in names
    assert any(name.startswith("auformer/assets/") for name in names)
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 15 * MEGABYTE


def test_the_metadata_say_what_setup_cfg_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode()
        (entry,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert f"Version: {auformer.__version__}\n" in text
    assert "Requires-Python: >=3.10\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    assert "auformer = auformer.cli:main" in entry
    assert "# AU" in text or "# au" in text, "the README is the long description"
    assert "Requires-Dist: opencv-python-headless<5,>=4.9\n" in text


def test_the_installed_package_is_the_wheel_and_not_the_checkout(clean: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, auformer, data_prep, pandas; print(auformer.__file__); print(data_prep.__file__); "
        "print([name for name in ('tests', 'experiments') if u.find_spec(name)])"
    )
    first, second, found = _run(clean / "python", "-c", code, cwd=tmp_path).stdout.splitlines()
    for path in (first, second):
        assert Path(path).is_relative_to(clean.parent)
        assert not Path(path).is_relative_to(ROOT)
    assert found == "[]"


def test_version(clean: Path, tmp_path: Path) -> None:
    assert _run(clean / "auformer", "--version", cwd=tmp_path).stdout == f"auformer {auformer.__version__}\n"


def test_from_rendering_to_a_score_in_an_empty_folder(clean: Path, tmp_path: Path) -> None:
    """What a new user does: render, look at the detector, evaluate it."""
    command = clean / "auformer"
    _run(
        command,
        "synth",
        "--lab",
        "A",
        "--subjects",
        "2",
        "--frames",
        "6",
        "--aus",
        "all",
        "--out",
        "faces",
        cwd=tmp_path,
    )
    assert (tmp_path / "faces" / "manifest.csv").is_file()
    said = _run(command, "info", "demo", cwd=tmp_path).stdout
    assert "AU12  Lip corner puller" in said
    assert "rendered faces only" in said
    said = _run(command, "evaluate", "demo", "faces/manifest.csv", "--out", "predictions.csv", cwd=tmp_path).stdout
    assert "AU12" in said
    assert len((tmp_path / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2 * 6
    assert (tmp_path / "predictions.json").is_file()
