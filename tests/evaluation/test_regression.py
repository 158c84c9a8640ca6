"""Scores of regressions: golden facts, brute force, streams, slips, the artefact of Table 1."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from genomelm_utils.evaluation.published_expression import (
    TABLE1,
    beside_published,
    published_table1,
)
from genomelm_utils.evaluation.regression import (
    METRICS,
    SPECIFIC,
    compare_models,
    evaluate,
    evaluate_lines,
    lines_by_prefix,
    specific_part,
)
from genomelm_utils.evaluation.regression_moments import (
    RunningScores,
    cluster_codes,
    draw_clusters,
    rank_correlations,
    row_sums,
)
from genomelm_utils.evaluation.regression_slips import (
    describe_pooled_column,
    explain_pooled_column,
    released_metrics,
    slip_table,
)
from genomelm_utils.tasks.label_transform import LabelTransform

TISSUES = ("root", "leaf", "ear")
LOG = LabelTransform(TISSUES)


def simulate(rng, n: int = 90, missing: float = 0.15):
    """Expression with a shared gene level, clusters of three, and a fair prediction."""
    level = rng.normal(2.5, 1.2, size=(n, 1))
    y = np.maximum(level + rng.normal(0, 0.8, size=(n, 3)) + [0.0, 0.5, -0.2], 0)
    p = (0.6 * y + rng.normal(0, 0.7, size=y.shape)).astype(np.float32)
    tpm = np.expm1(y).astype(np.float32)
    tpm[rng.random(tpm.shape) < missing] = np.nan
    return tpm, p, np.arange(n) // 3


def value(table: pd.DataFrame, metric: str, tissue: str = "all", model: str = "m") -> float:
    keys = {"model": model, "tissue": tissue, "metric": metric}
    here = np.logical_and.reduce([table[k] == v for k, v in keys.items()])
    assert here.sum() == 1
    return table.loc[here, "mean"].item()


def one_tissue(y, p, **options) -> dict[str, float]:
    change = LabelTransform(("root",))
    return released_metrics(np.expm1(y)[:, None], np.array(p, float)[:, None], change, **options)


def test_golden_scores_and_slips():
    y, p = np.array([1.0, 2, 3, 4]), [2.0, 2, 3, 3]
    right = one_tissue(y, p)
    assert right["r2"] == pytest.approx(0.8, abs=1e-6)
    assert right["R2"] == pytest.approx(0.6, abs=1e-6)
    assert one_tissue(y, p, arguments="reference")["R2"] == pytest.approx(-1.0, abs=1e-5)
    assert one_tissue(y, p, total="reference")["R2"] == pytest.approx(0.9913, abs=1e-4)
    for slip in ("arguments", "total"):
        wrong = one_tissue(y, p, **{slip: "reference"})
        assert {k: v for k, v in wrong.items() if k != "R2"} == {
            k: v for k, v in right.items() if k != "R2"
        }
    with pytest.raises(ValueError, match="total is 'sum', expected corrected or reference"):
        one_tissue(y, p, total="sum")


def test_mae_slip_is_right_for_offset_one_only(rng):
    tpm, p, _ = simulate(rng)
    same = released_metrics(tpm, np.maximum(p, 0), LOG, inverse="reference")
    assert same["mae_tpm"] == pytest.approx(released_metrics(tpm, np.maximum(p, 0), LOG)["mae_tpm"])
    small = LabelTransform(TISSUES, offset=0.001)
    table = slip_table(tpm, small.apply(np.full(tpm.shape, 5.0)), small).set_index("slip")
    known = ~np.isnan(tpm)
    assert table.loc["inverse", "corrected"] == pytest.approx(np.abs(tpm[known] - 5).mean(), 1e-4)
    wrong = np.abs(np.expm1(np.log(tpm[known] + 0.001)) - np.expm1(np.log(5.001))).mean()
    assert table.loc["inverse", "reference"] == pytest.approx(wrong, rel=1e-4)
    standard = LabelTransform.fit(tpm, TISSUES, standardise=True)
    table = slip_table(tpm, standard.apply(np.full(tpm.shape, 5.0)), standard).set_index("slip")
    assert table.loc["inverse", "reference"] < 0.5 * table.loc["inverse", "corrected"]
    assert table.loc["total", "reference"] > table.loc["total", "corrected"]


def test_constant_predictor_is_golden_and_silent(rng):
    tpm, _, clusters = simulate(rng)
    y = LOG.apply(tpm).astype(float)
    mean_T = np.nanmean(y, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = evaluate(
            tpm,
            {"m": np.broadcast_to(mean_T.astype(np.float32), y.shape)},
            transform=LOG,
            clusters_S=clusters,
            train_tpm_ST=tpm,
            n_resamples=20,
        )
    for t, tissue in enumerate(TISSUES):
        assert value(table, "R2", tissue) == pytest.approx(0, abs=1e-6)
        assert value(table, "skill", tissue) == pytest.approx(0, abs=1e-6)
        assert value(table, "mse", tissue) == pytest.approx(np.nanvar(y[:, t]), rel=1e-5)
        assert np.isnan(value(table, "r2", tissue))
        assert np.isnan(value(table, "rho", tissue))
    assert np.isnan(value(table, "r2", "mean"))
    known = ~np.isnan(y)
    between = np.var(np.broadcast_to(mean_T, y.shape)[known]) / np.var(y[known])
    assert value(table, "r2", "all") == pytest.approx(between, rel=1e-3)


def test_scores_equal_brute_force(rng):
    tpm, p, clusters = simulate(rng)
    train, _, _ = simulate(rng, 30)
    table = evaluate(
        tpm, {"m": p}, transform=LOG, clusters_S=clusters, train_tpm_ST=train, n_resamples=0
    )
    assert table["low"].isna().all()
    y = LOG.apply(tpm).astype(float)
    base = np.nanmean(LOG.apply(train).astype(float), 0)
    own, said = specific_part(y, p)
    for t, tissue in [*enumerate(TISSUES), (slice(None), "all")]:
        known = ~np.isnan(y[:, t])
        true, guess, x = y[:, t][known], p[:, t][known].astype(float), tpm[:, t][known]
        constant = np.broadcast_to(base, y.shape)[:, t][known]
        expected = {
            "r2": np.corrcoef(true, guess)[0, 1] ** 2,
            "R2": 1 - ((true - guess) ** 2).sum() / ((true - true.mean()) ** 2).sum(),
            "rho": stats.spearmanr(true, guess).statistic,
            "mse": ((true - guess) ** 2).mean(),
            "mae_tpm": np.abs(x - np.maximum(np.exp(guess) - 1, 0)).mean(),
            "skill": 1 - ((true - guess) ** 2).sum() / ((true - constant) ** 2).sum(),
        }
        usable = ~np.isnan(own[:, t])
        a, b = own[:, t][usable], said[:, t][usable]
        expected |= {
            "specific_r2": np.corrcoef(a, b)[0, 1] ** 2,
            "specific_R2": 1 - ((a - b) ** 2).sum() / ((a - a.mean()) ** 2).sum(),
            "specific_rho": stats.spearmanr(a, b).statistic,
        }
        for metric, number in expected.items():
            assert value(table, metric, tissue) == pytest.approx(number, rel=1e-5), metric
    for metric in (*METRICS, *SPECIFIC):
        mean = np.mean([value(table, metric, tissue) for tissue in TISSUES])
        assert value(table, metric, "mean") == pytest.approx(mean)
    assert set(table["metric"]) == {*METRICS, *SPECIFIC}
    counts = table[table["metric"] == "r2"].set_index("tissue")["n"]
    assert counts["root"] == (~np.isnan(tpm[:, 0])).sum()
    assert counts["all"] == counts["mean"] == (~np.isnan(tpm)).sum()


def test_gene_level_is_taken_out_of_the_specific_scores(rng):
    tpm, _, clusters = simulate(rng, missing=0)
    y = LOG.apply(tpm).astype(float)
    shared = np.broadcast_to(y.mean(1, keepdims=True), y.shape)
    table = evaluate(tpm, {"m": shared}, transform=LOG, clusters_S=clusters, n_resamples=0)
    assert value(table, "r2") > 0.5
    assert np.isnan(value(table, "specific_r2", "root"))
    assert value(table, "specific_R2", "root") <= 0
    alone = tpm.copy()
    alone[0, 1:] = np.nan
    own, said = specific_part(LOG.apply(alone), shared)
    assert np.isnan(own[0]).all()
    assert np.isnan(said[0]).all()
    assert np.allclose(np.nansum(own, 1), 0, atol=1e-5)


def test_intervals_equal_resampling_the_rows(rng):
    tpm, p, _ = simulate(rng, 30)
    clusters = np.repeat(np.arange(12), [1, 4, 2, 3, 1, 5, 2, 2, 3, 1, 4, 2])
    table = evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters, n_resamples=40, seed=9)
    code, n_clusters = cluster_codes(clusters)
    y = LOG.apply(tpm).astype(float)
    own, said = specific_part(y, p)
    found = {"r2": [], "R2": [], "rho": [], "specific_rho": []}
    for counts in draw_clusters(n_clusters, 40, 9):
        rows = np.repeat(np.arange(30), counts[code])
        known, usable = ~np.isnan(y[rows, 1]), ~np.isnan(own[rows, 1])
        true, guess = y[rows, 1][known], p[rows, 1][known].astype(float)
        found["r2"].append(np.corrcoef(true, guess)[0, 1] ** 2)
        found["R2"].append(1 - ((true - guess) ** 2).mean() / true.var())
        found["rho"].append(stats.spearmanr(true, guess).statistic)
        found["specific_rho"].append(
            stats.spearmanr(own[rows, 1][usable], said[rows, 1][usable]).statistic
        )
    row = table[table["tissue"] == "leaf"].set_index("metric")
    for metric, values in found.items():
        limits = np.quantile(values, [0.025, 0.975])
        assert row.loc[metric, ["low", "high"]].to_numpy(float) == pytest.approx(limits, rel=1e-6)


def test_ranks_with_weights_equal_repeated_values(rng):
    y, p = rng.integers(0, 6, 25).astype(float), rng.integers(0, 6, 25).astype(float)
    weights = rng.integers(0, 4, size=(5, 25))
    rows = [np.repeat(np.arange(25), w) for w in weights]
    expected = [stats.spearmanr(y[r], p[r]).statistic for r in rows]
    assert rank_correlations(y, p, weights) == pytest.approx(expected)
    assert np.isnan(rank_correlations(y, np.ones(25), weights)).all()


def test_larger_clusters_widen_the_interval(rng):
    tpm, p, _ = simulate(rng, 60, missing=0)
    tpm, p = np.repeat(tpm, 5, 0), np.repeat(p, 5, 0)
    widths = {}
    for name, clusters in (("rows", np.full(300, -1)), ("clusters", np.arange(300) // 5)):
        table = evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters, n_resamples=200)
        row = table[(table["metric"] == "r2") & (table["tissue"] == "all")].iloc[0]
        widths[name] = row["high"] - row["low"]
        assert row["low"] < row["mean"] < row["high"]
    assert widths["clusters"] > 1.5 * widths["rows"]
    code, n = cluster_codes(np.array([5, -1, 5, -1, 2]))
    assert n == 4
    assert code[0] == code[2]
    assert len(set(code)) == 4


def test_stream_equals_all_at_once(rng):
    tpm, p, clusters = simulate(rng)
    y = LOG.apply(tpm)
    running = RunningScores(3, baseline_T=np.array([1.0, 2.0, 3.0]))
    for begin in range(0, len(y), 7):
        part = slice(begin, begin + 7)
        running.add(y[part], p[part], LOG.inverse(y[part]), LOG.inverse(p[part]))
    table = evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters, n_resamples=0)
    for metric in ("r2", "R2", "mse", "mae_tpm"):
        expected = [value(table, metric, tissue) for tissue in (*TISSUES, "all", "mean")]
        assert running.scores()[metric] == pytest.approx(expected, rel=1e-5)
    assert running.sums_T.shape == (3, 9)  # whatever the number of genes


def test_memory_of_running_scores_does_not_grow_with_the_number_of_genes():
    def peak_bytes(n_genes: int) -> int:
        rng, running = np.random.default_rng(1), RunningScores(23)
        tracemalloc.start()
        for _ in range(n_genes // 500):
            labels = rng.normal(size=(500, 23))
            running.add(labels, labels + rng.normal(size=labels.shape))
        assert running.scores()["r2"][-1] == pytest.approx(0.5, abs=0.02)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(500)  # what is loaded at first use
    assert peak_bytes(50_000) < 1.05 * peak_bytes(2000)


def test_lines_and_the_missing_b73(rng, caplog):
    tpm, p, clusters = simulate(rng)
    genes = ["Zm00018ab1"] * 40 + ["Zm00001eb2"] * 50
    prefixes = {"Zm00018ab": "B97"}
    corrected = lines_by_prefix(genes, prefixes)
    options = {"transform": LOG, "clusters_S": clusters, "n_resamples": 0}
    table = evaluate_lines(tpm, {"m": p}, corrected, **options)
    assert table["line"].unique().tolist() == ["B73", "B97"]
    only = evaluate(tpm[:40], {"m": p[:40]}, transform=LOG, clusters_S=clusters[:40], n_resamples=0)
    same = table[table["line"] == "B97"].drop(columns="line").reset_index(drop=True)
    pd.testing.assert_frame_equal(same, only)
    reference = lines_by_prefix(genes, prefixes, "reference")
    with caplog.at_level("WARNING"):
        table = evaluate_lines(tpm, {"m": p}, reference, **options)
    assert table["line"].unique().tolist() == ["B97"]
    assert "50 of 90 rows belong to no known line" in caplog.text


def test_paired_differences_share_their_resamples(rng):
    tpm, p, clusters = simulate(rng)
    worse = p + rng.normal(0, 0.3, p.shape)
    options = {"transform": LOG, "clusters_S": clusters, "n_resamples": 200}
    table = compare_models(tpm, {"m": p, "w": worse}, **options)
    single = evaluate(tpm, {"m": p, "w": worse}, **options)
    row = table[(table["tissue"] == "mean") & (table["metric"] == "r2")].iloc[0]
    gap = value(single, "r2", "mean") - value(single, "r2", "mean", "w")
    assert row["difference"] == pytest.approx(gap)
    assert row["low"] > 0
    alone = single[(single["tissue"] == "mean") & (single["metric"] == "r2")]
    assert row["high"] - row["low"] < (alone["high"] - alone["low"]).min()
    same = compare_models(tpm, {"m": p, "w": p}, **options)
    assert (same[["difference", "low", "high"]] == 0).all().all()


def test_reference_reports_less(rng):
    tpm, p, clusters = simulate(rng)
    options = {"transform": LOG, "clusters_S": clusters, "n_resamples": 0}
    table = evaluate(tpm, {"m": p}, rule="reference", **options)
    assert set(table["metric"]) == {"r2", "mse", "mae_tpm"}
    with pytest.raises(ValueError, match="rule is 'old', expected corrected or reference"):
        evaluate(tpm, {"m": p}, rule="old", **options)


def test_artefact_of_the_all_column(rng):
    tpm, p, _ = simulate(rng, 3000)
    y = LOG.apply(tpm)
    table = explain_pooled_column(y, p).set_index("case")["r2"]
    assert table["pooled"] == pytest.approx(table["mean of tissues"], abs=0.08)
    assert table["misaligned"] < 0.005
    assert 0 < table["tissue means"] < 0.1
    assert np.isnan(table["one constant"])
    text = describe_pooled_column(explain_pooled_column(y, p))
    assert f"{table['pooled']:.3f}" in text
    assert f"{table['misaligned']:.3f}" in text


def test_weights_without_a_penalty_are_a_third_way_to_zero(rng):
    """Good in each tissue, but on scales of their own: pooled nothing is left, rescaled all is."""
    tpm, p, _ = simulate(rng, 3000)
    y = LOG.apply(tpm)
    # offsets that have nothing to do with the tissues' own means (0, 0.5 and -0.2)
    table = explain_pooled_column(y, p + np.array([1000, 400, 200])).set_index("case")
    assert table.loc["pooled", "r2"] < 0.01
    assert table.loc["pooled", "spread"] > 50
    assert table.loc["rescaled", "r2"] > 0.5 * table.loc["mean of tissues", "r2"]
    assert "further than labels do: such weights" in describe_pooled_column(table.reset_index())
    calm = describe_pooled_column(explain_pooled_column(y, 0.5 * p))
    assert "the scale is not to blame" in calm


def test_published_table_and_ours_beside_it(rng):
    table = published_table1()
    means = table[table["tissue"] == "mean"].set_index("model")["mean"].round(3)
    assert means.to_dict() == {
        "BOW 2-mer": 0.028, "BOW 3-mer": 0.043, "BOW 4-mer": 0.064, "BOW 5-mer": 0.084,
        "FloraBERT": 0.134,
    }  # fmt: skip
    assert table["suspect"].sum() == 4
    assert len(table) == len(TABLE1) * 11
    ours = pd.DataFrame(
        {"model": "ridge", "tissue": ["middle", "all"], "metric": "r2", "mean": [0.1, 0.2],
         "low": [0.05, 0.1], "high": [0.15, 0.3], "n": 9}
    )  # fmt: skip
    both = beside_published(ours)
    assert both.loc[both["origin"] == "here", "tissue"].tolist() == ["leaf", "all"]
    assert both.loc[both["origin"] == "published", "low"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clusters": 5}, "5 clusters for 90 rows"),
        ({"p": np.nan}, r"prediction of row 0, tissue . \(0-based\) is nan, expected a finite"),
        ({"shape": True}, r"a table of shape \[90, 2\], expected 3 columns"),
        ({"tpm": True}, r"a table of shape \[90, 2\], expected 3 columns"),
    ],
)
def test_wrong_input_says_what_is_wrong(rng, change, message):
    tpm, p, clusters = simulate(rng)
    if "p" in change:
        p = p + change["p"]
    p = p[:, :2] if "shape" in change else p
    tpm = tpm[:, :2] if "tpm" in change else tpm
    with pytest.raises(ValueError, match=message):
        evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters[: change.get("clusters", 90)])


def test_a_tissue_without_labels_is_named_or_left_out(rng):
    tpm, p, clusters = simulate(rng)
    tpm[:, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters, n_resamples=5)
    assert np.isnan(value(table, "r2", "leaf"))
    expected = (value(table, "r2", "root") + value(table, "r2", "ear")) / 2
    assert value(table, "r2", "mean") == pytest.approx(expected)
    with pytest.raises(ValueError, match="tissue 'leaf' has no measured training row"):
        evaluate(tpm, {"m": p}, transform=LOG, clusters_S=clusters, train_tpm_ST=tpm)
    assert row_sums(LOG.apply(tpm), p)[:, 1].sum() == 0
