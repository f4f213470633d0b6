from __future__ import annotations

import pytest
import torch
from metric_recipes import with_moments
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from callbacks.metrics import DigitsClassifier, FrechetDistance, gaussian
from callbacks.metrics.extractors import train_classifier
from callbacks.metrics.gaussian import Gaussian, covariance_factor, frechet_distance


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(real: Tensor, fake: Tensor) -> Tensor:
    metric = FrechetDistance()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    value: Tensor = metric.compute()
    return value


class Identity(nn.Module):
    num_features = 12

    def forward(self, features: Tensor) -> Tensor:
        return features


@pytest.mark.parametrize("n", [200, 9, None])  # more and fewer rows than features, and features of digits
def test_agrees_with_torchmetrics(n: int | None) -> None:
    if n is None:
        real, fake = (
            DigitsClassifier()(train_classifier.digits(split)[0])[:, :12].double() for split in ("val", "test")
        )
    else:
        real, fake = rows(300, 12, 0) @ rows(12, 12, 1), 0.5 + rows(n, 12, 2) @ rows(12, 12, 3)
    reference = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    torch.testing.assert_close(distance(real, fake), reference.compute(), rtol=1e-5, atol=0)


def test_closed_form_of_commuting_gaussians() -> None:
    # S1 = Q diag(a) Q^T, S2 = Q diag(b) Q^T: |m1 - m2|^2 + sum (sqrt a - sqrt b)^2
    axes = torch.linalg.qr(rows(4, 4, 0))[0]
    a, b = torch.tensor([4.0, 1.0, 0.25, 9.0]).double(), torch.tensor([1.0, 1.0, 4.0, 1e-4]).double()
    means = rows(2, 4, 1)
    real = with_moments(means[0], axes * a @ axes.T, 50, 2)
    fake = with_moments(means[1], axes * b @ axes.T, 80, 3)
    expected = (means[0] - means[1]).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    torch.testing.assert_close(distance(real, fake), expected, rtol=1e-10, atol=0)


def test_closed_form_of_two_dimensions() -> None:
    # for 2 x 2 matrices tr (S1 S2)^1/2 = sqrt(tr S1 S2 + 2 sqrt det S1 S2)
    one, two = torch.tensor([[2.0, 1.2], [1.2, 1.0]]).double(), torch.tensor([[1.0, -0.7], [-0.7, 3.0]]).double()
    root = ((one @ two).trace() + 2 * torch.linalg.det(one @ two).sqrt()).sqrt()
    zero = torch.zeros(2, dtype=torch.float64)
    value = distance(with_moments(zero, one, 20, 0), with_moments(zero, two, 30, 1))
    torch.testing.assert_close(value, 5 + 2 - 2 * root, rtol=1e-10, atol=0)


@pytest.mark.parametrize("n", [500, 20])
def test_identical_sets_are_at_zero(n: int) -> None:
    features = 10 + rows(n, 64, 0) @ rows(64, 64, 1)
    scale = torch.cov(features.T).trace()
    assert distance(features, features.flip(0)) < 1e-12 * scale


def test_ill_conditioned_identical_sets_are_at_zero() -> None:
    features = rows(500, 32, 0) * torch.logspace(0, -9, 32, dtype=torch.float64)
    assert distance(features, features) < 1e-12 * torch.cov(features.T).trace()


def test_one_point_collapse_is_the_spread_about_the_point() -> None:
    # S2 = 0: |m1 - m2|^2 + tr S1
    real, point = 100 + rows(300, 16, 0), 101 + rows(1, 16, 1)
    expected = (real.mean(0) - point).square().sum() + torch.cov(real.T).trace()
    torch.testing.assert_close(distance(real, point.expand(50, -1)), expected, rtol=1e-12, atol=0)
    assert distance(point.expand(9, -1), point.expand(7, -1)) < 1e-24


@pytest.mark.parametrize("n", [300, 10])
def test_symmetric(n: int) -> None:
    real, fake = rows(300, 20, 0), 2 * rows(n, 20, 1)
    torch.testing.assert_close(distance(real, fake), distance(fake, real), rtol=1e-10, atol=0)


def test_a_far_mean_costs_no_digits() -> None:
    real, fake = rows(400, 8, 0), 1.5 * rows(400, 8, 1)
    far = distance(1e7 + real, 1e7 + fake)
    torch.testing.assert_close(far, distance(real, fake), rtol=1e-6, atol=0)  # 1e7 + x itself keeps 9 digits of x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_features_are_accumulated_in_float64(dtype: torch.dtype) -> None:
    real, fake = rows(300, 6, 0).to(dtype), (0.1 + rows(300, 6, 1)).to(dtype)
    value = distance(real, fake)
    assert value.dtype == torch.float64
    assert torch.equal(value, distance(real.double(), fake.double()))


def test_distance_of_singular_gaussians() -> None:
    # diagonal covariances commute: sum (s1^1/2 - s2^1/2)^2
    zero, diagonals = torch.zeros(3).double(), ([4.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    one, other = (Gaussian(zero, covariance_factor(torch.tensor(s).double().diag())) for s in diagonals)
    assert frechet_distance(one, other) == pytest.approx(1 + 1, abs=1e-12)


@pytest.mark.parametrize("n", [300, 40, 10])
def test_large_and_small_matrices_agree(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = rows(300, 20, 0), 2 * rows(n, 20, 1)
    small = distance(real, fake)
    monkeypatch.setattr(gaussian, "_SMALL", 0)
    torch.testing.assert_close(distance(real, fake), small, rtol=1e-10, atol=0)
    torch.testing.assert_close(distance(fake, real), small, rtol=1e-10, atol=0)
    assert distance(fake, fake) < 1e-8 * torch.cov(fake.T).trace()


def test_states_made_in_inference_mode_go_on_outside() -> None:
    real, fake = rows(30, 4, 0), 1 + rows(30, 4, 1)
    metric = FrechetDistance(reset_real_features=False)
    with torch.inference_mode():
        metric.update(real[:10], real=True)
        metric.reset()
    metric.update(real[10:], real=True)
    metric.update(fake, real=False)
    torch.testing.assert_close(metric.compute(), distance(real, fake))


def test_d_is_learnt_or_given() -> None:
    assert FrechetDistance(4).num_features == 4
    metric = FrechetDistance()
    assert metric.num_features == 0
    metric.update(rows(5, 3, 0), real=False)
    assert metric.num_features == 3
    metric.reset()
    metric.update(rows(5, 2, 0), real=True)
    assert metric.num_features == 2


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(4, 5, 1), r"\(4, 5, 1\)"),
        (torch.zeros(5), r"\(5,\)"),
        (torch.zeros(4, 5, dtype=torch.int64), "int64"),
        (torch.zeros(4, 6), "d=6 columns, but this metric holds d=5"),
        (torch.tensor([[0.0] * 5, [torch.nan] * 5]), "1 of 2 rows"),
        (torch.full((3, 5), torch.inf), "3 of 3 rows"),
    ],
)
def test_bad_features_are_refused_and_change_nothing(features: Tensor, message: str) -> None:
    metric = FrechetDistance(5)
    with pytest.raises(ValueError, match=message):
        metric.update(features, real=True)
    assert not metric.real_moments.any()


def test_too_few_samples_are_named() -> None:
    metric = FrechetDistance()
    metric.update(rows(5, 3, 0), real=True)
    metric.update(rows(1, 3, 0), real=False)
    with pytest.raises(ValueError, match=r"1 generated sample\(s\).*real=False"):
        metric.compute()
    metric.update(rows(1, 3, 1), real=False)
    assert metric.compute() > 0
    with pytest.raises(ValueError, match="num_features=0"):
        FrechetDistance(0)


@pytest.mark.parametrize("n", [700, 60])  # more and fewer than d: both forms, and what takes the place of small values
def test_steep_spectra_lose_no_digits(n: int) -> None:
    left, right = torch.linalg.qr(rows(700, 640, 0))[0], torch.linalg.qr(rows(n, min(n, 640), 1))[0]
    values = torch.logspace(0, -12, min(n, 640), dtype=torch.float64)
    matrix = left[:, : len(values)] * values @ right.T
    exact = values.sum()
    torch.testing.assert_close(gaussian.nuclear_norm(matrix), exact, rtol=1e-11, atol=0)
    assert gaussian.nuclear_norm(torch.zeros(600, 600).double()) == 0


def test_fewer_samples_than_features_have_the_distance_of_their_covariance() -> None:
    real, few = 3 + rows(900, 40, 0), rows(40, 40, 1)
    exact = frechet_distance(*(Gaussian(x.mean(0), covariance_factor(torch.cov(x.T))) for x in (real, few)))
    for one, other in ((real, few), (few, real)):
        # round-off of the covariance, eps, is sqrt eps in its root
        torch.testing.assert_close(distance(one, other), exact, rtol=1e-9, atol=0)


def test_samples_that_wait_are_the_metrics_own() -> None:
    metric, batch = FrechetDistance(), rows(300, 6, 0)
    metric.update(batch.clone(), real=True)
    loaned = 2 * batch
    metric.update(loaned, real=False)
    loaned.zero_()
    torch.testing.assert_close(metric.compute(), distance(batch, 2 * batch))


def test_cached_reals_are_factored_once_and_anew_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    factored = []

    def counted(covariance: Tensor) -> Tensor:
        factored.append(len(covariance))
        return covariance_factor(covariance)

    monkeypatch.setattr(gaussian, "covariance_factor", counted)
    real, fake = rows(90, 6, 0), 2 * rows(5, 6, 1)
    metric = FrechetDistance(reset_real_features=False)
    metric.update(real, real=True)
    for _ in range(3):
        metric.reset()
        metric.update(fake, real=False)
        torch.testing.assert_close(metric.compute(), distance(real, fake))
    assert len(factored) == 1 + 3
    metric.update(1 + real, real=True)
    torch.testing.assert_close(metric.compute(), distance(torch.cat([real, 1 + real]), fake))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_blocks_have_the_moments_of_all_rows(dtype: torch.dtype) -> None:
    d = 300  # more than one block of columns, and of rows below
    mixed = (100 + rows(3000, d, 0) @ rows(d, d, 1)).to(dtype)
    metric = FrechetDistance()
    for batch in mixed.split([7, 1500, 1493]):
        metric.update(batch, real=True)
    moments = metric.moments("real_moments")
    assert moments[0, 0] == 3000
    torch.testing.assert_close(moments[0, 1:], mixed.double().mean(0), rtol=1e-13, atol=0)
    scatter = 2999 * torch.cov(mixed.double().T)
    torch.testing.assert_close(moments[1:, 1:].tril(), scatter.tril(), rtol=0, atol=1e-12 * scatter.max().item())


def test_large_distances_agree_with_the_matrix_square_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    real, fake = rows(900, 520, 0) @ rows(520, 520, 1), 1 + rows(800, 520, 2) @ rows(520, 520, 3)
    one, other = torch.cov(real.T), torch.cov(fake.T)
    root = linalg.sqrtm((one @ other).numpy()).real.trace()
    exact = (real.mean(0) - fake.mean(0)).square().sum() + one.trace() + other.trace() - 2 * root
    torch.testing.assert_close(distance(real, fake), exact, rtol=1e-9, atol=0)
