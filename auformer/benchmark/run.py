"""A run: what to train on, how the epoch is chosen, what to test on."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATIONS = ("validation", "test", "last")  # how the epoch is chosen: on training subjects held out, on the test part, or not at all


@dataclass(frozen=True)
class Rows:
    """Rows of data sets: all, those of one `fold`, or those of named subjects.

    Attributes:
        data: Names of the data sets.
        fold: Name in the column `fold`; None: not by that column.
        subjects: Names like `casme2/sub01`; None: not by subject.
    """

    data: tuple[str, ...]
    fold: str | None = None
    subjects: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Run:
    """One training and one test.

    Attributes:
        protocol: `within`, `cross`, `efficiency` or `micro`.
        name: Of the suite's entry; the protocol by default.
        method: Name of the configuration.
        train: Data sets to train on; the rows of `test` are cut out of them.
        validation: One of `VALIDATIONS`.
        test: What to test on.
        fold: What the tables call the test part; empty where there is one only.
        subset: Number or fraction of the training rows; None: all.
        seed: Of everything random in the run.
        init: Name of the checkpoint whose experts it starts from; None: from scratch.
        au_names: AUs to train and test; None: those of the configuration, else of the data.
        clips: Whether the faces are clips, one prediction each.
        min_steps: Train for more epochs than configured until there are so many optimiser steps.
        warnings: What a reader of its numbers should know.
        stands_for: Where the data is not there yet: what this run stands for.
    """

    protocol: str
    name: str
    method: str
    train: tuple[str, ...]
    validation: str
    test: Rows
    fold: str = ""
    subset: int | float | None = None
    seed: int = 0
    init: str | None = None
    au_names: tuple[str, ...] | None = None
    clips: bool = False
    min_steps: int = 0
    warnings: tuple[str, ...] = ()
    stands_for: str = ""

    def text(self) -> str:
        """The run in one line, its protocol first."""
        test = "" if self.test.data == self.train else f" -> {'+'.join(self.test.data)}"
        parts = [self.protocol, f"{'+'.join(self.train)}{test}"]
        parts += [self.name] if self.name != self.protocol else []
        parts += [self.stands_for] if self.stands_for else [f"fold {self.fold}"] if self.fold else []
        parts += [f"{_size(self.subset)} frames"] if self.subset is not None else []
        parts += [self.method, f"seed {self.seed}"]
        parts += [f"experts from {self.init}"] if self.init else []
        parts += ["selected on the test part"] if self.validation == "test" else []
        return "  ".join(parts)


@dataclass(frozen=True)
class Common:
    """What all runs of a protocol share.

    Attributes:
        methods: Name of each configuration, and how its epoch is chosen (one of `VALIDATIONS`).
        seeds: A run for each.
        name: Of the suite's entry; empty: the protocol's.
        init: Name of the checkpoint whose experts the runs start from.
    """

    methods: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...] = (0,)
    name: str = ""
    init: str | None = None


def _size(size: int | float) -> str:
    """A subset in words.

    >>> _size(1000), _size(0.5)
    ('1,000', '50 % of the')
    """
    return f"{size:,}" if isinstance(size, int) else f"{100 * size:g} % of the"
