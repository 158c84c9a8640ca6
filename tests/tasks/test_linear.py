"""Linear classifiers: labels are checked, absent classes keep their column."""

import numpy as np
import pytest

from genomelm_utils.tasks.linear import logistic_probs, standardise


def test_labels_are_checked():
    features = np.eye(3)
    for labels, message in (
        ([0, 1], "one per sequence"),
        ([0, 1, -1], "must be 0, 1, 2"),
        ([0, 1, 0.5], "must be 0, 1, 2"),
    ):
        with pytest.raises(ValueError, match=message):
            logistic_probs(features, labels, features, 1.0)
    with pytest.raises(ValueError, match="n_classes is 2"):
        logistic_probs(features, [0, 1, 2], features, 1.0, n_classes=2)


def test_absent_class_has_probability_zero(rng):
    features = rng.normal(size=(30, 2))
    labels = np.where(features[:, 0] > 0, 2, 0)
    probs = logistic_probs(features, labels, features, 1.0, n_classes=4)
    assert probs.shape == (30, 4)
    assert (probs[:, [1, 3]] == 0).all()
    assert (probs.argmax(1) == labels).mean() > 0.9


def test_scaling_comes_from_the_training_rows_only():
    train, test = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 9.0]])
    scaled, other = standardise(train, test)
    assert scaled.tolist() == [[-1, 0], [1, 0]]
    assert other.tolist() == [[2, 0]]
