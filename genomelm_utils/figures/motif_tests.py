"""Figures of what a search for motifs is worth: against shuffles, against truth, ranked words.

Tables come from `motifs.control`, `motifs.recovery` and `motifs.ranked_words`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

REAL_COLOUR, CONTROL_COLOUR = OKABE_ITO["blue"], OKABE_ITO["grey"]
#: Colours of rankings in their order; the baseline is grey wherever it stands.
RANKING_COLOURS = [OKABE_ITO[name] for name in ("blue", "vermilion", "green", "orange", "purple")]
BASELINE = "counts alone"


def plot_scan(table: pd.DataFrame, ax: Axes) -> Axes:
    """Share of sequences with a hit of each motif, and of their shuffles, with 95 % intervals.

    table: of `control.scan_both`.
    """
    y = np.arange(len(table))
    looks = (("", REAL_COLOUR, "sequences", -0.17), ("_shuffled", CONTROL_COLOUR, "shuffled", 0.17))
    for suffix, colour, label, shift in looks:
        share, low, high = (table[f"{name}{suffix}"] for name in ("share", "low", "high"))
        ax.barh(y + shift, share, height=0.32, color=colour, label=label)
        ax.errorbar(
            share, y + shift, xerr=np.array([share - low, high - share]).clip(min=0), fmt="none",
            ecolor=OKABE_ITO["black"], elinewidth=0.7, capsize=1.5,
        )  # fmt: skip
    words = table["consensus"].where(table["kind"] == "found", table["name"])
    aside = table["name"].where(table["kind"] == "found", table["kind"])
    ax.set_yticks(y, [f"{word} ({other})" for word, other in zip(words, aside, strict=True)])
    ax.set(xlabel="share of sequences with a hit", ylim=(len(table) - 0.5, -0.5))
    ax.set_xlim(0, min(1.0, 1.15 * float(table[["high", "high_shuffled"]].max().max())))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def plot_recovery(table: pd.DataFrame, ax: Axes) -> Axes:
    """Planted sites found and missed, and false ones to the left, of every planted motif.

    table: of `recovery.recovery_table`.
    """
    y = np.arange(len(table))
    ax.barh(y, table["n_true"], color=OKABE_ITO["blue"], label="planted, found")
    ax.barh(
        y, table["n_missed"], left=table["n_true"], color=OKABE_ITO["sky"], label="planted, missed"
    )
    ax.barh(y, -table["n_false"], color=OKABE_ITO["vermilion"], label="found, not planted")
    for row, place in zip(table.itertuples(), y, strict=True):
        told = f"{row.recall:.0%} [{row.recall_low:.0%}, {row.recall_high:.0%}]"
        ax.text(row.n_planted, place, f"  {told}", va="center", fontsize=6.5)
    ax.axvline(0, color=OKABE_ITO["black"], lw=0.6)
    longest = int(table["n_planted"].max())
    ax.set(
        xlabel="sites (false ones to the left)",
        ylim=(len(table) - 0.5, -0.5),
        xlim=(-max(1.15 * table["n_false"].max(), 0.06 * longest), 1.45 * longest),
    )
    ticks = [tick for tick in ax.get_xticks() if tick <= longest]
    ax.set_xticks(ticks, [f"{abs(tick):.0f}" for tick in ticks])
    ax.set_yticks(
        y, [f"{row.planted}\n{row.consensus or 'not found'}" for row in table.itertuples()]
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.28), ncols=3)
    return ax


def plot_matching_share(table: pd.DataFrame, ax: Axes) -> Axes:
    """Share of words that match a motif among the first n of each ranking; dotted: among all.

    table: of `ranked_words.matching_share`, with the row `top` 0 for all words.
    """
    colours = iter(RANKING_COLOURS)
    for name, part in table.groupby("ranking", sort=False):
        colour = CONTROL_COLOUR if name == BASELINE else next(colours, OKABE_ITO["black"])
        tops = part[part["top"] > 0]
        ax.plot(tops["n_words"], tops["share"], "o-", color=colour, label=name)
        everything = part.loc[part["top"] == 0, "share"].iloc[0]
        last = ax.axhline(everything, color=colour, lw=0.6, ls=":")
    last.set_label("among all words")
    ax.set(xscale="log", xlabel="first words of the ranking", ylabel="share that match a motif")
    ticks = sorted(table.loc[table["top"] > 0, "n_words"].unique())
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)
    return ax
