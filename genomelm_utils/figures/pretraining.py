"""Figures of masking and pretraining."""

from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.schemes import scheme_style
from genomelm_utils.figures.style import OKABE_ITO


def plot_masked_hidden(table: pd.DataFrame, ax: Axes) -> Axes:
    """Masked share of tokens against hidden share of bases: open as published, filled as trained.

    `table` has `scheme` (and `run` where one scheme may have several), `setting` (`published` or
    `trained`), `masked_share`, `hidden_share` (fractions) and their 95 % intervals `*_low`,
    `*_high`. On the diagonal masking a token would hide a base.
    """
    top = 100 * max(table["masked_share"].max(), table["hidden_share"].max()) * 1.15
    ax.plot([0, top], [0, top], color=OKABE_ITO["grey"], lw=0.6, ls=":", zorder=0)
    for row in table.itertuples():
        label, colour, marker = scheme_style(row.run if "run" in table else row.scheme)
        x, y = 100 * row.masked_share, 100 * row.hidden_share
        trained = row.setting == "trained"
        ax.errorbar(
            x, y,
            xerr=[[x - 100 * row.masked_share_low], [100 * row.masked_share_high - x]],
            yerr=[[y - 100 * row.hidden_share_low], [100 * row.hidden_share_high - y]],
            color=colour, marker=marker, ls="none", elinewidth=0.7, markersize=5,
            markerfacecolor=colour if trained else "white", label=label if trained else None,
        )  # fmt: skip
    ax.set(xlabel="masked tokens (%)", ylabel="hidden bases (%)", xlim=(0, top), ylim=(0, top))
    ax.legend(loc="upper left", title="filled: as trained here, open: as published")
    ax.get_legend().get_title().set_fontsize(6)
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
    # lines of the baselines run behind it
    ax.legend(fontsize=5.5, handlelength=2.6, frameon=True, framealpha=0.85, edgecolor="none")
    return ax


def plot_masked_loss(table: pd.DataFrame, ax: Axes) -> Axes:
    """Cross-entropy of masked validation tokens over the optimiser steps, a line per run.

    `table` as for `plot_pretraining`, with `valid_loss` (nats). Tokens at the edge of a span are
    mostly copied from their neighbours: this falls long before any hidden base is told.
    """
    for name, part in table.groupby("run" if "run" in table else "scheme", sort=False):
        label, colour, marker = scheme_style(name)
        part = part.dropna(subset="valid_loss").sort_values("step")
        ax.plot(part["step"], part["valid_loss"], color=colour, marker=marker, label=label)
    ax.set(xlabel="optimiser step", ylabel="cross-entropy of masked tokens (nats)")
    return ax
