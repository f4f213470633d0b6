"""Hyperparameters of a module, saved without a call in each leaf class and loadable with ``weights_only=True``."""

from __future__ import annotations

import inspect
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from torch import Tensor
from typing_extensions import Self

_PLAIN = (type(None), bool, int, float, str, Tensor)


def is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold ``value`` without pickling code: numbers, strings, tensors, and trees of them."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return type(value) in _PLAIN


class SavesArguments:
    """Mixin, first among the bases of a LightningModule: the leaf's own arguments become its hyperparameters.

    Built by the LightningCLI, a module is saved whole, its parts as class paths. Built in Python, plain arguments are
    saved, and the names of the others, which `load_from_checkpoint` is then to be given again.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # seen before any constructor runs, which might rebind them
        self.__dict__["_arguments"] = (args, kwargs)
        return self

    def _save_arguments(self: Any) -> None:
        args, kwargs = self.__dict__.pop("_arguments")
        self._injected: list[str] = []
        if _given_hyperparameters.get() is not None:
            self.save_hyperparameters(logger=False)  # the whole configuration reaches the loggers by itself
            return
        given = _by_name(type(self), args, kwargs)
        self.save_hyperparameters({name: value for name, value in given.items() if is_plain(value)})
        self._injected = sorted(name for name, value in given.items() if not is_plain(value))

    def _check_arguments(self: Any, checkpoint: dict[str, Any]) -> None:
        """Raise ValueError naming what the checkpoint's module was built with and this one was not."""
        was, now = (names.get("_class_path") for names in (checkpoint.get("hyper_parameters", {}), self.hparams))
        if was is not None and now is not None and was != now:
            raise ValueError(
                f"The checkpoint is of a {was}, and this run's model is a {now}: continue it with --model {was}."
            )
        missing = [name for name in checkpoint.get("injected", []) if name not in self._injected]
        if missing and "_class_path" not in self.hparams:
            raise ValueError(
                f"The checkpoint's {type(self).__name__} was built with objects that a checkpoint does not hold; pass "
                f"them again: load_from_checkpoint(path, {', '.join(f'{name}=...' for name in missing)})."
            )


def _by_name(cls: type[LightningModule], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(cls.__init__)
    bound = signature.bind(None, *args, **kwargs).arguments
    own, *_ = signature.parameters
    del bound[own]
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, {}))
    return dict(bound)
