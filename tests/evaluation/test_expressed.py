"""Expressed or not: areas under curves against scikit-learn, intervals over clusters."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from genomelm_utils.evaluation.expressed import (
    compare_expressed,
    evaluate_expressed,
    weighted_areas,
)

TISSUES = ("root", "leaf")


@pytest.fixture
def tpm(rng) -> np.ndarray:
    values = rng.gamma(0.7, 4, (120, 2))
    values[rng.random(values.shape) < 0.1] = np.nan
    return values


def test_areas_equal_those_of_repeated_rows(rng):
    """Weights are repetitions; predictions have ties."""
    expressed = rng.random(60) < 0.4
    p = np.round(rng.normal(size=60) + expressed, 1)
    weight = rng.multinomial(60, np.full(60, 1 / 60), size=5)
    auc, auprc = weighted_areas(expressed, p, weight)
    for row, w in enumerate(weight):
        y, q = np.repeat(expressed, w), np.repeat(p, w)
        assert auc[row] == pytest.approx(roc_auc_score(y, q))
        assert auprc[row] == pytest.approx(average_precision_score(y, q))


def test_one_kind_alone_is_undefined():
    for expressed in (np.ones(4, bool), np.zeros(4, bool)):
        areas = weighted_areas(expressed, np.arange(4.0), np.ones((1, 4)))
        assert np.isnan(areas).all()


def test_scores_of_what_knows_all_nothing_and_the_contrary(tpm):
    known = np.nan_to_num(tpm)
    methods = {"all": known, "nothing": np.zeros_like(known), "contrary": -known}
    table = evaluate_expressed(
        tpm, methods, TISSUES, theta_tpm=3.0, clusters_S=np.arange(120) // 4, n_resamples=50
    )
    auc = table[table["metric"] == "auc"].pivot(index="model", columns="tissue", values="mean")
    assert auc.loc["all"].tolist() == [1, 1, 1]
    assert auc.loc["nothing"].tolist() == [0.5, 0.5, 0.5]
    assert auc.loc["contrary"].tolist() == [0, 0, 0]
    share = np.nanmean(np.where(np.isnan(tpm), np.nan, tpm >= 3), 0)
    rows = table[(table["metric"] == "auprc") & (table["model"] == "nothing")].set_index("tissue")
    assert rows.loc[list(TISSUES), "mean"].tolist() == pytest.approx(share.tolist())
    assert rows.loc[list(TISSUES), "share"].tolist() == pytest.approx(share.tolist())
    assert rows.loc["mean", "n"] == np.count_nonzero(~np.isnan(tpm))


def test_intervals_hold_the_score_and_pairs_share_resamples(tpm, rng):
    noisy = np.nan_to_num(tpm) + rng.normal(0, 4, tpm.shape)
    methods = {"a": noisy, "b": noisy + 1.0, "c": rng.normal(size=tpm.shape)}
    options = {"theta_tpm": 3.0, "clusters_S": np.arange(120) // 3, "n_resamples": 100}
    table = evaluate_expressed(tpm, methods, TISSUES, **options)
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()
    paired = compare_expressed(tpm, methods, TISSUES, **options).set_index(["a", "b"])
    assert (paired.loc[("a", "b"), ["difference", "low", "high"]] == 0).all(axis=None)
    same = paired.loc[("a", "c")]
    of = table[(table["tissue"] == "root") & (table["metric"] == "auc")].set_index("model")["mean"]
    row = same[(same["tissue"] == "root") & (same["metric"] == "auc")].iloc[0]
    assert row["difference"] == pytest.approx(of["a"] - of["c"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": np.full((120, 2), np.nan)}, "expected finite numbers"),
        ({"clusters": [0]}, "1 clusters, 2 tissues"),
        ({"tpm": np.full((120, 2), np.nan)}, "tissue 'root' has no measured row"),
    ],
)
def test_wrong_input_says_what_is_wrong(tpm, change, message):
    table, p = change.get("tpm", tpm), change.get("p", np.zeros((120, 2)))
    clusters = change.get("clusters", np.arange(120))
    with pytest.raises(ValueError, match=message):
        evaluate_expressed(table, {"m": p}, TISSUES, theta_tpm=1.0, clusters_S=clusters)
