"""Count, mean and scatter of rows in one float64 matrix that merges exactly.

The moments of n rows x in R^d are the matrix [[n, m^T], [m, S]] of shape (d + 1, d + 1), where m is the mean and
S = sum (x - m)(x - m)^T, of which the lower triangle is kept. Unlike sums of x x^T, S loses no digits where the mean is
large against the spread, and where all rows are equal it is zero up to the square of the mean's round-off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ROWS = 1024  # which one matrix product takes at full speed
COLUMNS = 256  # wide enough for full speed, narrow enough to leave nearly all of the upper triangle out


def no_moments(num_features: int = 0) -> Tensor:
    """The moments of no rows."""
    return torch.zeros(num_features + 1, num_features + 1, dtype=torch.float64)


def extended(moments: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The moments with rows added, in one or more parts (N, d), N >= 1 in all, of any floating dtypes."""
    n, d = sum(map(len, parts)), len(moments) - 1
    spread = moments.new_empty(n + 1, d)
    torch.cat([part.to(moments.device) for part in parts], out=spread[:n])
    mean = spread[:n].sum(0) / n
    spread[:n] -= mean
    before, after = moments[0, 0], moments[0, 0] + n
    shift = mean - moments[0, 1:]
    # S += sum (x - b)(x - b)^T + (b - m)(b - m)^T n_m n_b / (n_m + n_b), with b the mean of the rows
    spread[n] = shift * (before * n / after).sqrt()
    result = moments.clone()  # not in place: a tensor made in inference mode could not be changed outside
    add_products(result[1:, 1:], spread)
    result[0, 1:] += shift * (n / after)
    result[1:, 0] = result[0, 1:]
    result[0, 0] = after
    return result


def add_products(products: Tensor, rows: Tensor) -> None:
    """Add the lower triangle of rows^T rows, of rows (N, d), to products (d, d); above it they are undefined."""
    for i in range(0, rows.shape[1], COLUMNS):
        j = i + COLUMNS
        products[i:j, :j].addmm_(rows[:, i:j].T, rows[:, :j])


def merged(moments: Tensor, total: Callable[[Tensor], Tensor] = lambda part: part) -> Tensor:
    """The moments of the union of sets with the given moments (R, d + 1, d + 1) (Chan, Golub and LeVeque, 1983).

    ``total`` sums a tensor over processes, for the union over them: memory does not grow with their number.
    """
    counts, means, scatters = moments[:, 0, 0], moments[:, 0, 1:], moments[:, 1:, 1:]
    sums = total(torch.cat([counts.sum()[None], counts @ means]))
    count, mean = sums[0], sums[1:] / sums[0].clamp(min=1)
    # sum |x - m|^2 = sum_r S_r + n_r (m_r - m)(m_r - m)^T
    shift = (means - mean) * counts.sqrt()[:, None]
    return _packed(count, mean, total(scatters.sum(0) + shift.T @ shift))


def widened(moments: Tensor, num_features: int) -> Tensor:
    """The same moments, in ``num_features`` dimensions where they were of no rows in none."""
    return moments if len(moments) == num_features + 1 else no_moments(num_features).to(moments.device)


def where_float64_is(rows: Tensor) -> Tensor:
    """Rows on their device, or on the CPU where it has no float64."""
    return rows.cpu() if rows.device.type == "mps" else rows


def mean_and_covariance(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and the lower triangle of the unbiased covariance (d, d) of at least two rows."""
    return moments[0, 1:], moments[1:, 1:] / (moments[0, 0] - 1)


def _packed(count: Tensor, mean: Tensor, scatter: Tensor) -> Tensor:
    first = torch.cat([count[None], mean])
    return torch.cat([first[None], torch.cat([mean[:, None], scatter], dim=1)])
