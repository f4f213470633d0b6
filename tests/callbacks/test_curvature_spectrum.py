"""What CurvatureSpectrum logs, against closed forms, and that training does not notice it."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from recipes import TOYS, VARIANTS, curvature_on_ranks, make, networks, parameters, point, quiet_trainer, ring, toy
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from workers import GlooPool

from callbacks import CurvatureSpectrum
from callbacks.diagnostic import DiagnosticWarning
from gan_modules import NSGAN, GANModule
from gan_modules.dynamics import GameJacobian, SpectralDensity, dense
from gan_modules.losses import Wasserstein
from gan_modules.networks import MLPGenerator

pytestmark = pytest.mark.filterwarnings("ignore")
QUIET: dict[str, Any] = {"num_sanity_val_steps": 0, "limit_val_batches": 0, "max_steps": 1}


def look(model: Any, callback: CurvatureSpectrum | None = None, data: Any = None, **kwargs: Any) -> dict[str, float]:
    """What is found after one iteration, by its name without the prefix."""
    callback = callback or CurvatureSpectrum(every_n_steps=1, budget=None)
    quiet_trainer(callbacks=[callback], **(QUIET | kwargs)).fit(model, data or ring())
    return {name.removeprefix("curvature/"): value for name, value in callback.latest.items()}


def standing(cls: Any, *networks: nn.Module, **kwargs: Any) -> GANModule:
    """A GAN in float64 that learns nothing."""
    still = partial(torch.optim.SGD, lr=0.0)
    gan: GANModule = cls(*networks, generator_optimizer=still, discriminator_optimizer=still, ema_decay=0, **kwargs)
    return gan.double()


class Scales(nn.Module):
    """G(z) = (a z_1, b z_2)."""

    latent_dim = 2

    def __init__(self, a: float = 1.0, b: float = 0.5) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.tensor([a, b]))

    def forward(self, z: Tensor) -> Tensor:
        return z * self.scales


class Bowl(nn.Module):
    """D(x) = -(c_1 x_1^2 + c_2 x_2^2) / 2."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.tensor([first, second]))

    def forward(self, x: Tensor) -> Tensor:
        return -(self.c * x.square()).sum(1) / 2


class Seen(Callback):
    """Keeps the batch of latents and real rows that the look used."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        real = batch if isinstance(batch, Tensor) else batch[0]
        self.batch = pl_module.game_batch(real, iteration=trainer.global_step)


@pytest.mark.parametrize("name", [*VARIANTS, *TOYS])
def test_every_game_can_be_looked_at(name: str) -> None:
    is_toy = name in TOYS
    callback = CurvatureSpectrum(every_n_steps=1, budget=None, vectors=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DiagnosticWarning)
        values = look(toy(name) if is_toy else make(name), callback, point() if is_toy else ring())
    expected = {f"{player}/{what}" for player in ("generator", "discriminator") for what in ("max", "min", "flat")}
    if not is_toy:
        expected |= {"jacobian/sigma_1", "jacobian/sigma_min", "jacobian/effective_rank", "jacobian/alive"}
        expected |= {"smoothness", "generator/diversity_flat"}
    assert expected | {"seconds", "share"} <= values.keys()
    assert all(math.isfinite(value) for value in values.values())
    for player in ("generator", "discriminator"):
        assert values[f"{player}/min"] <= values[f"{player}/max"]
        assert 0 <= values[f"{player}/negative"] + values[f"{player}/flat"] <= 1 + 1e-9
        assert isinstance(callback.density[player], SpectralDensity)


def test_the_blocks_of_a_quadratic_game() -> None:
    values = look(toy("LinearQuadraticGame"), data=point())
    assert values["generator/max"] == pytest.approx(0.2)
    assert values["generator/min"] == pytest.approx(0.1)
    assert values["discriminator/max"] == values["discriminator/min"] == pytest.approx(0.4)
    assert values["discriminator/sharpness_ratio"] == pytest.approx(1)
    assert values["generator/negative"] == values["generator/flat"] == 0
    assert values["generator/residual"] < 1e-12


def test_a_network_has_its_dense_eigenvalues() -> None:
    model = make("NSGAN")
    seen = Seen()
    callback = CurvatureSpectrum(every_n_steps=1, budget=None, vectors=40)
    quiet_trainer(callbacks=[seen, callback], precision="64-true", **QUIET).fit(model, ring())
    matrix = -dense(GameJacobian(model, seen.batch)).matrix
    split = sum(p.numel() for p in model.generator.parameters())
    for player, block in (("generator", matrix[:split, :split]), ("discriminator", matrix[split:, split:])):
        exact = torch.linalg.eigvalsh((block + block.T) / 2)
        values = {name: callback.latest[f"curvature/{player}/{name}"] for name in ("max", "min", "negative", "flat")}
        assert values["max"] == pytest.approx(float(exact[-1]), abs=1e-6)
        assert values["min"] == pytest.approx(float(exact[0]), abs=1e-6)
        edge = 0.05 * float(exact.abs().max())
        assert values["negative"] == pytest.approx(float((exact < -edge).double().mean()), abs=0.15)
        assert values["flat"] == pytest.approx(float((exact.abs() <= edge).double().mean()), abs=0.25)


def test_diversity_grows_along_the_flat_direction_of_a_canyon() -> None:
    """L_G = c a^2 E z_1^2 / 2: the loss resists a, and knows nothing of b."""
    model = standing(GANModule, Scales(), Bowl(2.0, 0.0), loss=Wasserstein())
    seen = Seen()
    callback = CurvatureSpectrum(every_n_steps=1, budget=None, step=0.1)
    quiet_trainer(callbacks=[seen, callback], precision="64-true", **QUIET).fit(model, ring())
    values = callback.latest
    z, real = seen.batch.z, seen.batch.real
    variances = z.var(0, correction=0).tolist()
    spread = float(real.var(0, correction=0).sum())
    move = 0.1 * math.sqrt(1.25)
    assert values["curvature/generator/max"] == pytest.approx(2 * float(z[:, 0].square().mean()))
    assert values["curvature/generator/min"] == pytest.approx(0, abs=1e-12)
    flat, sharp = ((s + move) ** 2 - s**2 for s in (0.5, 1.0))
    assert values["curvature/generator/diversity_flat"] == pytest.approx(flat * variances[1] / spread)
    assert values["curvature/generator/diversity_sharp"] == pytest.approx(sharp * variances[0] / spread)
    slope = torch.tensor([variances[0], 0.5 * variances[1]])
    assert values["curvature/generator/diversity_curvature"] == pytest.approx(
        float(slope[0] ** 2 / slope.square().sum())
    )


def test_the_generators_singular_values_are_those_of_its_matrix() -> None:
    callback = CurvatureSpectrum(every_n_steps=1, budget=None, samples=5)
    model = standing(GANModule, Scales(3.0, 0.25), Bowl(1.0, 1.0), loss=Wasserstein())
    values = look(model, callback, precision="64-true")
    assert values["jacobian/sigma_1"] == pytest.approx(3)
    assert values["jacobian/sigma_min"] == pytest.approx(0.25)
    assert values["jacobian/alive"] == 1  # a tenth of the largest
    p = torch.tensor([12 / 13, 1 / 13])
    assert values["jacobian/effective_rank"] == pytest.approx(float(torch.special.entr(p).sum().exp()))
    assert callback.singular_values is not None
    assert callback.singular_values.shape == (5, 2)


def test_a_generator_of_one_point_has_no_direction_alive() -> None:
    class Point(Scales):
        def forward(self, z: Tensor) -> Tensor:
            return 0 * z + self.scales

    values = look(standing(GANModule, Point(), Bowl(1.0, 1.0), loss=Wasserstein()), precision="64-true")
    assert [values[f"jacobian/{name}"] for name in ("sigma_1", "sigma_min", "effective_rank", "alive")] == [0.0] * 4
    assert "generator/diversity_flat" not in values


def test_smoothness_of_a_plane_and_of_a_bowl() -> None:
    class Plane(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 1)

    assert look(standing(GANModule, Scales(), Plane(), loss=Wasserstein()), precision="64-true")["smoothness"] < 1e-9
    model = standing(GANModule, Scales(), Bowl(1.0, 1.0), loss=Wasserstein())
    seen = Seen()
    callback = CurvatureSpectrum(every_n_steps=1, budget=None)
    quiet_trainer(callbacks=[seen, callback], precision="64-true", **QUIET).fit(model, ring())
    real = seen.batch.real  # grad D = -x, so a step changes it by its length
    radius = float(real.var(0, correction=0).sum().sqrt())
    size = float(real.square().sum(1).mean().sqrt())
    assert callback.latest["curvature/smoothness/real"] == pytest.approx(radius / size, rel=1e-6)
    assert callback.latest["curvature/smoothness"] == pytest.approx(1, rel=0.5)


def test_memory_bounds_the_vectors_which_is_said_once() -> None:
    n = sum(p.numel() for p in networks("NSGAN")["discriminator"].parameters())
    callback = CurvatureSpectrum(every_n_steps=1, budget=None, memory=3.5 * n * 4 / 2**30)
    with pytest.warns(DiagnosticWarning) as caught:
        look(make("NSGAN"), callback, max_steps=3)
    texts = [str(w.message) for w in caught if issubclass(w.category, DiagnosticWarning)]
    assert sum("3, not 12 vectors of the discriminator" in text for text in texts) == 1
    assert len(callback.ritz["discriminator"][0]) == 3


def test_frozen_networks_leave_the_hessians_out() -> None:
    class Frozen(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            pl_module.generator.requires_grad_(False)

    callback = CurvatureSpectrum(every_n_steps=1, budget=None)
    with pytest.warns(DiagnosticWarning, match="no Hessians: no parameter of the generator is trained"):
        quiet_trainer(callbacks=[Frozen(), callback], **QUIET).fit(make("NSGAN"), ring())
    assert "curvature/smoothness" in callback.latest
    assert "curvature/generator/max" not in callback.latest


def test_a_game_past_its_numbers_is_named() -> None:
    class Spoil(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            next(pl_module.discriminator.parameters()).data.fill_(torch.nan)

    callback = CurvatureSpectrum(every_n_steps=1, budget=None)
    with pytest.warns(DiagnosticWarning, match="is not finite"):
        quiet_trainer(callbacks=[Spoil(), callback], **QUIET).fit(make("NSGAN"), ring())
    assert not callback.latest


def layered() -> NSGAN:
    """Layers that draw, that count, and that iterate."""
    torch.manual_seed(0)
    discriminator = nn.Sequential(
        spectral_norm(nn.Linear(2, 16)), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1)
    )
    generator = MLPGenerator((2,), latent_dim=3, width=16, depth=2)
    return NSGAN(generator, discriminator)


def test_training_is_the_same_bit_for_bit() -> None:
    runs = []
    for callbacks in ([], [CurvatureSpectrum(every_n_steps=1, budget=None)]):
        model = layered()
        torch.manual_seed(1)
        trainer = quiet_trainer(callbacks=callbacks, **(QUIET | {"max_steps": 3}))
        trainer.fit(model, ring())
        gradients = {f"grad/{name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        modes = {f"mode/{name}": torch.tensor(m.training) for name, m in model.named_modules()}
        runs.append(parameters(model) | gradients | buffers | modes | {"rng": torch.get_rng_state()})
    without, with_it = runs
    assert without.keys() == with_it.keys()
    for name, value in without.items():
        assert torch.equal(value, with_it[name]), name


def test_two_processes_see_the_joined_batch(gloo: GlooPool) -> None:
    alone = curvature_on_ranks(0, 1)
    first, second = gloo(curvature_on_ranks)
    assert {"curvature/generator/diversity_flat", "curvature/smoothness", "curvature/jacobian/alive"} <= alone.keys()
    for name in alone.keys() - {"curvature/seconds", "curvature/share"}:
        assert first[name] == second[name], name
        if "jacobian" not in name:  # each process takes latents of its own: twice as many
            assert first[name] == pytest.approx(alone[name], rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize(
    "argument", [{"vectors": 0}, {"rows": 0}, {"samples": 0}, {"flat": 0.0}, {"step": 1.0}, {"memory": 0.0}]
)
def test_arguments_are_checked(argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        CurvatureSpectrum(**argument)
