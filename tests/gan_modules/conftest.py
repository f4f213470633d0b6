"""Small games: a batch from tensors, a variant on 2-D data, a run of a few iterations on the CPU."""

from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch import Callback
from recipes import VARIANTS, needs, networks, quiet_trainer
from torch import nn
from torch.utils.data import DataLoader

import gan_modules
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import DiscriminatorPass


class Linear(nn.Module):
    """D(x) = w . x on flattened rows: the input gradient is w everywhere."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(w))

    def forward(self, x):
        return x.flatten(1) @ self.w


class Quadratic(nn.Module):
    """D(x) = x^T A x / 2: for a symmetric A the input gradient is A x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.as_tensor(a))

    def forward(self, x):
        return 0.5 * torch.einsum("bi,ij,bj->b", x, self.a, x)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(params=[name for name in VARIANTS if name != "GANModule"])
def variant(request):
    """Every exported GAN with a loss of its own."""
    return getattr(gan_modules, request.param)


@pytest.fixture
def random_rows():
    """A function -> RandomRows of one process."""

    def build(total=8, *, seed=0, iteration=0, draw=0, start=0, rows=None):
        rows = total if rows is None else rows
        return RandomRows(seed, iteration, draw, start, rows, total, torch.device("cpu"))

    return build


@pytest.fixture
def game_batch(random_rows):
    """A function (real, z) -> GameBatch."""

    def build(real, z=None, labels=None, *, index=0, **kwargs):
        z = torch.zeros(len(real), 0, dtype=real.dtype) if z is None else z
        return GameBatch(real, z, random_rows(len(real), **kwargs), labels, index)

    return build


@pytest.fixture
def tiny():
    """A function (variant, ...) -> that GAN between two MLPs of width 8 on samples of shape (2,)."""

    def build(cls, *, num_classes=None, shape=(2,), **kwargs):
        name = cls.__name__
        given = {"num_classes": num_classes} | needs(name) | kwargs
        return cls(**networks(name, shape, given["num_classes"]), **given)

    return build


@pytest.fixture
def alone():
    """A function (module) -> the module, its ``gradient`` usable without a trainer."""

    def build(module):
        module.manual_backward = lambda loss, inputs: loss.backward(inputs=inputs)
        return module

    return build


class _After(Callback):
    def __init__(self, function):
        self.function = function

    def on_train_batch_end(self, trainer, *_):
        self.function(trainer)


@pytest.fixture
def fit(tmp_path):
    """A function (module, iterations or batches) -> the Trainer after a run of them, ``after(trainer)`` each."""

    def run(module, batches=3, *, after=None, ckpt_path=None, **kwargs):
        if isinstance(batches, int):
            numbers = torch.Generator().manual_seed(1)
            rows = 4 * module.draws
            batches = [torch.randn(rows, 2, generator=numbers) for _ in range(batches)]
            if getattr(module, "num_classes", None):
                batches = [(real, torch.arange(rows) % module.num_classes) for real in batches]
        defaults = {"default_root_dir": tmp_path, "max_epochs": 1, "max_steps": -1, "log_every_n_steps": 50}
        callbacks = [] if after is None else [_After(after)]
        trainer = quiet_trainer(**(defaults | kwargs), callbacks=callbacks)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You defined a `validation_step` but have no `val_dataloader`")
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.")
            # batches come as they are: the module is what cuts them into draws
            trainer.fit(module, DataLoader(batches, batch_size=None), ckpt_path=ckpt_path)
        return trainer

    return run


@pytest.fixture
def snapshot():
    """A function (module) -> a copy of its parameters, flat."""

    def take(module):
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    return take


@pytest.fixture
def linear():
    """The class above."""
    return Linear


@pytest.fixture
def quadratic():
    """The class above."""
    return Quadratic


@pytest.fixture
def smooth():
    """A function (dtype) -> a discriminator of rows of 3, smooth in its input and its parameters."""

    def build(dtype=torch.float64):
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)

    return build


@pytest.fixture
def count_forwards():
    """A function (module) -> a list that grows by the number of rows of each forward from now on."""

    def count(module):
        calls = []
        module.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
        return calls

    return count


@pytest.fixture
def d_pass(game_batch):
    """A function (discriminator, real, fake, *terms) -> the DiscriminatorPass that serves those terms."""

    def build(discriminator, real, fake, *terms, labels=None, index=0, iteration=0):
        batch = game_batch(real, labels=labels, index=index, iteration=iteration)
        due = frozenset().union(*(term.gradient_at(batch) for term in terms))
        layers = [layer for term in terms for layer in term.layers]
        d = DiscriminatorPass(discriminator, batch, real, fake, gradient_at=due, layers=layers)
        d.memory = terms[0].init() if terms else {}
        return d

    return build
