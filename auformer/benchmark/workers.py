"""A suite from end to end: data rendered, runs done in this process or in several, tables and page written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from auformer.benchmark.jobs import Job, make_jobs, next_job
from auformer.benchmark.report import DRAWS, write_results
from auformer.benchmark.store import Line, check_claims, folder_of, forget, read_lines, restore_lines
from auformer.benchmark.suite import Suite, read_suite
from auformer.pool import run_tasks
from auformer.scoring.provenance import commit, machine
from auformer.synthetic.writing import render_options

logger = logging.getLogger("auformer.benchmark")
Result = tuple["Line | None", "str | None"]
"""What became of a run: its line (None: another process is at work on it), and what went wrong."""


def run_suite(
    suite: Suite | str | Path,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    resume: bool = True,
    only: Sequence[str] = (),
    bootstraps: int = DRAWS,
    bootstrap_ranks: bool = False,
    say: Callable[[str], None] = logger.info,
) -> Path | None:
    """Run a suite and write its tables, figures and report; what `auformer benchmark` does.

    Args:
        suite: The suite, or its YAML file.
        out: Folder of runs and results, in place of the one that the suite's file names.
        jobs: Runs at a time; 1 does them in this process, more in spawned ones with a share of the cores each.
        resume: Keep finished runs and resume interrupted ones; False begins anew.
        only: Words that the line of a run has to have; all runs by default.
        bootstraps: Draws of subjects that the intervals rest on.
        bootstrap_ranks: Intervals of AUROC and average precision too.
        say: Takes each line of progress, as `print` does.

    Returns:
        The page `report.html` about all finished runs of the folder; None without any.

    Raises:
        ValueError: The suite or the data contradict themselves, the folder holds runs of another configuration, or runs
            have failed; those that have not are in the results.
        OSError: The folder cannot be written.
    """
    if not isinstance(suite, Suite):
        suite = read_suite(Path(suite), out=None if out is None else Path(out))
    for name in suite.find_data():
        source = suite.data[name]
        if source.synth is not None and source.manifest is not None:
            say(f"data set {name}: {render_options(source.manifest.parent, source.synth, workers=jobs)}")
    data = suite.find_data()
    provenance = {"commit": commit(), "machine": machine()}
    all_jobs = make_jobs(suite, suite.runs(data, only=only), data, provenance)
    todo = _claimed(suite.out, all_jobs, resume, bootstrap_ranks)
    say(f"{number_of(len(all_jobs))}, {len(all_jobs) - len(todo):,} of them finished; {suite.out}")
    for text in dict.fromkeys(text for job in all_jobs for text in job.warnings):
        say(f"note: {text}")
    progress = Progress(len(todo), say)
    run_jobs(todo, jobs, progress.report)
    lines = [line for _, line in sorted(read_lines(suite.out).items())]  # not in the order in which they were finished
    page = None
    if lines:
        ranks = _rank_predictions(suite.out, lines) if bootstrap_ranks else None
        page = write_results(lines, suite.out / "results", bootstraps=bootstraps, rank_predictions=ranks)
        say(f"\n{(page.parent / 'tables' / 'summary.txt').read_text(encoding='utf-8')}\n{page}")
    progress.close()
    return page


def _claimed(out: Path, jobs: Sequence[Job], resume: bool, ranks: bool) -> list[Job]:
    """Claim the folders of all runs; those that are not finished."""
    from auformer.benchmark.runner import claim, finished_line  # which imports Lightning

    claims = [job.claim for job in jobs]
    if resume:
        check_claims(out, claims)
        restore_lines(out)
    else:
        forget(out, claims)
    if ranks:  # before anything is trained
        _rank_predictions(out, list(read_lines(out).values()))
    for job in jobs:
        claim(job, resume=resume)
    return [job for job in jobs if finished_line(job) is None]


def _rank_predictions(out: Path, lines: Sequence[Line]) -> dict[str, Path]:
    """Key of each finished run -> its predictions."""
    paths = {line["key"]: folder_of(out, line) / "predictions.csv" for line in lines}
    lost = [str(path) for path in paths.values() if not path.is_file()]
    if lost:
        told = f"but {lost[0]} is not: leave the option out, or do that run again with --no-resume"
        raise ValueError(f"Expected the predictions of all runs to be there for `--bootstrap-ranks`, {told}")
    return paths


def run_jobs(jobs: Sequence[Job], workers: int, report: Callable[[Job, Line | None, str | None], None]) -> None:
    """Do runs, so many at a time; of those whose training is the same, one trains, and the others wait to take it over.

    `report` is called after each run, here, with the run, its line and what went wrong. A run that fails does not keep
    the others from being done.

    Raises:
        KeyboardInterrupt: Interrupted; processes are ended, and what is unfinished is resumed from its last checkpoint
            next time.
        ValueError: `workers` is below 1.
    """

    def died(job: Job, code: int | None) -> Result:
        return None, f"its process ended with code {code} (killed, or out of memory)"

    alone = workers == 1 or len(jobs) < 2
    task = partial(attempt, progress=alone)
    for job, (line, error) in run_tasks(task, jobs, workers, choose=next_job, on_death=died):
        report(job, line, error)


def attempt(job: Job, *, progress: bool = False) -> Result:
    """Do one run: its line, and what went wrong."""
    from auformer.benchmark.runner import execute

    try:
        return execute(job, progress=progress), None
    except Exception as error:  # told at the end; the traceback is in the run's log
        return None, f"{type(error).__name__}: {error}"


class Progress:
    """Says what has become of each of `total` runs; `say` takes each line, as `print` does."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.done = total, say, 0
        self.failed: dict[str, list[str]] = {}  # error -> the runs that it ended
        self.elsewhere = 0

    def report(self, job: Job, line: Line | None, error: str | None) -> None:
        """One run has ended, with its line, with an error, or with neither because another process is at work on it."""
        self.done += 1
        text = job.run.text()
        state = "another process is at work on it"
        if error is not None:
            self.failed.setdefault(error, []).append(f"{text} ({job.folder / 'log.txt'})")
            state = "failed"
        elif line is not None:
            state = f"{line['seconds']:.0f} s"
        else:
            self.elsewhere += 1
        self.say(f"[{self.done}/{self.total}] {text}  {state}")

    def close(self) -> None:
        """Say what is missing.

        Raises:
            ValueError: Runs have failed; each reason is told once, with the first run that it ended.
        """
        if self.elsewhere:
            told = "run the same command again, when they are finished, for tables with them"
            self.say(f"{number_of(self.elsewhere)} left to another process; {told}")
        if self.failed:
            reasons = [
                f"{runs[0]}{f' and {len(runs) - 1} more' if len(runs) > 1 else ''}: {error}"
                for error, runs in self.failed.items()
            ]
            failed = sum(map(len, self.failed.values()))
            raise ValueError(f"{failed} of {number_of(self.total)} failed:\n  " + "\n  ".join(reasons))


def number_of(runs: int) -> str:
    """So many runs, in words.

    >>> number_of(1), number_of(1200)
    ('1 run', '1,200 runs')
    """
    return f"{runs:,} run{'' if runs == 1 else 's'}"
