"""Axes to draw on; figures are closed after every test."""

import matplotlib
import pandas as pd
import pytest

from genomelm_utils.pipeline.context import Parent

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


@pytest.fixture
def make_parent(tmp_path):
    """make_parent(stage, run, **tables): a finished run with these tables."""

    def make(stage: str, run: str, **tables: pd.DataFrame) -> Parent:
        folder = tmp_path / stage / run
        (folder / "tables").mkdir(parents=True)
        for name, table in tables.items():
            table.to_csv(folder / "tables" / f"{name}.csv", index=False)
        return Parent(stage, run, folder)

    return make
