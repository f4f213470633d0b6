"""The claim on feature matching holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

import pytest

from gan_modules.losses import FeatureMatching, Minimax
from gan_modules.penalties.feature_matching import FeatureMatchingTerm
from studies import feature_matching
from studies.__main__ import main

SMALL = {"seeds": 1, "batch": 64, "width": 32, "converge": 800, "iterations": 500, "again": 150, "every": 50}


@pytest.fixture
def status(tmp_path):
    """A function () -> exit status of the study, small."""
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    return lambda: main(["feature_matching", "--out", str(tmp_path), *settings])


def test_missing_modes_come_back(status):
    assert status() == 0


def test_features_that_are_pushed_apart(status, monkeypatch):
    right = FeatureMatchingTerm.generator
    monkeypatch.setattr(FeatureMatchingTerm, "generator", lambda self, d: -right(self, d))
    assert status() == 1


def test_a_distance_of_twice_the_weight(monkeypatch):
    assert all(row.holds for row in feature_matching.dirac())
    double = {**feature_matching.LOSSES, feature_matching.MATCHING: FeatureMatching(loss=Minimax(), weight=2.0)}
    monkeypatch.setattr(feature_matching, "LOSSES", double)
    assert not all(row.holds for row in feature_matching.dirac())
