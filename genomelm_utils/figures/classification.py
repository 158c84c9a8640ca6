"""Figures of classifiers: confusion, curves, scores of methods, folds, importances, sweeps.

Every plot takes a tidy table and axes; every `describe_` says in a sentence, from the same numbers,
what is to be seen.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

METRICS = {
    "f1": "F1 (weighted)", "accuracy": "accuracy", "precision": "precision (weighted)",
    "recall": "recall (weighted)", "macro_f1": "F1 (macro)", "mcc": "MCC", "auc": "ROC-AUC",
    "auprc": "AUPRC", "roc_auc_scores": "ROC-AUC", "loss": "loss, nats",
}  # fmt: skip
_COLOURS = [OKABE_ITO[n] for n in ("blue", "vermilion", "green", "purple", "orange", "sky")]
_STATES = {
    "complete": (OKABE_ITO["blue"], "o"),
    "stopped": (OKABE_ITO["orange"], "v"),
    "collapsed": (OKABE_ITO["vermilion"], "x"),
}
_BASELINE = "#8A8A8A"


def plot_confusion(table: pd.DataFrame, ax: Axes) -> Axes:
    """How often each true class (row) is predicted as each class (column): counts and shares.

    `table` is that of `evaluation.class_scores.confusion_table`. Shade: share of the true class.
    """
    names = list(dict.fromkeys(table["true"]))
    shares = table.pivot(index="true", columns="predicted", values="share").loc[names, names]
    counts = table.pivot(index="true", columns="predicted", values="n").loc[names, names]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(names)):
        for j in range(len(names)):
            share = shares.iloc[i, j]
            ax.text(
                j, i, f"{counts.iloc[i, j]:,}\n{share:.0%}", ha="center", va="center",
                color="white" if share > 0.55 else "black", fontsize=6.5,
            )  # fmt: skip
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_curve(table: pd.DataFrame, ax: Axes, curve: str = "roc") -> Axes:
    """ROC or precision-recall curves with their pointwise intervals; dotted: chance.

    `table` has the columns of `evaluation.curves.curve_table` and, for several, `method`.
    """
    rows = table[table["curve"] == curve]
    if "method" not in rows:
        rows = rows.assign(method="")
    for (method, part), colour in zip(rows.groupby("method", sort=False), _cycle(), strict=False):
        area = float(np.trapezoid(part["y"], part["x"]))
        label = f"{method} {area:.3f}".strip()
        ax.plot(part["x"], part["y"], color=colour, label=label)
        ax.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
    first = rows[rows["method"] == rows["method"].iloc[0]]
    ax.plot(first["x"], first["chance"], ls=":", lw=0.8, color=OKABE_ITO["grey"])
    labels = ("false positive rate", "true positive rate")
    if curve == "pr":
        labels = ("recall", "precision")
    ax.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(loc="lower right" if curve == "roc" else "lower left", title="area")
    return ax


def plot_scores(
    table: pd.DataFrame,
    ax: Axes,
    *,
    metric: str = "f1",
    baselines: Sequence[str] = (),
    published: Mapping[str, float] | None = None,
) -> Axes:
    """One score of every method with its interval, the best on top; baselines grey.

    `table` has method, metric, value, low, high. published: what others report, as diamonds.
    """
    rows = table[table["metric"] == metric].sort_values("value", kind="stable")
    y = np.arange(len(rows))
    is_baseline = rows["method"].isin(baselines).to_numpy()
    for chosen, colour, marker in (
        (is_baseline, _BASELINE, "s"),
        (~is_baseline, OKABE_ITO["blue"], "o"),
    ):
        part = rows[chosen]
        bars = np.vstack([part["value"] - part["low"], part["high"] - part["value"]]).clip(min=0)
        ax.errorbar(
            part["value"], y[chosen], xerr=bars, ls="", marker=marker, color=colour, capsize=1.5,
            elinewidth=0.8,
        )  # fmt: skip
    ax.set_yticks(y, rows["method"])
    for name, value in (published or {}).items():
        ax.axvline(value, ls="--", lw=0.9, color=OKABE_ITO["vermilion"])
        ax.annotate(
            f"{name} {value:.3f}", (value, 1.0), xycoords=("data", "axes fraction"), rotation=0,
            ha="right", va="bottom", fontsize=6, color=OKABE_ITO["vermilion"],
        )  # fmt: skip
    ax.set_xlabel(METRICS.get(metric, metric))
    ax.set_ylim(-0.7, len(rows) - 0.3)
    return ax


def plot_runs(table: pd.DataFrame, ax: Axes, *, metric: str, kind: str = "violin") -> Axes:
    """The spread of one metric over runs or folds, a violin or box per group, every value a dot.

    `table` has group, metric, value. Values from 0 to 1 are shown on that whole range.
    """
    rows = table[table["metric"] == metric].dropna(subset=["value"])
    groups = list(dict.fromkeys(rows["group"]))
    values = [rows.loc[rows["group"] == group, "value"].to_numpy() for group in groups]
    places = np.arange(len(groups))
    # a violin needs some spread
    if kind == "violin" and all(len(v) > 2 and np.ptp(v) > 0 for v in values):
        parts = ax.violinplot(values, positions=places, showmedians=True, widths=0.8)
        for body, colour in zip(parts["bodies"], _cycle(), strict=False):
            body.set(facecolor=colour, alpha=0.3)
        for name in ("cbars", "cmins", "cmaxes", "cmedians"):
            parts[name].set(color="#333333", linewidth=0.8)
    else:
        ax.boxplot(
            values, positions=places, widths=0.5, showfliers=False,
            medianprops={"color": OKABE_ITO["blue"]},
        )  # fmt: skip
    for place, found in zip(places, values, strict=True):
        spread = np.linspace(-0.12, 0.12, len(found)) if len(found) > 1 else np.zeros(1)
        ax.plot(place + spread, found, ".", color="#333333", ms=2.5, alpha=0.7)
    ax.set_xticks(places, groups, rotation=30 if len(groups) > 3 else 0)
    ax.set_ylabel(METRICS.get(metric, metric))
    if len(rows) and rows["value"].between(0, 1).all():
        ax.set_ylim(0, 1)
    return ax


def plot_feature_importance(
    table: pd.DataFrame, ax: Axes, *, n: int = 20, what: str = "importance"
) -> Axes:
    """The n most important features as bars, with their standard deviation.

    `table` has feature, importance, sd (`baselines.importances`); with a column `in_other`, bars of
    features that another table shares are green.
    """
    rows = table.head(n).iloc[::-1]
    colours = OKABE_ITO["blue"]
    if "in_other" in rows:
        colours = [
            OKABE_ITO["green"] if shared else OKABE_ITO["grey"] for shared in rows["in_other"]
        ]
    y = np.arange(len(rows))
    bars = rows["sd"].to_numpy() if rows["sd"].notna().all() else None
    ax.barh(
        y, rows["importance"], xerr=bars, color=colours, height=0.7,
        error_kw={"lw": 0.6, "ecolor": "#333333"},
    )  # fmt: skip
    ax.set_yticks(y, rows["feature"])
    ax.set_xlabel(what)
    ax.axvline(0, lw=0.6, color="#333333")
    return ax


def plot_sweep(trials: pd.DataFrame, ax: Axes, *, metric: str, parameter: str = "run") -> Axes:
    """The metric of every run of a sweep against one of its parameters, marked by how it ended.

    `trials` is the table of `tasks.sweep`. A parameter that spans more than a factor of 30 is shown
    on a logarithmic axis.
    """
    for state, (colour, marker) in _STATES.items():
        part = trials[(trials["state"] == state) & trials["value"].notna()]
        if len(part):
            ax.plot(part[parameter], part["value"], marker, color=colour, label=state)
    values = pd.to_numeric(trials[parameter], errors="coerce").dropna()
    if len(values) and values.min() > 0 and values.max() / values.min() > 30:
        ax.set_xscale("log")
    ax.set(xlabel=parameter.replace("_", " "), ylabel=METRICS.get(metric, metric))
    ax.legend()
    return ax


def describe_scores(table: pd.DataFrame, baselines: Sequence[str], metric: str = "f1") -> str:
    """A sentence: the best model against the best baseline, and whether their intervals meet."""
    rows = table[table["metric"] == metric].sort_values("value", ascending=False)
    is_baseline = rows["method"].isin(baselines)
    told = []
    for part in (rows[~is_baseline], rows[is_baseline]):
        if len(part):
            one = part.iloc[0]
            told.append(f"{one['method']} {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]")
    name = METRICS.get(metric, metric)
    if len(told) < 2:
        return f"Best {name}: {told[0]}."
    model, baseline = rows[~is_baseline].iloc[0], rows[is_baseline].iloc[0]
    if model["low"] > baseline["high"]:
        verdict = "the model is ahead"
    elif model["high"] < baseline["low"]:
        verdict = "the baseline is ahead"
    else:
        verdict = "their intervals meet"
    return f"Best {name} of a model: {told[0]}; of a baseline: {told[1]}: {verdict}."


def describe_sweep(trials: pd.DataFrame, metric: str) -> str:
    """A sentence: how many runs ended how, and the best of them."""
    counts = ", ".join(f"{n} {state}" for state, n in trials["state"].value_counts().items())
    sound = trials[(trials["state"] != "collapsed") & trials["value"].notna()]
    if sound.empty:
        return f"{len(trials)} runs ({counts}): every one of them predicts one class only."
    best = sound.loc[sound["value"].idxmax()]
    name = METRICS.get(metric, metric)
    return f"{len(trials)} runs ({counts}); run {int(best['run'])}: {name} {best['value']:.3f}."


def describe_confusion(table: pd.DataFrame) -> str:
    """A sentence: the share of every class that is recognised."""
    hits = table[table["true"] == table["predicted"]]
    told = [f"{row.share:.0%} of {row.true}" for row in hits.itertuples()]
    return f"Recognised: {', '.join(told)} ({table['n'].sum():,} test rows)."


def _cycle():
    while True:
        yield from _COLOURS
