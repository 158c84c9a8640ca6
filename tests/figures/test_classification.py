"""Figures of classifiers: what is drawn is what the tables say."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from genomelm_utils.evaluation.class_scores import confusion_table
from genomelm_utils.evaluation.curves import curve_table
from genomelm_utils.figures import classification as drawn
from genomelm_utils.figures.powerlaw import plot_alpha_histogram, plot_alpha_layers
from genomelm_utils.figures.style import new_figure


@pytest.fixture
def ax():
    fig, axes = new_figure()
    yield axes[0, 0]
    mpl.pyplot.close(fig)


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_confusion_shows_counts_and_shares(ax):
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    drawn.plot_confusion(confusion_table(probs, np.array([0, 1, 1, 1]), ["no", "yes"]), ax)
    assert texts(ax) == ["1\n100%", "0\n0%", "1\n33%", "2\n67%"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("curve", ["roc", "pr"])
def test_curves_have_areas_and_chance(ax, curve, rng):
    positive = np.arange(80) % 2 == 0
    scores = rng.normal(size=80) + positive
    table = curve_table(scores, positive, rng, n_resamples=20)
    drawn.plot_curve(table, ax, curve)
    part = table[table["curve"] == curve]
    area = float(np.trapezoid(part["y"], part["x"]))
    assert ax.get_legend().get_texts()[0].get_text() == f"{area:.3f}"
    assert len(ax.lines) == 2 and len(ax.collections) == 1
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), part["chance"])


SCORES = pd.DataFrame(
    {
        "method": ["deep", "words", "majority"],
        "metric": "f1",
        "value": [0.8, 0.85, 0.33],
        "low": [0.78, 0.83, 0.31],
        "high": [0.82, 0.87, 0.35],
    }
)


def test_methods_are_sorted_and_baselines_grey(ax):
    drawn.plot_scores(SCORES, ax, baselines=["words", "majority"], published={"paper": 0.79})
    assert [t.get_text() for t in ax.get_yticklabels()] == ["majority", "deep", "words"]
    assert "paper 0.790" in texts(ax)
    sentence = drawn.describe_scores(SCORES, ["words", "majority"])
    assert sentence == (
        "Best F1 (weighted) of a model: deep 0.800 [0.780, 0.820]; of a baseline: words 0.850 "
        "[0.830, 0.870]: the baseline is ahead."
    )
    assert "the model is ahead" in drawn.describe_scores(SCORES, ["majority"])
    assert drawn.describe_scores(SCORES, []).startswith("Best F1 (weighted): words")


@pytest.mark.parametrize("kind", ["violin", "box"])
def test_spread_of_runs(ax, kind):
    table = pd.DataFrame({"group": ["a"] * 5 + ["b"] * 5, "metric": "auc",
                          "value": np.linspace(0.5, 0.9, 10)})  # fmt: skip
    drawn.plot_runs(table, ax, metric="auc", kind=kind)
    assert ax.get_ylim() == (0, 1) and ax.get_ylabel() == "ROC-AUC"
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert sorted(np.concatenate([d.get_ydata() for d in dots])) == pytest.approx(
        table["value"].tolist()
    )


def test_one_value_is_drawn_too(ax):
    table = pd.DataFrame({"group": ["a"], "metric": "f1", "value": [0.7]})
    drawn.plot_runs(table, ax, metric="f1")
    assert any(line.get_marker() == "." for line in ax.lines)


def test_importances_and_what_two_tables_share(ax):
    table = pd.DataFrame({"feature": ["x", "y", "z"], "importance": [0.5, 0.3, 0.1],
                          "sd": [0.1, 0.1, 0.0], "in_other": [True, False, False]})  # fmt: skip
    drawn.plot_feature_importance(table, ax, n=2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["y", "x"]
    assert [p.get_width() for p in ax.patches] == [0.3, 0.5]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()


def test_runs_of_a_sweep_by_state(ax):
    trials = pd.DataFrame({"run": [0, 1, 2, 3], "state": ["complete", "stopped", "collapsed",
                           "complete"], "value": [0.7, 0.5, 0.33, np.nan],
                           "learning_rate": [1e-4, 1e-2, 0.1, 1e-3]})  # fmt: skip
    drawn.plot_sweep(trials, ax, metric="f1", parameter="learning_rate")
    assert ax.get_xscale() == "log"
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["complete", "stopped", "collapsed"]
    assert len(ax.lines[0].get_xdata()) == 1


LAYERS = pd.DataFrame(
    {
        "model": ["good"] * 3 + ["fresh"] * 3,
        "layer_id": [0, 1, 2] * 2,
        "alpha": [2.5, 3.0, 3.5, 12.0, 20.0, 30.0],
        "alpha_low": np.nan,
        "alpha_high": np.nan,
        "like_random": [False] * 3 + [True] * 3,
    }
)


def test_alphas_of_two_models_are_overlaid(ax):
    plot_alpha_histogram(LAYERS, ax)
    labels = [patch.get_label() for patch in ax.patches]
    assert [one for one in labels if one in ("good", "fresh")] == ["good", "fresh"]
    assert ax.get_xlim() == (0, 8) and "8 = and more" in ax.get_xlabel()
    assert "mean 20.7" in texts(ax)
    assert [line.get_xdata()[0] for line in ax.lines] == [3.0]


def test_alphas_by_layer(ax):
    plot_alpha_layers(LAYERS, ax)
    assert ax.get_yscale() == "log"
    shown = {line.get_label(): line for line in ax.lines if line.get_label()[0] != "_"}
    assert shown["good"].get_ydata().tolist() == [2.5, 3.0, 3.5]
    hollow = [
        line for line in ax.lines if line.get_markerfacecolor() == "none" and len(line.get_ydata())
    ]
    assert hollow[0].get_ydata().tolist() == [12.0, 20.0, 30.0]
