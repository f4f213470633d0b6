"""Principal components against scikit-learn's, and their relation to ZCA."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA
from whitening_recipes import images

from datamodules.whitening import PCAWhitening, ZCAWhitening


@pytest.mark.parametrize("rank", [None, 1, 6])
def test_components_are_those_of_scikit_learn_up_to_sign(rank):
    x = images(100)[:, :, 1:]  # without the constant pixel
    y = PCAWhitening(rank=rank).fit([x])(x)
    theirs = torch.from_numpy(PCA(rank, whiten=True, svd_solver="full").fit_transform(x.flatten(1).numpy()))
    assert y.shape == (100, rank or 12)
    assert torch.allclose(y.abs(), theirs.abs(), rtol=0, atol=1e-8)


def test_it_is_zca_in_other_axes():
    x = images(100)
    pca, zca = (cls(power=0.6, epsilon=0.1).fit([x]) for cls in (PCAWhitening, ZCAWhitening))
    rotated = pca(x)[:, :17] @ zca.basis.T
    assert torch.allclose(rotated, zca(x).flatten(1), rtol=0, atol=1e-10)


def test_variances_fall_and_directions_without_variance_give_zero():
    x = images(100)
    variance = PCAWhitening(power=0.5).fit([x])(x).var(0)
    assert (variance.diff() <= 0).all()
    assert variance[-1] == 0  # the constant pixel
    assert variance[-2] > 0


def test_signs_are_those_of_the_largest_component():
    x = images(100)
    basis = PCAWhitening().fit([x]).basis[:, :17]
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()
    mirrored = PCAWhitening().fit([x.flip(0)])  # another order of samples, another rounding
    assert torch.allclose(mirrored.basis[:, :17], basis, rtol=0, atol=1e-9)


def test_the_inverse_takes_components():
    x = images()
    whitening = PCAWhitening(rank=4).fit([x])
    assert whitening.inverse(torch.zeros(3, 4).double()).shape == (3, 2, 3, 3)
    with pytest.raises(ValueError, match=r"expected a batch of shape \(N, \*\(4,\)\), got \(40, 2, 3, 3\)"):
        whitening.inverse(x)
