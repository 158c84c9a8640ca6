"""Figures of k-mer rankings."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO


def plot_ranking(table: pd.DataFrame, ax: Axes) -> Axes:
    """Scores of two rankings of the same k-mers against each other, words with CpG apart.

    `table` has `ngram`, `score_x`, `score_y` and the names of the axes in `name_x`, `name_y`.
    """
    cpg = table["ngram"].str.contains("CG")
    for part, colour, label in (
        (table[~cpg], OKABE_ITO["sky"], f"without CpG ({(~cpg).sum():,})"),
        (table[cpg], OKABE_ITO["vermilion"], f"with CpG ({cpg.sum():,})"),
    ):
        ax.scatter(
            part["score_x"], part["score_y"], s=3, c=colour, alpha=0.5, lw=0, label=label,
            rasterized=True,
        )  # fmt: skip
    name_x, name_y = table["name_x"].iloc[0], table["name_y"].iloc[0]
    ax.set(xlabel=name_x, ylabel=name_y)
    ax.legend(loc="upper left", markerscale=2.5, handletextpad=0.1)
    return ax


def plot_score_distribution(table: pd.DataFrame, ax: Axes) -> Axes:
    """Histogram of NPMI scores (`score`), words with CpG apart."""
    cpg = table["ngram"].str.contains("CG")
    bins = np.histogram_bin_edges(table["score"], bins=60)
    ax.hist(table.loc[~cpg, "score"], bins, color=OKABE_ITO["sky"], label="without CpG")
    ax.hist(
        table.loc[cpg, "score"], bins, color=OKABE_ITO["vermilion"], alpha=0.8, label="with CpG"
    )
    ax.set(xlabel="NPMI score (nats, discounted)", ylabel="6-mers")
    ax.legend()
    return ax
