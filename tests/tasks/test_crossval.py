"""Cross-validation: folds, what leaks and what does not, means with intervals."""

import numpy as np
import pytest
from sequence_toy import CLASSES, TOKENS, tiny_config, toy_rows

from genomelm_utils.tasks.crossval import (
    cross_validate,
    cross_validate_network,
    make_folds,
    split_valid,
)
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings


@pytest.mark.parametrize(
    ("n", "k", "sizes"),
    [(12175, 8, {10653}), (12175, 3, {8116, 8117}), (9719, 8, {8504})],
)
def test_golden_sizes_of_released_folds(n, k, sizes):
    """As released: by class, in order, without groups."""
    labels = (np.arange(n) >= n // 2).astype(int)
    folds = make_folds(labels, None, k, mode="reference")
    assert {len(train) for train, _ in folds} & sizes
    assert len(folds[0][0]) in sizes
    assert all(abs(len(train) - n * (k - 1) / k) < 2 for train, _ in folds)
    # contiguous within a class
    first = folds[0][1]
    assert first[labels[first] == 0].tolist() == list(range((labels[first] == 0).sum()))


def test_groups_stay_together_and_every_row_is_tested_once(rng):
    groups = rng.integers(0, 60, 300)
    labels = groups % 2
    folds = make_folds(labels, groups, 5, seed=2)
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(300))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert abs(labels[test].mean() - labels.mean()) < 0.15
    again = make_folds(labels, groups, 5, seed=2)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(folds, again, strict=True))
    other = make_folds(labels, groups, 5, seed=3)
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(folds, other, strict=True))


def test_the_part_that_is_watched_has_groups_of_its_own(rng):
    groups = rng.integers(0, 60, 300)
    labels = groups % 2
    train = make_folds(labels, groups, 4)[0][0]
    fit, watch = split_valid(train, labels, groups, seed=1)
    assert sorted([*fit, *watch]) == sorted(train)
    assert not set(groups[fit]) & set(groups[watch])
    assert 0.02 < len(watch) / len(train) < 0.25


def test_copies_on_two_sides_are_what_the_released_folds_leak(rng):
    """Labels are noise, but every row has a copy: who remembers the copy knows the label."""
    from sklearn.neighbors import KNeighborsClassifier

    features = np.repeat(rng.normal(size=(100, 5)), 2, axis=0)
    labels = np.repeat(rng.integers(0, 2, 100), 2)
    order = rng.permutation(200)
    features, labels, groups = features[order], labels[order], (np.arange(200) // 2)[order]

    def nearest(train, test, _):
        return (
            KNeighborsClassifier(1)
            .fit(features[train], labels[train])
            .predict_proba(features[test])
        )

    found = {}
    for mode in ("reference", "corrected"):
        folds = make_folds(labels, groups, 5, mode=mode)
        result = cross_validate(labels, 2, folds, nearest, groups_S=groups)
        found[mode] = result.summary.set_index("metric").loc["accuracy", "mean"]
    assert found["reference"] > 0.8
    assert abs(found["corrected"] - 0.5) < 0.15


def test_tables_by_hand():
    labels = np.array([0, 1, 0, 1])
    folds = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    answers = {0: [[0.9, 0.1], [0.2, 0.8]], 1: [[0.9, 0.1], [0.7, 0.3]]}
    result = cross_validate(labels, 2, folds, lambda train, test, i: np.array(answers[i]))
    accuracy = result.folds.query("metric == 'accuracy'")
    assert accuracy["value"].tolist() == [1.0, 0.5]
    assert accuracy["n_train"].tolist() == [2, 2]
    summary = result.summary.set_index("metric").loc["accuracy"]
    assert (summary["mean"], summary["pooled"]) == (0.75, 0.75)
    # t interval of two values: 0.75 +- 12.706 x 0.25
    assert summary["high"] == pytest.approx(0.75 + 12.706 * 0.25, rel=1e-3)
    np.testing.assert_array_equal(result.probs_SC, [*answers[0], *answers[1]])
    assert not result.folds["leaked"].any()


def test_a_network_in_folds_and_what_a_warm_start_hides(tmp_path):
    """Labels are noise: starting anew scores chance; from the model that saw all rows, more."""
    rows, _ = toy_rows(80, seed=1)
    labels = np.random.default_rng(5).permutation(np.arange(80) % 2)
    settings = TrainingSettings(epochs=60, batch_size=16, learning_rate=1e-2, on_collapse="keep")
    seen = train_classifier((rows, labels), tiny_config(), TOKENS, CLASSES, settings, seed=1)
    assert (seen.predict(rows).argmax(1) == labels).mean() > 0.85
    seen.save(tmp_path / "seen")
    groups = np.arange(80)
    folds = make_folds(labels, groups, 2)
    short = TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3, on_collapse="keep")
    options = {"groups_S": groups}
    anew = cross_validate_network(
        rows, labels, tiny_config(), TOKENS, CLASSES, short, folds, **options,
        folder=tmp_path / "cv", save_models=True,
    )  # fmt: skip
    warm = cross_validate_network(
        rows, labels, tmp_path / "seen", TOKENS, CLASSES, short, folds, **options,
        start="reference", watch="reference",
    )  # fmt: skip
    accuracy = [r.summary.set_index("metric").loc["accuracy", "mean"] for r in (anew, warm)]
    assert accuracy[0] < 0.7 < accuracy[1]
    assert warm.folds["leaked"].all() and not anew.folds["leaked"].any()
    assert (tmp_path / "cv" / "fold-1" / "model" / "sequence_model.json").is_file()
    with pytest.raises(ValueError, match="every fold is a leak"):
        cross_validate_network(
            rows, labels, tmp_path / "seen", TOKENS, CLASSES, short, folds, **options
        )


def test_wrong_requests():
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="class 1 has 2 rows, fewer than 3 folds"):
        make_folds(labels, None, 3)
    with pytest.raises(ValueError, match="class 0 has 1 groups of related rows"):
        make_folds(labels, np.array([0, 0, 0, 1, 2]), 2)
    with pytest.raises(ValueError, match="folds is 1"):
        make_folds(labels, None, 1)
    with pytest.raises(ValueError, match="folds is 'random'"):
        make_folds(labels, None, 2, mode="random")
