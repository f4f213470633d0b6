"""A GAN between Gaussians: mean and covariance are learned against a quadratic discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gan_modules.dynamics import MatrixJacobian
from gan_modules.toy_game import ToyGame


class GaussianGAN(ToyGame):
    """Data N(mu, Sigma), G(z) = m + L z, D(x) = x^T W x + w^T x, Wasserstein loss with R1, in expectation.

    V = E D(data) - E D(G(z)) = tr S (Sigma + mu mu^T - L L^T - m m^T) + w^T (mu - m), S the symmetric part of W, with
    the penalty (gamma/2) E ||2 S x + w||^2 on the data (Feizi et al., 2017, study the quadratic discriminator;
    Nagarajan and Kolter, 2017, the game). At the equilibrium G is the data and D is 0; rotations of L and the
    antisymmetric part of W stand still.

    Args:
        mean: mu, d numbers.
        covariance: Sigma, (d, d), positive definite.
        gamma: weight of R1.
        start: m, L (by rows), w, W (by rows); a standard normal generator and D = 0 if None.
        kwargs: arguments of GameModule.

    Raises:
        ValueError: shapes that don't fit, or a covariance that is not symmetric and positive definite.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(
        self,
        mean: Sequence[float] = (1.0, 0.0),
        covariance: Sequence[Sequence[float]] = ((1.0, 0.0), (0.0, 0.25)),
        gamma: float = 1.0,
        start: Sequence[float] | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        mu, sigma = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(covariance, dtype=torch.float64)
        d = len(mu)
        if sigma.shape != (d, d):
            raise ValueError(
                f"covariance has shape {tuple(sigma.shape)}, and the mean {d} numbers: make it ({d}, {d})."
            )
        if not torch.allclose(sigma, sigma.T) or float(torch.linalg.eigvalsh(sigma)[0]) <= 0:
            raise ValueError(f"covariance={covariance}: must be symmetric and positive definite.")
        if not gamma >= 0:
            raise ValueError(f"GaussianGAN(gamma={gamma}): must be at least 0.")
        size = d + d * d
        if start is None:
            start = torch.cat([torch.zeros(d), torch.eye(d).reshape(-1), torch.zeros(size)])
        super().__init__(start, (size, size), **kwargs)
        self.register_buffer("mean", mu, persistent=False)
        self.register_buffer("covariance", sigma, persistent=False)
        self.gamma = gamma

    def _parts(self, player: Tensor) -> tuple[Tensor, Tensor]:
        d = len(self.mean)
        return player[:d], player[d:].view(d, d)

    def loss(self, player: int, u: Tensor, v: Tensor) -> Tensor:
        (m, root), (w, matrix) = self._parts(u), self._parts(v)
        s = (matrix + matrix.T) / 2
        second_moment = self.covariance + self.mean.outer(self.mean)
        fake = (s * (root @ root.T + m.outer(m))).sum() + w @ m
        if player == 0:
            return -fake
        real = (s * second_moment).sum() + w @ self.mean
        # E ||2 S x + w||^2 = 4 tr S M S + 4 w^T S mu + |w|^2
        slope = 4 * (s @ second_moment @ s).trace() + 4 * w @ s @ self.mean + w @ w
        return fake - real + 0.5 * self.gamma * slope

    def equilibrium(self) -> Tensor:
        values, vectors = torch.linalg.eigh(self.covariance.cpu())
        root = vectors @ values.sqrt().diag() @ vectors.T
        size = len(self.second.x)
        return torch.cat([self.mean.cpu(), root.reshape(-1), torch.zeros(size, dtype=torch.float64)])

    def closed_form_jacobian(self) -> MatrixJacobian:
        n = len(self.equilibrium())
        columns = [self._linear_field(unit) for unit in torch.eye(n, dtype=torch.float64)]
        return MatrixJacobian(torch.stack(columns, 1), (n // 2, n // 2))

    def _linear_field(self, displacement: Tensor) -> Tensor:
        """The field at the equilibrium plus a small displacement, to first order, on paper."""
        n = len(displacement) // 2
        mu, root = self._parts(self.equilibrium()[:n])
        (dm, dl), (dw, dmatrix) = self._parts(displacement[:n]), self._parts(displacement[n:])
        ds = (dmatrix + dmatrix.T) / 2
        second_moment = root @ root + mu.outer(mu)
        v_m = 2 * ds @ mu + dw
        v_l = 2 * ds @ root
        v_w = -dm - self.gamma * (2 * ds @ mu + dw)
        v_matrix = -(dl @ root + root @ dl.T + dm.outer(mu) + mu.outer(dm)) - self.gamma * (
            2 * (ds @ second_moment + second_moment @ ds) + dw.outer(mu) + mu.outer(dw)
        )
        return torch.cat([v_m, v_l.reshape(-1), v_w, v_matrix.reshape(-1)])
