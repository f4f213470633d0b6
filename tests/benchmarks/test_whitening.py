"""The benchmark of whitening times every exported one that reads data."""

from __future__ import annotations

from whitening_recipes import EXPORTED

from benchmarks.whitening import ARMS, measure


def test_every_fitted_whitening_is_timed_against_the_reference() -> None:
    assert set(ARMS) == set(EXPORTED) - {"Identity", "Rescale"}
    rows = measure((100, 1, 4, 5), list(ARMS), repeats=1)
    assert [row["whitening"] for row in rows] == list(ARMS)
    assert all(row["d"] == 20 and row["seconds"] > 0 and row["reference_seconds"] > 0 for row in rows)
