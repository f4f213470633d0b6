"""Nearest neighbours among many rows, by a tree in few dimensions, in many by products that screen and differences.

Squared distances come as |a|^2 + |b|^2 - 2 a.b of centred rows, one block of pairs at a time, from a matrix product in
the rows' own precision. Its error has a bound, and where this leaves a comparison open, the distance is taken again by
difference in float64. So copies are at distance 0, equal distances compare as equal, and results do not depend on
blocks, threads or the order of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_BLOCK = 2048  # rows on either side of a block of pairs: 16 MiB of float32
_SPARE = 4  # candidates beyond the k-th neighbour, so that the k-th is among them for sure
_DIFFERENCES = 1 << 20  # numbers in a block of differences: 8 MiB of float64
_PLANTED = 8  # dimensions up to which a tree is faster
_CROWDED = 32  # one pair in so many by difference costs about as much as all by a float64 product


def neighbours(x: Tensor, k: int = 1, among: Tensor | None = None, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k-th nearest row to each row of x (N, d): its squared Euclidean distance, float64 (N,), and its number (N,).

    Neighbours that float64 products do not tell apart, so within about 1e-7 of the distance from the mean, may change
    places.

    Args:
        x: float32 or float64.
        k: at least 1.
        among: the rows (M, d) to look in; x itself if None, where a row is not its own neighbour, but a copy of it is.
        own: the number in ``among`` of each row of x (N,), if it is one of them and not its own neighbour.

    Raises:
        ValueError: there are fewer than k other rows.
    """
    y = x if among is None else among
    others = len(y) - (among is None or own is not None)
    if not 1 <= k <= others:
        raise ValueError(f"k={k} must be from 1 to {others}, the number of other rows.")
    if among is None:
        own = torch.arange(len(x), device=x.device)
    if y.shape[1] <= _PLANTED:
        chosen = _by_tree(x, y, k, own)
        return squared_distances(x, y, torch.arange(len(x), device=x.device), chosen), chosen
    centre = y.mean(0)
    found = _Nearest(len(x), min(k + _SPARE, others), x.device)
    for i, j in _blocks(len(x), len(y), symmetric=among is None):
        squares, error = _squares(x[i], y[j], centre)
        if own is not None:
            _leave_out(squares, own[i] - j.start)
        found.see(i, j, squares, error)
        if among is None and i != j:  # half of the products serve twice
            found.see(j, i, squares.T.contiguous(), error)
    chosen, sure = found.kth(k, x, y)
    crowded = torch.nonzero(~sure & (found.width < others))[:, 0]
    for part in _slices(len(crowded)):
        rows = crowded[part]
        chosen[rows] = _by_float64(x[rows], y, k, None if own is None else own[rows], centre)
    return squared_distances(x, y, torch.arange(len(x), device=x.device), chosen), chosen


def within(x: Tensor, y: Tensor | None, *limits: Tensor) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """Which pairs of rows of x (N, d) and y (M, d) are at most so far apart, one block of pairs at a time.

    Args:
        x: float32 or float64.
        y: as x; pairs of rows of x if None, and then of the blocks only those on the diagonal and above.
        limits: squared distances that broadcast to (N, M).

    Yields:
        The rows i of x and j of y, and for each limit whether they are within it, bool (|i|, |j|).
    """
    other = x if y is None else y
    centre = other.mean(0)
    for i, j in _blocks(len(x), len(other), symmetric=y is None):
        squares, error = _squares(x[i], other[j], centre)
        yield i, j, [_at_most(squares, error, x[i], other[j], _part(limit, i, j), centre) for limit in limits]


def squared_distances(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """|x_i - y_j|^2 for pairs of row numbers (P,), by difference in float64: (P,)."""
    step = max(1, _DIFFERENCES // max(1, x.shape[1]))
    parts = [
        (x[a].double() - y[b].double()).square().sum(1)
        for a, b in zip(torch.split(i, step), torch.split(j, step), strict=True)
    ]
    return torch.cat(parts)


class _Nearest:
    """The nearest ``width`` candidates of each of n rows among those seen, nearest first."""

    def __init__(self, n: int, width: int, device: torch.device) -> None:
        self.width = width
        self.squares = torch.full((n, width), torch.inf, dtype=torch.float64, device=device)
        self.index = torch.zeros(n, width, dtype=torch.int64, device=device)
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
    inside, outside = squares <= bound - error, squares > bound + error  # neither where float32 overflows
    i, j = torch.nonzero(~(inside | outside), as_tuple=True)
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
    found = _Nearest(len(x), k, x.device)
    for j in _slices(len(y)):
        squares, error = _squares(x.double(), y[j].double(), centre.double())
        if own is not None:
            _leave_out(squares, own - j.start)
        found.see(slice(0, len(x)), j, squares, error)
    return found.index[:, -1]


def _by_tree(x: Tensor, y: Tensor, k: int, own: Tensor | None) -> Tensor:
    """The number of the k-th nearest row of y, (N,), by a tree on the CPU: n log n where there are few dimensions."""
    from scipy.spatial import KDTree  # slow to import

    wanted = min(k + (own is not None), len(y))
    found = KDTree(y.cpu().double().numpy()).query(x.cpu().double().numpy(), k=range(1, wanted + 1))[1]
    index = torch.from_numpy(found).to(x.device)
    if own is None:
        return index[:, k - 1]
    # among more than k copies the row itself may not be found: any k of them are its neighbours
    place = (index == own[:, None]).to(torch.uint8)
    before = place[:, :k].cumsum(1)[:, -1]
    return index.gather(1, (k - 1 + before)[:, None])[:, 0]


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
