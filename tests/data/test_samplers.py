import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auformer.data.samplers import OrderedSampler, ShuffledSampler, even_batch_size

counts, ranks = st.integers(1, 200), st.integers(1, 5)


def shuffled(rows: int, *, seed: int, epoch: int, rank: int = 0, num_ranks: int = 1) -> list[tuple[int, int]]:
    sampler = ShuffledSampler(range(rows), seed=seed, rank=rank, num_ranks=num_ranks)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(sampler)
    return order


@settings(deadline=None)
@given(rows=counts, num_ranks=ranks, seed=st.integers(0, 2**40), epoch=st.integers(0, 100))
def test_the_ranks_together_walk_the_order_of_one_process(rows, num_ranks, seed, epoch):
    if rows < num_ranks:
        return
    single = shuffled(rows, seed=seed, epoch=epoch)
    assert sorted(single) == [(row, epoch) for row in range(rows)]
    shares = [shuffled(rows, seed=seed, epoch=epoch, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    assert len({len(share) for share in shares}) == 1  # a rank with a batch more would wait for ever
    dealt = [item for step in zip(*shares, strict=True) for item in step]
    assert dealt == single[: rows - rows % num_ranks]


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(row for row, _ in shuffled(50, seed=seed, epoch=epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert shuffled(50, seed=3, epoch=4) == shuffled(50, seed=3, epoch=4)
    assert list(ShuffledSampler(range(9), seed=1)) == shuffled(9, seed=1, epoch=0)


@settings(deadline=None)
@given(rows=counts, num_ranks=ranks, batch_size=st.integers(1, 40))
def test_every_row_is_evaluated_once_and_no_rank_makes_more_batches(rows, num_ranks, batch_size):
    if rows < num_ranks:
        return
    shares = [list(OrderedSampler(range(rows), rank=rank, num_ranks=num_ranks)) for rank in range(num_ranks)]
    assert sorted(row for share in shares for row in share) == list(range(rows))
    assert all(share == sorted(share) for share in shares)
    even = even_batch_size(rows, num_ranks, batch_size)
    batches = {-(-len(share) // even) for share in shares}
    assert len(batches) == 1
    if num_ranks == 1:
        assert even == batch_size
    if batch_size > 1:  # memory: larger batches only where no smaller one will do
        smaller = [size for size in range(1, batch_size + 1) if len({-(-len(share) // size) for share in shares}) == 1]
        assert even == max(smaller) if smaller else even > batch_size


@pytest.mark.parametrize("sampler", [ShuffledSampler, OrderedSampler])
def test_a_rank_without_rows_is_refused(sampler):
    with pytest.raises(ValueError, match="2 rows for 3 processes"):
        sampler(range(2), rank=0, num_ranks=3)
