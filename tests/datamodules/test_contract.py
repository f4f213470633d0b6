"""What every data module that the package exports must do."""

from __future__ import annotations

import io
import math

import pytest
import torch
from data_recipes import DATAMODULES, make
from fake_torchvision import fake_torchvision
from whitening_recipes import EXPORTED

import datamodules
from datamodules.source import in_data_space
from datamodules.whitening import Standardize, ZCAWhitening
from datamodules.whitening.dense import DenseWhitening

DRAWS, BATCH = 3, 12

each_module = pytest.mark.parametrize("cls", DATAMODULES, ids=lambda cls: cls.__name__)
each_whitening = pytest.mark.parametrize("whitening", EXPORTED.values(), ids=EXPORTED.keys())


@pytest.fixture(autouse=True)
def _nothing_is_downloaded(monkeypatch):
    fake_torchvision(monkeypatch)


def build(cls, trainer=None, **kwargs):
    module = make(cls, batch_size=BATCH, **kwargs)
    module.trainer = trainer
    return module


def suited(whitening, cls):
    """A whitening of a class that few training samples are enough for; skips a class that the data are not for."""
    shape = build(cls).shape
    try:
        whitening().check_shape(shape)
    except ValueError as error:
        pytest.skip(str(error))
    if not issubclass(whitening, DenseWhitening):
        return whitening()
    if math.prod(shape) > 1_000:
        pytest.skip(f"eigenvectors of {math.prod(shape)} dimensions take seconds; the smaller data sets show the same")
    return whitening(shrinkage=0.01)


def samples_of(module, split):
    """Samples in data space, of uint8 or of floats."""
    return in_data_space(module.load(split)[0])


def forbid(*args, **kwargs):
    raise AssertionError("data was read")


def test_the_contract_covers_the_shipped_data_sets():
    assert {"CIFAR10DataModule", "DigitsDataModule", "RingDataModule"} <= {cls.__name__ for cls in DATAMODULES}


@each_module
def test_constructor_and_description_read_no_data(cls, monkeypatch):
    monkeypatch.setattr(cls, "load", forbid)
    module = build(cls, whitening=ZCAWhitening())
    assert all(isinstance(size, int) for size in module.shape)
    assert module.num_classes is None or module.num_classes > 0


@each_module
def test_batches_have_the_promised_shape_and_labels(cls, process):
    module = build(cls, process(draws=DRAWS))
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    real, labels = (batch, None) if isinstance(batch, torch.Tensor) else batch
    assert real.shape == (DRAWS * BATCH, *module.shape)
    assert real.dtype == torch.float32
    assert (labels is None) == (module.num_classes is None)
    if labels is None:
        return
    assert labels.shape == (DRAWS * BATCH,)
    assert labels.min() >= 0
    assert labels.max() < module.num_classes


@each_module
def test_splits_are_distinct_and_stable(cls):
    first, second = build(cls, seed=1), build(cls, seed=2)
    train, val = samples_of(first, "train"), samples_of(first, "val")
    assert torch.equal(train, samples_of(second, "train"))
    if cls is datamodules.PointDataModule:
        pytest.skip("all its samples are one point")
    assert not (train.flatten(1)[:500, None] == val.flatten(1)).all(-1).any()


@each_module
@each_whitening
def test_decode_inverts_encode(cls, whitening):
    module = build(cls, whitening=suited(whitening, cls))
    module.setup("fit")
    x = samples_of(module, "train")[:200]
    assert torch.allclose(module.decode(module.encode(x)), x, rtol=0, atol=3e-6)


@each_module
def test_decode_stays_in_the_value_range(cls):
    module = build(cls, whitening=Standardize())
    module.setup("fit")
    decoded = module.decode(100 * torch.randn(50, *module.shape))
    if module.value_range is not None:
        assert module.value_range[0] <= decoded.min()
        assert decoded.max() <= module.value_range[1]
    assert decoded.isfinite().all()


@each_module
def test_global_randomness_is_left_alone(cls):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    module = build(cls, whitening=Standardize())
    module.setup("fit")
    for _ in module.train_dataloader():
        pass
    for _ in module.reals("test"):
        pass
    assert torch.equal(torch.get_rng_state(), before)


@each_module
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_every_draw_of_one_global_batch(cls, world_size, process):
    def draws_of(rank, world_size):
        module = build(cls, process(rank, world_size, DRAWS))
        module.setup("fit")
        stream = module.train_dataloader()
        return [stream.batch(t)[0].chunk(DRAWS) for t in range(len(stream) + 1)]

    whole = draws_of(0, 1)
    shares = [draws_of(rank, world_size) for rank in range(world_size)]
    for t, draws in enumerate(whole):
        for k, draw in enumerate(draws):
            assert torch.equal(torch.cat([share[t][k] for share in shares]), draw)


@each_module
@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_reals_cover_the_split_once_without_padding(cls, world_size, process):
    shards = []
    for rank in range(world_size):
        module = build(cls, process(rank, world_size), eval_batch_size=13)
        batches = list(module.reals("val"))  # before any setup
        assert all(len(real) <= 13 and (labels is None or len(labels) == len(real)) for real, labels in batches)
        shards.append(torch.cat([real for real, _ in batches]))
    samples = samples_of(build(cls), "val")
    together = torch.empty_like(samples)
    for rank, shard in enumerate(shards):
        together[rank::world_size] = shard
    assert sum(map(len, shards)) == len(samples)
    assert torch.equal(together, samples)


@each_module
@each_whitening
def test_state_restores_a_fresh_module_without_data(cls, whitening, monkeypatch):
    trained = build(cls, whitening=suited(whitening, cls))
    trained.setup("fit")
    x = samples_of(trained, "val")[:20]
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    expected, decoded = trained.encode(x), trained.decode(trained.encode(x))

    monkeypatch.setattr(cls, "load", forbid)
    fresh = build(cls, whitening=suited(whitening, cls))
    fresh.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert torch.equal(fresh.encode(x), expected)
    assert torch.equal(fresh.decode(expected), decoded)


@each_module
def test_truth_knows_the_modes_in_data_space(cls):
    module = build(cls)
    if module.truth is None:
        pytest.skip("this data set has no closed form")
    samples, labels = module.load("val")
    mode, quality = module.truth.assign(samples), module.truth.high_quality
    assert module.truth.num_modes == module.num_classes
    assert (mode >= 0).double().mean().item() == pytest.approx(
        quality, abs=4 * math.sqrt(quality * (1 - quality) / len(mode))
    )
    # Modes are told apart for certain, or as well as Bayes' rule can: each is wrong for half of its two overlaps.
    overlap = module.hparams.get("overlap", 0.0)
    wrong = ((mode != labels) & (mode != -1)).double().mean().item()
    assert wrong <= overlap + 4 * math.sqrt(overlap * (1 - overlap) / len(mode))
    assert module.truth.log_density(samples).isfinite().all()
