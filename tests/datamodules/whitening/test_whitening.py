"""What every whitening does."""

from __future__ import annotations

import io
import math
import re

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from whitening_recipes import EXPORTED, WHITENINGS, failure_on_ranks, fitted_on_ranks, images

from datamodules.whitening import (
    CholeskyWhitening,
    FourierWhitening,
    Identity,
    PCAWhitening,
    Rescale,
    Standardize,
    WhiteningReport,
    ZCAWhitening,
)

GIVEN = ("Identity", "Rescale")  # whatever the data are
DENSE = {"ZCAWhitening": ZCAWhitening, "PCAWhitening": PCAWhitening, "CholeskyWhitening": CholeskyWhitening}


def over(names):
    names = list(names)
    return pytest.mark.parametrize("build", [WHITENINGS[name] for name in names], ids=names)


each = over(WHITENINGS)
each_fitted = over(name for name in WHITENINGS if name not in GIVEN)
each_exact = over(["Standardize", *DENSE])  # with default arguments, on any data
each_dense = pytest.mark.parametrize("cls", DENSE.values(), ids=DENSE.keys())


def test_the_contract_covers_what_is_exported():
    assert {"Identity", "Standardize", "ZCAWhitening", "FourierWhitening"} <= set(EXPORTED) <= set(WHITENINGS)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_has_the_promised_shape_and_inverse_the_data_s(build, dtype):
    x = images(dtype=dtype)
    whitening = build()
    promised = whitening.output_shape((2, 3, 3))  # before any fit
    y = whitening.fit([x])(x)
    assert (y.shape, y.dtype) == ((40, *promised), dtype)
    assert whitening.output_shape((2, 3, 3)) == promised
    assert (whitening.inverse(y).shape, whitening.inverse(y).dtype) == (x.shape, dtype)


@each
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_inverse_after_forward_is_a_projection(build, dtype, tolerance):
    x = 3 * torch.randn(50, 2, 3, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))  # off the data's span
    whitening = build().fit([images()])
    once = whitening.inverse(whitening(x))
    assert (whitening.inverse(whitening(once)) - once).abs().max() < tolerance
    assert torch.allclose(whitening(once), whitening(x), rtol=0, atol=10 * tolerance)  # what is kept is not touched


@over(name for name in WHITENINGS if "rank" not in name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_forward_on_the_span_of_the_data(build, dtype):
    x = images(dtype=dtype)
    whitening = build().fit([x])
    epsilon = torch.finfo(dtype).eps * x.abs().max().item()
    assert torch.allclose(whitening.inverse(whitening(x)), x, rtol=0, atol=20 * epsilon)


@over(name for name in WHITENINGS if "rank" not in name)
def test_round_trip_in_float32_survives_a_condition_number_of_1e8(build):
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(20, 20, generator=generator, dtype=torch.float64)).Q
    spread = torch.logspace(0, -4, 20, dtype=torch.float64)
    x = ((torch.randn(500, 20, generator=generator, dtype=torch.float64) * spread) @ rotation.T).float()
    x = x.reshape(500, 1, 4, 5)
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
def test_fit_does_not_depend_on_batches(build):
    x = images(1100) + 1e4  # a mean that would cost a naive sum of squares all its digits
    whole = build().fit(x).state_dict()
    for size in (1, 7, 1000):
        parts = build().fit(x.split(size)).state_dict()
        assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize("name", [name for name in WHITENINGS if name not in GIVEN])
@pytest.mark.parametrize("sizes", [(20, 20), (39, 1), (0, 40), (33, 0)], ids=str)
def test_two_processes_fit_what_one_fits(name, sizes, gloo):
    x = images(sum(sizes)) + 1e4
    whole, merged = WHITENINGS[name]().fit(x), WHITENINGS[name]()
    first, second = gloo(fitted_on_ranks, name, sizes)
    assert all(torch.equal(first[key], second[key]) for key in whole.state_dict())
    merged.load_state_dict(second)
    assert torch.allclose(merged(x), whole(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("case", "first", "second"),
    [
        ("NaN", "RuntimeError: process 1 could not fit its share: sample 0", "ValueError: sample 0 of the stream"),
        ("shape", r"ValueError: processes hold samples of different shapes \[\(2, 3, 3\), \(18,\)\]", None),
        ("few", "ValueError: 10 samples of 18 coordinates", None),
    ],
)
def test_what_fails_on_one_process_ends_on_all(case, first, second, gloo):
    for found, expected in zip(gloo(failure_on_ranks, case), (first, second or first), strict=True):
        assert re.match(expected, found)


def test_sharded_without_other_processes_is_one_share():
    x = images()
    alone, sharded = ZCAWhitening().fit(x), ZCAWhitening().fit(x, sharded=True)
    assert torch.equal(alone(x), sharded(x))


@each_exact
def test_constant_pixels_map_to_zero_and_come_back(build):
    x = images(dtype=torch.float32)
    whitening = build().fit([x])
    other = x.clone()
    other[:, 0, 0, 0] = 5.0  # outside of what training data ever showed
    assert torch.allclose(whitening(other), whitening(x), rtol=0, atol=1e-5)
    assert torch.allclose(whitening.inverse(whitening(other)), x, atol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1e6, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_exact
def test_rounding_is_not_taken_for_variance(build, value, dtype):
    constant = torch.full((1000, 1), value, dtype=dtype)
    varying = torch.randn(1000, 1, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x = torch.cat([constant, varying, varying], 1)
    whitening = build().fit(x.split(37))
    assert whitening(x).abs().max() < 6
    assert torch.equal(whitening.inverse(whitening(x))[:, 0], constant[:, 0])
    other = x.clone()
    other[:, 0] *= 1 + torch.finfo(dtype).eps
    assert torch.allclose(whitening(other), whitening(x), rtol=0, atol=1e-4)


@each_fitted
def test_identical_samples_are_all_mean(build):
    x = torch.full((30, 2, 3, 3), 0.3)
    whitening = build().fit(x)
    assert whitening(x).abs().max() == 0
    assert torch.equal(whitening.inverse(whitening(torch.rand(30, 2, 3, 3))), x)
    assert (whitening.report().rank, whitening.report().log_determinant) == (0, 0)


@each_dense
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-9)])
def test_digits_become_white_to_the_precision_of_their_type(cls, dtype, tolerance):
    x = torch.from_numpy(load_digits().images)[:, None].to(dtype) / 16  # condition number 4e5
    whitening = cls().fit(x)
    y = whitening(x).double().flatten(1)
    spectrum = torch.linalg.eigvalsh(y.T.cov()).flip(0)
    assert whitening.report().rank == 61  # three pixels are constant
    assert (spectrum[:61] - 1).abs().max() < tolerance
    assert spectrum[61:].abs().max() < tolerance
    assert y.mean(0).abs().max() < tolerance


@each_fitted
def test_the_report_is_that_of_the_map(build):
    x = images(200)
    whitening = build().fit([x])
    report = whitening.report()
    zero = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    shift = whitening(zero)
    jacobian = (whitening(torch.eye(18, dtype=torch.float64).reshape(18, 2, 3, 3)) - shift).flatten(1).T
    gains = torch.linalg.svdvals(jacobian)
    gains = gains[gains > 1e-9 * gains[0]]
    assert report.dimension == 18
    assert report.rank == len(gains)
    if isinstance(whitening, CholeskyWhitening):  # between coordinates: the first, constant one is left out
        kept = jacobian.diagonal() > 0
        gains = torch.linalg.svdvals(jacobian[kept][:, kept])
    assert report.log_determinant == pytest.approx(gains.log().sum().item(), abs=1e-8)
    assert "kept rank" in str(report)
    assert f"{report.condition_before:.4g} before" in str(report)


@each_fitted
def test_the_report_is_there_after_loading(build):
    whitening, fresh = build().fit(images()), build()
    with pytest.raises(RuntimeError, match="is not fitted"):
        fresh.report()
    fresh.load_state_dict(whitening.state_dict())
    assert fresh.report() == whitening.report()


def test_given_maps_report_what_needs_no_data():
    assert Identity().report() == WhiteningReport(log_determinant=0.0)
    assert "whatever the data" in str(Rescale().report())


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
    narrow = build().fit([first[:, :1]])
    whitening.load_state_dict(narrow.state_dict())  # samples of another shape
    assert torch.equal(whitening(first[:, :1]), narrow(first[:, :1]))


@pytest.mark.parametrize("cls", [ZCAWhitening, PCAWhitening])
def test_a_loaded_state_replaces_the_arguments(cls):
    x = images()
    fitted, fresh = cls(power=0.3, epsilon=0.2, shrinkage=0.1, rank=4).fit(x), cls()
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh(x), fitted(x))
    assert fresh.output_shape((2, 3, 3)) == fitted.output_shape((2, 3, 3))
    assert fresh.report().rank == 4


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
        ([torch.zeros(0, 1, 2, 3)], "at least 2 samples, the stream had 0"),
        ([torch.zeros(1, 1, 2, 3)], "at least 2 samples, the stream had 1"),
        ([torch.zeros(4, 1, 2, 3), torch.full((1, 1, 2, 3), math.nan)], "sample 4 of the stream .* holds 6 NaN or inf"),
        ([torch.zeros(4, 1, 2, 3), torch.zeros(2, 1, 2, 3).log()], "sample 4 of the stream .* holds 6 NaN or infinite"),
        ([torch.zeros(4, 1, 2, 3), torch.zeros(4, 1, 3, 2)], r"shape \(1, 3, 2\) after samples of shape \(1, 2, 3\)"),
        ([torch.zeros(4, 1, 2, 3, dtype=torch.uint8)], "torch.uint8; .*float"),
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
        with pytest.raises(ValueError, match=r"fitted on samples of shape \(2, 3, 3\); expected .* got \(4, 7\)"):
            method(torch.zeros(4, 7))
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
def test_a_state_loaded_in_inference_mode_serves_autograd_later(build):
    whitening = build()
    with torch.inference_mode():
        whitening.load_state_dict(build().fit([images()]).state_dict())
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


@each_dense
def test_too_few_samples_are_refused_with_what_would_help(cls):
    x = images(18)
    with pytest.raises(ValueError, match=r"18 samples of 18 .* only n - 1 = 17 .* equally far apart.* pass shrinkage"):
        cls().fit([x])
    for shrinkage in (0.1, "oas"):
        assert cls(shrinkage=shrinkage).fit([x]).report().rank == 18
    assert cls().fit([images(19)]).report().rank == 17  # the constant pixel


def test_whitened_training_samples_would_all_be_equally_far_apart():
    x = images(10)
    distance = torch.pdist(ZCAWhitening(rank=9).fit([x])(x).flatten(1))
    assert torch.allclose(distance, torch.full_like(distance, (2 * 9) ** 0.5))
    with pytest.raises(ValueError, match="rank <= 9"):
        ZCAWhitening(rank=10).fit([x])


@each_dense
def test_dense_refuses_large_images_at_once_and_names_what_does_not(cls):
    def stream():
        yield torch.zeros(1, 3, 128, 128)
        raise AssertionError("a second batch was read")

    message = (
        r"would take 108\.0 GiB to fit .*49,152 x 49,152.*memory_limit = 16 GiB; use FourierWhitening .*Standardize"
    )
    for refuse in (lambda: cls().check_shape((3, 128, 128)), lambda: cls().fit(stream())):
        with pytest.raises(ValueError, match=message):
            refuse()
    whitening = cls()
    whitening.memory_limit = 10_000
    whitening.check_shape((14,))
    with pytest.raises(ValueError, match="would take"):
        whitening.check_shape((15,))


@pytest.mark.parametrize("build", [FourierWhitening, Standardize])
def test_the_others_fit_large_images(build):
    x = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    whitening = build()
    whitening.check_shape((3, 128, 128))
    assert torch.allclose(whitening.inverse(whitening.fit(x.split(3))(x)), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shrinkage", [-0.1, 1.0, math.nan, "ledoit"])
@each_dense
def test_shrinkage_is_a_share_or_a_rule(cls, shrinkage):
    with pytest.raises(ValueError, match=r"shrinkage must be a share in \[0, 1\) or 'oas', got"):
        cls(shrinkage=shrinkage)
