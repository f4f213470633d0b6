"""The page "Data that are known exactly": its code runs, and every exported distribution is on it."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

import datamodules
from datamodules import SyntheticDataModule

PAGE = (ROOT / "docs" / "known_distributions.md").read_text()
FIRST, SECOND = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(block):
    names = {}
    exec(compile(block, "known_distributions.md", "exec"), names)
    return names


def test_the_code_of_the_page_does_what_it_says():
    floors = run(FIRST)["truth"].floors(2_500)
    assert (floors.modes, round(floors.high_quality, 4), round(floors.mode_kl, 4)) == (25, 0.9889, 0.0048)
    assert run(SECOND)["data"].truth.num_modes == 3


def test_the_radius_in_high_dimensions():
    truth = datamodules.GaussianMixtureDataModule(batch_size=1, dimension=1_200, modes=2).truth
    assert truth.radius == pytest.approx(36.3, abs=0.05)


def test_every_distribution_is_on_the_page():
    exported = (getattr(datamodules, name) for name in datamodules.__all__)
    known = {cls.__name__ for cls in exported if issubclass(cls, SyntheticDataModule)}
    assert {name for name in known if f"`{name}" not in PAGE} == set()
