"""A small classifier of MNIST whose features stand in for Inception's."""

from __future__ import annotations

from callbacks.metrics.extractors.small import Architecture, SmallClassifier


class MNISTClassifier(SmallClassifier):
    """64 penultimate features and the class of MNIST's digits (N, 1, 28, 28) in [0, 1]."""

    architecture = Architecture("mnist", side=28, layers=((24, 2), (48, 2), (48, 1), (48, 2)))
