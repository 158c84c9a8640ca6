"""Metrics equal scikit-learn's where it has a value, and their own definition where it has none."""

import numpy as np
import pytest
from sklearn import metrics as reference

from genomelm_utils.evaluation.metrics import (
    auc_one_vs_one,
    average_precision,
    classification_metrics,
    roc_auc,
)


def random_predictions(rng, n_rows: int, n_classes: int, decimals: int = 2):
    """Probabilities rounded so that scores tie, and labels that follow them loosely."""
    probs = rng.dirichlet(np.ones(n_classes), n_rows)
    labels = np.array([rng.choice(n_classes, p=row) for row in probs])
    probs = probs.round(decimals)
    probs[:, 0] = 1 - probs[:, 1:].sum(1)
    return np.clip(probs, 0, 1), labels


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_every_number_equals_scikit_learn(rng, n_classes):
    for n_rows in (20, 301):
        probs, labels = random_predictions(rng, n_rows, n_classes)
        found = classification_metrics(probs, labels)
        predicted = probs.argmax(1)
        expected = {
            "accuracy": reference.accuracy_score(labels, predicted),
            "precision": reference.precision_score(
                labels, predicted, average="macro", zero_division=0
            ),
            "recall": reference.recall_score(labels, predicted, average="macro", zero_division=0),
            "f1": reference.f1_score(labels, predicted, average="macro", zero_division=0),
            "mcc": reference.matthews_corrcoef(labels, predicted),
        }
        if n_classes == 2:
            expected["auc"] = reference.roc_auc_score(labels, probs[:, 1])
            expected["auprc"] = reference.average_precision_score(labels, probs[:, 1])
        else:
            expected["auc"] = reference.roc_auc_score(labels, probs, multi_class="ovo")
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), name
        assert found["collapsed"] is False


def test_small_example_by_hand():
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.8, 0.2]])
    found = classification_metrics(probs, np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.5
    assert found["mcc"] == 0.0
    assert found["auc"] == 0.75  # of 4 pairs only (0.2 against 0.6) is in the wrong order
    assert found["auprc"] == pytest.approx((1 + 2 / 3) / 2)


def test_one_class_predicted_is_flagged_and_has_no_correlation():
    probs = np.tile([0.7, 0.3], (6, 1))
    found = classification_metrics(probs, np.array([0, 0, 0, 1, 1, 1]))
    assert found["collapsed"] is True
    assert found["accuracy"] == 0.5
    assert found["mcc"] == 0.0
    assert found["auc"] == 0.5
    assert found["precision"] == 0.25  # class 1 is never predicted: precision 0
    assert found["recall"] == 0.5


def test_one_class_present():
    probs = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = classification_metrics(probs, np.array([0, 0]))
    assert found["accuracy"] == 1.0
    assert found["f1"] == 1.0
    assert found["mcc"] == 0.0
    assert np.isnan(found["auc"])
    assert found["auprc"] == 0.0


def test_absent_class_is_left_out_of_the_pairs(rng):
    probs, labels = random_predictions(rng, 60, 3)
    labels[labels == 2] = 0
    both = [0, 1]
    pair = (roc_auc(probs[:, 0], labels == 0) + roc_auc(probs[:, 1], labels == 1)) / 2
    assert auc_one_vs_one(probs, labels) == pytest.approx(pair)
    assert set(np.unique(labels)) == set(both)
    assert np.isnan(classification_metrics(probs, labels)["auprc"])
    assert np.isnan(auc_one_vs_one(probs, np.zeros(60, int)))


def test_order_of_rows_does_not_matter(rng):
    probs, labels = random_predictions(rng, 50, 2, decimals=1)
    order = rng.permutation(50)
    assert classification_metrics(probs, labels) == pytest.approx(
        classification_metrics(probs[order], labels[order])
    )
    assert average_precision(np.ones(4), np.array([1, 0, 0, 1])) == 0.5


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (np.full((2, 1), 1.0), [0, 0], "one column per class"),
        (np.full((0, 2), 0.5), [], "at least one sequence"),
        (np.full((2, 2), 0.5), [0], "one per prediction"),
        (np.full((2, 2), 0.5), [0, 2], "label 2 found, expected 0..1"),
        (np.full((2, 2), 0.5), [0, 0.5], "whole numbers"),
        (np.array([[0.5, 0.5], [2.0, -1.0]]), [0, 1], "row 1"),
        (np.array([[0.5, np.nan], [0.5, 0.5]]), [0, 1], "row 0"),
    ],
)
def test_wrong_input_says_what_is_wrong(probs, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(probs, labels)
