"""The command line: `auformer COMMAND ...`.

`fit`, `validate` and `test` belong to LightningCLI, every other command to a module of `auformer.commands`. Only the
module of the given command is imported, so `auformer --help` and `--version` are instant. What a user can cause is
reported as one line on stderr; a bug of this package keeps its traceback.

Exit codes: 0 success, 1 the input or part of it is unusable, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from auformer import __version__

# Each is a module of `auformer.commands` (with `_` for `-`) with `add_arguments` and `run`.
COMMANDS = {
    "demo": "render faces, train AUFormer and a linear probe on them, evaluate both, report",
    "synth": "render faces with known action units: images, manifest, ground truth",
    "prepare": "turn the release of a licensed data set into aligned crops and a manifest",
    "verify": "check a manifest: counts, images, folds, published counts",
    "evaluate": "predict a manifest with a checkpoint and score the predictions",
    "score": "score a predictions file",
    "benchmark": "run the paper's protocols on your manifests: tables, figures, report",
    "predict": "predict action units in your own images and videos",
    "page": "look at videos beside their action units over time, in your browser",
    "describe": "describe faces in sentences about their muscles",
    "ask": "ask a question about the muscles of a face",
    "score-text": "score sentences against labels, beside controls",
    "export": "export a checkpoint to ONNX or torch.export",
    "export-annotations": "write predictions for ELAN, Praat, BIDS, MNE, BORIS, or as a table",
    "summarise": "statistics per person, video and AU: share of time, episodes, intensity",
    "compare": "agreement per AU of two predictions files of the same images",
    "info": "describe a checkpoint",
}

# These are LightningCLI's, in `auformer.training`.
TRAINING = {
    "fit": "train from a YAML configuration",
    "validate": "validate a run on its validation split",
    "test": "test a run on its test split",
}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Arguments after `auformer`; those of the process by default.

    Returns:
        The exit code, see the module docstring.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # a closed pipe raises here, where it is still handled
        return code
    except SystemExit as exit_:  # raised by argparse and jsonargparse
        if exit_.code is None or isinstance(exit_.code, int):
            return exit_.code or 0
        _report(f"auformer: error: {exit_.code}")
        return EXIT_FAILED
    except KeyboardInterrupt as interrupt:  # a message says how to resume
        default = "Interrupted; everything written so far is complete. Run the same command again to resume."
        _report(f"\nauformer: {str(interrupt) or default}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `auformer info ... | head`; the interpreter must not complain at its last flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        said = _user_error(error)
        if said is None:
            raise
        _report(f"auformer: error: {_message(said)}")
        return EXIT_FAILED


def _dispatch(words: list[str]) -> int:
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
        _report(f"auformer: error: Expected a command, one of {known}, but got {word!r}. See: auformer --help")
        return EXIT_USAGE
    command = importlib.import_module(f"auformer.commands.{word.replace('-', '_')}")
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
    lines = ["usage: auformer COMMAND [options]", ""]
    lines += ["Facial action units with AUFormer (ECCV 2024). For a command's options: auformer COMMAND --help", ""]
    for title, table in (("commands", COMMANDS), ("training (LightningCLI)", TRAINING)):
        lines += [f"{title}:", *(f"  {word:<18} {text}" for word, text in table.items()), ""]
    return "\n".join([*lines, "options:", "  --version  show the version", "  --help     show this text", ""])


def _user_error(error: Exception) -> Exception | None:
    """The error about the input: this one, or the one that it was raised from, as jsonargparse does; None for a bug."""
    while not _is_user_error(error):
        if not isinstance(error, ValueError) or not isinstance(error.__cause__, Exception):
            return None
        error = error.__cause__
    return error


def _is_user_error(error: Exception) -> bool:
    """Whether an error is about the input: of the file system, of a class of ours, or a `ValueError` that we raised."""
    if isinstance(error, OSError) or type(error).__module__.split(".")[0] == "auformer":
        return True
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error, ValueError) and frame.f_globals.get("__name__", "").split(".")[0] == "auformer"


def _message(error: Exception) -> str:
    """The text of an error; that of a failed file operation begins with its path."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def _report(text: str) -> None:
    """Write one message to stderr."""
    sys.stderr.write(f"{text}\n")
