"""Feature matching, as a loss and as a term beside another."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules import FeatureMatchingGAN
from gan_modules.losses import FeatureMatching, FisherBall, Lipschitz, MeanFeatures, NonSaturating, SobolevBall
from gan_modules.penalties import R1, FeatureMatchingTerm, GradientPenalty, WeightClipping


@pytest.fixture
def linear_features():
    """Features A x, shape (B, 2), then a logit."""
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()


def test_gradient_for_linear_features(linear_features, d_pass):
    # |A (mean x - mean y)|^2: gradient -2 A^T A (mean x - mean y) / n at each fake
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    loss = FeatureMatching(weight=0.7)
    value = loss.generator(d_pass(linear_features, real, fake, loss))
    a, delta = linear_features[0].weight.detach(), (real.mean(0) - fake.mean(0)).detach()
    assert_close(value.detach(), 0.7 * (a @ delta).square().sum())
    (gradient,) = torch.autograd.grad(value, fake)
    assert_close(gradient, (-0.7 * 2 * a.T @ a @ delta / 6).expand(6, 3))


def test_layers_add_up(linear_features, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)

    def value(*features):
        loss = FeatureMatching(features)
        return loss.generator(d_pass(linear_features, real, fake, loss))

    assert_close(value("0", "1"), value("0") + value("1"))
    assert_close(value("penultimate"), value("0"))


def test_discriminator_learns_by_the_wrapped_loss_and_the_generator_may_add_its_own(linear_features, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    bare, mixed = FeatureMatching(weight=0.5), FeatureMatching(weight=0.5, adversarial=0.3)
    d = d_pass(linear_features, real, fake, bare)
    wrapped = NonSaturating()
    assert_close(mixed.discriminator(d), wrapped.discriminator(d))
    assert_close(mixed.generator(d), bare.generator(d) + 0.3 * wrapped.generator(d))


def test_as_a_term_beside_another_loss_it_is_the_same(linear_features, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    loss, term = FeatureMatching(weight=0.5, adversarial=1.0), FeatureMatchingTerm(weight=0.5)
    d = d_pass(linear_features, real, fake, term)
    assert term.discriminator(d) is None
    assert_close(term.generator(d) + NonSaturating().generator(d), loss.generator(d))


def test_passes_on_what_the_wrapped_loss_brings(game_batch):
    assert FeatureMatching(loss=Lipschitz()).penalties == (GradientPenalty(),)
    assert FeatureMatching(loss=Lipschitz()).needs_bounded_slope
    assert FeatureMatching(loss=MeanFeatures()).constraint == WeightClipping(0.01)
    assert FeatureMatching(loss=SobolevBall()).gradient_at(game_batch(torch.zeros(2, 1))) == {"real", "fake"}
    assert FeatureMatching(("0",), FeatureMatching(("1",))).layers == ("0", "1")


def test_wrapped_loss_keeps_its_memory(linear_features, d_pass):
    loss, bare = FeatureMatching(loss=FisherBall(0.5)), FisherBall(0.5)
    d = d_pass(linear_features, *torch.randn(2, 6, 3, dtype=torch.float64), loss)
    assert d.memory == bare.init()
    assert loss.update(d) == bare.update(d)
    assert loss.update(d)["multiplier"] != 0
    d.memory = {"multiplier": torch.tensor(2.0)}
    assert_close(loss.discriminator(d), bare.discriminator(d))


@pytest.mark.parametrize("make", [FeatureMatching, FeatureMatchingTerm])
def test_takes_the_list_that_a_configuration_gives(make):
    assert make(["0", "penultimate"]) == make(("0", "penultimate"))
    assert hash(make(["0"])) == hash(make(("0",)))
    assert make(["0"]).layers == ("0",)


def test_names_the_layers_by_one_word_everywhere(tiny):
    for features in (["hidden"], ("hidden",)):
        assert tiny(FeatureMatchingGAN, features=features).loss == FeatureMatching(features=features)


@pytest.mark.parametrize(
    "make", [FeatureMatching, FeatureMatchingTerm, lambda features: FeatureMatchingGAN(None, None, features=features)]
)
def test_a_bare_word_is_refused_with_the_sequence_that_was_meant(make):
    # its letters would be taken for layers
    with pytest.raises(ValueError, match=r"features='hidden'.*\['hidden'\]"):
        make(features="hidden")


def test_what_is_no_loss_is_refused():
    with pytest.raises(TypeError, match=r"loss=R1\(gamma=1.0\).*give an AdversarialLoss"):
        FeatureMatching(loss=R1())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureMatching(()), "no layers"),
        (lambda: FeatureMatching(weight=-1.0), "weight=-1.0"),
        (lambda: FeatureMatching(adversarial=-1.0), "adversarial=-1.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
