"""What every manifold must do: its sampler, density, projection and geodesics against brute force and each other."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from torch.autograd.functional import jacobian

from datamodules.seeding import keyed_generator
from datamodules.truth import Hairpin
from datamodules.truth.gaussian_mixture import HIGH_QUALITY_MASS

MANIFOLDS = {
    "hairpin": lambda: Hairpin(4, 2.0, 0.5, 0.05, 0.03),
    "hairpin, wide noise": lambda: Hairpin(3, 1.0, 0.4, 0.04, 0.3, torch.tensor([1.0, 2, 3, 4, 5, 6])),
    "segment": lambda: Hairpin(4, 2.0, 0.5, 0.05, 0.03).unrolled(),
}
THIN = [name for name in MANIFOLDS if "wide" not in name]


@pytest.fixture(params=MANIFOLDS)
def truth(request):
    return MANIFOLDS[request.param]()


@pytest.fixture(params=THIN)
def thin(request):
    return MANIFOLDS[request.param]()


def around(truth, n, name="around"):
    """Points in a box somewhat larger than the samples'."""
    samples, _ = truth.sample(500, keyed_generator("box"))
    low, high = samples.min(0).values, samples.max(0).values
    return low - 0.3 + (high - low + 0.6) * torch.rand(n, truth.dimension, dtype=torch.float64,
                                                       generator=keyed_generator(name))  # fmt: skip


def fine(truth, n=20_000):
    """Coordinates that fill the manifold."""
    return truth.locate(around(truth, n, "fine"))


def test_samples_are_their_modes_but_for_the_stated_share(thin):
    samples, modes = thin.sample(40_000, keyed_generator("samples"))
    assigned = thin.assign(samples)
    assert ((assigned == modes) | (assigned == -1)).all()
    assert (assigned >= 0).double().mean() == pytest.approx(thin.high_quality, abs=0.002)  # 4 std of a binomial
    shares = torch.bincount(modes, minlength=thin.num_modes) / 40_000
    assert torch.allclose(shares.double(), thin.weights, atol=0.01)
    assert thin.high_quality == pytest.approx(HIGH_QUALITY_MASS, rel=1e-3)


def test_tangential_and_normal_noise_have_their_std(thin):
    samples, modes = thin.sample(20_000, keyed_generator("samples"))
    squared = thin.geodesic(samples, thin.means[modes]).square().mean()
    assert squared == pytest.approx(thin.intrinsic_dimension * thin.tangential_std**2, rel=0.05)
    offset = (samples - thin.project(samples)).square().sum(1).mean()
    assert offset == pytest.approx((thin.dimension - thin.intrinsic_dimension) * thin.normal_std**2, rel=0.05)


def test_the_density_is_that_of_the_samples(truth):
    """E_p[1 / p 1(box)] is the box's volume, and E_p[f] by samples is that by importance sampling of the density."""
    samples, _ = truth.sample(200_000, keyed_generator("samples"))
    low, high = samples.min(0).values, samples.max(0).values
    n = 400_000
    x = low + (high - low) * torch.rand(n, truth.dimension, dtype=torch.float64, generator=keyed_generator("box"))
    density = truth.log_density(x).exp() * (high - low).prod()
    for f in (torch.ones_like, lambda x: x, torch.square, torch.sin):
        values, expected = f(x) * density[:, None], f(samples)
        error = 5 * (values.var(0) / n + expected.var(0) / len(samples)).sqrt()
        assert ((values.mean(0) - expected.mean(0)).abs() <= error + 1e-3).all()


def test_projections_are_nearest_and_stay(truth):
    x = around(truth, 200)
    projected = truth.project(x)
    assert torch.allclose(truth.project(projected), projected, rtol=0, atol=1e-9)
    points = truth.embed(fine(truth))
    brute = torch.cdist(x, points).min(1).values
    nearest = (x - projected).norm(dim=1)
    assert (nearest <= brute + 1e-12).all()
    assert (brute - nearest).max() < 0.1 * points.std()


def test_frames_are_orthonormal_and_normals_are_normal(truth):
    coordinates = fine(truth, 50)
    frame = torch.cat([truth.tangents(coordinates), truth.normals(coordinates)], 1)
    eye = torch.eye(truth.dimension, dtype=torch.float64).expand_as(frame)
    assert torch.allclose(frame @ frame.mT, eye, atol=1e-12)
    for c, normals in zip(coordinates, truth.normals(coordinates), strict=True):
        assert (normals @ jacobian(truth.embed, c)).abs().max() < 1e-9


def test_geodesics_are_a_metric(truth):
    x, y, z = around(truth, 3 * 100).chunk(3)
    geodesic = truth.geodesic
    assert torch.equal(geodesic(x, y), geodesic(y, x))
    assert (geodesic(x, x) < 1e-7).all()
    assert (geodesic(x, z) <= geodesic(x, y) + geodesic(y, z) + 1e-12).all()
    assert (geodesic(x, y) >= (truth.project(x) - truth.project(y)).norm(dim=1) - 1e-9).all()
    assert torch.equal(geodesic(x[:, None], y), torch.stack([geodesic(a, y) for a in x]))


@pytest.mark.parametrize("name", ["hairpin", "segment"])
def test_geodesics_are_shortest_paths_of_a_fine_graph(name):
    truth = MANIFOLDS[name]()
    coordinates = fine(truth, 6000)
    points = truth.embed(coordinates)
    tree = cKDTree(points.numpy())
    spacing = tree.query(points.numpy(), 2)[0][:, 1].max()
    graph = tree.sparse_distance_matrix(tree, min(4 * spacing, truth.reach), output_type="coo_matrix").tocsr()
    paths = torch.from_numpy(dijkstra(graph, indices=[0, 1, 2]))
    geodesic = truth.geodesic(points[:3, None], points)
    assert (paths >= geodesic * (1 - 0.02)).all()
    far = geodesic > 0.5
    assert (paths / geodesic)[far].max() < 1.05


def test_a_nan_is_no_mode(truth):
    x = torch.full((2, truth.dimension), math.nan)
    x[1] = math.inf
    assert truth.assign(x).tolist() == [-1, -1]


def test_samples_of_another_dimension_are_refused(truth):
    for method in (truth.assign, truth.log_density, truth.project):
        with pytest.raises(ValueError, match=rf"expected samples of shape \(N, {truth.dimension}\), got \(4, 7\)"):
            method(torch.zeros(4, 7))
