"""Optimizers with scalar arguments only, so that they can be defaults, live in YAML and survive a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_FUSED_DEVICES = {"cpu", "cuda"}


def given_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate that an optimizer was given, which its schedule multiplies where it has one."""
    group = optimizer.param_groups[0]
    return float(group.get("initial_lr", group["lr"]))


class Adam(torch.optim.Adam):
    """Adam (Kingma and Ba, 2015) with the betas named one by one, fused where the device has a fused kernel.

    Args:
        params: parameters, or parameter groups.
        lr: learning rate.
        beta1: decay of the first moment; 0 is customary for GANs, whose gradient field rotates.
        beta2: decay of the second moment.
        eps: term added to the root of the second moment.
        weight_decay: L2 weight.
        fused: one kernel for all tensors; None chooses it on CPU and CUDA.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 2e-4,
        beta1: float = 0.0,
        beta2: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ) -> None:
        groups: list[Any] = list(params)
        tensors = [p for g in groups for p in (g["params"] if isinstance(g, dict) else [g])]
        if fused is None:
            fused = all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in tensors)
        # torch refuses betas that are integers, which is what YAML makes of 0
        betas = (float(beta1), float(beta2))
        super().__init__(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)
