"""Figures of species-aware embeddings: maps, clusters, bins, few-shot curves, training.

Tables have `method` (how it was embedded, which gives colour and marker) and `label` (what it is
called; `species_methods.label_methods` fills it in). No plot makes a legend of its own: panels
share one, `fig.legend(*legend_of(axes), loc="outside lower center", ncols=3)`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.baselines.species_methods import REFERENCE, is_baseline
from genomelm_utils.figures.methods import (
    draw_method,
    method_style,
    species_styles,
    spread_methods,
    stack_methods,
)
from genomelm_utils.figures.style import OKABE_ITO

if TYPE_CHECKING:
    from genomelm_utils.evaluation.statistics import Comparison

OBJECTIVES = {"weighted_simclr": "weighted SimCLR", "simclr": "SimCLR", "mix": "mixtures"}
PROJECTIONS = {"pca": "PCA", "tsne": "t-SNE"}
#: Bins of medium and of high quality: column, meaning, strength of the colour.
QUALITY = {
    "n_bins_50_10": ("≥ 50 % complete, ≤ 10 % contaminated", 0.4),
    "n_bins_90_5": ("≥ 90 % complete, ≤ 5 % contaminated", 1.0),
}


# --- maps -----------------------------------------------------------------------------------------


def plot_embedding_map(table: pd.DataFrame, ax: Axes) -> Axes:
    """Sequences on a map of their embeddings, coloured by species; one method, one projection.

    `table` has `x`, `y`, `species`, `method`, and `projection` where it is to be named. A species
    looks the same in all panels that hold the same species. Axes have no unit and no ticks.
    """
    styles = species_styles(table["species"])
    size = np.clip(4000 / max(len(table), 1), 4, 16)
    for species, part in table.groupby("species"):
        colour, marker = styles[species]
        ax.scatter(
            part["x"], part["y"], s=size, c=colour, marker=marker, alpha=0.75,
            lw=0.7 if marker in "x+" else 0, rasterized=True,
        )  # fmt: skip
        # the legend's points can be seen, however many sequences there are
        ax.plot([], [], ls="none", color=colour, marker=marker, markersize=4, label=species)
    name = PROJECTIONS.get(table["projection"].iloc[0], "") if "projection" in table else ""
    ax.set(xlabel=f"{name} axis 1".strip(), ylabel=f"{name} axis 2".strip(), xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def plot_embedding_maps(table: pd.DataFrame, axes: np.ndarray) -> np.ndarray:
    """The maps of `projection.project_methods`: a column per method, a row per projection.

    axes: array of that many; methods stand in the order of the table and are named above the first
    row.
    """
    projections, methods = table["projection"].unique(), table["method"].unique()
    if axes.shape != (len(projections), len(methods)):
        raise ValueError(
            f"axes have shape {axes.shape}, expected {(len(projections), len(methods))}: a row per "
            f"projection ({', '.join(projections)}), a column per method ({', '.join(methods)})"
        )
    for projection, row in zip(projections, axes, strict=True):
        for method, ax in zip(methods, row, strict=True):
            here = (table["projection"] == projection) & (table["method"] == method)
            plot_embedding_map(table[here], ax)
    for method, ax in zip(methods, axes[0], strict=True):
        ax.set_title(method_style(method)[0])
    return axes


def describe_embedding_map(table: pd.DataFrame) -> str:
    """Sentences: how often a sequence's nearest neighbour on the map is of its own species.

    By chance alone: the mean share of other sequences that are of the same species.
    """
    shares = {
        keys: _own_neighbours(part[["x", "y"]].to_numpy(), part["species"].to_numpy())
        for keys, part in table.groupby(["projection", "method"], sort=False)
    }
    first = table.groupby(["projection", "method"], sort=False).get_group(next(iter(shares)))
    n, counts = len(first), first["species"].value_counts().to_numpy()
    chance = (counts * (counts - 1)).sum() / (n * max(n - 1, 1))
    parts = [
        f"on the {PROJECTIONS.get(projection, projection)} map "
        + ", ".join(
            f"{method_style(m)[0]} {100 * share:.0f} %"
            for (p, m), share in shares.items()
            if p == projection
        )
        for projection in table["projection"].unique()
    ]
    return (
        f"{n:,} sequences of {len(counts)} species. The nearest neighbour is of the same species: "
        f"{'; '.join(parts)} (by chance {100 * chance:.0f} %)."
    )


def _own_neighbours(places_S2: np.ndarray, species_S: np.ndarray) -> float:
    """Share of places whose nearest other place is of the same species."""
    from scipy.spatial import cKDTree

    _, near_S2 = cKDTree(places_S2).query(places_S2, k=2)
    # of two sequences at one place, either may be found first
    other_S = np.where(near_S2[:, 0] == np.arange(len(near_S2)), near_S2[:, 1], near_S2[:, 0])
    own_S = (species_S[other_S] == species_S).astype(np.float64)
    here = pd.DataFrame({"x": places_S2[:, 0], "y": places_S2[:, 1], "species": species_S})
    n_S = here.groupby(["x", "y"])["species"].transform("size").to_numpy() - 1
    same_S = here.groupby(["x", "y", "species"])["species"].transform("size").to_numpy() - 1
    # all at one place are equally near: what a tie takes first would follow the order of the rows
    return float(np.where(n_S > 0, same_S / np.maximum(n_S, 1), own_S).mean())


# --- methods below one another --------------------------------------------------------------------


def plot_ari_bars(table: pd.DataFrame, ax: Axes) -> Axes:
    """ARI of each method with its interval, language models above baselines, the best first.

    `table` has `method`, `label`, `mean`, `low`, `high`, and `unit`: what the intervals are over,
    one for all (`clustering.cluster_intervals` gives three). Dashed: canonical TNF.
    """
    units = table["unit"].unique()
    if len(units) != 1:
        raise ValueError(
            f"intervals over {', '.join(units)} in one table, expected one unit; choose, such as "
            "table[table['unit'] == 'species']"
        )
    for y, row in stack_methods(table, ["mean"], ax):
        _, colour, marker = method_style(row.method)
        bars = np.clip([[row.mean - row.low], [row.high - row.mean]], 0, None)
        ax.errorbar(
            row.mean, y, xerr=bars, color=colour, marker=marker, markersize=5, capsize=2,
            elinewidth=1, ls="none",
        )  # fmt: skip
    reference = table.loc[table["method"] == REFERENCE, "mean"]
    for value in reference:
        ax.axvline(value, color=method_style(REFERENCE)[1], ls="--", lw=0.7, zorder=0)
    bottom = min(0, table[["mean", "low"]].min().min())
    ax.set(xlabel=f"adjusted Rand index, 95 % interval over {_plural(units[0])}")
    ax.set_xlim(left=bottom - 0.02)
    return ax


def describe_ari(table: pd.DataFrame) -> str:
    """Sentences: the best language model, the best baseline and canonical TNF, with intervals."""
    groups = {"language model": ~is_baseline(table), "baseline": is_baseline(table)}
    parts = []
    for name, here in groups.items():
        if here.any():
            row = table[here].sort_values("mean", ascending=False, kind="stable").iloc[0]
            parts.append(f"the best {name} is {row['label']} with {_interval(row)}")
    for _, row in table[table["method"] == REFERENCE].iterrows():
        above = int((table.loc[groups["language model"], "mean"] > row["mean"]).sum())
        parts.append(
            f"{row['label']} has {_interval(row)}, and {above} of "
            f"{int(groups['language model'].sum())} language models lie above it"
        )
    unit = _plural(table["unit"].iloc[0])
    return f"Adjusted Rand index (95 % intervals over {unit}): {'; '.join(parts)}."


def describe_difference(comparison: "Comparison", first: str, second: str) -> str:
    """A sentence: is the first better than the second? Their paired difference and its interval."""
    c = comparison
    verdict = "above" if c.low > 0 else "below" if c.high < 0 else "not told apart from"
    return (
        f"{first} is {verdict} {second}: difference of ARI {c.difference:+.3f} "
        f"[{c.low:+.3f}, {c.high:+.3f}], p = {c.p:.2g}, paired over {c.n} {_plural(c.unit)}."
    )


def plot_bin_quality(table: pd.DataFrame, ax: Axes) -> Axes:
    """Bins of medium (pale) and high quality (full colour) of each method, numbers at their ends.

    `table` has `method`, `label`, `n_bins_50_10`, `n_bins_90_5` and `n_species`, dotted: there
    cannot be more bins of high quality.
    """
    for y, row in stack_methods(table, list(QUALITY), ax):
        colour = method_style(row.method)[1]
        for (column, (_, alpha)), shift in zip(QUALITY.items(), (0.2, -0.2), strict=True):
            n = getattr(row, column)
            ax.barh(y + shift, n, height=0.38, color=colour, alpha=alpha, lw=0)
            ax.annotate(
                f"{n:.0f}", (n, y + shift), (2, 0), textcoords="offset points", va="center",
                fontsize=5.5,
            )  # fmt: skip
    for n in table["n_species"].unique():
        ax.axvline(n, color=OKABE_ITO["grey"], ls=":", lw=0.8, zorder=0)
    for label, alpha in QUALITY.values():
        ax.barh(0, 0, color=OKABE_ITO["grey"], alpha=alpha, lw=0, label=label)
    ax.set(xlabel=f"bins (dotted: {_counts(table['n_species'])} species)")
    ax.set_xlim(right=1.08 * max(table["n_species"].max(), table[list(QUALITY)].max().max()))
    return ax


def describe_bin_quality(table: pd.DataFrame) -> str:
    """A sentence: bins of both qualities of every method, the most first."""
    rows = table.sort_values(list(QUALITY)[::-1], ascending=False, kind="stable")
    parts = [f"{r.label} {r.n_bins_90_5:.0f} ({r.n_bins_50_10:.0f})" for r in rows.itertuples()]
    return (
        f"Bins at least 90 % complete and at most 5 % contaminated (in brackets: 50 % and 10 %), "
        f"of {_counts(table['n_species'])} species: {', '.join(parts)}."
    )


# --- curves ---------------------------------------------------------------------------------------


def plot_recovered_species(table: pd.DataFrame, ax: Axes) -> Axes:
    """Species whose bin has an F1 above each threshold, a line per method.

    `table` has `method`, `label`, `threshold`, `n_recovered`, `n_species` (all there are), and
    `low`, `high` (shares of the species) where intervals are to be drawn. Points of a threshold
    stand beside each other.
    """
    for rows, shift in spread_methods(table, 0.024):
        n = rows["n_species"]
        low, high = ((rows[c] * n if c in rows else np.nan * n) for c in ("low", "high"))
        draw_method(ax, rows, rows["threshold"] + shift, rows["n_recovered"], low, high)
    top = table["n_species"].max()
    ax.set(xlabel="F1 of the species' bin above", ylim=(-0.03 * top, 1.05 * top))
    ax.set_xticks(sorted(table["threshold"].unique()))
    ax.set_ylabel(f"species recovered (of {_counts(table['n_species'])})")
    return ax


def describe_recovered(table: pd.DataFrame, threshold: float = 0.5) -> str:
    """A sentence: species of every method above one threshold, the most first."""
    rows = table[np.isclose(table["threshold"], threshold)]
    rows = rows.sort_values("n_recovered", ascending=False, kind="stable")
    if rows.empty:
        raise ValueError(
            f"no threshold {threshold} in the table, expected one of: "
            f"{', '.join(map(str, sorted(table['threshold'].unique())))}"
        )
    parts = [f"{r.label} {r.n_recovered:.0f}" for r in rows.itertuples()]
    total = _counts(rows["n_species"])
    return f"Of {total} species, recovered with F1 above {threshold:g}: {', '.join(parts)}."


def plot_species_fewshot(table: pd.DataFrame, ax: Axes) -> Axes:
    """Macro-F1 by labelled sequences per species, with intervals, a line per method.

    `table` has `method`, `label`, `shots`, `mean`, `low`, `high` (`statistics.interval_table`).
    """
    for rows, shift in spread_methods(table, 0.035):
        rows = rows.sort_values("shots")
        x = rows["shots"] * 10**shift
        draw_method(ax, rows, x, rows["mean"], rows["low"], rows["high"])
    shots = sorted(table["shots"].unique())
    ax.set_xscale("log")
    ax.set_xticks(shots, [str(s) for s in shots])
    ax.minorticks_off()
    ax.set(xlabel="labelled sequences per species (shots)", ylabel="macro-F1")
    return ax


def describe_species_fewshot(table: pd.DataFrame) -> str:
    """A sentence: the best method at the fewest and at the most shots, beside canonical TNF."""
    parts = []
    for shots in sorted({table["shots"].min(), table["shots"].max()}):
        rows = table[table["shots"] == shots]
        best = rows.sort_values("mean", ascending=False, kind="stable").iloc[0]
        text = f"{best['label']} {_interval(best)}"
        for _, row in rows[rows["method"] == REFERENCE].iterrows():
            if row["method"] != best["method"]:
                text += f", {row['label']} {_interval(row)}"
        parts.append(f"{shots} labelled per species: {text}")
    return f"Highest macro-F1 with {'; with '.join(parts)}."


# --- training -------------------------------------------------------------------------------------


def plot_species_training(history: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Validation loss, and share of windows that find their species, by step; phases apart.

    `history` has `phase`, `objective`, `total_step`, `valid_loss` (weighted SimCLR in all phases,
    nats), `valid_accuracy` (share). axes: two. A phase starts from the best of the one before it,
    so that its line begins where that one's best point lay.
    """
    shown = history.dropna(subset=["valid_loss", "valid_accuracy"]).sort_values("total_step")
    curves = (("valid_loss", 1, "validation loss (nats)"),
              ("valid_accuracy", 100, "windows that find their species (%)"))  # fmt: skip
    for ax, (column, factor, name) in zip(axes, curves, strict=True):
        for i, (phase, part) in enumerate(shown.groupby("phase")):
            objective = part["objective"].iloc[0]
            ax.plot(
                part["total_step"], factor * part[column], color=method_style("trained")[1],
                marker="os^D"[i % 4], markersize=3, markerfacecolor="white" if i % 2 else None,
                label=f"phase {phase}: {OBJECTIVES.get(objective, objective)}",
            )  # fmt: skip
            if i:
                ax.axvline(part["total_step"].min(), color=OKABE_ITO["grey"], ls=":", lw=0.8)
        ax.set(xlabel="optimiser step", ylabel=name)
        ax.set_ylim(0, 1.06 * factor * shown[column].max())
    return axes


def describe_species_training(history: pd.DataFrame) -> str:
    """A sentence per phase: loss and accuracy before it and at its lowest loss."""
    shown = history.dropna(subset=["valid_loss", "valid_accuracy"])
    parts = []
    for phase, rows in shown.groupby("phase"):
        rows = rows.sort_values("total_step")
        start, best = rows.iloc[0], rows.iloc[rows["valid_loss"].argmin()]
        objective = OBJECTIVES.get(start["objective"], start["objective"])
        parts.append(
            f"Phase {phase} ({objective}): validation loss from {start['valid_loss']:.3f} to "
            f"{best['valid_loss']:.3f} at step {best['total_step']:.0f}, species found from "
            f"{100 * start['valid_accuracy']:.1f} to {100 * best['valid_accuracy']:.1f} %."
        )
    return " ".join(parts)


def _interval(row: pd.Series) -> str:
    if not np.isfinite([row["low"], row["high"]]).all():
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"{unit}s"


def _counts(n_species: pd.Series) -> str:
    """How many species, or from how few to how many where methods were scored on different ones."""
    low, high = n_species.min(), n_species.max()
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
