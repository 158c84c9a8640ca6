"""Figures of what a search is worth: bars and lines have the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures import motif_tests as figures
from genomelm_utils.figures.style import new_figure
from genomelm_utils.motifs.control import SCAN_COLUMNS
from genomelm_utils.motifs.recovery import RECOVERY_COLUMNS


@pytest.fixture
def ax():
    _, axes = new_figure()
    return axes[0, 0]


def test_scan(ax):
    row = ["gadem_1", "gadem_1", "TGACTCA", "found", 100, 60, 0.6, 0.5, 0.69]
    row += [10, 0.1, 0.06, 0.17, 0.5, 0.4, 0.6]
    known = ["MA1", "FOX", "TGTTTAC", "known", *row[4:]]
    figures.plot_scan(pd.DataFrame([row, known], columns=SCAN_COLUMNS), ax)
    assert sorted(bar.get_width() for bar in ax.patches) == [0.1, 0.1, 0.6, 0.6]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "TGACTCA (gadem_1)",
        "FOX (known)",
    ]
    assert ax.get_xlim()[1] == pytest.approx(1.15 * 0.69)
    _, labels = ax.get_legend_handles_labels()
    assert labels == ["sequences", "shuffled"]


def test_recovery(ax):
    rows = [
        ["AP-1", "gadem_1", "TGACTCA", 60, 50, 10, 5, 0.83, 0.7, 0.9, 0.91, 0.8, 0.96],
        ["GRE", "", "", 20, 0, 20, 0, 0.0, 0.0, 0.16, np.nan, np.nan, np.nan],
    ]
    figures.plot_recovery(pd.DataFrame(rows, columns=RECOVERY_COLUMNS), ax)
    assert [bar.get_width() for bar in ax.patches] == [50, 0, 10, 20, -5, 0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "AP-1\nTGACTCA",
        "GRE\nnot found",
    ]
    assert [text.get_text().strip() for text in ax.texts] == ["83% [70%, 90%]", "0% [0%, 16%]"]
    assert ax.get_xlim()[0] < -5 and ax.get_xlim()[1] > 60


def test_matching_share(ax):
    table = pd.DataFrame(
        {
            "ranking": ["corrected"] * 3 + [figures.BASELINE] * 3,
            "top": [50, 100, 0] * 2,
            "n_words": [50, 100, 4096] * 2,
            "share": [0.5, 0.4, 0.3, 0.2, 0.25, 0.3],
        }
    )
    figures.plot_matching_share(table, ax)
    lines = {line.get_label(): line for line in ax.get_lines() if line.get_marker() == "o"}
    assert set(lines) == {"corrected", figures.BASELINE}
    np.testing.assert_array_equal(lines["corrected"].get_ydata(), [0.5, 0.4])
    assert lines[figures.BASELINE].get_color() == figures.CONTROL_COLOUR
    assert "among all words" in ax.get_legend_handles_labels()[1]
