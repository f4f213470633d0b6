"""A small classifier of 8x8 digits whose features stand in for Inception's."""

from __future__ import annotations

from callbacks.metrics.extractors.small import Architecture, SmallClassifier


class DigitsClassifier(SmallClassifier):
    """64 penultimate features and the class of 8x8 digits, for scikit-learn's digits divided by 16.

    Trained by ``train_classifier`` on 1,197 of the 1,797 digits; accuracy on 300 validation digits 99.3 %, on 300 test
    digits 99.3 %. The split is its own: the 1,197 are 957 training digits of ``DigitsDataModule``, 236 of its 300
    validation digits, and 4 of its 300 test digits. It is surer of digits that it was trained on, so what it says of
    margins (``between``) differs between these splits. Features are scaled so that their total variance on the
    training digits is 100: a Frechet distance of 1 is one per cent of it.

    Frechet distances to the training digits, as measured, of the 600 held-out digits 0.4 (300 of them 0.6 or 0.7, and
    held-out 300 to 300 0.9); of the 600 with Gaussian noise of 0.1 1.9, without one class 4 to 11, under a binomial
    3x3 blur 39; of 600 samples of a Gaussian with the training pixels' mean and covariance 38; of one digit 197.

    Args:
        weights: a file that ``train_classifier`` wrote; the one that comes with the package if None.

    Raises:
        RuntimeError: the file is missing or damaged.
    """

    architecture = Architecture("digits", side=8, layers=((16, 1), (32, 2), (32, 1)))
