"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor

from callbacks.failures import Finding
from callbacks.metrics.base import SampleMetric
from callbacks.report.curves import Curve


@dataclass
class Record:
    """What is known of a checkpoint, in whatever part it is known; a report shows what is there.

    Attributes:
        title: names the run.
        facts: what was looked at: model, data, iteration, versions.
        findings: the diagnosis, the first cause first; None where there was none made.
        command: `gan-modules fit --config ...`, to which a remedy is appended.
        values: all numbers that were found, by logged name.
        floors: of quantities of samples, what real samples score.
        looks: seconds that each measurement took, by its name.
        missing: why something could not be measured, by its name.
        left_out: which metrics say nothing of such samples, and why.
        curves: of the run, by logged name.
        samples, reals: generated and held-out samples in data space, (N, *shape).
        modes: shares of samples and of the data in each mode.
        metrics: that saw the samples.
        diagnostics: that looked at the game.
        config: the run's configuration, YAML.
    """

    title: str = "A run"
    facts: Mapping[str, object] = field(default_factory=dict)
    findings: Sequence[Finding] | None = None
    command: str = "gan-modules fit"
    values: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    looks: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    samples: Tensor | None = None
    reals: Tensor | None = None
    modes: tuple[Sequence[float], Sequence[float]] | None = None
    metrics: Sequence[SampleMetric] = ()
    diagnostics: Sequence[Callback] = ()
    config: str = ""

    def diagnostic(self, name: str) -> Any:
        """The diagnostic of that class, or None where it did not look."""
        found = (d for d in self.diagnostics if type(d).__name__ == name and name not in self.missing)
        return next(found, None)
