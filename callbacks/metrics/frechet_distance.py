"""Frechet distance between the Gaussians that real and generated features have the moments of."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.gaussian import Gaussian, frechet_distance
from callbacks.metrics.memo import Memo


class FrechetMetric(SampleMetric):
    """Makes Gaussians of moments, that of the reals once for as long as they stay the same.

    Args:
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    higher_is_better = False

    def __init__(self, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        self._known = Memo(_gaussian)

    def gaussian(self, name: str) -> Gaussian:
        """The Gaussian of at least two rows that moments were given."""
        return _gaussian(*self._rows_or_moments(name))

    def real_gaussian(self) -> Gaussian:
        """That of "real_moments", factored anew where they changed."""
        self.require(True, self.num_rows("real_moments"), 2, "a covariance")
        return self._known(*self._rows_or_moments("real_moments"))

    def _rows_or_moments(self, name: str) -> tuple[Tensor, bool]:
        few = self.few(name)
        return (self.moments(name), False) if few is None else (few, True)


class FrechetDistance(FrechetMetric):
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of features, FID where they are Inception's (Heusel et al., 2017).

    Covariances are unbiased. The value is a float64 scalar >= 0, in squared units of the features; symmetric; zero up
    to round-off for identical sets, whatever their rank. It falls with the number of samples towards its limit, so
    compare values at equal numbers only, and with that of as many reals; or take ``FrechetInfinity``.

    All is float64. Moments are kept centred and merged (see ``moments``), so batches, their order, and the split over
    processes change round-off only; a process may have seen nothing. No more than d samples are kept as they are: they
    are a factor of their singular covariance, and products (n, n) of them take the place of ones (d, d).

    Args:
        num_features: d; learnt from the first batch of any process if None.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    name = "fid"
    real_moments: Tensor
    fake_moments: Tensor

    def __init__(self, num_features: int | None = None, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        if num_features is not None and num_features < 1:
            raise ValueError(f"num_features={num_features} must be at least 1, or None to learn it from the data.")
        for side in ("real_moments", "fake_moments"):
            self.add_moments(side, num_features)

    def update(self, features: Tensor, real: bool) -> None:
        """Accumulate features (N, d) of real or of generated samples, any floating dtype, cast to float64.

        Raises:
            ValueError: not 2-D, another d than before, or not finite.
        """
        self.extend("real_moments" if real else "fake_moments", self.checked(features))

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            ValueError: a side has fewer than two samples.
        """
        self.require(False, self.num_rows("fake_moments"), 2, "a covariance")
        return frechet_distance(self.real_gaussian(), self.gaussian("fake_moments"))


def _gaussian(state: Tensor, rows: bool) -> Gaussian:
    return Gaussian.of_rows(state) if rows else Gaussian.of_moments(state)
