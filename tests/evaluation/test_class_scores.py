"""Scores, tables and curves of classes, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from genomelm_utils.evaluation.class_scores import (
    SCORES,
    class_table,
    confusion_table,
    is_collapsed,
    resample_groups,
    score_classes,
    score_intervals,
)
from genomelm_utils.evaluation.curves import curve_table, pr_points, roc_points


@pytest.fixture(scope="module")
def predicted():
    """200 rows of three classes of unlike size; probabilities lean to the truth."""
    rng = np.random.default_rng(4)
    labels = rng.choice(3, 200, p=[0.5, 0.3, 0.2])
    logits = rng.normal(size=(200, 3)) + 1.2 * np.eye(3)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, labels


def test_the_same_as_scikit_learn(predicted):
    probs, labels = predicted
    scores, hard = score_classes(probs, labels), probs.argmax(1)
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        assert scores[name] == pytest.approx(score(labels, hard, average="weighted"))
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(labels, hard, average="macro"))
    assert scores["loss"] == pytest.approx(metrics.log_loss(labels, probs))
    assert set(SCORES) <= set(scores)


@pytest.mark.parametrize(
    ("share", "f1"), [(6449 / 10799, 0.44657), (1 - 6449 / 10799, 0.23133), (0.50086, 0.33429)]
)
def test_golden_f1_of_a_collapsed_model(share, f1):
    """Predicting a class of share p for all: weighted F1 = p x 2 p / (1 + p)."""
    n = 1_000_000
    labels = (np.arange(n) >= round(share * n)).astype(int)
    scores = score_classes(np.tile([0.9, 0.1], (n, 1)), labels)
    assert scores["f1"] == pytest.approx(2 * share**2 / (1 + share), abs=1e-5)
    assert scores["f1"] == pytest.approx(f1, abs=5e-6 + 1e-5)
    assert scores["largest_share"] == 1 and is_collapsed(scores, labels)


def test_what_counts_as_collapsed():
    probs = np.tile([0.6, 0.4], (200, 1))
    labels = np.arange(200) % 2
    assert is_collapsed(score_classes(probs, labels), labels)
    probs[:5] = [0.4, 0.6]  # 2.5 % of another class
    assert not is_collapsed(score_classes(probs, labels), labels)
    same = np.zeros(200, int)  # there is nothing else to predict
    assert not is_collapsed(score_classes(np.tile([0.6, 0.4], (200, 1)), same), same)


def test_tables_of_classes(predicted):
    probs, labels = predicted
    names = ["a", "b", "c"]
    table = class_table(probs, labels, names).set_index("class")
    report = metrics.classification_report(
        labels, probs.argmax(1), target_names=names, output_dict=True
    )
    for name in names:
        assert table.loc[name, "precision"] == pytest.approx(report[name]["precision"])
        assert table.loc[name, "f1"] == pytest.approx(report[name]["f1-score"])
        assert table.loc[name, "n_true"] == report[name]["support"]
    wanted = metrics.roc_auc_score(labels == 1, probs[:, 1])
    assert table.loc["b", "auc"] == pytest.approx(wanted)
    confusion = confusion_table(probs, labels, names)
    matrix = confusion["n"].to_numpy().reshape(3, 3)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(labels, probs.argmax(1)))
    np.testing.assert_allclose(confusion.groupby("true")["share"].sum(), 1)


def test_groups_are_drawn_whole(rng):
    groups = np.array(["x", "y", "x", "z", "z", "z"])
    for rows in resample_groups(6, groups, rng, 50):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2] and counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[1] + counts[3] == 3
    with pytest.raises(ValueError, match="5 groups for 6 rows"):
        resample_groups(6, groups[:5], rng, 1)


def test_intervals_cover_and_relatives_make_them_wider(predicted, rng):
    probs, labels = predicted
    plain = score_intervals(probs, labels, rng, n_resamples=200).set_index("metric")
    value = plain["value"]
    assert ((plain["low"] < value) & (value < plain["high"])).drop("auprc").all()
    assert np.isnan(value["auprc"])  # of two classes only
    # every row four times: as many rows, no more evidence
    times = np.repeat(np.arange(200), 4)
    options = {"n_resamples": 200, "scores": ["accuracy"]}
    copied = probs[times], labels[times]
    naive = score_intervals(*copied, rng, **options)
    grouped = score_intervals(*copied, rng, groups=times, **options)
    width = [float((t["high"] - t["low"]).iloc[0]) for t in (naive, grouped)]
    assert width[1] > 1.6 * width[0]
    assert grouped["n_groups"][0] == 200


def test_curves_are_those_of_scikit_learn(rng):
    positive = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + positive, 1)  # with ties
    false, true = roc_points(scores, positive)
    wanted = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, wanted[0])
    np.testing.assert_allclose(true, wanted[1])
    recall, precision = pr_points(scores, positive)
    theirs = metrics.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(precision[1:], theirs[0][:-1][::-1])
    np.testing.assert_allclose(recall[1:], theirs[1][:-1][::-1])


def test_curve_table_has_intervals_and_chance(rng):
    positive = rng.random(300) < 0.3
    scores = rng.normal(size=300) + 1.5 * positive
    table = curve_table(scores, positive, rng, n_points=51, n_resamples=60)
    assert (table["low"] <= table["high"]).all()
    roc = table[table["curve"] == "roc"]
    area = float(np.trapezoid(roc["y"], roc["x"]))
    assert area == pytest.approx(metrics.roc_auc_score(positive, scores), abs=0.02)
    inside = (roc["low"] - 1e-9 <= roc["y"]) & (roc["y"] <= roc["high"] + 1e-9)
    assert inside.mean() > 0.9
    pr = table[table["curve"] == "pr"]
    assert pr["chance"].iloc[0] == pytest.approx(positive.mean())
    assert pr["y"].iloc[-1] >= positive.mean()  # of the threshold that first finds them all
    with pytest.raises(ValueError, match="expected both classes"):
        roc_points(scores, np.ones(300))
