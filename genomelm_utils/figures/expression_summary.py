"""The manuscript's figures of expression, from tables of finished runs of stage 07 side by side.

Every table has `run`. Sentences are computed from the same rows that are drawn.
"""

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils.baselines.expression_names import MAIN_BASELINES, NETWORKS, label_models
from genomelm_utils.evaluation.expression_sentences import describe_comparison, shorten_tissues
from genomelm_utils.figures.expression import (
    MAX_POINTS,
    describe_r2_bars,
    plot_r2_bars,
    plot_true_predicted,
)
from genomelm_utils.figures.importance import describe_importance
from genomelm_utils.figures.manuscript import numbers_by_run
from genomelm_utils.figures.style import DOUBLE_MM, new_figure

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent

#: Tables of a run; those that a run does not have are left out.
TABLES = ("scores", "paired", "points", "importance", "planted_importance", "top_kmers")
METRIC, CLASS_METRIC = "R2", "auc"  # R2 also counts a wrong scale; auc of classification
TITLE_LETTERS = 32  # of a line above one of three panels
MAX_METHODS = 60  # points of a panel that can be told apart: methods times tissues


def gather_expression(parents: Sequence["Parent"]) -> dict[str, pd.DataFrame]:
    """Name of `TABLES` -> rows of all runs of 07 that have it, with the run's name in `run`.

    Without any run the tables are empty.
    """
    found = {}
    for name in TABLES:
        parts = [p.table(name).assign(run=p.run) for p in parents if name in p.tables]
        found[name] = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"run": []})
    return found


def grid_of_runs(
    table: pd.DataFrame, *, n_cols: int = 1, height_mm: float = 70
) -> tuple[Figure, np.ndarray]:
    """A figure with a row of `n_cols` axes per run of the table."""
    n_rows = max(1, table["run"].nunique())
    return new_figure(n_rows, n_cols, width_mm=DOUBLE_MM, height_mm=12 + height_mm * n_rows)


def draw_runs(
    table: pd.DataFrame, axes: np.ndarray, plot: Callable[..., Any], **options: Any
) -> None:
    """`plot(rows, ax)` for every run on the axes of its row, titled with its name.

    Columns that a run does not have (places are counted from either end) are left out for it.
    """
    for (run, part), ax in zip(table.groupby("run", sort=False), axes[:, 0], strict=True):
        plot(part.dropna(axis=1, how="all"), ax, **options)
        ax.set_title(str(run))


# --- performance ----------------------------------------------------------------------------------


def metric_of(table: pd.DataFrame) -> str:
    """The metric that decides in a run's table: R2, or AUC where "expressed or not" was learned."""
    return METRIC if (table["metric"] == METRIC).any() else CLASS_METRIC


def plot_performance(table: pd.DataFrame, ax: Axes) -> Axes:
    """`metric_of` every method and tissue of one run with 95 % intervals, see `plot_r2_bars`.

    Where methods times tissues are more than can be told apart, networks and the baselines of
    `MAIN_BASELINES` are drawn; the sentence has all.
    """
    metric = metric_of(table)
    rows = table[table["metric"] == metric]
    if rows["model"].nunique() * rows["tissue"].nunique() > MAX_METHODS:
        rows = rows[rows["model"].isin([*NETWORKS, *MAIN_BASELINES])]
    return plot_r2_bars(label_models(shorten_tissues(rows)), ax, metric=metric)


def describe_performance(scores: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Every run in sentences: its scores, and what its best network can be told from."""
    told = []
    for run, part in scores.groupby("run", sort=False):
        metric = metric_of(part)
        pairs = paired[paired["run"] == run]
        text = describe_r2_bars(label_models(part), metric=metric)
        told.append(f"{run}: {text} {describe_comparison(_in_words(pairs), metric)}")
    return " ".join(told)


def count_wins(paired: pd.DataFrame) -> str:
    """A sentence: in how many runs pretraining beats none, and the best network any baseline."""
    rows = paired[paired["metric"].isin((METRIC, CLASS_METRIC))]
    # the best network stands first: pretrained minus scratch, or the other way round
    as_asked = (rows["model"] == "pretrained") & (rows["other"] == "scratch") & (rows["low"] > 0)
    turned = (rows["model"] == "scratch") & (rows["other"] == "pretrained") & (rows["high"] < 0)
    gains = int((as_asked | turned).sum())
    baselines = rows[~rows["other"].isin(NETWORKS)]
    ahead = baselines.assign(ahead=baselines["low"] > 0).groupby("run")["ahead"].all().sum()
    n_runs = rows["run"].nunique()
    return (
        f"Pretraining is better than none beyond chance in {gains} of {n_runs} runs, and the best "
        f"network better than every baseline in {ahead} (95 % intervals over clusters)."
    )


def _in_words(paired: pd.DataFrame) -> pd.DataFrame:
    names = label_models(paired)["label"]
    others = label_models(paired.assign(model=paired["other"]))["label"]
    return paired.assign(model=names, other=others)


# --- true against predicted -----------------------------------------------------------------------


def choose_tissues(points: pd.DataFrame, n: int = 3) -> list[str]:
    """The tissues of the highest, the lowest and the middle squared correlation, that order."""
    r2 = {
        tissue: np.corrcoef(part["true"], part["predicted"])[0, 1] ** 2
        for tissue, part in points.groupby("tissue", sort=False)
        if len(part) > 2 and part["true"].std() > 0 and part["predicted"].std() > 0
    }
    ordered = sorted(r2, key=lambda tissue: -r2[tissue]) or list(points["tissue"].unique())
    places = np.linspace(0, len(ordered) - 1, min(n, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def plot_scatter_runs(points: pd.DataFrame, axes: np.ndarray) -> np.ndarray:
    """True against predicted of every run in three of its tissues, see `choose_tissues`.

    `scale` names the labels. axes: a row of three per run; those that a run does not need are
    hidden.
    """
    for (run, part), row in zip(points.groupby("run", sort=False), axes, strict=True):
        tissues = choose_tissues(part, len(row))
        for ax in row[len(tissues) :]:
            ax.set_visible(False)
        for tissue, ax in zip(tissues, row, strict=False):
            rows = part[part["tissue"] == tissue]
            plot_true_predicted(rows, ax, unit=str(rows["scale"].iloc[0]))
            ax.set_title("\n".join(textwrap.wrap(f"{run}: {tissue}", TITLE_LETTERS)))
    return axes


def describe_scatter(points: pd.DataFrame) -> str:
    """A sentence per run: how many promoters, and how far predictions are drawn to the mean."""
    told = []
    for run, part in points.groupby("run", sort=False):
        n = part["row"].nunique()
        some = f" (the first {MAX_POINTS:,} of the test part)" if n >= MAX_POINTS else ""
        ratio = part["predicted"].std() / part["true"].std()
        told.append(
            f"{run}: {n:,} test promoters{some} in {part['tissue'].nunique()} tissues; predictions "
            f"of its best network spread {ratio:.2f} times as far as labels. Shown are the tissues "
            f"with the highest, a middle and the lowest r²: {', '.join(choose_tissues(part))}."
        )
    return " ".join(told)


# --- importance -----------------------------------------------------------------------------------


def describe_places(importance: pd.DataFrame, planted: pd.DataFrame) -> str:
    """Where replacing words moves predictions, per run; on simulated promoters beside the truth."""
    told = []
    for run, part in importance.groupby("run", sort=False):
        text = f"{run}: {describe_importance(part.dropna(axis=1, how='all'))}"
        known = planted[planted["run"] == run]
        if len(known):
            listed = [f"{r.motif} {r.times:.1f}" for r in known.itertuples() if r.motif != "none"]
            text += f" Planted motifs over all other places: {', '.join(listed)} times."
        told.append(text)
    return " ".join(told)


# --- numbers of the text --------------------------------------------------------------------------


def mean_of_tissues(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of a metric of expression, mean over tissues."""
    return scores[(scores["tissue"] == "mean") & (scores["metric"] == metric)]


def expression_numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Every number the text quotes, by metric, run and model; None where not a number."""
    return {
        metric: numbers_by_run(mean_of_tissues(tables["scores"], metric), "mean", "model")
        for metric in ("r2", "R2")
    }
