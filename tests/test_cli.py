"""Routing, help, exit codes and messages of the command line; what each command does is tested with the command."""

from __future__ import annotations

import argparse
import ast
import errno
import importlib
import importlib.util
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


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int | None]], None]:
    """Put a command `try` into the table whose `run` is the given function."""

    def put(run: Callable[[argparse.Namespace], int | None]) -> None:
        module = ModuleType("stand_in_command", "Try something.\n\nAt length.")
        module.add_arguments = lambda parser: parser.add_argument("--times", type=int, default=1, help="how often")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stand_in_command", module)
        monkeypatch.setitem(cli.COMMANDS, "try", ("stand_in_command", "try something"))

    return put


def _raise(error: BaseException) -> Callable[[argparse.Namespace], int]:
    """A `run` that fails; the error is raised here, that is outside the package."""

    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def _last_line(code: str) -> str:
    """What a fresh process prints last."""
    code = f"import sys; from auformer.cli import main; {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


# routing ----------------------------------------------------------------------------------------------------------------------------


def test_arguments_and_exit_code_pass_through(stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(lambda args: 40 + args.times)
    assert cli.main(["try", "--times", "2"]) == 42
    stand_in(lambda args: None)
    assert cli.main(["try"]) == 0
    assert capsys.readouterr() == ("", "")


def test_main_reads_the_words_of_the_process(stand_in: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(lambda args: args.times)
    monkeypatch.setattr(sys, "argv", ["auformer", "try", "--times", "3"])
    assert cli.main() == 3


@pytest.mark.parametrize("word", ["fit", "validate", "test"])
def test_training_words_go_to_lightning(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = ModuleType("auformer.training")
    module.cli_main = seen.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "auformer.training", module)
    assert cli.main([word, "--config", "a.yaml"]) == 0
    assert seen == [[word, "--config", "a.yaml"]]


def test_only_the_named_command_is_imported() -> None:
    """Every other file of `commands` stays unread, and with it what it needs."""
    seen = _last_line("main(['score', '--help']); print([m for m in sys.modules if 'auformer.commands.' in m])")
    assert seen == "['auformer.commands.score']"


def test_the_table_is_the_folder() -> None:
    """A file of `commands` that no word reaches, or a word without its file, is a mistake."""
    files = {path.stem for path in (ROOT / "auformer" / "commands").glob("*.py")} - {"__init__"}
    assert (
        {module.removeprefix("auformer.commands.") for module, _ in cli.COMMANDS.values()} == files == set(cli.COMMANDS)
    )
    assert importlib.util.find_spec("auformer.training") is not None


# help and version -------------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = {line.split()[0] for line in text.splitlines() if line.startswith("  ") and not line.startswith("  -")}
    assert listed == {*cli.COMMANDS, *cli.TRAINING}
    assert cli.main(["-h"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("word", sorted(cli.COMMANDS))
def test_each_command_explains_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: auformer {word} ")
    docstring = importlib.import_module(cli.COMMANDS[word][0]).__doc__
    assert docstring is not None
    assert docstring.strip().splitlines()[0] in text
    parser = argparse.ArgumentParser()
    importlib.import_module(cli.COMMANDS[word][0]).add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == [], "every option needs a help text"


@pytest.mark.parametrize("word", sorted(cli.COMMANDS))
def test_help_of_a_command_is_instant(word: str) -> None:
    assert (
        _last_line(f"main(['{word}', '--help']); print({{'torch', 'timm', 'cv2', 'sklearn'}} & set(sys.modules))")
        == "set()"
    )


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"auformer {auformer.__version__}\n"
    # setup.cfg takes it from the source by reading, not by importing: it has to stay a plain literal
    tree = ast.parse(Path(auformer.__file__).read_text(encoding="utf-8"))
    literals = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert [ast.literal_eval(value) for value in literals] == [auformer.__version__]


def test_module_form_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "auformer", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"auformer {auformer.__version__}\n")


# usage errors -----------------------------------------------------------------------------------------------------------------------


def test_no_word_shows_the_overview_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: auformer COMMAND" in capsys.readouterr().out


def test_an_unknown_word_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evalute", "demo"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "but got 'evalute'" in said.err
    assert all(word in said.err for word in (*cli.COMMANDS, *cli.TRAINING))


def test_a_wrong_option_is_a_usage_error(stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(lambda args: 0)
    assert cli.main(["try", "--tims", "2"]) == 2
    assert "--tims" in capsys.readouterr().err
    assert cli.main(["try", "--time", "2"]) == 2, "abbreviations would break when an option is added"
    assert cli.main(["try", "--times", "often"]) == 2


# errors of the input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["ManifestError", "CheckpointError", "DatasetLayoutError", "FaceNotFoundError", "MissingExtraError"]
)
def test_what_a_user_meets_is_one_line(kind: str, stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(_raise(getattr(errors, kind)("row 7 of faces.csv: AU12 is 9")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", "auformer: error: row 7 of faces.csv: AU12 is 9\n")


def test_a_value_error_of_our_own_code_is_one_line(stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(lambda args: aus.parse_au_names("AU12,smile"))  # type: ignore[return-value, arg-type]
    assert cli.main(["try"]) == 1
    said = capsys.readouterr().err
    assert (
        said == "auformer: error: Expected `name` to be an action unit such as 'AU12', 'AU01' or 12, but got 'smile'\n"
    )


def test_a_value_error_from_elsewhere_keeps_its_traceback(stand_in: Callable) -> None:
    stand_in(lambda args: int(np.zeros(3).reshape(2, 2)[0, 0]))
    with pytest.raises(ValueError, match="cannot reshape"):
        cli.main(["try"])


def test_a_mistake_of_ours_keeps_its_traceback(stand_in: Callable) -> None:
    stand_in(_raise(KeyError("AU12")))
    with pytest.raises(KeyError):
        cli.main(["try"])


def test_a_missing_file_and_a_full_disk_name_the_path(
    stand_in: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "faces.csv"
    stand_in(lambda args: len(missing.read_text(encoding="utf-8")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == f"auformer: error: {missing}: {os.strerror(errno.ENOENT)}\n"
    stand_in(_raise(OSError(28, "No space left on device")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == "auformer: error: No space left on device\n"


def test_text_given_to_exit_is_a_message(stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(_raise(SystemExit("stop here")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == "auformer: error: stop here\n"


# interruptions ----------------------------------------------------------------------------------------------------------------------


def test_an_interruption_says_how_to_go_on(stand_in: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(_raise(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130
    assert "Run the same command again to go on." in capsys.readouterr().err
    stand_in(_raise(KeyboardInterrupt("Interrupted in epoch 3; run it again to go on")))
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "\nauformer: Interrupted in epoch 3; run it again to go on\n"


@pytest.mark.skipif(
    os.name == "nt", reason="closing the reading end of a pipe is not an error of the writer on Windows"
)
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
