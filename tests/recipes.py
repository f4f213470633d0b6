"""Small games that tests train, importable by name in other processes."""

from __future__ import annotations

import inspect
import os
import tempfile
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.utils.parametrizations import _SpectralNorm

import gan_modules
from callbacks import (
    CollapseAlarm,
    CurvatureSpectrum,
    Diagnostic,
    GameSpectrum,
    GradientHealth,
    SampleMetrics,
    WeightSpectrum,
)
from callbacks.metrics import Pixels
from datamodules import RingDataModule
from datamodules.point import PointDataModule
from gan_modules import GameModule, GANModule
from gan_modules.batch import GameBatch, joined
from gan_modules.dynamics import Play
from gan_modules.losses import Bounded, NonSaturating
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.protocols import SAMPLE_BLOCK, by_player
from gan_modules.toy_game import ClosedForms

CLASSES = {
    name: cls for name, cls in vars(gan_modules).items() if name in gan_modules.__all__ and isinstance(cls, type)
}
#: GANs between two networks that are given to them
VARIANTS = [
    name
    for name, cls in CLASSES.items()
    if issubclass(cls, GANModule) and "generator" in inspect.signature(cls).parameters
]
#: games that bring their own players, and what is known of them on paper
TOYS = [name for name, cls in CLASSES.items() if issubclass(cls, ClosedForms)]


def networks(name: str, shape: tuple[int, ...] = (2,), num_classes: int | None = None) -> dict[str, Any]:
    """A generator and a discriminator such as the variant called ``name`` asks for: the same numbers at every call."""
    seen = (2 * shape[0], *shape[1:]) if name == "PacGAN" else shape
    features = {"out_features": 4} if name == "MMDGAN" and num_classes is None else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "generator": MLPGenerator(shape, latent_dim=3, width=8, depth=2, num_classes=num_classes),
            "discriminator": MLPDiscriminator(seen, width=8, depth=2, num_classes=num_classes, **features),
        }


def needs(name: str) -> dict[str, Any]:
    """What a variant cannot be built without, beside its networks."""
    asked = {
        "GANModule": {"loss": NonSaturating()},
        "IPMGAN": {"function_class": Bounded()},
        "ConditionalGAN": {"num_classes": 8},
    }
    return asked.get(name, {})


def still(module: GANModule) -> GANModule:
    """The module with the power iterations of its spectral norms halted, which otherwise move at each forward."""
    for layer in module.modules():
        if isinstance(layer, _SpectralNorm):
            layer.eval()
    return module


def parts(name: str) -> dict[str, Any]:
    """What the variant called ``name`` is built from, on points of the plane."""
    return networks(name, num_classes=needs(name).get("num_classes")) | needs(name)


def make(name: str, **kwargs: Any) -> GANModule:
    model: GANModule = getattr(gan_modules, name)(**parts(name), **kwargs)
    return model


def ring(**kwargs: Any) -> RingDataModule:
    return RingDataModule(**{"batch_size": 8, "train_size": 64, "val_size": 40, "test_size": 40, **kwargs})


def toy(name: str, **kwargs: Any) -> Any:
    """The toy game called ``name``, with what it needs to be built at all."""
    needs: dict[str, dict[str, Any]] = {
        "BilinearGame": {"matrix": [[1.0, 2.0, 0.0], [-1.0, 0.5, 3.0]]},
        "LinearQuadraticGame": {"jacobian": [[-0.1, 0.0, -1.0], [0.0, -0.2, 0.5], [1.0, -0.3, -0.4]], "first_size": 2},
    }
    return getattr(gan_modules, name)(**(needs.get(name, {}) | kwargs))


def point(**kwargs: Any) -> PointDataModule:
    return PointDataModule(**{"batch_size": 4, "size": 16, **kwargs})


_SCRATCH = tempfile.TemporaryDirectory()  # where runs write that do not say where; removed when the process ends


def on_digits(cls: Any, width: int, iterations: int, seed: int = 0, latent_dim: int = 8) -> tuple[GANModule, GameBatch]:
    """A GAN on digits after some iterations in float64, and a batch."""
    images = torch.tensor(load_digits().images).unsqueeze(1) / 8 - 1
    torch.manual_seed(seed)
    shape = (1, 8, 8)
    game = cls(MLPGenerator(shape, latent_dim, width, 2), MLPDiscriminator(shape, width, 2), ema_decay=0).double()

    def batch(k: int) -> GameBatch:
        rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(k))[:32]
        return game.game_batch(images[rows], iteration=k, draw=0)

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-3, betas=(0.0, 0.9))

    play = Play(game, game.rule, (adam, adam), batch)
    for _ in range(iterations):
        play.step()
    return game, game.game_batch(images[:48])


def quiet_trainer(**kwargs: Any) -> Trainer:
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        **{
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "max_steps": 2,
            "default_root_dir": _SCRATCH.name,
            **off,
            **kwargs,
        }
    )


def parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def trained_on_ranks(rank: int, world: int, name: str) -> dict[str, Tensor]:
    """Parameters after two iterations of gradient descent in float64, so that they differ by the gradients alone."""
    return _with_ranks(rank, world, partial(_train, name))


def toy_on_ranks(rank: int, world: int, name: str) -> dict[str, Tensor]:
    """A toy's parameters after two iterations of gradient descent."""

    def train(**kwargs: Any) -> dict[str, Tensor]:
        sgd = partial(torch.optim.SGD, lr=0.05)
        model: GameModule = toy(name, generator_optimizer=sgd, discriminator_optimizer=sgd)
        quiet_trainer(num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, point())
        return parameters(model)

    return _with_ranks(rank, world, train)


def products_on_ranks(rank: int, world: int) -> list[Tensor]:
    """A probe of a GAN's Jacobian in the middle of training: field, J w and J^T w."""
    found: list[Tensor] = []

    class Probe(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            real = batch if isinstance(batch, Tensor) else batch[0]
            jacobian = module.jacobian(module.game_batch(real))
            numbers = torch.Generator().manual_seed(1)
            w = by_player(torch.randn(sum(jacobian.sizes), generator=numbers, dtype=torch.float64), jacobian.sizes)
            found.extend([*jacobian.field, jacobian.rows(0, w), jacobian.rows(1, w), *jacobian.transposed(w)])

    def train(**kwargs: Any) -> list[Tensor]:
        trainer = quiet_trainer(
            precision="64-true", max_steps=1, num_sanity_val_steps=0, limit_val_batches=0, callbacks=[Probe()], **kwargs
        )
        trainer.fit(make("R3GAN"), ring())
        return [tensor.clone() for tensor in found]

    return _with_ranks(rank, world, train)


def latents_on_ranks(rank: int, world: int) -> Tensor:
    """The latents of the first draw that this process sees."""
    seen: list[Tensor] = []

    def train(**kwargs: Any) -> Tensor:
        model = make("NSGAN")
        model.generator.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].clone()) if model.training else None
        )
        quiet_trainer(max_steps=1, num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, ring())
        return next(z for z in seen if z.abs().sum() > 0)  # the shape check sends zeros

    return _with_ranks(rank, world, train)


def evaluated_on_ranks(rank: int, world: int) -> dict[str, float]:
    """Every metric that applies to points of a ring, and its floor, of an untrained generator."""
    metrics = SampleMetrics(Pixels(), n_samples=300, cache_dir="")

    def validate(**kwargs: Any) -> dict[str, float]:
        trainer = quiet_trainer(callbacks=[metrics], **kwargs)
        trainer.validate(make("NSGAN"), datamodule=ring(train_size=203, val_size=201), verbose=False)
        return metrics.latest["values"] | {f"{name}_floor": v for name, v in metrics.latest["floors"].items()}

    return _with_ranks(rank, world, validate)


def trained_with_few_samples_on_ranks(rank: int, world: int) -> dict[str, float]:
    """What SampleMetrics logs of a single block of samples, of which only one process can have a share."""
    metrics = SampleMetrics(Pixels(), n_samples=SAMPLE_BLOCK, cache_dir="")

    def train(**kwargs: Any) -> dict[str, float]:
        once = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}
        trainer = quiet_trainer(callbacks=[metrics], **once, **kwargs)
        trainer.fit(make("NSGAN"), ring(train_size=64, val_size=65))
        return {"fid_untrained": metrics.latest["fid_untrained"]} | metrics.latest["floors"]

    return _with_ranks(rank, world, train)


def _train(name: str, **kwargs: Any) -> dict[str, Tensor]:
    sgd = partial(torch.optim.SGD, lr=0.05)
    model = make(name, generator_optimizer=sgd, discriminator_optimizer=sgd)
    quiet_trainer(precision="64-true", num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, ring())
    return parameters(model)


def _with_ranks(rank: int, world: int, train: Any) -> Any:
    if world == 1:
        return train()
    # as torchrun would say it, so that Lightning joins the processes there are
    os.environ.update(
        TORCHELASTIC_RUN_ID="tests", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), GROUP_RANK="0",
        LOCAL_WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT="29500",
    )  # fmt: skip
    return train(devices=world, strategy="ddp")


def spectrum_on_ranks(rank: int, world: int) -> dict[str, float]:
    """What GameSpectrum logs of two iterations of gradient descent in float64."""

    def train(**kwargs: Any) -> dict[str, float]:
        sgd = partial(torch.optim.SGD, lr=0.05)
        torch.manual_seed(0)
        networks = MLPGenerator((2,), latent_dim=3, width=16, depth=2), MLPDiscriminator((2,), width=16, depth=2)
        model = gan_modules.NSGAN(*networks, generator_optimizer=sgd, discriminator_optimizer=sgd)
        off = {"num_sanity_val_steps": 0, "limit_val_batches": 0, "precision": "64-true"}
        callback = GameSpectrum(every_n_steps=2, budget=None, vectors=30, picture=False)
        trainer = quiet_trainer(callbacks=[callback], **off, **kwargs)
        trainer.fit(model, ring())
        return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("game/")}

    return _with_ranks(rank, world, train)


def look_on_ranks(rank: int, world: int, kind: type[Diagnostic], variant: str, **data: Any) -> dict[str, float]:
    """What a diagnostic logs after two iterations of gradient descent in float64."""

    def train(**kwargs: Any) -> dict[str, float]:
        sgd = partial(torch.optim.SGD, lr=0.05)
        model = make(variant, generator_optimizer=sgd, discriminator_optimizer=sgd)
        off = {"num_sanity_val_steps": 0, "limit_val_batches": 0, "precision": "64-true"}
        diagnostic = kind(every_n_steps=2, budget=None)
        quiet_trainer(callbacks=[diagnostic], **off, **kwargs).fit(model, ring(**data))
        return diagnostic.latest

    return _with_ranks(rank, world, train)


def curvature_on_ranks(rank: int, world: int) -> dict[str, float]:
    return look_on_ranks(rank, world, CurvatureSpectrum, "R3GAN")


def health_on_ranks(rank: int, world: int) -> dict[str, float]:
    return look_on_ranks(rank, world, GradientHealth, "NSGAN", train_size=600, val_size=601)


def weights_on_ranks(rank: int, world: int) -> dict[str, float]:
    return look_on_ranks(rank, world, WeightSpectrum, "NSGAN")


def lone_trouble_on_ranks(rank: int, world: int) -> list[dict[str, float]]:
    """What diagnostics log where on the last process alone losses are not finite and D is flat."""

    def train(**kwargs: Any) -> list[dict[str, float]]:
        model = make("NSGAN")
        if rank == world - 1:
            player_loss = model.player_loss
            model.player_loss = lambda player, batch: player_loss(player, batch) * torch.inf  # type: ignore[method-assign]
            model.loss = type("Flat", (NonSaturating,), {"critic": lambda loss, logits, d: 0 * logits})()
        looks = [kind(every_n_steps=1, budget=None) for kind in (CurvatureSpectrum, GradientHealth)]
        off = {"num_sanity_val_steps": 0, "limit_val_batches": 0}
        quiet_trainer(callbacks=looks, **off, **kwargs).fit(model, ring())
        return [look.latest for look in looks]

    return _with_ranks(rank, world, train)


def collapse_on_ranks(rank: int, world: int, root: str) -> tuple[int, list[tuple[float, int | None]]]:
    """Iterations until CollapseAlarm stopped the run, and at each validation whether it was on and what it kept."""
    found: list[tuple[float, int | None]] = []
    alarm = CollapseAlarm(["coverage"], threshold=4.0, least_drop=0.3, agree=1, stop=True)

    class Script(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
            pl_module.log("coverage", 0.8 if trainer.global_step < 5 else 0.2)

        def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
            found.append((float(trainer.callback_metrics["collapse/alarm"]), alarm.before))

    def train(**kwargs: Any) -> int:
        each = {"max_steps": 8, "check_val_every_n_epoch": None, "val_check_interval": 1, "num_sanity_val_steps": 0}
        trainer = quiet_trainer(default_root_dir=root, callbacks=[alarm, Script()], **each, **kwargs)
        trainer.fit(make("NSGAN"), ring())
        return trainer.global_step

    return _with_ranks(rank, world, train), found


def derivatives_of_joined_on_ranks(rank: int, world: int) -> list[Tensor]:
    """Value, gradient and Hessian product of a function of the joined rows that is no mean over rows, averaged."""
    rows = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x = rows.chunk(world)[rank] if world > 1 else rows
    weight = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    everything = joined((x * weight).sin())
    own = (x @ weight).square().mean()  # a term of the own rows beside, as losses have
    value = (everything.mean(0) ** 4).sum() + everything.std(0).prod() + own
    (gradient,) = torch.autograd.grad(value, weight, create_graph=True)
    (product,) = torch.autograd.grad(gradient @ torch.tensor([1.0, 2.0], dtype=torch.float64), weight)
    found = [value.detach(), gradient.detach().clone(), product]
    if world > 1:
        for tensor in found:
            torch.distributed.all_reduce(tensor)
            tensor /= world
    return found
