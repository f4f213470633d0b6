"""Spectra and rotations against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules.seeding import keyed_generator
from datamodules.spectra import log_uniform_spectrum, random_rotations


def test_the_spectrum_falls_in_equal_ratios_from_one():
    spectrum = log_uniform_spectrum(32, 1000.0)
    assert spectrum[0] == 1
    assert spectrum[-1].item() == pytest.approx(1e-3, rel=1e-12)
    assert torch.allclose(spectrum[1:] / spectrum[:-1], torch.tensor(1e-3 ** (1 / 31), dtype=torch.float64))
    assert torch.equal(log_uniform_spectrum(1, 1.0), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("value", [0.5, -1.0, math.inf, math.nan])
def test_a_condition_number_below_one_is_refused(value):
    with pytest.raises(ValueError, match=f"condition_number must be at least 1 and finite, got {value}"):
        log_uniform_spectrum(4, value)


def test_one_dimension_has_no_condition():
    with pytest.raises(ValueError, match="one dimension has condition_number 1, got 10"):
        log_uniform_spectrum(1, 10.0)


def test_rotations_are_orthogonal_and_haar_distributed():
    q = random_rotations(20_000, 3, keyed_generator(0))
    assert torch.allclose(q @ q.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    # Under the Haar measure the trace has mean 0 and variance 1, the determinant is +-1 with equal probability, and
    # each entry has mean square 1/3 and, a coordinate of a point on the sphere, is uniform. Without the signs of R the
    # diagonal would be biased.
    trace = q.diagonal(dim1=1, dim2=2).sum(1)
    assert trace.mean().abs() < 4 / math.sqrt(20_000)
    assert trace.var().item() == pytest.approx(1, abs=0.05)
    assert torch.linalg.det(q).mean().abs() < 4 / math.sqrt(20_000)
    for i in range(3):
        for j in range(3):
            grid = q[:, i, j].sort().values
            uniform = torch.linspace(-1, 1, 20_000, dtype=torch.float64)
            assert (grid - uniform).abs().max() / 2 < 1.95 / math.sqrt(20_000)  # Kolmogorov-Smirnov, p = .001
