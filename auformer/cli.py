"""The command line: `auformer WORD ...`.

`fit`, `validate` and `test` go to LightningCLI in `training`, every other word to one file of `commands/`; only that one is imported, so
`auformer --help` and `--version` are instant. What a user can meet becomes one line on stderr; what only a mistake of ours can cause keeps
its traceback.

Exit codes: 0 done, 1 something is wrong with the input or with part of it, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from auformer import __version__

# word -> (module with `add_arguments` and `run`, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "auformer.commands.demo",
        "render faces, train AUFormer and a linear probe on them, evaluate, write a report",
    ),
    "synth": ("auformer.commands.synth", "render faces with known action units: images, manifest, exact truth"),
    "prepare": ("auformer.commands.prepare", "a licensed data set, from its release to aligned crops and a manifest"),
    "verify": ("auformer.commands.verify", "check a manifest: counts, pictures, folds, published counts"),
    "evaluate": ("auformer.commands.evaluate", "predict a manifest with a checkpoint and score it"),
    "score": ("auformer.commands.score", "score a predictions file"),
    "benchmark": (
        "auformer.commands.benchmark",
        "the paper's protocols on your manifests: runs, tables, figures, report",
    ),
    "predict": ("auformer.commands.predict", "action units of your own photos and videos"),
    "export": ("auformer.commands.export", "write a checkpoint as ONNX or as a program of torch"),
    "compare": ("auformer.commands.compare", "two predictions files of the same pictures: agreement per AU"),
    "info": ("auformer.commands.info", "what a checkpoint is and holds"),
}

# word -> what it does; all three are LightningCLI's, in `auformer.training`
TRAINING: dict[str, str] = {
    "fit": "train from a YAML configuration",
    "validate": "validate a run on its validation part",
    "test": "test a run on its test part",
}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

INTERRUPTED = "Interrupted; what is written so far is complete. Run the same command again to go on."

OURS = ("auformer",)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Words after `auformer`; those of the process by default.

    Returns:
        The exit code (see the module).
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = _route(words)
        sys.stdout.flush()  # here, where a reader who has left can still be dealt with
        return code
    except SystemExit as exit_:  # argparse and jsonargparse leave this way
        if exit_.code is None or isinstance(exit_.code, int):
            return exit_.code or 0
        _say(f"auformer: error: {exit_.code}")
        return EXIT_FAILED
    except KeyboardInterrupt as stop:  # whoever knows more about how to go on says so in it
        _say(f"\nauformer: {stop}" if str(stop) else f"\nauformer: {INTERRUPTED}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `auformer info ... | head`: nobody reads on; keep the interpreter's last flush quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        _say(f"auformer: error: {_message(error)}")
        return EXIT_FAILED


def _route(words: list[str]) -> int:
    """Find the command and run it."""
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if words else EXIT_USAGE
    word, rest = words[0], words[1:]
    if word in ("-V", "--version"):
        sys.stdout.write(f"auformer {__version__}\n")
        return 0
    if word in TRAINING:
        return int(importlib.import_module("auformer.training").cli_main(words) or 0)
    if word not in COMMANDS:
        known = ", ".join([*COMMANDS, *TRAINING])
        _say(f"auformer: error: Expected a command, one of {known}, but got {word!r}. See: auformer --help")
        return EXIT_USAGE
    command = importlib.import_module(COMMANDS[word][0])
    parser = argparse.ArgumentParser(
        prog=f"auformer {word}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(rest)) or 0)


def _overview() -> str:
    """Text of `auformer --help`."""
    about = "Facial action units with AUFormer (ECCV 2024). Each command explains itself: auformer COMMAND --help"
    lines = ["usage: auformer COMMAND [options]", "", about, ""]
    for title, table in (
        ("commands", {word: text for word, (_, text) in COMMANDS.items()}),
        ("training (LightningCLI)", TRAINING),
    ):
        lines += [f"{title}:", *(f"  {word:<10} {text}" for word, text in table.items()), ""]
    return "\n".join([*lines, "options:", "  --version  the version", "  --help     this text", ""])


def _is_for_the_user(error: Exception) -> bool:
    """Whether an error is about the input: of the file system, of a class of ours, or a `ValueError` that our own code raised."""
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] in OURS:
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, ValueError) and frames[-1][0].f_globals.get("__name__", "").split(".")[0] in OURS


def _message(error: Exception) -> str:
    """One message for people: a failed file operation with its path in front."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def _say(text: str) -> None:
    """Write one message to stderr."""
    sys.stderr.write(f"{text}\n")
