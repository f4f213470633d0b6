"""What generators do wrong, done to real data on purpose: modes dropped, samples copied, blurred, repeated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from callbacks.metrics import DigitsClassifier, Extractor, Pixels
from callbacks.metrics.known import Known
from callbacks.views import Views
from datamodules import DigitsDataModule, HairpinDataModule

#: samples (N, *shape) in data space, and their classes (N,)
Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Deal:
    """Exchangeable parts of the same data: a perfect generator's samples are a part that nobody has seen.

    Attributes:
        training: what a generator was trained on.
        held_out: what its samples are compared with.
        fresh: what samples are made of.
    """

    training: Rows
    held_out: Rows
    fresh: Rows


class Data(ABC):
    """Real data to deal out and to corrupt.

    Attributes:
        n: samples of a generator.
        noise: std of the noise that corrupts, in data space.
    """

    n: int
    noise: float
    known: Known
    extractor: Extractor

    @abstractmethod
    def deal(self, numbers: Generator) -> Deal:
        """Deal anew."""

    def within_range(self, samples: Tensor) -> Tensor:
        """The nearest samples that are in the range of the data."""
        return samples

    def views(self, rows: Rows) -> list[Views]:
        """What metrics see of them."""
        samples, labels = rows
        truth = self.known.truth
        return [
            Views(
                samples,
                self.extractor,
                index=torch.arange(len(samples)),
                labels=labels,
                assign=None if truth is None else truth.assign,
            )
        ]


class Digits(Data):
    """Scikit-learn's 1,797 digits, dealt anew: 500 for training, 500 held out. Features are DigitsClassifier's."""

    n = 300
    noise = 0.1

    def __init__(self) -> None:
        self.extractor = DigitsClassifier()
        self.known = Known(extractor_classes=10, num_classes=10, shape=(1, 8, 8))

    def deal(self, numbers: Generator) -> Deal:
        samples, labels = _digits()
        order = torch.randperm(len(samples), generator=numbers)
        parts = torch.split(order, [500, 500, len(samples) - 1000])
        return Deal(*((samples[part], labels[part]) for part in parts))

    def within_range(self, samples: Tensor) -> Tensor:
        return samples.clamp(0, 1)


class Hairpin(Data):
    """8 modes on a known curve in the plane, a hairpin: 1,000 points for training, 1,000 held out. Features are these.

    Density, modes and distances along the curve are known, so what needs them applies.
    """

    n = 1000
    noise = 0.03

    def __init__(self) -> None:
        self.truth = HairpinDataModule(modes=4, tangential_std=0.03, normal_std=0.03, batch_size=1).truth
        self.extractor = Pixels()
        self.known = Known(truth=self.truth, num_classes=self.truth.num_modes, shape=(2,))

    def deal(self, numbers: Generator) -> Deal:
        parts = [self.truth.sample(n, numbers) for n in (1000, 1000, 6000)]
        return Deal(*((samples.float(), modes) for samples, modes in parts))


@cache
def _digits() -> Rows:
    data = DigitsDataModule(batch_size=1)
    samples, labels = zip(*(data.load(split) for split in ("train", "val", "test")), strict=True)
    return torch.cat(samples), torch.cat(labels)


# --- corruptions ------------------------------------------------------------------------------------------------------

Corruption = Callable[[Data, Deal, Generator], Rows]


def _taken(rows: Rows, which: Tensor) -> Rows:
    return rows[0][which], rows[1][which]


def none(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """A perfect generator's samples."""
    return _taken(deal.fresh, torch.randperm(len(deal.fresh[0]), generator=numbers)[: data.n])


def dropped(share: float) -> Corruption:
    """Without so many of the classes."""

    def corrupt(data: Data, deal: Deal, numbers: Generator) -> Rows:
        k = _classes(data)
        kept = torch.randperm(k, generator=numbers)[round(share * k) :]
        rows = torch.isin(deal.fresh[1], kept).nonzero()[:, 0]
        return _taken(deal.fresh, rows[torch.randperm(len(rows), generator=numbers)[: data.n]])

    return corrupt


def imbalanced(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Half of the classes four times as frequent as the others."""
    k = _classes(data)
    share = torch.tensor([4.0] * (k // 2) + [1.0] * (k - k // 2))[torch.randperm(k, generator=numbers)]
    counts = (data.n * share / share.sum()).round().long().tolist()
    order = torch.randperm(len(deal.fresh[0]), generator=numbers)
    rows = [order[deal.fresh[1][order] == c][:count] for c, count in enumerate(counts)]
    return _taken(deal.fresh, torch.cat(rows)[torch.randperm(sum(map(len, rows)), generator=numbers)])


def noisy(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """With noise: on digits of std .1, on points as wide as a mode."""
    samples, labels = none(data, deal, numbers)
    noise = torch.randn(samples.shape, generator=numbers)
    return data.within_range(samples + data.noise * noise), labels


def blurred(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Images under a binomial 3 x 3 kernel, mixed with as much of themselves."""
    samples, labels = none(data, deal, numbers)
    weights = torch.tensor([1.0, 2.0, 1.0])
    kernel = torch.outer(weights, weights)[None, None] / 16
    return 0.5 * samples + 0.5 * conv2d(samples, kernel, padding=1), labels


def narrowed(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Each sample halfway to the mean of its class: every mode is there, and little of it."""
    samples, labels = none(data, deal, numbers)
    means = torch.stack([deal.fresh[0][deal.fresh[1] == c].mean(0) for c in range(_classes(data))])
    return (samples + means[labels]) / 2, labels


def hybrid(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """A fifth of the samples halfway to one of another class."""
    samples, labels = none(data, deal, numbers)
    n = len(samples) // 5
    others = torch.stack([_another(labels, int(c), numbers) for c in labels[:n]])
    return torch.cat([(samples[:n] + samples[others]) / 2, samples[n:]]), labels


def repeated(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """A tenth as many distinct samples, each ten times."""
    return _taken(none(data, deal, numbers), torch.arange(data.n) % (data.n // 10))


def memorised(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Training samples."""
    return _taken(deal.training, torch.randperm(len(deal.training[0]), generator=numbers)[: data.n])


def nearly_memorised(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Training samples with a fifth of the noise."""
    samples, labels = memorised(data, deal, numbers)
    noise = torch.randn(samples.shape, generator=numbers)
    return data.within_range(samples + data.noise / 5 * noise), labels


def collapsed(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """One sample again and again; a class-conditional generator is asked for all classes."""
    samples, labels = none(data, deal, numbers)
    return samples[:1].expand_as(samples).clone(), labels


def mislabelled(data: Data, deal: Deal, numbers: Generator) -> Rows:
    """Good samples of other classes than were asked for."""
    samples, labels = none(data, deal, numbers)
    return samples, labels[torch.randperm(len(labels), generator=numbers)]


def _classes(data: Data) -> int:
    assert data.known.num_classes is not None
    return data.known.num_classes


def _another(labels: Tensor, label: int, numbers: Generator) -> Tensor:
    """The row of a random sample of another class."""
    rows = (labels != label).nonzero()[:, 0]
    return rows[torch.randint(len(rows), (), generator=numbers)]


NONE = "none"
CORRUPTIONS: dict[str, Corruption] = {
    NONE: none,
    "1 class dropped": dropped(0.1),
    "1/4 of classes dropped": dropped(0.25),
    "half of classes dropped": dropped(0.5),
    "classes 4 : 1": imbalanced,
    "narrowed": narrowed,
    "noise": noisy,
    "blur": blurred,
    "20 % hybrids": hybrid,
    "each 10 times": repeated,
    "memorised": memorised,
    "memorised + noise": nearly_memorised,
    "one sample": collapsed,
    "wrong labels": mislabelled,
}
DATA: dict[str, Callable[[], Data]] = {"digits": Digits, "hairpin": Hairpin}


def applies(corruption: str, data: Data) -> bool:
    """Whether such data can be so corrupted: points have no blur."""
    return corruption != "blur" or len(data.known.shape) == 3
