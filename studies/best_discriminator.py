"""The generator's loss with the discriminator at its best, exactly: one that is a network only in its last layer.

D(x) = a^T h(x) + b with h random Fourier features (Rahimi and Recht, 2007), which stay as they are: a network of a
hidden layer of cosines, of which the last layer is trained. Every loss in here is convex in it, so that its best is
unique, is found to the last digits by Newton's method, and follows wherever the generator goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from gan_modules import GANModule
from gan_modules.batch import GameBatch, key
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses import AdversarialLoss, Minimax, RelativisticPairing
from gan_modules.penalties import R1


class FourierDiscriminator(nn.Module):
    """Points (B, 2) to logits (B,) by a trained linear layer on fixed features sqrt(2/k) cos(w^T x + c).

    Args:
        features: k.
        scale: distance over which D can turn, that of the Gaussian kernel which the features stand for.
        seed: of the features.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int, scale: float, seed: int) -> None:
        super().__init__()
        numbers = torch.Generator().manual_seed(key("fourier", seed))
        self.shape = (2,)
        self.register_buffer("frequencies", torch.randn(features, 2, generator=numbers) / scale)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features, generator=numbers))
        self.head = nn.Linear(features, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))[:, 0]
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Shape (B, k)."""
        return math.sqrt(2 / len(self.phases)) * torch.cos(x @ self.frequencies.T + self.phases)

    def slopes(self, x: Tensor) -> Tensor:
        """Their gradients in x, shape (B, k, 2)."""
        sines = math.sqrt(2 / len(self.phases)) * torch.sin(x @ self.frequencies.T + self.phases)
        return -sines[:, :, None] * self.frequencies


@dataclass(frozen=True)
class ZeroSumPairing(RelativisticPairing):
    """Relativistic pairing of which the generator minimises what D maximises, as theory on landscapes has it."""

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return -self.discriminator(d)


class DecayedGAN(GANModule):
    """A GAN with (decay / 2) |phi|^2 in the discriminator's loss."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, decay: float, gamma: float, loss: str):
        losses: dict[str, AdversarialLoss] = {"minimax": Minimax(), "pairing": ZeroSumPairing()}
        super().__init__(
            generator, discriminator, loss=losses[loss], penalties=[R1(gamma)] if gamma else [], ema_decay=0.0
        )
        self.decay = decay

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        value = super().player_loss(player, batch)
        squares = [p.square().sum() for p in self.discriminator.parameters()]
        return value + 0.5 * self.decay * torch.stack(squares).sum() if player else value


class Landscape:
    """theta -> -min_phi L_D(theta, phi), which is the generator's loss (less what D pays of its penalties).

    Args:
        generator: whose parameters are theta; a copy is never made.
        batch: data and latents, in float64.
        loss: "minimax", or "pairing" (each fake with the row of its index).
        decay: weight of |phi|^2 / 2.
        gamma: weight of R1.
        features, scale, seed: of the discriminator.
    """

    def __init__(
        self,
        generator: nn.Module,
        batch: GameBatch,
        *,
        loss: str = "minimax",
        decay: float = 1e-6,
        gamma: float = 0.0,
        features: int = 256,
        scale: float = 0.3,
        seed: int = 0,
    ) -> None:
        self.batch = batch
        self.discriminator = FourierDiscriminator(features, scale, seed).double()
        self.game = DecayedGAN(generator, self.discriminator, decay=decay, gamma=gamma, loss=loss)
        self.parameters = list(generator.parameters())
        self._paired = loss == "pairing"
        self._real = self._extended(batch.real)
        slopes = self.discriminator.slopes(batch.real)
        self._quadratic = decay * torch.eye(features + 1, dtype=torch.float64)
        self._quadratic[:-1, :-1] += gamma * torch.einsum("nki,nli->kl", slopes, slopes) / len(slopes)
        self._phi = torch.zeros(features + 1, dtype=torch.float64)

    @property
    def theta(self) -> Tensor:
        return parameters_to_vector(self.parameters).detach()

    @theta.setter
    def theta(self, value: Tensor) -> None:
        vector_to_parameters(value, self.parameters)

    @contextmanager
    def at(self, theta: Tensor) -> Iterator[None]:
        """The generator there, and back."""
        kept = self.theta
        self.theta = theta
        try:
            yield
        finally:
            self.theta = kept

    def samples(self, z: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return self.game.generator(self.batch.z if z is None else z)

    def value(self) -> float:
        """The loss with D at its best, in which D is left."""
        with torch.no_grad():
            return self._solve(self._signed(self.game.generator(self.batch.z)))

    def gradient(self) -> tuple[float, Tensor]:
        """The loss and its gradient: D's answer adds nothing to first order (Danskin)."""
        signed = self._signed(self.game.generator(self.batch.z))
        value = self._solve(signed.detach())
        loss = -softplus(signed @ self._phi).sum() / len(self.batch.real)
        parts = torch.autograd.grad(loss, self.parameters)
        return value, torch.cat([part.reshape(-1) for part in parts])

    def settle(self, iterations: int, stride: float = 0.05, memory: int = 20) -> list[Tensor]:
        """Follow the loss downhill without a leap; where the generator went, the start first.

        L-BFGS directions (Nocedal, 1980), the loss falling at each step, and no sample moving farther than ``stride``
        in one: a barrier wider than that is met, not jumped over.
        """
        path, pairs = [self.theta], list[tuple[Tensor, Tensor]]()
        value, gradient = self.gradient()
        for _ in range(iterations):
            direction = -_quasi_newton(gradient, pairs)
            slope = float(direction @ gradient)
            if slope >= 0:
                direction, slope, pairs = -gradient, -float(gradient @ gradient), []
            if slope > -1e-14:
                break
            start, samples = path[-1], self.samples()
            size = 1.0
            while size > 1e-12:
                self.theta = start + size * direction
                farthest = float((self.samples() - samples).norm(dim=1).max())
                if farthest <= stride:
                    after, steeper = self.gradient()
                    if after <= value + 1e-4 * size * slope:
                        break
                    size /= 2
                else:
                    size *= max(0.1, min(0.9, stride / farthest))
            else:
                self.theta = start
                if not pairs:
                    break
                pairs = []
                continue
            path.append(self.theta)
            step, bend = path[-1] - start, steeper - gradient
            if step @ bend > 1e-10 * step.norm() * bend.norm():
                pairs = [*pairs[1 - memory :], (step, bend)]
            value, gradient = after, steeper
        return path

    def blocks(self) -> tuple[Tensor, Tensor, Tensor]:
        """H_GG, H_GD = -H_DG^T and H_DD as matrices, with D at its best, by the chain rule through the samples.

        With t the argument of softplus that belongs to a sample x = G(z), l = -softplus(t) / n, s = dt/dphi and J =
        dx/dtheta: H_GG = J^T (l'' grad D grad D^T + l' hess D) J + l' grad D . hess G, and H_GD = J^T (l' ds/dx + l''
        grad D s^T). The oracle of all products, which come from autograd alone.
        """
        self.value()
        d, phi, n = self.discriminator, self._phi, len(self.batch.real)
        fake = self.samples()
        signed = self._signed(fake)
        own = signed[-n:]  # of the fakes; paired rows are all theirs
        share = torch.sigmoid(own @ phi)
        first, second = -share / n, -share * (1 - share) / n
        slopes, weights = d.slopes(fake), phi[:-1]
        slope = torch.einsum("nki,k->ni", slopes, weights)
        bend = -torch.einsum("nk,k,ki,kj->nij", d.features(fake), weights, d.frequencies, d.frequencies)
        inner = second[:, None, None] * slope[:, :, None] * slope[:, None, :] + first[:, None, None] * bend
        jacobian, pulled = _derivatives(self.game.generator, self.batch.z, first[:, None] * slope)
        hessian = torch.einsum("nip,nij,njq->pq", jacobian, inner, jacobian) + pulled
        mixed = torch.einsum("n,nki->nik", first, slopes)
        mixed = torch.cat([mixed, mixed.new_zeros(n, 2, 1)], 2) + torch.einsum("n,ni,nk->nik", second, slope, own)
        return hessian, torch.einsum("nip,nik->pk", jacobian, mixed), self._curvature(signed, phi)

    # --- the discriminator's problem: min over phi of mean softplus(rows phi) + phi^T Q phi / 2 -----------------------

    def _signed(self, fake: Tensor) -> Tensor:
        """Rows whose products with phi are the arguments of softplus."""
        ours = self._extended(fake)
        return ours - self._real if self._paired else torch.cat([-self._real, ours])

    def _extended(self, x: Tensor) -> Tensor:
        return torch.cat([self.discriminator.features(x), x.new_ones(len(x), 1)], 1)

    def _loss(self, signed: Tensor, phi: Tensor) -> float:
        return float(softplus(signed @ phi).sum() / len(self.batch.real) + 0.5 * phi @ self._quadratic @ phi)

    def _curvature(self, signed: Tensor, phi: Tensor) -> Tensor:
        share = torch.sigmoid(signed @ phi)
        return signed.T @ ((share * (1 - share))[:, None] * signed) / len(self.batch.real) + self._quadratic

    def _solve(self, signed: Tensor) -> float:
        """Newton's method from the last best; minus the loss there."""
        phi, loss = self._phi, self._loss(signed, self._phi)
        for _ in range(100):
            gradient = signed.T @ torch.sigmoid(signed @ phi) / len(self.batch.real) + self._quadratic @ phi
            if gradient.norm() < 1e-11:
                break
            factor = torch.linalg.cholesky(self._curvature(signed, phi))
            step, size = torch.cholesky_solve(gradient[:, None], factor)[:, 0], 1.0
            while self._loss(signed, phi - size * step) > loss + 1e-14 and size > 1e-8:
                size /= 2
            phi = phi - size * step
            loss = self._loss(signed, phi)
        self._phi = phi
        vector_to_parameters(phi, list(self.discriminator.parameters()))
        return -loss


def _quasi_newton(gradient: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The inverse Hessian that steps and changes of the gradient tell of, times the gradient: two loops over them."""
    q, shares = gradient, list[Tensor]()
    for step, bend in reversed(pairs):
        shares.append((step @ q) / (step @ bend))
        q = q - shares[-1] * bend
    if pairs:
        step, bend = pairs[-1]
        q = q * (step @ bend) / (bend @ bend)
    for (step, bend), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - (bend @ q) / (step @ bend)) * step
    return q


def _derivatives(generator: nn.Module, z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """dG(z)/dtheta, shape (B, 2, p), and the Hessian in theta of the sum of weights * G(z), shape (p, p)."""
    point = {name: p.detach() for name, p in generator.named_parameters()}
    sizes = [p.numel() for p in point.values()]

    def samples(theta: Tensor, z: Tensor) -> Tensor:
        parts = {name: t.view_as(p) for (name, p), t in zip(point.items(), theta.split(sizes), strict=True)}
        return torch.func.functional_call(generator, parts, (z,))  # type: ignore[no-any-return]

    def weighted(theta: Tensor) -> Tensor:
        return (weights * samples(theta, z)).sum()

    theta = torch.cat([p.reshape(-1) for p in point.values()])
    jacobian = torch.func.vmap(lambda one: torch.func.jacrev(samples)(theta, one[None])[0])(z)
    return jacobian, torch.func.jacrev(torch.func.grad(weighted), chunk_size=64)(theta)
