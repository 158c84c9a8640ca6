"""Figures of what a model of expression looks at: k-mer importance, top k-mers, embeddings.

Tables come from `interpretation.kmer_flips`, `kmer_regions` and `expression_embeddings`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils.figures.promoters import SEQUENTIAL
from genomelm_utils.figures.style import DOUBLE_MM, OKABE_ITO, new_figure

K_LOOKS = {
    1: (OKABE_ITO["sky"], "-"),
    2: (OKABE_ITO["green"], (0, (5, 1))),
    3: (OKABE_ITO["orange"], (0, (3, 1, 1, 1))),
    4: (OKABE_ITO["blue"], (0, (1, 1))),
    5: (OKABE_ITO["purple"], (0, (5, 1, 1, 1))),
    6: (OKABE_ITO["vermilion"], (0, (2, 1))),
}
MAX_NAMED = 12  # tissues on a map; more names would cover each other
SIDE_LOOKS = {"lost": (OKABE_ITO["blue"], "o"), "gained": (OKABE_ITO["vermilion"], "D")}
_PLACES = {
    "distance_bp": "distance of the first base from the TSS (bp)",
    "start": "index of the first base from the 5' end",
}


def plot_importance_map(table: pd.DataFrame, ax: Axes) -> Axes:
    """Importance of each place (x) for each k (y) as a heat map.

    `table` of `score_places`: k, importance, and distance_bp (or `start` under the reference rule,
    which the axis then says). White: no flip was made there.
    """
    place = _place_of(table)
    x = np.arange(table[place].min(), table[place].max() + 1)
    wide = table.pivot(index="k", columns=place, values="importance").reindex(columns=x)
    image = ax.imshow(
        wide, aspect="auto", origin="lower", interpolation="none", cmap=SEQUENTIAL, vmin=0,
        extent=(x[0] - 0.5, x[-1] + 0.5, -0.5, len(wide) - 0.5),
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax).set_label("mean |change of prediction|")
    ax.set_yticks(range(len(wide)), wide.index)
    ax.set(xlabel=_PLACES[place], ylabel="k")
    return ax


def plot_importance_lines(table: pd.DataFrame, ax: Axes, smooth_bp: int = 1) -> Axes:
    """Importance by place, one line per k, with a band of one standard error to each side.

    smooth_bp: width of a running mean (and of the errors') over places; 1 for none.
    """
    place = _place_of(table)
    for k, part in table.groupby("k"):
        colour, dashes = K_LOOKS[k]
        part = part.sort_values(place)
        mean, se = (_smooth(part[name], smooth_bp) for name in ("importance", "se"))
        ax.fill_between(part[place], mean - se, mean + se, color=colour, alpha=0.2, lw=0)
        ax.plot(part[place], mean, color=colour, ls=dashes, lw=0.9, label=f"k = {k}")
    ax.set(xlabel=_PLACES[place], ylabel="mean |change of prediction|")
    ax.set_ylim(bottom=0)
    ax.margins(x=0)
    ax.legend(ncols=2)
    return ax


def describe_importance(table: pd.DataFrame, near_bp: int = 100) -> str:
    """Sentences: where importance peaks, and how near places compare with those further up."""
    place = _place_of(table)
    top = table.loc[table["importance"].idxmax()]
    error = f" (standard error {top['se']:.2g})" if np.isfinite(top["se"]) else ""
    told = (
        f"Replacing {int(top['k'])}-mers at {int(top[place])} bp moves predictions most, by "
        f"{top['importance']:.3g}{error}, over {int(top['n_promoters'])} promoters."
    )
    if place == "start":
        return f"{told} Places are counted from the 5' end, so promoters do not line up at the TSS."
    near = table[place] >= -near_bp
    if near.all() or not near.any():
        return told
    means = [table.loc[chosen, "importance"].mean() for chosen in (near, ~near)]
    return (
        f"{told} On average {means[0]:.3g} within {near_bp} bp of the TSS and {means[1]:.3g} "
        "further up."
    )


def grid_of_regions(table: pd.DataFrame, n_top: int = 8) -> tuple[Figure, np.ndarray]:
    """A figure for `plot_top_kmers`: a row of two axes per region of the table."""
    n_regions = table["region"].nunique()
    return new_figure(
        n_regions, 2, width_mm=DOUBLE_MM, height_mm=12 + (12 + 3.4 * n_top) * n_regions
    )


def plot_top_kmers(table: pd.DataFrame, axes: np.ndarray, n_top: int = 8) -> np.ndarray:
    """The k-mers of each region that move predictions most when lost (left) or gained (right).

    `table` of `rank_kmers`. axes: array (regions, 2), regions in the order of the table. Bars are
    one standard error.
    """
    regions, sides = table["region"].unique(), list(SIDE_LOOKS)
    if axes.shape != (len(regions), len(sides)):
        raise ValueError(
            f"axes have shape {axes.shape}, expected {(len(regions), len(sides))}: a row per "
            f"region ({', '.join(regions)}), a column each for {' and '.join(sides)}"
        )
    for region, row in zip(regions, axes, strict=True):
        for side, ax in zip(sides, row, strict=True):
            found = table[(table["region"] == region) & (table["side"] == side)]
            part = found.nlargest(n_top, "importance", keep="first")
            colour, marker = SIDE_LOOKS[side]
            y = np.arange(len(part))[::-1]
            error = part["se"].fillna(0)
            ax.errorbar(
                part["importance"], y, xerr=error, fmt=marker, color=colour, elinewidth=0.7,
                capsize=1.5,
            )  # fmt: skip
            ax.set_yticks(y, part["kmer"], family="monospace")
            ax.set_ylim(-0.7, max(len(part), 1) - 0.3)
            ax.set_title(f"{side}, {region} bp")
    top = (table["importance"] + table["se"].fillna(0)).groupby(table["region"]).max().max()
    for ax in axes.flat:  # one scale: which region matters more is to be seen
        ax.set_xlim(0, 1.05 * top)
    for ax in axes[-1]:
        ax.set_xlabel("mean |change of prediction|")
    return axes


def describe_top_kmers(table: pd.DataFrame) -> str:
    """A sentence: the k-mer of each region whose loss moves predictions most, and in which way."""
    told = []
    for region, part in table[table["side"] == "lost"].groupby("region", sort=False):
        top = part.loc[part["importance"].idxmax()]
        way = "raises" if top["effect"] > 0 else "lowers"
        told.append(
            f"{top['kmer']} at {region} bp ({top['importance']:.3g}, se {top['se']:.2g}; losing it "
            f"{way} expression)"
        )
    return f"Predictions move most when these are lost: {'; '.join(told)}."


def plot_promoter_map(table: pd.DataFrame, ax: Axes, colour_by: str | None = None) -> Axes:
    """Promoters and tissues on one map; tissues are named. Axes have no unit and no ticks.

    More than `MAX_NAMED` tissues are numbered, and named in a legend below.
    `table` of `map_embeddings`: kind, name, x, y. colour_by: a numeric column that colours the
    promoters, such as the mean expression.
    """
    promoters, tissues = (table[table["kind"] == kind] for kind in ("promoter", "tissue"))
    size = np.clip(3000 / max(len(promoters), 1), 3, 14)
    look = {"c": OKABE_ITO["sky"]}
    if colour_by:
        look = {"c": promoters[colour_by], "cmap": SEQUENTIAL}
    points = ax.scatter(
        promoters["x"], promoters["y"], s=size, alpha=0.7, lw=0, rasterized=True, **look
    )
    if colour_by:
        ax.figure.colorbar(points, ax=ax).set_label(colour_by.replace("_", " "))
    ax.plot(tissues["x"], tissues["y"], "D", color=OKABE_ITO["vermilion"], mec="white", mew=0.5)
    numbered = len(tissues) > MAX_NAMED
    for i, row in enumerate(tissues.itertuples(), start=1):
        text = str(i) if numbered else row.name
        ax.annotate(text, (row.x, row.y), (3, 3), textcoords="offset points", fontsize=5.5)
        if numbered:
            ax.plot([], [], ls="none", label=f"{i} {row.name}")
    if numbered:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, fontsize=5, handlelength=0
        )
    ax.set(xlabel="axis 1", ylabel="axis 2", xticks=[], yticks=[])
    return ax


def describe_promoter_map(table: pd.DataFrame) -> str:
    """A sentence: how many promoters and tissues, and which two tissues lie closest."""
    from scipy.spatial.distance import pdist

    tissues = table[table["kind"] == "tissue"]
    told = f"{int((table['kind'] == 'promoter').sum()):,} promoters and {len(tissues)} tissues."
    if len(tissues) < 2:
        return told
    pairs = np.stack(np.triu_indices(len(tissues), 1))
    a, b = pairs[:, int(np.argmin(pdist(tissues[["x", "y"]])))]
    names = tissues["name"].to_numpy()
    return f"{told} On this map {names[a]} and {names[b]} are the closest tissues."


def _place_of(table: pd.DataFrame) -> str:
    found = [name for name in _PLACES if name in table]
    if len(found) != 1 or table.empty:
        raise ValueError(
            f"the table has {len(table)} rows and columns {list(table)}, expected rows with one of "
            f"{', '.join(_PLACES)}"
        )
    return found[0]


def _smooth(values: pd.Series, width: int) -> np.ndarray:
    return values.rolling(width, min_periods=1, center=True).mean().to_numpy()
