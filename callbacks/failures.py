"""How GANs fail, told from what was measured of them: rules on numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gan_modules.protocols import PLAYER_NAMES


class Observation(NamedTuple):
    """What was measured at one time.

    Attributes:
        iteration: number of iterations before it.
        values: by logged name.
    """

    iteration: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Setting:
    """What is known of a run beside its numbers, so that a remedy is not what is at work already.

    Attributes:
        loss: class name of the loss.
        rule: class name of the update rule.
        precision: as the Trainer has it.
        images: whether samples are images.
        rates: learning rates of generator and discriminator.
        parts: class names of penalties, constraint and augmentation.
    """

    loss: str = ""
    rule: str = ""
    precision: str = "32-true"
    images: bool = False
    rates: tuple[float, float] = (1e-3, 1e-3)
    parts: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Finding:
    """A failure that a run shows.

    Attributes:
        failure: its name, one of FAILURES.
        evidence: sentences with the numbers that say so.
        remedy: what to try, as flags of `gan-modules fit`.
        why: one sentence of what the remedy does.
    """

    failure: str
    evidence: tuple[str, ...]
    remedy: str
    why: str

    def __str__(self) -> str:
        return f"{self.failure}: {'; '.join(self.evidence)}. Try {self.remedy}: {self.why}."


class History:
    """Observations of a run, in order, asked for by name."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self._observations = list(observations)

    def __len__(self) -> int:
        return len(self._observations)

    def last(self, name: str) -> float | None:
        """The value of the latest look of its kind ("game" of "game/radius"); None where that look did not find it."""
        kind = name.partition("/")[0] + "/"
        for o in reversed(self._observations):
            if name in o.values or ("/" in name and any(other.startswith(kind) for other in o.values)):
                return o.values.get(name)
        return None

    def now(self, name: str) -> float | None:
        """The value at the latest observation itself."""
        return self._observations[-1].values.get(name) if self._observations else None

    def series(self, name: str) -> list[float]:
        """All values, oldest first."""
        return [o.values[name] for o in self._observations if name in o.values]

    def relative(self, name: str) -> float | None:
        """The latest value over what real samples score."""
        value, floor = self.last(name), self.last(f"{name}_floor")
        return None if value is None or not floor else value / floor

    def rises(self, name: str, by: float, looks: int = 3) -> bool:
        """Whether a value has risen over ``looks`` looks, by the share ``by`` of its largest; fallen, if negative."""
        values = self.series(name)
        if len(values) <= looks:
            return True  # that is not known yet
        change = (values[-1] - values[-1 - looks]) / max(*map(abs, values), 1e-12)
        return change > by if by > 0 else change < by

    def before(self, looks: int) -> History:
        """What was known so many observations ago."""
        return History(self._observations[:-looks] if looks else self._observations)


Rule = Callable[[History, Setting], Finding | None]


# --- thresholds -------------------------------------------------------------------------------------------------------

#: a logit or a loss of this size has lost the digits that a gradient is made of in single precision
HUGE = 1e6
#: lr / h* from which on the run is about to lose its stability
NEAR_LIMIT = 0.9
#: strength of a measured cycle, from which on it is one
CYCLE = 0.7
#: share of a turn's size that is left at the next look, below which it dies out
DECAYS = 0.7
#: share of D's slope that reaches the generator, or of the largest signal that it has had
SIGNAL = 1e-3
#: P(D(real) > D(fake)) from which on D tells every sample from every other
SEPARATES = 0.995
#: share of the gap between training rows and generated ones by which held-out rows fall short of training rows
OVERFITS = 0.2
#: share of the reals' recall below which, or multiple of a run's best Frechet distance above which, samples suffer
POOR_RECALL, WORSE = 0.5, 1.5
#: share of modes, or of the reals' diversity, below which modes are missing
MISSING = 0.75
#: share of samples between modes, above what real samples score, and precision over that of real samples
BETWEEN, IMPRECISE = 0.3, 0.5
#: change over three looks, as a share of the largest value that a run has had, by which it is still on its way: of
#: diversity, and of the share between modes
LEARNS, FADES = 0.1, 0.2
#: share of samples that are as near to training samples as few of these are to each other, above that of real samples;
#: and authenticity over that of real samples (samples that lie close together are near to training samples, too)
COPIES, AUTHENTIC = 0.1, 0.25
#: share of the reals' coverage, or multiple of their Frechet distance, past which samples are unlike the data
UNLIKE_COVERAGE, UNLIKE_DISTANCE = 0.5, 10.0


# --- rules ------------------------------------------------------------------------------------------------------------


def numerical_trouble(h: History, s: Setting) -> Finding | None:
    """Numbers that are no longer finite, or so large that their differences are rounding."""
    evidence = []
    if h.now("numbers/non_finite") or h.last("health/non_finite"):
        evidence.append("a loss, a gradient or a parameter is not finite")
    for name in ("loss/generator", "loss/discriminator", "logits/real", "logits/fake"):
        value = h.last(name)
        if value is not None and abs(value) > HUGE:
            evidence.append(f"{name} is {value:.3g}")
    if not evidence:
        return None
    if s.precision.startswith(("16", "bf16")):
        return Finding(
            "numerical trouble", tuple(evidence), "--trainer.precision 32-true",
            f"{s.precision} overflows or rounds where single precision does not",
        )  # fmt: skip
    return Finding(
        "numerical trouble", tuple(evidence), f"{_lower(s, 0.1)} --model.gradient_clip_norm 1",
        "smaller steps, none of them longer than the rate",
    )  # fmt: skip


def limit_cycle(h: History, s: Setting) -> Finding | None:
    """The players turn around each other: seen in their trajectory."""
    strength, period, sizes = h.last("health/cycle"), h.last("health/period"), h.series("health/amplitude")
    if strength is None or period is None or strength < CYCLE:
        return None
    if len(sizes) > 1 and sizes[-1] < DECAYS * sizes[-2]:  # a damped turn towards the equilibrium
        return None
    ratio = h.last("game/lr_over_limit")
    if ratio is not None and NEAR_LIMIT <= ratio < 1:  # near its limit a game that is still stable rings with the noise
        return None
    evidence = [f"the players return every {period:.3g} iterations (strength {strength:.2f} of 1)"]
    turn = h.last("game/eigenvalue/1/imag")
    if turn:
        evidence.append(f"the game's leading eigenvalue turns once in {2 * math.pi / abs(turn):.3g}")
    return Finding("limit cycle", tuple(evidence), *_damp(s))


def divergence_ahead(h: History, s: Setting) -> Finding | None:
    """The learning rates are near or past the largest stable ones."""
    ratio = h.last("game/lr_over_limit")
    if ratio is None or ratio < NEAR_LIMIT:
        return None
    evidence = [f"lr / h* = {ratio:.3g}, the learning rates over the largest stable ones"]
    radius = h.last("game/radius")
    if radius is not None and radius > 1:
        evidence.append(f"a small displacement grows by a factor {radius:.5g} an iteration")
    return Finding(
        "divergence ahead", tuple(evidence), _lower(s, 0.8 / ratio), "0.8 of the largest stable rates"
    )  # fmt: skip


def vanishing_gradient(h: History, s: Setting) -> Finding | None:
    """The generator gets next to nothing of D's slope, or of the signal that it has had, and is not there yet."""
    like = _like_the_data(h)
    if like:
        return None
    share, signals = h.last("health/signal_share"), h.series("health/signal")
    evidence = []
    if share is not None and share < SIGNAL:
        evidence.append(f"{share:.1e} of D's slope at the samples reaches the generator")
    if like is False and signals and signals[-1] < SIGNAL * max(signals):  # at an equilibrium it is to vanish
        evidence.append(f"the generator's signal is {signals[-1] / max(signals):.1e} of the largest that it has had")
    if not evidence:
        return None
    if s.loss == "Minimax":
        return Finding(
            "vanishing gradient", tuple(evidence), "--model NSGAN",
            "the non-saturating loss keeps its slope where D is sure",
        )  # fmt: skip
    return Finding(
        "vanishing gradient", tuple(evidence), "--model WGANGP", "a critic of bounded slope has no flat places"
    )  # fmt: skip


def discriminator_overpowering(h: History, s: Setting) -> Finding | None:
    """D tells every sample from every other, and the generator makes nothing of it."""
    held_out, training = h.last("health/auc/held_out"), h.last("health/auc/train")
    known = [value for value in (training, held_out) if value is not None]
    if not known or min(known) < SEPARATES or _like_the_data(h) is not False:
        return None
    too = "" if held_out is None else ", of held-out rows too"
    evidence = [f"D(real) > D(generated) for {100 * min(known):.1f} % of pairs{too}"]
    return Finding(
        "discriminator overpowering", tuple(evidence), _slower_discriminator(s),
        "a slower, damped D leaves the generator a signal",
    )  # fmt: skip


def discriminator_overfitting(h: History, s: Setting) -> Finding | None:
    """D knows the training rows by heart, held-out rows look like generated ones to it, and samples suffer."""
    value, error = h.last("health/overfitting"), h.last("health/overfitting_error")
    if value is None or value < OVERFITS or (error is not None and value < 5 * error):
        return None
    recall, distances = h.relative("recall"), h.series("fid")
    poor = recall is not None and recall < POOR_RECALL
    worse = bool(distances) and distances[-1] > WORSE * min(distances)
    if not poor and not worse and (recall is not None or distances):
        return None  # with few data every D does, and samples may be as good as they can be
    training, held_out = h.last("health/auc/train"), h.last("health/auc/held_out")
    evidence = [f"D(held-out) is {100 * value:.0f} % of the way from D(training) to D(generated)"]
    if training is not None and held_out is not None:
        evidence.append(
            f"D(real) > D(generated) for {100 * training:.0f} % of pairs of training rows, and {100 * held_out:.0f} % "
            "of held-out rows"
        )
    return Finding(
        "discriminator overfitting", tuple(evidence), _augment(s),
        "what D sees is never the same twice; or more data, or a smaller D",
    )  # fmt: skip


def mode_collapse(h: History, s: Setting) -> Finding | None:
    """Modes of the data are missing among the samples."""
    evidence = []
    for name, word in (("modes", "modes"), ("vendi", "effective number of different samples")):
        value, floor = h.last(name), h.last(f"{name}_floor")
        if value is not None and floor and value < MISSING * floor:
            evidence.append(f"{word} {value:.3g}, real samples {floor:.3g}")
    recall = h.relative("recall")
    if recall is not None and recall < POOR_RECALL:
        evidence.append(f"recall is {recall:.2f} of what real samples score")
    if len(evidence) < 2 or any(h.rises(name, LEARNS) for name in ("modes", "vendi") if h.series(name)):
        return None  # or it has yet to learn
    if s.loss.startswith("Relativistic"):
        return Finding(
            "mode collapse", tuple(evidence), "--model R1GAN",
            "pairs that are drawn anew have a barrier of their own around the collapsed state",
        )  # fmt: skip
    return Finding(
        "mode collapse", tuple(evidence), "--model R3GAN",
        "its penalties bound D's slope, which opens a way out of the collapsed state",
    )  # fmt: skip


def manifold_collapse(h: History, s: Setting) -> Finding | None:
    """Samples lie between modes, where there are no data."""
    value, floor = h.last("between"), h.last("between_floor") or 0.0
    precision = h.relative("precision")
    if value is None or value < floor + BETWEEN:
        return None
    if (precision is not None and precision > IMPRECISE) or h.rises("between", -FADES):
        return None  # few of them are far from the data, or they become fewer
    evidence = [f"{100 * value:.0f} % of samples lie between two modes, of real samples {100 * floor:.0f} %"]
    if precision is not None:
        evidence.append(f"precision is {precision:.2f} of that of real samples")
    return Finding(
        "manifold collapse", tuple(evidence), "--model.generator.width 512 --trainer.max_epochs 20",
        "a steeper generator, and a longer run, which takes some of them away",
    )  # fmt: skip


def spectral_collapse(h: History, s: Setting) -> Finding | None:
    """A layer acts in few directions only."""
    players = [name for name in PLAYER_NAMES if h.last(f"weights/{name}/spectral_collapse")]
    if not players:
        return None
    evidence = []
    for player in players:
        rank = h.last(f"weights/{player}/effective_rank_min")
        evidence.append(
            f"a layer of the {player} acts in few of its directions"
            + ("" if rank is None else f" (effective rank {rank:.2g} of what it could be)")
        )
    if "WeightClipping" in s.parts:
        return Finding(
            "spectral collapse", tuple(evidence), "--model WGANGP", "clipping drives weights to the corners of their "
            "box, where layers are of low rank",
        )  # fmt: skip
    return Finding(
        "spectral collapse", tuple(evidence), "--model.penalties+ gan_modules.penalties.Orthogonal",
        "the penalty keeps singular values together",
    )  # fmt: skip


def memorisation(h: History, s: Setting) -> Finding | None:
    """Samples repeat training rows."""
    value, floor = h.last("copies"), h.last("copies_floor") or 0.0
    authentic = h.relative("authenticity")
    if value is None or value < floor + COPIES or authentic is None or authentic > AUTHENTIC:
        return None
    evidence = [
        f"{100 * value:.0f} % of samples are as near to a training row as 1 % of these are to each other, of held-out "
        f"rows {100 * floor:.0f} %",
        f"authenticity is {authentic:.2f} of that of held-out rows",
    ]
    return Finding(
        "memorisation", tuple(evidence), _augment(s),
        "a D that never sees a row twice the same gives no reason to repeat it; or more data, or a smaller generator",
    )  # fmt: skip


#: in the order in which they are named where several hold: causes before what they cause; and how many observations in
#: a row a failure must hold at
RULES: dict[str, tuple[Rule, int]] = {
    "numerical trouble": (numerical_trouble, 1),
    "spectral collapse": (spectral_collapse, 2),
    "memorisation": (memorisation, 2),
    "discriminator overfitting": (discriminator_overfitting, 2),
    "limit cycle": (limit_cycle, 2),
    "divergence ahead": (divergence_ahead, 2),
    "vanishing gradient": (vanishing_gradient, 2),
    "mode collapse": (mode_collapse, 2),
    "discriminator overpowering": (discriminator_overpowering, 3),
    "manifold collapse": (manifold_collapse, 2),
}
FAILURES = tuple(RULES)


def diagnose(observations: Sequence[Observation], setting: Setting | None = None) -> list[Finding]:
    """Which failures the latest observations show, the first cause first; none of a run that is well."""
    setting = setting or Setting()
    history = History(observations)
    findings = []
    for rule, times in RULES.values():
        found = [rule(history.before(k), setting) for k in range(times)] if len(history) >= times else [None]
        if found[0] is not None and all(found):
            findings.append(found[0])
    return findings


# --- parts of rules ---------------------------------------------------------------------------------------------------


def _like_the_data(h: History) -> bool | None:
    """Whether samples are like the data, as far as it is known."""
    coverage, distance = h.relative("coverage"), h.relative("fid")
    if coverage is None and distance is None:
        return None
    return (coverage is None or coverage > UNLIKE_COVERAGE) and (distance is None or distance < UNLIKE_DISTANCE)


def _lower(s: Setting, factor: float) -> str:
    """Flags for both learning rates times ``factor``."""
    return " ".join(
        f"--model.{player}_optimizer.lr {factor * rate:.2g}" for player, rate in zip(PLAYER_NAMES, s.rates, strict=True)
    )


def _augment(s: Setting) -> str:
    return f"--model.augmentation+ gan_modules.augmentation.{'DiffAugment' if s.images else 'InstanceNoise'}"


def _slower_discriminator(s: Setting) -> str:
    return f"--model R1GAN --model.discriminator_optimizer.lr {s.rates[1] / 4:.2g}"


def _damp(s: Setting) -> tuple[str, str]:
    if "R1" not in s.parts and s.rule in ("Extragradient", "Optimistic", "Consensus", "SymplecticAdjustment"):
        return "--model R1GAN", "the penalty damps the rotation"
    return "--model.rule gan_modules.rules.Extragradient", "it damps the rotation; or a larger gamma of R1 or R2"
