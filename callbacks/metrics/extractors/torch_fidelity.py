"""The extractors of torch-fidelity by name: Inception-v3, DINOv2, CLIP, VGG16 and what is registered there."""

from __future__ import annotations

import sys
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.metrics.extractors.base import Classifier, Extractor


class TorchFidelityExtractor(Extractor):
    """Features of RGB images by an extractor of torch-fidelity, such as Inception-v3 as FID has it.

    Names are ``inception-v3-compat``, ``dinov2-vit-s-14`` (b, l, g), ``clip-vit-b-32`` and others, ``vgg16``, and
    whatever ``torch_fidelity.register_feature_extractor`` was given. Weights are read, and downloaded if no file is
    given, at the first use, be it of features or of the ``hash``, so that a constructor never waits for a network.

    torch-fidelity's networks take images of uint8, of any size, and resize and normalise them by themselves: floats in
    [0, 1] are multiplied by 255 and rounded, not truncated, and grey images repeated in three channels.

    Args:
        name: as registered in torch-fidelity.
        layer: which of its features; those of its FID if None, ``2048`` of Inception-v3.
        weights: a local file as torch-fidelity reads it, a pickle: load only what you trust. DINOv2 takes none.

    Raises:
        ValueError: no such name or layer; on features, images of neither one nor three channels.
        FileNotFoundError: there is no such file.
        RuntimeError: on first use, the weights can't be downloaded or read.
    """

    network: _Registered

    def __init__(self, name: str, layer: str | None = None, weights: str | PathLike[str] | None = None) -> None:
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as registry

        if name not in registry:
            raise ValueError(f"torch-fidelity has no extractor {name!r}; it has {', '.join(registry)}.")
        layers = registry[name].get_provided_features_list()
        layer = registry[name].get_default_feature_layer_for_metric("fid") if layer is None else layer
        if layer not in layers:
            raise ValueError(f"torch-fidelity's {name!r} has no layer {layer!r}; it has {', '.join(layers)}.")
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"weights={weights} of extractor {name!r} is no file.")
        resize = "uint8 by rounding, grey as RGB, the rest by the network"
        # not super(): in InceptionV3 that is Classifier's, which asks for more
        Extractor.__init__(self, f"{name}-{layer}", None, _Registered(name, layer, weights), resize=resize)

    @property
    def hash(self) -> str:
        """As of Extractor; reads the weights."""
        self.network.loaded()
        return super().hash

    def features(self, samples: Tensor) -> Tensor:
        if samples.ndim != 4 or samples.shape[1] not in (1, 3):
            raise ValueError(
                f"samples of shape {tuple(samples.shape)} are no images of one or three channels, (N, 1, H, W) or "
                f"(N, 3, H, W), which {self.name} takes."
            )
        images = samples.mul(255).round().to(torch.uint8).expand(-1, 3, -1, -1)
        features: Tensor = self.network(images)
        return features


class InceptionV3(TorchFidelityExtractor, Classifier):
    """The 2,048 features of FID, and the 1,008 class probabilities of the Inception score.

    torch-fidelity's ``inception-v3-compat``, the network of Heusel et al., 2017 and Salimans et al., 2016: logits are
    its ``logits_unbiased``, the last layer without its bias.

    Args:
        weights: as of TorchFidelityExtractor.
    """

    classes_are_modes = False  # but ImageNet's

    def __init__(self, weights: str | PathLike[str] | None = None) -> None:
        super().__init__("inception-v3-compat", "2048", weights)
        self.num_features, self.num_classes = 2048, 1008

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = features @ self.network.loaded().fc.weight.T
        return logits


class _Registered(nn.Module):
    """An extractor of torch-fidelity that is made when it is first asked for."""

    place: Tensor

    def __init__(self, name: str, layer: str, weights: str | PathLike[str] | None) -> None:
        super().__init__()
        self.name, self.layer, self.weights = name, layer, None if weights is None else fspath(weights)
        self.module: Any = None
        self.register_buffer("place", torch.empty(0), persistent=False)  # follows the device before there are weights

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.loaded()(images)[0]
        return features

    def loaded(self) -> Any:
        """torch-fidelity's module, frozen, in float32 and in eval mode."""
        if self.module is None:
            with torch.inference_mode(False), torch.random.fork_rng(devices=[]):  # it draws weights to replace them
                self.module = self._made().float().eval().requires_grad_(False).to(self.place.device)
        return self.module

    def _made(self) -> nn.Module:
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY as registry

        try:
            made: nn.Module = registry[self.name](self.name, [self.layer], feature_extractor_weights_path=self.weights)
        except NotImplementedError as error:  # DINOv2 with a file
            raise RuntimeError(f"torch-fidelity takes no file of weights for {self.name!r}: {self._cache()}") from error
        except Exception as error:  # downloads and damaged files may raise anything
            if self.weights is not None:
                raise RuntimeError(f"weights={self.weights} are none of {self.name!r} ({error!r}).") from error
            raise RuntimeError(
                f"the weights of {self.name!r} could not be downloaded or read ({error!r}): {self._cache()} Or fetch "
                f"{self._address(registry[self.name])} elsewhere and give the file by weights=PATH, which all but "
                "DINOv2 take."
            ) from error
        return made

    def _cache(self) -> str:
        return (
            "use the extractor once on a machine that is online, and copy what it puts into "
            f"{torch.hub.get_dir()} to the same folder here."
        )

    def _address(self, extractor: type) -> str:
        """Where torch-fidelity has the weights from."""
        module = vars(sys.modules[extractor.__module__])
        known: str = module.get("MODEL_URLS", {}).get(self.name) or module.get("URL_INCEPTION_V3", "them")
        return known
