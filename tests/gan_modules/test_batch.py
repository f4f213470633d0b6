"""Randomness is a pure function of its key, and ranks hold the rows of one process."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan_modules.batch import RandomRows, key

ROWS = RandomRows(seed=1, iteration=2, draw=3, start=0, rows=8, total=8, device=torch.device("cpu"))
DRAWS = [
    lambda r: r.normal("z", (3,)),
    lambda r: r.uniform("mix"),
    lambda r: r.integers("label", 5),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_pure_and_sliced_by_rank(draw: object) -> None:
    before = torch.random.get_rng_state()
    whole = draw(ROWS)  # type: ignore[operator]
    assert torch.equal(whole, draw(ROWS))  # type: ignore[operator]
    halves = [draw(replace(ROWS, start=start, rows=4)) for start in (0, 4)]  # type: ignore[operator]
    assert torch.equal(torch.cat(halves), whole)
    for other in (replace(ROWS, seed=2), replace(ROWS, iteration=0), replace(ROWS, draw=0)):
        assert not torch.equal(draw(other), whole)  # type: ignore[operator]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_names_are_independent_streams() -> None:
    assert not torch.equal(ROWS.normal("a"), ROWS.normal("b"))


def test_distributions() -> None:
    rows = replace(ROWS, rows=20_000, total=20_000)
    z, u, k = rows.normal("z"), rows.uniform("u"), rows.integers("k", 3)
    assert abs(float(z.mean())) < 0.03
    assert float(z.std()) == pytest.approx(1, abs=0.03)
    assert 0 <= float(u.min()) < float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.01)
    assert k.unique().tolist() == [0, 1, 2]


def test_keys_do_not_run_together() -> None:
    assert key(1, 23) != key(12, 3)
    assert 0 <= key("x") < 2**63
