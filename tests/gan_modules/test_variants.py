"""Each variant is the general module with the parts that its paper names, every one of which can be replaced."""

from __future__ import annotations

from functools import partial

import torch

from gan_modules import LSGAN, NSGAN, R3GAN, WGAN, WGANGP, GANModule, HingeGAN, MinimaxGAN
from gan_modules.losses import Hinge, LeastSquares, Minimax, NonSaturating, RelativisticPairing, Wasserstein
from gan_modules.penalties import R1, R2, GradientPenalty, WeightClipping
from gan_modules.rules import Alternating, Simultaneous

PARTS = {  # of every variant there is: (its arguments, those of the general module)
    MinimaxGAN: ({}, {"loss": Minimax()}),
    NSGAN: ({}, {"loss": NonSaturating()}),
    LSGAN: ({}, {"loss": LeastSquares()}),
    HingeGAN: ({}, {"loss": Hinge()}),
    WGAN: ({"clip": 0.05}, {"loss": Wasserstein(), "constraint": WeightClipping(0.05), "rule": Alternating(5)}),
    WGANGP: (
        {"gp_weight": 3.0, "penalties": [R1(0.5)]},
        {"loss": Wasserstein(), "penalties": [GradientPenalty(3.0), R1(0.5)], "rule": Alternating(5)},
    ),
    R3GAN: (
        {"gamma": 0.2, "penalties": [GradientPenalty(0.5)]},
        {"loss": RelativisticPairing(), "penalties": [R1(0.2), R2(0.2), GradientPenalty(0.5)]},
    ),
}


def test_trains_as_the_general_module_with_its_parts(variant, tiny, fit, snapshot):
    own, general = PARTS[variant]
    named, composed = tiny(variant, **own), tiny(GANModule, **general)
    for module in (named, composed):
        fit(module, 2)
    assert named.draws == composed.draws
    assert torch.equal(snapshot(named), snapshot(composed))


def test_rule_and_optimizers_can_be_replaced(variant, tiny, fit, snapshot):
    rule = Simultaneous()
    module = tiny(variant, rule=rule, generator_optimizer=partial(torch.optim.SGD, lr=0.0))
    start = [snapshot(player) for player in module.players]
    fit(module, 2)
    assert module.rule is rule
    assert torch.equal(snapshot(module.generator), start[0])
    assert not torch.equal(snapshot(module.discriminator), start[1])
