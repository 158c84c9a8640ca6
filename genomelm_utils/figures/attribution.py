"""Figures of what a model looks at: recovery of planted bases, logos, attention, mutations.

Tables come from `interpretation.planted`, `attribution`, `attention` and `variants`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.promoters import SEQUENTIAL
from genomelm_utils.figures.style import OKABE_ITO

#: Letters of logos: colours that stay apart under colour-blindness.
BASE_COLOURS = {
    "A": OKABE_ITO["green"],
    "C": OKABE_ITO["blue"],
    "G": OKABE_ITO["orange"],
    "T": OKABE_ITO["vermilion"],
}
DIVERGING = "PuOr_r"
_BASES = "ACGT"


def plot_recovery(table: pd.DataFrame, ax: Axes) -> Axes:
    """AUPRC of each method with its interval, and the line of chance. `recovery_table`."""
    order = table.sort_values("auprc", ignore_index=True)
    y = np.arange(len(order))
    error = np.abs(order[["low", "high"]].to_numpy().T - order["auprc"].to_numpy())
    ax.errorbar(
        order["auprc"], y, xerr=np.nan_to_num(error), fmt="o", color=OKABE_ITO["blue"],
        elinewidth=0.8, capsize=1.5,
    )  # fmt: skip
    ax.axvline(order["chance"].iloc[0], color=OKABE_ITO["grey"], ls=(0, (3, 2)), lw=0.8)
    ax.set_yticks(y, order["method"].str.replace("_", " "))
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.set_xlim(0, 1)
    ax.set_xlabel("AUPRC of planted bases (dashed: chance)")
    return ax


def plot_logo(text: str, score_L: np.ndarray, ax: Axes, truth_L: np.ndarray | None = None) -> Axes:
    """The bases of a sequence, each as high as its score; planted stretches shaded.

    text: letters, N and others are drawn as nothing. truth_L: bool [L].
    """
    import logomaker

    if len(text) != len(score_L):
        raise ValueError(f"{len(text)} bases and {len(score_L)} scores, expected one per base")
    own_L4 = np.array(list(text))[:, None] == np.array(list(_BASES))
    heights = pd.DataFrame(own_L4 * np.asarray(score_L)[:, None], columns=list(_BASES))
    for start, end in _stretches(truth_L):
        ax.axvspan(start - 0.5, end - 0.5, color=OKABE_ITO["yellow"], alpha=0.35, lw=0, zorder=-1)
    logomaker.Logo(heights, ax=ax, color_scheme=BASE_COLOURS, show_spines=None)
    ax.axhline(0, color=OKABE_ITO["grey"], lw=0.5)
    ax.set(xlabel="base (0-based)", ylabel="attribution")
    return ax


def describe_logo(text: str, score_L: np.ndarray, truth_L: np.ndarray | None = None) -> str:
    """A sentence: the window of eight bases with the highest scores, and whether it was planted."""
    width = min(8, len(text))
    sums = np.convolve(score_L, np.ones(width), "valid")
    first = int(sums.argmax())
    told = (
        f"The {width} bases with the highest sum of scores are {text[first : first + width]} at "
        f"{first} to {first + width} (0-based, {sums[first]:.3g} of {np.sum(score_L):.3g} in all)"
    )
    if truth_L is None or not np.any(truth_L):
        return f"{told}."
    share = float(np.mean(np.asarray(truth_L)[first : first + width]))
    return f"{told}; {share:.0%} of them are planted."


def plot_attention_map(table: pd.DataFrame, ax: Axes) -> Axes:
    """Attention by base (x) for each k and their sum (y). `table` of `attention.heat_map`."""
    order = list(dict.fromkeys(table["k"].astype(str)))
    wide = table.assign(k=table["k"].astype(str)).pivot(
        index="k", columns="position", values="score"
    )
    image = ax.imshow(
        wide.loc[order], aspect="auto", interpolation="none", cmap=SEQUENTIAL, vmin=0,
        extent=(-0.5, wide.shape[1] - 0.5, len(order) - 0.5, -0.5),
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax).set_label("attention of [CLS]")
    labels = [f"k = {k}" if k.isdigit() else k for k in order]
    ax.set_yticks(range(len(order)), labels)
    ax.set_xlabel("base (0-based)")
    return ax


def describe_attention_map(table: pd.DataFrame, truth_L: np.ndarray | None = None) -> str:
    """A sentence: where attention is highest for each k, and how much lies on planted bases."""
    told = []
    for k, part in table.groupby("k", sort=False):
        top = part.loc[part["score"].idxmax()]
        name = f"k = {k}" if str(k).isdigit() else f"their {k}"
        told.append(f"{name}: base {int(top['position'])}")
    text = f"Attention is highest at {', '.join(told)}."
    if truth_L is None or not np.any(truth_L):
        return text
    last = table[table["k"] == table["k"].iloc[-1]].sort_values("position")
    squares = last["score"].to_numpy() / last["score"].sum()
    share, chance = squares[np.asarray(truth_L)].sum(), np.mean(truth_L)
    return f"{text} Planted bases hold {share:.0%} of it, {chance:.0%} of the bases."


def plot_saturation(table: pd.DataFrame, ax: Axes, truth_L: np.ndarray | None = None) -> Axes:
    """Change of the output by each base (y) at each place (x). `table` of `saturation_map`.

    Dots: the base that is there. A bar above planted stretches.
    """
    wide = table.pivot(index="base", columns="position", values="change").reindex(list(_BASES))
    limit = float(np.nanmax(np.abs(wide.to_numpy()))) or 1.0
    positions = wide.columns.to_numpy()
    x = np.arange(positions.min(), positions.max() + 1)
    image = ax.imshow(
        wide.reindex(columns=x), aspect="auto", interpolation="none", cmap=DIVERGING, vmin=-limit,
        vmax=limit, extent=(x[0] - 0.5, x[-1] + 0.5, 3.5, -0.5),
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax).set_label("change of the output")
    own = table[table["is_ref"]]
    rows = own["base"].map({base: i for i, base in enumerate(_BASES)})
    ax.plot(own["position"], rows, ".", ms=1.5, color=OKABE_ITO["black"])
    for start, end in _stretches(truth_L):
        ax.plot([start - 0.5, end - 0.5], [-0.8, -0.8], lw=2, color=OKABE_ITO["vermilion"],
                clip_on=False, solid_capstyle="butt")  # fmt: skip
    ax.set_yticks(range(4), list(_BASES))
    ax.set_xlabel("base (0-based)")
    return ax


def describe_saturation(table: pd.DataFrame, truth_L: np.ndarray | None = None) -> str:
    """A sentence: the strongest change, and the mean |change| on planted and on other bases."""
    changed = table[~table["is_ref"]]
    top = changed.loc[changed["change"].abs().idxmax()]
    own = table[table["is_ref"]].set_index("position")["base"]
    told = (
        f"The strongest change is {own[top['position']]} to {top['base']} at "
        f"{int(top['position'])} ({top['change']:+.3g})"
    )
    if truth_L is None or not np.any(truth_L):
        return f"{told}."
    planted = np.asarray(truth_L)[changed["position"]]
    inside, outside = (changed["change"].abs()[mask].mean() for mask in (planted, ~planted))
    return f"{told}; mean |change| is {inside:.3g} on planted bases and {outside:.3g} elsewhere."


def plot_profile(table: pd.DataFrame, ax: Axes, planted: pd.DataFrame | None = None) -> Axes:
    """Mean |score| by distance from the TSS with its standard error, planted regions shaded.

    table: distance_bp, mean, se, n. planted: motif, first_bp, last_bp.
    """
    for row in () if planted is None else planted.itertuples():
        ax.axvspan(row.first_bp, row.last_bp, color=OKABE_ITO["yellow"], alpha=0.35, lw=0)
        ax.annotate(row.motif, ((row.first_bp + row.last_bp) / 2, 0.98), rotation=90, ha="center",
                    va="top", fontsize=5, xycoords=("data", "axes fraction"))  # fmt: skip
    se = table["se"].fillna(0)
    ax.fill_between(
        table["distance_bp"], table["mean"] - se, table["mean"] + se, alpha=0.25, lw=0,
        color=OKABE_ITO["blue"],
    )  # fmt: skip
    ax.plot(table["distance_bp"], table["mean"], color=OKABE_ITO["blue"], lw=0.9)
    ax.set(xlabel="distance from the TSS (bp)", ylabel="mean |attribution|")
    ax.set_ylim(bottom=0)
    ax.margins(x=0)
    return ax


def plot_motif_logo(counts: np.ndarray, ax: Axes, title: str = "") -> Axes:
    """Information content of counted bases [W, 4], bits."""
    import logomaker

    table = pd.DataFrame(np.asarray(counts, dtype=float), columns=list(_BASES))
    bits = logomaker.transform_matrix(table, from_type="counts", to_type="information")
    logomaker.Logo(bits, ax=ax, color_scheme=BASE_COLOURS, show_spines=None)
    ax.set(xlabel="base of the window", ylabel="bits", ylim=(0, 2), title=title)
    return ax


def _stretches(truth_L: np.ndarray | None) -> list[list[int]]:
    if truth_L is None:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(truth_L, dtype=np.int8), [0]])))
    return edges.reshape(-1, 2).tolist()
