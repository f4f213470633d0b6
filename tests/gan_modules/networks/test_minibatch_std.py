"""The minibatch standard deviation against its formula, within groups and across processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from gan_modules.networks import MinibatchStdDev, minibatch_std


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("group_size", [None, 1, 2, 3, 50])
def test_appended_feature_is_the_mean_deviation_of_the_group(shape, group_size):
    x = torch.randn(6, *shape, dtype=torch.float64)
    out = MinibatchStdDev(group_size)(x)
    assert out.shape == (6, shape[0] + 1, *shape[1:])
    assert_close(out[:, :-1], x)
    size = min(group_size or 6, 6)
    for first in range(0, 6, size):
        expected = np.sqrt(x[first : first + size].numpy().var(axis=0) + 1e-8).mean()
        group = out[first : first + size, -1].numpy()
        np.testing.assert_allclose(group, np.full_like(group, expected), rtol=1e-12)


def test_groups_do_not_see_each_other():
    x = torch.randn(6, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(MinibatchStdDev(3)(x)[4, -1].sum(), x)
    assert (gradient[3:] != 0).all()
    assert (gradient[:3] == 0).all()


def test_equal_rows_have_finite_gradients_of_every_order():
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    value = MinibatchStdDev()(x).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        assert torch.isfinite(gradient).all()
        value = gradient.square().sum()


def test_half_precision_keeps_small_differences():
    x = torch.full((4, 3), 1.0, dtype=torch.float16, requires_grad=True)
    out = MinibatchStdDev()(x)
    assert out.dtype == torch.float16
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.isfinite(gradient).all()


def test_whole_batch_is_that_of_all_processes_while_training(monkeypatch):
    here, there = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    monkeypatch.setattr(minibatch_std, "joined", lambda rows: torch.cat([rows, there]))
    layer = MinibatchStdDev(None)
    one_process = (torch.cat([here, there]).var(0, correction=0) + 1e-8).sqrt().mean()
    assert_close(layer(here)[:, -1], one_process.expand(2, 3))
    own = (here.var(0, correction=0) + 1e-8).sqrt().mean()
    assert_close(layer.eval()(here)[:, -1], own.expand(2, 3))
    assert_close(MinibatchStdDev(2)(here)[:, -1], own.expand(2, 3))


def test_batches_and_groups_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"group_size=4\) got 6 rows.*multiple of 4.*group_size=None"):
        MinibatchStdDev()(torch.randn(6, 3))
    with pytest.raises(ValueError, match=r"MinibatchStdDev\(group_size=0\)"):
        MinibatchStdDev(0)
