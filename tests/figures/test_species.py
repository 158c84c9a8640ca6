"""Figures of species embeddings draw what the tables hold, and their sentences count it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils.baselines.species_methods import label_methods
from genomelm_utils.evaluation.binning_scores import honest_scores, recovered_curve
from genomelm_utils.evaluation.clustering import cluster_intervals
from genomelm_utils.evaluation.projection import project_methods
from genomelm_utils.evaluation.statistics import Comparison
from genomelm_utils.figures.legend import legend_of
from genomelm_utils.figures.methods import LOOKS, species_styles
from genomelm_utils.figures.species import (
    describe_ari,
    describe_bin_quality,
    describe_difference,
    describe_embedding_map,
    describe_recovered,
    describe_species_fewshot,
    describe_species_training,
    plot_ari_bars,
    plot_bin_quality,
    plot_embedding_map,
    plot_embedding_maps,
    plot_recovered_species,
    plot_species_fewshot,
    plot_species_training,
)
from genomelm_utils.figures.style import new_figure
from genomelm_utils.tasks.species_benchmark import tabulate_bins, tabulate_recovered

MAP = pd.DataFrame(
    {
        "projection": "tsne", "method": "trained", "species": ["b", "a", "b", "a"],
        "x": [0.0, 5.0, 0.1, 5.1], "y": [0.0, 5.0, 0.0, 5.0],
    }
)  # fmt: skip
ARI = label_methods(
    pd.DataFrame(
        {
            "method": ["canonical_tnf", "untrained", "trained", "tnf"],
            "mean": [0.7, 0.1, 0.8, 0.6], "low": [0.6, -0.05, 0.75, np.nan],
            "high": [0.75, 0.2, 0.9, np.nan], "unit": "species",
        }
    )
)  # fmt: skip
RECOVERED = label_methods(
    pd.DataFrame(
        {
            "method": ["trained"] * 3 + ["canonical_tnf"] * 3, "threshold": [0.1, 0.5, 0.9] * 2,
            "n_recovered": [10, 8, 3, 9, 4, 0], "n_species": 10,
            "low": [1.0, 0.6, 0.1, 0.7, 0.2, 0.0], "high": [1.0, 0.9, 0.5, 1.0, 0.6, 0.0],
        }
    )
)  # fmt: skip
FEWSHOT = label_methods(
    pd.DataFrame(
        {
            "method": ["trained", "trained", "canonical_tnf", "canonical_tnf"],
            "shots": [20, 1, 20, 1], "mean": [0.9, 0.6, 0.95, 0.5],
            "low": [0.85, 0.5, 0.9, 0.4], "high": [0.95, 0.65, 1.0, 0.6],
        }
    )
)  # fmt: skip
HISTORY = pd.DataFrame(
    {
        "phase": [1, 1, 1, 2, 2], "objective": ["weighted_simclr"] * 3 + ["mix"] * 2,
        "total_step": [0, 5, 10, 10, 30], "valid_loss": [4.0, np.nan, 2.0, 2.0, 1.5],
        "valid_accuracy": [0.1, np.nan, 0.6, 0.6, 0.7],
    }
)  # fmt: skip
QUALITY = label_methods(
    pd.DataFrame(
        {"method": ["canonical_tnf", "trained"], "n_bins_50_10": [5, 9], "n_bins_90_5": [0, 6],
         "n_species": 10}
    )
)  # fmt: skip

CASES = {
    "map": (plot_embedding_map, MAP),
    "ari": (plot_ari_bars, ARI),
    "recovered": (plot_recovered_species, RECOVERED),
    "fewshot": (plot_species_fewshot, FEWSHOT),
    "quality": (plot_bin_quality, QUALITY),
}


@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out_and_no_figure_of_its_own(name, ax):
    plot, table = CASES[name]
    before, figures = table.copy(), plt.get_fignums()
    assert plot(table, ax) is ax
    assert plt.get_fignums() == figures
    assert ax.has_data()
    assert ax.get_xlabel()
    assert ax.get_legend() is None  # panels share one
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("name", CASES)
def test_same_table_same_bytes(name, tmp_path):
    plot, table = CASES[name]
    found = []
    for i in range(2):
        fig, axes = new_figure()
        plot(table, axes[0, 0])
        fig.savefig(tmp_path / f"{i}.svg", metadata={"Date": None})
        found.append((tmp_path / f"{i}.svg").read_bytes())
    assert found[0] == found[1]


# --- maps -----------------------------------------------------------------------------------------


def test_every_sequence_is_a_point_in_its_species_look(ax):
    plot_embedding_map(MAP, ax)
    assert [points.get_offsets().tolist() for points in ax.collections] == [
        [[5, 5], [5.1, 5]], [[0, 0], [0.1, 0]],
    ]  # fmt: skip
    handles, labels = legend_of(np.array([ax]))
    assert labels == ["a", "b"]
    styles = species_styles(["a", "b"])
    assert [(h.get_color(), h.get_marker()) for h in handles] == [styles["a"], styles["b"]]
    assert (ax.get_xlabel(), ax.get_aspect()) == ("t-SNE axis 1", 1)
    assert len(ax.get_xticks()) == 0


def test_a_map_without_a_projection_still_has_axes(ax):
    plot_embedding_map(MAP.drop(columns="projection"), ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("axis 1", "axis 2")


def test_grid_has_methods_beside_and_projections_below_each_other(rng):
    features = rng.normal(size=(12, 5))
    table = project_methods({"untrained": features, "tnf": features + 1}, ["a", "b"] * 6)
    _, axes = new_figure(2, 2)
    assert plot_embedding_maps(table, axes) is axes
    assert [ax.get_title() for ax in axes.flat] == ["untrained network", "TNF", "", ""]
    assert [ax.get_xlabel()[:3] for ax in axes.flat] == ["PCA", "PCA", "t-S", "t-S"]
    part = table[(table["projection"] == "tsne") & (table["method"] == "tnf")]
    drawn = np.concatenate([points.get_offsets() for points in axes[1, 1].collections])
    assert np.array_equal(drawn, part.sort_values("species", kind="stable")[["x", "y"]])
    with pytest.raises(ValueError, match=r"axes have shape \(1, 2\), expected \(2, 2\)"):
        plot_embedding_maps(table, axes[:1])


def test_neighbours_on_the_map_are_counted():
    mixed = MAP.assign(method="tnf", species=["a", "b", "b", "a"])
    assert describe_embedding_map(pd.concat([MAP, mixed])) == (
        "4 sequences of 2 species. The nearest neighbour is of the same species: on the t-SNE map "
        "trained on pairs 100 %, TNF 0 % (by chance 33 %)."
    )


def test_a_collapsed_map_is_no_better_than_chance():
    species = np.repeat(["a", "b"], 10)  # in the order in which ties are found
    table = pd.DataFrame(
        {"projection": "pca", "method": "trained", "species": species, "x": 0.0, "y": 0.0}
    )
    assert "trained on pairs 47 % (by chance 47 %)" in describe_embedding_map(table)


# --- methods below one another --------------------------------------------------------------------


def test_ari_is_drawn_with_its_interval_and_a_line_at_canonical_tnf(ax):
    plot_ari_bars(ARI, ax)
    rows = dict(zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True))
    drawn = {}
    for point, _, (bars,) in ax.containers:
        label = rows[point.get_ydata()[0]]
        drawn[label] = (
            point.get_xdata()[0],
            [s.T[0].tolist() for s in bars.get_segments() if len(s)],
        )
    assert list(drawn) == ["trained on pairs", "untrained network", "canonical TNF", "TNF"]
    assert drawn["trained on pairs"][0] == 0.8
    assert drawn["trained on pairs"][1][0] == pytest.approx([0.75, 0.9])
    assert drawn["TNF"] == (0.6, [])  # no interval is no bar
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert line.get_xdata() == [0.7, 0.7]
    assert ax.get_xlim()[0] < -0.05  # ARI may be below 0
    assert ax.get_xlabel().endswith("interval over species")


def test_one_kind_of_interval_at_a_time(ax, rng):
    features, labels = rng.normal(size=(40, 4)), np.repeat(["a", "b", "c", "d"], 10)
    table = cluster_intervals(features, labels, rng, seeds=(0, 1), n_resamples=20)
    table = label_methods(table.assign(method="trained"))
    with pytest.raises(ValueError, match="intervals over seed, contig, species in one table"):
        plot_ari_bars(table, ax)
    plot_ari_bars(table[table["unit"] == "seed"], ax)
    assert ax.get_xlabel().endswith("over seeds")


def test_ari_sentence_names_the_best_and_the_reference():
    assert describe_ari(ARI) == (
        "Adjusted Rand index (95 % intervals over species): the best language model is trained on "
        "pairs with 0.800 [0.750, 0.900]; the best baseline is canonical TNF with 0.700 [0.600, "
        "0.750]; canonical TNF has 0.700 [0.600, 0.750], and 1 of 2 language models lie above it."
    )
    assert "is TNF with 0.600." in describe_ari(ARI[ARI["method"] == "tnf"])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "above"), (-0.3, -0.1, "below"), (-0.1, 0.2, "not told apart from")],
)
def test_difference_is_judged_by_its_interval(low, high, verdict):
    found = Comparison((low + high) / 2, low, high, 0.012, 14, "species", exact=False)
    text = describe_difference(found, "trained", "canonical TNF")
    assert text.startswith(f"trained is {verdict} canonical TNF: difference of ARI ")
    assert text.endswith(f"[{low:+.3f}, {high:+.3f}], p = 0.012, paired over 14 species.")


def test_bins_are_pairs_of_bars_with_their_numbers(ax):
    plot_bin_quality(QUALITY, ax)
    bars = [bar for bar in ax.patches if bar.get_y() < -0.5]  # the legend's are at 0
    assert [bar.get_width() for bar in bars] == [9, 6, 5, 0]
    assert [bar.get_alpha() for bar in bars] == [0.4, 1.0] * 2
    assert [text.get_text() for text in ax.texts] == ["9", "6", "5", "0"]
    assert legend_of(np.array([ax]))[1] == [
        "≥ 50 % complete, ≤ 10 % contaminated", "≥ 90 % complete, ≤ 5 % contaminated",
    ]  # fmt: skip
    (line,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert line.get_xdata() == [10, 10]
    assert ax.get_xlim()[1] > 10
    assert describe_bin_quality(QUALITY).endswith(
        "of 10 species: trained on pairs 6 (9), canonical TNF 0 (5)."
    )


def test_bins_of_the_honest_scores_are_tabulated(ax):
    labels, lengths = ["a"] * 10 + ["b"] * 10, [1000] * 20
    bins = [0] * 10 + [1] * 6 + [-1] * 4
    table = tabulate_bins({"tnf": honest_scores(labels, bins, lengths).summary})
    row = table.iloc[0]
    assert row[["method", "label", "n_species"]].tolist() == ["tnf", "TNF", 2]
    assert row[["n_bins", "n_bins_50_10", "n_bins_90_5"]].tolist() == [2, 2, 1]
    plot_bin_quality(table, ax)
    assert [text.get_text() for text in ax.texts] == ["2", "1"]


# --- curves ---------------------------------------------------------------------------------------


def test_recovered_species_stand_beside_each_other_with_intervals(ax):
    plot_recovered_species(RECOVERED, ax)
    (first, _, (bars,)), (second, _, _) = ax.containers
    assert first.get_ydata().tolist() == [10, 8, 3]
    assert first.get_xdata() == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    assert (second.get_xdata() > first.get_xdata()).all()
    assert bars.get_segments()[1][:, 1] == pytest.approx([6, 9])  # shares of 10 species
    assert first.get_color() == LOOKS["trained"][0]
    assert (second.get_color(), second.get_marker()) == LOOKS["canonical_tnf"]
    assert first.get_linestyle() != second.get_linestyle()
    assert ax.get_ylabel() == "species recovered (of 10)"


def test_recovered_species_without_intervals(ax):
    plot_recovered_species(RECOVERED.drop(columns=["low", "high"]), ax)
    assert ax.containers[0][0].get_ydata().tolist() == [10, 8, 3]


def test_recovered_curves_of_the_scores_are_tabulated(rng):
    f1 = {"trained": [0.95, 0.6, 0.3], "tnf": [0.5, 0.2, 0.0]}
    table = tabulate_recovered({m: recovered_curve(v, rng) for m, v in f1.items()}, 3)
    at_half = table[table["threshold"] == 0.5].set_index("label")
    assert at_half["n_recovered"].to_dict() == {"trained on pairs": 2, "TNF": 0}
    assert (table["n_species"] == 3).all()
    assert describe_recovered(table) == (
        "Of 3 species, recovered with F1 above 0.5: trained on pairs 2, TNF 0."
    )
    assert describe_recovered(table, 0.3).endswith("above 0.3: trained on pairs 2, TNF 1.")
    with pytest.raises(ValueError, match=r"no threshold 0.55 in the table, expected one of: 0.1"):
        describe_recovered(table, 0.55)


def test_shots_are_on_a_log_axis_in_order(ax):
    plot_species_fewshot(FEWSHOT, ax)
    line, _, (bars,) = ax.containers[0]
    assert line.get_xdata() == pytest.approx([1, 20], rel=0.1)
    assert line.get_ydata().tolist() == [0.6, 0.9]
    assert bars.get_segments()[0][:, 1] == pytest.approx([0.5, 0.65])
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "20"]
    assert legend_of(np.array([ax]))[1] == ["trained on pairs", "canonical TNF"]


def test_one_method_stands_at_its_shots(ax):
    plot_species_fewshot(FEWSHOT[:2], ax)
    assert ax.containers[0][0].get_xdata().tolist() == [1, 20]


def test_fewshot_sentence_has_the_fewest_and_the_most_shots():
    assert describe_species_fewshot(FEWSHOT) == (
        "Highest macro-F1 with 1 labelled per species: trained on pairs 0.600 [0.500, 0.650], "
        "canonical TNF 0.500 [0.400, 0.600]; with 20 labelled per species: canonical TNF 0.950 "
        "[0.900, 1.000]."
    )
    once = describe_species_fewshot(FEWSHOT[FEWSHOT["shots"] == 1])
    assert once.count("labelled per species") == 1


# --- training -------------------------------------------------------------------------------------


def test_phases_are_lines_of_their_own_with_a_border():
    _, axes = new_figure(1, 2)
    before = HISTORY.copy()
    assert plot_species_training(HISTORY, axes[0]) is not None
    pd.testing.assert_frame_equal(HISTORY, before)
    loss, accuracy = (
        {line.get_label(): line.get_xydata().tolist() for line in ax.lines if line.get_marker()
         not in ("None", "")} for ax in axes[0]
    )  # fmt: skip
    assert loss == {
        "phase 1: weighted SimCLR": [[0, 4.0], [10, 2.0]],
        "phase 2: mixtures": [[10, 2.0], [30, 1.5]],
    }
    assert accuracy["phase 2: mixtures"] == [[10, 60], [30, pytest.approx(70)]]
    for ax in axes[0]:
        (border,) = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert border.get_xdata() == [10, 10]
        assert ax.get_ylim()[0] == 0
    assert legend_of(axes)[1] == ["phase 1: weighted SimCLR", "phase 2: mixtures"]


def test_training_sentence_has_each_phase_from_its_start_to_its_lowest_loss():
    assert describe_species_training(HISTORY.sample(frac=1, random_state=3)) == (
        "Phase 1 (weighted SimCLR): validation loss from 4.000 to 2.000 at step 10, species found "
        "from 10.0 to 60.0 %. Phase 2 (mixtures): validation loss from 2.000 to 1.500 at step 30, "
        "species found from 60.0 to 70.0 %."
    )
