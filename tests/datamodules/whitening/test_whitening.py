"""What every whitening does."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch import nn

from datamodules import whitening as package
from datamodules.whitening import Identity, Rescale, Standardize, ZCAWhitening

WHITENINGS = {
    "Identity": Identity,
    "Rescale": Rescale,
    "Standardize": Standardize,
    "ZCAWhitening": ZCAWhitening,
    "half": lambda: ZCAWhitening(power=0.5),
    "regularised": lambda: ZCAWhitening(epsilon=0.1),
}
GIVEN = (Identity, Rescale)  # whatever the data are
each = pytest.mark.parametrize("build", WHITENINGS.values(), ids=WHITENINGS.keys())
each_fitted = pytest.mark.parametrize("build", [b for b in WHITENINGS.values() if b not in GIVEN])


def images(n=40, dtype=torch.float64):
    """Correlated images (N, 2, 3, 3) whose first pixel is constant."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(18, 18, generator=generator, dtype=torch.float64)
    x = torch.randn(n, 18, generator=generator, dtype=torch.float64) @ mixing + 0.7
    x[:, 0] = 0.3
    return x.reshape(n, 2, 3, 3).to(dtype)


def test_the_contract_covers_every_whitening():
    assert {"Whitening", *WHITENINGS} >= set(package.__all__)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_forward_and_keeps_shape_and_dtype(build, dtype):
    x = images(dtype=dtype)
    whitening = build().fit([x])
    y = whitening(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert torch.allclose(whitening.inverse(y), x, rtol=0, atol=20 * torch.finfo(dtype).eps * x.abs().max().item())


@each
def test_round_trip_in_float32_survives_a_condition_number_of_1e8(build):
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(20, 20, generator=generator, dtype=torch.float64)).Q
    spread = torch.logspace(0, -4, 20, dtype=torch.float64)
    x = ((torch.randn(500, 20, generator=generator, dtype=torch.float64) * spread) @ rotation.T).float()
    whitening = build().fit([x])
    assert (whitening.inverse(whitening(x)) - x).abs().max() < 2e-6


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_samples_are_mapped_in_float32(build, dtype):
    x = images().to(dtype)
    whitening = build().fit([images()])
    assert whitening(x).dtype == dtype
    assert torch.equal(whitening(x), whitening(x.float()).to(dtype))


@each
@pytest.mark.parametrize("size", [1, 7])
def test_fit_does_not_depend_on_batches(build, size):
    x = images() + 1e4  # a mean that would cost a naive sum of squares all its digits
    whole, parts = build().fit([x]), build().fit(x.split(size))
    probe = images(7) + 1e4
    assert torch.allclose(whole(probe), parts(probe), rtol=0, atol=1e-10 * (1e4 if build in GIVEN else 1))


@each
def test_constant_pixels_map_to_zero_and_come_back(build):
    x = images(dtype=torch.float32)
    whitening = build().fit([x])
    if build not in GIVEN:
        assert whitening(x)[:, 0, 0, 0].abs().max() < 1e-5
        other = x.clone()
        other[:, 0, 0, 0] = 5.0  # outside of what training data ever showed
        assert torch.allclose(whitening.inverse(whitening(other)), x, atol=1e-5)
    assert torch.allclose(whitening.inverse(whitening(x))[:, 0, 0, 0], torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e6, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_fitted
def test_rounding_is_not_taken_for_variance(build, value, dtype):
    constant = torch.full((1000, 1), value, dtype=dtype)
    varying = torch.randn(1000, 1, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x = torch.cat([constant, varying, varying], 1)
    y = build().fit(x.split(37))(x)
    assert y[:, 0].abs().max() == 0
    assert y.isfinite().all()
    assert y.abs().max() < 6


@each
def test_a_fresh_module_loads_a_fitted_state(build):
    x = images()
    fitted = build().fit([x])
    file = io.BytesIO()
    torch.save(nn.ModuleDict({"whitening": fitted}).state_dict(), file)  # also below another module
    fresh = build()
    nn.ModuleDict({"whitening": fresh}).load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert fresh.fitted
    assert torch.equal(fresh(x), fitted(x))
    assert all(tensor.dtype == torch.float64 for tensor in fresh.state_dict().values())


@each_fitted
def test_loading_and_fitting_again_replace_what_was_cached(build):
    first, second = images(), 3 * images() + 1
    whitening = build().fit([first])
    before = whitening(first)
    whitening.fit([second])
    assert not torch.equal(whitening(first), before)
    whitening.load_state_dict(build().fit([first]).state_dict())
    assert torch.equal(whitening(first), before)
    narrow = build().fit([first.flatten(1)[:, :4]])
    whitening.load_state_dict(narrow.state_dict())  # samples of another shape
    assert whitening(first.flatten(1)[:, :4]).shape == (40, 4)


@each_fitted
def test_an_incomplete_state_is_refused(build):
    state = build().fit([images()]).state_dict()
    state.pop("mean")
    with pytest.raises(RuntimeError, match="mean"):
        build().load_state_dict(state)


@each_fitted
def test_unfitted_use_is_an_error_that_says_what_to_do(build):
    whitening = build()
    assert not whitening.fitted
    for method in (whitening, whitening.inverse):
        with pytest.raises(RuntimeError, match=r"is not fitted; call fit\(stream\) or load"):
            method(images())


@each_fitted
@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ([], "at least 2 samples, the stream had 0"),
        ([torch.zeros(0, 3)], "at least 2 samples, the stream had 0"),
        ([torch.zeros(1, 3)], "at least 2 samples, the stream had 1"),
        ([torch.zeros(4, 3), torch.full((1, 3), math.nan)], "3 of 3 values in a batch are NaN or infinite"),
        ([torch.zeros(4, 3), torch.tensor([[0.0, math.inf, 0.0]])], "1 of 3 values"),
        ([torch.zeros(4, 3), torch.zeros(4, 2)], r"samples of shape \(2,\) after samples of shape \(3,\)"),
        ([torch.zeros(4, 3, dtype=torch.uint8)], "torch.uint8; .*float"),
        ([torch.zeros(4)], r"expected floating-point batches \(N, \*shape\), got shape \(4,\)"),
    ],
)
def test_bad_streams_are_refused_and_leave_it_unfitted(build, stream, message):
    whitening = build()
    with pytest.raises(ValueError, match=message):
        whitening.fit(iter(stream))
    assert not whitening.fitted


@each_fitted
def test_bad_samples_are_refused(build):
    whitening = build().fit([images()])
    for method in (whitening, whitening.inverse):
        with pytest.raises(ValueError, match=r"fitted on samples of shape \(2, 3, 3\), got a batch of shape \(4, 18\)"):
            method(torch.zeros(4, 18))
        with pytest.raises(ValueError, match=r"got torch\.int64; convert"):
            method(torch.zeros(4, 2, 3, 3, dtype=torch.int64))


@each
def test_a_fit_in_inference_mode_serves_autograd_later(build):
    with torch.inference_mode():
        whitening = build().fit([images()])
        whitening(images())
    x = images().requires_grad_()
    whitening.inverse(whitening(x).square()).sum().backward()
    assert x.grad is not None


@each
def test_autocast_does_not_reach_it(build):
    x = images(dtype=torch.float32)
    whitening = build().fit([x])
    expected = whitening.inverse(whitening(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(whitening.inverse(whitening(x)), expected)


def test_identity_is_free():
    x = images()

    def stream():
        raise AssertionError("the stream was read")
        yield

    identity = Identity().fit(stream())
    assert identity.fitted
    assert identity(x) is x
    assert identity.inverse(x) is x
    assert identity.state_dict() == {}
