"""Minibatch standard deviation (Karras et al., 2018, "Progressive growing", section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_modules.batch import joined
from gan_modules.networks.layers import check_positive

_EPSILON = 1e-8  # the gradient of a square root is finite where rows are equal


class MinibatchStdDev(nn.Module):
    """Appends how much rows of a group differ: features (B, F, ...) to (B, F + 1, ...).

    The standard deviation over the group's rows of each feature at each place, averaged over both, is one number a
    group; a discriminator that sees it tells fakes that are all alike from data that are not. Rows see each other, so
    real and fake rows take a forward each (``batch_statistics``).

    Args:
        group_size: consecutive rows of a group, which lie on one process: the groups are those of the joined batch as
            long as each process has a multiple of this many rows. Fewer rows than this are one group, on each process
            one of its own, where the joined batch would have one of several processes' rows. None is the whole batch,
            which is that of all processes in training mode.

    Raises:
        ValueError: a group size below one, or a batch that groups do not divide.
    """

    batch_statistics = True

    def __init__(self, group_size: int | None = 4) -> None:
        super().__init__()
        if group_size is not None:
            check_positive("MinibatchStdDev", group_size=group_size)
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        groups = self._groups(x)
        # half precision holds neither the squares nor epsilon
        wide = groups.to(torch.promote_types(x.dtype, torch.float32))
        deviation = (wide.var(1, correction=0) + _EPSILON).sqrt().flatten(1).mean(1)
        rows = deviation.to(x.dtype).repeat_interleave(len(x) // len(groups) if self.group_size else len(x))
        return torch.cat([x, rows.view(-1, 1, *[1] * (x.ndim - 2)).expand(-1, 1, *x.shape[2:])], dim=1)

    def _groups(self, x: Tensor) -> Tensor:
        """(groups, rows of a group, *shape)."""
        if self.group_size is None:
            return (joined(x) if self.training else x).unsqueeze(0)
        size = min(self.group_size, len(x))
        if len(x) % size:
            raise ValueError(
                f"MinibatchStdDev(group_size={self.group_size}) got {len(x)} rows: make the batch a multiple of "
                f"{self.group_size}, or let group_size=None take the whole batch as its group."
            )
        return x.reshape(-1, size, *x.shape[1:])

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}"
