"""The unit ball of a kernel's Hilbert space: the maximum mean discrepancy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from gan_modules.batch import joined
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.function_class import FunctionClass
from gan_modules.losses.kernels import GaussianKernel, Kernel


@dataclass(frozen=True)
class KernelBall(FunctionClass):
    """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), the square of the supremum (Gretton et al., 2012, Lemma 6).

    Estimated without bias by all pairs of the rows of all processes, of which there must be two (their eq. 3), so that
    it is negative at times. On D's outputs D maximises it (Li et al., 2017; Bińkowski et al., 2018); a gradient
    penalty then bounds the witness. On the samples that D is shown there is nothing to learn for D, whose loss is 0,
    and G minimises a fixed discrepancy (Li, Swersky and Zemel, 2015).

    Args:
        kernel: on points (N, d): rows of D's outputs, or flattened samples.
        on: "outputs", (B, d) or (B,), or "samples".
    """

    kernel: Kernel = field(default=GaussianKernel())
    on: Literal["outputs", "samples"] = "outputs"

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel):
            raise TypeError(f"KernelBall(kernel={self.kernel!r}): give a Kernel, as GaussianKernel().")
        if self.on not in ("outputs", "samples"):
            raise ValueError(f"KernelBall(on={self.on!r}): must be 'outputs' or 'samples'.")

    def difference(self, d: DiscriminatorPass) -> Tensor:
        samples = self.on == "samples"
        x = joined(d.real.flatten(1) if samples else _rows(d.real_logits))
        y = joined(d.fake.flatten(1) if samples else _rows(d.fake_logits))
        if len(x) < 2 or len(y) < 2:
            raise ValueError("KernelBall: the estimate of MMD^2 needs two rows at least; make the batch larger.")
        return self._of_pairs(x) + self._of_pairs(y) - 2 * self.kernel(x, y).mean()

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return d.real.new_zeros(()) if self.on == "samples" else -self.difference(d)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return self.difference(d)

    def critic(self, logits: Tensor, d: DiscriminatorPass) -> Tensor:
        """The witness f(h) = E k(h, h(x)) - E k(h, h(G(z))), shape (B,), of which MMD^2 is the difference of means.

        On samples, where D is no part of it, the logit.
        """
        if self.on == "samples":
            return logits
        h = _rows(logits)
        x, y = joined(_rows(d.real_logits)), joined(_rows(d.fake_logits))
        return self.kernel(h, x).mean(1) - self.kernel(h, y).mean(1)

    def _of_pairs(self, x: Tensor) -> Tensor:
        """The mean of k over pairs of different rows."""
        k = self.kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))


def _rows(logits: Tensor) -> Tensor:
    return logits[:, None] if logits.ndim == 1 else logits
