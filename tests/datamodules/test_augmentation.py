"""Flips and crops of training images."""

from __future__ import annotations

import pytest
import torch

from datamodules.augmentation import HorizontalFlip, RandomCrop, augmented, numbers_of
from datamodules.source import InMemory
from datamodules.stream import TrainingStream

IMAGES = torch.arange(40 * 2 * 5 * 6).remainder(251).reshape(40, 2, 5, 6).to(torch.uint8)
BOTH = HorizontalFlip(), RandomCrop(2)


def stream(**kwargs):
    return TrainingStream(InMemory(IMAGES), batch_size=12, augmentations=BOTH, **kwargs)


def test_a_flip_mirrors_left_and_right_in_its_share_of_the_images():
    uniform = torch.tensor([[0.1], [0.3], [0.29]])
    flipped = HorizontalFlip(0.3)(IMAGES[:3], uniform)
    assert torch.equal(flipped[[0, 2]], IMAGES[[0, 2]].flip(3))
    assert torch.equal(flipped[1], IMAGES[1])


def test_a_crop_shifts_by_whole_pixels_and_mirrors_at_the_border():
    still = RandomCrop(2)(IMAGES[:2], torch.full((2, 2), 0.5))
    assert torch.equal(still, IMAGES[:2])
    moved = RandomCrop(2)(IMAGES[:1], torch.tensor([[0.0, 0.999]]))[0]  # first row of the padding, last column
    assert torch.equal(moved[:, 2:, :-2], IMAGES[0, :, :-2, 2:])
    assert torch.equal(moved[:, 0], moved[:, 4])  # rows 2, 1, 0, 1, 2: mirrored about row 0
    assert torch.equal(moved[:, :, -1], moved[:, :, 1])  # columns 2, 3, 4, 5, 4, 3


def test_all_shifts_are_equally_likely():
    uniform = torch.rand(5_000, 2, generator=torch.Generator().manual_seed(0))
    places = torch.arange(36.0).reshape(1, 1, 6, 6).expand(5_000, 1, 6, 6)
    corners = RandomCrop(1)(places, uniform)[:, 0, 2, 2]
    counts = torch.bincount(corners.long())[corners.long().unique()]
    assert len(counts) == 9
    assert (counts - 5_000 / 9).abs().max() < 4 * (5_000 / 9) ** 0.5


def test_every_augmentation_gets_numbers_of_its_own():
    uniform = torch.rand(40, numbers_of(BOTH), generator=torch.Generator().manual_seed(0))
    expected = BOTH[1](BOTH[0](IMAGES, uniform[:, :1]), uniform[:, 1:])
    assert torch.equal(augmented(IMAGES, BOTH, uniform), expected)
    assert torch.equal(augmented(IMAGES, (), uniform[:, :0]), IMAGES)


def test_batches_differ_over_passes_and_agree_over_processes_and_calls():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    whole = [stream(draws=2).batch(t)[0] for t in range(4)]
    shares = [[stream(draws=2, rank=rank, world_size=3).batch(t)[0] for t in range(4)] for rank in range(3)]
    for t, real in enumerate(whole):
        draws = [torch.cat([share[t].chunk(2)[k] for share in shares]) for k in range(2)]
        assert torch.equal(torch.cat(draws), real)
        plain = TrainingStream(InMemory(IMAGES), batch_size=12, draws=2).batch(t)[0]
        assert (plain != real).flatten(1).any(1).float().mean() > 0.8
    resumed = stream(draws=2)
    resumed.load_state_dict(stream(draws=2).state_dict() | {"iteration": 3})
    assert torch.equal(next(iter(resumed))[0], whole[3])
    assert not torch.equal(stream(seed=1).batch(0)[0], stream().batch(0)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 1.5"):
        HorizontalFlip(1.5)
    with pytest.raises(ValueError, match="padding must be positive and finite, got 0"):
        RandomCrop(0)
    with pytest.raises(ValueError, match="a crop of padding 5 needs sides above it, images are 5x6"):
        RandomCrop(5)(IMAGES[:1], torch.zeros(1, 2))
