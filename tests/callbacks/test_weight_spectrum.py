"""What WeightSpectrum finds in networks whose weights are known."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from layer_recipes import dense
from recipes import VARIANTS, make, parameters, point, quiet_trainer, ring, toy, weights_on_ranks
from torch import Tensor, nn
from workers import GlooPool

from callbacks import WeightSpectrum
from callbacks.diagnostic import DiagnosticWarning
from gan_modules import NSGAN, GANModule
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator

ONCE = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}


def look(model: GANModule, batch: Any = None, **kwargs: Any) -> tuple[dict[str, float], WeightSpectrum]:
    """What is found of a model as it is, without an iteration before."""
    trainer = quiet_trainer()
    model.trainer = trainer
    spectrum = WeightSpectrum(**kwargs)
    batch = torch.randn(64, 2, generator=torch.Generator().manual_seed(3)) if batch is None else batch
    return spectrum.look_now(trainer, model, batch), spectrum


def linear_layers(model: GANModule) -> dict[str, nn.Linear]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and "ema" not in n}


def test_values_are_those_of_the_weights_at_each_validation() -> None:
    model = make("R3GAN")
    spectrum = WeightSpectrum(k=2, budget=None)
    trainer = quiet_trainer(callbacks=[spectrum], **ONCE)
    trainer.fit(model, ring())
    assert spectrum.iteration == 2
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    layers = linear_layers(model)
    assert {n for n in logged if n.startswith("sigma/") and not n.endswith("/2")} == {f"sigma/{n}" for n in layers}
    for name, layer in layers.items():
        values = torch.linalg.svdvals(layer.weight.detach())
        assert logged[f"sigma/{name}"] == pytest.approx(float(values[0]), rel=1e-5)
        assert logged.get(f"sigma/{name}/2") == (pytest.approx(float(values[1]), rel=1e-5) if len(values) > 1 else None)
    for player in ("generator", "discriminator"):
        spectra = [torch.linalg.svdvals(m.weight.detach()) for n, m in layers.items() if n.startswith(player)]
        ranks = [float((s.square().sum() / s[0].square()) / len(s)) for s in spectra]
        assert logged[f"weights/{player}/stable_rank_min"] == pytest.approx(min(ranks), rel=1e-5)
        collapsed = [float((s < 0.1 * s[0]).float().mean()) for s in spectra]
        assert logged[f"weights/{player}/collapsed"] == pytest.approx(max(collapsed))
    assert logged["weights/seconds"] > 0


def test_training_is_the_same_with_and_without() -> None:
    def trained(*callbacks: Any) -> dict[str, Tensor]:
        model = make("SNGAN")
        quiet_trainer(callbacks=list(callbacks), max_steps=4, limit_val_batches=0).fit(model, ring())
        return parameters(model) | {name: b.clone() for name, b in model.named_buffers()}

    without = trained()
    spectrum = WeightSpectrum(every_n_steps=1, budget=None, full=True)
    for name, value in trained(spectrum).items():
        assert torch.equal(value, without[name]), name
    assert spectrum.latest


@pytest.mark.parametrize("name", VARIANTS)
def test_any_game_between_networks_has_values_before_its_first_iteration(name: str) -> None:
    model = make(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = {key: module.training for key, module in model.named_modules()}
    labels = torch.arange(64) % 8
    values, _ = look(model, (torch.randn(64, 2), labels))
    assert {n for n in values if n.startswith("weights/")} >= {
        f"weights/{player}/{what}"
        for player in ("generator", "discriminator")
        for what in ("stable_rank_min", "effective_rank_min", "collapsed", "spectral_collapse", "lipschitz_lower")
    }
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {key: module.training for key, module in model.named_modules()} == modes
    assert all(p.grad is None for p in model.parameters())


def test_toy_games_have_no_layers() -> None:
    spectrum = WeightSpectrum(every_n_steps=1, budget=None)
    quiet_trainer(callbacks=[spectrum], limit_val_batches=0).fit(toy("DiracGAN"), point())
    assert spectrum.latest == {}


def test_two_processes_log_the_same_and_all_but_the_measured_slopes_as_one(gloo: GlooPool) -> None:
    alone = weights_on_ranks(0, 1)
    first, second = gloo(weights_on_ranks)
    assert alone.keys() == first.keys() == second.keys()
    for name in alone.keys() - {"weights/seconds", "weights/share"}:
        assert first[name] == second[name], name
        if not name.endswith("lipschitz_lower"):  # a mean over processes of what each one's rows say
            assert first[name] == pytest.approx(alone[name], rel=1e-6), name


@pytest.fixture
def convolutional() -> GANModule:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = DCGANGenerator((1, 8, 8), latent_dim=6, width=4)
        return NSGAN(generator, DCGANDiscriminator((1, 8, 8), width=4, normalization="batch"))


def test_convolutions_are_the_operators_that_they_are(convolutional: GANModule) -> None:
    values, spectrum = look(convolutional, torch.rand(32, 1, 8, 8))
    shapes = {"discriminator.downsample.0": (1, 8, 8), "generator.upsample.2": (4, 4, 4)}
    for name, shape in shapes.items():
        layer = copy.deepcopy(convolutional.get_submodule(name)).double()
        truth = torch.linalg.svdvals(dense(layer, shape))
        found = spectrum.layers[name]
        assert values[f"sigma/{name}"] == pytest.approx(float(truth[0]), rel=1e-4)
        assert values[f"sigma/{name}/3"] == pytest.approx(float(truth[2]), rel=1e-4)
        assert found.size == len(truth)
        assert found.stable_rank == pytest.approx(float((truth / truth[0]).square().sum()), rel=2e-4)
        assert found.spectrum is not None
        assert not found.spectrum.exact
    for player in ("generator", "discriminator"):
        assert 0 < values[f"weights/{player}/lipschitz_lower"] <= values[f"weights/{player}/lipschitz_upper"]


def test_large_layers_have_their_whole_spectrum_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callbacks.weight_spectrum._MULTIPLICATIONS", 100)
    model = make("NSGAN")
    dear, spectrum = look(model)
    assert spectrum.layers["generator.hidden.2"].spectrum is None
    assert spectrum.layers["discriminator.head.linear"].spectrum is not None  # 8 x 1
    full, _ = look(model, full=True)
    assert full["weights/generator/effective_rank_min"] < 1
    for name in dear.keys() - {"weights/seconds", "weights/share"}:
        if name.startswith("sigma") or "stable" in name or "lipschitz" in name:
            assert dear[name] == pytest.approx(full[name], rel=1e-4), name


def test_critics_of_constrained_layers_have_the_bounds_that_they_should() -> None:
    model = make("SNGAN")
    for _ in range(200):
        model.discriminator.train()(torch.zeros(2, 2))  # the power iterations settle
    values, _ = look(model)
    assert values["weights/discriminator/lipschitz_upper"] == pytest.approx(1, abs=1e-3)
    assert values["weights/discriminator/lipschitz_lower"] <= 1


def test_a_collapsed_layer_is_flagged_and_a_value_that_grows_is_not() -> None:
    def with_spectrum(spectrum: Tensor) -> dict[str, float]:
        torch.manual_seed(0)
        model = NSGAN(MLPGenerator((2,), latent_dim=3, width=64), MLPDiscriminator((2,), width=64))
        layer = model.discriminator.hidden[2]
        left, _, right = torch.linalg.svd(layer.weight.detach())
        layer.weight.data = left @ spectrum.diag() @ right
        return look(model)[0]

    def flags(values: dict[str, float]) -> tuple[float, float]:
        return values["weights/generator/spectral_collapse"], values["weights/discriminator/spectral_collapse"]

    few = torch.where(torch.arange(64) < 4, 1.0, 0.01)
    collapsed = with_spectrum(few)
    assert flags(collapsed) == (0, 1)
    assert collapsed["weights/discriminator/collapsed"] == pytest.approx(60 / 64)
    p = few.double() / few.double().sum()
    rank = float(torch.special.entr(p).sum().exp()) / 64
    assert collapsed["weights/discriminator/effective_rank_min"] == pytest.approx(rank, rel=1e-3)
    outlier = torch.linspace(2, 0.1, 64)
    outlier[0] = 20
    grown = with_spectrum(outlier)
    assert flags(grown) == (0, 0)
    assert grown["weights/discriminator/stable_rank_min"] < 0.05
    assert grown["weights/discriminator/collapsed"] > 0.9


def test_networks_at_initialisation_are_far_from_collapse(convolutional: GANModule) -> None:
    torch.manual_seed(0)
    model = NSGAN(MLPGenerator((1, 8, 8)), MLPDiscriminator((1, 8, 8)))
    for healthy in (model, convolutional):
        values, _ = look(healthy, torch.rand(32, 1, 8, 8))
        for player in ("generator", "discriminator"):
            assert values[f"weights/{player}/effective_rank_min"] > 0.7
            assert values[f"weights/{player}/collapsed"] < 0.25


def test_frozen_layers_act_too_and_layers_that_are_not_reached_do_not() -> None:
    model = make("NSGAN")
    model.generator.requires_grad_(False)
    model.generator.unused = nn.Linear(3, 3)
    values, spectrum = look(model)
    assert "sigma/generator.hidden.0" in values
    assert "generator.unused" not in spectrum.layers
    assert not any(p.requires_grad for p in model.generator.hidden.parameters())


def test_a_layer_of_zeros_has_rank_zero() -> None:
    model = make("NSGAN")
    nn.init.zeros_(model.discriminator.hidden[2].weight)
    values, _ = look(model)
    assert values["weights/discriminator/effective_rank_min"] == 0
    assert values["weights/discriminator/stable_rank_min"] == 0
    assert values["weights/discriminator/lipschitz_upper"] == 0


def test_weights_that_are_not_finite_are_named_and_the_run_goes_on() -> None:
    model = make("NSGAN")
    model.discriminator.hidden[2].weight.data[0, 0] = math.nan
    with pytest.warns(DiagnosticWarning, match=r"discriminator\.hidden\.2\.weight is not finite.*Lower the"):
        values, _ = look(model)
    assert values == {}


@pytest.mark.parametrize(("kwargs", "named"), [({"k": 0}, "k=0"), ({"collapse": 1.0}, "collapse=1.0")])
def test_arguments_out_of_range_are_named(kwargs: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        WeightSpectrum(**kwargs)
