"""Figures of tokenizers."""

import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO


def plot_token_usage(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rank-frequency curves of k-mer tokens, one per k; dotted is even use of the vocabulary."""
    colours = [
        OKABE_ITO[name] for name in ("sky", "green", "orange", "blue", "purple", "vermilion")
    ]
    for (k, part), colour in zip(table.groupby("k"), colours, strict=False):
        ax.loglog(part["rank"], part["frequency"], color=colour, label=f"{k}-mers")
        ax.axhline(1 / 4**k, color=colour, ls=":", lw=0.7)
    ax.set(xlabel="rank of the token", ylabel="share of all tokens")
    ax.legend()
    return ax
