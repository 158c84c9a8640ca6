"""FloraBERT's Table 1 beside ours, and what is wrong with its column of zeros.

Tables of `published_expression.beside_published` and `regression_slips.explain_pooled_column`.
"""

from itertools import cycle, pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.expression import (
    R2,
    SUMMARIES,
    marker_style,
    method_looks,
    order_tissues,
    tell_interval,
)
from genomelm_utils.figures.style import OKABE_ITO


def plot_table1(table: pd.DataFrame, ax: Axes) -> Axes:
    """The paper's Table 1 (open, without intervals) beside ours (filled, with 95 % intervals).

    `table` is that of `published_expression.beside_published`. The published zeros under 'All' are
    crossed out: they cannot be right. The two sides differ in genes and split.
    """
    tissues = order_tissues(table)
    place = {tissue: i + 0.35 * (tissue in SUMMARIES) for i, tissue in enumerate(tissues)}
    groups = list(table.groupby(["origin", "model"], sort=False))
    shifts = np.linspace(-0.36, 0.36, len(groups)) if len(groups) > 1 else [0.0]
    looks = method_looks(table["model"].unique().tolist())
    greys = cycle(["#B0B0B0", "#8F8F8F", "#6E6E6E", "#444444"])
    for ((origin, model), rows), shift in zip(groups, shifts, strict=True):
        here, (colour, marker) = origin == "here", looks[model]
        if not here and model.startswith("BOW"):
            colour = next(greys)
        bars = np.vstack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]]).clip(min=0)
        marker = marker if here else "o"
        x = rows["tissue"].map(place) + shift
        ax.errorbar(
            x, rows["mean"], yerr=bars if here else None, ls="none", color=colour, elinewidth=0.8,
            markerfacecolor=colour if here else "white",
            label=f"{model} ({'here' if here else 'paper'})", **marker_style(marker),
        )  # fmt: skip
        wrong = rows["suspect"].to_numpy(bool)
        ax.plot(x[wrong], rows["mean"][wrong], ls="none", marker="x", markersize=6, zorder=4,
                color=OKABE_ITO["vermilion"])  # fmt: skip
    for left, right in pairwise(tissues):
        ax.axvline((place[left] + place[right]) / 2, color="#DDDDDD", lw=0.5, zorder=0)
    ax.set_xticks(
        list(place.values()), [SUMMARIES.get(t, t).replace(" ", "\n", 1) for t in tissues]
    )
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(R2)
    ax.set_xlim(-0.55, max(place.values()) + 0.55)
    return ax


def describe_table1(table: pd.DataFrame) -> str:
    """Sentences: the means of tissues on both sides, and what is wrong with the zeros."""
    means = table[table["tissue"] == "mean"]
    sides = []
    for origin, name in (("published", "in the paper"), ("here", "here")):
        rows = means[(means["origin"] == origin) & means["mean"].notna()]
        rows = rows.sort_values("mean", ascending=False, kind="stable")
        if len(rows):
            listed = ", ".join(f"{r.model} {tell_interval(r)}" for r in rows.itertuples())
            sides.append(f"{name} {listed}")
    wrong = table[table["suspect"].astype(bool)]
    text = f"Mean r² over tissues: {'; '.join(sides)}."
    if len(wrong):
        own = means[(means["origin"] == "published") & means["model"].isin(wrong["model"])]["mean"]
        text += (
            f" The paper's {wrong['mean'].max():.3f} under 'All' for {len(wrong)} bag-of-words "
            f"models, whose tissues have {own.min():.3f} to {own.max():.3f} on average, is an "
            "artefact (see the pooled column). Genes, tissues and split differ between the sides: "
            "only the order of methods can be compared."
        )
    return text


def plot_pooled_column(table: pd.DataFrame, ax: Axes) -> Axes:
    """The same predictions pooled in right and wrong ways (`explain_pooled_column`).

    A bar per case; an undefined r2 is written out.
    """
    y = -np.arange(len(table))
    right = table["case"].isin(["pooled", "mean of tissues", "rescaled"])
    colours = np.where(right, OKABE_ITO["blue"], OKABE_ITO["vermilion"])
    ax.barh(y, table["r2"].fillna(0), color=colours, height=0.6)
    for place, r2 in zip(y, table["r2"], strict=True):
        text = "not defined" if np.isnan(r2) else f"{r2:.3f}"
        ax.annotate(text, (0 if np.isnan(r2) else r2, place), (3, 0), va="center", fontsize=6,
                    textcoords="offset points")  # fmt: skip
    names = {"tissue means": "tissue means only", "misaligned": "flattened differently"}
    names["rescaled"] = "scaled alike per tissue"
    ax.set_yticks(y, [names.get(case, case) for case in table["case"]])
    ax.set_xlabel(R2)
    ax.set_xlim(0, 1.25 * max(table["r2"].max(), 1e-3))
    return ax
