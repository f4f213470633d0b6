from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from callbacks.metrics import DigitsClassifier, ManifoldCollapse
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.valleys import Valleys
from datamodules import DigitsDataModule, OverlappingMixtureDataModule, RingDataModule
from datamodules.truth import GaussianMixture, Hairpin, Truth

ALPHA = 0.05
RING = GaussianMixture(RingDataModule(batch_size=8).truth.means, 0.01)  # type: ignore[attr-defined]
THREE, FIVE = 0, 1


def overlapping(overlap: float) -> GaussianMixture:
    truth = OverlappingMixtureDataModule(overlap=overlap, modes=2, batch_size=8).truth
    assert isinstance(truth, GaussianMixture)
    return truth


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on(truth: Truth, fake: Tensor, reals: int = 5000, **kwargs: float) -> ManifoldCollapse:
    metric = ManifoldCollapse(truth=truth, **kwargs)  # type: ignore[arg-type]
    metric.update(truth.sample(reals, numbers(0))[0], True)
    metric.update(fake, False)
    return metric


def share(metric: ManifoldCollapse) -> float:
    return float(metric.compute()["between"])


# --- by a known density -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize("overlap", [0.001, 0.1, 0.3])
def test_held_out_reals_give_their_floor(overlap: float, alpha: float) -> None:
    truth = overlapping(overlap)
    n = 5000
    found = on(truth, truth.sample(n, numbers(1))[0], n, alpha=alpha).compute()
    assert share(on(truth, truth.sample(n, numbers(0))[0], n, alpha=alpha)) == pytest.approx(alpha, abs=1 / n)
    assert found["between"] == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) * 2 / n))


@pytest.mark.parametrize("overlap", [0.001, 0.1, 0.3, None])
def test_what_is_in_the_valley_is_between(overlap: float | None) -> None:
    truth = RING if overlap is None else overlapping(overlap)
    middle = truth.means[:2].mean(0) + 0.01 * truth.sample(1000, numbers(1))[0]
    assert share(on(truth, middle)) > 0.95


def test_dropped_modes_alone_stay_at_the_floor() -> None:
    x, modes = RING.sample(4000, numbers(1))
    assert share(on(RING, x[modes < 3])) == pytest.approx(ALPHA, abs=0.02)


def test_the_share_is_that_of_the_hybrids_among_good_samples() -> None:
    x, modes = RING.sample(4000, numbers(1))
    neighbour = RING.means[(modes + 1) % 8]
    hybrid = torch.arange(4000) < 1200
    mixed = torch.where(hybrid[:, None], (x + neighbour) / 2, x)
    assert share(on(RING, mixed)) == pytest.approx(0.3 + 0.7 * ALPHA, abs=0.02)


@pytest.mark.parametrize("where", [3.0, 30.0])
def test_what_is_outside_of_all_modes_is_not_between_them(where: float) -> None:
    angle = 2 * math.pi * torch.rand(1000, 1, generator=numbers(0), dtype=torch.float64)
    assert share(on(RING, where * torch.cat([angle.cos(), angle.sin()], 1))) == 0


def test_all_of_the_hull_is_between_but_the_modes() -> None:
    triangle = GaussianMixture(torch.tensor([[0.0, 0], [1, 0], [0.3, 1]]), 0.02)
    weights = torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = weights.sample((2000,)) @ triangle.means
    apart = torch.cdist(x, triangle.means).min(1).values > 0.1
    metric = on(triangle, x[apart])
    assert share(metric) == 1


def test_modes_without_a_valley_have_nothing_between() -> None:
    """Two equal Gaussians have one maximum from an overlap of 2 Phi(-1) = .3173 on."""
    for overlap, expected in ((0.31, 1), (0.32, 0)):
        truth = overlapping(overlap)
        assert share(on(truth, truth.means.mean(0).expand(100, 2))) == expected


def test_the_depth_is_that_of_the_valley() -> None:
    truth = GaussianMixture(torch.tensor([[0.0, 0], [1, 0]]), torch.tensor([0.1, 0.25]), torch.tensor([1.0, 3]))
    depths = Valleys(truth, ALPHA).depths(0, 1)
    grid = torch.stack([torch.linspace(0, 1, 10_001, dtype=torch.float64), torch.zeros(10_001, dtype=torch.float64)], 1)
    f = truth.log_density(grid)
    lower = min(float(f[:5000].max()), float(f[5000:].max()))
    assert float(depths.max()) == pytest.approx(lower - truth.valley(0, 1), abs=1e-3)
    assert depths[0] == 0 or depths[0] < 1e-3


def test_pairs_name_the_modes_that_hybrids_are_of() -> None:
    x, modes = RING.sample(3000, numbers(1))
    between_2_and_3 = RING.means[2:4].mean(0).expand(1000, 2)
    between_5_and_6 = RING.means[5:7].mean(0).expand(500, 2)
    metric = on(RING, torch.cat([x[modes == 0], between_2_and_3, between_5_and_6]))
    table = metric.pairs()
    n = int((modes == 0).sum()) + 1500
    assert table[2, 3] == table[3, 2] == 1000 / n
    assert table[5, 6] == 500 / n
    assert float(table.triu().sum()) == pytest.approx(share(metric))


def test_hybrids_are_found_again_by_their_numbers() -> None:
    x = RING.means[torch.arange(40) % 8].clone()
    x[7], x[30] = RING.means[:2].mean(0), 0.1 * RING.means[0] + 0.9 * RING.means[1]
    assert on(RING, x).hybrids().tolist() == [7, 30]


def test_batches_and_processes_do_not_matter_where_samples_are_seen() -> None:
    x = RING.sample(300, numbers(1))[0] * 0.9
    whole = on(RING, x)
    parts = on(RING, x[:0])
    other = ManifoldCollapse(truth=RING)
    for rows in torch.arange(300).split(70):
        (parts if rows[0] < 140 else other).update(x[rows], False, rows)
    parts.merge_state(other)
    assert parts.compute() == whole.compute()


def test_across_the_gap_of_a_manifold_is_between() -> None:
    truth = Hairpin(modes=4, length=4.0, gap=0.5, tangential_std=0.1, normal_std=0.02)
    gap = torch.stack([truth.means[:4, 0], torch.full((4,), 0.25, dtype=torch.float64)], 1).repeat(50, 1)
    assert share(on(truth, gap)) == 1
    assert share(on(truth, truth.sample(2000, numbers(1))[0])) == pytest.approx(ALPHA, abs=0.02)


# --- by a classifier --------------------------------------------------------------------------------------------------


@cache
def digits(*classes: int) -> tuple[dict[str, Tensor], Tensor]:
    """Training and held-out digits of the classes, and labels of the former."""
    data = DigitsDataModule(classes=classes, batch_size=8)
    splits = {split: data.load(split) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    images = {"train": splits["train"][0], "held out": torch.cat([splits["val"][0], splits["test"][0]])}
    return images, splits["train"][1]  # type: ignore[return-value]


def of_digits(fake: Tensor, *classes: int, alpha: float = ALPHA) -> ManifoldCollapse:
    extractor = DigitsClassifier()
    metric = ManifoldCollapse(alpha)
    for x, real in ((digits(*classes)[0]["held out"], True), (fake, False)):
        metric.update(extractor(x), real, extractor.probabilities(x))
    return metric


ALL = tuple(range(10))


@pytest.mark.parametrize("classes", [(3, 5), (0, 1), ALL], ids=["35", "01", "all"])
def test_averages_of_two_digits_are_between_and_of_one_digit_are_not(classes: tuple[int, ...]) -> None:
    images, labels = digits(*classes)
    x = images["train"]
    order = torch.randperm(len(x), generator=numbers(0))
    averages = (x + x[order]) / 2
    other = labels != labels[order]
    assert share(of_digits(averages[other], *classes)) > 0.65
    assert share(of_digits(averages[~other], *classes)) < 0.12


def test_training_digits_stay_at_the_floor_of_held_out_ones() -> None:
    images, labels = digits(*ALL)
    assert share(of_digits(images["train"], *ALL)) == pytest.approx(ALPHA, abs=0.03)
    few = of_digits(images["train"][labels < 3], *ALL)
    assert share(few) == pytest.approx(ALPHA, abs=0.05)  # modes are dropped, and none is between


def test_pairs_name_the_digits_that_hybrids_are_of() -> None:
    images, labels = digits(*ALL)
    x = images["train"]
    hybrids = (x[labels == 3][:100] + x[labels == 5][:100]) / 2
    table = of_digits(hybrids, *ALL).pairs()
    assert table.argmax() in (3 * 10 + 5, 5 * 10 + 3)
    assert table.shape == (10, 10)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_images_of_nothing_are_not_between_digits(level: float) -> None:
    assert share(of_digits(torch.full((100, 1, 8, 8), level), *ALL)) == 0


def blobs(seed: int, n: int) -> tuple[Tensor, Tensor]:
    """Features of three classes at the corners of a triangle in 20 dimensions, and a classifier's probabilities."""
    centres = 10 * torch.eye(20)[:3]
    modes = torch.randint(3, (n,), generator=numbers(seed))
    x = centres[modes] + torch.randn(n, 20, generator=numbers(seed + 1))
    return x, probabilities(x)


def probabilities(x: Tensor) -> Tensor:
    return (-torch.cdist(x, 10 * torch.eye(20)[:3]).square() / 2).softmax(1)


def of_blobs(x: Tensor) -> float:
    metric = ManifoldCollapse()
    features, likely = blobs(0, 2000)
    metric.update(features, True, likely)
    metric.update(x, False, probabilities(x))
    return share(metric)


def test_features_between_two_classes_are_between_and_those_far_from_all_are_not() -> None:
    x, _ = blobs(2, 2000)
    assert of_blobs(x) == pytest.approx(ALPHA, abs=0.025)
    noise = torch.randn(2000, 20, generator=numbers(4))
    assert of_blobs(5 * torch.eye(20)[:2].sum(0) + noise) > 0.95
    assert of_blobs(30 * torch.eye(20)[5] + noise) == 0  # ambiguous and far, but not between
    assert of_blobs(5 * torch.eye(20)[:2].sum(0) + 4 * noise) < 0.02


def test_a_class_that_the_data_have_not_is_no_mode() -> None:
    """A hybrid of 3 and 5 that a classifier of ten digits takes for a 9 is between 3 and 5."""
    x, likely = blobs(0, 2000)
    metric = ManifoldCollapse()
    metric.update(x, True, torch.cat([likely, torch.zeros(2000, 1)], 1))
    middle = 5 * torch.eye(20)[:2].sum(0) + torch.randn(2000, 20, generator=numbers(4))
    metric.update(middle, False, torch.cat([0.4 * probabilities(middle), torch.full((2000, 1), 0.6)], 1))
    assert share(metric) > 0.95
    assert metric.pairs()[0, 1] > 0.9


# --- what is known, and what is wrong ---------------------------------------------------------------------------------


def test_what_is_known_of_the_data_decides_what_it_sees() -> None:
    metric = ManifoldCollapse()
    assert metric.sees == ("features", "probabilities", "index")
    metric.setup(Known(extractor_classes=10))
    assert metric.sees == ("features", "probabilities", "index")
    metric.setup(Known(truth=RING))
    assert metric.sees == ("samples", "index")
    with pytest.raises(NotApplicable, match="Classifier"):
        ManifoldCollapse().setup(Known())
    with pytest.raises(NotApplicable, match="fewer than 2 modes"):
        ManifoldCollapse().setup(Known(truth=GaussianMixture(torch.zeros(1, 2), 1.0)))


@pytest.mark.parametrize("name", ["alpha", "capacity"])
def test_bad_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0"):
        ManifoldCollapse(**{name: 0})  # type: ignore[arg-type]


def test_views_that_do_not_fit_are_refused() -> None:
    x, likely = blobs(0, 50)
    metric = ManifoldCollapse()
    with pytest.raises(ValueError, match="a Classifier"):
        metric.update(x, True)
    with pytest.raises(ValueError, match=r"\(49, 3\)"):
        metric.update(x, True, likely[1:])
    metric.update(x, True, likely)
    with pytest.raises(ValueError, match="K=2"):
        metric.update(x, True, likely[:, :2])
    with pytest.raises(ValueError, match="not finite"):
        metric.update(x * math.nan, False, likely)
    with pytest.raises(ValueError, match="d=2"):
        ManifoldCollapse(truth=RING).update(x, False)


def test_what_is_missing_is_named() -> None:
    x, likely = blobs(0, 19)
    metric = ManifoldCollapse()
    metric.update(x, False, likely)
    metric.update(x, True, likely)
    with pytest.raises(ValueError, match=r"19 real sample\(s\), and needs at least 20"):
        metric.compute()
    alone = ManifoldCollapse()
    for real in (True, False):
        alone.update(torch.cat([x, x]), real, torch.eye(3)[[0] * 38])
    with pytest.raises(ValueError, match=r"1 class\(es\)"):
        alone.compute()
