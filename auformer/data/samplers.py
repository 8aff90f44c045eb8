"""Which rows come when: functions of (seed, epoch) alone, whatever the number of workers and ranks.

Both are `DistributedSampler`s with explicit ranks, so that Lightning leaves them in place and tells them the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import DistributedSampler


class ShuffledSampler(DistributedSampler):
    """Training order: a permutation per (seed, epoch), dealt to the ranks in turn.

    It yields `(row, epoch)`: the row carries the epoch to the data set, so a worker process needs no other word of it.
    Each rank gets the same number of rows; the last `rows % ranks` rows of the epoch's permutation, other ones in each
    epoch, are left out.

    Raises:
        ValueError: There are fewer rows than ranks.
    """

    def __init__(self, rows: Sized, *, seed: int = 0, rank: int = 0, num_ranks: int = 1) -> None:
        _check(rows, num_ranks)
        super().__init__(rows, num_replicas=num_ranks, rank=rank, shuffle=True, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.rows = len(rows)

    def __len__(self) -> int:
        return self.rows // self.num_replicas

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        mine = order[: len(self) * self.num_replicas][self.rank :: self.num_replicas]
        return iter([(int(row), self.epoch) for row in mine])


class OrderedSampler(DistributedSampler):
    """Evaluation order: every row once, over all ranks together; no rank is filled up with repeated rows.

    Raises:
        ValueError: There are fewer rows than ranks.
    """

    def __init__(self, rows: Sized, *, rank: int = 0, num_ranks: int = 1) -> None:
        _check(rows, num_ranks)
        super().__init__(rows, num_replicas=num_ranks, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.mine = range(rank, len(rows), num_ranks)

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)


def _check(rows: Sized, num_ranks: int) -> None:
    """Every rank needs a row, or it would wait for the others for ever."""
    if len(rows) < num_ranks:
        raise ValueError(f"Expected at least one row per process, but got {len(rows)} rows for {num_ranks} processes")


def even_batch_size(rows: int, num_ranks: int, batch_size: int) -> int:
    """A batch size with which all ranks make the same number of batches of `OrderedSampler`'s rows.

    Ranks differ by a row at most; where that row would be a batch of its own on some ranks only, those would wait in a
    collective operation that the others never enter. Then the next smaller batch size that avoids it is taken (a larger
    one if there is none).

    >>> even_batch_size(100, 1, 16), even_batch_size(32, 2, 16), even_batch_size(33, 2, 16)
    (16, 16, 15)
    """
    few, many = rows // num_ranks, -(-rows // num_ranks)
    for size in [*range(batch_size, 0, -1), *range(batch_size + 1, many + 1)]:
        if -(-few // size) == -(-many // size):
            return size
    return batch_size
