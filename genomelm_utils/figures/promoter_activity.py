"""Figures of promoter activity: strategies beside baselines, and what each is worth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

#: Colour and place of each strategy, the same in every figure.
STRATEGY_COLOURS = {
    "single": OKABE_ITO["orange"],
    "joint": OKABE_ITO["purple"],
    "probing": OKABE_ITO["sky"],
    "finetune": OKABE_ITO["blue"],
    "simple": OKABE_ITO["green"],
    "baseline": OKABE_ITO["grey"],
}
#: Metric of a summary -> of a table of ceilings.
CEILINGS = {"spearman": "rho", "pearson": "r"}
METRIC_NAMES = {"spearman": "Spearman's rho", "pearson": "Pearson's r", "accuracy": "accuracy"}


def plot_strategies(
    summary: pd.DataFrame,
    ax: Axes,
    *,
    metric: str,
    output: str = "mean",
    ceilings: pd.DataFrame | None = None,
) -> Axes:
    """Mean and 95 % interval over seeds of every method, by backbone; baselines below.

    summary: as `activity_benchmark.summarise` gives it. ceilings: as
    `activity_reports.ceiling_scores` does; the agreement of replicates is a dashed line.
    """
    rows = _select(summary, metric, output)
    labels = []
    for y, row in enumerate(rows.itertuples()):
        colour = STRATEGY_COLOURS[row.strategy]
        spread = [[row.mean - row.low], [row.high - row.mean]]
        xerr = None if np.isnan(row.low) else np.clip(spread, 0, None)
        shown = row.strategy not in labels
        labels.append(row.strategy)
        ax.errorbar(
            row.mean, -y, xerr=xerr, fmt="o", color=colour, elinewidth=0.8, capsize=1.5,
            label=row.strategy if shown else None,
        )  # fmt: skip
    ax.set_yticks(-np.arange(len(rows)), rows["method"])
    ax.set(xlabel=f"{METRIC_NAMES.get(metric, metric)} on test rows, mean over outputs")
    if ceilings is not None and len(ceilings) and metric in CEILINGS:
        found = ceilings[(ceilings["metric"] == CEILINGS[metric]) & (ceilings["output"] == output)]
        ax.axvline(found["mean"].item(), ls="--", lw=0.8, color="black", label="between replicates")
    # a score is at most 1, an interval of few seeds may reach farther
    ax.set_xlim(right=min(ax.get_xlim()[1], 1.02))
    ax.grid(axis="x", lw=0.3)
    return ax


def plot_outputs(summary: pd.DataFrame, ax: Axes, *, metric: str) -> Axes:
    """A square per method and output, its colour the mean score; numbers inside."""
    table = summary[(summary["metric"] == metric) & (summary["output"] != "mean")]
    order = _select(summary, metric, "mean")["method"]
    wide = table.pivot(index="method", columns="output", values="mean").reindex(order)
    image = ax.imshow(wide.to_numpy(), aspect="auto", cmap="viridis")
    for y, x in np.ndindex(wide.shape):
        value = wide.iat[y, x]
        ax.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=5.5, color="white",
                path_effects=_outline())  # fmt: skip
    ax.set_xticks(range(wide.shape[1]), wide.columns)
    ax.set_yticks(range(wide.shape[0]), wide.index)
    ax.figure.colorbar(image, ax=ax, label=METRIC_NAMES.get(metric, metric))
    return ax


def describe_strategies(summary: pd.DataFrame, paired: pd.DataFrame, *, metric: str) -> str:
    """Sentences on the best method, the best baseline, and whether their difference is sure."""
    rows = _select(summary, metric, "mean")
    networks, floor = rows[rows["strategy"] != "baseline"], rows[rows["strategy"] == "baseline"]
    if not len(networks):
        s = "" if len(floor) == 1 else "s"
        return f"{len(floor)} baseline{s}, and no network that was trained on the target."
    best, base = networks.loc[networks["mean"].idxmax()], floor.loc[floor["mean"].idxmax()]
    name = METRIC_NAMES.get(metric, metric)
    told = (
        f"Best of {len(networks)} networks: {best['method']}, {name} {_interval(best)}; best "
        f"baseline: {base['method']}, {base['mean']:.2f}."
    )
    told += f" {_difference(paired, best['method'], base['method'])}"
    alone = networks[networks["strategy"] == "single"]
    after = networks[networks["strategy"].isin(["finetune", "probing", "joint"])]
    if len(alone) and len(after):
        n_better = sum(
            row.mean > alone.loc[alone["backbone"] == row.backbone, "mean"].max()
            for row in after.itertuples()
        )
        told += f" {n_better} of {len(after)} transfers end above the same network from scratch."
    return told


def describe_gains(paired: pd.DataFrame, level: float = 0.05) -> str:
    """How many pairs of methods differ surely after Holm's correction."""
    sure = paired[paired["p_holm"] < level]
    n_seeds = int(paired["n"].min()) if len(paired) else 0
    return (
        f"{len(sure)} of {len(paired)} pairs of methods differ at {level:g} after Holm's "
        f"correction ({n_seeds} seeds: with fewer than six, no pair can)."
    )


def _select(summary: pd.DataFrame, metric: str, output: str) -> pd.DataFrame:
    """Rows of one metric and output: networks by backbone, then baselines, in a fixed order."""
    table = summary[(summary["metric"] == metric) & (summary["output"] == output)]
    place = {name: i for i, name in enumerate(STRATEGY_COLOURS)}
    return (
        table.assign(
            last=table["strategy"] == "baseline",
            place=table["strategy"].map(place),
        )
        .sort_values(["last", "backbone", "place", "method"], kind="stable")
        .reset_index(drop=True)
    )


def _difference(paired: pd.DataFrame, a: str, b: str) -> str:
    for one, other, sign in ((a, b, 1), (b, a, -1)):
        row = paired[(paired["a"] == one) & (paired["b"] == other)]
        if len(row):
            row = row.iloc[0]
            low, high = sorted((sign * row["low"], sign * row["high"]))
            found = f"{sign * row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
            return f"Paired difference of the two: {found} over {int(row['n'])} seeds."
    return ""


def _interval(row: pd.Series) -> str:
    if np.isnan(row["low"]):
        return f"{row['mean']:.2f} (one seed)"
    return f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _outline() -> list:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1, foreground="black")]
