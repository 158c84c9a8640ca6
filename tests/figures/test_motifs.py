"""Figures of motifs: heights by hand, pairs that line up, sentences from their tables."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures import motifs as figures
from genomelm_utils.figures.style import new_figure
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


def test_places_of_sites(ax):
    sites = pd.DataFrame(
        [["s", 0, 45, 55, "+", 1.0, 1e-5, "A"], ["t", 1, 0, 10, "+", 1.0, 1e-5, "A"]],
        columns=SITE_COLUMNS,
    ).assign(motif="m")
    figures.plot_site_places(sites, np.array([100, 200]), ax)
    (line,) = ax.get_lines()
    assert line.get_ydata().sum() == pytest.approx(1)
    assert line.get_label() == "m"


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
