"""Figures of motifs: heights by hand, pairs that line up, sentences from their tables."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures import motifs as figures
from genomelm_utils.figures.style import DOUBLE_MM, new_figure
from genomelm_utils.motifs.motif import SITE_COLUMNS, Motif


@pytest.fixture
def ax():
    _, axes = new_figure()
    return axes[0, 0]


def test_heights_by_hand():
    matrix = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [np.nan] * 4])
    heights = figures.letter_heights(matrix)
    np.testing.assert_allclose(
        heights, [[2, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-12
    )
    assert list(heights) == list("ACGT")


def test_logo(ax):
    figures.plot_logo(np.eye(4)[[0, 1, 2, 3, 0]], ax, "title")
    assert ax.get_ylim() == (0, 2) and ax.get_title() == "title"
    assert ax.get_xlim()[0] < 1 and ax.get_xlim()[1] > 5
    assert len(ax.patches) >= 5  # letters


def test_a_pair_lines_up():
    _, axes = new_figure(2, 1)
    ours, theirs = Motif("ours", np.eye(4)[[0, 1, 2]]), Motif("MA1", np.eye(4)[[3, 3, 2, 1]], "FOX")
    match = pd.Series(
        {"motif": "ours", "known": "MA1", "offset": 1, "strand": "-", "q_value": 3e-5}
    )
    figures.plot_pair(ours, theirs, match, axes[:, 0])
    assert axes[0, 0].get_xlim() == axes[1, 0].get_xlim()
    assert axes[0, 0].get_title() == "ours, 0 sites"
    assert axes[1, 0].get_title() == "FOX (MA1, reversed), q = 3e-05"
    plain = Motif("GRE", theirs.counts)
    figures.plot_pair(ours, plain, match.replace({"MA1": "GRE", "-": "+"}), axes[:, 0])
    assert axes[1, 0].get_title() == "GRE, q = 3e-05"


def test_places_of_sites(ax):
    sites = pd.DataFrame(
        [["s", 0, 45, 55, "+", 1.0, 1e-5, "A"], ["t", 1, 0, 10, "+", 1.0, 1e-5, "A"]],
        columns=SITE_COLUMNS,
    ).assign(motif="m")
    figures.plot_site_places(sites, np.array([100, 200]), ax)
    (steps,) = ax.patches
    values, edges, _ = steps.get_data()
    assert values.sum() == pytest.approx(1) and len(edges) == 21
    assert values[10] == values[0] == 0.5  # one in the middle, one at the start
    assert steps.get_label() == "m"


def test_ranking_test(ax):
    table = pd.DataFrame(
        {
            "ranking": ["published", "published", "corrected", "corrected"],
            "control": ["none", "composition"] * 2,
            "auc": [0.6, 0.6, 0.5, 0.5],
            "low": [0.55, 0.55, 0.45, 0.45],
            "high": [0.65, 0.65, 0.55, 0.55],
            "expected": [0.5, 0.52, 0.5, 0.51],
        }
    )
    figures.plot_ranking_test(table, ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["published", "corrected"]
    _, labels = ax.get_legend_handles_labels()
    assert sorted(labels) == [
        "observed, 95 %",
        "permuted, all orders",
        "permuted, equal GC and CpG",
    ]


def test_sentences():
    table = pd.DataFrame(
        {"consensus": ["TGACGTCA"], "n_sites": [140], "share": [0.7], "log10_e": [-249.1]}
    )
    assert figures.describe_discovery(table, 200) == (
        "1 motif in 200 sequences; the first, TGACGTCA, has 140 sites in 70 % of them, E = 10^-249."
    )
    assert figures.describe_discovery(table.iloc[:0], 200) == (
        "No motif was found in 200 sequences."
    )


def test_logos_of_one_scale():
    _, axes = new_figure(2, 2)
    motifs = [Motif("a", np.eye(4), log10_e=-30.4), Motif("b", np.eye(4)[[0, 1]], log10_e=-1.0)]
    figures.plot_logos(motifs, axes)
    assert axes[0, 0].get_xlim() == axes[0, 1].get_xlim()
    titles = [ax.get_title() for ax in axes.flat]
    assert titles == ["a: 0 sites, E = $10^{-30}$", "b: 0 sites, E = 0.1", "", ""]
    assert [ax.axison for ax in axes.flat] == [True, True, False, False]


def test_pairs_side_by_side():
    _, axes = new_figure(2, 2)
    ours, theirs = Motif("ours", np.eye(4)[[0, 1, 2]]), Motif("MA1", np.eye(4)[[3, 3, 2, 1]], "FOX")
    match = pd.Series(
        {"motif": "ours", "known": "MA1", "offset": 1, "strand": "-", "q_value": 3e-5}
    )
    figures.plot_pairs([(ours, theirs, match)], axes)
    assert [ax.get_title() for ax in axes[:, 0]] == [
        "ours, 0 sites",
        "FOX (MA1, reversed), q = 3e-05",
    ]
    assert [ax.axison for ax in axes[:, 1]] == [False, False]


def test_sentence_on_places():
    sites = pd.DataFrame(
        [["s", 0, 45, 55, "+", 1.0, 1e-5, "A"], ["t", 1, 0, 10, "+", 1.0, 1e-5, "A"]],
        columns=SITE_COLUMNS,
    ).assign(motif="m")
    assert figures.describe_site_places(sites, np.array([100, 200])) == (
        "In the middle 20% of their sequences lie 50% of those of m."
    )
    assert figures.describe_site_places(sites.iloc[:0], np.array([100])) == "No sites to place."


@pytest.mark.parametrize(
    ("n", "shape", "share"), [(1, (1, 1), 0.5), (2, (1, 2), 1), (5, (3, 2), 1)]
)
def test_one_logo_has_half_the_width(n, shape, share):
    fig, axes = figures.grid_for_logos(n)
    assert axes.shape == shape
    assert fig.get_figwidth() == pytest.approx(DOUBLE_MM * share / 25.4)
