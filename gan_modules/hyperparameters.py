"""Hyperparameters of a module, saved without a call in each leaf class and loadable with ``weights_only=True``."""

from __future__ import annotations

import inspect
from typing import Any

from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from torch import Tensor

_PLAIN = (type(None), bool, int, float, str, Tensor)


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold ``value`` without pickling code: numbers, strings, tensors, and trees of them."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return type(value) in _PLAIN


def from_config() -> dict[str, Any] | None:
    """The resolved arguments, as class paths, where the LightningCLI is instantiating the module; else None."""
    given: dict[str, Any] | None = _given_hyperparameters.get()
    return given


def split_arguments(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of ``cls(*args, **kwargs)`` by name: those a checkpoint can hold, and those it can't."""
    bound = inspect.signature(cls).bind(*args, **kwargs).arguments
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, {}))
    plain = {name: value for name, value in bound.items() if is_plain(value)}
    return plain, {name: value for name, value in bound.items() if name not in plain}
