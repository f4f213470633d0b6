"""How each player's loss bends, where the generator could still go, and how smooth the discriminator is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.func import functional_call

from callbacks.diagnostic import Diagnostic, first_draw
from gan_modules.batch import GameBatch, joined
from gan_modules.checks import evaluating
from gan_modules.discriminator_pass import DiscriminatorPass, call
from gan_modules.dynamics import (
    GameJacobian,
    SpectralDensity,
    SymmetricRitz,
    generator_singular_values,
    hessian_block,
    lanczos,
)
from gan_modules.gan import GANModule
from gan_modules.protocols import GENERATOR, PLAYER_NAMES

#: singular values above this share of the largest at any sample count as directions that are alive
_ALIVE = 0.1


class CurvatureSpectrum(Diagnostic):
    """Before each validation, the Hessian of each player's loss, the generator's Jacobian, and D's smoothness.

    A player's Hessian is that of its own loss in its own parameters while the other stands still, on the batch just
    trained on, by ``vectors`` products of Lanczos' method from a random vector. Logged, eigenvalues in units of the
    loss per squared parameter:

    - ``curvature/<player>/max``, ``/min``: the extreme eigenvalues found; the true ones are at least as extreme.
      ``/residual``: the larger of their residuals, as a share of the largest modulus: an eigenvalue is that near.
    - ``curvature/<player>/negative``, ``/flat``: shares of the spectrum below -``flat`` times the largest modulus, and
      within that of 0, by one probe of stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao, 2019). With 12
      vectors shares are good to some hundredths.
    - ``curvature/<player>/sharpness_ratio``: largest modulus over the mean modulus of all eigenvalues, from 1, where
      all directions are equally sharp, to the number of parameters, where one is sharp and all others flat;
      good to about a third.
    - ``curvature/generator/diversity_flat``, ``/diversity_sharp``: by how much the total variance of samples grows, as
      a share of the data's, when the generator's parameters move by ``step`` times their norm to where it grows
      fastest: outside of the directions in which the loss was found to bend upwards (by more than ``flat`` times the
      largest modulus), and within them. ``/diversity_curvature``: the loss's curvature along that growth, as a share of
      the largest modulus: below 0 the loss asks for it, above it resists.
    - ``curvature/jacobian/sigma_1``, ``/sigma_min``: extreme singular values of dG/dz, means over ``samples`` latents,
      in units of training space; ``/effective_rank``: exponential of the entropy of their shares (Roy and Vetterli,
      2007), from 1 to the latent dimension; ``/alive``: how many are above a tenth of the largest at any latent. All
      are 0 where samples do not depend on latents.
    - ``curvature/smoothness``: |grad_x D(x + s) - grad_x D(x)| / |grad_x D(x)| over |s| / R, root mean squares over
      real rows, generated rows and random points between them; s is random of length ``step`` R, R the root of the
      data's total variance. 0 for a linear D, 1 for a quadratic bowl around the data, more the rougher it is. Also for
      each of them, ``/real``, ``/generated``, ``/between``.

    The networks are judged as they are in training (Hessians) and in evaluation (Jacobian, diversity, smoothness).
    Games without samples have only what applies to them; where no weight moves samples apart there is no diversity.

    Cost of one look: ``vectors`` products with each player's Hessian, a gradient or two each, and latent_dim products
    with the generator's Jacobian at ``samples`` rows; memory is ``vectors`` vectors of the larger player's size. That
    is as long as 16 to 18 iterations of the digits quickstart (0.3 million parameters, half a second on one core of a
    busy machine), and as 31 of a DCGAN of width 64 at 32x32 (1.9 million, batch 64).

    Args:
        every_n_steps: iterations between two looks; before each validation if None.
        budget: share of the training time that looks may take; see Diagnostic.
        vectors: dimension of the Krylov spaces, products with each player's Hessian.
        rows: at most so many real rows on each process; all of the iteration's first draw if None.
        samples: latents at which the generator's Jacobian is taken.
        flat: curvature that counts as none, as a share of the largest modulus.
        step: length of the moves, as a share of the parameters' norm and of the data's radius.
        memory: GiB that a Krylov space may take; where ``vectors`` would not fit, fewer are taken, which is said once.

    Attributes:
        density: each player's spectral density, by name, of the latest look.
        ritz: each player's Ritz values and their residuals, two tensors of shape (m,).
        singular_values: of dG/dz, shape (samples, latent_dim), descending; None where there are none.

    Raises:
        ValueError: an argument out of its range.
    """

    prefix = "curvature"
    guess = 30.0

    def __init__(
        self,
        every_n_steps: int | None = None,
        budget: float | None = 0.01,
        vectors: int = 12,
        rows: int | None = None,
        samples: int = 8,
        flat: float = 0.05,
        step: float = 0.01,
        memory: float = 1.0,
    ) -> None:
        super().__init__(every_n_steps, budget)
        for name, count in {"vectors": vectors, "rows": rows, "samples": samples}.items():
            if count is not None and count < 1:
                raise ValueError(f"CurvatureSpectrum({name}={count}): must be at least 1.")
        for name, share in {"flat": flat, "step": step}.items():
            if not 0 < share < 1:
                raise ValueError(f"CurvatureSpectrum({name}={share}): a share, between 0 and 1, both excluded.")
        if not memory > 0:
            raise ValueError(f"CurvatureSpectrum(memory={memory}): GiB, above 0.")
        self.vectors, self.rows, self.samples = vectors, rows, samples
        self.flat, self.step, self.memory = flat, step, memory
        self.density: dict[str, SpectralDensity] = {}
        self.ritz: dict[str, tuple[Tensor, Tensor]] = {}
        self.singular_values: Tensor | None = None

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        self.density, self.ritz, self.singular_values = {}, {}, None
        game_batch = pl_module.game_batch(*first_draw(batch, pl_module, self.rows), iteration=trainer.global_step)
        values: dict[str, float] = {}
        if isinstance(pl_module, GANModule):
            with evaluating(*pl_module.players), torch.autocast(pl_module.device.type, enabled=False):
                values |= self._generator_jacobian(pl_module, game_batch)
                values |= self._smoothness(pl_module, game_batch)
        still = [
            name
            for name, player in zip(PLAYER_NAMES, pl_module.players, strict=True)
            if not any(p.requires_grad for p in player.parameters())
        ]
        if still:
            self.complain(trainer, f"no Hessians: no parameter of the {' and of the '.join(still)} is trained.")
            return values
        return values | self._hessians(trainer, pl_module, game_batch)

    # --- Hessians ---------------------------------------------------------------------------------------------------

    def _hessians(self, trainer: Trainer, pl_module: Any, batch: GameBatch) -> dict[str, float]:
        jacobian = GameJacobian(pl_module, batch)
        losses = pl_module.all_mean(jacobian.losses)  # for all processes to go on, or none
        values: dict[str, float] = {}
        for player, name in enumerate(PLAYER_NAMES):
            if not losses[player].isfinite():
                raise FloatingPointError(f"The {name}'s loss is not finite: the game is past its numbers.")
            like = next(p for p in pl_module.players[player].parameters() if p.requires_grad)
            like = like.detach().new_empty(jacobian.sizes[player])
            vectors = self._affordable_vectors(trainer, like, name)
            apply = hessian_block(jacobian, player)
            found = lanczos(apply, like, vectors)
            density = SpectralDensity.of([found])
            self.density[name], self.ritz[name] = density, (found.values, found.residuals)
            values |= {f"curvature/{name}/{key}": value for key, value in self._summary(found, density).items()}
            if player == GENERATOR and isinstance(pl_module, GANModule):
                with evaluating(pl_module.generator), torch.autocast(pl_module.device.type, enabled=False):
                    values |= self._diversity(pl_module, batch, found, apply)
        return values

    def _affordable_vectors(self, trainer: Trainer, like: Tensor, name: str) -> int:
        affordable = int(self.memory * 2**30 / (like.numel() * like.element_size()))
        if affordable < min(self.vectors, len(like)):
            self.complain(
                trainer,
                f"{max(1, affordable)}, not {self.vectors} vectors of the {name}'s {len(like):,} parameters: more "
                f"do not fit memory={self.memory:g} GiB, and its spectrum is coarser. Raise memory if there is more.",
            )
        return max(1, min(self.vectors, affordable))

    def _summary(self, found: SymmetricRitz, density: SpectralDensity) -> dict[str, float]:
        largest = float(found.values.abs().max())
        if not largest:  # a loss that is linear in the player
            return {"max": 0.0, "min": 0.0, "residual": 0.0, "negative": 0.0, "flat": 1.0}
        return {
            "max": float(found.values[-1]),
            "min": float(found.values[0]),
            "residual": float(found.residuals[[0, -1]].max()) / largest,
            "negative": float(density.weights[density.nodes < -self.flat * largest].sum()),
            "flat": density.share(-self.flat * largest, self.flat * largest),
            "sharpness_ratio": largest / density.moment(1, absolute=True),
        }

    # --- diversity --------------------------------------------------------------------------------------------------

    def _diversity(
        self, pl_module: GANModule, batch: GameBatch, found: SymmetricRitz, apply: Callable[[Tensor], Tensor]
    ) -> dict[str, float]:
        """How the variance of samples changes where the loss bends upwards, and where it does not."""
        spread = _total_variance(batch.real)
        largest = float(found.values.abs().max())
        if not spread > 0 or not largest:
            return {}
        at = _Diversity(pl_module, batch)
        now, slope = at.value_and_slope()
        if not slope.any():  # no latents, or a generator of one point
            return {}
        sharp = found.coordinates[:, found.values > self.flat * largest].T.to(found.basis) @ found.basis
        within = (sharp @ slope) @ sharp
        values = {"diversity_curvature": float(slope @ apply(slope) / (slope @ slope)) / largest}
        for name, direction in {"flat": slope - within, "sharp": within}.items():
            length = float(direction.norm())
            if length > 1e-5 * float(slope.norm()):
                step = self.step * at.norm / length
                values[f"diversity_{name}"] = (at.value(step * direction) - now) / spread
        return {f"curvature/generator/{name}": value for name, value in values.items()}

    # --- the generator's Jacobian -----------------------------------------------------------------------------------

    def _generator_jacobian(self, pl_module: GANModule, batch: GameBatch) -> dict[str, float]:
        labels = None if batch.labels is None else batch.labels[: self.samples]
        found = generator_singular_values(pl_module.generator, batch.z[: self.samples], labels)
        self.singular_values = found
        total = found.sum(1, keepdim=True)
        entropy = torch.special.entr(found / total.clamp_min(torch.finfo(found.dtype).tiny)).sum(1)
        largest = joined(found.max().reshape(1).to(batch.z)).max().cpu()
        rows = {
            "sigma_1": found[:, 0],
            "sigma_min": found[:, -1],
            "effective_rank": entropy.exp() * (found[:, 0] > 0),
            "alive": (found > _ALIVE * largest).double().sum(1),
        }
        return _means(pl_module, {f"curvature/jacobian/{name}": value.mean() for name, value in rows.items()}, batch.z)

    # --- smoothness -------------------------------------------------------------------------------------------------

    def _smoothness(self, pl_module: GANModule, batch: GameBatch) -> dict[str, float]:
        radius = math.sqrt(_total_variance(batch.real))
        if not radius:
            return {}
        real = batch.real
        fake = call(pl_module.generator, batch.z, batch.labels).detach()
        mix = batch.random.uniform("curvature/mix").view(-1, *[1] * (real.ndim - 1)).to(real)
        points = {"real": real, "generated": fake, "between": real + mix * (fake - real)}
        loss = pl_module.loss
        d = DiscriminatorPass(
            pl_module.discriminator, batch, real, fake, witness=None if loss.critic_is_logit else loss.critic
        )
        squares = {name: self._change(d, batch, name, x, self.step * radius) for name, x in points.items()}
        means = _means(
            pl_module, {f"{name}/{i}": v for name, pair in squares.items() for i, v in enumerate(pair)}, real
        )
        change = {name: means[f"{name}/0"] for name in points}
        size = {name: means[f"{name}/1"] for name in points}
        if not all(map(math.isfinite, means.values())):
            raise FloatingPointError("The discriminator's gradient in its input is not finite.")
        values = {
            f"curvature/smoothness/{name}": math.sqrt(change[name] / size[name]) / self.step
            for name in points
            if size[name] > 0
        }
        if sum(size.values()) > 0:
            values["curvature/smoothness"] = math.sqrt(sum(change.values()) / sum(size.values())) / self.step
        return values

    def _change(self, d: DiscriminatorPass, batch: GameBatch, name: str, x: Tensor, length: float) -> list[Tensor]:
        """Mean square of the change of D's gradient over a random step, and of the gradient."""
        noise = batch.random.normal(f"curvature/{name}", tuple(x.shape[1:])).to(x)
        unit = noise / noise.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
        before, after = (d.gradient_of(point.detach()).detach() for point in (x, x + length * unit))
        return [rows.square().sum(1).mean() for rows in (after - before, before)]


class _Diversity:
    """The total variance of samples of fixed latents, as a function of a displacement of the generator's weights."""

    def __init__(self, pl_module: GANModule, batch: GameBatch) -> None:
        self._game, self._batch = pl_module, batch
        named = pl_module.generator.named_parameters()
        self._point = {name: p.detach().clone() for name, p in named if p.requires_grad}
        self.norm = float(nn.utils.get_total_norm(list(self._point.values())))

    def _variance(self, parameters: dict[str, Tensor]) -> Tensor:
        batch = self._batch
        inputs = (batch.z,) if batch.labels is None else (batch.z, batch.labels)
        samples: Tensor = joined(functional_call(self._game.generator, parameters, inputs))
        return (samples - samples.mean(0)).square().sum() / len(samples)

    def value(self, displacement: Tensor) -> float:
        parts = torch.split(displacement, [p.numel() for p in self._point.values()])
        moved = {name: p + part.view_as(p) for (name, p), part in zip(self._point.items(), parts, strict=True)}
        with torch.no_grad():
            return float(self._variance(moved))

    def value_and_slope(self) -> tuple[float, Tensor]:
        """The variance here, and its gradient, flat."""
        point = {name: p.clone().requires_grad_() for name, p in self._point.items()}
        variance = self._variance(point)
        found = torch.autograd.grad(variance, list(point.values()), allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for g, p in zip(found, point.values(), strict=True)]
        flat = torch.cat([part.reshape(-1) for part in parts])
        return float(variance.detach()), self._game.all_mean([flat])[0]


def _total_variance(rows: Tensor) -> float:
    """The sum over coordinates of the variance of the rows of all processes."""
    everything = joined(rows).flatten(1)
    return float((everything - everything.mean(0)).square().sum() / len(everything))


def _means(pl_module: GANModule, values: dict[str, Tensor], like: Tensor) -> dict[str, float]:
    """Means over processes; ``like`` says on which device, and in which precision beyond single."""
    precision = torch.promote_types(like.dtype, torch.float32)
    stacked = torch.stack([value.to(like.device, precision) for value in values.values()])
    (mean,) = pl_module.all_mean([stacked])
    return dict(zip(values, mean.tolist(), strict=True))
