"""What WeightSpectrum finds in networks whose weights are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recipes import CLASSES, TOYS, make, parameters, point, quiet_trainer, ring, toy
from torch import Tensor, nn

from callbacks import WeightSpectrum
from gan_modules import GANModule

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
        values = torch.linalg.svdvals(layer.weight)
        assert logged[f"sigma/{name}"] == pytest.approx(float(values[0]), rel=1e-5)
        assert logged.get(f"sigma/{name}/2") == (pytest.approx(float(values[1]), rel=1e-5) if len(values) > 1 else None)
    for player in ("generator", "discriminator"):
        spectra = [torch.linalg.svdvals(m.weight) for n, m in layers.items() if n.startswith(player)]
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


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(TOYS)))
def test_any_game_between_networks_has_values_before_its_first_iteration(name: str) -> None:
    if not issubclass(CLASSES[name], GANModule) or name == "GANModule":
        pytest.skip("no networks of its own")
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
