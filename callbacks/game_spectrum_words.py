"""What to say of a game's stability, and what helps."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from enum import Enum

from gan_modules.dynamics import Stability

#: rules that damp a rotation, so that there is no use in recommending one where one is at work
_DAMPING = ("Extragradient", "Optimistic", "Consensus", "SymplecticAdjustment", "CompetitiveGradient", "Lookahead")


class Situation(Enum):
    """What a run is told about."""

    CALM = "calm"
    NEAR = "near the limit"
    PAST = "past the limit"
    CIRCLING = "neither grows nor shrinks"
    ANY_RATE = "unstable at any rate"


def situation(answer: Stability, warn_at: float) -> Situation:
    """Which of them a verdict is."""
    if answer.verdict.startswith("unstable"):
        return Situation.PAST if math.isfinite(answer.lr_over_limit) else Situation.ANY_RATE
    if answer.verdict == "neutral":
        return Situation.CIRCLING if answer.resolved and math.isfinite(_turn(answer)) else Situation.CALM
    return Situation.NEAR if answer.lr_over_limit >= warn_at else Situation.CALM


def words(now: Situation, answer: Stability, rates: Sequence[float], rule: str, period: int) -> str:
    """One sentence with the number, one with the remedy.

    Args:
        now: what to speak of.
        answer: the numbers.
        rates: the players' learning rates as they were given, before any schedule.
        rule: name of the update rule.
        period: its iterations for each application of the multipliers.
    """
    ratio = f"lr / h* = {answer.lr_over_limit:.3g}"
    growth = f"a small displacement grows by a factor {answer.radius:.5g} an iteration ({_e_fold(answer)})"
    if now is Situation.ANY_RATE and not _flow_grows(answer):
        return (
            f"no learning rate is stable for {rule}: the field turns and does not damp, so that {growth}. "
            f"Lower rates only slow it; damp the rotation: {_damp(rule)}."
        )
    if now is Situation.ANY_RATE:
        return (
            f"no learning rate is stable around the present parameters: {growth}. That is common in mid-training, "
            "where the players are on their way and at no equilibrium; lower rates only slow it."
        )
    if now is Situation.CIRCLING:
        turn = period * _turn(answer)
        return (
            f"the run circles its equilibrium: a small displacement turns once in {turn:.3g} iterations and neither "
            f"grows nor shrinks. Damp the rotation: {_damp(rule)}."
        )
    loss = {
        "Neimark-Sacker": f"training cycles, with a period of about {answer.period:.3g} iterations",
        "flip": "every step overshoots and changes the sign of the displacement",
        "real": "the players drift apart",
    }[answer.kind or "real"]
    helps = _lower(answer, rates) + (
        f", or damp the rotation: {_damp(rule)}" if answer.kind == "Neimark-Sacker" else ""
    )
    if now is Situation.PAST:
        return f"{ratio}: the learning rates are past the largest stable ones, so that {loss}; {growth}. {helps}."
    return f"{ratio}: the learning rates are near the largest stable ones, past which {loss}. {helps}."


def _turn(answer: Stability) -> float:
    """Applications of the update in which the largest multiplier that turns does so once."""
    turning = [complex(value) for value in answer.multipliers if value.imag > 1e-6 * abs(value)]
    return 2 * math.pi / cmath.phase(turning[0]) if turning else math.inf


def _flow_grows(answer: Stability) -> bool:
    """Whether infinitely small steps would grow, too."""
    return bool(answer.exponents.real.max() > 1e-6 * answer.exponents.abs().max())


def _e_fold(answer: Stability) -> str:
    return f"e-fold in {1 / math.log(answer.radius):.3g}" if answer.radius > 1 else "barely"


def _lower(answer: Stability, rates: Sequence[float]) -> str:
    share = 0.8 * (answer.limit or 0.0)  # where a displacement still shrinks at a fair pace
    generator, discriminator = (f"{share * rate:.2g}" for rate in rates)
    return (
        f"Lower the learning rates (--model.generator_optimizer.lr {generator} "
        f"--model.discriminator_optimizer.lr {discriminator})"
    )


def _damp(rule: str) -> str:
    more = "more damping by a penalty (a larger gamma of R1 or R2)"
    if rule in _DAMPING:
        return more
    return f"--model.rule gan_modules.rules.Extragradient, or {more}"
