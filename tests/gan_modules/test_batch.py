"""Random numbers that are a function of where they are needed, and the batch that carries them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recipes import derivatives_of_joined_on_ranks

from gan_modules.batch import GameBatch, key

DRAWS = {
    "normal": lambda rows, name="x": rows.normal(name, (3,)),
    "uniform": lambda rows, name="x": rows.uniform(name, (2, 2)),
    "integers": lambda rows, name="x": rows.integers(name, 1000),
}
every_kind = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


@every_kind
def test_asking_twice_gives_the_same_numbers(draw, random_rows):
    rows = random_rows(9, seed=3, iteration=4, draw=1)
    first = draw(rows)
    draw(rows, "another")
    torch.manual_seed(99)
    assert torch.equal(draw(rows), first)
    assert torch.equal(draw(random_rows(9, seed=3, iteration=4, draw=1)), first)


@every_kind
def test_every_part_of_the_key_counts(draw, random_rows):
    rows = random_rows(50, seed=1, iteration=2, draw=3)
    others = [replace(rows, seed=2), replace(rows, iteration=1), replace(rows, draw=1), replace(rows, iteration=23)]
    values = [draw(rows), draw(rows, "y"), *map(draw, others)]
    for i, a in enumerate(values):
        assert not any(torch.equal(a, b) for b in values[:i])


@every_kind
def test_processes_share_what_one_would_have_drawn(draw, random_rows):
    whole = draw(random_rows(12, seed=5, iteration=6))
    shares = [draw(random_rows(12, seed=5, iteration=6, start=4 * rank, rows=4)) for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)


@every_kind
def test_global_generator_is_neither_read_nor_moved(draw, random_rows):
    state = torch.get_rng_state()
    draw(random_rows())
    assert torch.equal(torch.get_rng_state(), state)


def test_distributions(random_rows):
    n = 40_000
    rows = random_rows(n)
    tolerance = 4 / n**0.5  # four standard errors of a mean of unit variance
    z = rows.normal("a", (2,)).double()
    assert z.shape == (n, 2)
    assert z.mean(0).abs().max() < tolerance
    assert (z.square().mean(0) - 1).abs().max() < 2**0.5 * tolerance
    assert abs((z[:, 0] * z[:, 1]).mean()) < tolerance
    u = rows.uniform("b").double()
    assert u.shape == (n,)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < tolerance * 12**-0.5
    assert abs(u.var() - 1 / 12) < tolerance * 180**-0.5
    k = rows.integers("c", 7)
    assert k.shape == (n,)
    assert k.dtype == torch.int64
    assert ((k.bincount(minlength=7) / n - 1 / 7).abs() < tolerance * (6 / 49) ** 0.5).all()
    assert len(k.bincount()) == 7


def test_consecutive_iterations_are_uncorrelated(random_rows):
    n = 40_000
    a, b = (random_rows(n, iteration=i).normal("z").double() for i in (0, 1))
    assert abs((a * b).mean()) < 4 / n**0.5


@pytest.mark.parametrize("parts", [(0,), (-1, 5), (2**40, "name"), (0, 0, 0, "z")])
def test_keys_are_seeds_that_torch_takes(parts):
    value = key(*parts)
    assert 0 <= value < 2**63
    assert value == key(*parts)
    torch.Generator().manual_seed(value)


def test_keys_do_not_run_together():
    keys = [key(a, b, name) for a in range(20) for b in range(20) for name in ("x", "y", "1")]
    assert len(set(keys)) == len(keys)
    assert key(1, 11) != key(11, 1) != key(111)


def test_batches_are_compared_by_identity(game_batch):
    # a training path may keep work for *this* batch, so equal contents must not do
    real = torch.zeros(2, 2)
    batch = game_batch(real)
    assert batch == batch
    assert batch != GameBatch(batch.real, batch.z, batch.random)


def test_a_prefix_gives_names_of_their_own(random_rows):
    rows = random_rows(9)
    assert torch.equal(rows.under("a").normal("x"), rows.normal("a/x"))
    assert not torch.equal(rows.under("a").normal("x"), rows.under("b").normal("x"))


def test_joined_rows_give_the_derivatives_of_one_process(gloo):
    alone = derivatives_of_joined_on_ranks(0, 1)
    for found in gloo(derivatives_of_joined_on_ranks):
        for value, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
