"""Figures of promoters and expression before any model: composition, distributions, correlations.

Tables come from `datasets.expression_profiles`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

#: Colour and line of each base: told apart in grey too.
BASE_LOOKS = {
    "A": (OKABE_ITO["green"], "-"),
    "C": (OKABE_ITO["blue"], (0, (5, 1))),
    "G": (OKABE_ITO["orange"], (0, (3, 1, 1, 1))),
    "T": (OKABE_ITO["vermilion"], (0, (1, 1))),
}
DIVERGING = "RdBu_r"  # blue to red through white: safe for the colour-blind
SEQUENTIAL = "cividis"  # made for the colour-blind. Source: Nunez et al. 2018, PLoS One 13:e0199239
RIDGE_BANDWIDTH = 0.5  # of Scott's rule. Source: FloraBERT's released `visualization.py`
RIDGE_FLOOR = 0.1  # of ln(x + 1): about a tenth of a TPM; ours
MAX_ANNOTATED = 12  # tissues up to which correlations are written into the fields


def plot_base_composition(table: pd.DataFrame, ax: Axes) -> Axes:
    """Share of each base by distance from the TSS, with its interval.

    `table` of `base_composition`: distance_bp, base, share, low, high.
    """
    for base, part in table.groupby("base"):
        colour, dashes = BASE_LOOKS[base]
        x = part["distance_bp"]
        ax.fill_between(x, 100 * part["low"], 100 * part["high"], color=colour, alpha=0.2, lw=0)
        ax.plot(x, 100 * part["share"], color=colour, ls=dashes, lw=0.9, label=base)
    if table["distance_bp"].min() < 0 < table["distance_bp"].max():
        ax.axvline(0, color=OKABE_ITO["grey"], lw=0.6)
    ax.set(xlabel="distance from the TSS (bp)", ylabel="share of bases (%)")
    ax.margins(x=0)
    ax.legend(ncols=4, loc="best")
    return ax


def describe_base_composition(table: pd.DataFrame, near_bp: int = 100) -> str:
    """Sentences: GC near the TSS and further up, and the place richest in T and A together."""
    wide = table.pivot(index="distance_bp", columns="base", values="share")
    weight = table.groupby("distance_bp")["n"].first().reindex(wide.index)
    gc, near = wide["C"] + wide["G"], wide.index >= -near_bp
    told = []
    for name, chosen in ((f"within {near_bp} bp of the TSS", near), ("further up", ~near)):
        if chosen.any():
            told.append(f"{100 * np.average(gc[chosen], weights=weight[chosen]):.1f} % {name}")
    richest = (wide["A"] + wide["T"]).idxmax()
    return (
        f"GC is {' and '.join(told)} (up to {weight.max():,} bases per place). A and T are "
        f"most frequent together at {richest} bp: {100 * (1 - gc[richest]):.1f} %."
    )


def plot_expression_quantiles(table: pd.DataFrame, ax: Axes, unit: str = "TPM") -> Axes:
    """Nine of ten genes (thin), half of them (thick) and the median per tissue; zeros in words.

    `table` of `expression_quantiles`. The axis is logarithmic above 1, linear below.
    """
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table["q05"], table["q95"], color=OKABE_ITO["sky"], lw=1)
    ax.hlines(y, table["q25"], table["q75"], color=OKABE_ITO["blue"], lw=3.5)
    ax.plot(table["q50"], y, "o", color="white", mec=OKABE_ITO["black"], mew=0.7, ms=3.5)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=0)
    ax.set_yticks(y, table["tissue"])
    ax.set_ylim(-0.7, len(table) - 0.3)
    for place, zeros in zip(y, table["zeros"], strict=True):
        ax.annotate(
            f"{100 * zeros:.0f} %", (1.01, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=5.5,
        )  # fmt: skip
    ax.annotate("zeros", (1.01, len(table) - 0.3), xycoords=("axes fraction", "data"), fontsize=5.5)
    ax.set(xlabel=f"expression ({unit})")
    return ax


def describe_expression_quantiles(table: pd.DataFrame, unit: str = "TPM") -> str:
    """A sentence: range of the medians, zeros, and what was not measured."""
    low, high = (table.loc[getattr(table["q50"], end)()] for end in ("idxmin", "idxmax"))
    missing, n = int(table["n_missing"].sum()), int(table[["n", "n_missing"]].sum().sum())
    return (
        f"{len(table)} tissues; the median gene has {low['q50']:.2g} {unit} in {low['tissue']} and "
        f"{high['q50']:.2g} in {high['tissue']}. {100 * table['zeros'].min():.0f} to "
        f"{100 * table['zeros'].max():.0f} % of the values of a tissue are zero; {missing:,} of "
        f"{n:,} are missing."
    )


def plot_expression_ridges(
    table: pd.DataFrame, ax: Axes, label: str = "ln(TPM + 1)", floor: float = RIDGE_FLOOR
) -> Axes:
    """One smoothed distribution per tissue, above each other, each as high as the others.

    `table` of `expression_values`: tissue, value. Densities are Gaussian kernels of half the
    bandwidth of Scott's rule; a tissue whose values do not vary is a line. Values below `floor`
    would dwarf all others where many genes are silent: they have no curve, and their share stands
    at the left. The highest thousandth lies outside. Black: medians of all values, where drawn.
    """
    from matplotlib import colormaps
    from scipy.stats import gaussian_kde

    tissues = table["tissue"].unique()
    shown = table[table["value"] >= floor]
    low, high = (shown["value"].min(), shown["value"].quantile(0.999)) if len(shown) else (0, 1)
    low = floor if len(shown) < len(table) else low
    x = np.linspace(low, high, 200)
    colours = colormaps[SEQUENTIAL](np.linspace(0.1, 0.9, len(tissues)))
    for i, tissue in enumerate(tissues):
        base = len(tissues) - 1 - i
        whole = table.loc[table["tissue"] == tissue, "value"]
        values = whole[whole >= floor].to_numpy()
        if len(values) > 1 and np.ptp(values) > 0:
            density = gaussian_kde(values, RIDGE_BANDWIDTH * len(values) ** -0.2)(x)
            height = 1.6 * density / density.max()  # neighbours overlap
            ax.fill_between(
                x, base, base + height, color=colours[i], lw=0, alpha=0.85, zorder=2 * i
            )
            ax.plot(x, base + height, color="white", lw=0.6, zorder=2 * i + 1)
        if whole.median() >= low:
            ends = [base, base + 0.25]
            ax.plot([whole.median()] * 2, ends, color="black", lw=0.8, zorder=2 * i + 1)
        if len(values) < len(whole):
            ax.annotate(
                f"{100 * (1 - len(values) / len(whole)):.0f} %", (0.01, base + 0.06),
                xycoords=("axes fraction", "data"), fontsize=5, zorder=2 * len(tissues),
            )  # fmt: skip
    ax.set_yticks(np.arange(len(tissues))[::-1], tissues)
    ax.tick_params(axis="y", length=0)
    below = f" (left: share below {floor:g})" if len(shown) < len(table) else ""
    ax.set(xlabel=f"expression, {label}{below}", ylim=(-0.1, len(tissues) + 1))
    # room for the shares
    ax.set_xlim(low - (0.12 * (high - low) if below else 0), high)
    return ax


def describe_expression_ridges(table: pd.DataFrame, floor: float = RIDGE_FLOOR) -> str:
    """A sentence: the tissues with the narrowest and the widest distribution, and silent genes."""
    spread = table.groupby("tissue", sort=False)["value"].std()
    narrow, wide = spread.idxmin(), spread.idxmax()
    silent = (table["value"] < floor).groupby(table["tissue"]).mean()
    return (
        f"{len(table):,} values in {len(spread)} tissues; their standard deviation is "
        f"{spread[narrow]:.2f} in {narrow} and {spread[wide]:.2f} in {wide}. "
        f"{100 * silent.min():.0f} to {100 * silent.max():.0f} % of a tissue's values lie below "
        f"{floor:g}. Black: medians."
    )


def plot_tissue_correlations(table: pd.DataFrame, ax: Axes) -> Axes:
    """Correlations of tissues as a heat map, in the order of the table (neighbours clustered).

    `table` of `tissue_correlations`: tissue_a, tissue_b, r. Colours run from -1 to 1.
    """
    names = table["tissue_a"].unique()
    wide = table.pivot(index="tissue_a", columns="tissue_b", values="r").loc[names, names]
    image = ax.imshow(wide, cmap=DIVERGING, vmin=-1, vmax=1, aspect="equal")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6)
    bar.set_label("correlation of expression")
    size = min(6.5, 110 / len(names))
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    ax.set_yticks(range(len(names)), names, fontsize=size)
    ax.tick_params(length=0)
    if len(names) <= MAX_ANNOTATED:
        for i, row in enumerate(wide.to_numpy()):
            for j, r in enumerate(row):
                colour = "white" if abs(r) > 0.6 else "black"
                ax.text(j, i, f"{r:.2f}", ha="center", va="center", fontsize=4.5, color=colour)
    return ax


def describe_tissue_correlations(table: pd.DataFrame) -> str:
    """A sentence: mean, lowest and highest correlation between two tissues."""
    pairs = table[(table["tissue_a"] < table["tissue_b"]) & table["r"].notna()]
    if pairs.empty:
        return "No two tissues have a correlation."
    low, high = pairs.loc[pairs["r"].idxmin()], pairs.loc[pairs["r"].idxmax()]
    return (
        f"Expression in two tissues correlates with r {pairs['r'].mean():.2f} on average, from "
        f"{low['r']:.2f} ({low['tissue_a']}, {low['tissue_b']}) to {high['r']:.2f} "
        f"({high['tissue_a']}, {high['tissue_b']})."
    )
