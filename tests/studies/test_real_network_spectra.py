"""What follows from the losses holds on small networks; a field twice as large, a block of the wrong sign break it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studies import real_network_spectra
from studies.__main__ import main

SMALL = {"seeds": 1, "looks": (0, 20), "width": 8, "vectors": 20, "mnist_seeds": 0}


@pytest.fixture
def status(tmp_path):
    """A function (settings) -> exit status of the study, small."""

    def run(**settings):
        given = [f"--set={name}={value!r}" for name, value in (SMALL | settings).items()]
        return main(["real_network_spectra", "--out", str(tmp_path), *given])

    return run


def test_what_follows_from_the_losses_holds_and_is_kept(status, monkeypatch):
    assert status() == 0
    monkeypatch.delattr(real_network_spectra, "GameJacobian")  # a second run asks for nothing
    assert status() == 0


def test_eigenvalues_of_twice_the_field(status, monkeypatch):
    right = real_network_spectra.spectrum

    def doubled(*args, **kwargs):
        found = right(*args, **kwargs)
        return replace(found, values=2 * found.values)

    monkeypatch.setattr(real_network_spectra, "spectrum", doubled)
    assert status() == 1


def test_a_block_of_the_wrong_sign(status, monkeypatch):
    right = real_network_spectra.hessian_block

    def negated(*args):
        apply = right(*args)
        return lambda w: -apply(w)

    monkeypatch.setattr(real_network_spectra, "hessian_block", negated)
    assert status() == 1


def test_without_mnist_it_says_so(status, capsys, tmp_path):
    assert status(mnist_seeds=1, root=str(tmp_path / "nowhere")) == 0
    assert "absent in" in capsys.readouterr().out
