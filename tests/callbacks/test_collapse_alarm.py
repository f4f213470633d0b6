"""The collapse alarm speaks once a change, keeps the state from before, and leaves noise alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from recipes import collapse_on_ranks, make, quiet_trainer, ring
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from workers import GlooPool

from callbacks import CollapseAlarm, SampleMetrics
from callbacks.collapse_alarm import CollapseWarning
from callbacks.collapse_rule import CollapseRule, sampling_error
from callbacks.metrics import Pixels

pytestmark = pytest.mark.filterwarnings("ignore")
N = 1000
RULE = {"threshold": 6.0, "least_drop": 0.25}


class Scripted(LightningModule):
    """Logs, at each validation, what the script says next; its weight counts iterations."""

    def __init__(self, **script: Sequence[float]) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        self.script = script
        self.register_buffer("evaluations", torch.tensor(0))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(batch[0]).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        for name, values in self.script.items():
            self.log(name, values[int(self.evaluations)])
        self.evaluations += 1

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1.0)


def trainer(root: Path, *callbacks: Any, **kwargs: Any) -> Trainer:
    every = {"check_val_every_n_epoch": None, "val_check_interval": 1, "num_sanity_val_steps": 1}
    return quiet_trainer(default_root_dir=root, callbacks=list(callbacks), **every, **kwargs)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(1, 1)))


def fitted(root: Path, alarm: CollapseAlarm, ckpt_path: str | None = None, steps: int | None = None, **script: Any):
    """The trainer after a scripted run, and the alarm's warnings: (iteration, text)."""
    model = Scripted(**script)
    t = trainer(root, alarm, max_steps=steps or len(next(iter(script.values()))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        t.fit(model, loader(), loader(), ckpt_path=ckpt_path, weights_only=False)
    return t, [(w.lineno, str(w.message)) for w in caught if issubclass(w.category, CollapseWarning)]


def iteration(path: Path) -> int:
    return int(torch.load(path, weights_only=False)["global_step"])


# --- the rule ---------------------------------------------------------------------------------------------------------


def alarms(values: Sequence[float], **kwargs: Any) -> list[int]:
    """Evaluations at which the rule goes from calm to collapsed."""
    rule, found = CollapseRule(**RULE), []
    for i, value in enumerate(values):
        before = rule.collapsed
        rule.see({"coverage": value}, **kwargs)
        if rule.collapsed and not before:
            found.append(i)
    return found


def test_noise_alone_does_not_alarm() -> None:
    rng = np.random.default_rng(0)
    shares = rng.binomial(N, 0.8, (50, 40)) / N
    assert not any(alarms(run, n=N) for run in shares)
    rough = np.clip(rng.normal(0.6, 0.06, (50, 40)), 0, 1)  # fluctuates by far more than samples do
    assert sum(bool(alarms(run, n=N)) for run in rough) <= 1
    slow = np.clip(0.9 - 0.004 * np.arange(40) + rng.normal(0, 0.01, 40), 0, 1)  # less than least_drop
    assert not alarms(slow, n=N)


def test_a_drop_alarms_at_its_evaluation_however_it_comes() -> None:
    assert alarms([0.1, 0.5, 0.8, 0.8, 0.8, 0.3, 0.1], n=N) == [5]
    crept = [0.8] * 5 + [0.8 - 0.03 * i for i in range(20)]  # a running mean would follow it
    assert alarms(crept, n=N) == [12]
    assert crept[12] < 0.75 * 0.8 < crept[11]


def test_recovery_ends_it_and_a_second_drop_is_news() -> None:
    assert alarms([0.8] * 5 + [0.2] * 3 + [0.8] * 4 + [0.2] * 3, n=N) == [5, 12]
    hardly = [0.8] * 5 + [0.2, 0.6, 0.2, 0.6, 0.2]  # 0.6 is not back yet
    assert alarms(hardly, n=N) == [5]


def test_who_never_learnt_has_nothing_to_lose() -> None:
    assert not alarms([0.0] * 20, n=N)
    early = [0.2] * 6 + [0.05]
    assert alarms(early, n=N) == [6]
    assert not alarms(early, n=N, floors={"coverage": 0.97})
    assert alarms([*early, *[0.5] * 6, 0.1], n=N, floors={"coverage": 0.97}) == [13]
    assert not alarms(np.random.default_rng(0).binomial(N, 0.002, 40) / N, n=N)
    rule = CollapseRule(**RULE)  # a diffuse generator has diversity, and covers next to nothing
    for vendi in (17.0, 17.0, 17.0, 3.0):
        rule.see({"vendi": vendi, "coverage": 0.05}, N, {"vendi": 17.0, "coverage": 0.97})
    assert not rule.collapsed


def test_a_diffuse_generator_may_come_down_to_the_data() -> None:
    diffuse = [20.0] * 5 + [12.0] * 10
    assert alarms(diffuse, n=N) == [5]
    assert not alarms(diffuse, n=N, floors={"coverage": 13.0})
    assert alarms([*diffuse, 3.0], n=N, floors={"coverage": 13.0}) == [15]


def test_sampling_errors_are_those_of_counts() -> None:
    rng = np.random.default_rng(0)
    assert sampling_error(0.3, N) == pytest.approx(float((rng.binomial(N, 0.3, 20_000) / N).std()), rel=0.02)
    assert 0 < sampling_error(0.0, N) < 2 / N
    weights = np.array([0.5, 0.3, 0.1, 0.05, 0.05])
    p = rng.multinomial(N, weights, 20_000) / N
    numbers = np.exp(-(p * np.log(np.where(p > 0, p, 1))).sum(1))
    assert numbers.std() < sampling_error(float(numbers.mean()), N) < 3 * numbers.std()  # a bound


def test_several_quantities_may_have_to_agree() -> None:
    one, both = {"a": 0.1, "b": 0.8}, {"a": 0.1, "b": 0.1}
    for agree, collapsed in ((1, [True, True]), (2, [False, True])):
        rule = CollapseRule(**RULE, agree=agree)
        for _ in range(4):
            rule.see({"a": 0.8, "b": 0.8}, N)
        assert [bool(rule.see(values, N)) and rule.collapsed for values in (one, both)] == collapsed
        assert rule.fallen == ["a", "b"]


def test_what_is_not_finite_says_nothing() -> None:
    assert not alarms([0.8, 0.8, 0.8, float("nan"), 0.8], n=N)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.0}, "threshold=0.0"),
        ({"least_drop": 1.0}, "least_drop=1.0"),
        ({"agree": 0}, "agree=0"),
        ({"agree": 3}, "agree=3"),
        ({"learnt": 1.5}, "learnt=1.5"),
        ({"window": 1}, "window=1"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"monitor": []}, "monitor"),
        ({"monitor": ["a", "a"], "agree": 1}, "monitor"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        CollapseAlarm(**wrong)


# --- in a run ---------------------------------------------------------------------------------------------------------

FALLS = [0.2, 0.8, 0.81, 0.8, 0.8, 0.3, 0.1, 0.8, 0.8, 0.1]


def alarm(**kwargs: Any) -> CollapseAlarm:
    return CollapseAlarm(**{"monitor": ["coverage"], "n_samples": N, **RULE, **kwargs})


def test_each_change_is_said_once_with_the_evidence(tmp_path: Path) -> None:
    t, said = fitted(tmp_path, alarm(), coverage=FALLS)
    assert [at for at, _ in said] == [6, 8, 10]
    path = tmp_path / "checkpoints" / "before_collapse.ckpt"
    for part in ("coverage 0.8 -> 0.3 (noise 0.0", "of iteration 5", str(path)):
        assert part in said[0][1]
    assert "\n" not in said[0][1]
    assert "recovered" in said[1][1]
    assert float(t.callback_metrics["collapse/alarm"]) == 1
    assert float(t.callback_metrics["collapse/coverage"]) == pytest.approx(1 - 0.1 / 0.8)


def test_the_checkpoint_from_before_is_the_last_good_one(tmp_path: Path) -> None:
    fitted(tmp_path / "one", alarm(), coverage=FALLS[:7])
    assert iteration(tmp_path / "one" / "checkpoints" / "before_collapse.ckpt") == 5
    assert not (tmp_path / "one" / "checkpoints" / "healthy.ckpt").exists()
    halfway = [*FALLS[:5], 0.65, 0.1]  # too small a drop to alarm, too large to be trusted
    fitted(tmp_path / "two", alarm(), coverage=halfway)
    assert iteration(tmp_path / "two" / "checkpoints" / "before_collapse.ckpt") == 5
    fitted(tmp_path / "none", alarm(keep=False), coverage=FALLS)
    assert not list((tmp_path / "none").glob("checkpoints/*"))


def test_it_ends_the_run_if_asked_to(tmp_path: Path) -> None:
    t, said = fitted(tmp_path, alarm(stop=True), coverage=FALLS)
    assert (t.global_step, len(said)) == (6, 1)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """The drop comes right after the run is continued, and only what was seen before tells that it is one."""
    first = alarm()
    t, said = fitted(tmp_path, first, coverage=FALLS, steps=5)
    t.save_checkpoint(tmp_path / "stopped.ckpt")
    assert not said
    _, said = fitted(tmp_path, alarm(), ckpt_path=str(tmp_path / "stopped.ckpt"), coverage=FALLS)
    assert [at for at, _ in said] == [6, 8, 10]
    assert "of iteration 5" in said[0][1]


def test_one_can_train_on_from_before(tmp_path: Path) -> None:
    fitted(tmp_path, alarm(stop=True), coverage=FALLS)
    before = str(tmp_path / "checkpoints" / "before_collapse.ckpt")
    t, said = fitted(tmp_path, alarm(), ckpt_path=before, coverage=[0.8] * 10)
    assert (t.global_step, said) == (10, [])


def test_a_name_that_nobody_logs_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="recall not logged by validation; there are coverage"):
        fitted(tmp_path, alarm(monitor=["coverage", "recall"]), coverage=FALLS)


def test_only_fitting_counts(tmp_path: Path) -> None:
    a = alarm(monitor=["nothing"])
    t = trainer(tmp_path, a)
    t.validate(Scripted(coverage=FALLS), loader(), verbose=False)


def test_loggers_get_it_in_the_row_of_the_validation(tmp_path: Path) -> None:
    model, logger = Scripted(coverage=FALLS), CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer(tmp_path, alarm(), max_steps=len(FALLS), logger=logger).fit(model, loader(), loader())
    rows = [line.split(",") for line in Path(logger.log_dir, "metrics.csv").read_text().splitlines()]
    at = {name: rows[0].index(name) for name in ("step", "coverage", "collapse/alarm", "collapse/coverage")}
    by_step: dict[str, dict[str, str]] = {}
    for row in rows[1:]:
        by_step.setdefault(row[at["step"]], {}).update({name: row[i] for name, i in at.items() if row[i]})
    assert [by_step[str(i)]["collapse/alarm"] for i in range(10)] == [f"{x:.1f}" for x in [0] * 5 + [1, 1, 0, 0, 1]]
    assert [float(by_step[str(i)]["coverage"]) for i in range(10)] == pytest.approx(FALLS)


def test_it_reads_what_sample_metrics_logged(tmp_path: Path) -> None:
    a = CollapseAlarm(monitor=["high_quality"])
    model, data = make("NSGAN"), ring()
    t = trainer(tmp_path, a, SampleMetrics(Pixels(), n_samples=64), max_steps=4)
    t.fit(model, data)
    assert len(a.rule.state_dict()["courses"]["high_quality"]["recent"]) == 4
    assert a._samples(t) == 64


def test_all_processes_decide_alike(gloo: GlooPool, tmp_path: Path) -> None:
    alone, *both = collapse_on_ranks(0, 1, str(tmp_path / "one")), *gloo(collapse_on_ranks, str(tmp_path / "two"))
    assert alone == (5, [(0.0, None)] * 4 + [(1.0, 4)])
    assert both == [alone, alone]
    for run in ("one", "two"):
        assert [path.name for path in (tmp_path / run / "checkpoints").iterdir()] == ["before_collapse.ckpt"]


@pytest.mark.slow
def test_what_it_keeps_can_be_sampled_from_the_command_line(command: Any, tmp_path: Path) -> None:
    (tmp_path / "alarm.yaml").write_text(
        "trainer:\n  callbacks:\n    - class_path: callbacks.SampleMetrics\n"
        "      init_args: {n_samples: 64, extractor: {class_path: callbacks.metrics.Pixels}}\n"
        "    - class_path: callbacks.CollapseAlarm\n      init_args: {monitor: [coverage]}\n"
    )
    recipe = Path(__file__).parents[2] / "configs" / "ring" / "nsgan.yaml"
    small = "--data.epoch_iterations 3 --data.train_size 256 --trainer.max_epochs 1 --trainer.default_root_dir run"
    command("fit", "--config", recipe, "--config", "alarm.yaml", "--wandb", "off", *small.split())
    command("sample", "--ckpt_path", "run/checkpoints/healthy.ckpt", "--n", "10", "--out", "samples.npz")
    assert np.load(tmp_path / "samples.npz")["samples"].shape == (10, 2)


def test_a_second_run_of_one_alarm_starts_anew(tmp_path: Path) -> None:
    alarm = CollapseAlarm(n_samples=N, **RULE)
    fitted(tmp_path / "good", alarm, coverage=[0.9] * 5)
    _, said = fitted(tmp_path / "poor", alarm, coverage=[0.2] * 5)
    assert said == []
    assert alarm.path is None
