"""Figures of promoters, expression and importance: what the tables say is what is drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils.datasets.expression_profiles import (
    base_composition,
    expression_quantiles,
    expression_values,
    tissue_correlations,
)
from genomelm_utils.figures import importance, promoters
from genomelm_utils.figures.style import new_figure

TISSUES = ["leaf", "root", "ear"]


def make_labels(n=80):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, 1))
    return (shared + 0.5 * rng.normal(size=(n, 3)) * [1, 1, 3] + 3).astype(np.float32)


def make_scores(place="distance_bp"):
    rows = [
        {"k": k, place: d, "importance": 1.0 if (k, d) == (6, -36) else 0.1 + 0.001 * k, "se": 0.02}
        for k in (1, 6)
        for d in range(-200, -k + 1)
    ]
    return pd.DataFrame(rows).assign(n_promoters=40, n_flips=80)


LABELS = make_labels()
CODES = list(np.random.default_rng(1).integers(0, 4, (50, 120)).astype(np.uint8))
COMPOSITION = base_composition(CODES)
QUANTILES = expression_quantiles(np.maximum(LABELS, 0), TISSUES)
VALUES = expression_values(LABELS, TISSUES)
CORRELATIONS = tissue_correlations(LABELS, TISSUES)
MAP = pd.DataFrame(
    {
        "kind": ["promoter"] * 4 + ["tissue"] * 3,
        "name": ["g1", "g2", "g3", "g4", *TISSUES],
        "x": [0, 1, 2, 3, 0, 0.1, 5.0],
        "y": [0, 1, 0, 1, 0, 0.1, 5.0],
        "mean_label": [1.0, 2, 3, 4, np.nan, np.nan, np.nan],
    }
)
RANKED = pd.DataFrame(
    {
        "region": ["-10 to -1"] * 3 + ["-100 to -11"] * 2,
        "side": ["lost", "lost", "gained", "lost", "gained"],
        "kmer": ["TAT", "AAA", "CCC", "GGC", "TTA"],
        "importance": [0.3, 0.5, 0.2, 0.1, 0.15],
        "se": [0.01, 0.02, np.nan, 0.01, 0.02],
        "effect": [-0.3, -0.4, 0.1, 0.1, -0.1],
        "n_flips": 50,
        "n_promoters": 40,
    }
)
CASES = {
    "composition": lambda ax: promoters.plot_base_composition(COMPOSITION, ax),
    "quantiles": lambda ax: promoters.plot_expression_quantiles(QUANTILES, ax),
    "ridges": lambda ax: promoters.plot_expression_ridges(VALUES, ax),
    "correlations": lambda ax: promoters.plot_tissue_correlations(CORRELATIONS, ax),
    "importance": lambda ax: importance.plot_importance_map(make_scores(), ax),
    "lines": lambda ax: importance.plot_importance_lines(make_scores(), ax),
    "map": lambda ax: importance.plot_promoter_map(MAP, ax, "mean_label"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out_and_no_other_figure(name):
    _, axes = new_figure()
    before = plt.get_fignums()
    assert CASES[name](axes[0, 0]) is axes[0, 0]
    assert plt.get_fignums() == before
    assert axes[0, 0].has_data()


def test_composition_lines_are_shares_in_percent(ax):
    promoters.plot_base_composition(COMPOSITION, ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == set("ACGT")
    x, y = lines["A"].get_data()
    assert x.tolist() == list(range(-120, 0))
    assert y[-1] == pytest.approx(100 * np.mean([one[-1] == 0 for one in CODES]))


def test_ridges_stand_above_each_other_in_order(ax):
    promoters.plot_expression_ridges(VALUES, ax)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == VALUES["tissue"].unique().tolist()
    assert ax.get_yticks().tolist() == [2, 1, 0]


def test_a_tissue_without_spread_has_no_ridge(ax):
    table = VALUES.assign(value=np.where(VALUES["tissue"] == "leaf", 1.0, VALUES["value"]))
    promoters.plot_expression_ridges(table, ax)
    assert len(ax.collections) == 2


def test_silent_genes_are_counted_and_not_drawn(ax):
    """Half of the leaf's values are near zero: they would dwarf the rest."""
    rng = np.random.default_rng(1)
    values = np.concatenate([np.full(50, 0.01), rng.uniform(1, 3, 50), rng.uniform(1, 3, 50)])
    table = pd.DataFrame({"tissue": ["leaf"] * 100 + ["ear"] * 50, "value": values})
    promoters.plot_expression_ridges(table, ax)
    assert [text.get_text() for text in ax.texts] == ["50 %"]
    assert "share below 0.1" in ax.get_xlabel()
    told = promoters.describe_expression_ridges(table)
    assert "0 to 50 % of a tissue's values lie below 0.1" in told


def test_correlations_are_drawn_in_the_order_of_the_table(ax):
    promoters.plot_tissue_correlations(CORRELATIONS, ax)
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.ravel() == pytest.approx(CORRELATIONS["r"].to_numpy())
    assert [text.get_text() for text in ax.get_yticklabels()] == list(
        CORRELATIONS["tissue_a"].unique()
    )


def test_importance_map_has_every_place_and_says_what_it_counts_from(ax):
    table = make_scores()
    importance.plot_importance_map(table, ax)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert drawn.shape == (2, 200)
    assert np.isnan(drawn[1, -5:]).all()  # no 6-mer begins within five bases of the end
    assert np.unravel_index(np.nanargmax(drawn), drawn.shape) == (1, 200 - 36)
    assert "from the TSS" in ax.get_xlabel()
    _, axes = new_figure()
    importance.plot_importance_map(make_scores("start"), axes[0, 0])
    assert "from the 5' end" in axes[0, 0].get_xlabel()
    with pytest.raises(ValueError, match="expected rows with one of distance_bp, start"):
        importance.plot_importance_map(table.drop(columns="distance_bp"), ax)


def test_top_kmers_have_a_row_per_region_and_a_column_per_side():
    _, axes = new_figure(2, 2)
    importance.plot_top_kmers(RANKED, axes, n_top=1)
    assert [text.get_text() for text in axes[0, 0].get_yticklabels()] == ["AAA"]
    assert axes[1, 1].get_title() == "gained, -100 to -11 bp"
    with pytest.raises(ValueError, match=r"axes have shape \(1, 2\), expected \(2, 2\)"):
        importance.plot_top_kmers(RANKED, axes[:1])


def test_few_tissues_are_named_on_the_map_and_many_numbered(ax):
    importance.plot_promoter_map(MAP, ax)
    assert [text.get_text() for text in ax.texts] == TISSUES
    assert ax.get_legend() is None
    many = pd.DataFrame(
        {"kind": "tissue", "name": [f"t{i}" for i in range(13)], "x": 0.0, "y": 1.0}
    )
    _, axes = new_figure()
    importance.plot_promoter_map(many, axes[0, 0])
    assert [text.get_text() for text in axes[0, 0].texts] == [str(i) for i in range(1, 14)]
    assert axes[0, 0].get_legend().get_texts()[12].get_text() == "13 t12"


def test_sentences_are_computed_from_the_numbers():
    assert "GC is 4" in promoters.describe_base_composition(COMPOSITION)
    assert "up to 50 bases per place" in promoters.describe_base_composition(COMPOSITION)
    assert promoters.describe_expression_quantiles(QUANTILES).startswith("3 tissues; the median")
    ridges = promoters.describe_expression_ridges(VALUES)
    spread = LABELS.std(0, ddof=1)
    assert f"{spread[2]:.2f} in ear" in ridges
    told = promoters.describe_tissue_correlations(CORRELATIONS)
    assert f"{np.corrcoef(LABELS[:, :2].T)[0, 1]:.2f} (leaf, root)" in told
    alone = CORRELATIONS[CORRELATIONS["tissue_a"] == CORRELATIONS["tissue_b"]]
    assert promoters.describe_tissue_correlations(alone) == "No two tissues have a correlation."


def test_sentences_about_importance():
    told = importance.describe_importance(make_scores())
    assert told.startswith(
        "Replacing 6-mers at -36 bp moves predictions most, by 1 (standard error 0.02), over 40 pr"
    )
    far = make_scores().query("distance_bp < -100")["importance"].mean()
    assert f"within 100 bp of the TSS and {far:.3g} further up" in told
    reference = importance.describe_importance(make_scores("start"))
    assert "do not line up at the TSS" in reference
    assert importance.describe_top_kmers(RANKED) == (
        "Predictions move most when these are lost: AAA at -10 to -1 bp (0.5, se 0.02; losing it "
        "lowers expression); GGC at -100 to -11 bp (0.1, se 0.01; losing it raises expression)."
    )
    assert importance.describe_promoter_map(MAP) == (
        "4 promoters and 3 tissues. On this map leaf and root are the closest tissues."
    )
