"""The curvature of the generator's loss when the discriminator answers every move, by products."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Jacobian


class NegativeCurvatureError(ArithmeticError):
    """A Hessian that was to be positive definite has a direction of negative or no curvature."""


class TotalHessian:
    """H_GG - H_GD (H_DD + damping I)^-1 H_DG at a point where D is at its best; w -> product, nothing of n^2 stored.

    H_pq is the derivative of player p's gradient of its own loss in player q's parameters. Let phi*(theta) be the
    discriminator that minimises L_D against the generator theta. Then dphi*/dtheta = -H_DD^-1 H_DG (implicit function
    theorem), and this is the derivative in theta of the field grad_theta L_G(theta, phi*(theta)), that is, of what the
    generator follows while D is kept at its best.

    - Zero sum, L_D = -L_G + terms of D alone (minimax with R1 on real rows, or with weight decay): that field is the
      gradient of -min_phi L_D (Danskin), and this is its Hessian, symmetric. As H_GD = -H_DG^T, it is
      H_GG + H_DG^T H_DD^-1 H_DG: never below H_GG, the Hessian with D frozen, in any direction.
      Where it is positive definite the point is a local minimax, or Stackelberg, equilibrium (Jin, Netrapalli and
      Jordan, 2020; Fiez, Chasnov and Ratliff, 2020), which H_GG need not be.
    - Otherwise (non-saturating, relativistic as trained): it is the Jacobian of that field, no Hessian, and not
      symmetric, for the field is no gradient: use ``arnoldi``. The second derivative of L_G(theta, phi*(theta)) has
      terms in grad_phi L_G and third derivatives beside it, which are not here.

    H_DD must be positive definite: train D to a minimum first, with a penalty or weight decay that makes it strict, or
    add ``damping``, which stands for a D that is held near where it is by (damping / 2) |phi - phi_0|^2. The larger it
    is, the nearer the product is to H_GG w.

    Args:
        jacobian: of the game, on a batch on which D is at its best.
        damping: added to H_DD, in units of the loss per squared parameter; at least 0.
        tolerance: of each solution by conjugate gradients, |residual| / |right-hand side|.
        max_iterations: of each solution, products with H_DD; ten times D's parameters if None.

    Attributes:
        iterations: products with H_DD so far.
        residual: the largest relative residual so far; above ``tolerance`` where iterations ran out.

    Raises:
        ValueError: a damping below 0, a tolerance outside (0, 1), or fewer than one iteration.
        NegativeCurvatureError: at a product, where H_DD + damping I is not positive definite.
        FloatingPointError: at a product that is not finite.
    """

    def __init__(
        self, jacobian: Jacobian, *, damping: float = 0.0, tolerance: float = 1e-10, max_iterations: int | None = None
    ) -> None:
        if not damping >= 0:
            raise ValueError(f"TotalHessian(damping={damping}): must be at least 0.")
        if not 0 < tolerance < 1:
            raise ValueError(f"TotalHessian(tolerance={tolerance}): must be between 0 and 1, both excluded.")
        if max_iterations is not None and max_iterations < 1:
            raise ValueError(f"TotalHessian(max_iterations={max_iterations}): at least 1, or None for enough.")
        self.jacobian = jacobian
        self.damping = damping
        self.tolerance = tolerance
        self.max_iterations = max_iterations or 10 * jacobian.sizes[1]
        self.iterations = 0
        self.residual = 0.0

    def __call__(self, w: Tensor) -> Tensor:
        """The product with a direction of the generator, shape (n_G,)."""
        return -self.jacobian.rows(GENERATOR, (w, self.response(w)))

    def frozen(self, w: Tensor) -> Tensor:
        """H_GG w, the product with the Hessian of the generator's loss while D does not move, shape (n_G,)."""
        return -self.jacobian.rows(GENERATOR, (w, None))

    def response(self, w: Tensor) -> Tensor:
        """By how much D's best moves as the generator moves along w: (dphi*/dtheta) w, shape (n_D,)."""
        right = self.jacobian.rows(DISCRIMINATOR, (w, None))  # -H_DG w
        solution, iterations, residual = conjugate_gradients(
            lambda u: self.damping * u - self.jacobian.rows(DISCRIMINATOR, (None, u)),
            right,
            self.tolerance,
            self.max_iterations,
        )
        self.iterations += iterations
        self.residual = max(self.residual, residual)
        return solution


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], right: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, int, float]:
    """Solve A x = right for a positive definite A known by its products (Hestenes and Stiefel, 1952).

    Returns:
        x, the number of products, and |right - A x| / |right| as the recurrence has it.

    Raises:
        NegativeCurvatureError: a direction u with u^T A u <= 0.
        FloatingPointError: a product or right-hand side that is not finite.
    """
    x = torch.zeros_like(right)
    residual = right.clone()
    direction = residual
    square = float(residual @ residual)
    start = square
    if not math.isfinite(start):
        raise FloatingPointError("The right-hand side of conjugate gradients is not finite.")
    done = 0
    while done < max_iterations and square > tolerance**2 * start:
        image = apply(direction)
        curvature = float(direction @ image)
        done += 1
        if not math.isfinite(curvature):
            raise FloatingPointError("A product in conjugate gradients is not finite.")
        if curvature <= 0:
            size = curvature / float(direction @ direction)
            raise NegativeCurvatureError(
                f"The discriminator's Hessian has a direction of curvature {size:.3g}, so it is not at a strict "
                "minimum of its loss: train it further against this generator, give it a penalty or weight decay, or "
                f"set damping above {max(0.0, -size):.3g}."
            )
        step = square / curvature
        x = x + step * direction
        residual = residual - step * image
        before, square = square, float(residual @ residual)
        direction = residual + (square / before) * direction
    return x, done, math.sqrt(square / start) if start else 0.0
