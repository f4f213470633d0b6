"""Trains the weights of a small classifier, on one CPU thread: of digits in half a minute, of MNIST in three.

    python -m callbacks.metrics.extractors.train_classifier digits [--out FILE] [--epochs N]
    python -m callbacks.metrics.extractors.train_classifier mnist --root FOLDER

Only training images are used, 1,197 of the digits and the first 55,000 of MNIST's. Distortions, dropout and weight
decay keep the features of training and of held-out images alike, so that a Frechet distance to training images does not
reward their memory. All random numbers are from one private generator: the result depends on the seed and on
floating-point round-off alone.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, gelu, grid_sample

from callbacks.metrics.extractors.digits import DigitsClassifier
from callbacks.metrics.extractors.mnist import MNISTClassifier
from callbacks.metrics.extractors.small import Architecture, SmallNetwork, save

BATCH = 128
LEARNING_RATE = 3e-3
WARMUP = 50
DROPOUT = 0.5
WEIGHT_DECAY = 0.05
AVERAGING = 0.995
TOTAL_VARIANCE = 100.0
AT_ONCE = 2000


def digits(split: str, root: str | Path = "") -> tuple[Tensor, Tensor]:
    """Digits (N, 1, 8, 8) in [0, 1] and labels (N,) of ``train`` (1,197), ``val`` (300) or ``test`` (300)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, target = load_digits(return_X_y=True)
    train, rest = train_test_split(np.arange(len(target)), train_size=1197, random_state=0, stratify=target)
    val, test = train_test_split(rest, train_size=300, random_state=0, stratify=target[rest])
    rows = {"train": train, "val": val, "test": test}[split]
    return torch.tensor(images[rows] / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(target[rows])


def mnist(split: str, root: str | Path = "data") -> tuple[Tensor, Tensor]:
    """MNIST's digits (N, 1, 28, 28) in [0, 1] and labels (N,) of ``train`` (55,000), ``val`` or ``test``.

    The last two are 5,000 and 10,000. They are read from the unpacked files in ``MNIST/raw`` below the root.
    """
    from torchvision.datasets import MNIST

    data = MNIST(root, train=split != "test")
    rows = {"train": slice(55_000), "val": slice(55_000, None), "test": slice(None)}[split]
    return data.data[rows, None] / 255, data.targets[rows]


class Course(NamedTuple):
    """What is trained on what: images and labels of a split below a root, and how often each is seen."""

    architecture: Architecture
    data: Callable[[str, str | Path], tuple[Tensor, Tensor]]
    epochs: int


COURSES = {
    "digits": Course(DigitsClassifier.architecture, digits, 200),
    "mnist": Course(MNISTClassifier.architecture, mnist, 12),
}


def distorted(images: Tensor, generator: Generator) -> Tensor:
    """Grey images under small random rotations, scalings, shears, shifts (a tenth) and intensity curves."""

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=generator) - 1) * bound

    angle, shear, x, y = uniform(0.25), uniform(0.12), uniform(0.2), uniform(0.2)  # radians; half widths
    width, height = uniform(0.15).exp(), uniform(0.08).exp()
    rows = [
        torch.stack([angle.cos() * width, -angle.sin() * width + shear, x], dim=1),
        torch.stack([angle.sin() * height, angle.cos() * height, y], dim=1),
    ]
    grid = affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, mode="bicubic", align_corners=False).clamp(1e-6, 1)
    gamma, gain = uniform(0.3).exp().view(-1, 1, 1, 1), uniform(0.15).exp().view(-1, 1, 1, 1)
    return (gain * moved**gamma).clamp(0, 1)


def dropout(values: Tensor, generator: Generator) -> Tensor:
    """Inverted dropout with private randomness, which ``torch.nn.functional.dropout`` does not take."""
    return values * (torch.rand(values.shape, generator=generator) >= DROPOUT) / (1 - DROPOUT)


def initialised(architecture: Architecture, generator: Generator) -> SmallNetwork:
    """A network with He-initialised weights and zero biases."""
    with torch.device("meta"):
        network = SmallNetwork(architecture)
    network.to_empty(device="cpu")
    nn.init.ones_(network.scale)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            nn.init.zeros_(cast(Tensor, layer.bias))
    return network


def training_logits(network: SmallNetwork, images: Tensor, generator: Generator) -> Tensor:
    """Logits (N, K) of distorted images, with dropout before the hidden layer and the head."""
    hidden = dropout(network.convolutions(2 * distorted(images, generator) - 1), generator)
    logits: Tensor = network.head(dropout(gelu(network.hidden(hidden)), generator))
    return logits


def train(architecture: Architecture, images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> SmallNetwork:
    """The running average of a network trained by AdamW with a cosine schedule."""
    generator = Generator().manual_seed(seed)
    network = initialised(architecture, generator)
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, step / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in torch.split(order, BATCH)[: len(images) // BATCH]:
            optimizer.zero_grad()
            loss = cross_entropy(training_logits(network, images[rows], generator), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(weight.detach(), 1 - AVERAGING)
    return average


@torch.no_grad()
def features(network: SmallNetwork, images: Tensor) -> Tensor:
    """Features (N, d), without the memory that all images at once would take."""
    return torch.cat([network(part) for part in torch.split(images, AT_ONCE)])


@torch.no_grad()
def scaled(network: SmallNetwork, images: Tensor) -> SmallNetwork:
    """The same network, its features rescaled to TOTAL_VARIANCE on the images and its logits left as they are."""
    scale = (TOTAL_VARIANCE / features(network, images).var(0).sum()).sqrt()
    network.scale.mul_(scale)
    network.head.weight.div_(scale)
    return network


@torch.no_grad()
def accuracy(network: SmallNetwork, images: Tensor, labels: Tensor) -> float:
    """Share of images classified right."""
    return float((network.head(features(network, images)).argmax(1) == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=COURSES)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of MNIST/raw; digits need none")
    parser.add_argument("--out", type=Path, help="by default the file that comes with the package")
    parser.add_argument("--epochs", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in the same order, however many cores there are
    architecture, data, epochs = COURSES[arguments.name]
    out = arguments.out or Path(__file__).with_name(architecture.file)
    images, labels = data("train", arguments.root)
    network = scaled(train(architecture, images, labels, arguments.epochs or epochs), images)
    val, test = (accuracy(network, *data(split, arguments.root)) for split in ("val", "test"))
    save(out, network, val, test)
    print(f"{out}: accuracy {accuracy(network, images, labels):.4f} train, {val:.4f} val, {test:.4f} test")


if __name__ == "__main__":
    main()
