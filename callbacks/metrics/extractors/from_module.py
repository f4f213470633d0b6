"""Any module as an extractor."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from callbacks.metrics.extractors.base import Classifier, Extractor


class ModuleExtractor(Extractor):
    """Features of a module of yours, which maps samples (N, ...) in data space to (N, d).

        ModuleExtractor(nn.Sequential(Normalize(mean, std), resnet), name="my-resnet", size=224)

    The module is copied; the copy is frozen, in float32 and in eval mode, and yours stays as it is. What samples need
    besides resizing, such as normalisation, is a part of the module. In a recipe it is given by class path, and its
    trained weights by a file.

    Args:
        module: maps samples to features.
        name: names the features in logs.
        num_features: d; learnt from the first batch where None.
        size: images are resized to this side, or [height, width], by antialiased bilinear interpolation; None takes
            them as they are.
        value_range: of samples; None where any finite floats will do.
        weights: a file of the module's ``state_dict``, as ``torch.save`` writes it.

    Raises:
        ValueError: the file does not hold the module's weights; on features, the module gives another shape.
        FileNotFoundError: there is no such file.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        num_features: int | None = None,
        size: int | Sequence[int] | None = None,
        value_range: tuple[float, float] | None = (0.0, 1.0),
        weights: str | PathLike[str] | None = None,
    ) -> None:
        self._size = None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        resize = "none" if self._size is None else f"bilinear {self._size[0]}x{self._size[1]}, antialiased"
        network = copy.deepcopy(module)
        if weights is not None:
            _fill(network, weights)
        # not super(): in a ModuleClassifier that is Classifier's, which asks for more
        Extractor.__init__(self, name, num_features, network, resize=resize, value_range=value_range)

    @property
    def hash(self) -> str:
        """As of Extractor, and of the module's ``repr``: normalisation and pooling have no weights."""
        return hashlib.sha256(f"{super().hash}\n{self.network!r}".encode()).hexdigest()[:12]

    def features(self, samples: Tensor) -> Tensor:
        if self._size is not None:
            samples = interpolate(samples, self._size, mode="bilinear", antialias=True, align_corners=False)
        features: Tensor = self._body(samples)
        if not isinstance(features, Tensor):
            given = type(features).__name__
            raise ValueError(f"the module of extractor {self.name} gave {given}, not a tensor (N, d).")
        return features

    @property
    def _body(self) -> nn.Module:
        return self.network


class ModuleClassifier(ModuleExtractor, Classifier):
    """Features of a module of yours and, by its head, the class of a sample.

    Args:
        module: maps samples to features.
        head: maps features (N, d) to class logits (N, K); copied as the module is.
        name: names the features in logs.
        num_classes: K.
        kwargs: those of ModuleExtractor; ``weights`` has the module's under ``module.``, the head's under ``head.``.

    Raises:
        ValueError: as of ModuleExtractor; on probabilities, the head gives another shape.
    """

    network: nn.ModuleDict

    def __init__(self, module: nn.Module, head: nn.Module, name: str, num_classes: int, **kwargs: Any) -> None:
        super().__init__(nn.ModuleDict({"module": module, "head": head}), name, **kwargs)
        self.num_classes = num_classes

    @property
    def _body(self) -> nn.Module:
        return self.network["module"]

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.network["head"](features)
        if logits.shape != (len(features), self.num_classes):
            raise ValueError(
                f"the head of extractor {self.name} gave shape {tuple(logits.shape)}, "
                f"not ({len(features)}, {self.num_classes})."
            )
        return logits


def _fill(network: nn.Module, weights: str | PathLike[str]) -> None:
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"weights={weights} is no state_dict of {type(network).__name__} ({error}): write it by "
            "`torch.save(module.state_dict(), path)`."
        ) from error
