"""Each variant is the general module with the parts that its paper names, every one of which can be replaced."""

from __future__ import annotations

from argparse import ArgumentError
from functools import partial

import pytest
import torch
from jsonargparse import ArgumentParser
from recipes import networks

from gan_modules import R1GAN, R3GAN, GANModule
from gan_modules.augmentation import AdversarialPerturbation, InstanceNoise
from gan_modules.losses import (
    Bounded,
    FeatureMatching,
    FisherBall,
    Hinge,
    KernelBall,
    LeastSquares,
    Lipschitz,
    Minimax,
    NonSaturating,
    RationalQuadraticKernel,
    RelativisticPairing,
    SobolevBall,
    Wasserstein,
)
from gan_modules.networks import Packed
from gan_modules.penalties import R1, R2, DRAGANPenalty, GradientPenalty, Orthonormal, SpectralNorm, WeightClipping
from gan_modules.rules import Alternating, Simultaneous, Unrolled

PARTS = {  # of every variant there is: (its arguments, those of the general module)
    "MinimaxGAN": ({}, {"loss": Minimax()}),
    "NSGAN": ({}, {"loss": NonSaturating()}),
    "LSGAN": ({}, {"loss": LeastSquares()}),
    "HingeGAN": ({}, {"loss": Hinge()}),
    "WGAN": ({"clip": 0.05}, {"loss": Wasserstein(), "constraint": WeightClipping(0.05), "rule": Alternating(5)}),
    "WGANGP": (
        {"gp_weight": 3.0, "penalties": [R1(0.5)]},
        {"loss": Wasserstein(), "penalties": [GradientPenalty(3.0), R1(0.5)], "rule": Alternating(5)},
    ),
    "R3GAN": (
        {"gamma": 0.2, "penalties": [GradientPenalty(0.5)]},
        {"loss": RelativisticPairing(), "penalties": [R1(0.2), R2(0.2), GradientPenalty(0.5)]},
    ),
    "ConditionalGAN": ({"loss": LeastSquares()}, {"loss": LeastSquares(), "num_classes": 8}),
    "DRAGAN": (
        {"gp_weight": 2.0, "penalties": [R1(0.1)]},
        {"loss": NonSaturating(), "penalties": [DRAGANPenalty(2.0), R1(0.1)]},
    ),
    "FeatureMatchingGAN": (
        {"features": ["hidden"], "weight": 2.0, "adversarial": 0.5, "loss": Hinge()},
        {"loss": FeatureMatching(("hidden",), Hinge(), 2.0, 0.5)},
    ),
    "FisherGAN": ({"rho": 0.5}, {"loss": FisherBall(0.5), "rule": Alternating(5)}),
    "IPMGAN": ({}, {"loss": Bounded(), "rule": Alternating(5)}),
    "LipschitzGAN": ({"by": Orthonormal()}, {"loss": Lipschitz(Orthonormal()), "rule": Alternating(5)}),
    "MMDGAN": (
        {"gp_weight": 0.5},
        {"loss": KernelBall(RationalQuadraticKernel()), "penalties": [GradientPenalty(0.5)], "rule": Alternating(5)},
    ),
    "PacGAN": ({"loss": Hinge()}, {"loss": Hinge()}),
    "R1GAN": ({"gamma": 0.3, "penalties": [R2(0.1)]}, {"loss": NonSaturating(), "penalties": [R1(0.3), R2(0.1)]}),
    "RobustGAN": (
        {"eps": 0.2, "norm": "linf", "steps": 2, "fakes": True, "augmentation": [InstanceNoise(0.1)]},
        {
            "loss": NonSaturating(),
            "augmentation": [
                InstanceNoise(0.1),
                AdversarialPerturbation(0.2, norm="linf", steps=2, fakes=True),
            ],
        },
    ),
    "SNGAN": ({"power_iterations": 2}, {"loss": Hinge(), "constraint": SpectralNorm(2)}),
    "SobolevGAN": ({"rho": 0.5}, {"loss": SobolevBall(0.5), "rule": Alternating(5)}),
    "UnrolledGAN": ({"k": 2, "unrolled_lr": 0.1, "loss": Minimax()}, {"loss": Minimax(), "rule": Unrolled(2, 0.1)}),
}


def test_trains_as_the_general_module_with_its_parts(variant, tiny, fit, snapshot):
    name = variant.__name__
    own, general = PARTS[name]
    named = tiny(variant, **own)
    given = networks(name, num_classes=general.get("num_classes"))
    if name == "PacGAN":
        given["discriminator"] = Packed(given["discriminator"], 2)
    composed = GANModule(**given, **general)
    for module in (named, composed):
        fit(module, 2)
    assert named.draws == composed.draws
    assert torch.equal(snapshot(named), snapshot(composed))


@pytest.mark.parametrize("variant", [R1GAN, R3GAN])
def test_gamma_is_a_number_or_derived_by_the_command_line_too(variant):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(variant, "model", skip={"generator", "discriminator"})
    for word, value in (("auto", "auto"), ("0.5", 0.5)):
        assert parser.parse_args(["--model.gamma", word]).model.gamma == value
    with pytest.raises(ArgumentError, match="gamma"):
        parser.parse_args(["--model.gamma", "large"])


def test_rule_and_optimizers_can_be_replaced(variant, tiny, fit, snapshot):
    rule = Simultaneous()
    module = tiny(variant, rule=rule, generator_optimizer=partial(torch.optim.SGD, lr=0.0))
    start = [snapshot(player) for player in module.players]
    fit(module, 2)
    assert module.rule is rule
    assert torch.equal(snapshot(module.generator), start[0])
    assert not torch.equal(snapshot(module.discriminator), start[1])
