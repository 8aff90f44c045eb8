"""data_prep/README.md agrees with the readers, and every command in it is one that the program takes."""

import re
import shlex
from argparse import ArgumentParser

import pytest

from auformer.commands import prepare as prepare_command
from auformer.commands import verify as verify_command
from auformer.data_prep.datasets.catalogue import NAMES, NOT_READ, load
from auformer.data_prep.readme_table import README, renewed
from auformer.faces import CROP_RECIPES

TEXT = README.read_text(encoding="utf-8")


def test_the_readme_repeats_what_the_readers_say():
    assert renewed(TEXT) == TEXT, "run python -m auformer.data_prep.readme_table"
    for name in NAMES:
        release = load(name).RELEASE
        (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| [`{name}`](#{name})")]
        for said in (release.title, release.request, release.terms, f"auformer prepare {name} --root"):
            assert said in row
        assert f"\n### {name}\n" in TEXT and release.tree.strip() in TEXT
    assert not set(NOT_READ) & set(NAMES) and all(text in TEXT for text in NOT_READ.values())
    assert "`--camera`" in TEXT and all(f"| `{recipe}`" in TEXT for recipe in CROP_RECIPES)
    assert all(f"`{detector}`" in TEXT for detector in ("cascade", "yunet", "table:FILE"))
    assert "python -m data_prep" not in TEXT


@pytest.mark.parametrize("lost", ["<!-- /data sets -->", "<!-- trees -->"])
def test_lost_marks_are_named(lost):
    with pytest.raises(ValueError, match="one pair of marks <!-- (data sets|trees) -->"):
        renewed(TEXT.replace(lost, ""))


def test_commands_are_taken():
    found = re.findall(r"auformer (prepare|verify) ([^\n`#]+)", TEXT)
    assert len(found) > 20
    for word, rest in found:
        words = shlex.split(rest)
        parser = ArgumentParser()
        (verify_command if word == "verify" else prepare_command).add_arguments(parser)
        given = parser.parse_args(words)
        if "--root" in words and given.name != "feafa":  # whose file of names is read at once
            prepare_command._parser(load(given.name)).parse_args(given.options)
