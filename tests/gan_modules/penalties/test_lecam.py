"""The LeCam regulariser against its closed form, over draws."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules import NSGAN
from gan_modules.penalties import LeCam


def draw(linear, d_pass, real, fake):
    """A pass in which D says those numbers."""
    return d_pass(
        linear(torch.ones(1, dtype=torch.float64)), *(torch.tensor(x).double()[:, None] for x in (real, fake))
    )


def test_distances_from_the_other_kinds_moving_average(linear, d_pass):
    penalty = LeCam(weight=0.5, decay=0.75)
    d = draw(linear, d_pass, [1.0, 3.0], [0.0, -4.0])
    d.memory = penalty.init()
    assert penalty.discriminator(d) == 0  # nothing to compare with yet
    memory = penalty.update(d)
    assert (memory["real"], memory["fake"]) == (2.0, -2.0)

    d = draw(linear, d_pass, [0.0, 4.0], [1.0, 1.0])
    d.memory = memory
    # real logits from the fakes' average -2, fakes from the real rows' 2
    assert_close(penalty.discriminator(d).item(), 0.5 * ((4 + 36) / 2 + 1))
    memory = penalty.update(d)
    assert_close((memory["real"].item(), memory["fake"].item()), (2.0, -1.25))
    assert memory["draws"] == 2
    assert penalty.generator(d) is None


def test_averages_are_constants_of_the_loss(linear, d_pass):
    penalty = LeCam(weight=1.0)
    d = draw(linear, d_pass, [1.0], [-1.0])
    d.memory = {"real": torch.tensor(3.0), "fake": torch.tensor(-2.0), "draws": torch.tensor(5)}
    penalty.discriminator(d).backward()
    # d/dw of (w - -2)^2 + (-w - 3)^2 at w = 1
    assert_close(d.discriminator.w.grad.item(), 2 * 3.0 + 2 * 4.0)


def test_memory_goes_on_from_draw_to_draw_in_a_run(tiny, fit):
    averages = []
    module = tiny(NSGAN, penalties=(LeCam(decay=0.5),))

    def watch(trainer):
        averages.append({key: float(value) for key, value in module._memories["penalty/LeCam"].items()})

    trainer = fit(module, 4, after=watch, log_every_n_steps=1)
    assert [memory["draws"] for memory in averages] == [1, 2, 3, 4]
    assert averages[-1]["real"] != averages[-2]["real"]
    assert trainer.callback_metrics["penalty/LeCam"] > 0


@pytest.mark.parametrize(
    "wrong", [{"decay": 1.0}, {"decay": -0.1}, {"weight": -1.0}, {"weight": float("nan")}], ids=str
)
def test_wrong_arguments_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        LeCam(**wrong)
