"""Two processes give the values of one, however the data are shared between them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
CASES = (
    *("frechet uneven", "frechet empty", "frechet one side each", "frechet few", "frechet own gather"),
    *("modes uneven", "modes empty"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    path = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(HERE / "worker.py")]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_has_the_value_of_one_process(results: list[dict[str, Any]], case: str, rank: int) -> None:
    both, one = results[rank]["compared"][case]
    torch.testing.assert_close(both, one, rtol=1e-10, atol=1e-10)


def test_no_case_is_left_out(results: list[dict[str, Any]]) -> None:
    assert set(results[0]["compared"]) == set(CASES)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_reaches_every_process_and_leaves_its_own_state(results: list[dict[str, Any]], rank: int) -> None:
    failures = results[rank]["failures"]
    assert "0 generated sample(s)" in failures["scarce"]
    torch.testing.assert_close(*failures["after"], rtol=1e-10, atol=1e-10)
    assert "different d: [4, 5]" in failures["widths"]
