"""Each script of findings/ has its parts; none is run here, since they install packages."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_says_what_is_seen_and_fails_when_that_changes(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in text
    about = text[: text.index("set -euo")]
    assert re.search(r"\d+\.\d+", about.splitlines()[1]), "the version stands in the first line"
    assert "What to do:" in about and len(about.splitlines()) >= 4
    assert "folder=$(mktemp -d)\ntrap 'rm -rf \"$folder\"' EXIT\n" in text and "-m venv" in text
    (packages,) = re.findall(r"pip\" install --quiet (.+)", text)
    assert packages.split() and all(re.fullmatch(r"[\w-]+==\d+(\.\d+)+", one) for one in packages.split())
    assert "auformer" not in text
    code = re.search(r"<<'PYTHON'\n(.*)PYTHON\n$", text, re.DOTALL)
    assert code is not None
    body = ast.parse(code[1]).body
    assert any(isinstance(step, ast.Assert) for step in body), "what was seen is asserted"
    assert any("print(" in ast.unparse(step) for step in body)


def test_no_two_are_alike():
    firsts = [path.read_text(encoding="utf-8").splitlines()[1] for path in SCRIPTS]
    assert len(SCRIPTS) >= 10 and len(set(firsts)) == len(firsts)
