"""The configuration that a checkpoint carries: how `sample`, `validate` and `test` need nothing but the file."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from torch import nn

#: modules whose classes a checkpoint may name without the user's word; nothing in them loads code by name
REGISTERED = (
    *("gan_modules", "datamodules", "callbacks", "lightning.pytorch", "torch.nn", "torch.optim"),
    "torchvision.datasets",
)

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain values; nothing in it is executed.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is not a checkpoint, or is cut off.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"--ckpt_path {path}: there is no such checkpoint.")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of bytes that are no pickle the reader may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"--ckpt_path {path} is not a readable checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"--ckpt_path {path} is not a Lightning checkpoint: it has no state_dict.")
    return checkpoint


def versions() -> dict[str, str]:
    """Versions of this package and of what it stands on, which checkpoints carry."""
    ours = importlib.metadata.version("gan-modules")
    return {"gan-modules": ours, "torch": str(torch.__version__), "lightning": str(lightning.__version__)}


def other_versions(checkpoint: Mapping[str, Any]) -> str:
    """How the versions that a checkpoint was written with differ from the installed ones, as a clause; or nothing."""
    written, here = checkpoint.get("versions", {}), versions()
    differ = [
        f"{name} {written[name]} (here {here[name]})" for name in here if written.get(name, here[name]) != here[name]
    ]
    return f"it was written with {', '.join(differ)}" if differ else ""


def check_fits(model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Refuse a checkpoint whose parameters are not those of the model, or that cannot be continued from.

    Raises:
        ValueError: names the first parameters that are missing, too many, or of another shape, and the versions.
    """
    there, asked = checkpoint["state_dict"], model.state_dict()
    wrong = [f"{name} is missing" for name in asked if name not in there]
    wrong += [f"{name} is of no parameter" for name in there if name not in asked]
    wrong += [
        f"{name} is {tuple(there[name].shape)}, not {tuple(value.shape)}"
        for name, value in asked.items()
        if name in there and there[name].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        why = other_versions(checkpoint) or "give the configuration that it was trained with"
        raise ValueError(
            f"--ckpt_path {path} does not fit the {type(model).__name__}: {'; '.join(wrong[:3])}{more}; {why}."
        )
    if missing := [name for name in ("optimizer_states", "global_step", "loops") if name not in checkpoint]:
        raise ValueError(
            f"--ckpt_path {path} holds no {', '.join(missing)}, as with save_weights_only=True: diagnostics need the "
            "optimizers' state. `gan-modules test` needs the weights alone."
        )


def read_config(path: str | Path, trusted: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration of the run that wrote the checkpoint.

    Args:
        path: the checkpoint.
        trusted: further packages whose classes it may name, with the user's word.

    Raises:
        ValueError: where it holds none, or names a class outside the registered and trusted packages.
    """
    checkpoint = load_checkpoint(path)
    text = checkpoint.get("config")
    if text is None:
        raise ValueError(
            f"{path} carries no configuration: it was not written by `gan-modules fit`. Load it in Python, with the "
            "objects it was built with: MODEL.load_from_checkpoint(path, generator=..., discriminator=...)."
        )
    config: dict[str, Any] = yaml.safe_load(text)
    words = tuple(f"{module}." for module in trusted if module)
    if other := other_versions(checkpoint):
        warnings.warn(f"{path}: {other}. What follows may differ from what was trained.", stacklevel=2)
    refused = sorted({name for name in _imports(config) if not name.startswith(words) and not _registered(name)})
    if refused:
        packages = ",".join(sorted({name.partition(".")[0] for name in refused}))
        if ours := [name for name in refused if name.startswith(tuple(f"{module}." for module in REGISTERED[:3]))]:
            raise ValueError(
                f"{path} names {', '.join(ours)}, which gan-modules {versions()['gan-modules']} does not have"
                f"{f'; {other}' if other else ''}. Install the version that the checkpoint was written with."
            )
        raise ValueError(
            f"{path} names {', '.join(refused)}, and a checkpoint may only import registered classes. If you trust "
            f"that code, say so: --trust {packages}"
        )
    return config


def _imports(node: Any, key: str = "") -> Iterator[str]:
    """Every string in the configuration that the parser could import: class paths, and names of importable packages."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _imports(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _imports(value, key)
    elif isinstance(node, str) and (
        (key == "class_path" and "." in node) or (_DOTTED.fullmatch(node) and _importable(node.partition(".")[0]))
    ):
        yield node


def _registered(name: str) -> bool:
    """Whether ``name`` is a class of a registered module: not something else that such a module happens to import."""
    allowed = tuple(f"{module}." for module in REGISTERED)
    if not name.startswith(allowed):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and f"{found.__module__}.".startswith(allowed)


def _importable(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
