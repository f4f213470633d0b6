"""What every manifold must do: its sampler, density, projection and geodesics against brute force and each other."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from datamodules.seeding import keyed_generator
from datamodules.sphere import scattered
from datamodules.truth import Hairpin, Sphere, SwissRoll, Torus, manifold
from datamodules.truth.gaussian_mixture import HIGH_QUALITY_MASS

MANIFOLDS = {
    "hairpin": lambda: Hairpin(4, 2.0, 0.5, 0.05, 0.03),
    "hairpin, wide noise": lambda: Hairpin(3, 1.0, 0.4, 0.04, 0.3, torch.tensor([1.0, 2, 3, 4, 5, 6])),
    "segment": lambda: Hairpin(4, 2.0, 0.5, 0.05, 0.03).unrolled(),
    "circle": lambda: Sphere(scattered(5, 2), 2.0, 0.1, 0.1),
    "sphere": lambda: Sphere(scattered(6, 3), 1.0, 0.15, 0.05, torch.tensor([1.0, 1, 1, 1, 1, 3])),
    "sphere, wide noise": lambda: Sphere(scattered(3, 3), 1.0, 0.5, 0.5),
    "sphere in R^6": lambda: Sphere(scattered(4, 6), 2.0, 0.2, 0.1),
    "swiss roll": lambda: SwissRoll(6, 2, 21.0, 1.0, 0.8, 0.4),
    "swiss roll, wide noise": lambda: SwissRoll(5, 1, 2.0, 0.2, 0.2, 0.7),
    "torus": lambda: Torus(3, [1.0, 0.5], 0.08, 0.05),
    "torus, wide noise": lambda: Torus(2, [1.0, 0.5], 0.15, 0.5),
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
    assert (assigned >= 0).double().mean() == pytest.approx(thin.high_quality, abs=0.0042)  # 4 std of a binomial
    shares = torch.bincount(modes, minlength=thin.num_modes) / len(modes)
    assert torch.allclose(shares.double(), thin.weights, atol=0.02)
    assert thin.high_quality == pytest.approx(HIGH_QUALITY_MASS, rel=1e-3)


@pytest.mark.parametrize(
    "truth",
    [
        Torus(4, [1.0, 1.0], 0.4, 0.02),
        Sphere(scattered(12, 3), 1.0, 0.4, 0.02, torch.arange(1.0, 13.0)),
        Sphere(scattered(2, 3), 1.0, 0.9, 0.02),
        Hairpin(8, 4.0, 0.5, 0.0832, 0.05),
    ],
    ids=["torus", "sphere", "wide modes on a sphere", "hairpin whose modes touch"],
)
def test_the_mass_of_high_quality_counts_what_falls_among_others(truth):
    quality = (truth.assign(truth.sample(150_000, keyed_generator("many"))[0]) >= 0).double().mean().item()
    assert truth.high_quality == pytest.approx(quality, abs=4 * math.sqrt(quality * (1 - quality) / 150_000) + 2e-4)
    assert truth.high_quality > HIGH_QUALITY_MASS + 1e-3


def test_a_sample_among_several_modes_is_the_likeliest_ones():
    weights = [1.0, 1.0, 1.0, 50.0]
    truth = Sphere(scattered(4, 3), 1.0, 0.5, 0.05, torch.tensor(weights))
    alone = [Sphere(centre[None], 1.0, 0.5, 0.05) for centre in truth.centres]
    samples, modes = truth.sample(20_000, keyed_generator("samples"))
    assigned = truth.assign(samples)
    joint = torch.stack([w * one.log_density(samples).exp() for w, one in zip(weights, alone, strict=True)], 1)
    within = torch.stack([one.assign(samples) >= 0 for one in alone], 1)
    assert torch.equal(assigned >= 0, within.any(1))
    expected = torch.where(within, joint, -1.0).argmax(1)
    assert (assigned == expected)[assigned >= 0].double().mean() > 0.999  # but for what the far side's normal adds
    assert (assigned == modes).double().mean() > 0.95  # by the nearest centre it is .82


def test_memory_is_bounded_and_blocks_change_nothing(truth, monkeypatch):
    samples, _ = truth.sample(300, keyed_generator("samples"))
    whole = truth.assign(samples), truth.log_density(samples)
    monkeypatch.setattr(manifold, "_BLOCK", 1000)
    sizes, distance = [], type(truth)._distance
    monkeypatch.setattr(type(truth), "_distance", lambda self, a, b: sizes.append(len(a) * b.numel()) or
                        distance(self, a, b))  # fmt: skip
    assert torch.equal(truth.assign(samples), whole[0])
    assert torch.allclose(truth.log_density(samples), whole[1], rtol=1e-12)
    assert max(sizes) <= 1000 / 8


def test_tangential_and_normal_noise_have_their_std(thin):
    samples, modes = thin.sample(10_000, keyed_generator("samples"))
    squared = thin.geodesic(samples, thin.means[modes]).square().mean()
    assert squared == pytest.approx(thin.intrinsic_dimension * thin.tangential_std**2, rel=0.05)
    offset = (samples - thin.project(samples)).square().sum(1).mean()
    assert offset == pytest.approx((thin.dimension - thin.intrinsic_dimension) * thin.normal_std**2, rel=0.05)


def test_the_density_is_that_of_the_samples(truth):
    """E_p[1 / p 1(box)] is the box's volume, and E_p[f] by samples is that by importance sampling of the density."""
    samples, _ = truth.sample(30_000, keyed_generator("samples"))
    low, high = samples.min(0).values, samples.max(0).values
    n = 50_000
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
    if truth.intrinsic_dimension <= 2:  # 20,000 points are few on a manifold of dimension 5
        assert (brute - nearest).max() < 0.1 * points.std()


def test_frames_are_orthonormal_and_tell_tangent_from_normal(truth):
    step = 1e-3 * min(truth.reach, 1.0)
    coordinates = truth.centres
    tangents, normals = truth.tangents(coordinates), truth.normals(coordinates)
    frame = torch.cat([tangents, normals], 1)
    eye = torch.eye(truth.dimension, dtype=torch.float64).expand_as(frame)
    assert torch.allclose(frame @ frame.mT, eye, atol=1e-12)
    for normal in normals.unbind(1):
        assert torch.allclose(truth.project(truth.means + step * normal), truth.means, atol=1e-9)
    bend = truth.curvature(coordinates) * step**2 / 2
    for tangent in tangents.unbind(1):
        x = truth.means + step * tangent
        assert ((x - truth.project(x)).norm(dim=1) <= bend * (1 + 1e-2) + 1e-12).all()


def test_geodesics_are_a_metric(truth):
    x, y, z = around(truth, 3 * 100).chunk(3)
    geodesic = truth.geodesic
    assert torch.equal(geodesic(x, y), geodesic(y, x))
    assert (geodesic(x, x) < 1e-7).all()
    assert (geodesic(x, z) <= geodesic(x, y) + geodesic(y, z) + 1e-12).all()
    assert (geodesic(x, y) >= (truth.project(x) - truth.project(y)).norm(dim=1) - 1e-9).all()
    assert torch.allclose(geodesic(x[:5, None], y), torch.stack([geodesic(a, y) for a in x[:5]]))


@pytest.mark.parametrize("name", ["hairpin", "segment", "circle", "sphere", "swiss roll", "torus"])
def test_geodesics_are_shortest_paths_of_a_fine_graph(name):
    truth = MANIFOLDS[name]()
    coordinates = fine(truth, 6000)
    points = truth.embed(coordinates)
    tree = cKDTree(points.numpy())
    spacing = tree.query(points.numpy(), 2)[0][:, 1].max()
    graph = tree.sparse_distance_matrix(tree, min(4 * spacing, truth.reach / 2), output_type="coo_matrix").tocsr()
    paths = torch.from_numpy(dijkstra(graph, indices=[0, 1, 2]))
    geodesic = truth.geodesic(points[:3, None], points)
    assert (paths >= geodesic * (1 - 0.02)).all()
    far = geodesic > 0.5
    assert (paths / geodesic)[far].max() < 1.1


def test_a_nan_is_no_mode(truth):
    x = torch.full((2, truth.dimension), math.nan)
    x[1] = math.inf
    assert truth.assign(x).tolist() == [-1, -1]


def test_samples_of_another_dimension_are_refused(truth):
    for method in (truth.assign, truth.log_density, truth.project):
        with pytest.raises(ValueError, match=rf"expected samples of shape \(N, {truth.dimension}\), got \(4, 7\)"):
            method(torch.zeros(4, 7))
