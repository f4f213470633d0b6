"""The probability of augmentation follows the discriminator's overfitting."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_modules import GANModule
from gan_modules.augmentation import AdaptiveAugment, AdversarialPerturbation, DiffAugment, InstanceNoise
from gan_modules.losses import NonSaturating
from gan_modules.networks import MLPGenerator


@pytest.fixture
def played(d_pass):
    """A function (augmentation, shares of real rows that D calls real) -> p after each draw of 10 rows."""

    def play(augment, shares):
        memory, found = augment.init(), []
        for share in shares:
            right = round(10 * share)
            real = torch.tensor([1.0] * right + [-1.0] * (10 - right))[:, None]
            d = d_pass(nn.Identity(), real, real)
            d.memory = memory
            memory = augment.update(d)
            found.append(memory["p"].item())
        return found

    return play


def test_goes_from_zero_to_one_while_the_images_are_shown(played):
    found = played(AdaptiveAugment(InstanceNoise(), images=400, every=4), [1.0] * 44)
    assert found[38] == pytest.approx(0.9)
    assert found[39] == pytest.approx(1.0)  # 40 draws of 10 rows
    assert max(found) == 1.0
    assert [x for i, x in enumerate(found) if i % 4 != 3] == pytest.approx(
        [found[4 * (i // 4) - 1] if i >= 4 else 0.0 for i in range(44) if i % 4 != 3]
    )  # moves on every fourth draw alone


def test_holds_the_mean_of_signs_over_the_draws_at_the_target(played):
    augment = AdaptiveAugment(InstanceNoise(), target=0.5, images=100, every=2, start=0.5)
    # r = 2 share - 1: means over two draws of 0.6, 0.4 and 0.5
    assert played(augment, [1.0, 0.6]) == pytest.approx([0.5, 0.7])
    assert played(augment, [0.4, 1.0]) == pytest.approx([0.5, 0.3])
    assert played(augment, [0.5, 1.0]) == pytest.approx([0.5, 0.5])


def test_stays_a_probability(played):
    augment = AdaptiveAugment(InstanceNoise(), images=10, every=1)
    assert played(augment, [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]) == pytest.approx([0, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_augments_that_share_of_the_rows(p, random_rows):
    x = torch.zeros(2000, 2)
    augment = AdaptiveAugment(InstanceNoise(1.0), start=p)
    changed = (augment.apply(x, random_rows(2000), augment.init()) != 0).all(1)
    assert changed.float().mean().item() == pytest.approx(p, abs=0.03)


def test_a_row_that_is_chosen_is_augmented_as_without_a_controller(random_rows):
    x = torch.rand(8, 1, 8, 8)
    augment = AdaptiveAugment(DiffAugment(), start=1.0)
    expected = DiffAugment().apply(x, random_rows(8), {})
    assert torch.equal(augment.apply(x, random_rows(8), augment.init()), expected)


def test_a_module_adapts_logs_and_restores_it(fit, tmp_path):
    def build():
        torch.manual_seed(0)
        generator, discriminator = MLPGenerator((2,), latent_dim=3, width=8, depth=2), nn.Linear(2, 1)
        nn.init.constant_(discriminator.bias, 100.0)  # all rows are real to it
        augment = AdaptiveAugment(InstanceNoise(), images=80, every=1)
        return GANModule(generator, discriminator, loss=NonSaturating(), augmentation=[augment])

    logged = []
    batches = [torch.randn(8, 2) for _ in range(4)]
    model = build()
    trainer = fit(
        model,
        batches,
        after=lambda t: logged.append(float(t.callback_metrics["memory/augmentation/0/p"])),
        log_every_n_steps=1,
    )
    assert logged == pytest.approx([0.1, 0.2, 0.3, 0.4])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = build()
    again.on_load_checkpoint(torch.load(tmp_path / "last.ckpt", weights_only=False))
    assert again._memories["augmentation/0"]["p"].item() == pytest.approx(0.4)


def test_mistakes():
    for words, arguments in {
        "target=1.0": {"target": 1.0},
        "images=0": {"images": 0},
        "every=0": {"every": 0},
        "start=1.5": {"start": 1.5},
    }.items():
        with pytest.raises(ValueError, match=words):
            AdaptiveAugment(InstanceNoise(), **arguments)
    with pytest.raises(ValueError, match="without memory"):
        AdaptiveAugment(AdaptiveAugment(InstanceNoise()))
    with pytest.raises(TypeError, match=r"augmentation=AdversarialPerturbation\(.*RowAugmentation"):
        AdaptiveAugment(AdversarialPerturbation(0.1))
