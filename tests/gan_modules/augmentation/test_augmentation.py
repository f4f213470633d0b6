"""What every augmentation promises."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules import augmentation
from gan_modules.augmentation import (
    AdaptiveAugment,
    AdversarialPerturbation,
    DiffAugment,
    InstanceNoise,
    RowAugmentation,
    View,
)
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses import NonSaturating
from gan_modules.protocols import DISCRIMINATOR

#: every exported augmentation, at a strength that shows
AUGMENTATIONS = {
    "AdaptiveAugment": AdaptiveAugment(DiffAugment(), start=0.5),
    "AdversarialPerturbation": AdversarialPerturbation(0.3, steps=2, fakes=True, random_start=True),
    "DiffAugment": DiffAugment(("color", "translation", "cutout", "flip")),
    "InstanceNoise": InstanceNoise(0.5, end_std=0.1, iterations=10),
}
#: the same, where they leave rows as they are
IDENTITIES = {
    "AdaptiveAugment": AdaptiveAugment(DiffAugment()),
    "AdversarialPerturbation": AdversarialPerturbation(0.0, fakes=True, random_start=True),
    "DiffAugment": DiffAugment(()),
    "InstanceNoise": InstanceNoise(0.0),
}
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


@pytest.fixture
def images():
    """Real and fake images, (8, 3, 8, 8) each, in float64."""
    real, fake = torch.rand(2, 8, 3, 8, 8, dtype=torch.float64)
    return real, fake


@pytest.fixture
def discriminator():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 1)).double()


@pytest.fixture
def seen(game_batch, random_rows, discriminator):
    """A function (augmentation, real, fake, ...) -> what D sees in its own loss."""

    def show(augment, real, fake, *, player=DISCRIMINATOR, rows=None, **kwargs):
        random = random_rows(len(real), **kwargs) if rows is None else rows
        batch = game_batch(real)

        def loss(real, fake):
            return NonSaturating().discriminator(DiscriminatorPass(discriminator, batch, real, fake))

        return augment(real, fake, View(batch, random, player, augment.init(), loss))

    return show


def test_all_are_tested():
    concrete = {n for n in augmentation.__all__ if n not in ("Augmentation", "RowAugmentation", "View")}
    assert set(AUGMENTATIONS) == set(IDENTITIES) == concrete


@every_augmentation
def test_is_an_immutable_value(name):
    augment = AUGMENTATIONS[name]
    field = dataclasses.fields(augment)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(augment, field, 3.0)
    assert len({augment, copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))}) == 1
    assert augment != IDENTITIES[name]


@every_augmentation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_shape_and_dtype_and_changes_rows(name, dtype, images, seen, discriminator):
    discriminator.to(dtype)
    given = [x.to(dtype) for x in images]
    before = [x.clone() for x in given]
    shown = seen(AUGMENTATIONS[name], *given)
    for x, now, old in zip(given, shown, before, strict=True):
        assert (now.shape, now.dtype) == (x.shape, dtype)
        assert now.isfinite().all()
        assert not torch.equal(now, x)
        assert torch.equal(x, old)


@every_augmentation
def test_leaves_rows_as_they_are_at_no_strength(name, images, seen):
    for x, now in zip(images, seen(IDENTITIES[name], *images), strict=True):
        assert torch.equal(x, now)


@every_augmentation
def test_is_a_function_of_seed_iteration_and_draw_alone(name, images, seen):
    augment = AUGMENTATIONS[name]
    state = torch.get_rng_state()
    first, again = seen(augment, *images), seen(augment, *images)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in ({"seed": 1}, {"iteration": 1}, {"draw": 1}):
        assert not torch.equal(first[0], seen(augment, *images, **other)[0])


@every_augmentation
def test_numbers_are_the_kinds_own(name, images, seen, discriminator):
    if name == "AdversarialPerturbation":
        nn.init.zeros_(discriminator[1].weight)  # rows of no slope, where the random start is what remains
    augment = AUGMENTATIONS[name]
    real, fake = seen(augment, images[0], images[0])
    assert not torch.equal(real, fake)
    same = images[0][:1].expand(8, -1, -1, -1)
    assert len(seen(augment, same, same)[0].unique(dim=0)) > 2


@every_augmentation
def test_ranks_rows_are_the_rows_of_one_process(name, images, seen, random_rows):
    augment = AUGMENTATIONS[name]
    whole = seen(augment, *images)
    for rank in range(2):
        part = slice(4 * rank, 4 * rank + 4)
        rows = random_rows(8, start=4 * rank, rows=4)
        shown = seen(augment, *(x[part] for x in images), rows=rows)
        for now, joint in zip(shown, whole, strict=True):
            assert_close(now, joint[part], rtol=1e-9, atol=1e-12)


@every_augmentation
def test_the_generator_learns_through_it_and_twice(name, images, seen):
    augment, real = AUGMENTATIONS[name], images[0]
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    shown = seen(augment, real, images[1] + shift)[1]
    (slope,) = torch.autograd.grad(shown.pow(3).sum(), shift, create_graph=True)
    (second,) = torch.autograd.grad(slope, shift)
    if isinstance(augment, RowAugmentation):  # the adversary's answer is a constant, which differences would move
        h = 1e-5
        up, down = (seen(augment, real, images[1] + step)[1].pow(3).sum() for step in (h, -h))
        assert_close(slope.detach(), (up - down) / (2 * h), rtol=1e-6, atol=1e-6)
    assert slope != 0
    assert second != 0


@every_augmentation
def test_works_on_what_a_half_precision_generator_gives(name, images, seen, discriminator):
    discriminator.float()
    real, fake = images[0].float(), images[1].bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown = seen(AUGMENTATIONS[name], real, fake)
        assert discriminator(shown[1]).isfinite().all()
    assert shown[0].dtype == torch.float32
