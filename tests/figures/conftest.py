"""Axes to draw on; figures are closed after every test."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    """Matplotlib's settings and figures as they were."""
    from matplotlib import pyplot as plt

    with matplotlib.rc_context():
        yield
        plt.close("all")


@pytest.fixture
def ax():
    """One empty pair of axes."""
    from genomelm_utils.figures.style import new_figure

    return new_figure()[1][0, 0]
