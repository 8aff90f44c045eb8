"""One file per word of the command line: it parses, calls the library and prints.

Each file has `add_arguments(parser)` and `run(args) -> int` (the exit code), its docstring is the description in
`--help`, and it imports what it needs inside its functions, so that `--help` stays instant.
"""
