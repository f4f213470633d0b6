"""Kernel distance between real and generated features: KID where they are Inception's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY, RowMetric
from callbacks.metrics.moments import where_float64_is
from callbacks.metrics.reservoir import least

_PANEL = 256  # rows of the kernel matrix at a time: they stay in the processor's cache


class KernelDistance(RowMetric):
    """Squared maximum mean discrepancy with the kernel (<x, y> / d + 1)^3 (Binkowski et al., 2018, 1801.01401).

    ``compute`` gives float64 scalars, unbiased whatever the number of samples (and so below 0 at times where the
    distributions are the same), without unit:

    - ``kid``: the mean of the U-statistics (equation 4 there) of disjoint blocks of samples.
    - ``kid_error``: its standard error, from the spread of the blocks.

    There are as many blocks as hold ``block`` samples of each side, and at least two, smaller ones where there are
    fewer samples; each takes its share of both sides. All samples that are kept count once, but those of the larger
    side beyond twice ``block`` in each.

    With ``subsets``, both are what torchmetrics and torch-fidelity compute, from random subsets which overlap:
    ``kid``, the mean over subsets, and ``kid_std``, their standard deviation, which is that of a single subset and no
    error of the mean. Subsets are those of torch-fidelity with the same seed, and the value is equal to its own, where
    all samples are kept. It costs ``subsets`` blocks.

    Products are of the dtype of the features and taken after a common shift, which the kernel adds again in float64,
    as the sums are: a large mean costs no digits.

    Args:
        block: samples of each side in a block, at least 2.
        subsets: how many random subsets take the place of blocks; None for blocks.
        subset_size: samples of each side in a subset, at least 2.
        seed: of the subsets' private generator.
        capacity: samples that are kept of each side, a uniform sample of all.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: a number is below what is said above.
    """

    higher_is_better = False
    plot_lower_bound = None  # unbiased, and so below zero at times

    def __init__(
        self,
        block: int = 1_000,
        subsets: int | None = None,
        subset_size: int = 1_000,
        seed: int = 2020,
        capacity: int = CAPACITY,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        for name, value, lowest in (("block", block, 2), ("subsets", subsets, 1), ("subset_size", subset_size, 2)):
            if value is not None and value < lowest:
                raise ValueError(f"{name}={value} must be at least {lowest}.")
        self.block, self.subsets, self.subset_size, self.seed = block, subsets, subset_size, seed
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def compute(self) -> dict[str, Tensor]:
        """The two values, by name.

        Raises:
            ValueError: a side has fewer than four samples, for two blocks, or than a subset has.
        """
        need, why = (
            (4, "an estimate in two blocks")
            if self.subsets is None
            else (self.subset_size, f"subset_size={self.subset_size}")
        )
        kept = self.kept if self.subsets is None else self._in_order
        real, fake = (where_float64_is(kept(side)) for side in ("real", "fake"))
        for side, rows in ((True, real), (False, fake)):
            self.require(side, len(rows), need, why)
        pairs = self._blocks(real, fake) if self.subsets is None else self._subsets(real, fake, self.subsets)
        origin = real.mean(0)
        values = torch.stack([_u_statistic(_Rows(x, origin), _Rows(y, origin)) for x, y in pairs])
        if self.subsets is not None:
            return {"kid": values.mean(), "kid_std": values.std(correction=0)}
        return {"kid": values.mean(), "kid_error": values.std() / len(values) ** 0.5}

    def _in_order(self, side: str) -> Tensor:
        rows, index = least(*self._got(side), self._capacities[side])
        return rows[index.argsort()]

    def _blocks(self, *sides: Tensor) -> Iterator[tuple[Tensor, ...]]:
        blocks = max(2, min(map(len, sides)) // self.block)
        parts = [rows[: 2 * self.block * blocks].tensor_split(blocks) for rows in sides]
        return zip(*parts, strict=True)

    def _subsets(self, real: Tensor, fake: Tensor, subsets: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = np.random.RandomState(self.seed)  # torch-fidelity's
        for _ in range(subsets):
            of_fake, of_real = (generator.choice(len(side), self.subset_size, replace=False) for side in (fake, real))
            yield real[torch.from_numpy(of_real).to(real.device)], fake[torch.from_numpy(of_fake).to(fake.device)]


class _Rows:
    """Rows x' = x - c, and what takes c back: <x, y> = <x', y'> + <x', c> + <c, y'> + |c|^2."""

    def __init__(self, rows: Tensor, origin: Tensor) -> None:
        self.d = rows.shape[1]
        self.centred = rows - origin
        c = origin.double()
        self.offset = self.centred.double() @ c + c.square().sum() / 2

    def kernel(self, other: _Rows, start: int, stop: int, until: int) -> Tensor:
        """The kernel of rows from start to stop with the other's until there, float64."""
        products = (self.centred[start:stop] @ other.centred[:until].T).double()
        products += self.offset[start:stop, None]
        products += other.offset[:until]
        return products.div_(self.d).add_(1).pow_(3)


def _u_statistic(x: _Rows, y: _Rows) -> Tensor:
    """The mean of k(x_i, x_j), i != j, and that of k(y_i, y_j), less twice that of k(x_i, y_j)."""
    m, n = len(x.centred), len(y.centred)
    between = sum(x.kernel(y, i, i + _PANEL, n).sum() for i in range(0, m, _PANEL))
    return _within(x) / (m * (m - 1)) + _within(y) / (n * (n - 1)) - 2 * between / (m * n)


def _within(x: _Rows) -> Tensor:
    """Sum of k(x_i, x_j) over i != j: twice what is left of the squares on the diagonal, and those without it."""
    total = x.offset.new_zeros(())
    for i in range(0, len(x.centred), _PANEL):
        panel = x.kernel(x, i, i + _PANEL, i + _PANEL)
        total += 2 * panel[:, :i].sum() + panel[:, i:].sum() - panel[:, i:].trace()
    return total
