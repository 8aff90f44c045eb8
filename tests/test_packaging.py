"""setup.cfg and its neighbours say what the code needs."""

from __future__ import annotations

import ast
import configparser
import itertools
import re
import socket
import sys
from pathlib import Path

import pytest
import yaml

import auformer

ROOT = Path(__file__).resolve().parents[1]

# distribution -> what one imports of it, where the two names differ
IMPORTED_AS = {
    "opencv-python-headless": "cv2", "scikit-learn": "sklearn", "pyyaml": "yaml", "scikit-image": "skimage",
    "pillow": "PIL", "pympi-ling": "pympi", "pybids": "bids",
}  # fmt: skip
EXTRAS = {
    "prepare": {"openpyxl", "defusedxml", "xlrd", "scipy"}, "heic": {"pillow-heif"},
    "export": {"onnx", "onnxscript"},
    "peft": {"peft"}, "cluster": {"ray"}, "tensorboard": {"tensorboard"},
    "annotations": {"mne", "praatio", "defusedxml"}, "page": {"starlette", "uvicorn"}, "scanned": {"numba"},
    "language": {"transformers", "tokenizers", "peft", "sacrebleu"},
    "docs": {"furo", "myst-nb"},
}  # fmt: skip
OWN = {"auformer", "experiments", "tests"}  # data_prep is imported as auformer.data_prep alone
PLANTED = {"half_installed", "no_such_package_here"}  # in the tests of `require`


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


def _imported(folder: str) -> dict[str, str]:
    """First name of everything that the files of a folder import, `require` included, to one place that does."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("require", "import_module"):
                names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            found |= {name.split(".")[0]: f"{path.relative_to(ROOT)}:{node.lineno}" for name in names}  # type: ignore[attr-defined]
    return {name: where for name, where in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("folder", ["auformer", "data_prep", "tests", "experiments"])
def test_every_import_is_declared(folder: str, config: configparser.ConfigParser) -> None:
    declared = _distributions(config["options"]["install_requires"])
    for extra in (*EXTRAS, *(["test"] if folder in ("tests", "experiments") else [])):
        declared |= _distributions(config["options.extras_require"][extra])
    names = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in declared} | OWN | PLANTED
    assert {name: where for name, where in _imported(folder).items() if name not in names} == {}


def test_the_list_of_packages_is_the_tree(config: configparser.ConfigParser) -> None:
    """setup.cfg lists packages one by one, since data_prep is installed at another place than it lies."""
    found = {
        ".".join([*prefix, *path.parent.relative_to(ROOT).parts])
        for folder, prefix in (("auformer", []), ("data_prep", ["auformer"]))
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(config["options"]["packages"].split()) == found
    assert config["options"]["package_dir"].strip() == "auformer.data_prep = data_prep"
    bare = {path.parent for folder in ("auformer", "data_prep") for path in (ROOT / folder).rglob("*.py")}
    assert [str(path) for path in sorted(bare) if not (path / "__init__.py").is_file()] == []


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
    extras = config["options.extras_require"]
    assert {name: set(_distributions(extras[name])) for name in EXTRAS} == EXTRAS
    assert f"auformer[{','.join(EXTRAS)}]" in extras["test"]
    assert "auformer[test]" in extras["dev"]


def test_make_has_its_targets_and_ci_calls_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert {"demo", "quick", "test", "lint", "bench", "wheel-test"} <= targets
    ci = ROOT / ".ci" / "run"
    assert ci.read_text(encoding="utf-8").rstrip().endswith("make test")
    assert ci.stat().st_mode & 0o100


def test_the_citation_names_the_paper_and_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    assert paper["title"] == "AUFormer: Vision Transformers are Parameter-Efficient Facial Action Unit Detectors"
    assert [author["family-names"] for author in paper["authors"]] == ["Yuan", "Yu", "Liu", "Xie", "Yue", "Yang"]
    assert (paper["year"], citation["license"]) == (2024, "Apache-2.0")
    assert str(citation["version"]) == auformer.__version__
    assert citation["date-released"].year >= 2026
    assert f"## [{auformer.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_tests_cannot_leave_the_machine() -> None:
    with pytest.raises(ConnectionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address reserved for documentation
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass
