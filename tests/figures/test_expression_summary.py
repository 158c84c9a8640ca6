"""The manuscript's figures of expression: several runs side by side, sentences from their rows."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures import expression_summary as summary
from genomelm_utils.figures.importance import plot_importance_map
from genomelm_utils.pipeline.context import Parent

MODELS = ("pretrained", "scratch", "kmer_ridge", "bow5")


def scores_of(tissues: list[str], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (model, tissue, metric, value, value - 0.05, value + 0.05, 100)
        for model in MODELS
        for tissue in [*tissues, "all", "mean"]
        for metric in ("r2", "R2")
        for value in [rng.uniform(0, 0.5)]
    ]
    return pd.DataFrame(rows, columns=["model", "tissue", "metric", "mean", "low", "high", "n"])


def pairs_of(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    table = [(m, o, "R2", (low + high) / 2, low, high, 100) for m, o, low, high in rows]
    return pd.DataFrame(
        table, columns=["model", "other", "metric", "difference", "low", "high", "n"]
    )


POINTS = pd.DataFrame(
    {
        "tissue": np.repeat(["root", "leaf", "ear", "tip"], 40),
        "row": np.tile(np.arange(40), 4),
        "true": np.tile(np.linspace(0, 4, 40), 4),
        "scale": "ln(TPM + 1)",
    }
)
NOISE = np.random.default_rng(2).normal(size=160) * np.repeat([0.1, 3.0, 1.0, 0.5], 40)
POINTS["predicted"] = POINTS["true"] + NOISE
PLACES = pd.DataFrame(
    {"k": 3, "distance_bp": np.arange(-50, 0), "importance": 0.1, "se": 0.01, "n_promoters": 8}
)
PLACES.loc[20, "importance"] = 0.9


@pytest.fixture
def tables(tmp_path) -> dict[str, pd.DataFrame]:
    """Two runs: one with a truth, and one by the released rule of flips, in another order."""
    maize = {
        "scores": scores_of(["root", "leaf"], 1), "points": POINTS, "importance": PLACES,
        "paired": pairs_of(("pretrained", "scratch", 0.01, 0.1), ("pretrained", "bow5", 0.1, 0.2)),
        "planted_importance": pd.DataFrame({"motif": ["TATA-box", "none"], "times": [9.0, 1.0]}),
    }  # fmt: skip
    other = {
        "scores": scores_of(["ear"], 2),
        "points": POINTS[POINTS["tissue"] == "ear"],
        "importance": PLACES.rename(columns={"distance_bp": "start"}).assign(start=np.arange(50)),
        "paired": pairs_of(("scratch", "pretrained", -0.3, -0.1), ("scratch", "bow5", -0.1, 0.2)),
    }
    parents = []
    for run, found in (("maize", maize), ("other", other)):
        folder = tmp_path / run / "tables"
        folder.mkdir(parents=True)
        for name, table in found.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        parents.append(Parent("07_expression", run, folder.parent))
    return summary.gather_expression(parents)


def test_runs_are_gathered_and_those_without_a_table_left_out(tables):
    assert tables["scores"]["run"].unique().tolist() == ["maize", "other"]
    assert tables["planted_importance"]["run"].unique().tolist() == ["maize"]
    assert tables["top_kmers"].empty
    assert all(table.empty for table in summary.gather_expression([]).values())


def test_a_panel_per_run_with_names_in_words(tables):
    scores = tables["scores"]
    _, axes = summary.grid_of_runs(scores)
    summary.draw_runs(scores, axes, summary.plot_performance)
    assert [ax.get_title() for ax in axes[:, 0]] == ["maize", "other"]
    labels = axes[0, 0].get_legend_handles_labels()[1]
    assert labels == ["pretrained", "not pretrained", "1- to 6-mer counts, ridge",
                      "5-mer counts, linear"]  # fmt: skip


def test_classification_stands_beside_with_its_own_metric(tables):
    scores, classes = tables["scores"], scores_of(["root"], 4)
    classes = classes[classes["metric"] == "r2"].assign(metric="auc", run="classes")
    both = pd.concat([scores, classes], ignore_index=True)
    _, axes = summary.grid_of_runs(both)
    summary.draw_runs(both, axes, summary.plot_performance)
    assert [ax.get_ylabel()[:3] for ax in axes[:, 0]] == ["R² ", "R² ", "AUC"]
    pairs = pairs_of(("pretrained", "bow5", 0.1, 0.2)).assign(metric="auc", run="classes")
    paired = pd.concat([tables["paired"], pairs], ignore_index=True)
    assert "every baseline in 2" in summary.count_wins(paired)
    assert "classes: AUC, mean of tissues" in summary.describe_performance(both, paired)


def test_many_tissues_leave_room_for_the_main_methods_only(ax):
    table = scores_of([f"tissue {i}" for i in range(20)], 3)
    summary.plot_performance(table, ax)
    assert "5-mer counts, linear" not in ax.get_legend_handles_labels()[1]


def test_wins_are_counted_whichever_network_is_the_best(tables):
    """Pretrained is better in both runs: once it is chosen, once the other one is."""
    told = summary.count_wins(tables["paired"])
    assert "beyond chance in 2 of 2 runs" in told
    assert "every baseline in 1" in told
    text = summary.describe_performance(tables["scores"], tables["paired"])
    assert text.startswith("maize: R², mean of tissues")
    assert "other: " in text
    assert "beats not pretrained (+0.055 [+0.010, +0.100])" in text


def test_tissues_from_the_best_to_the_worst_and_spare_axes_hidden(tables):
    assert summary.choose_tissues(POINTS) == ["root", "ear", "leaf"]
    points = tables["points"]
    _, axes = summary.grid_of_runs(points, n_cols=3)
    summary.plot_scatter_runs(points, axes)
    assert [ax.get_visible() for ax in axes.flat] == [True] * 4 + [False] * 2
    assert axes[0, 0].get_xlabel() == "measured, ln(TPM + 1)"
    long = points.assign(tissue="tip of the ear primordium, six to eight millimetres")
    _, axes = summary.grid_of_runs(long, n_cols=3)
    summary.plot_scatter_runs(long, axes)
    assert max(map(len, axes[0, 0].get_title().split("\n"))) <= 32
    told = summary.describe_scatter(points)
    assert "maize: 40 test promoters in 4 tissues" in told
    assert "root, ear, leaf" in told


def test_places_of_both_rules_are_drawn_and_told(tables):
    places, planted = tables["importance"], tables["planted_importance"]
    _, axes = summary.grid_of_runs(places)
    summary.draw_runs(places, axes, plot_importance_map)
    assert "TSS" in axes[0, 0].get_xlabel()
    assert "5' end" in axes[1, 0].get_xlabel()
    told = summary.describe_places(places, planted)
    assert "maize: Replacing 3-mers at -30 bp moves predictions most, by 0.9" in told
    assert "TATA-box 9.0" in told
