"""GradientHealth: closed forms of small games, what D knows by construction, and a training that does not notice."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from recipes import health_on_ranks, make, parameters, point, quiet_trainer, ring, toy
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from workers import GlooPool

from callbacks import GameSpectrum, GradientHealth
from callbacks.dead_units import dead_units
from callbacks.judgement import auc, overfitting
from gan_modules import NSGAN, DiracGAN, GANModule
from gan_modules.losses import AdversarialLoss, Minimax, NonSaturating, Wasserstein
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1
from gan_modules.rules import Simultaneous

pytestmark = pytest.mark.filterwarnings("ignore")
QUIET: dict[str, Any] = {"num_sanity_val_steps": 0, "limit_val_batches": 0}
#: a validation after two iterations
VALIDATED: dict[str, Any] = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}


def sgd(lr: float) -> dict[str, Any]:
    made = partial(torch.optim.SGD, lr=lr)
    return {"generator_optimizer": made, "discriminator_optimizer": made}


def health(model: Any, data: Any, steps: int = 2, **kwargs: Any) -> dict[str, float]:
    """What is logged of an iteration."""
    callback = GradientHealth(every_n_steps=steps, budget=None)
    quiet_trainer(callbacks=[callback], **{**QUIET, "max_steps": steps, **kwargs}).fit(model, data)
    return {name.removeprefix("health/"): value for name, value in callback.latest.items()}


# --- the cycle --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("past", "tolerance"), [(1.01, 0.02), (1.05, 0.05), (1.1, 0.1)])
def test_the_dirac_gans_measured_period_is_the_predicted_one(past: float, tolerance: float) -> None:
    model = DiracGAN(Minimax(), [R1(0.3)], theta=0.05, rule=Simultaneous(), **sgd(1.2 * past))
    spectrum, callback = GameSpectrum(budget=None, picture=False), GradientHealth(budget=None)
    at = {"max_steps": 400, "num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 400}
    quiet_trainer(callbacks=[spectrum], **VALIDATED).fit(model, point())  # two iterations from the equilibrium
    quiet_trainer(callbacks=[callback], **at).fit(model, point())
    assert callback.latest["health/cycle"] > 0.9
    assert callback.latest["health/period"] == pytest.approx(spectrum.latest["game/period"], rel=tolerance)
    assert abs(callback.latest["health/amplitude"] - 1) < 0.5  # the equilibrium is at 0, and all else is the cycle
    assert "a cycle of" in callback.summary


def test_below_the_limit_nothing_returns() -> None:
    values = health(DiracGAN(Minimax(), [R1(0.3)], rule=Simultaneous(), **sgd(0.9)), point(), 200)
    assert values["cycle"] < 0.5
    assert "period" not in values


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating(), Wasserstein()], ids=lambda loss: type(loss).__name__)
def test_the_signal_is_the_closed_form(loss: AdversarialLoss) -> None:
    model = DiracGAN(loss, [R1(0.3)], theta=1.5, psi=-2.0, rule=Simultaneous(), **sgd(1e-12))
    values = health(model, point())
    sigmoid = 1 / (1 + math.exp(3.0))  # the logit is -3
    share = {Minimax: sigmoid, NonSaturating: 1 - sigmoid, Wasserstein: 1.0}[type(loss)]
    assert values["signal_share"] == pytest.approx(share, rel=1e-5)
    assert values["signal"] == pytest.approx(2 * share, rel=1e-5)
    assert values["grad_norm/generator"] == pytest.approx(2 * share, rel=1e-5)
    # d/dpsi of L_D's fake term and of R1, (gamma/2) psi^2
    fake = 1.5 * (sigmoid if type(loss) is not Wasserstein else 1.0)
    assert values["grad_norm/discriminator"] == pytest.approx(abs(fake - 0.6), rel=1e-5)
    assert values["non_finite"] == 0


def test_the_signal_does_not_depend_on_the_batch_size() -> None:
    rows = ring(train_size=64).load("train")[0][:16]
    found = []
    for copies in (1, 4):
        model = make("NSGAN", **sgd(1e-12))
        model.latents = lambda random: torch.ones(random.rows, 3)  # type: ignore[method-assign]
        found.append(health(model, DataLoader(TensorDataset(rows.repeat(copies, 1)), batch_size=16 * copies), 1))
    assert found[0]["signal"] == pytest.approx(found[1]["signal"], rel=1e-5)


def test_updates_are_measured_against_the_weights() -> None:
    torch.manual_seed(0)
    model = NSGAN(MLPGenerator((2,), latent_dim=3, width=64), MLPDiscriminator((2,), width=64), **sgd(0.1))
    trail: list[list[Tensor]] = []

    class Trail(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            trail.append(
                [torch.cat([p.detach().flatten() for p in player.parameters()]) for player in pl_module.players]
            )

    values = health(model, ring(), 5)
    model.trainer.callbacks.append(Trail())  # type: ignore[attr-defined]
    torch.manual_seed(0)
    model = NSGAN(MLPGenerator((2,), latent_dim=3, width=64), MLPDiscriminator((2,), width=64), **sgd(0.1))
    quiet_trainer(callbacks=[Trail()], max_steps=5, **QUIET).fit(model, ring())
    for player, name in enumerate(("generator", "discriminator")):
        path = torch.stack([positions[player] for positions in trail])
        steps = path.diff(dim=0)
        exact = float(steps.square().sum(1).mean().sqrt() / path[-1].norm())
        assert values[f"update_ratio/{name}"] == pytest.approx(exact, rel=0.5)
        cosines = nn.functional.cosine_similarity(steps[1:], steps[:-1])
        assert values[f"cosine/{name}"] == pytest.approx(float(cosines.mean()), abs=0.2)


def test_the_path_of_plain_descent_is_straight_and_of_rotation_is_not() -> None:
    straight = health(
        toy("LinearQuadraticGame", jacobian=[[-1.0, 0.0], [0.0, -1.0]], first_size=1, **sgd(0.01)), point(), 5
    )
    assert straight["path_angle"] == pytest.approx(1.0, abs=1e-6)
    turning = health(toy("BilinearGame", matrix=[[1.0]], rule=Simultaneous(), **sgd(math.pi / 2 / 50)), point(), 50)
    # a quarter of a turn: its chord and the tangent at its end are 45 degrees apart
    assert turning["path_angle"] == pytest.approx(math.sqrt(0.5), abs=0.05)
    assert "signal" not in turning
    assert "dead/generator" not in turning


@pytest.mark.parametrize("activation", ["relu", "in place", "function", "leaky", "tanh"])
def test_units_that_no_row_reaches_are_dead(activation: str) -> None:
    act: dict[str, nn.Module] = {
        "relu": nn.ReLU(), "in place": nn.ReLU(inplace=True), "leaky": nn.LeakyReLU(0.2), "tanh": nn.Tanh(),
        "function": Rectify(),
    }  # fmt: skip
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), act[activation], nn.Flatten(), nn.Linear(16, 6), act[activation], nn.Linear(6, 3)
    )
    with torch.no_grad():
        network[0].bias[:3] = -1e3
        network[3].bias[0] = -1e3
    share = dead_units(network, network, [torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)])
    assert share == pytest.approx(0.0 if activation == "leaky" else 4 / 10)
    assert dead_units(nn.Linear(2, 2), nn.Identity(), [torch.zeros(1, 2)]) is None


class Rectify(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_numbers_that_are_not_finite_are_told_and_nothing_fails(where: str) -> None:
    class Broken(NSGAN):
        def player_loss(self, player: int, batch: Any) -> Tensor:
            loss = super().player_loss(player, batch)
            return loss * math.inf if where == "loss" else loss + (loss - loss.detach()).abs().sqrt()

    torch.manual_seed(0)
    values = health(Broken(MLPGenerator((2,), latent_dim=3, width=8), MLPDiscriminator((2,), width=8)), ring())
    assert values["non_finite"] == 1
    assert all(map(math.isfinite, values.values()))


# --- what D knows -----------------------------------------------------------------------------------------------------


class Knows(nn.Module):
    """D that has learnt rows by heart: 1 at those, -1 at all others; a parameter so that it can be trained."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Buffer(rows)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        near = (x[:, None] == self.rows).all(2).any(1)
        return self.scale * torch.where(near, 1.0, -1.0) + 0 * x.sum(1)


def test_a_discriminator_that_knows_its_rows_by_heart_overfits() -> None:
    data = ring(train_size=600, val_size=600)
    model = NSGAN(MLPGenerator((2,), latent_dim=3, width=8), Knows(data.load("train")[0]), **sgd(1e-12))
    values = health(model, data)
    assert values["auc/train"] == 1
    assert values["auc/held_out"] == 0.5
    assert (values["accuracy/train"], values["accuracy/held_out"], values["accuracy/fake"]) == (1, 0, 1)
    assert values["overfitting"] == pytest.approx(1)
    assert values["overfitting_error"] < 1e-6


def test_one_that_judges_by_place_does_not() -> None:
    values = health(make("NSGAN", **sgd(0.05)), ring(train_size=600, val_size=600), 50)
    assert abs(values["overfitting"]) < 4 * values["overfitting_error"]
    assert abs(values["auc/train"] - values["auc/held_out"]) < 0.1


def test_the_error_of_the_overfitting_is_its_spread() -> None:
    numbers = np.random.default_rng(0).standard_normal((4000, 3, 400))
    found = []
    for sample in numbers:
        train, held_out, fake = sample[0] + 3, 2 * sample[1] + 1, sample[2]
        rows = {"train": train, "held_out": held_out, "fake": fake}
        found.append(overfitting({n: x.mean() for n, x in rows.items()}, {n: x.var() / 400 for n, x in rows.items()}))
    ratios, errors = np.array(found).T
    assert ratios.mean() == pytest.approx(2 / 3, abs=0.01)
    assert errors.mean() == pytest.approx(ratios.std(), rel=0.05)
    assert math.isnan(overfitting(dict.fromkeys(rows, 1.0), dict.fromkeys(rows, 1.0))[0])


def test_auc_counts_ties_half() -> None:
    assert auc(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])) == 3.5 / 4


def test_without_held_out_rows_there_is_no_overfitting() -> None:
    rows = ring().load("train")[0]
    values = health(make("NSGAN"), DataLoader(TensorDataset(rows), batch_size=8))
    assert "auc/train" in values
    assert not [name for name in values if "held_out" in name or "overfitting" in name]


@pytest.mark.parametrize("name", ["PacGAN", "MMDGAN", "FeatureMatchingGAN", "ConditionalGAN", "FisherGAN", "SNGAN"])
def test_variants_are_judged_by_their_critics(name: str) -> None:
    values = health(make(name), ring())
    for key in ("signal", "auc/train", "auc/held_out", "overfitting", "grad_norm/generator", "dead/discriminator"):
        assert math.isfinite(values[key])
    assert ("signal_share" in values) is (name != "FeatureMatchingGAN")


# --- a training that does not notice ----------------------------------------------------------------------------------


def moody() -> NSGAN:
    """Layers that draw, that count, and that iterate."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 8))
    discriminator = nn.Sequential(first, nn.BatchNorm1d(8), nn.Dropout(0.3), nn.LeakyReLU(), nn.Linear(8, 1))
    return NSGAN(generator, discriminator, latent_dim=3)


def state(model: GANModule) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("when", [{}, {"every_n_steps": 1}], ids=["at validations", "every step"])
def test_training_is_the_same_with_and_without(when: dict[str, int]) -> None:
    ends = []
    for callbacks in ([], [GradientHealth(budget=None, **when)]):
        model = moody()
        quiet_trainer(callbacks=callbacks, max_steps=5, **VALIDATED).fit(model, ring())
        ends.append(state(model) | {"random": torch.rand(3)})
    assert callbacks[0].latest
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


def test_a_look_leaves_modes_gradients_and_buffers() -> None:
    model, callback = moody(), GradientHealth(every_n_steps=100)

    class Watch(Callback):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            modes = {name: m.training for name, m in pl_module.named_modules()}
            gradients = {name: None if p.grad is None else p.grad.clone() for name, p in pl_module.named_parameters()}
            before = state(pl_module)
            assert callback.look_now(trainer, pl_module, batch)
            assert modes == {name: m.training for name, m in pl_module.named_modules()}
            assert all(p.requires_grad for player in pl_module.players for p in player.parameters())
            for name, p in pl_module.named_parameters():
                was = gradients[name]
                assert (p.grad is None) == (was is None)
                assert was is None or torch.equal(was, p.grad)
            for name, tensor in state(pl_module).items():
                assert torch.equal(tensor, before[name])

    quiet_trainer(callbacks=[callback, Watch()], max_steps=2, **QUIET).fit(model, ring())


def test_before_a_validation_the_networks_are_asked_in_the_mode_they_train_in() -> None:
    found = []
    for callback in (GradientHealth(budget=None), GradientHealth(every_n_steps=2, budget=None)):
        model = moody()
        model.discriminator[2].p = 0.0
        quiet_trainer(callbacks=[callback], max_steps=2, **VALIDATED).fit(model, ring())
        found.append({k: v for k, v in callback.latest.items() if k not in ("health/seconds", "health/share")})
    assert found[0] == found[1]


def test_a_resumed_run_measures_anew(tmp_path: Path) -> None:
    model = make("NSGAN")
    trainer = quiet_trainer(callbacks=[GradientHealth(every_n_steps=2, budget=None)], max_steps=4, **QUIET)
    trainer.fit(model, ring())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    callback = GradientHealth(every_n_steps=2, budget=None)
    resumed = make("NSGAN")
    quiet_trainer(callbacks=[callback], max_steps=6, **QUIET).fit(resumed, ring(), ckpt_path=str(tmp_path / "a.ckpt"))
    assert callback.iteration == 6
    assert callback.latest["health/update_ratio/generator"] > 0
    straight = make("NSGAN")
    quiet_trainer(max_steps=6, **QUIET).fit(straight, ring())
    for name, tensor in parameters(straight).items():
        assert torch.equal(tensor, parameters(resumed)[name])


def test_a_player_that_is_frozen_has_no_gradient(tmp_path: Path) -> None:
    model = make("NSGAN")
    model.generator.input.requires_grad_(False)
    for parameter in model.generator.hidden.parameters():
        parameter.requires_grad_(False)
    values = health(model, ring(), 3)
    assert values["grad_norm/generator"] > 0
    assert values["update_ratio/generator"] > 0


def test_processes_agree_and_see_the_whole_batch(tmp_path: Path) -> None:
    alone = health_on_ranks(0, 1)
    pool = GlooPool(tmp_path)
    try:
        first, second = pool(health_on_ranks)
    finally:
        pool.close()
    timed = ("health/seconds", "health/share")
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in second.items() if k not in timed}
    assert first.keys() == alone.keys()
    for name in ("grad_norm/generator", "grad_norm/discriminator", "signal", "update_ratio/generator", "path_angle"):
        assert first[f"health/{name}"] == pytest.approx(alone[f"health/{name}"], rel=1e-5)
    assert first["health/accuracy/train"] == pytest.approx(alone["health/accuracy/train"], abs=0.1)
