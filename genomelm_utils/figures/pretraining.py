"""Figures of masking and pretraining."""

from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.schemes import scheme_style
from genomelm_utils.figures.style import OKABE_ITO


def plot_masked_hidden(table: pd.DataFrame, ax: Axes) -> Axes:
    """Masked share of tokens against hidden share of bases, one point per scheme or run.

    `table` has `scheme` (and `run` where one scheme may have several), `masked_share`,
    `hidden_share` (fractions) and their 95 % intervals `*_low`, `*_high`. The diagonal is where
    masking a token hides a base.
    """
    top = 100 * max(table["masked_share"].max(), table["hidden_share"].max()) * 1.15
    ax.plot([0, top], [0, top], color=OKABE_ITO["grey"], lw=0.6, ls=":", zorder=0)
    for row in table.itertuples():
        label, colour, marker = scheme_style(row.run if "run" in table else row.scheme)
        x, y = 100 * row.masked_share, 100 * row.hidden_share
        ax.errorbar(
            x, y,
            xerr=[[x - 100 * row.masked_share_low], [100 * row.masked_share_high - x]],
            yerr=[[y - 100 * row.hidden_share_low], [100 * row.hidden_share_high - y]],
            color=colour, marker=marker, label=label, ls="none", elinewidth=0.7,
        )  # fmt: skip
    ax.set(xlabel="masked tokens (%)", ylabel="hidden bases (%)", xlim=(0, top), ylim=(0, top))
    ax.legend(loc="upper left")
    return ax


def plot_pretraining(table: pd.DataFrame, baselines: pd.DataFrame, ax: Axes) -> Axes:
    """Validation bits per hidden base over the optimiser steps, a line per scheme or run.

    `table` has `scheme`, `step`, `bits_per_base`, and `run` where several runs stand in it (one
    scheme may have several); `baselines` has `name`, `bits_per_base`. All are measured on the same
    frozen masks, so the lines can be compared; lower is better.
    """
    for name, part in table.groupby("run" if "run" in table else "scheme", sort=False):
        label, colour, marker = scheme_style(name)
        part = part.dropna(subset="bits_per_base").sort_values("step")
        ax.plot(part["step"], part["bits_per_base"], color=colour, marker=marker, label=label)
    for (name, rows), style in zip(
        baselines.groupby("name", sort=False), cycle([":", "--", "-."]), strict=False
    ):
        for i, bits in enumerate(rows["bits_per_base"]):  # several where corpora differ
            label = f"_{name}" if i else name
            ax.axhline(bits, color=OKABE_ITO["grey"], ls=style, lw=0.8, label=label)
    ax.set(xlabel="optimiser step", ylabel="bits per hidden base")
    ax.legend(fontsize=5.5, handlelength=2.6)
    return ax
