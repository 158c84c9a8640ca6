"""Figures of strategies: what is drawn and said comes from the table."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.evaluation.statistics import compare_all, interval_table
from genomelm_utils.figures import promoter_activity as drawn
from genomelm_utils.figures.style import new_figure


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


def test_only_baselines(scores):
    by = ["method", "backbone", "strategy", "pretrain", "output", "metric"]
    summary = interval_table(scores[scores["method"] == "gc"], by, draw="seed")
    told = drawn.describe_strategies(summary, pd.DataFrame(), metric="spearman")
    assert told == "1 baselines, and no network that was trained on the target."
