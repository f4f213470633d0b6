"""The GAN module: two paths to one gradient, the average, sampling, clipping, schedules, conditions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from recipes import VARIANTS, make, parameters, parts, quiet_trainer, ring
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gan_modules import NSGAN, R3GAN, WGANGP, Adam, GANModule
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.losses import Hinge
from gan_modules.networks import DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, Sampler
from gan_modules.rules import Alternating
from gan_modules.strategies import refuse_unsupported

pytestmark = pytest.mark.filterwarnings("ignore")


def a_batch(model: GANModule, n: int = 6) -> GameBatch:
    random = RandomRows(0, 0, 0, 0, n, n, torch.device("cpu"))
    return GameBatch(random.normal("real", (2,)), model.latents(random), random)


class Gradients:
    """Calls ``gradient`` without a trainer."""

    def __init__(self, model: GANModule, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = model
        monkeypatch.setattr(model, "manual_backward", lambda loss, inputs: loss.backward(inputs=inputs))

    def __call__(self, player: int, batch: GameBatch, shared: bool = False) -> list[Tensor]:
        self.model.gradient(player, batch, shared=shared)
        return [p.grad.clone() for p in self.model.players[player].parameters() if p.grad is not None]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_training_path_has_the_gradient_of_the_pure_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(name)
    assert isinstance(model, Game)
    assert isinstance(model, Sampler)
    batch, gradient = a_batch(model), Gradients(model, monkeypatch)
    pure = [
        torch.autograd.grad(
            model.player_loss(player, batch), list(model.players[player].parameters()), allow_unused=True
        )
        for player in (GENERATOR, DISCRIMINATOR)
    ]
    for found, expected in (
        (gradient(DISCRIMINATOR, batch, shared=True), pure[DISCRIMINATOR]),
        (gradient(GENERATOR, batch), pure[GENERATOR]),  # on the kept forward
        (gradient(GENERATOR, batch), pure[GENERATOR]),  # on one of its own
        (gradient(DISCRIMINATOR, batch), pure[DISCRIMINATOR]),
    ):
        for one, other in zip(found, [g for g in expected if g is not None], strict=True):
            torch.testing.assert_close(one, other)


def test_a_gradient_reaches_its_player_only_and_builds_nothing_to_throw_away(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("WGANGP")
    batch, gradient = a_batch(model), Gradients(model, monkeypatch)
    graphs: list[bool] = []
    forwards = model.generator.register_forward_hook(lambda m, i, out: graphs.append(out.requires_grad))
    gradient(DISCRIMINATOR, batch)
    assert graphs == [False]  # D's step alone: no graph of G
    assert all(p.grad is None for p in model.generator.parameters())
    gradient(DISCRIMINATOR, batch, shared=True)
    kept = [p.grad for p in model.discriminator.parameters()]
    gradient(GENERATOR, batch)
    assert graphs == [False, True]  # one forward served both
    assert all(p.grad is k for p, k in zip(model.discriminator.parameters(), kept, strict=True))
    assert all(p.requires_grad for player in model.players for p in player.parameters())
    forwards.remove()


@pytest.mark.parametrize("cls", [WGANGP, R3GAN])
def test_the_pure_path_keeps_mixed_second_derivatives(cls: type[GANModule]) -> None:
    """d/d theta of the discriminator's gradient, which a Jacobian needs, against a central difference."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Linear(2, 2).double()
        discriminator = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    model = cls(generator, discriminator, latent_dim=2).double()
    random = RandomRows(0, 0, 0, 0, 5, 5, torch.device("cpu"))
    batch = GameBatch(random.normal("real", (2,)).double(), random.normal("z", (2,)).double(), random)
    psi, theta = discriminator[0].weight, generator.weight

    def slope() -> Tensor:
        (g,) = torch.autograd.grad(model.player_loss(DISCRIMINATOR, batch), psi, create_graph=True)
        return g[0, 0]

    (mixed,) = torch.autograd.grad(slope(), theta)
    eps = 1e-6
    with torch.no_grad():
        theta[0, 1] += eps
    up = slope()
    with torch.no_grad():
        theta[0, 1] -= 2 * eps
    difference = (up - slope()) / (2 * eps)
    assert abs(float(mixed[0, 1])) > 1e-5
    torch.testing.assert_close(mixed[0, 1], difference.detach(), rtol=1e-5, atol=1e-8)


def test_the_average_follows_its_recursion() -> None:
    model = make("NSGAN", ema_decay=0.7)
    expected = [p.detach().clone() for p in model.generator.parameters()]

    class Follow(nn.Module):
        pass

    from lightning.pytorch import Callback

    class Recursion(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            t = trainer.global_step
            decay = min(0.7, (1 + t) / (10 + t))
            for e, p in zip(expected, model.generator.parameters(), strict=True):
                e.mul_(decay).add_(p.detach(), alpha=1 - decay)

    quiet_trainer(max_steps=5, callbacks=[Recursion()]).fit(model, ring())
    for e, p in zip(expected, model.generator_ema.parameters(), strict=True):
        torch.testing.assert_close(p, e)
        assert not p.requires_grad


def test_sample_i_depends_on_the_seed_and_i_alone() -> None:
    model = make("NSGAN")
    before = torch.random.get_rng_state()
    whole = model.sample(200, seed=4)
    assert torch.equal(model.sample(70, seed=4, start=90), whole[90:160])
    assert torch.equal(model.train().sample(3, seed=4), whole[:3])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(model.sample(200, seed=5), whole)
    assert len(whole.unique(dim=0)) == 200
    with pytest.raises(ValueError, match="n=0"):
        model.sample(0)


def test_sampling_uses_evaluation_mode_and_restores_training() -> None:
    generator = DCGANGenerator((1, 8, 8), latent_dim=3, width=4)  # batch norm: rows would see each other
    model = NSGAN(generator, MLPDiscriminator((1, 8, 8), width=4))
    model.train()
    statistics = generator.state_dict()["upsample.0.running_mean"].clone()
    assert torch.equal(model.sample(100, ema=False)[:5], model.sample(5, ema=False))
    assert generator.training
    assert torch.equal(generator.state_dict()["upsample.0.running_mean"], statistics)
    assert not model.generator_ema.training


def test_labels_condition_training_and_samples() -> None:
    generator = MLPGenerator((2,), latent_dim=3, width=8, num_classes=8)
    model = NSGAN(generator, MLPDiscriminator((2,), width=8, num_classes=8), num_classes=8)
    quiet_trainer().fit(model, ring())
    chosen = model.sample(10, labels=torch.full((10,), 3))
    assert torch.equal(chosen[3], model.sample(10)[3])  # class i modulo 8 is the default
    assert not torch.equal(chosen[4], model.sample(10)[4])
    with pytest.raises(ValueError, match="unconditional"):
        make("NSGAN").sample(2, labels=torch.zeros(2))
    unlabelled = DataLoader(TensorDataset(torch.randn(16, 2)), batch_size=8)
    with pytest.raises(ValueError, match="num_classes=8"):
        quiet_trainer().fit(model, unlabelled)


def test_clipping_bounds_the_step() -> None:
    sgd = partial(torch.optim.SGD, lr=1.0)
    model = make("LSGAN", gradient_clip_norm=1e-3, generator_optimizer=sgd, discriminator_optimizer=sgd)
    before = parameters(model)
    quiet_trainer(max_steps=1).fit(model, ring())
    after = parameters(model)
    for player in ("generator.", "discriminator."):
        moved = torch.cat([(after[n] - before[n]).flatten() for n in after if n.startswith(player)]).norm()
        assert float(moved) == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(ValueError, match="gradient_clip_norm=0"):
        make("LSGAN", gradient_clip_norm=0)


def test_schedules_step_once_an_iteration() -> None:
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    model = make("WGANGP", discriminator_scheduler=schedule)
    trainer = quiet_trainer(max_steps=3)
    trainer.fit(model, ring())
    generator, discriminator = (o.param_groups[0]["lr"] for o in trainer.optimizers)
    assert generator == 2e-4
    assert discriminator == pytest.approx(2e-4 / 8)


def test_a_plain_loader_gives_as_many_rows_as_the_rule_draws() -> None:
    data = TensorDataset(torch.randn(24, 2))
    model = make("NSGAN", rule=Alternating(3))
    seen: list[int] = []
    model.discriminator.register_forward_hook(lambda m, inputs, out: seen.append(len(inputs[0])))
    quiet_trainer(max_steps=1).fit(model, DataLoader(data, batch_size=12))
    assert seen[-4:] == [8, 8, 8, 4]  # real and fake together, three times, and G's step
    with pytest.raises(ValueError, match=r"8 rows .* 3 draws"):
        quiet_trainer().fit(make("NSGAN", rule=Alternating(3)), DataLoader(data, batch_size=8))


def test_wrong_shapes_are_found_before_training() -> None:
    wrong = NSGAN(MLPGenerator((3,), width=4), MLPDiscriminator((3,), width=4))
    with pytest.raises(ValueError, match=r"\(2,\).*MLPGenerator.*\(3,\)"):
        quiet_trainer().fit(wrong, ring())
    misfit = NSGAN(MLPGenerator((3,), width=4), MLPDiscriminator((2,), width=4))
    with pytest.raises(ValueError, match=r"MLPGenerator.*MLPDiscriminator"):
        quiet_trainer().fit(misfit, ring())
    with pytest.raises(ValueError, match="latent_dim"):
        NSGAN(nn.Linear(3, 2), nn.Linear(2, 1))
    with pytest.raises(ValueError, match="latent_dim=5"):
        NSGAN(MLPGenerator((2,), latent_dim=3), nn.Linear(2, 1), latent_dim=5)


def test_deepspeed_is_refused() -> None:
    class FakeTrainer:
        gradient_clip_val = None
        accumulate_grad_batches = 1
        strategy = object.__new__(DeepSpeedStrategy)

    with pytest.raises(ValueError, match="DeepSpeed"):
        refuse_unsupported(FakeTrainer())  # type: ignore[arg-type]


def test_a_module_built_in_python_names_what_its_checkpoint_lacks(tmp_path: Path) -> None:
    model = make("NSGAN", rule=Alternating(2), penalties=[R1(0.5)], seed=7)
    trainer = quiet_trainer()
    trainer.fit(model, ring())
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=r"penalties=\.\.\., rule=\.\.\."):
        NSGAN.load_from_checkpoint(tmp_path / "c.ckpt", weights_only=True, **parts("NSGAN"))
    again = NSGAN.load_from_checkpoint(
        tmp_path / "c.ckpt", weights_only=True, rule=Alternating(2), penalties=[R1(0.5)], **parts("NSGAN")
    )
    assert again.seed == 7


def test_a_hinge_gan_is_the_general_module_with_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    general, named = GANModule(**parts("NSGAN"), loss=Hinge()), make("HingeGAN")
    batch = a_batch(general)
    for player in (0, 1):
        assert torch.equal(general.player_loss(player, batch), named.player_loss(player, batch))


def test_bf16_autocast_trains() -> None:
    model = make("R3GAN")
    quiet_trainer(precision="bf16-mixed").fit(model, ring())
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("name", VARIANTS)
def test_two_gpus_with_nccl_and_bf16(name: str) -> None:
    model = make(name)
    quiet_trainer(accelerator="gpu", devices=2, strategy="ddp_spawn", precision="bf16-mixed").fit(model, ring())


def test_adam_takes_integers_for_betas() -> None:
    parameter = nn.Parameter(torch.ones(2))
    ours, torchs = Adam([parameter], lr=0.1, beta1=0), torch.optim.Adam([parameter], lr=0.1, betas=(0.0, 0.9))
    assert ours.param_groups[0]["betas"] == torchs.param_groups[0]["betas"]
    assert ours.param_groups[0]["fused"]
