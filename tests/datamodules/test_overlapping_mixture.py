"""The mixture whose modes overlap as much as asked."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules import OverlappingMixtureDataModule
from datamodules.truth import GaussianMixture

each_arrangement = pytest.mark.parametrize("arrangement", ["ring", "line"])


def build(**kwargs):
    return OverlappingMixtureDataModule(**{"batch_size": 1, "train_size": 3000, **kwargs})


def measured_overlap(truth, first, second):
    """Integral of the lesser density of two components, on a grid along and across the line between their means."""
    along = torch.arange(-12, 12, 0.01, dtype=torch.float64)
    across = torch.arange(-8, 8, 0.25, dtype=torch.float64)  # fewer: nothing has a corner there
    std, way = truth.std[0], torch.nn.functional.normalize(truth.means[second] - truth.means[first], dim=0)
    u, v = torch.cartesian_prod(along, across).T
    x = truth.means[[first, second]].mean(0) + std * (
        u[:, None] * way + v[:, None] * way.flip(0) * torch.tensor([1, -1])
    )
    densities = [GaussianMixture(truth.means[[k]], std).log_density(x).exp() for k in (first, second)]
    return (torch.minimum(*densities).sum() * 0.01 * 0.25 * std**2).item()


@each_arrangement
@pytest.mark.parametrize("overlap", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("modes", [2, 3, 8])
def test_neighbours_overlap_as_much_as_asked(overlap, modes, arrangement):
    truth = build(overlap=overlap, modes=modes, arrangement=arrangement).truth
    pairs = {(0, 1), (modes - 2, modes - 1)} | ({(0, modes - 1)} if arrangement == "ring" else set())
    for first, second in pairs:
        assert measured_overlap(truth, first, second) == pytest.approx(overlap, rel=2e-4)
    assert torch.allclose(truth.means.mean(0), torch.zeros(2).double(), atol=1e-12)


@each_arrangement
def test_bayes_rule_takes_half_of_each_overlap_for_a_neighbours(arrangement):
    truth = build(overlap=0.1, arrangement=arrangement).truth
    samples, labels = truth.sample(200_000, torch.Generator().manual_seed(0))
    mode = truth.assign(samples)
    wrong = ((mode != labels) & (mode >= 0)).double().mean().item()
    expected = 0.1 if arrangement == "ring" else 0.1 * 7 / 8  # two neighbours each; 7 pairs
    # but for what is of no mode, and, on a ring, the centre, which lies beyond both borders
    assert expected - 0.003 < wrong < expected + 4 * math.sqrt(0.1 / 200_000)
    nearest = torch.cdist(samples, truth.means).argmin(1)
    assert torch.equal(mode[mode >= 0], nearest[mode >= 0])


@pytest.mark.parametrize(("overlap", "modes"), [(0.01, 8), (0.3, 8), (0.6, 5), (0.3, 2)])
def test_floors_on_a_ring_hold_at_any_overlap(overlap, modes):
    truth = build(overlap=overlap, modes=modes).truth
    samples, _ = truth.sample(400 * 1000, torch.Generator().manual_seed(0))
    mode = truth.assign(samples).reshape(400, 1000)
    counts = torch.nn.functional.one_hot(mode + 1, modes + 1).sum(1)[:, 1:].double()
    shares = counts / counts.sum(1, keepdim=True)
    divergence = torch.xlogy(shares, shares * modes).sum(1)
    floors = truth.floors(1000)
    assert floors.mode_kl == (modes - 1) / 2000
    assert divergence.mean().item() == pytest.approx(floors.mode_kl, abs=4 * divergence.std().item() / 20)
    quality = counts.sum().item() / 400_000
    assert floors.high_quality == pytest.approx(quality, abs=4 * math.sqrt(quality * (1 - quality) / 400_000) + 2e-4)
    assert floors.modes == (counts > 0).double().sum(1).mean()


def test_two_modes_lose_their_valley_where_theory_says():
    limit = 2 * torch.special.ndtr(torch.tensor(-1.0)).item()
    assert limit == pytest.approx(0.3173, abs=5e-5)
    below = build(overlap=limit - 0.01, modes=2).truth
    assert below.valley(0, 1) == pytest.approx(below.log_density(torch.zeros(1, 2)).item(), abs=1e-12)
    assert math.isnan(build(overlap=limit + 0.01, modes=2).truth.valley(0, 1))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"overlap": 0.0}, "overlap must lie between 0 and 1, got 0.0"),
        ({"overlap": 1.0}, "overlap must lie between 0 and 1, got 1.0"),
        ({"overlap": math.nan}, "overlap must lie between 0 and 1, got nan"),
        ({"modes": 1}, "modes must be at least 2, got 1; GaussianDataModule has one"),
        ({"arrangement": "star"}, 'arrangement must be "ring" or "line", got \'star\''),
        ({"std": 0.0}, "std must be positive and finite, got 0.0"),
    ],
    ids=lambda value: str(value),
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)
