"""Where the game turns, how fast, and at which learning rate it starts to cycle."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from callbacks.game_spectrum_picture import draw_spectrum
from callbacks.game_spectrum_words import Situation, situation, words
from callbacks.warn import warn_at
from gan_modules.dynamics import GameJacobian, NotTwiceDifferentiableError, Stability, spectrum, stability
from gan_modules.protocols import PLAYER_NAMES, Game

#: share of ``warn_at`` below which a later rise is news again
_CALM = 0.8
#: what is logged as game/unstable
_SEVERITY = {"stable": 0.0, "neutral": 0.0, "unstable": 1.0, "unstable at any rate": 2.0}


class StabilityWarning(UserWarning):
    """What GameSpectrum found that a user may want to act on."""


class GameSpectrum(Callback):
    """Every few iterations, asks of the batch just trained on whether the module's own rule and optimizers are stable.

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
    - ``game/products``, ``game/seconds``: what it cost.

    A picture of the spectrum goes to ``spectra/<iteration>.png`` in the run's directory and to the loggers as
    ``spectrum``. A warning with the number and the remedy is given before the run starts to cycle, and when it is past
    that, once until it is calm again; nothing stops. Training is the same, bit for bit, with and without this callback.

    Cost of one look: up to 128 numbers (parameters and momenta) one product with the Jacobian for each parameter;
    beyond that 5 to 20 times ``vectors`` products, and ``vectors`` vectors of the parameters' size. A product costs
    about two gradients of both players. On the digits quickstart (0.3 million parameters, 64 rows, one core) a look
    takes 6 to 20 s, as long as one or two thousand iterations; half the ``vectors``, half the time. A picture takes
    0.3 s.

    Args:
        every_n_steps: iterations between two looks.
        k: how many leading eigenvalues are logged.
        vectors: dimension of the Krylov spaces.
        rows: at most so many real rows on each process; all of the iteration's first draw if None.
        warn_at: lr / h* from which on to warn.
        picture: whether to draw.
    """

    def __init__(
        self,
        every_n_steps: int = 1000,
        k: int = 5,
        vectors: int = 40,
        rows: int | None = None,
        warn_at: float = 0.9,
        picture: bool = True,
    ) -> None:
        for name, value in {"every_n_steps": every_n_steps, "k": k, "vectors": vectors, "rows": rows}.items():
            if value is not None and value < 1:
                raise ValueError(f"GameSpectrum({name}={value}): must be at least 1.")
        if not 0 < warn_at <= 1:
            raise ValueError(f"GameSpectrum(warn_at={warn_at}): a share of the largest stable rate, in (0, 1].")
        self.every_n_steps, self.k, self.vectors, self.rows = every_n_steps, k, vectors, rows
        self.warn_at = warn_at
        self.picture = picture
        self.path: Path | None = None
        #: the latest answer, and the iteration after which it was given
        self.latest: Stability | None = None
        self.iteration = 0
        self._highest = (0.0, 0)
        self._said: set[Situation] = set()
        self._complaints: set[str] = set()
        self._off = False

    @property
    def summary(self) -> str:
        """The highest lr / h* of the run, and the latest."""
        if self.latest is None:
            return "no look yet"
        ratio, verdict = self.latest.lr_over_limit, self.latest.verdict
        last = f"{ratio:.3g}, {verdict}" if math.isfinite(ratio) else verdict
        highest, iteration = self._highest
        return f"highest {highest:.3g}, after {iteration} iterations; last {last}" if highest else last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        missing = [name for name in ("game_batch", "rule") if not hasattr(pl_module, name)]
        if not isinstance(pl_module, Game) or missing:
            raise TypeError(
                f"GameSpectrum needs a game: two players, player_loss, an update rule and game_batch, as every "
                f"GameModule has; {type(pl_module).__name__} has none."
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_steps or self._off or trainer.global_step == 0:
            return
        began = time.perf_counter()
        with _random_state_kept(pl_module.device):
            values = self._look(trainer, pl_module, batch)
        if values:
            self._log(trainer, pl_module, values | {"game/seconds": time.perf_counter() - began})

    # --- a look -----------------------------------------------------------------------------------------------------

    def _look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        """What is logged; nothing where the game is past its numbers."""
        real, labels = _first_draw(batch, pl_module, self.rows)
        self.latest = None
        try:
            game_batch = pl_module.game_batch(real, labels, iteration=trainer.global_step)
            jacobian = GameJacobian(pl_module, game_batch)
            try:
                answer = stability(jacobian, rule=pl_module.rule, optimizers=trainer.optimizers, vectors=self.vectors)
            except (TypeError, ValueError) as error:  # an optimizer or a rule whose update is not known
                self._complain(f"{error} Only eigenvalues of the Jacobian are logged.", trainer.global_step)
                return self._eigenvalues_alone(jacobian)
        except NotTwiceDifferentiableError as error:
            self._off = True
            self._complain(f"no more looks in this run: {error}", trainer.global_step)
            return {}
        except FloatingPointError as error:
            self._complain(str(error), trainer.global_step)
            return {}
        self.latest, self.iteration = answer, trainer.global_step
        if self._highest[0] < answer.lr_over_limit < math.inf:
            self._highest = answer.lr_over_limit, trainer.global_step
        self._warn(trainer, pl_module, answer)
        if self.picture:
            self._draw(trainer, answer)
        return self._values(trainer.optimizers, answer)

    def _eigenvalues_alone(self, jacobian: GameJacobian) -> dict[str, float]:
        found = spectrum(jacobian, k=2 * self.k, vectors=self.vectors)
        return _leading("game/jacobian_eigenvalue", found.values, self.k) | {"game/products": float(found.products)}

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
        values |= _leading("game/eigenvalue", answer.exponents[answer.known_exponents], self.k)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    # --- what is made of it -----------------------------------------------------------------------------------------

    def _log(self, trainer: Trainer, pl_module: LightningModule, values: dict[str, float]) -> None:
        # for callbacks that monitor; loggers get them now, whatever log_every_n_steps is
        pl_module.log_dict(values, logger=False, batch_size=1)
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **values}, step=trainer.global_step - 1)

    def _warn(self, trainer: Trainer, pl_module: Any, answer: Stability) -> None:
        now = situation(answer, self.warn_at)
        if now is Situation.CALM:
            if answer.lr_over_limit < _CALM * self.warn_at:
                self._said &= {Situation.ANY_RATE}  # which comes and goes in mid-training, and is said once
            return
        if now in self._said or (now is Situation.NEAR and Situation.PAST in self._said):
            return
        rates = [float(optimizer.param_groups[0]["lr"]) for optimizer in trainer.optimizers]
        text = words(now, answer, rates, type(pl_module.rule).__name__, pl_module.rule.period)
        warn_at(trainer.global_step, text, StabilityWarning, self)
        self._said.add(now)

    def _complain(self, text: str, iteration: int) -> None:
        if text not in self._complaints:
            warn_at(iteration, text, StabilityWarning, self)
        self._complaints.add(text)

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


def _first_draw(batch: Any, pl_module: Any, rows: int | None) -> tuple[Tensor, Tensor | None]:
    """Real rows and labels of the first of the iteration's draws, at most ``rows``."""
    real, labels = (batch, None) if isinstance(batch, Tensor) else (batch[0], batch[1] if len(batch) == 2 else None)
    n = len(real) // getattr(pl_module, "draws", 1)
    n = n if rows is None else min(n, rows)
    return real[:n], None if labels is None else labels[:n]


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """Layers of chance draw from the global generators: put those back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
