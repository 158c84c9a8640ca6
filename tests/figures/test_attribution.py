"""Figures of interpretation: what is drawn is what the table says, and the sentence too."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures.attribution import (
    describe_attention_map,
    describe_logo,
    describe_saturation,
    plot_attention_map,
    plot_logo,
    plot_motif_logo,
    plot_profile,
    plot_recovery,
    plot_saturation,
)
from genomelm_utils.figures.style import new_figure


def test_recovery_is_ordered_with_the_line_of_chance(ax):
    table = pd.DataFrame({"method": ["saliency", "chance"], "auprc": [0.8, 0.2], "low": [0.7, 0.1],
                          "high": [0.9, 0.3], "chance": [0.2, 0.2]})  # fmt: skip
    plot_recovery(table, ax)
    assert [one.get_text() for one in ax.get_yticklabels()] == ["chance", "saliency"]
    assert ax.get_xlim() == (0, 1)
    assert any(np.allclose(line.get_xdata(), 0.2) for line in ax.lines)


def test_a_logo_is_as_high_as_the_scores(ax):
    score = np.array([0.5, -0.25, 1.0, 0.0])
    plot_logo("ACGN", score, ax, np.array([False, True, True, False]))
    low, high = ax.get_ylim()
    assert low <= -0.25 and high >= 1
    assert len(ax.patches) >= 4  # the shade and three letters
    with pytest.raises(ValueError, match="3 bases and 4 scores"):
        plot_logo("ACG", score, ax)


def test_the_sentence_of_a_logo_names_the_best_window():
    score = np.zeros(20)
    score[5:13] = 1
    told = describe_logo("A" * 5 + "TGACTCAG" + "A" * 7, score, score > 0)
    assert "TGACTCAG at 5 to 13" in told and "100% of them are planted" in told
    assert "planted" not in describe_logo("A" * 20, score)


def attention():
    score = np.array([0.1, 0.1, 0.4, 0.4])
    rows = [pd.DataFrame({"k": k, "position": range(4), "score": score}) for k in ("3", "6")]
    rows.append(pd.DataFrame({"k": "sum", "position": range(4), "score": 2 * score}))
    return pd.concat(rows, ignore_index=True)


def test_the_attention_map_has_a_row_per_k(ax):
    plot_attention_map(attention(), ax)
    labels = [one.get_text() for one in ax.get_yticklabels()]
    assert labels == ["k = 3", "k = 6", "sum"]
    image = ax.images[0].get_array()
    assert image.shape == (3, 4) and image[2, 3] == pytest.approx(0.8)
    told = describe_attention_map(attention(), np.array([False, False, True, True]))
    assert "k = 3: base 2" in told and "Planted bases hold 80% of it, 50% of the bases" in told


def test_the_saturation_map_is_symmetric_and_marks_the_own_base(ax):
    is_ref = [True, False, False, False, False, True, False, False]
    change = [0, -2, 1, 0.5, 0.1, 0, 0.2, 0.3]
    columns = (np.repeat([0, 1], 4), list("ACGT") * 2, change, is_ref)
    names = ("position", "base", "change", "is_ref")
    table = pd.DataFrame(dict(zip(names, columns, strict=True)))
    plot_saturation(table, ax, np.array([True, False]))
    assert ax.images[0].get_clim() == (-2, 2)
    dots = ax.lines[0]
    assert dots.get_xdata().tolist() == [0, 1] and list(dots.get_ydata()) == [0, 1]
    told = describe_saturation(table, np.array([True, False]))
    assert "A to C at 0 (-2)" in told and "1.17 on planted bases and 0.2 elsewhere" in told


def test_profile_and_motif_are_drawn(ax):
    table = pd.DataFrame({"distance_bp": [-2, -1], "mean": [1.0, 2.0], "se": [0.1, np.nan]})
    planted = pd.DataFrame({"motif": ["TATA-box"], "first_bp": [-2], "last_bp": [-1]})
    plot_profile(table, ax, planted)
    assert ax.get_ylim()[0] == 0 and "TATA-box" in [one.get_text() for one in ax.texts]
    other = new_figure()[1][0, 0]
    plot_motif_logo(np.array([[10, 0, 0, 0], [3, 3, 2, 2]]), other, "AN")
    assert other.get_ylim() == (0, 2) and other.get_title() == "AN"
