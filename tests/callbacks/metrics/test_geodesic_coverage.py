from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from callbacks.metrics import GeodesicCoverage
from callbacks.metrics.known import Known, NotApplicable
from datamodules import SphereDataModule, SwissRollDataModule
from datamodules.truth import GaussianMixture, Hairpin, Truth

HAIRPIN = Hairpin(modes=8, length=4.0, gap=0.125, tangential_std=0.03, normal_std=0.125 / 12)
ROLL = SwissRollDataModule(batch_size=8).truth


def drawn(truth: Truth, n: int, seed: int) -> Tensor:
    return truth.sample(n, torch.Generator().manual_seed(seed))[0]


def values(truth: Truth, real: Tensor, fake: Tensor, **kwargs: float) -> dict[str, float]:
    metric = GeodesicCoverage(truth=truth, **kwargs)  # type: ignore[arg-type]
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("truth", [HAIRPIN, ROLL], ids=["hairpin", "swiss roll"])
def test_the_datas_own_distribution_covers_all_but_one_in_2_to_the_k(truth: Truth) -> None:
    """E[coverage] = 1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)) for N reals and M samples (Naeem et al., 2020, eq. 9)."""
    n, k = 1000, 3
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    found = values(truth, drawn(truth, n, 0), drawn(truth, n, 1), k=k)
    assert found["geodesic_coverage"] == pytest.approx(expected, abs=0.03)
    assert found["on_manifold"] == pytest.approx(0.99, abs=0.01)


def test_samples_across_the_gap_cover_in_the_plane_and_not_along_the_curve() -> None:
    """All of the lower sheet, and of the upper none: the reals are farther apart than the sheets."""
    real = drawn(HAIRPIN, 40, 0)
    fake = drawn(HAIRPIN, 2000, 1)
    below = HAIRPIN.locate(real)[:, 0] < HAIRPIN.length
    lower = fake[HAIRPIN.locate(fake)[:, 0] < HAIRPIN.length]
    apart = torch.cdist(real, real).kthvalue(6, 1).values
    assert (torch.cdist(real, lower).min(1).values <= apart).double().mean() > 0.9
    found = values(HAIRPIN, real, lower)
    assert found["geodesic_coverage"] == pytest.approx(float(below.double().mean()), abs=0.03)
    assert found["on_manifold"] == pytest.approx(0.99, abs=0.01)


def test_samples_in_the_gap_are_off_the_manifold_and_cover_nothing() -> None:
    real, fake = drawn(HAIRPIN, 500, 0), drawn(HAIRPIN, 500, 1)
    middle = torch.stack([fake[:, 0].clamp(max=3.9), torch.full_like(fake[:, 0], 0.0625)], 1)
    assert values(HAIRPIN, real, middle) == {"geodesic_coverage": 0, "on_manifold": 0}
    found = values(HAIRPIN, real, torch.cat([fake, middle]))
    assert found["geodesic_coverage"] > 0.95
    assert found["on_manifold"] == pytest.approx(0.5, abs=0.01)


def test_distances_of_a_sphere_are_those_of_its_great_circles() -> None:
    """Real 0 has its nearest other one a quarter turn away, and so is covered from any point of its hemisphere."""
    sphere = SphereDataModule(batch_size=8).truth
    real = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-0.6, 0.8, 0]])
    for degrees, covered in ((89, 1), (91, 0)):
        at = math.radians(degrees)
        fake = torch.tensor([[math.cos(at), 0, -math.sin(at)]])
        assert values(sphere, real, fake, k=1)["geodesic_coverage"] * 3 == covered


def test_what_is_known_of_the_data_decides_whether_it_applies() -> None:
    metric = GeodesicCoverage()
    metric.setup(Known(truth=HAIRPIN))
    assert metric.truth is HAIRPIN
    for truth in (None, GaussianMixture(torch.eye(2), 0.1)):
        with pytest.raises(NotApplicable, match="known manifold"):
            GeodesicCoverage().setup(Known(truth=truth))


@pytest.mark.parametrize("name", ["k", "alpha", "capacity"])
def test_bad_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0"):
        GeodesicCoverage(**{name: 0})  # type: ignore[arg-type]


def test_what_is_missing_is_named() -> None:
    metric = GeodesicCoverage()
    metric.update(torch.zeros(1, 2), real=False)
    with pytest.raises(ValueError, match="no manifold"):
        metric.compute()
    metric.truth = HAIRPIN
    metric.update(torch.zeros(5, 2), real=True)
    with pytest.raises(ValueError, match=r"5 real sample\(s\), and needs at least 6"):
        metric.compute()
