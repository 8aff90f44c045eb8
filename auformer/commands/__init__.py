"""One file per word of the command line: arguments, messages and the order of steps; the work of each step is elsewhere.

Each file has `add_arguments(parser)` and `run(args) -> int` (the exit code), its docstring is the description in `--help`, and it imports
what it needs inside its functions, so that `--help` stays instant.
"""
