"""Keyed generators."""

from __future__ import annotations

import numpy as np
import torch

from datamodules.seeding import keyed_generator


def test_equal_keys_give_equal_streams_and_other_keys_others():
    keys = [(0,), (1,), (0, 0), (0, 1), ("train", 0), ("val", 0), (-1,)]
    draws = [tuple(torch.rand(4, generator=keyed_generator(*key)).tolist()) for key in keys]
    assert draws == [tuple(torch.rand(4, generator=keyed_generator(*key)).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)


def test_the_key_is_hashed_the_same_in_every_process_and_version():
    assert keyed_generator(0, 1).initial_seed() == 18035787800520607725


def test_an_integer_of_numpy_is_that_integer():
    plain, other = keyed_generator("name", 3, 4), keyed_generator("name", np.int64(3), np.int32(4))
    assert other.initial_seed() == plain.initial_seed()
