"""Figures of strategies: what is drawn and said comes from the table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from genomelm_utils.datasets.activity_task import (
    TaskSpec,
    make_set,
    replicate_columns,
    replicate_values,
)
from genomelm_utils.evaluation.promoter_activity import activity_scores
from genomelm_utils.evaluation.statistics import compare_all, interval_table
from genomelm_utils.figures import promoter_activity as drawn
from genomelm_utils.figures.style import new_figure
from genomelm_utils.tasks.activity_reports import ceiling_scores, describe_ceiling


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = []
    for method, strategy, level in (
        ("Net single", "single", 0.5),
        ("Net finetune (P)", "finetune", 0.7),
        ("gc", "baseline", 0.2),
    ):
        for seed in range(3):
            for output in ("mean", "K562"):
                rows.append(
                    {
                        "method": method, "strategy": strategy, "backbone": "Net" * (level > 0.2),
                        "pretrain": "", "output": output, "metric": "spearman", "seed": seed,
                        "value": level + 0.01 * seed,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_sentences_name_the_best_and_its_difference(scores):
    by = ["method", "backbone", "strategy", "pretrain", "output", "metric"]
    summary = interval_table(scores, by, draw="seed")
    mean = scores[scores["output"] == "mean"]
    paired = compare_all(mean.assign(draw=mean["seed"]), method="method")
    told = drawn.describe_strategies(summary, paired, metric="spearman")
    assert "Net finetune (P), Spearman's rho 0.71" in told
    assert "best baseline: gc, 0.21" in told
    assert "+0.500" in told
    assert "1 of 1 transfers end above" in told
    assert drawn.describe_gains(paired).startswith("0 of 3 pairs")
    _, axes = new_figure()
    ax = drawn.plot_strategies(summary, axes[0, 0], metric="spearman")
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["Net single", "Net finetune (P)", "gc"]
    points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert np.allclose(sorted(set(np.round(points, 6)))[-1], summary["high"].max())
    _, axes = new_figure()
    ax = drawn.plot_outputs(summary, axes[0, 0], metric="spearman")
    assert [text.get_text() for text in ax.texts] == ["0.51", "0.71", "0.21"]


def test_replicates_are_a_line_and_a_sentence(scores):
    by = ["method", "backbone", "strategy", "pretrain", "output", "metric"]
    summary = interval_table(scores, by, draw="seed")
    noise = np.random.default_rng(0).standard_normal((3, 200, 1))
    data = make_set(
        TaskSpec("mine", "regression", ("K562",)), ["ACGT"] * 200, noise[0],
        replicate_columns(["K562"], noise[0] + noise[1:]), ["train", "valid", *["test"] * 198],
    )  # fmt: skip
    ends = activity_scores(data.labels_ST[2:], {"Net": noise[0][2:]}, ["K562"], n_resamples=20)
    ceilings, shares = ceiling_scores(data, ends, seed=0)
    rho = spearmanr(*replicate_values(data)[:, 2:, 0]).statistic
    assert f"mine agree with rho {rho:.2f}" in describe_ceiling("mine", ceilings, shares)
    r = np.corrcoef(*replicate_values(data)[:, 2:, 0])[0, 1]
    limit = np.sqrt(2 * r / (1 + r))
    assert f"Net has r 1.00, {1 / limit:.0%} of that" in describe_ceiling("mine", ceilings, shares)
    _, axes = new_figure()
    ax = drawn.plot_strategies(summary, axes[0, 0], metric="spearman", ceilings=ceilings)
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(rho)
    bare = replace(data, columns=data.columns.iloc[:, :1])
    for empty, full in zip(ceiling_scores(bare, ends, seed=0), (ceilings, shares), strict=True):
        assert empty.empty and list(empty) == list(full)
    assert "no replicates at hand" in describe_ceiling("mine", *ceiling_scores(bare, ends, seed=0))


def test_only_baselines(scores):
    by = ["method", "backbone", "strategy", "pretrain", "output", "metric"]
    summary = interval_table(scores[scores["method"] == "gc"], by, draw="seed")
    told = drawn.describe_strategies(summary, pd.DataFrame(), metric="spearman")
    assert told == "1 baseline, and no network that was trained on the target."
