"""Dispatch, help, exit codes and messages of the command line; what each command does is tested with the command."""

from __future__ import annotations

import argparse
import ast
import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import auformer
from auformer import aus, cli, errors

ROOT = Path(__file__).resolve().parents[1]
StandIn = Callable[[Callable[[argparse.Namespace], int | None]], None]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Add a command `try` whose `run` is the given function."""

    def put(run: Callable[[argparse.Namespace], int | None]) -> None:
        module = ModuleType("auformer.commands.try", "Try something.\n\nAt length.")
        module.add_arguments = lambda parser: parser.add_argument("--times", type=int, default=1)  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "auformer.commands.try", module)
        monkeypatch.setitem(cli.COMMANDS, "try", "try something")

    return put


def _raise(error: BaseException) -> Callable[[argparse.Namespace], int]:
    """A `run` that fails; the error is raised here, that is outside the package."""

    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def _python(*words: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# dispatch -------------------------------------------------------------------------------------------------------------


def test_arguments_and_exit_code_pass_through(
    stand_in: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(lambda args: 40 + args.times)
    assert cli.main(["try", "--times", "2"]) == 42
    monkeypatch.setattr(sys, "argv", ["auformer", "try", "--times", "3"])
    assert cli.main() == 43, "without arguments, those of the process"
    stand_in(lambda args: None)
    assert cli.main(["try"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("word", ["fit", "validate", "test"])
def test_training_words_go_to_lightning(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = ModuleType("auformer.training")
    module.cli_main = seen.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "auformer.training", module)
    assert cli.main([word, "--config", "a.yaml"]) == 0
    assert seen == [[word, "--config", "a.yaml"]]


def test_the_table_is_the_folder() -> None:
    """A module of `commands` that no word reaches, or a word without its module, is a mistake."""
    files = {path.stem for path in (ROOT / "auformer" / "commands").glob("*.py")} - {"__init__"}
    assert files == {word.replace("-", "_") for word in cli.COMMANDS}


# help and version -----------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = {line.split()[0] for line in text.splitlines() if line.startswith("  ") and not line.startswith("  -")}
    assert listed == {*cli.COMMANDS, *cli.TRAINING}
    assert all(len(line) <= 100 for line in text.splitlines())
    assert cli.main(["-h"]) == 0
    assert capsys.readouterr().out == text
    assert cli.main([]) == 2
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("word", sorted(cli.COMMANDS))
def test_each_command_explains_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: auformer {word} ")
    command = importlib.import_module(f"auformer.commands.{word.replace('-', '_')}")
    assert (command.__doc__ or "").strip().splitlines()[0] in text
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == [], "every option needs a help text"


@pytest.mark.parametrize("word", sorted(cli.COMMANDS))
def test_help_of_a_command_loads_nothing_but_the_command(word: str) -> None:
    heavy = "{'torch', 'timm', 'cv2', 'sklearn'}"
    code = f"""
import sys; from auformer.cli import main
main(['{word}', '--help']); print({heavy} & set(sys.modules), [m for m in sys.modules if 'auformer.commands.' in m])"""
    module = f"auformer.commands.{word.replace('-', '_')}"
    assert _python("-c", code).splitlines()[-1] == f"set() ['{module}']"


def test_version_is_the_package_version() -> None:
    for words in (["-m", "auformer", "--version"], ["-m", "auformer", "-V"]):
        assert _python(*words) == f"auformer {auformer.__version__}\n"
    # setup.cfg takes it from the source by reading, not by importing: it has to stay a plain literal
    tree = ast.parse(Path(auformer.__file__).read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    versions = [ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "__version__"]
    assert versions == [auformer.__version__]


# usage errors ---------------------------------------------------------------------------------------------------------


def test_an_unknown_word_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evalute", "demo"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "but got 'evalute'" in said.err
    assert all(word in said.err for word in (*cli.COMMANDS, *cli.TRAINING))


def test_a_wrong_option_is_a_usage_error(stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(lambda args: 0)
    assert cli.main(["try", "--tims", "2"]) == 2
    assert "--tims" in capsys.readouterr().err
    assert cli.main(["try", "--time", "2"]) == 2, "abbreviations would break when an option is added"
    assert cli.main(["try", "--times", "often"]) == 2


# errors of the input --------------------------------------------------------------------------------------------------

USER_ERRORS = ("ManifestError", "CheckpointError", "DatasetLayoutError", "FaceNotFoundError", "MissingExtraError")


@pytest.mark.parametrize("error", [*(getattr(errors, name) for name in USER_ERRORS), SystemExit, OSError])
def test_what_a_user_can_cause_is_one_line(
    error: type[BaseException], stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(_raise(error("row 7 of faces.csv: AU12 is 9")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", "auformer: error: row 7 of faces.csv: AU12 is 9\n")


def test_a_value_error_of_our_own_code_is_one_line(stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(lambda args: aus.parse_au_names("AU12,smile"))  # type: ignore[return-value, arg-type]
    assert cli.main(["try"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("auformer: error: Expected `name` to be an action unit")
    assert said.count("\n") == 1


def test_what_a_parser_makes_of_our_error_is_ours(stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace, kind: type[Exception] = ValueError) -> int:
        try:
            aus.parse_au_names("AU12,smile")
        except ValueError as error:
            raise kind("Does not validate against any of the Union subtypes") from error
        return 0

    stand_in(run)
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err.startswith("auformer: error: Expected `name` to be an action unit")
    stand_in(lambda args: run(args, RuntimeError))
    with pytest.raises(RuntimeError):
        cli.main(["try"])


@pytest.mark.parametrize("run", [lambda args: int(np.zeros(3).reshape(2, 2)[0, 0]), _raise(KeyError("AU12"))])
def test_a_bug_keeps_its_traceback(run: Callable, stand_in: StandIn) -> None:
    stand_in(run)
    with pytest.raises((ValueError, KeyError), match="cannot reshape|AU12"):
        cli.main(["try"])


def test_a_missing_file_and_a_full_disk_name_the_path(
    stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "faces.csv"
    stand_in(lambda args: len(missing.read_text(encoding="utf-8")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == f"auformer: error: {missing}: {os.strerror(errno.ENOENT)}\n"
    stand_in(_raise(OSError(28, "No space left on device")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == "auformer: error: No space left on device\n"


# interruptions --------------------------------------------------------------------------------------------------------


def test_an_interruption_says_how_to_resume(stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(_raise(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130
    assert "Run the same command again to resume." in capsys.readouterr().err
    stand_in(_raise(KeyboardInterrupt("Interrupted in epoch 3")))
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "\nauformer: Interrupted in epoch 3\n"


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is no error of the writer on Windows")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_makes_no_noise(unbuffered: str) -> None:
    """`auformer score FILE | head -1`: neither a traceback nor Python's own complaint at exit."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    words = [sys.executable, "-m", "auformer", "--help"]
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
