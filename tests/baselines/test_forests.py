"""Forests and the search over their settings, on features whose use is known."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genomelm_utils.baselines.forests import (
    BOOSTING_SPACE,
    FOREST_SPACE,
    fit_forest,
    list_candidates,
    read_space,
    save_forest,
    score_probs,
    search_forest,
    search_space,
)
from genomelm_utils.baselines.importances import (
    impurity_importance,
    mark_shared,
    permutation_importance,
)

SMALL = {"n_estimators": [5, 20], "max_depth": [1, 4]}


@pytest.fixture(scope="module")
def toy():
    """160 rows of 6 numbers; the class is the sign of the first plus some noise."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(160, 6)).astype(np.float32)
    return features, (features[:, 0] + 0.3 * rng.normal(size=160) > 0).astype(int)


def two_folds(n: int):
    half = n // 2
    return [(np.arange(half), np.arange(half, n)), (np.arange(half, n), np.arange(half))]


def test_published_space_has_7500_combinations():
    assert np.prod([len(values) for values in FOREST_SPACE.values()]) == 7500
    assert search_space("rf") == FOREST_SPACE == search_space("xg", "reference")
    assert search_space("xg") == BOOSTING_SPACE


def test_released_grid_changes_one_setting_only():
    released = list_candidates(FOREST_SPACE, "grid", 8, seed=1, grid="reference")
    assert [c.pop("n_estimators") for c in released] == list(range(10, 90, 10))
    assert len({json.dumps(c) for c in released}) == 1
    corrected = list_candidates(FOREST_SPACE, "grid", 8, seed=1)
    assert all(len({str(c[name]) for c in corrected}) > 1 for name in FOREST_SPACE)


def test_whole_grid_and_random_candidates():
    assert len(list_candidates(FOREST_SPACE, "grid", 0, seed=1)) == 7500
    assert len(list_candidates(SMALL, "grid", 10, seed=1)) == 4
    found = list_candidates(SMALL, "random", 3, seed=1)
    assert len({json.dumps(c, sort_keys=True) for c in found}) == 3
    assert found == list_candidates(SMALL, "random", 3, seed=1)


@pytest.mark.parametrize("model", ["rf", "xg"])
@pytest.mark.parametrize("search", ["grid", "random", "bayes"])
def test_search_finds_the_best_of_its_candidates(model, search, toy):
    features, labels = toy
    options = {"model": model, "search": search, "n": 4, "space": SMALL, "metric": "roc_auc"}
    result = search_forest(features, labels, two_folds(160), **options)
    assert result.score == result.candidates["score"].max() > 0.85
    assert set(result.params) == set(SMALL)
    assert result.candidates["candidate"].is_unique
    # by hand: the same forest on the same folds
    scores = [
        score_probs(
            fit_forest(features[a], labels[a], result.params, model=model).predict_proba(
                features[b]
            ),
            labels[b],
            "roc_auc",
        )
        for a, b in two_folds(160)
    ]
    assert np.mean(scores) == pytest.approx(result.score)
    again = search_forest(features, labels, two_folds(160), **options)
    pd.testing.assert_frame_equal(again.candidates, result.candidates)


def test_sparse_features_and_several_classes(toy):
    features, labels = toy
    three = labels + (features[:, 1] > 1)
    dense = np.maximum(features, 0)
    for model in ("rf", "xg"):
        fitted = fit_forest(sparse.csr_matrix(dense), three, {"n_estimators": 8}, model=model)
        probs = fitted.predict_proba(sparse.csr_matrix(dense))
        assert probs.shape == (160, 3)
        assert score_probs(probs, three, "roc_auc") > 0.8


def test_scores_by_hand():
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8]])
    labels = np.array([0, 0, 1, 1])
    assert score_probs(probs, labels, "accuracy") == 0.75
    # class 0: precision 1, recall 1/2; class 1: precision 2/3, recall 1
    assert score_probs(probs, labels, "precision") == pytest.approx((1 + 2 / 3) / 2)
    assert score_probs(probs, labels, "recall") == pytest.approx(0.75)
    assert score_probs(probs, labels, "f1") == pytest.approx((2 / 3 + 0.8) / 2)
    # 3 of 4 pairs in order; from predicted classes (1/2 + 1) / 2
    assert score_probs(probs, labels, "roc_auc") == 0.75
    assert score_probs(probs, labels, "roc_auc", "reference") == 0.75
    probs[1] = [0.49, 0.51]
    assert score_probs(probs, labels, "roc_auc") == 1.0
    assert score_probs(probs, labels, "roc_auc", "reference") == 0.75


def test_importances_name_the_feature_that_matters(toy, rng):
    features, labels = toy
    names = [f"f{i}" for i in range(6)]
    for matrix in (features, sparse.csr_matrix(np.maximum(features, 0))):
        fitted = fit_forest(matrix[:100], labels[:100], {"n_estimators": 30})
        impurity = impurity_importance(fitted, names)
        assert impurity["feature"][0] == "f0"
        assert impurity["importance"].sum() == pytest.approx(1)
        assert (impurity["sd"] > 0).any()
        shuffled = permutation_importance(fitted, matrix[100:], labels[100:], names, rng)
        assert shuffled["feature"][0] == "f0"
        assert shuffled["importance"][0] > 0.2 > shuffled["importance"][1]


def test_permutation_importance_is_that_of_scikit_learn(toy):
    """The same forest, many repeats: both estimate the same loss of accuracy."""
    from sklearn.inspection import permutation_importance as theirs

    features, labels = toy
    fitted = fit_forest(features[:100], labels[:100], {"n_estimators": 10})
    wanted = theirs(fitted, features[100:], labels[100:], n_repeats=60, random_state=0)
    ours = permutation_importance(
        fitted, features[100:], labels[100:], list("abcdef"), np.random.default_rng(1),
        metric="accuracy", n_repeats=60,
    ).set_index("feature")  # fmt: skip
    np.testing.assert_allclose(
        ours.loc[list("abcdef"), "importance"], wanted.importances_mean, atol=0.02
    )


def test_only_some_features_are_shuffled(toy, rng):
    features, labels = toy
    fitted = fit_forest(features, labels, {"n_estimators": 5}, model="xg")
    table = permutation_importance(fitted, features, labels, list("abcdef"), rng, only=["a", "c"])
    assert sorted(table["feature"]) == ["a", "c"]
    with pytest.raises(ValueError, match="'z' is not among"):
        permutation_importance(fitted, features, labels, list("abcdef"), rng, only=["z"])


def test_features_of_two_tables_that_hold_each_other():
    one = pd.DataFrame({"feature": ["TATA", "GG", "CCC"]})
    other = pd.DataFrame({"feature": ["TATAAT", "G"]})
    assert mark_shared(one, other)["in_other"].tolist() == [True, True, False]


def test_saved_models_predict_the_same(toy, tmp_path):
    import joblib
    from xgboost import XGBClassifier

    features, labels = toy
    forest = fit_forest(features, labels, {"n_estimators": 5})
    again = joblib.load(save_forest(forest, tmp_path))
    np.testing.assert_array_equal(again.predict_proba(features), forest.predict_proba(features))
    boosted = fit_forest(features, labels, {"n_estimators": 5}, model="xg")
    file = save_forest(boosted, tmp_path)
    assert file.name == "model.json"
    read = XGBClassifier()
    read.load_model(file)
    np.testing.assert_allclose(read.predict_proba(features), boosted.predict_proba(features))


def test_search_space_of_a_file(tmp_path):
    file = tmp_path / "space.json"
    file.write_text('{"n_estimators": [10, 20], "max_features": ["sqrt", null]}')
    assert read_space(file, "rf")["max_features"] == ["sqrt", None]
    file.write_text('{"n_estimators": [10, 20]\n "max_depth": [2]}')
    with pytest.raises(ValueError, match="line 2, column 2"):
        read_space(file, "rf")
    with pytest.raises(ValueError, match="did you mean 'max_depth'"):
        read_space({"max_dept": [1]}, "rf")
    with pytest.raises(ValueError, match="expected a list"):
        read_space({"max_depth": 3}, "rf")
    with pytest.raises(FileNotFoundError, match="search space"):
        read_space(tmp_path / "absent.json", "rf")


def test_wrong_requests(toy):
    features, labels = toy
    folds = two_folds(160)
    for change, said in (
        ({"search": "hill"}, "search is 'hill'"),
        ({"metric": "loss"}, "metric is 'loss'"),
        ({"model": "svm"}, "model is 'svm'"),
        ({"n": 0}, "candidates is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            search_forest(features, labels, folds, **change)
    with pytest.raises(ValueError, match="expected two classes"):
        fit_forest(features, np.ones(160, int), {})
