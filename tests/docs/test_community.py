"""Forms, workflow and hooks are well-formed and say what the tree says."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.documents import commands

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = _yaml(GITHUB / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").rstrip().endswith("\nmake test")
    assert workflow["permissions"] == {"contents": "read"}
    assert {"push", "pull_request"} == set(workflow[True])  # YAML 1.1 reads `on` as true


def test_the_workflow_uses_pythons_that_the_package_supports() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    supported = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    (job,) = _yaml(GITHUB / "workflows" / "ci.yml")["jobs"].values()
    used = job["strategy"]["matrix"]["python"]
    assert set(used) <= set(supported) and {supported[0], supported[-1]} == {
        min(used, key=_minor),
        max(used, key=_minor),
    }


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def test_the_hooks_are_the_rules_of_make_with_the_same_ruff() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    ruff = re.findall(r"^ruff\S*$", setup["options.extras_require"]["test"], re.MULTILINE)
    (repository,) = _yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["additional_dependencies"] for hook in repository["hooks"]] == [ruff, ruff]
    made = re.findall(r"\$\(BIN\)/(ruff \w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert [" ".join(hook["entry"].split()[:2]) for hook in repository["hooks"]] == made


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_forms_have_what_the_platform_asks_for(form: Path) -> None:
    content = _yaml(form)
    assert {"name", "description", "body"} <= content.keys()
    questions = [item for item in content["body"] if item["type"] != "markdown"]
    assert questions and all(item["type"] in ("input", "textarea") for item in questions)
    assert len({item["id"] for item in questions}) == len(questions)
    assert all(item["attributes"]["label"] for item in questions)


def test_commands_of_the_contributors_are_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    said = [one.split()[1] for one in commands((GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8"))]
    assert said == ["test", "quick", "docs"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in said)


@pytest.mark.parametrize("file", sorted(GITHUB.glob("*.md")), ids=lambda path: path.stem)
def test_links_and_paths_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in local if not (file.parent / link).exists()] == []
    named = re.findall(r"`((?:auformer|docs|experiments|data_prep)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
