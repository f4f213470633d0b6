"""Who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("gan_modules", "datamodules", "callbacks")
#: from the bottom up; a layer may import the layers below it, and itself
LAYERS = ["batch", "protocols", "dynamics", "rules", "base", "gan"]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in OURS}


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", files("datamodules"), ids=str)
def test_datamodules_import_nothing_of_ours(path: Path) -> None:
    assert all(name.startswith("datamodules") for name in imports(path))


#: what callbacks may know of gan_modules: games, any GAN and how to evaluate it, but no variant and no component
KNOWN = ("protocols", "batch", "dynamics", "discriminator_pass", "steps", "checks", "gan", "optimizers.given_rate")


@pytest.mark.parametrize("path", files("callbacks"), ids=str)
def test_callbacks_import_no_variant_and_no_component(path: Path) -> None:
    allowed = {"callbacks", *(f"gan_modules.{name}" for name in KNOWN)}
    assert all(allowed & {name, *_parents(name)} for name in imports(path)), imports(path)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


@pytest.mark.parametrize("path", [p for p in files("gan_modules") if p.name != "cli.py"], ids=str)
def test_gan_modules_imports_no_sibling_but_in_the_command_line(path: Path) -> None:
    assert all(name.startswith("gan_modules") for name in imports(path)), imports(path)


#: from the bottom up, above batch, protocols, discriminator_pass and terms
COMPONENTS = ["networks", "augmentation", "penalties", "losses"]


@pytest.mark.parametrize("folder", COMPONENTS)
def test_components_import_the_pass_and_components_below(folder: str) -> None:
    below = COMPONENTS[: COMPONENTS.index(folder) + 1]
    shared = ["batch"] if folder == "networks" else ["batch", "protocols", "discriminator_pass", "terms"]
    for path in files(f"gan_modules/{folder}"):
        allowed = tuple(f"gan_modules.{name}" for name in below + shared)
        assert all(name.startswith(allowed) for name in imports(path)), (path, imports(path))


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downwards(layer: str) -> None:
    above = tuple(f"gan_modules.{name}" for name in LAYERS[LAYERS.index(layer) + 1 :])
    base = ROOT / "gan_modules" / layer
    for path in files(f"gan_modules/{layer}") if base.is_dir() else [base.with_suffix(".py")]:
        upward = {n for n in imports(path) if any(n == a or n.startswith(f"{a}.") for a in above)}
        assert not upward, (path, upward)
