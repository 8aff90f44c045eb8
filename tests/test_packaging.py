"""setup.cfg and its neighbours say what the code needs."""

from __future__ import annotations

import configparser
import itertools
import re
import socket
import sys
from pathlib import Path

import pytest
import yaml

import auformer
from tests.helpers.import_rules import imports

ROOT = Path(__file__).resolve().parents[1]

# distribution -> what one imports of it, where the two names differ
IMPORTED_AS = {
    "opencv-python-headless": "cv2", "scikit-learn": "sklearn", "pyyaml": "yaml", "pytorch-lightning": "pytorch_lightning",
    "huggingface-hub": "huggingface_hub", "scikit-image": "skimage", "pillow": "PIL", "pytest-timeout": "pytest_timeout",
}  # fmt: skip
INTO_TESTS = {"tests", "conftest", "auformer", "data_prep", "experiments"}


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _distributions(text: str) -> dict[str, str]:
    """Name of each requirement of a list, in lower case with dashes, to its bounds."""
    found = {}
    for line in text.split("\n"):
        match = re.fullmatch(r"([\w.\-]+)(\[[\w,\-]+\])?(.*)", line.strip())
        if match and match.group(1) != "auformer":
            found[match.group(1).lower().replace("_", "-")] = match.group(3)
    return found


def _roots(folder: str) -> dict[str, str]:
    """First name of everything that the files of a folder import, to one place that does."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for item in imports(module, path.read_text(encoding="utf-8"), package=path.stem == "__init__"):
            found[item.target.split(".")[0]] = f"{path.relative_to(ROOT)}:{item.line}"
    return {name: where for name, where in found.items() if name and name not in sys.stdlib_module_names}


@pytest.mark.parametrize("folder", ["auformer", "data_prep"])
def test_every_import_is_declared(folder: str, config: configparser.ConfigParser) -> None:
    declared = _distributions(config["options"]["install_requires"])
    for extra, text in config["options.extras_require"].items():
        if extra not in ("test", "dev"):
            declared |= _distributions(text)
    names = {IMPORTED_AS.get(name, name) for name in declared} | {"auformer", "data_prep"}
    assert {name: where for name, where in _roots(folder).items() if name not in names} == {}


def test_every_import_of_tests_and_experiments_comes_with_the_test_extra(config: configparser.ConfigParser) -> None:
    declared = _distributions(config["options"]["install_requires"])
    for extra in ("test", "prepare", "export", "peft", "cluster", "tensorboard"):
        declared |= _distributions(config["options.extras_require"][extra])
    names = {IMPORTED_AS.get(name, name) for name in declared} | INTO_TESTS
    found = _roots("tests") | _roots("experiments")
    planted = {"half_installed", "no_such_package_here"}  # in the tests of `require`
    assert {name: where for name, where in found.items() if name not in names | planted} == {}


def test_every_bound_is_a_lower_one_but_two(config: configparser.ConfigParser) -> None:
    bounds = _distributions(config["options"]["install_requires"])
    assert all(bound.startswith(">=") for bound in bounds.values())
    assert {name for name, bound in bounds.items() if "<" in bound} == {"albumentations", "opencv-python-headless"}
    assert "opencv-python" not in bounds, "both builds are `cv2`; one removes the other's files"


def test_every_bound_of_the_base_has_its_reason() -> None:
    """A comment line above each requirement, or above the group it starts."""
    section = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("install_requires =\n")[1].split("\n[")[0]
    lines = [line.strip() for line in section.splitlines() if line.strip()]
    assert lines[0].startswith("#")
    alone = {"pandas", "pyarrow", "matplotlib"}  # share the comment of scikit-learn, which says so
    for before, line in itertools.pairwise(lines):
        if not line.startswith("#") and re.split(r"[\[><=]", line)[0] not in alone:
            assert before.startswith("#"), line


def test_the_extras_hold_what_they_promise(config: configparser.ConfigParser) -> None:
    extras = {name: set(_distributions(text)) for name, text in config["options.extras_require"].items()}
    assert extras["prepare"] == {"openpyxl", "defusedxml", "xlrd", "scipy"}
    assert extras["export"] == {"onnx", "onnxscript", "onnxruntime"}
    assert (extras["peft"], extras["cluster"], extras["tensorboard"]) == ({"peft"}, {"ray"}, {"tensorboard"})
    assert "auformer[prepare,export,peft,cluster,tensorboard]" in config["options.extras_require"]["test"]
    assert "auformer[test]" in config["options.extras_require"]["dev"]


def test_make_has_its_targets_and_ci_calls_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test", "lint", "bench", "wheel-test"} <= set(
        re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE)
    )
    ci = ROOT / ".ci" / "run"
    assert ci.read_text(encoding="utf-8").rstrip().endswith("make test")
    assert ci.stat().st_mode & 0o100


def test_the_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    assert paper["title"] == "AUFormer: Vision Transformers are Parameter-Efficient Facial Action Unit Detectors"
    assert [author["family-names"] for author in paper["authors"]] == ["Yuan", "Yu", "Liu", "Xie", "Yue", "Yang"]
    assert paper["year"] == 2024
    assert citation["license"] == "Apache-2.0"


def test_the_changelog_knows_the_version() -> None:
    assert auformer.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_tests_cannot_leave_the_machine() -> None:
    with pytest.raises(ConnectionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address reserved for documentation
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass
