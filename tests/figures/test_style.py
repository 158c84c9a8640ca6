"""One look: sizes in millimetres, colours told apart, intervals drawn where they are."""

import itertools
import re

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from genomelm_utils.figures.style import (
    DOUBLE_MM,
    OKABE_ITO,
    SINGLE_MM,
    draw_intervals,
    label_panels,
    new_figure,
)


@pytest.mark.parametrize(("width_mm", "height_mm"), [(SINGLE_MM, 62), (DOUBLE_MM, 100)])
def test_size_is_in_millimetres(width_mm, height_mm):
    fig, axes = new_figure(2, 3, width_mm=width_mm, height_mm=height_mm)
    assert fig.get_size_inches() * 25.4 == pytest.approx([width_mm, height_mm])
    assert axes.shape == (2, 3)
    assert new_figure()[1].shape == (1, 1)


def test_text_is_small_and_stays_text():
    _, axes = new_figure()
    axes[0, 0].set_xlabel("x")
    assert axes[0, 0].xaxis.label.get_fontsize() == 7
    assert plt.rcParams["svg.fonttype"] == "none"
    assert not axes[0, 0].spines["top"].get_visible()


def test_colours_are_different_from_one_another():
    found = [np.array(colors.to_rgb(code)) for code in OKABE_ITO.values()]
    for a, b in itertools.combinations(found, 2):
        assert np.abs(a - b).max() > 0.15


def test_panels_are_lettered_in_reading_order():
    _, axes = new_figure(2, 2)
    label_panels(axes)
    assert [ax.get_title(loc="left") for ax in axes.flat] == list("abcd")
    assert [ax.get_title() for ax in axes.flat] == [""] * 4


def bars_of(ax) -> list[list[list[float]]]:
    """Ends of the vertical bars of each error bar on the axes."""
    return [
        [segment.tolist() for segment in container[2][0].get_segments()]
        for container in ax.containers
    ]


def test_bars_reach_from_low_to_high(ax):
    draw_intervals(
        ax, [1, 2], [0.5, 0.6], [0.4, 0.55], [0.7, 0.65], colour="red", label="m", marker="o"
    )
    (bars,) = bars_of(ax)
    assert np.array(bars) == pytest.approx(np.array([[[1, 0.4], [1, 0.7]], [[2, 0.55], [2, 0.65]]]))
    line = ax.containers[0][0]
    assert line.get_ydata().tolist() == [0.5, 0.6]
    assert (line.get_color(), line.get_marker()) == ("red", "o")
    assert ax.get_legend_handles_labels()[1] == ["m"]


def test_one_fit_has_a_point_and_no_bar(ax):
    draw_intervals(ax, [1], [0.5], [np.nan], [np.nan], colour="red", label="m")
    assert ax.containers[0][0].get_ydata().tolist() == [0.5]
    assert bars_of(ax) == [[[]]]


def test_same_data_same_bytes(tmp_path):
    found = []
    for name in ("a.svg", "b.svg"):
        fig, axes = new_figure()
        draw_intervals(axes[0, 0], [1], [2], [1], [3], colour="blue", label="x")
        axes[0, 0].fill_between([1, 2], [1, 2], hatch="/")
        axes[0, 0].legend()
        fig.savefig(tmp_path / name, metadata={"Date": None})
        found.append((tmp_path / name).read_text())
    assert found[0] == found[1]
    assert re.search(r"<text[^>]*>x</text>", found[0])
