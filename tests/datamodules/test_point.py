"""All data at one point."""

from __future__ import annotations

import pytest
import torch

from datamodules.point import PointDataModule


def test_every_split_and_batch_is_the_point(process):
    module = PointDataModule(point=(1.0, -2.0), size=10, batch_size=4)
    module.trainer = process(draws=3)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    real = batch if isinstance(batch, torch.Tensor) else batch[0]
    assert torch.equal(real, torch.tensor([[1.0, -2.0]]).expand(12, 2))
    for split in ("train", "val", "test"):
        samples, labels = module.load(split)
        assert torch.equal(samples, torch.tensor([[1.0, -2.0]]).expand(10, 2))
        assert labels is None
    assert (module.shape, module.num_classes) == ((2,), None)


@pytest.mark.parametrize(("kwargs", "message"), [({"size": 0}, "size"), ({"point": ()}, "coordinates")])
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PointDataModule(batch_size=4, **kwargs)
