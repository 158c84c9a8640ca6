"""Plots of rankings, training, few-shot results and tokens: they draw what the table holds."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils.baselines.kmer_linear import BASELINES as BASELINE_NAMES
from genomelm_utils.figures.fewshot import plot_fewshot, plot_paired
from genomelm_utils.figures.pretraining import (
    plot_masked_hidden,
    plot_masked_loss,
    plot_pretraining,
)
from genomelm_utils.figures.ranking import plot_ranking, plot_score_distribution
from genomelm_utils.figures.schemes import BASELINES, SCHEMES, scheme_style
from genomelm_utils.figures.style import OKABE_ITO, new_figure
from genomelm_utils.figures.tokens import plot_token_usage
from genomelm_utils.pretraining.masking import SCHEMES as MASKING_SCHEMES
from genomelm_utils.tasks.fewshot_sets import SCRATCH

WORDS = ["ACGA", "CGCG", "AAAA", "TTTT", "GGGG"]
RANKING = pd.DataFrame(
    {"ngram": WORDS, "score_x": [1.0, 2, 3, 4, 5], "score_y": [5.0, 4, 3, 2, 1]}
).assign(name_x="old", name_y="new")
MASKING = pd.DataFrame(
    {
        "scheme": ["contiguous", "genemask"], "masked_share": [0.15, 0.2],
        "masked_share_low": [0.14, 0.18], "masked_share_high": [0.16, 0.22],
        "hidden_share": [0.03, 0.08], "hidden_share_low": [0.02, 0.07],
        "hidden_share_high": [0.04, 0.09], "setting": "trained",
    }
)  # fmt: skip
HISTORY = pd.DataFrame(
    {
        "scheme": ["contiguous"] * 3 + ["genemask"] * 3,
        "step": [20, 10, 0] * 2,
        "bits_per_base": [1.8, np.nan, 2.0, 1.7, np.nan, 2.0],
        "valid_loss": [6.0, np.nan, 8.0, 5.0, np.nan, 8.0],
    }
)
FLOORS = pd.DataFrame({"name": ["guessing", "chain"], "bits_per_base": [2.0, 1.9]})
FEWSHOT = pd.DataFrame(
    [
        {"model": m, "shots": s, "metric": metric, "mean": mean, "low": mean - 0.1,
         "high": mean + 0.05}
        for metric in ("accuracy", "auc")
        for s in (50, 10)
        for m, mean in (("genemask", 0.7), ("contiguous", 0.6), ("kmer4", 0.65), ("gc", 0.55),
                        ("majority", 0.5), ("scratch", 0.52))
    ]
)  # fmt: skip
PAIRED = pd.DataFrame(
    {"label": ["a", "b", "c"], "difference": [0.1, -0.2, 0.0], "low": [0.02, -0.3, -0.1],
     "high": [0.15, -0.1, 0.1], "p_holm": [0.01, 0.04, 0.9]}, index=[7, 3, 5],
)  # fmt: skip
USAGE = pd.DataFrame({"k": [3, 3, 4], "rank": [1, 64, 1], "frequency": [0.1, 0.001, 0.05]})

CASES = {
    "ranking": lambda ax: plot_ranking(RANKING, ax),
    "distribution": lambda ax: plot_score_distribution(
        RANKING.rename(columns={"score_x": "score"}), ax
    ),
    "masked_hidden": lambda ax: plot_masked_hidden(MASKING, ax),
    "pretraining": lambda ax: plot_pretraining(HISTORY, FLOORS, ax),
    "masked_loss": lambda ax: plot_masked_loss(HISTORY, ax),
    "fewshot": lambda ax: plot_fewshot(FEWSHOT, ax),
    "paired": lambda ax: plot_paired(PAIRED, ax),
    "usage": lambda ax: plot_token_usage(USAGE, ax),
}


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out_and_no_figure_of_its_own(name, ax):
    tables = [t.copy() for t in (RANKING, MASKING, HISTORY, FLOORS, FEWSHOT, PAIRED, USAGE)]
    before = plt.get_fignums()
    assert CASES[name](ax) is ax
    assert plt.get_fignums() == before
    assert ax.has_data()
    assert ax.get_xlabel()
    for old, new in zip(
        tables, (RANKING, MASKING, HISTORY, FLOORS, FEWSHOT, PAIRED, USAGE), strict=True
    ):
        pd.testing.assert_frame_equal(old, new)


@pytest.mark.parametrize("name", CASES)
def test_same_table_same_bytes(name, tmp_path):
    found = []
    for i in range(2):
        fig, axes = new_figure()
        CASES[name](axes[0, 0])
        fig.savefig(tmp_path / f"{i}.svg", metadata={"Date": None})
        found.append((tmp_path / f"{i}.svg").read_bytes())
    assert found[0] == found[1]


# --- one by one -----------------------------------------------------------------------------------


def test_every_scheme_and_every_baseline_has_a_look_of_its_own():
    assert set(SCHEMES) == set(MASKING_SCHEMES)
    assert set(BASELINES) == set(BASELINE_NAMES) - {"majority"} | {SCRATCH}
    assert len({(colour, marker) for _, colour, marker in SCHEMES.values()}) == len(SCHEMES)
    assert len({str(style) for _, style in BASELINES.values()}) == len(BASELINES)


def test_a_run_named_after_its_scheme_looks_like_it():
    label, colour, marker = scheme_style("logo-genemask_worst")
    assert (label, (colour, marker)) == ("logo-genemask_worst", SCHEMES["genemask_worst"][1:])
    assert scheme_style("genemask") == SCHEMES["genemask"]
    assert scheme_style("mine") == ("mine", OKABE_ITO["black"], "x")


def test_ranking_sets_cpg_words_apart(ax):
    plot_ranking(RANKING, ax)
    without, with_cpg = (points.get_offsets().tolist() for points in ax.collections)
    assert without == [[3, 3], [4, 2], [5, 1]]
    assert with_cpg == [[1, 5], [2, 4]]
    assert texts(ax) == ["without CpG (3)", "with CpG (2)"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("old", "new")


def test_distribution_counts_every_word(ax):
    plot_score_distribution(RANKING.rename(columns={"score_x": "score"}), ax)
    heights = [sum(patch.get_height() for patch in bars) for bars in ax.containers]
    assert heights == [3, 2]
    assert texts(ax) == ["without CpG", "with CpG"]


def test_masked_against_hidden_in_percent_with_intervals(ax):
    plot_masked_hidden(MASKING, ax)
    assert len(ax.containers) == 2
    point, _, (x_bar, y_bar) = ax.containers[0]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx((15, 3))
    assert x_bar.get_segments()[0][:, 0] == pytest.approx([14, 16])
    assert y_bar.get_segments()[0][:, 1] == pytest.approx([2, 4])
    assert texts(ax) == ["contiguous (DNABERT)", "GeneMask, by content"]
    assert ax.get_xlim() == ax.get_ylim()


def test_published_points_are_open_and_share_the_legend_of_the_trained_ones(ax):
    both = pd.concat([MASKING, MASKING.assign(setting="published")])
    plot_masked_hidden(both, ax)
    faces = [points.lines[0].get_markerfacecolor() for points in ax.containers]
    assert faces == [SCHEMES["contiguous"][1], SCHEMES["genemask"][1], "white", "white"]
    assert texts(ax) == ["contiguous (DNABERT)", "GeneMask, by content"]


def test_several_runs_of_one_scheme_are_told_apart(ax):
    runs = ["dnabert6-genemask", "logo-genemask"]
    plot_masked_hidden(MASKING.assign(scheme="genemask", run=runs), ax)
    assert texts(ax) == runs


def test_training_curves_skip_steps_without_evaluation(ax):
    plot_pretraining(HISTORY, FLOORS, ax)
    curves = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert curves["contiguous (DNABERT)"] == [[0, 2.0], [20, 1.8]]
    assert curves["GeneMask, by content"] == [[0, 2.0], [20, 1.7]]
    assert [y for _, y in curves["chain"]] == [1.9, 1.9]
    assert len(ax.lines) == 4
    styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
    assert styles["guessing"] != styles["chain"]


def test_two_runs_of_a_scheme_are_two_lines_and_all_baselines_are_drawn(ax):
    history = pd.concat(
        [HISTORY.assign(run="a-" + HISTORY["scheme"]), HISTORY.assign(run="b-" + HISTORY["scheme"])]
    )
    floors = pd.concat([FLOORS, FLOORS.assign(bits_per_base=[1.99, 1.89])])
    plot_pretraining(history, floors, ax)
    labels = ["a-contiguous", "a-genemask", "b-contiguous", "b-genemask"]
    assert texts(ax) == [*labels, "guessing", "chain"]
    for line in ax.lines[:4]:
        assert line.get_xdata().tolist() == [0, 20]
    assert sorted(line.get_ydata()[0] for line in ax.lines[4:]) == [1.89, 1.9, 1.99, 2.0]


@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_fewshot_draws_models_with_bars_and_baselines_in_grey(ax, metric):
    table = FEWSHOT.copy()
    table.loc[table["metric"] != metric, ["mean", "low", "high"]] = 99.0  # must not be drawn
    plot_fewshot(table, ax, metric=metric)
    handles, labels = ax.get_legend_handles_labels()
    assert labels == [
        "4-mer logistic regression",
        "GC content",
        "same network, not pretrained",
        "GeneMask, by content",
        "contiguous (DNABERT)",
    ]
    assert all(handle.get_color() == OKABE_ITO["grey"] for handle in handles[:3])
    assert len(ax.containers) == 2
    line, _, (bars,) = ax.containers[0]
    assert line.get_ydata().tolist() == [0.7, 0.7]
    assert line.get_xdata() == pytest.approx([10, 50], rel=0.13)
    assert np.array(bars.get_segments())[:, :, 1] == pytest.approx(np.array([[0.6, 0.75]] * 2))
    assert ax.containers[1][0].get_xdata()[0] > line.get_xdata()[0]  # beside, not on each other
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "50"]
    assert ax.get_ylabel() == metric
    assert ax.get_ylim()[1] < 2


def test_fewshot_with_one_fit_each_is_drawn_without_bars(ax):
    plot_fewshot(FEWSHOT.assign(low=np.nan, high=np.nan), ax)
    assert ax.containers[0][0].get_ydata().tolist() == [0.7, 0.7]


def test_pairs_are_listed_from_above_and_coloured_by_significance(ax):
    plot_paired(PAIRED, ax)
    sure, other = ax.containers
    assert sure[0].get_xdata().tolist() == [0.1, -0.2]
    assert sure[0].get_ydata().tolist() == [2, 1]
    assert sure[0].get_color() == OKABE_ITO["vermilion"]
    assert other[0].get_xdata().tolist() == [0.0]
    assert np.array(sure[2][0].get_segments())[:, :, 0] == pytest.approx(
        np.array([[0.02, 0.15], [-0.3, -0.1]])
    )
    ticks = zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True)
    assert dict(ticks) == {2: "a", 1: "b", 0: "c"}


def test_pairs_without_a_p_value_are_grey(ax):
    plot_paired(PAIRED.assign(p_holm=np.nan, low=np.nan, high=np.nan), ax)
    assert ax.containers[0][0].get_xdata().tolist() == []
    assert ax.containers[1][0].get_xdata().tolist() == [0.1, -0.2, 0.0]


def test_token_usage_has_a_curve_and_an_even_line_per_k(ax):
    plot_token_usage(USAGE, ax)
    assert texts(ax) == ["3-mers", "4-mers"]
    assert ax.lines[0].get_xydata().tolist() == [[1, 0.1], [64, 0.001]]
    even = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert even == [1 / 64, 1 / 256]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_few_shot_axes_with_baselines_only(ax):
    floors = FEWSHOT[FEWSHOT["model"].isin(BASELINES)]
    assert len(floors)
    plot_fewshot(floors, ax)
    assert len(ax.lines) == floors["model"].nunique()
