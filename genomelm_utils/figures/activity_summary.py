"""The manuscript's figures of promoter activity: runs of stages 08 and 12 side by side.

Every table has `run`. Sentences are computed from the same rows that are drawn.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils.figures.manuscript import label_runs, numbers_by_run
from genomelm_utils.figures.promoter_activity import (
    METRIC_NAMES,
    STRATEGY_COLOURS,
    plot_strategies,
)
from genomelm_utils.figures.style import DOUBLE_MM, OKABE_ITO, new_figure

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent

#: Tables of stage 08 and of motif insertion; those that a run does not have are left out.
ACTIVITY_TABLES = ("sets", "overlap", "summary", "paired", "best", "ends", "specificity", "ceiling")
INSERTION_TABLES = ("effects", "planted", "recovery", "agreement", "joined")
MEAN = "mean"
ROW_MM, PANEL_MM = 4.6, 16
#: What the third figure shows of the best network: subset, name.
VIEWS = (
    ("all", "all test rows"),
    ("top", "most active tenth"),
    ("bottom", "least active tenth"),
    ("specific", "differences between cells"),
)
RUN_COLOURS = [OKABE_ITO[name] for name in ("blue", "vermilion", "green", "purple", "orange")]


def gather_activity(
    activity: Sequence["Parent"], insertion: Sequence["Parent"] = ()
) -> dict[str, pd.DataFrame]:
    """Name of a table -> its rows of all runs that have it, with the run's name in `run`."""
    found = {}
    for parents, names in ((activity, ACTIVITY_TABLES), (insertion, INSERTION_TABLES)):
        for name in names:
            found[name] = label_runs((p, p.table(name)) for p in parents if name in p.tables)
    return found


def metric_of(summary: pd.DataFrame) -> str:
    """The metric a run is judged by: Spearman's rho, or accuracy where there are classes."""
    return "spearman" if (summary["metric"] == "spearman").any() else "accuracy"


def headline(summary: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metric that a run is judged by, mean over its outputs."""
    parts = [
        part[(part["metric"] == metric_of(part)) & (part["output"] == MEAN)]
        for _, part in summary.groupby("run", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else summary


# --- strategies -----------------------------------------------------------------------------------


def grid_by_rows(table: pd.DataFrame, by: str = "method") -> tuple[Figure, np.ndarray]:
    """A figure with axes for every run, one below the other, as high as it has rows to show."""
    n_rows = [part[by].nunique() for _, part in table.groupby("run", sort=False)]
    heights = [PANEL_MM + ROW_MM * n for n in n_rows] or [PANEL_MM]
    fig, axes = new_figure(len(heights), width_mm=DOUBLE_MM, height_mm=10 + sum(heights))
    axes[0, 0].get_gridspec().set_height_ratios(heights)
    return fig, axes


def plot_all_strategies(
    summary: pd.DataFrame, axes: np.ndarray, ceilings: pd.DataFrame | None = None
) -> np.ndarray:
    """Every method of every run with its 95 % interval over seeds, see `plot_strategies`."""
    for (run, part), ax in zip(summary.groupby("run", sort=False), axes[:, 0], strict=True):
        own = None if ceilings is None or ceilings.empty else ceilings[ceilings["run"] == run]
        plot_strategies(part, ax, metric=metric_of(part), ceilings=own)
        ax.set_title(str(run))
    return axes


def describe_winners(summary: pd.DataFrame) -> str:
    """A sentence: in how many runs the best network is above every baseline; then each run."""
    told, ahead = [], 0
    for run, part in headline(summary).groupby("run", sort=False):
        floor = part[part["strategy"] == "baseline"]
        networks = part[part["strategy"] != "baseline"]
        if networks.empty or floor.empty:
            continue
        best, base = (one.loc[one["mean"].idxmax()] for one in (networks, floor))
        ahead += best["low"] > base["mean"]
        name = METRIC_NAMES.get(best["metric"], best["metric"])
        told.append(
            f"{run}: {name} of the best network ({best['method']}) {_interval(best)} over "
            f"{int(best['n'])} seeds, of the best baseline ({base['method']}) {base['mean']:.2f}."
        )
    count = f"The best network is beyond chance above every baseline in {ahead} of {len(told)} runs"
    return f"{count} (95 % intervals over seeds). {' '.join(told)}"


# --- what other tasks are worth -------------------------------------------------------------------


def gains_over_scratch(summary: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    """Every transfer less the same network from scratch, paired by seed.

    Columns run, backbone, strategy, pretrain, method, difference, low, high, n. Intervals are those
    of `paired`, turned where scratch stands first.
    """
    about = headline(summary).drop_duplicates(["run", "method"]).set_index(["run", "method"])
    rows = []
    for row in paired.itertuples():
        pair = [about.loc[row.run, name] for name in (row.a, row.b)]
        single = [one["strategy"] == "single" for one in pair]
        if sum(single) != 1 or pair[0]["backbone"] != pair[1]["backbone"]:
            continue
        sign = -1 if single[0] else 1
        other, name = (pair[1], row.b) if single[0] else (pair[0], row.a)
        low, high = sorted((sign * row.low, sign * row.high))
        about_it = [other[column] for column in ("backbone", "strategy", "pretrain")]
        rows.append([row.run, *about_it, name, sign * row.difference, low, high, row.n])
    columns = ["run", "backbone", "strategy", "pretrain", "method", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "n"])


def plot_gains(gains: pd.DataFrame, ax: Axes) -> Axes:
    """Gain of every transfer over the same network from scratch, with 95 % intervals over seeds."""
    place = {name: i for i, name in enumerate(STRATEGY_COLOURS)}
    order = gains.assign(place=gains["strategy"].map(place))
    order = order.sort_values(["backbone", "place"], kind="stable")
    labels, seen = [], set()
    for y, row in enumerate(order.itertuples()):
        ax.errorbar(
            row.difference, -y, xerr=[[row.difference - row.low], [row.high - row.difference]],
            fmt="o", color=STRATEGY_COLOURS[row.strategy], elinewidth=0.8, capsize=1.5,
            label=None if row.strategy in seen else row.strategy,
        )  # fmt: skip
        seen.add(row.strategy)
        labels.append(f"{row.backbone} {row.strategy}")
    ax.axvline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.set_yticks(-np.arange(len(labels)), labels)
    ax.set_ylim(0.5 - len(labels), 0.5)
    after = ", ".join(dict.fromkeys(gains["pretrain"]))
    ax.set(xlabel=f"gain over the same network from scratch (other task: {after})")
    return ax


def plot_all_gains(gains: pd.DataFrame, axes: np.ndarray) -> np.ndarray:
    """`plot_gains` for every run, on axes of `grid_by_rows`."""
    for (run, part), ax in zip(gains.groupby("run", sort=False), axes[:, 0], strict=True):
        plot_gains(part, ax)
        ax.set_title(str(run))
    return axes


def describe_gains(gains: pd.DataFrame) -> str:
    """How many transfers gain or lose beyond chance, and by strategy the middle gain."""
    if gains.empty:
        return "No run has a transfer beside the same network from scratch."
    up, down = int((gains["low"] > 0).sum()), int((gains["high"] < 0).sum())
    middle = gains.groupby("strategy", sort=False)["difference"].median()
    listed = ", ".join(f"{name} {value:+.3f}" for name, value in middle.items())
    return (
        f"Of {len(gains)} transfers {up} gain and {down} lose beyond chance against the same "
        f"network from scratch (95 % intervals over {int(gains['n'].min())} or more seeds, without "
        f"correction); median gain by strategy: {listed}."
    )


# --- where predictions hold -----------------------------------------------------------------------


def best_views(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """rho of the network with the best validation score of each run, first seed, by `VIEWS`.

    Intervals are over test rows. Columns run, method, view, mean, low, high.
    """
    if tables["best"].empty or tables["ends"].empty:
        return pd.DataFrame(columns=["run", "method", "view", "mean", "low", "high"])
    best = tables["best"].loc[tables["best"].groupby("run", sort=False)["best"].idxmax()]
    parts = []
    for row in best.itertuples():
        for name, view in VIEWS:
            table, subset = (
                (tables["specificity"], "all") if name == "specific" else (tables["ends"], name)
            )
            if table.empty:
                continue
            chosen = table[
                (table["run"] == row.run)
                & (table["model"] == row.method)
                & (table["output"] == MEAN)
                & (table["subset"] == subset)
                & (table["metric"] == "rho")
            ]
            parts.append(chosen.assign(method=row.method, view=view))
    return pd.concat(parts, ignore_index=True)[["run", "method", "view", "mean", "low", "high"]]


def plot_views(views: pd.DataFrame, ax: Axes) -> Axes:
    """rho by view, a colour per run, with intervals over test rows."""
    names = [view for _, view in VIEWS if view in set(views["view"])]
    runs = list(dict.fromkeys(views["run"]))
    for i, (run, part) in enumerate(views.groupby("run", sort=False)):
        x = np.array([names.index(view) for view in part["view"]])
        x = x + 0.15 * (i - (len(runs) - 1) / 2)
        bars = np.vstack([part["mean"] - part["low"], part["high"] - part["mean"]])
        ax.errorbar(
            x, part["mean"], yerr=np.clip(bars, 0, None), fmt="o", elinewidth=0.8, capsize=1.5,
            color=RUN_COLOURS[i % len(RUN_COLOURS)], label=f"{run}: {part['method'].iloc[0]}",
        )  # fmt: skip
    ax.axhline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.set_xticks(range(len(names)), names)
    ax.set(ylabel="Spearman's rho on test rows", xlim=(-0.5, len(names) - 0.5))
    return ax


def describe_views(views: pd.DataFrame) -> str:
    """A sentence for each run: rho of all rows, at both ends, and of differences between cells."""
    told = []
    for run, part in views.groupby("run", sort=False):
        listed = ", ".join(f"{row.view} {_interval(row._asdict())}" for row in part.itertuples())
        told.append(f"{run} ({part['method'].iloc[0]}, one seed): rho of {listed}.")
    return " ".join(told)


# --- numbers of the text --------------------------------------------------------------------------


def activity_numbers(tables: dict[str, pd.DataFrame], gains: pd.DataFrame) -> dict[str, Any]:
    """Every number the text quotes, by run and method; None where not a number."""
    numbers = {"score": numbers_by_run(headline(tables["summary"]), "mean")}
    numbers["gain"] = numbers_by_run(gains, "difference")
    if len(tables["recovery"]):
        for measure, part in tables["recovery"].groupby("measure"):
            numbers[f"insertion_{measure}"] = numbers_by_run(part, "value")
    return numbers


def _interval(row: Any) -> str:
    if not np.isfinite(row["mean"]):
        return "not defined (values alike)"
    if not np.isfinite(row["low"]):
        return f"{row['mean']:.2f}"
    return f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
