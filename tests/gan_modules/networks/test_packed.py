"""Packing against packing by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.networks import DCGANDiscriminator, MLPDiscriminator, Packed


@pytest.mark.parametrize("k", [1, 2, 3])
def test_logits_are_those_of_consecutive_rows_side_by_side(k):
    discriminator = DCGANDiscriminator((2 * k, 8, 8), width=4)
    packed = Packed(discriminator, k)
    x = torch.randn(6, 2, 8, 8)
    by_hand = torch.stack([torch.cat(list(x[i : i + k])) for i in range(0, 6, k)])
    assert_close(packed(x), discriminator(by_hand))
    assert packed(x).shape == (6 // k,)
    assert packed.rows_per_logit == k
    assert packed.shape == (2, 8, 8)


def test_points_pack_as_well():
    discriminator = MLPDiscriminator((4,), width=4)
    x = torch.randn(6, 2)
    assert_close(Packed(discriminator, 2)(x), discriminator(x.view(3, 4)))
    assert Packed(discriminator, 2).shape == (2,)


def test_every_row_of_a_pack_reaches_its_logit_and_no_other():
    packed = Packed(MLPDiscriminator((6, 2, 2), width=8), 3)
    x = torch.randn(9, 2, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(packed(x)[1], x)
    assert (gradient[3:6] != 0).any((1, 2, 3)).all()
    assert (gradient[[0, 1, 2, 6, 7, 8]] == 0).all()


def test_what_cannot_be_packed_is_named():
    with pytest.raises(ValueError, match=r"Packed\(k=0\)"):
        Packed(nn.Linear(4, 1), 0)
    with pytest.raises(ValueError, match=r"Packed\(k=2\): the MLPDiscriminator.*\(3,\).*2 times the channels"):
        Packed(MLPDiscriminator((3,)), 2)
    packed = Packed(MLPDiscriminator((6,)), 3)
    with pytest.raises(ValueError, match=r"Packed\(k=3\) got 4 rows.*multiple of 3"):
        packed(torch.randn(4, 2))
    with pytest.raises(ValueError, match=r"labels.*3 classes"):
        packed(torch.randn(3, 2), torch.zeros(3, dtype=torch.long))


def test_a_discriminator_without_a_shape_is_taken_as_it_is():
    packed = Packed(nn.Linear(4, 1), 2)
    assert packed(torch.randn(6, 2)).shape == (3, 1)
    assert not hasattr(packed, "shape")
