"""Fixtures of the whole suite: one pool of two gloo processes, and the real command line as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # workers.py and recipes.py, importable in child processes as well
sys.path.append(str(ROOT))  # benchmarks and studies, which are not installed; the packages under test are

from workers import GlooPool  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it gives
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["WANDB_SILENT"] = "true"
    os.environ["GAN_MODULES_CACHE"] = ""  # a test that wants features kept says where


@pytest.fixture(scope="session")
def gloo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GlooPool]:
    """Two processes joined by gloo on loopback, started once for the suite."""
    pool = GlooPool(tmp_path_factory.mktemp("gloo"))
    yield pool
    pool.close()


def runner(directory: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`gan-modules ARGS` as its own process in ``directory``; fails the test, with the output, if it ends otherwise."""

    def run(*args: Any, fails: bool = False) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).with_name("gan-modules")  # as pip installed it
        environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        environment |= {"OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", "COLUMNS": "160"}
        done = subprocess.run(
            [str(script), *map(str, args)], cwd=directory, env=environment, capture_output=True, text=True, timeout=240
        )
        if (done.returncode != 0) is not fails:
            words = " ".join(map(str, args))
            pytest.fail(f"gan-modules {words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``runner`` in an empty directory."""
    return runner(tmp_path)
