"""data_prep/README.md agrees with the readers, and every command in it is one that the program takes."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser

import pytest

from auformer.commands import prepare as prepare_command
from auformer.commands import verify as verify_command
from auformer.data_prep.datasets.catalogue import NAMES, NOT_READ, load, names, not_read_lines
from auformer.data_prep.readme_table import README, command, counts, options, renewed, section
from auformer.faces import CROP_RECIPES

TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_its_row(name: str) -> None:
    release = load(name).RELEASE
    rows = [line for line in TEXT.splitlines() if line.startswith(f"| [`{name}`](#{name})")]
    assert len(rows) == 1
    for text in (release.title, release.request, release.terms, command(name), counts(name)):
        assert f"{text}`" in rows[0] or f" {text} |" in rows[0], (
            f"{text}: run python -m auformer.data_prep.readme_table"
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_its_tree(name: str) -> None:
    assert "\n".join(section(load(name).RELEASE)) in TEXT + "\n", "run python -m auformer.data_prep.readme_table"


def test_nothing_else_is_in_the_table() -> None:
    assert renewed(TEXT) == TEXT, "run python -m auformer.data_prep.readme_table"
    assert names() == list(NAMES) and not set(NOT_READ) & set(NAMES)
    assert all(text in TEXT for text in NOT_READ.values())
    with pytest.raises(ValueError, match="one pair of marks <!-- data sets -->"):
        renewed(TEXT.replace("<!-- /data sets -->", ""))


def test_commands_are_taken() -> None:
    found = re.findall(r"auformer (prepare|verify) ([^\n`#]+)", TEXT)
    assert len(found) > 20
    for word, rest in found:
        words = shlex.split(rest)
        parser = ArgumentParser()
        (verify_command if word == "verify" else prepare_command).add_arguments(parser)
        given = parser.parse_args(words)
        if "--root" in words and given.name != "feafa":  # whose file of names is read at once
            prepare_command._parser(load(given.name)).parse_args(given.options)


def test_options_detectors_and_recipes_are_all_there() -> None:
    assert all(f"| `{recipe}`" in TEXT for recipe in CROP_RECIPES)
    assert all(f"`{detector}`" in TEXT for detector in ("cascade", "yunet", "table:FILE"))
    assert "`--camera`" in options("disfa") and options("rafau") == ""


def test_the_list_names_what_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    prepare_command.add_arguments(parser)
    assert prepare_command.run(parser.parse_args(["--list"])) == 0
    printed = capsys.readouterr().out
    assert all(line in printed for line in not_read_lines()) and all(f"\n{name}: " in "\n" + printed for name in NAMES)
