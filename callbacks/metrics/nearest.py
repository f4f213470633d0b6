"""Nearest neighbours among many rows in many dimensions, by brute force: products screen, differences decide.

Squared distances come as |a|^2 + |b|^2 - 2 a.b of centred rows, one block of pairs at a time, from a matrix product in
the rows' own precision. Its error has a bound, and where this leaves a comparison open, the distance is taken again by
difference in float64. So copies are at distance 0, equal distances compare as equal, and results do not depend on
blocks, threads or the order of pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

_BLOCK = 2048  # rows on either side of a block of pairs: 16 MiB of float32
_SPARE = 4  # candidates beyond the k-th neighbour, so that the k-th is among them for sure
_DIFFERENCES = 1 << 22  # numbers in a block of differences: 32 MiB of float64
_CROWDED = 32  # one pair in so many by difference costs about as much as all by a float64 product


def neighbours(x: Tensor, y: Tensor, k: int = 1, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Squared Euclidean distance, float64 (N,), of each row of x (N, d) to its k-th nearest row of y (M, d), and its
    number there, (N,). Where ``x is y`` a row is not its own neighbour (but a copy of it is), and half of the products
    are saved; else ``own`` (N,) may number the row of y that each row of x is itself.

    Neighbours in the same place up to float64 products (about 1e-7 of the distance from the mean) are not told apart.

    Raises:
        ValueError: y has fewer than k rows, or k + 1 with the row itself.
    """
    others = len(y) - (x is y or own is not None)
    if not 1 <= k <= others:
        raise ValueError(f"k={k} must be from 1 to {others}, the number of other rows.")
    centre = y.mean(0)
    found = _Nearest(len(x), min(k + _SPARE, others), x)
    for i, j in _blocks(len(x), len(y), symmetric=x is y):
        squares, error = _squares(x[i], y[j], centre)
        if x is y and i == j:
            squares.fill_diagonal_(torch.inf)
        elif own is not None:
            _leave_out(squares, own[i] - j.start)
        found.see(i, j, squares, error)
        if x is y and i != j:
            found.see(j, i, squares.T.contiguous(), error)
    chosen, sure = found.kth(k, x, y)
    if found.width < others:
        crowded = torch.nonzero(~sure)[:, 0]
        for rows in (crowded[part] for part in _slices(len(crowded))):
            itself = rows if x is y else None if own is None else own[rows]
            chosen[rows] = _by_float64(x[rows], y, k, itself, centre)
    return squared_distances(x, y, torch.arange(len(x), device=x.device), chosen), chosen


def within(x: Tensor, y: Tensor, *limits: Tensor) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """For each block of pairs of rows of x (N, d) and y (M, d): the rows i and j that it is of, and for each of the
    limits, squared distances that broadcast to (N, M), which pairs are at most so far apart, bool (|i|, |j|).
    """
    centre = y.mean(0)
    for i, j in _blocks(len(x), len(y)):
        squares, error = _squares(x[i], y[j], centre)
        yield i, j, [_at_most(squares, error, x[i], y[j], _part(limit, i, j), centre) for limit in limits]


def squared_distances(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """|x_i - y_j|^2 for pairs of row numbers (P,), by difference in float64: (P,)."""
    step = max(1, _DIFFERENCES // max(1, x.shape[1]))
    parts = [(x[a].double() - y[b].double()).square().sum(1) for a, b in zip(i.split(step), j.split(step), strict=True)]
    return torch.cat(parts)


def fingerprint(rows: Tensor) -> bytes:
    """A digest of the rows' values, by which what was computed from them is known again."""
    return hashlib.blake2b(rows.cpu().contiguous().numpy(), key=str(tuple(rows.shape)).encode()).digest()


class _Nearest:
    """The nearest ``width`` candidates of each of n rows among those seen, nearest first."""

    def __init__(self, n: int, width: int, like: Tensor) -> None:
        self.width = width
        self.squares = torch.full((n, width), torch.inf, dtype=torch.float64, device=like.device)
        self.index = torch.zeros(n, width, dtype=torch.int64, device=like.device)
        self.error = 0.0

    def see(self, i: slice, j: slice, squares: Tensor, error: float) -> None:
        near, index = squares.topk(min(self.width, squares.shape[1]), largest=False, sorted=False)
        near, index = torch.cat([self.squares[i], near], 1), torch.cat([self.index[i], index + j.start], 1)
        self.squares[i], order = near.topk(self.width, largest=False, sorted=True)
        self.index[i] = index.gather(1, order)
        self.error = max(self.error, error)

    def kth(self, k: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The number of the k-th nearest, and whether it is so for sure if there are more rows than candidates."""
        # where values are off by at most e, the k-th of them is too: only those within 2 e of it can be the k-th
        limit = self.squares[:, k - 1 : k]
        before, after = self.squares < limit - 2 * self.error, self.squares > limit + 2 * self.error
        exact = torch.zeros_like(self.squares, dtype=torch.float64)
        i, place = torch.nonzero(~(before | after), as_tuple=True)
        exact[i, place] = squared_distances(x, y, i, self.index[i, place])
        order = exact.masked_fill(before, -torch.inf).masked_fill(after, torch.inf).argsort(dim=1, stable=True)
        return self.index.gather(1, order[:, k - 1 : k])[:, 0], after[:, -1]


def _at_most(squares: Tensor, error: float, x: Tensor, y: Tensor, limit: Tensor, centre: Tensor) -> Tensor:
    bound = limit.to(squares.dtype)
    inside = squares <= bound - error
    i, j = torch.nonzero((squares <= bound + error) ^ inside, as_tuple=True)
    limit = limit.expand(squares.shape)[i, j]
    if len(i) * _CROWDED > squares.numel():
        exact, error = _squares(x.double(), y.double(), centre.double())
        inside[i, j] = exact[i, j] <= limit + error
    elif len(i):
        inside[i, j] = squared_distances(x, y, i, j) <= limit
    return inside


def _squares(x: Tensor, y: Tensor, centre: Tensor) -> tuple[Tensor, float]:
    """Squared distances of all pairs, (N, M), and a bound of their errors."""
    if torch.get_float32_matmul_precision() != "highest":  # products in TF32 or bfloat16 would break the bound
        x, y, centre = x.double(), y.double(), centre.double()
    a, b = x - centre, y - centre
    along, across = a.square().sum(1, keepdim=True), b.square().sum(1)
    with torch.autocast(x.device.type, enabled=False):
        squares = torch.addmm(across, a, b.T, alpha=-2).add_(along)
    # a.b is off by at most 8 sqrt(d) u |a||b|, but with probability 2 d e^-32 (Higham and Mary, 2019, theorem 3.1), and
    # 2 |a||b| <= |a|^2 + |b|^2; the rest is for centring, norms and sums
    relative = (8 * x.shape[1] ** 0.5 + 16) * torch.finfo(x.dtype).eps / 2
    return squares, relative * float(along.amax() + across.amax())


def _by_float64(x: Tensor, y: Tensor, k: int, own: Tensor | None, centre: Tensor) -> Tensor:
    """The number of the k-th nearest row of y, (N,), by float64 products."""
    found = _Nearest(len(x), k, x.double())
    for j in _slices(len(y)):
        squares, error = _squares(x.double(), y[j].double(), centre.double())
        if own is not None:
            _leave_out(squares, own - j.start)
        found.see(slice(0, len(x)), j, squares, error)
    return found.index[:, -1]


def _leave_out(squares: Tensor, column: Tensor) -> None:
    here = torch.nonzero((column >= 0) & (column < squares.shape[1]))[:, 0]
    squares[here, column[here]] = torch.inf


def _part(limit: Tensor, i: slice, j: slice) -> Tensor:
    rows, columns = (slice(None) if size == 1 else part for size, part in zip(limit.shape, (i, j), strict=True))
    return limit[rows, columns]


def _slices(n: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]


def _blocks(n: int, m: int, symmetric: bool = False) -> Iterator[tuple[slice, slice]]:
    return ((i, j) for i in _slices(n) for j in _slices(m) if not symmetric or i.start <= j.start)
