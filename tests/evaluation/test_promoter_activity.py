"""Scores of promoter activity: brute force, ends, cells, replicates, seeds, strategies."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from genomelm_utils.evaluation.promoter_activity import (
    activity_scores,
    compare_predictions,
    compare_strategies,
    keep_subset,
    replicate_ceiling,
    share_of_ceiling,
    specificity_scores,
    summarise_seeds,
)

CELLS = ["JURKAT", "K562", "THP1"]
QUICK = {"n_resamples": 30}


def simulate(rng: np.random.Generator, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Measured values, one in ten missing, and predictions that are partly right."""
    common = rng.normal(size=(n, 1))
    values = common + 0.7 * rng.normal(size=(n, 3)) + [0, 1, -2]
    predicted = 0.5 * values + rng.normal(size=(n, 3))
    values[rng.random((n, 3)) < 0.1] = np.nan
    return values, predicted.astype(np.float32)


def cell(table: pd.DataFrame, **where: str) -> pd.Series:
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


@pytest.mark.parametrize("subset", ["all", "top", "bottom", "ends"])
def test_scores_equal_brute_force(rng: np.random.Generator, subset: str) -> None:
    values, predicted = simulate(rng)
    table = activity_scores(values, {"m": predicted}, CELLS, **QUICK)
    found = []
    for c, name in enumerate(CELLS):
        known = ~np.isnan(values[:, c])
        y, p = values[known, c], predicted[known, c].astype(float)
        low, high = np.percentile(y, [10, 90])
        kept = {"all": y == y, "top": y > high, "bottom": y < low, "ends": (y < low) | (y > high)}
        y, p = y[kept[subset]], p[kept[subset]]
        expected = {
            "r": pearsonr(y, p).statistic,
            "rho": spearmanr(y, p).statistic,
            "R2": 1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
        }
        found.append(expected)
        for metric, value in expected.items():
            row = cell(table, output=name, subset=subset, metric=metric)
            assert row["mean"] == pytest.approx(value)
            assert row["n"] == len(y)
            assert row["low"] <= row["high"]
    for metric in ("r", "rho", "R2"):
        mean = np.mean([expected[metric] for expected in found])
        assert cell(table, output="mean", subset=subset, metric=metric)["mean"] == (
            pytest.approx(mean)
        )


def test_signs_and_constants() -> None:
    y = np.arange(6.0)[:, None]
    models = {"opposite": -y, "constant": np.ones((6, 1)), "offset": y + 3}
    table = activity_scores(y, models, ["K562"], subsets=("all",), n_resamples=0)
    r = {name: cell(table, model=name, output="K562", metric="r")["mean"] for name in models}
    assert r["opposite"] == pytest.approx(-1)
    assert np.isnan(r["constant"])
    assert r["offset"] == pytest.approx(1)
    assert cell(table, model="offset", output="K562", metric="R2")["mean"] == pytest.approx(
        1 - 54 / 17.5
    )
    assert table["low"].isna().all()


def test_copies_of_a_cluster_are_no_evidence(rng: np.random.Generator) -> None:
    values, predicted = simulate(rng, 30)
    values, predicted = np.repeat(values, 5, 0), np.repeat(predicted, 5, 0)
    widths = {}
    for name, clusters in (("alone", None), ("clustered", np.repeat(np.arange(30), 5))):
        table = activity_scores(
            values, {"m": predicted}, CELLS, clusters_S=clusters, n_resamples=200
        )
        row = cell(table, output="K562", subset="all", metric="rho")
        widths[name] = row["high"] - row["low"]
    assert widths["clustered"] > 1.5 * widths["alone"]


def test_cell_specificity_needs_more_than_overall_strength(rng: np.random.Generator) -> None:
    values, _ = simulate(rng, 200)
    strength = np.repeat(np.nan_to_num(values).mean(1, keepdims=True), 3, 1)
    noisy = np.nan_to_num(values) + 0.3 * rng.normal(size=values.shape)
    table = specificity_scores(values, {"strength": strength, "cells": noisy}, CELLS, **QUICK)
    assert table["output"].unique().tolist() == [
        *("JURKAT - K562", "JURKAT - THP1", "K562 - THP1", "mean")
    ]
    assert np.isnan(cell(table, model="strength", output="mean", metric="r")["mean"])
    gap = values[:, 0] - values[:, 1]
    known = ~np.isnan(gap)
    expected = pearsonr(gap[known], (noisy[:, 0] - noisy[:, 1])[known]).statistic
    row = cell(table, model="cells", output="JURKAT - K562", metric="r")
    assert row["mean"] == pytest.approx(expected)
    assert row["n"] == known.sum()
    with pytest.raises(ValueError, match="expected two or more"):
        specificity_scores(values[:, :1], {}, CELLS[:1])


def test_what_replicates_allow(rng: np.random.Generator) -> None:
    """The ceiling is what a prediction of the true values reaches against the replicates' mean."""
    truth = rng.normal(size=(1500, 3))
    first, second = (truth + 0.8 * rng.normal(size=truth.shape) for _ in range(2))
    second[0, 0] = np.nan
    table = replicate_ceiling(first, second, CELLS, **QUICK)
    kept = np.isfinite(second[:, 0])
    r = pearsonr(first[kept, 0], second[kept, 0]).statistic
    assert cell(table, output="JURKAT", metric="r")["mean"] == pytest.approx(r)
    assert cell(table, output="JURKAT", metric="r")["n"] == 1499
    ceiling = cell(table, output="JURKAT", metric="ceiling")
    assert ceiling["mean"] == pytest.approx(np.sqrt(2 * r / (1 + r)))
    best = activity_scores((first + second) / 2, {"truth": truth}, CELLS, **QUICK)
    reached = cell(best, output="JURKAT", subset="all", metric="r")["mean"]
    assert reached == pytest.approx(ceiling["mean"], abs=0.03)
    shares = share_of_ceiling(best, table)
    row = cell(shares, output="JURKAT", metric="r")
    assert row["share"] == pytest.approx(reached / r)
    assert set(shares["metric"]) == {"r", "rho"}


def test_models_are_compared_on_the_same_resamples(rng: np.random.Generator) -> None:
    values, predicted = simulate(rng, 150)
    better = predicted + 0.1 * np.nan_to_num(values)
    table = compare_predictions(values, {"a": better, "b": predicted}, CELLS, n_resamples=200)
    scores = activity_scores(values, {"a": better, "b": predicted}, CELLS, n_resamples=200)
    row = cell(table, output="K562", metric="r")
    one, other = (
        cell(scores, model=m, output="K562", subset="all", metric="r") for m in ("a", "b")
    )
    assert row["difference"] == pytest.approx(one["mean"] - other["mean"])
    assert row["high"] - row["low"] < 0.5 * (one["high"] - one["low"])
    assert (row["a"], row["b"]) == ("a", "b")


def runs(n_splits: int, n_seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = [
        {
            "strategy": strategy,
            "split": split,
            "seed": seed,
            "output": "K562",
            "subset": "all",
            "metric": "rho",
            "mean": 0.4 + gain + 0.1 * split + 0.001 * rng.normal(),
        }
        for strategy, gain in (("scratch", 0), ("finetune", 0.05))
        for split in range(n_splits)
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def test_seeds_and_splits_are_summarised() -> None:
    table = runs(1, 5)
    found = summarise_seeds(table)
    own = table.loc[table["strategy"] == "scratch", "mean"]
    row = cell(found, strategy="scratch")
    assert row["mean"] == pytest.approx(own.mean())
    assert row["sd"] == pytest.approx(own.std(ddof=0))  # the reference's "+-"
    assert (row["unit"], row["n"]) == ("seed", 5)
    half = 2.776445 * own.std(ddof=1) / np.sqrt(5)
    assert row["high"] - row["mean"] == pytest.approx(half, rel=1e-5)
    assert cell(summarise_seeds(runs(4, 2)), strategy="scratch")[["unit", "n"]].tolist() == [
        *("draw", 4)
    ]
    with pytest.raises(ValueError, match="table has no column"):
        summarise_seeds(table.drop(columns="split"))


def test_strategies_are_paired_by_split_and_seed() -> None:
    """Splits differ far more than strategies; pairing shows the difference all the same."""
    table = compare_strategies(runs(6, 2))
    row = cell(table, a="scratch", b="finetune")
    assert row["difference"] == pytest.approx(-0.05, abs=2e-3)
    assert row["high"] < 0
    assert row["p"] == pytest.approx(2 / 2**6)
    summary = summarise_seeds(runs(6, 2))
    intervals = summary.set_index("strategy")
    assert intervals.loc["scratch", "high"] > intervals.loc["finetune", "low"]


def test_subsets_are_of_each_output_s_own_labels() -> None:
    values = np.stack([np.arange(20.0), 100 - np.arange(20.0)], axis=1)
    top = keep_subset(values, "top")
    assert np.flatnonzero(~np.isnan(top[:, 0])).tolist() == [18, 19]
    assert np.flatnonzero(~np.isnan(top[:, 1])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="subset is 'best', expected one of: all, top"):
        keep_subset(values, "best")


@pytest.mark.parametrize(
    ("values", "predicted", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 2)), r"shape \[4, 2\], expected \[sequences, 3\]"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least one sequence"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "output 'JURKAT' has no measured row"),
        (np.full((4, 3), np.inf), np.zeros((4, 3)), "value of row 0, 'JURKAT' is inf"),
        (np.zeros((4, 3)), np.zeros((5, 3)), "predictions .5, 3., expected"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "is nan, expected"),
    ],
)
def test_wrong_tables_are_refused(values: np.ndarray, predicted: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        activity_scores(values, {"m": predicted}, CELLS)


def test_a_constant_label_has_no_correlation() -> None:
    values = np.column_stack([np.full(10, 2.0), np.arange(10.0)])
    p = np.arange(20.0).reshape(10, 2)
    table = activity_scores(values, {"m": p}, ["flat", "K562"], n_resamples=0)
    whole = table[table["subset"] == "all"]
    assert whole[whole["output"] == "flat"]["mean"].isna().all()
    assert cell(whole, output="mean", metric="r")["mean"] == pytest.approx(1)


def test_clusters_must_fit() -> None:
    with pytest.raises(ValueError, match="3 clusters for 4 rows"):
        activity_scores(np.eye(4, 3), {"m": np.eye(4, 3)}, CELLS, clusters_S=[0, 1, 2])
