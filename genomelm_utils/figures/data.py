"""Figures about the data themselves: composition along a genome, GC of labelled classes."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

MAX_RECORDS = 6  # records drawn along the genome, the longest ones
CLASS_STYLE = [
    (OKABE_ITO["blue"], "o"),
    (OKABE_ITO["vermilion"], "D"),
    (OKABE_ITO["green"], "s"),
    (OKABE_ITO["purple"], "^"),
    (OKABE_ITO["orange"], "v"),
    (OKABE_ITO["sky"], "P"),
]
PART_STYLE = {"train": (OKABE_ITO["blue"], "o"), "test": (OKABE_ITO["vermilion"], "D")}
PART_NAMES = {"train": "to train on", "test": "to test on"}


def plot_gc_along(windows: pd.DataFrame, ax: Axes) -> Axes:
    """GC share along the longest records, a running mean over 20 windows.

    `windows` has `record`, `start` (bp), `gc` (share), as `prepare.window_composition` gives them.
    """
    sizes = windows.groupby("record", sort=False).size()
    colours = [c for name, c in OKABE_ITO.items() if name != "yellow"]
    for name, colour in zip(sizes.nlargest(MAX_RECORDS).index, colours, strict=False):
        part = windows[windows["record"] == name]
        smooth = part["gc"].rolling(20, min_periods=1, center=True).mean()
        ax.plot(part["start"] / 1e6, 100 * smooth, lw=0.7, color=colour, label=name)
    ax.set(xlabel="position (Mbp)", ylabel="GC (%), mean of 20 windows of 1 kb")
    if len(sizes):
        bottom, top = ax.get_ylim()
        ax.set_ylim(top=top + 0.25 * (top - bottom))  # room for the legend
        ax.legend(fontsize=5.5, ncols=2, loc="upper center")
    return ax


def plot_gc_distribution(windows: pd.DataFrame, ax: Axes) -> Axes:
    """Histogram of the GC share of windows, those mostly soft-masked apart."""
    bins = np.linspace(windows["gc"].min(), windows["gc"].max(), 50) * 100
    masked = windows["soft_share"] > 0.5
    ax.hist(100 * windows.loc[~masked, "gc"], bins, color=OKABE_ITO["sky"], label="other windows")
    if masked.any():
        ax.hist(
            100 * windows.loc[masked, "gc"],
            bins,
            color=OKABE_ITO["vermilion"],
            alpha=0.8,
            label="mostly soft-masked",
        )
    ax.set(xlabel="GC (%)", ylabel="windows of 1 kb")
    ax.legend()
    return ax


def describe_windows(windows: pd.DataFrame) -> str:
    """A sentence: windows, their mean GC and its spread."""
    if windows.empty:
        return "No stretch of 1 kb without N: no windows to show."
    gc = 100 * windows["gc"]
    low, high = gc.quantile([0.05, 0.95])
    return (
        f"{len(windows):,} windows of 1 kb in {windows['record'].nunique()} records: GC "
        f"{gc.mean():.1f} % on average, {low:.1f} to {high:.1f} % in nine windows of ten; "
        f"{100 * windows['soft_share'].mean():.1f} % of the bases are soft-masked."
    )


def plot_class_gc(sets: pd.DataFrame, ax: Axes) -> Axes:
    """GC share of every class in every file: classes that differ can be told by GC alone."""
    y = np.arange(len(sets))[::-1]
    columns = [c for c in sets.columns if c.startswith("gc_class_")]
    shares = 100 * sets[columns].to_numpy(dtype=float)
    ax.hlines(
        y, np.nanmin(shares, axis=1), np.nanmax(shares, axis=1), color=OKABE_ITO["grey"], lw=0.8
    )
    for column, (colour, marker) in zip(columns, cycle(CLASS_STYLE), strict=False):
        label = f"class {column.removeprefix('gc_class_')}"
        ax.plot(100 * sets[column], y, marker, color=colour, label=label)
    ax.set_yticks(y, sets["file"])
    ax.set(xlabel="GC (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def describe_class_gc(sets: pd.DataFrame) -> str:
    """A sentence: the file whose classes differ most in GC."""
    columns = [c for c in sets.columns if c.startswith("gc_class_")]
    spread = sets[columns].max(axis=1) - sets[columns].min(axis=1)
    worst = sets.loc[spread.idxmax(), "file"]
    return (
        f"The classes of {worst} differ most, by {100 * spread.max():.1f} points of GC; the median "
        f"difference over {len(sets)} files is {100 * spread.median():.1f} points."
    )


def plot_species_gc(genomes: pd.DataFrame, ax: Axes) -> Axes:
    """GC share of every genome, one row per species; the line spans nine of ten of its windows.

    `genomes` as `prepare.species_composition` gives it. Species of the two parts differ in colour
    and marker; a star after a species has a relative (of its genus) in the other part.
    """
    order = genomes.groupby("species")["gc"].mean().sort_values().index
    row = {species: y for y, species in enumerate(order)}
    for part, (colour, marker) in PART_STYLE.items():
        found = genomes[genomes["part"] == part]
        y = found["species"].map(row)
        ax.hlines(y, 100 * found["gc_low"], 100 * found["gc_high"], color=colour, lw=0.8)
        ax.plot(100 * found["gc"], y, marker, color=colour, label=PART_NAMES[part])
    related = set(genomes.loc[genomes["relatives"] != "", "species"])
    ax.set_yticks(range(len(order)), [f"{name} *" if name in related else name for name in order])
    ax.set(xlabel="GC (%)")
    ax.legend(loc="lower right")
    return ax


def describe_species(genomes: pd.DataFrame) -> str:
    """Sentences: what is trained and tested on, and which species have relatives on the other side.

    `genomes` with `species`, `part`, `relatives`, `n_bases`, as in a `GenomeSet`.
    """
    told = []
    for part, name in PART_NAMES.items():
        found = genomes[genomes["part"] == part]
        told.append(
            f"{len(found)} genomes of {found['species'].nunique()} species "
            f"({found['n_bases'].sum() / 1e6:.1f} Mbp) {name}"
        )
    test = genomes[(genomes["part"] == "test") & (genomes["relatives"] != "")]
    related = ", ".join(sorted(test["species"].unique())) or "none"
    return (
        f"{' and '.join(told)}; no species is in both. Test species with a relative (of their "
        f"genus) in training: {related}."
    )
