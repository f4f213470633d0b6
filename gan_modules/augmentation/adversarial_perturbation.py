"""The adversary of a robust discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gan_modules.augmentation.base import Augmentation, View
from gan_modules.batch import RandomRows
from gan_modules.protocols import DISCRIMINATOR

#: in which a perturbation is measured
Norm = Literal["l2", "linf"]


@dataclass(frozen=True)
class AdversarialPerturbation(Augmentation):
    """D learns on real rows x + delta, ||delta|| <= eps, where its loss is largest (Zhou and Kraehenbuehl, 2019).

    min over D of max over delta of L_D (Madry et al., 2018, eq. 2.1), by projected gradient ascent; on real rows as in
    Liu and Hsieh (2019), or on both kinds. The generator's loss is on rows as they are. By Danskin's theorem the
    gradient of the inner maximum is that at the maximiser, so delta is a constant in gradients, and in the game's
    Jacobian too. Where L_D has slope 0 in a row, as a hinge beyond its margin, or is no function of the rows, as an MMD
    on samples is none to D, the row stays. Under autocast the ascent is in float32.

    On the Dirac-GAN, with ``fakes``, it acts as dry friction of 2 eps, where R1 and instance noise are viscous.

    Cost: ``steps`` forwards of D on all rows and its gradient in the rows that move. D's step takes 1.7, 3.2 and 5.0
    times as long with 1, 3 and 5 steps (MLP of 3 x 256, batch 64, one core). Batch statistics and power iterations of D
    don't advance in them; dropout draws masks of its own.

    Args:
        eps: radius of the ball, in units of training space, the Euclidean norm being that of the whole row.
        norm: "l2", with steps along each row's gradient, or "linf", with steps along its sign.
        steps: of ascent; 0 takes a random point of the ball instead.
        step_size: length of a step in that norm; eps if None for one step, 2.5 eps / steps for more.
        fakes: whether fake rows are perturbed too.
        random_start: whether the ascent starts at a random point of the ball rather than at the row.
    """

    eps: float
    norm: Norm = "l2"
    steps: int = 1
    step_size: float | None = None
    fakes: bool = False
    random_start: bool = False

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ValueError(f"AdversarialPerturbation(eps={self.eps}): a radius is at least 0.")
        if self.norm not in get_args(Norm):
            raise ValueError(
                f"AdversarialPerturbation(norm={self.norm!r}): must be one of {', '.join(get_args(Norm))}."
            )
        if self.steps < 0:
            raise ValueError(f"AdversarialPerturbation(steps={self.steps}): at least 0, which is a random point.")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"AdversarialPerturbation(step_size={self.step_size}): positive, or None for the default.")

    def __call__(self, real: Tensor, fake: Tensor, view: View) -> tuple[Tensor, Tensor]:
        if view.player != DISCRIMINATOR or not self.eps:
            return real, fake
        deltas = self.answer(real, fake, view)
        # x + delta rather than the adversary's x: fake rows keep the generator's graph
        return real + deltas[0], fake + deltas[1] if self.fakes else fake

    def answer(self, real: Tensor, fake: Tensor, view: View) -> list[Tensor]:
        """The perturbations delta, constants of shape (B, *shape): of the real rows, and with ``fakes`` of the fake."""
        kind = real.device.type
        wide = torch.is_autocast_enabled(kind)
        # values are asked for without gradients too, where the adversary still needs its own
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(kind, enabled=False):
            rows = [(x.float() if wide else x).detach().clone() for x in (real, fake)]
            moving = {"real": rows[0], "fake": rows[1]} if self.fakes else {"real": rows[0]}
            deltas = [self._start(x, view.random.under(name)) for name, x in moving.items()]
            for _ in range(self.steps):
                deltas = [delta.requires_grad_() for delta in deltas]
                shown = [x + delta for x, delta in zip(rows, deltas, strict=False)] + rows[len(deltas) :]
                slopes = _slopes(view.discriminator_loss(*shown), deltas)
                deltas = [self._step(delta.detach(), slope) for delta, slope in zip(deltas, slopes, strict=True)]
        return deltas

    def _start(self, x: Tensor, random: RandomRows) -> Tensor:
        shape = tuple(x.shape[1:])
        if self.steps and not self.random_start:
            return torch.zeros_like(x)
        if self.norm == "linf":
            return self.eps * (2 * random.uniform("point", shape) - 1).to(x.dtype)
        # the radius r of a point of the unit ball in n dimensions has P(r < t) = t^n
        radius = random.uniform("radius") ** (1 / x[0].numel())
        return self.eps * _rowwise(radius, x) * _unit(random.normal("point", shape)).to(x.dtype)

    def _step(self, delta: Tensor, slope: Tensor) -> Tensor:
        length = self.step_size or (self.eps if self.steps == 1 else 2.5 * self.eps / self.steps)
        if self.norm == "linf":
            return (delta + length * slope.sign()).clamp(-self.eps, self.eps)
        moved = delta + length * _unit(slope)
        norms = torch.linalg.vector_norm(moved.flatten(1), dim=1)
        return moved * _rowwise(self.eps / norms.clamp(min=self.eps), moved)


def _slopes(loss: Tensor, deltas: list[Tensor]) -> Sequence[Tensor]:
    """The loss's gradient in each; zeros where it is no function of it."""
    if not loss.requires_grad:
        return [torch.zeros_like(delta) for delta in deltas]
    return torch.autograd.grad(loss, deltas, materialize_grads=True)


def _rowwise(factors: Tensor, x: Tensor) -> Tensor:
    """(B,) as factors of the rows of ``x``."""
    return factors.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def _unit(x: Tensor) -> Tensor:
    """Rows of Euclidean norm 1; rows of zeros stay."""
    tiny = torch.finfo(x.dtype).tiny
    # by the largest entry first: a saturated loss has slopes whose squares are not representable
    flat = x.flatten(1)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp(min=tiny)
    unit: Tensor = flat / torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=tiny)
    return unit.view_as(x)
