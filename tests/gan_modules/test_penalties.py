"""Penalties on discriminators whose input gradient is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.penalties import (
    R1,
    R2,
    DiscriminatorPass,
    GradientPenalty,
    LazyPenalty,
    Penalty,
    WeightClipping,
)


class Linear(nn.Module):
    """D(x) = w.x"""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        return x.flatten(1) @ self.w


class Quadratic(nn.Module):
    """D(x) = x.Ax / 2 with a symmetric A: grad D = A x."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x @ self.a) * x).sum(1)


def batch(n: int = 5, d: int = 3, index: int = 0, dtype: torch.dtype = torch.float64) -> tuple[GameBatch, Tensor]:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, n, d, generator=generator, dtype=dtype)
    random = RandomRows(0, 0, 0, 0, n, n, torch.device("cpu"))
    return GameBatch(real, torch.zeros(n, 1), random, None, index), fake


def value(penalty: Penalty, d: nn.Module, data: tuple[GameBatch, Tensor]) -> Tensor:
    found = penalty(DiscriminatorPass(d, *data, penalty.gradient_at(data[0])))
    assert found is not None
    return found


def test_linear_discriminator() -> None:
    w = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)  # |w| = 3 everywhere
    assert float(value(GradientPenalty(10.0), Linear(w), batch())) == pytest.approx(10 * (3 - 1) ** 2)
    assert float(value(GradientPenalty(1.0, target=5.0), Linear(w), batch())) == pytest.approx(4)
    for penalty in (R1(0.3), R2(0.3)):
        assert float(value(penalty, Linear(w), batch())) == pytest.approx(0.15 * 9)


def test_quadratic_discriminator_and_the_gradient_of_the_penalty() -> None:
    a = torch.tensor([[2.0, 1, 0], [1, 3, 0], [0, 0, 1]], dtype=torch.float64)
    data = batch()
    for penalty, x in ((R1(2.0), data[0].real), (R2(2.0), data[1])):
        d = Quadratic(a.clone())
        found = value(penalty, d, data)
        rows = x @ a
        torch.testing.assert_close(found, rows.square().sum(1).mean())  # per row, not per batch
        found.backward()
        # D's Hessian in x is (A + A^T) / 2, so d/dA mean |A x|^2 = mean (A x x^T + x x^T A)
        outer = x[:, :, None] * rows[:, None, :]
        torch.testing.assert_close(d.a.grad, (outer + outer.mT).mean(0))


def test_a_zero_gradient_gives_no_nan() -> None:
    d = Linear(torch.zeros(3, dtype=torch.float64))
    value(GradientPenalty(1.0), d, batch()).backward()
    assert d.w.grad is not None
    assert d.w.grad.isfinite().all()


def test_lazy_penalty_keeps_the_mean() -> None:
    d = Linear(torch.ones(3, dtype=torch.float64))
    lazy = LazyPenalty(R1(1.0), every=4)
    found = []
    for index in range(8):
        data = batch(index=index)
        term = lazy(DiscriminatorPass(d, *data, lazy.gradient_at(data[0])))
        assert (term is None) == (index % 4 != 0)
        found.append(0.0 if term is None else float(term))
    assert sum(found) / 8 == pytest.approx(float(value(R1(1.0), d, batch())))
    with pytest.raises(ValueError, match="every=0"):
        LazyPenalty(R1(), every=0)


@pytest.mark.parametrize(
    ("penalties", "forwards"),
    [((), 1), ((R1(), R2()), 1), ((R1(),), 2), ((R2(),), 2), ((GradientPenalty(),), 2)],
)
def test_one_forward_serves_loss_and_penalties(penalties: tuple[Penalty, ...], forwards: int) -> None:
    d, data = Linear(torch.ones(3, dtype=torch.float64)), batch()
    at = frozenset[str]().union(*(p.gradient_at(data[0]) for p in penalties))
    seen = DiscriminatorPass(d, *data, at)
    assert seen.real_logits.shape == seen.fake_logits.shape == (5,)
    for penalty in penalties:
        penalty(seen)
    assert d.forwards == forwards


def test_shared_gradients_equal_those_of_a_pass_of_their_own() -> None:
    network = nn.Sequential(nn.Linear(3, 7), nn.Softplus(), nn.Linear(7, 1)).double()
    data = batch()
    joint = DiscriminatorPass(network, *data, frozenset({"real", "fake"}))
    apart = DiscriminatorPass(network, *data)
    torch.testing.assert_close(joint.gradient("real"), apart.gradient_of(data[0].real))
    torch.testing.assert_close(joint.gradient("fake"), apart.gradient_of(data[1]))
    torch.testing.assert_close(joint.real_logits, apart.real_logits)


def test_batch_normalisation_sees_real_and_fake_apart() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).double()
    data = batch()
    torch.testing.assert_close(DiscriminatorPass(network, *data).real_logits, network(data[0].real))


def test_penalties_are_float32_under_autocast() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 7), nn.Softplus(), nn.Linear(7, 1))
    data = batch(dtype=torch.float32)
    for penalty in (R1(), R2(), GradientPenalty()):
        expected = value(penalty, network, data)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = value(penalty, network, data)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_weight_clipping() -> None:
    network = nn.Linear(4, 4)
    WeightClipping(0.1).apply(network)
    assert all(p.abs().max() <= 0.1 for p in network.parameters())
    with pytest.raises(ValueError, match="c=0"):
        WeightClipping(0)
