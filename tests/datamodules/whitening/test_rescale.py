"""Rescaling."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules.whitening import Identity, Rescale

PIXELS = torch.arange(256) / 255


def test_zero_and_one_become_the_ends_exactly():
    for low, high in [(-1.0, 1.0), (0.1, 0.7), (-3.0, 5e6)]:
        rescale = Rescale(low, high)
        y = rescale(torch.tensor([[0.0, 1.0]]))
        assert torch.equal(y, torch.tensor([[low, high]]))
        assert torch.equal(rescale.inverse(y), torch.tensor([[0.0, 1.0]]))


def test_default_is_twice_the_pixel_minus_one():
    y = Rescale()(PIXELS[None])
    assert torch.allclose(y, 2 * PIXELS - 1, rtol=0, atol=1e-7)
    assert torch.equal((Rescale().inverse(y) * 255).round(), torch.arange(256.0)[None])


def test_in_float64_it_is_the_affine_map():
    x = torch.linspace(0, 1, 101, dtype=torch.float64).reshape(1, -1)
    assert torch.allclose(Rescale(-2.0, 3.0)(x), 5 * x - 2, rtol=0, atol=1e-15)


def test_there_is_nothing_to_fit_and_any_shape_is_mapped():
    def stream():
        raise AssertionError("the stream was read")
        yield

    rescale = Rescale()
    assert rescale.fitted
    assert rescale.fit(stream()) is rescale
    assert rescale(torch.full((2, 3, 4, 4), 0.5)).eq(0).all()
    assert rescale(torch.full((5, 1), 0.25)).eq(-0.5).all()
    with pytest.raises(ValueError, match=r"got torch\.uint8; convert"):
        rescale(torch.zeros(2, 3, dtype=torch.uint8))


def test_a_loaded_interval_replaces_that_of_the_constructor():
    fresh, x = Rescale(), PIXELS[None]
    fresh(x)  # which caches the interval
    fresh.load_state_dict(Rescale(-2.0, 2.0).state_dict())
    assert torch.equal(fresh(x), Rescale(-2.0, 2.0)(x))


def test_its_state_is_not_that_of_another_whitening():
    with pytest.raises(RuntimeError, match="high"):
        Identity().load_state_dict(Rescale().state_dict())


@pytest.mark.parametrize(("low", "high"), [(1.0, -1.0), (0.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_an_empty_or_endless_interval_is_refused(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        Rescale(low, high)
