"""Least squares and ridge with missing labels, against scikit-learn on each output alone."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from genomelm_utils.baselines import masked_ridge
from genomelm_utils.baselines.masked_ridge import ALPHAS, fit_linear, fit_ridge, group_masks

SHAPES = [(40, 6), (20, 50)]  # more rows than features, and fewer


def make_rows(rng, n_rows, n_features, n_outputs=3, missing=0.0):
    features = rng.normal(2.0, 1.0, (n_rows, n_features)).astype(np.float32)
    weights = rng.normal(size=(n_features, n_outputs))
    labels = (features @ weights + rng.normal(size=(n_rows, n_outputs))).astype(np.float32)
    labels[rng.random(labels.shape) < missing] = np.nan
    return features, labels


def standardise_alone(features):
    return (features - features.mean(0)) / features.std(0)


@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("alpha", [0.0, 7.0])
def test_equals_scikit_learn_on_each_output_alone(rng, n_rows, n_features, missing, alpha):
    features, labels = make_rows(rng, n_rows, n_features, missing=missing)
    found = fit_linear(features, labels, alpha).predict(features)
    assert found.dtype == np.float32
    for t in range(labels.shape[1]):
        known = ~np.isnan(labels[:, t])
        model = Ridge(alpha) if alpha else LinearRegression()
        model.fit(features[known].astype(np.float64), labels[known, t])
        assert found[:, t] == pytest.approx(model.predict(features), abs=2e-4)


@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
def test_standardised_ridge_equals_scikit_learn(rng, n_rows, n_features):
    features, labels = make_rows(rng, n_rows, n_features)
    features[:, 0] = 3  # constant: left out
    found = fit_linear(features, labels, 2.0, standardised=True)
    scaled = standardise_alone(features[:, 1:].astype(np.float64))
    assert found.predict(features) == pytest.approx(
        Ridge(2.0).fit(scaled, labels).predict(scaled), abs=1e-4
    )
    assert found.scale_F[0] == 0
    changed = features.copy()
    changed[:, 0] = 99
    assert (found.predict(changed) == found.predict(features)).all()


@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
def test_penalty_is_the_one_a_plain_loop_chooses(rng, n_rows, n_features, monkeypatch):
    monkeypatch.setattr(masked_ridge, "_BLOCK_COLUMNS", 16)
    features, labels = make_rows(rng, n_rows, n_features, missing=0.2)
    clusters = np.arange(n_rows) // 2
    fit = fit_ridge(features, labels, clusters, seed=3, n_folds=4)
    folds = masked_ridge._deal_folds(clusters, n_rows, 4, 3)
    scaled = standardise_alone(features.astype(np.float64))
    for row in fit.choice.itertuples():
        errors = []
        for t in range(labels.shape[1]):
            known = ~np.isnan(labels[:, t])
            missed = spread = 0.0
            for fold in folds:
                held = np.isin(np.arange(n_rows), fold) & known
                fitted = ~np.isin(np.arange(n_rows), fold) & known
                model = Ridge(row.alpha).fit(scaled[fitted], labels[fitted, t])
                missed += np.square(labels[held, t] - model.predict(scaled[held])).sum()
                spread += np.square(labels[held, t] - labels[fitted, t].mean()).sum()
            errors.append(missed / spread)
        assert row.error == pytest.approx(np.mean(errors), rel=1e-4)
    assert fit.alpha == fit.choice.loc[fit.choice["error"].idxmin(), "alpha"]
    assert fit.choice["alpha"].tolist() == pytest.approx([a * n_features for a in ALPHAS])


@pytest.mark.parametrize(("n_rows", "n_features"), [(60, 5), (20, 40)])
def test_blocks_of_rows_change_nothing(rng, n_rows, n_features, monkeypatch):
    rows = rng.normal(3, 2, size=(n_rows, n_features)).astype(np.float32)
    labels = rows[:, :2] + rng.normal(size=(n_rows, 2))
    labels[::5, 1] = np.nan
    whole = fit_ridge(rows, labels, np.arange(n_rows) // 2, seed=1)
    monkeypatch.setattr(masked_ridge, "_BLOCK_ROWS", 7)
    blocked = fit_ridge(rows, labels, np.arange(n_rows) // 2, seed=1)
    assert blocked.alpha == whole.alpha
    assert np.allclose(blocked.predict(rows), whole.predict(rows), atol=1e-5)
    rows[11, 3] = np.inf
    with pytest.raises(ValueError, match="feature 3 of row 11 is inf"):
        fit_linear(rows, labels)


def test_clusters_are_never_cut_when_the_penalty_is_chosen():
    clusters = np.repeat(np.arange(13), 3)
    folds = masked_ridge._deal_folds(clusters, len(clusters), 5, 0)
    assert sorted(np.concatenate(folds)) == list(range(len(clusters)))
    held = [set(clusters[fold]) for fold in folds]
    assert sum(map(len, held)) == 13


def test_noise_gets_the_largest_penalty_and_signal_a_small_one(rng):
    features = rng.normal(size=(300, 40)).astype(np.float32)
    noise = rng.normal(size=(300, 2))
    signal = features @ rng.normal(size=(40, 2)) + 0.1 * noise
    rows = np.arange(300)
    strong = fit_ridge(features, signal, rows, 0)
    weak = fit_ridge(features, noise, rows, 0)
    assert strong.alpha == pytest.approx(0.1 * 40)
    assert weak.alpha >= 100 * 40
    spread = weak.predict(features).std(0) / noise.std(0)
    assert (spread < 0.3).all()


def test_masks_put_equally_measured_outputs_together():
    nan = np.nan
    labels = np.array([[1, 1, 1, 1], [2, nan, 2, nan], [3, 3, 3, 3], [4, 4, 4, 4.0]])
    found = {tuple(outputs): rows.tolist() for rows, outputs in group_masks(labels)}
    assert found == {(0, 2): [0, 1, 2, 3], (1, 3): [0, 2, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:3], y), r"features \(3, 6\) and labels \(40, 3\)"),
        (lambda x, y: (np.where(x == x[2, 4], np.nan, x), y), "feature 4 of row 2 is nan"),
        (
            lambda x, y: (x, np.where(np.arange(3) == 1, np.nan, y)),
            "output 1 .* has 0 labels in 40",
        ),
    ],
)
def test_bad_rows_are_told(rng, change, message):
    features, labels = change(*make_rows(rng, 40, 6))
    with pytest.raises(ValueError, match=message):
        fit_linear(features, labels)


def test_bad_settings_are_told(rng):
    features, labels = make_rows(rng, 40, 6)
    with pytest.raises(ValueError, match="alpha is -1"):
        fit_linear(features, labels, -1)
    with pytest.raises(ValueError, match="40 training rows are in 1 cluster"):
        fit_ridge(features, labels, np.zeros(40), 0)
    with pytest.raises(ValueError, match=r"clusters have shape \(3,\), expected one per row: 40"):
        fit_ridge(features, labels, np.zeros(3), 0)
    with pytest.raises(ValueError, match="no output varies"):
        fit_ridge(features, np.ones((40, 1)), np.arange(40), 0)
    with pytest.raises(ValueError, match=r"features have shape \(2, 5\), expected \[S, 6\]"):
        fit_linear(features, labels).predict(features[:2, :5])
