"""Where the game turns, how fast, and at which learning rate it starts to cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from callbacks.diagnostic import Diagnostic, DiagnosticWarning, first_draw
from callbacks.game_spectrum_picture import draw_spectrum
from callbacks.game_spectrum_words import Situation, situation, words
from callbacks.warn import warn_at
from gan_modules.dynamics import GameJacobian, Stability, spectrum, stability
from gan_modules.dynamics.projection import HELD
from gan_modules.optimizers import given_rate
from gan_modules.protocols import PLAYER_NAMES

#: share of ``warn_at`` below which a later rise is news again
_CALM = 0.8
#: what is logged as game/unstable
_SEVERITY = {"stable": 0.0, "neutral": 0.0, "unstable": 1.0, "unstable at any rate": 2.0}
_GIB = 2**30


class StabilityWarning(DiagnosticWarning):
    """What GameSpectrum found that a user may want to act on."""


class GameSpectrum(Diagnostic):
    """Asks of the batch just trained on whether the module's own rule and optimizers are stable.

    The present parameters are taken for an equilibrium; momenta and second moments are the optimizers' own. Logged
    after the iteration:

    - ``game/lr_over_limit``: lr / h*, h* the largest stable learning rates with the players' ratio kept. Near 1 a cycle
      is about to set in, above 1 it does. Absent where no rate is stable or all are, or where h* was not found.
    - ``game/limit``: its inverse; ``game/largest_lr/<player>``: that times the player's learning rate.
    - ``game/unstable``: 0 no, 1 at these learning rates, 2 at any; absent where that is not resolved, say because
      a growing motion is in sight that has not converged (more ``vectors`` would tell).
    - ``game/radius``: factor by which a displacement grows (above 1) or shrinks an iteration; ``game/period``:
      iterations of a turn of the motion that loses stability, if it turns.
    - ``game/rotation``: 0 pure attraction or repulsion, 1 pure rotation, of the leading eigenvalue.
    - ``game/eigenvalue/<i>/real`` and ``/imag``, i up to ``k``: the leading eigenvalues of learning rate x Jacobian of
      the field (growth and turn per iteration, preconditioned by Adam's second moments), one of each conjugate pair.
    - ``game/resolved``: 1 where slow motions are judged too, 0 where only the fast ones are.
    - ``game/products``, ``game/vectors``, ``game/seconds``, ``game/share``: what it cost.

    A picture of the spectrum goes to ``spectra/<iteration>.png`` in the run's directory and to the loggers as
    ``spectrum``. A warning with the number and the remedy is given before the run starts to cycle, and when it is past
    that, once until it is calm again; nothing stops.

    Cost of one look: up to 128 numbers (parameters and momenta) one product with the Jacobian for each parameter, and
    exact; beyond that ``vectors`` products, all from one Krylov space. A product costs about as long as four iterations
    of alternating training, so that a look of 24 takes about a hundred, and three vectors of the parameters' size are
    held for each. Rules that multiply with the transposed Jacobian (Consensus, SymplecticAdjustment,
    CompetitiveGradient) take 5 to 20 times ``vectors``, as ``thorough`` does.

    Args:
        every_n_steps: iterations between two looks; before each validation if None.
        budget: share of the training time that looks may take; all take place if None.
        k: how many leading eigenvalues are logged.
        vectors: dimension of the Krylov spaces.
        rows: at most so many real rows on each process; all of the iteration's first draw if None.
        rows_per_shard: at most so many rows at a time, where the graph of all is too large for the memory: products
            then cost twice as much. What is not a mean over rows becomes that of smaller batches (see GameJacobian).
        memory: GiB that the Krylov space may take. Fewer vectors are held where it would take more, which is said once.
        thorough: look at the update itself, at each learning rate anew (see stability): slower, and more is resolved.
        warn_at: lr / h* from which on to warn.
        picture: whether to draw.
    """

    prefix: ClassVar[str] = "game"
    guess: ClassVar[float] = 120.0

    def __init__(
        self,
        every_n_steps: int | None = None,
        budget: float | None = 0.02,
        k: int = 5,
        vectors: int = 24,
        rows: int | None = 64,
        rows_per_shard: int | None = None,
        memory: float = 2.0,
        thorough: bool = False,
        warn_at: float = 0.9,
        picture: bool = True,
    ) -> None:
        super().__init__(every_n_steps, budget)
        counts = {"k": k, "vectors": vectors, "rows": rows, "rows_per_shard": rows_per_shard}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"GameSpectrum({name}={value}): must be at least 1.")
        if not memory > 0:
            raise ValueError(f"GameSpectrum(memory={memory}): GiB for the Krylov space, above 0.")
        if not 0 < warn_at <= 1:
            raise ValueError(f"GameSpectrum(warn_at={warn_at}): a share of the largest stable rate, in (0, 1].")
        self.k, self.vectors, self.rows, self.rows_per_shard = k, vectors, rows, rows_per_shard
        self.memory, self.thorough = memory, thorough
        self.warn_at = warn_at
        self.picture = picture
        self.path: Path | None = None
        #: the latest answer, whose tensors are the whole spectrum that was found; None where there was none
        self.answer: Stability | None = None
        self._highest = (0.0, 0)
        self._said: set[Situation] = set()

    @property
    def summary(self) -> str:
        """The highest lr / h* of the run, and the latest."""
        if self.answer is None:
            return "no look yet"
        ratio, verdict = self.answer.lr_over_limit, self.answer.verdict
        last = f"{ratio:.3g}, {verdict}" if math.isfinite(ratio) else verdict
        highest, iteration = self._highest
        return f"highest {highest:.3g}, after {iteration} iterations; last {last}" if highest else last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not hasattr(pl_module, "rule"):
            raise TypeError(f"GameSpectrum needs a game with an update rule; {type(pl_module).__name__} has none.")

    # --- a look -----------------------------------------------------------------------------------------------------

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        self.answer = None
        real, labels = first_draw(batch, pl_module, self.rows)
        game_batch = pl_module.game_batch(real, labels, iteration=trainer.global_step)
        jacobian = GameJacobian(pl_module, game_batch, self.rows_per_shard)
        vectors = self._affordable_vectors(trainer, jacobian)
        if not vectors:
            return {}
        try:
            answer = stability(
                jacobian, rule=pl_module.rule, optimizers=trainer.optimizers, vectors=vectors, thorough=self.thorough
            )
        except (TypeError, ValueError) as error:  # an optimizer or a rule whose update is not known
            self.complain(trainer, f"{error} Only eigenvalues of the Jacobian are logged.")
            found = spectrum(jacobian, k=2 * self.k, vectors=vectors)
            return _leading("game/jacobian_eigenvalue", found.values, self.k) | {"game/products": found.products}
        self.answer = answer
        if self._highest[0] < answer.lr_over_limit < math.inf:
            self._highest = answer.lr_over_limit, trainer.global_step
        self._warn(trainer, pl_module, answer)
        if self.picture:
            self._draw(trainer, answer)
        return self._values(trainer.optimizers, answer) | {"game/vectors": vectors}

    def _affordable_vectors(self, trainer: Trainer, jacobian: GameJacobian) -> int:
        n = sum(jacobian.sizes)
        each = HELD * n * jacobian.field[0].element_size() / _GIB
        vectors = min(self.vectors, n)
        most = int(self.memory / each)
        if most >= vectors:
            return vectors
        text = (
            f"a Krylov space of {vectors} vectors of {n:,} parameters takes {vectors * each:.3g} GiB, more than "
            f"memory={self.memory:g}: "
        )
        text += (
            f"{most} vectors are used, and less of the spectrum is resolved." if most else "there are no looks."
        ) + f" GameSpectrum(memory={vectors * each:.2g}) holds all, where the device has that much."
        self.complain(trainer, text)
        return most

    def _values(self, optimizers: Sequence[Optimizer], answer: Stability) -> dict[str, float]:
        limit = math.nan if answer.limit is None else answer.limit
        values = {"game/lr_over_limit": answer.lr_over_limit or math.nan, "game/limit": limit}
        for name, optimizer in zip(PLAYER_NAMES, optimizers, strict=True):
            values[f"game/largest_lr/{name}"] = limit * float(optimizer.param_groups[0]["lr"])
        values |= {
            "game/unstable": _SEVERITY.get(answer.verdict, math.nan),
            "game/radius": answer.radius,
            "game/period": math.inf if answer.binding is None else answer.period,
            "game/rotation": answer.rotation,
            "game/resolved": float(answer.resolved),
            "game/products": answer.products,
        }
        return values | _leading("game/eigenvalue", answer.exponents[answer.known_exponents], self.k)

    # --- what is made of it -----------------------------------------------------------------------------------------

    def _warn(self, trainer: Trainer, pl_module: Any, answer: Stability) -> None:
        now = situation(answer, self.warn_at)
        if now is Situation.CALM:
            if answer.lr_over_limit < _CALM * self.warn_at:
                self._said &= {Situation.ANY_RATE}  # which comes and goes in mid-training, and is said once
            return
        if now in self._said or (now is Situation.NEAR and Situation.PAST in self._said):
            return
        rates = [given_rate(optimizer) for optimizer in trainer.optimizers]
        text = words(now, answer, rates, type(pl_module.rule).__name__, pl_module.rule.period)
        warn_at(trainer.global_step, text, StabilityWarning, self)
        self._said.add(now)

    def _draw(self, trainer: Trainer, answer: Stability) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        picture = draw_spectrum(answer, trainer.global_step)
        self.path = Path(trainer.default_root_dir, "spectra", f"{trainer.global_step:06d}.png")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(self.path)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("spectrum", [picture], step=trainer.global_step)


def _leading(name: str, values: Tensor, k: int) -> dict[str, float]:
    upper = [complex(value) for value in values if value.imag >= 0][:k]
    return {
        f"{name}/{i}/{part}": number
        for i, value in enumerate(upper, 1)
        for part, number in (("real", value.real), ("imag", value.imag))
    }
