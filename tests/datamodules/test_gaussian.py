"""The ill-conditioned Gaussian."""

from __future__ import annotations

import pytest
import torch

from datamodules import GaussianDataModule
from datamodules.whitening import Standardize, ZCAWhitening


def covariance(module):
    factor = module.truth.std[0]
    return factor @ factor.T


def test_the_covariance_has_the_spectrum_asked_for():
    module = GaussianDataModule(batch_size=1, condition_number=1000.0)
    variances = torch.linalg.eigvalsh(covariance(module))
    assert variances.shape == (32,)
    expected = 1000.0 ** -torch.linspace(1, 0, 32, dtype=torch.float64)
    assert torch.allclose(variances, expected, rtol=1e-10, atol=0)
    given = GaussianDataModule(batch_size=1, spectrum=[3.0, 0.5, 2.0])
    assert torch.allclose(torch.linalg.eigvalsh(covariance(given)), torch.tensor([0.5, 2.0, 3.0]).double())
    assert given.shape == (3,)


def test_without_rotation_the_axes_are_the_coordinates():
    module = GaussianDataModule(batch_size=1, spectrum=[3.0, 0.5, 2.0], rotate=False)
    assert torch.allclose(covariance(module), torch.tensor([3.0, 0.5, 2.0]).double().diag())


def test_truth_seed_turns_the_distribution_and_data_seed_draws_from_it():
    def build(**kwargs):
        return GaussianDataModule(batch_size=1, dimension=4, val_size=50, **kwargs)

    first, turned, drawn = build(), build(truth_seed=1), build(data_seed=1)
    assert torch.equal(covariance(first), covariance(drawn))
    assert not torch.allclose(covariance(first), covariance(turned), atol=0.01)
    assert torch.equal(first.load("val")[0], build().load("val")[0])
    assert not torch.equal(first.load("val")[0], drawn.load("val")[0])


def test_samples_have_the_covariance_and_one_label():
    module = GaussianDataModule(batch_size=1, dimension=5, train_size=100_000)
    samples, labels = module.load("train")
    assert module.num_classes == module.truth.num_modes == 1
    assert not labels.any()
    # in the truth's own axes every entry of the sample covariance has a standard error of at most sqrt(2 / n)
    white = torch.linalg.solve(module.truth.std[0], samples.double().T)
    assert torch.allclose(white.cov(), torch.eye(5).double(), atol=5 * (2 / 100_000) ** 0.5)


@pytest.mark.parametrize("rotate", [True, False])
def test_standardising_repairs_the_condition_only_where_the_axes_are_the_coordinates(rotate):
    def condition(whitening):
        module = GaussianDataModule(
            batch_size=1, condition_number=1000.0, rotate=rotate, train_size=20_000, whitening=whitening
        )
        module.setup("fit")
        return torch.linalg.cond(module.encode(module.load("train")[0]).double().T.cov()).item()

    assert condition(None) == pytest.approx(1000, rel=0.1)
    assert condition(ZCAWhitening()) == pytest.approx(1, abs=1e-3)
    assert (condition(Standardize()) < 1.4) == (not rotate)
    assert (condition(Standardize()) > 300) == rotate


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dimension": 0}, "dimension must be positive and finite, got 0"),
        ({"condition_number": 0.1}, "condition_number must be at least 1 and finite, got 0.1"),
        ({"dimension": 1}, "one dimension has condition_number 1, got 100"),
        ({"spectrum": []}, "length of spectrum must be positive"),
        ({"spectrum": [1.0, 0.0]}, r"spectrum\[1\] must be positive and finite, got 0.0"),
        ({"spectrum": [1.0], "dimension": 1}, "spectrum .* takes the place of dimension 1 .* give it alone"),
        ({"spectrum": [1.0, 2.0], "condition_number": 2.0}, "takes the place of .* condition_number 2.0"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GaussianDataModule(batch_size=1, **kwargs)
