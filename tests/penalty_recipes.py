"""Every penalty and constraint that is exported, as tests build them, and penalties on several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gan_modules import penalties
from gan_modules.augmentation import InstanceNoise
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties import R1, Constraint, LazyPenalty, Penalty

_EXPORTED = [getattr(penalties, name) for name in penalties.__all__]
#: what the classes can't be built without
_NEEDED: dict[str, dict[str, Any]] = {
    "Consistency": {"augmentation": InstanceNoise(0.3)},
    "LazyPenalty": {"penalty": R1(), "every": 2},
}


def _built(base: type) -> list[Any]:
    classes = [cls for cls in _EXPORTED if isinstance(cls, type) and issubclass(cls, base) and cls is not base]
    return [cls(**_NEEDED.get(cls.__name__, {})) for cls in classes]


PENALTIES: list[Penalty] = [
    *_built(Penalty),
    *(penalties.GradientPenalty(2.0, at=at) for at in ("real", "fake", "perturbed")),
    penalties.GradientPenalty(2.0, target=0.05, one_sided=True),
    penalties.GradientPenalty(2.0, target=0.0),
    penalties.Consistency(InstanceNoise(0.3), fake=0.0),
    penalties.Orthogonal(0.1, lengths=True),
    LazyPenalty(penalties.LeCam(), every=3),
]
CONSTRAINTS: list[Constraint] = _built(Constraint)


def tiny_discriminator() -> nn.Module:
    """Smooth, of rows of 3, float64; the same numbers at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def remembering(penalty: Penalty, d: DiscriminatorPass) -> DiscriminatorPass:
    """The pass on the draw after one that looked the same, where what has a memory has something to remember."""
    before = DiscriminatorPass(d.discriminator, d.batch, d.real.detach(), d.fake.detach(), layers=penalty.layers)
    before.memory = penalty.init()
    with torch.no_grad():
        d.memory = penalty.update(before)
    return d


def terms(penalty: Penalty, d: DiscriminatorPass) -> list[Tensor]:
    """The terms of both losses that there are."""
    return [value for value in (penalty.discriminator(d), penalty.generator(d)) if value is not None]


def penalty_on_ranks(rank: int, world: int, index: int) -> list[Tensor]:
    """A penalty, its gradient in D's parameters and a generator's, averaged over processes, and its memory."""
    penalty, discriminator = PENALTIES[index], tiny_discriminator()
    numbers = torch.Generator().manual_seed(7)
    # rows differ in mean and spread from one process to the other
    rows = torch.randn(2, 6, 3, generator=numbers, dtype=torch.float64) * torch.linspace(0.2, 2.0, 6)[:, None] + 0.3
    shift = torch.tensor([0.1, -0.4, 0.2], dtype=torch.float64, requires_grad=True)
    real, fake = (part.chunk(world)[rank] for part in rows)
    start, size = rank * len(real), len(real)
    random = RandomRows(0, 0, 0, start, size, world * size, torch.device("cpu"))
    batch = GameBatch(real, torch.zeros(size, 0), random)
    d = DiscriminatorPass(
        discriminator, batch, real, fake + shift, gradient_at=penalty.gradient_at(batch), layers=penalty.layers
    )
    values = terms(penalty, remembering(penalty, d))
    owners = [*discriminator.parameters(), shift]
    gradients = torch.autograd.grad(sum(values), owners, allow_unused=True, materialize_grads=True)
    found = [*(value.detach().clone() for value in values), *(gradient.clone() for gradient in gradients)]
    if world > 1:
        for tensor in found:
            torch.distributed.all_reduce(tensor)
            tensor /= world
    return [*found, *d.memory.values()]
