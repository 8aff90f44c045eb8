"""What `auformer benchmark` says of its runs while they are done, and at the end of those that are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auformer.benchmark.jobs import Job
    from auformer.benchmark.store import Line


class Progress:
    """Says what has become of each run.

    Args:
        total: Runs to do.
        say: Takes each line, as `print` does.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.done = total, say, 0
        self.failed: dict[str, list[str]] = {}  # error -> the runs that it ended
        self.elsewhere = 0

    def report(self, job: Job, line: Line | None, error: str | None) -> None:
        """One run has ended.

        Args:
            job: The run.
            line: Its line; None where there is none.
            error: What went wrong; None with a line, or where another process is at it.
        """
        self.done += 1
        text = job.run.text()
        if error is not None:
            self.failed.setdefault(error, []).append(f"{text} ({job.folder / 'log.txt'})")
        elif line is None:
            self.elsewhere += 1
        state = "failed" if error is not None else "another process is at it" if line is None else f"{line['seconds']:.0f} s"
        self.say(f"[{self.done}/{self.total}] {text}  {state}")

    def close(self) -> None:
        """Say what is missing.

        Raises:
            ValueError: Runs have failed; each reason is told once, with the first run that it ended.
        """
        if self.elsewhere:
            told = "the same command again makes tables with them; where a process of another host is gone, delete its files *.lock"
            self.say(f"{number_of(self.elsewhere)} left to another process; {told}")
        if self.failed:
            reasons = [f"{runs[0]}{f' and {len(runs) - 1} more' if len(runs) > 1 else ''}: {error}" for error, runs in self.failed.items()]
            failed = sum(map(len, self.failed.values()))
            raise ValueError(f"{failed} of {number_of(self.total)} failed:\n  " + "\n  ".join(reasons))


def number_of(runs: int) -> str:
    """So many runs, in words.

    >>> number_of(1), number_of(1200)
    ('1 run', '1,200 runs')
    """
    return f"{runs:,} run{'' if runs == 1 else 's'}"
