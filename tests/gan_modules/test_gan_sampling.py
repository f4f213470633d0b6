"""Samples: sample i is a function of the seed, i and the parameters, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import make
from torch import nn

from gan_modules import NSGAN
from gan_modules.networks import DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.protocols import SAMPLE_BLOCK
from gan_modules.trainer import GameTrainer

B = SAMPLE_BLOCK
WINDOWS = [(1, 0), (1, B - 1), (1, B), (2, B - 1), (B, 0), (B, 1), (B + 1, B), (3 * B, 0), (2 * B - 1, B + 1), (7, 200)]
windows = pytest.mark.parametrize(("n", "start"), WINDOWS)


@pytest.fixture
def trained(tiny, fit):
    """A GAN whose average is behind its generator, and that is left in training mode."""
    module = tiny(NSGAN)
    fit(module, 3)
    return module.train()


@pytest.fixture
def images():
    """A GAN on images with batch normalisation and dropout in its generator."""

    class Generator(DCGANGenerator):
        def forward(self, z, labels=None):
            return nn.functional.dropout(super().forward(z, labels), 0.5, self.training)

    generator = Generator((1, 8, 8), latent_dim=3, width=4)
    generator(torch.randn(50, 3))  # statistics that are not the initial ones
    return NSGAN(generator, MLPDiscriminator((1, 8, 8), width=4)).train()


# --- what a sample depends on ---------------------------------------------------------------------------------------


@windows
@pytest.mark.parametrize("ema", [True, False])
def test_window_does_not_matter(n, start, ema, trained):
    whole = trained.sample(4 * B, seed=3, ema=ema)
    assert torch.equal(trained.sample(n, seed=3, start=start, ema=ema), whole[start : start + n])


@windows
def test_window_does_not_matter_for_networks_with_a_training_mode(n, start, images):
    whole = images.sample(4 * B, seed=3, ema=False)
    assert torch.equal(images.sample(n, seed=3, start=start, ema=False), whole[start : start + n])


def test_neither_the_global_generator_nor_the_mode_matters(images):
    samples = []
    for training in (True, False):
        images.train(training)
        torch.manual_seed(int(training))
        state = torch.get_rng_state()
        samples.append(images.sample(5, ema=False))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*samples)


def test_seed_names_the_sequence(tiny):
    module = tiny(NSGAN, seed=8)
    assert torch.equal(module.sample(9), module.sample(9, seed=8))
    assert not torch.equal(module.sample(9), module.sample(9, seed=9))
    assert len(module.sample(1000).unique(dim=0)) == 1000  # blocks do not repeat


def test_samples_are_generated_from_the_latent_distribution(tiny):
    for distribution, low, deviation in (("normal", -9.0, 1.0), ("uniform", -1.0, 3**-0.5)):
        module = tiny(NSGAN, latent_distribution=distribution)
        module.generator_ema = nn.Identity()
        z = module.sample(4000)
        assert z.shape == (4000, 3)
        assert z.mean(0).abs().max() < 4 * deviation / 4000**0.5
        assert z.std().item() == pytest.approx(deviation, rel=0.03)
        assert low <= z.min() <= z.max() <= -low
    with pytest.raises(ValueError, match="latent_distribution='cauchy'"):
        tiny(NSGAN, latent_distribution="cauchy")


def test_samples_are_those_of_the_average_or_of_the_generator(trained):
    assert not torch.equal(trained.sample(5), trained.sample(5, ema=False))
    trained.generator.load_state_dict(trained.generator_ema.state_dict())
    assert torch.equal(trained.sample(5), trained.sample(5, ema=False))
    z = torch.randn(4, 3)
    assert torch.equal(trained(z), trained.generator_ema(z))


# --- what sampling leaves as it was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_statistics_are_restored(training, images):
    images.train(training)
    before = {name: value.clone() for name, value in images.state_dict().items()}
    samples = images.sample(70, ema=False)
    assert not samples.requires_grad
    assert all(module.training == training for module in images.generator.modules())
    assert not any(module.training for module in images.generator_ema.modules())
    assert all(torch.equal(value, before[name]) for name, value in images.state_dict().items())


# --- labels ---------------------------------------------------------------------------------------------------------


def test_class_of_sample_i_is_i_modulo_the_number_of_classes(tiny):
    module = tiny(NSGAN, num_classes=3)
    assert torch.equal(module.sample(7, start=100, labels=torch.arange(100, 107) % 3), module.sample(7, start=100))


@windows
def test_labels_reach_their_own_samples(n, start, tiny):
    module = tiny(NSGAN, num_classes=5)
    by_class = torch.stack([module.sample(n, start=start, labels=torch.full((n,), c)) for c in range(5)])
    assert len(by_class[:, 0].unique(dim=0)) == 5
    labels = torch.randint(5, (n,))
    assert torch.equal(module.sample(n, start=start, labels=labels), by_class[labels, torch.arange(n)])


def test_labels_that_do_not_fit_are_refused(tiny):
    with pytest.raises(ValueError, match="unconditional"):
        tiny(NSGAN).sample(2, labels=torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"n=3.*2 labels"):
        tiny(NSGAN, num_classes=4).sample(3, labels=torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize(("n", "start"), [(0, 0), (-1, 0), (1, -1)])
def test_counts_that_make_no_sense_are_refused(n, start, tiny):
    with pytest.raises(ValueError, match=rf"n={n}, start={start}"):
        tiny(NSGAN).sample(n, start=start)


# --- any generator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_is_the_generators_own(dtype, tiny):
    module = tiny(NSGAN)
    reference = module.sample(3)
    samples = module.to(dtype).sample(3)
    assert samples.dtype == dtype
    torch.testing.assert_close(samples.float(), reference, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4), (3, 2, 5, 2)], ids=str)
def test_shape_is_the_generators_own(shape):
    module = NSGAN(MLPGenerator(shape, latent_dim=2, width=4), MLPDiscriminator(shape, width=4))
    assert module.sample(3).shape == (3, *shape)


def test_modules_own_generator_is_not_the_average(tiny):
    module = tiny(NSGAN)
    own = {id(p) for p in module.generator.parameters()}
    assert not own & {id(p) for p in module.generator_ema.parameters()}
    assert not any(p.requires_grad for p in module.generator_ema.parameters())


# --- samples in a file ------------------------------------------------------------------------------------------------


def saved(tmp_path, module, **kwargs):
    torch.save({"state_dict": module.state_dict()}, tmp_path / "c.ckpt")
    trainer = GameTrainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.sample(module, ckpt_path=str(tmp_path / "c.ckpt"), out=str(tmp_path / "s.npz"), **kwargs)
    return np.load(tmp_path / "s.npz")


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_samples_says_their_classes_which_may_be_chosen(tmp_path):
    module = make("ConditionalGAN")
    mixed = saved(tmp_path, module, n=B + 3, start=5)
    assert mixed["labels"].tolist() == [i % 8 for i in range(5, B + 8)]
    assert np.array_equal(mixed["samples"], module.sample(B + 3, seed=0, start=5).numpy())
    sixes = saved(tmp_path, module, n=B + 3, label=6)
    assert set(sixes["labels"].tolist()) == {6}
    assert np.array_equal(sixes["samples"], module.sample(B + 3, seed=0, labels=torch.full((B + 3,), 6)).numpy())
    with pytest.raises(ValueError, match="--label 8: the ConditionalGAN has classes 0 to 7"):
        saved(tmp_path, module, n=1, label=8)


@pytest.mark.filterwarnings("ignore")
def test_samples_without_classes(tmp_path):
    module = make("NSGAN")
    assert saved(tmp_path, module, n=3).files == ["samples"]
    with pytest.raises(ValueError, match="--label 0: the NSGAN is unconditional"):
        saved(tmp_path, module, n=3, label=0)
