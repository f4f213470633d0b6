"""The study of manifold collapse: what it judges, that runs are kept, and that longer runs begin as shorter ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from datamodules.seeding import keyed_generator
from studies import hybrids, manifold_collapse
from studies.__main__ import main
from studies.hybrids import LOOKS, Task, between, rarest, ring, trained
from studies.manifold_collapse import averages, training

PAIR = (3, 5)


def mixed(task: Task, share: float) -> Tensor:
    """Samples of the data, but for a share that lies half way between two modes."""
    generator = keyed_generator("mixed", task.seed, task.loss)
    if isinstance(task.data, float):
        x, modes = ring(task.data).truth.sample(task.samples, generator)
        means = ring(task.data).truth.means  # type: ignore[attr-defined]
        half = (means[modes] + means[(modes + 1) % 8]) / 2
    else:
        images, half = training(task.data)[0], averages(task.data)
        x = images[torch.randint(len(images), (task.samples,), generator=generator)]
        half = half[torch.randint(len(half), (task.samples,), generator=generator)]
    hybrid = torch.rand(len(x), generator=generator) < share
    return torch.where(hybrid.view(-1, *[1] * (x.ndim - 1)), half, x)


@pytest.fixture
def status(tmp_path, monkeypatch) -> Callable[..., int]:
    """A function (share of hybrids by task and look) -> exit status of the study, with stand-ins for trained GANs."""

    def run(share: Callable[[Task, float], float], draw: bool = False, **parameters: object) -> int:
        monkeypatch.setattr(
            manifold_collapse, "trained", lambda task, root: [mixed(task, share(task, look)) for look in LOOKS]
        )
        if not draw:
            monkeypatch.setattr(manifold_collapse.ManifoldCollapseStudy, "figure", lambda self, findings: None)
        settings = {"seeds": 3, "overlaps": (1e-6, 0.3), "ring_samples": 600, "digit_samples": 200}
        settings |= {"losses": ("NSGAN",), "pairs": (PAIR,), "longer": 0} | parameters
        return main(["manifold_collapse", "--out", str(tmp_path), *(f"--set={k}={v!r}" for k, v in settings.items())])

    return run


def as_found(task: Task, look: float) -> float:
    """Fewer with overlap and with time, more on digits, and never none."""
    return 0.3 * look**-0.3 * (1 if not isinstance(task.data, float) else max(0.0, 1 - task.data / 0.3))


def test_what_was_found_holds_and_is_drawn(status):
    assert status(as_found, draw=True, pairs=(PAIR, (0, 1)), longer=4) == 0


def test_perfect_generators_fail_the_claim(status):
    assert status(lambda task, look: 0.0) == 1


def test_hybrids_that_do_not_go_away_fail_the_claim(status):
    assert status(lambda task, look: as_found(task, 1.0)) == 1


def test_more_hybrids_with_more_overlap_fail_the_claim(status):
    assert status(lambda task, look: 0.3 - as_found(task, look) if isinstance(task.data, float) else 0.3) == 1


def test_an_unknown_loss_is_named(status, capsys):
    assert status(as_found, losses=("LSGAN",)) == 1


@pytest.mark.parametrize("data", [0.01, PAIR], ids=["ring", "digits"])
def test_the_share_of_hybrids_is_measured(data):
    task = Task("NSGAN", data, 0, 500, 1000)
    none, half = (between(data, mixed(task, share)) for share in (0.0, 0.5))
    assert half - none == pytest.approx(0.47 if data == 0.01 else 0.42, abs=0.06)


def test_lost_modes_are_told():
    x, modes = ring(0.01).truth.sample(4000, keyed_generator("lost"))
    assert rarest(0.01, x) > 0.7
    assert rarest(0.01, x[modes > 0]) < 0.1
    images, labels = training(PAIR)
    assert rarest(PAIR, images) > 0.9
    assert rarest(PAIR, images[labels == 0]) < 0.1


@pytest.mark.parametrize("data", [0.01, PAIR], ids=["ring", "digits"])
def test_a_run_is_kept_and_is_the_beginning_of_a_longer_one(data, tmp_path, monkeypatch):
    short = trained(Task("R1GAN", data, 3, 2, 20), tmp_path / "short")
    longer = trained(Task("R1GAN", data, 3, 4, 20), tmp_path / "longer")
    assert [len(x) for x in short] == [20, 20, 20]
    torch.testing.assert_close(short[1:], longer[:2])  # iterations 2 and 4
    assert not torch.equal(longer[1], longer[2])
    monkeypatch.setattr(hybrids, "_fit", lambda task: pytest.fail("trained again"))
    torch.testing.assert_close(trained(Task("R1GAN", data, 3, 2, 20), tmp_path / "short"), short)
