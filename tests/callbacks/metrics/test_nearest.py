from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from callbacks.metrics import nearest
from callbacks.metrics.nearest import neighbours, squared_distances, within


@pytest.fixture(autouse=True, params=[8, 0], ids=["tree", "products"])
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few dimensions by a tree, as they are, and by products, as many are."""
    monkeypatch.setattr(nearest, "_PLANTED", request.param)


def rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(dtype)


def lattice(n: int, side: int, seed: int) -> Tensor:
    return torch.randint(0, side, (n, 2), generator=torch.Generator().manual_seed(seed)).float()


def sklearn_distance(x: Tensor, y: Tensor, k: int, itself: bool) -> Tensor:
    model = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(y.double().numpy())
    return torch.from_numpy(model.kneighbors(None if itself else x.double().numpy())[0][:, -1])


def all_squares(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None].double() - y[None].double()).square().sum(2)


@pytest.fixture(params=[33, 2048])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 5])
def test_agrees_with_scikit_learn(k: int, dtype: torch.dtype) -> None:
    x, y = 100 + rows(90, 6, 0, dtype), 100 + rows(150, 6, 1, dtype)
    for one, among in ((x, y), (y, None)):
        squared, index = neighbours(one, k, among)
        torch.testing.assert_close(squared.sqrt(), sklearn_distance(one, y, k, among is None), rtol=1e-12, atol=0)
        assert torch.equal(squared, all_squares(one, y).gather(1, index[:, None])[:, 0])


def test_rows_that_are_given_by_number_are_not_their_own_neighbours() -> None:
    y = rows(60, 3, 0)
    own = torch.tensor([3, 59, 0, 17])
    for got, every in zip(neighbours(y[own], 2, y, own), neighbours(y, 2), strict=True):
        assert torch.equal(got, every[own])


@pytest.mark.usefixtures("block")
def test_copies_are_at_distance_zero_wherever_they_are() -> None:
    # centred norms of 1e3 leave float32 products errors of 0.1
    y = torch.cat([rows(100, 50, 0), 1e3 + rows(100, 50, 1)])
    squared, index = neighbours(y[::3], among=y)
    assert not squared.any()
    assert torch.equal(index, torch.arange(200)[::3])
    twice = torch.cat([y, y])
    assert not neighbours(twice)[0].any()
    assert (neighbours(twice, 2)[0] > 0).all()


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("spread", [1e-2, 1e-5])  # below it, float32 products say nothing
def test_far_clusters_of_near_rows_are_told_apart(spread: float) -> None:
    centres = 10 * rows(3, 8, 0).double().repeat(40, 1)
    y = (centres + spread * rows(120, 8, 1)).float()
    squared, _ = neighbours(y, 3)
    others = all_squares(y, y).fill_diagonal_(torch.inf)
    torch.testing.assert_close(squared, others.kthvalue(3, dim=1).values, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("block")
def test_ties_are_ties() -> None:
    # on a lattice many squared distances are the same integer, and all are within round-off of a limit
    x, y = lattice(200, 9, 0), lattice(150, 9, 1)
    squares = all_squares(x, y)
    limit = torch.arange(150)[None].remainder(10).double()
    found = torch.zeros(2, 200, 150, dtype=torch.bool)
    for i, j, masks in within(x, y, limit, 2 * torch.ones(200, 1).double()):
        found[:, i, j] = torch.stack(masks)
    assert torch.equal(found[0], squares <= limit)
    assert torch.equal(found[1], squares <= 2)
    others = all_squares(x, x).fill_diagonal_(torch.inf)
    assert torch.equal(neighbours(x, 4)[0], others.kthvalue(4, dim=1).values)


def test_pairs_within_are_those_by_difference() -> None:
    x, y = 30 + rows(300, 40, 0), 30 + rows(200, 40, 1)
    squares = all_squares(x, y)
    limit = squares.flatten().sort().values[[100]][None]  # a distance that occurs
    ((_, _, (mask,)),) = within(x, y, limit)
    assert mask.sum() == 101
    assert torch.equal(mask, squares <= limit)


def test_squares_beyond_float32_are_right() -> None:
    x = 1e21 * rows(100, 6, 0)
    squares = all_squares(x, x).fill_diagonal_(torch.inf)
    torch.testing.assert_close(neighbours(x, 3)[0], squares.kthvalue(3, dim=1).values, rtol=1e-12, atol=0)
    limit = squares.flatten().sort().values[[800]][None]
    ((_, _, (mask,)),) = within(x, None, limit)
    assert torch.equal(mask.fill_diagonal_(False), squares <= limit)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_fast_products_change_nothing(precision: str) -> None:
    x = 5 + rows(300, 20, 0)
    expected = neighbours(x, 3)
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast("cpu", torch.bfloat16):
            got = neighbours(x, 3)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(got[0], expected[0])


def test_more_neighbours_than_rows_are_refused() -> None:
    y = rows(5, 2, 0)
    with pytest.raises(ValueError, match="k=5 must be from 1 to 4"):
        neighbours(y, 5)
    with pytest.raises(ValueError, match="k=6 must be from 1 to 5"):
        neighbours(rows(3, 2, 1), 6, y)
    torch.testing.assert_close(neighbours(y, 4)[0], all_squares(y, y).amax(1))


def test_differences_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(20, 3, 0), rows(30, 3, 1)
    i, j = torch.arange(20), torch.arange(20) + 10
    whole = squared_distances(x, y, i, j)
    monkeypatch.setattr(nearest, "_DIFFERENCES", 10)
    assert torch.equal(squared_distances(x, y, i, j), whole)
    torch.testing.assert_close(whole, all_squares(x, y)[i, j], rtol=1e-14, atol=0)
