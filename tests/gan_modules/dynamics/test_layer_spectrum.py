"""Spectra and norms of layers against dense decompositions of their matrices."""

from __future__ import annotations

import math

import pytest
import torch
from layer_recipes import dense, random_layers
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from gan_modules.dynamics import (
    LayerSpectrum,
    frobenius_norm,
    layer_spectrum,
    leading_singular_values,
    spectrum_operations,
)

RANDOM = random_layers(36)
on_random_layers = pytest.mark.parametrize(("layer", "shape"), RANDOM.values(), ids=RANDOM.keys())


def circular(kind, *args, **kwargs):
    return kind(*args, padding_mode="circular", **kwargs)


EXACT = {
    "linear": (nn.Linear(9, 7), (9,)),
    "linear on rows": (nn.Linear(5, 4), (3, 5)),
    "circular": (circular(nn.Conv2d, 2, 3, 3, padding=1), (2, 6, 5)),
    "of even kernel": (circular(nn.Conv2d, 2, 3, 4, padding="same"), (2, 6, 6)),
    "strided": (circular(nn.Conv2d, 2, 3, 4, stride=2, padding=1), (2, 8, 6)),
    "of two strides": (circular(nn.Conv2d, 2, 7, 3, stride=(1, 3), padding=1), (2, 4, 9)),
    "dilated, grouped": (circular(nn.Conv2d, 4, 6, 3, padding=2, dilation=2, groups=2), (4, 7, 6)),
    "one dimension": (circular(nn.Conv1d, 2, 3, 5, stride=3, padding=2), (2, 9)),
    "three dimensions": (circular(nn.Conv3d, 2, 2, 3, padding=1), (2, 4, 3, 5)),
    "kernel beyond the image": (circular(nn.Conv1d, 1, 1, 7, padding=3), (1, 3)),
    "patches": (nn.Conv2d(2, 8, 2, stride=2), (2, 6, 8)),
    "pointwise": (nn.Conv2d(3, 5, 1), (3, 4, 5)),
    "transposed, patches": (nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2), (6, 3, 4)),
    "transposed, with gaps": (nn.ConvTranspose2d(3, 2, 2, stride=3, output_padding=1), (3, 3, 4)),
    "spectral norm": (spectral_norm(circular(nn.Conv2d, 2, 3, 3, padding=1)), (2, 6, 6)),
}


@on_random_layers
def test_leading_values_are_within_a_ten_thousandth_as_called_while_training(layer, shape):
    truth = torch.linalg.svdvals(dense(layer, shape))
    found, vectors = leading_singular_values(layer, shape, 4)
    assert_close(found, truth[: len(found)], rtol=1e-4, atol=0)
    with torch.no_grad():
        layer.weight.mul_(1.01)  # later on
    again, _ = leading_singular_values(layer, shape, 4, start=vectors)
    layer.weight.data.div_(1.01)
    assert_close(again, 1.01 * truth[: len(found)], rtol=1e-4, atol=0)


@on_random_layers
def test_frobenius_norm_is_exact_in_any_padding(layer, shape):
    assert frobenius_norm(layer, shape) == pytest.approx(dense(layer, shape).norm().item(), rel=1e-12)


@pytest.mark.parametrize(("layer", "shape"), EXACT.values(), ids=EXACT.keys())
def test_the_whole_spectrum_where_it_is_exact(layer, shape):
    layer = layer.double().eval()
    found = layer_spectrum(layer, shape)
    assert found.exact
    matrix = dense(layer, shape)
    assert_close(found.values, torch.linalg.svdvals(matrix), rtol=1e-9, atol=1e-12)
    assert frobenius_norm(layer, shape) == pytest.approx(matrix.norm().item(), rel=1e-12)


@on_random_layers
def test_what_is_called_exact_is(layer, shape):
    found = layer_spectrum(layer, shape)
    if found.exact:
        assert_close(found.values, torch.linalg.svdvals(dense(layer, shape)), rtol=1e-9, atol=1e-12)


def test_other_padding_is_approximated_the_better_the_larger_the_image():
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    errors = []
    for size in (6, 12, 20):
        found = layer_spectrum(layer, (2, size, size))
        assert not found.exact
        truth = torch.linalg.svdvals(dense(layer, (2, size, size)))
        errors.append(float((found.values - truth).abs().mean() / truth.mean()))
    assert errors[0] < 0.25
    assert errors[2] < 0.8 * errors[1] < 0.6 * errors[0]


def test_sizes_that_the_stride_does_not_divide_have_a_spectrum_of_nearly_their_own():
    layer = nn.Conv2d(2, 4, 3, stride=2, padding=1).double()
    found = layer_spectrum(layer, (2, 15, 15))
    truth = torch.linalg.svdvals(dense(layer, (2, 15, 15)))
    assert not found.exact
    assert len(found.values) == len(truth)
    assert found.effective_rank == pytest.approx(LayerSpectrum(truth, True).effective_rank, rel=0.06)


def test_effective_rank_and_small_values():
    def spectrum(*values):
        return LayerSpectrum(torch.tensor(values, dtype=torch.float64), exact=True)

    assert spectrum(3, 3, 3, 3).effective_rank == pytest.approx(4)
    assert spectrum(5, 0, 0).effective_rank == pytest.approx(1)
    assert spectrum(0, 0).effective_rank == 0
    assert spectrum(3, 1).effective_rank == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert spectrum(10, 5, 0.9, 0.1).below(0.1) == 0.5


def test_precision_of_training_is_no_matter():
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    truth = layer_spectrum(layer, (2, 6, 6)).values
    found = layer_spectrum(layer.bfloat16(), (2, 6, 6)).values
    assert found.dtype == torch.float64
    assert_close(found, truth, rtol=0.02, atol=0.01)


def test_operations_say_what_is_dear():
    assert spectrum_operations(nn.Linear(64, 256), (64,)) == 64 * 64 * 256
    small, large = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
    assert spectrum_operations(large, (16, 8, 8)) == 8 * spectrum_operations(small, (8, 8, 8))
    assert spectrum_operations(small, (8, 16, 16)) == 4 * spectrum_operations(small, (8, 8, 8))


def test_other_layers_are_named():
    for ask in (layer_spectrum, frobenius_norm):
        with pytest.raises(TypeError, match="BatchNorm2d is neither a linear nor a convolution"):
            ask(nn.BatchNorm2d(3), (3, 4, 4))
