"""Figures of expression regression: true against predicted, scores of all methods, losses.

Every plot takes a tidy table and axes; every `describe_` says in a sentence, from the same numbers,
what is to be seen. No plot makes a legend of its own where panels can share one, see
`legend.legend_of`.
"""

from itertools import cycle, pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO

# r2 is written as the paper means it: the squared Pearson correlation
R2 = "r² (squared Pearson)"
LOWEST_SHOWN = -0.5  # of R2
METRIC_NAMES = {"R2": "R² (coefficient of determination)", "auc": "AUC", "auprc": "AUPRC"}
NOTHING = {"auc": 0.5}  # of metrics whose value for a constant prediction is not 0
#: Files of the figures of metrics: r2 and R2 would be one on systems that ignore case.
METRIC_FILES = {"r2": "r2", "R2": "coefficient", "auc": "auc", "auprc": "auprc"}
MAX_LEVEL = 12  # tissues whose names stand side by side; more are turned
MAX_POINTS = 2000  # promoters of a scatter plot that are kept for the manuscript's figure
SUMMARIES = {"all": "pooled", "mean": "mean of tissues"}
#: Methods by the start of their name: colour, marker. Language models in colour, baselines grey or
#: muted (olive, wine and indigo of Tol 2021, SRON/EPS/TN/09-002).
LOOKS = {
    "florabert": (OKABE_ITO["blue"], "o"),
    "pretrained": (OKABE_ITO["blue"], "o"),
    "attention": (OKABE_ITO["green"], "s"),
    "probe": (OKABE_ITO["sky"], "P"),
    "scratch": (OKABE_ITO["vermilion"], "^"),
    "untrained": (OKABE_ITO["vermilion"], "^"),
    "tissue_mean": ("#B0B0B0", "_"),
    "bow2": ("#A8A8A8", "x"),
    "bow3": ("#8A8A8A", "+"),
    "bow4": ("#6C6C6C", "1"),
    "bow5": ("#4E4E4E", "2"),
    "kmer_ridge": ("#333333", "D"),
    "binned_kmer_ridge": ("#333333", "d"),
    "motif_ridge": ("#999933", "p"),
    "boosting": ("#882255", "v"),
    "cnn": ("#332288", "*"),
}
STROKES = "x+1234_|"  # markers without a face
_OTHERS = [(OKABE_ITO["orange"], "h"), (OKABE_ITO["purple"], "<"), (OKABE_ITO["black"], ">")]


def method_looks(models: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method, the same for the same name; unknown ones take the rest."""
    found, others = {}, cycle(_OTHERS)
    for model in models:
        fitting = [start for start in LOOKS if model.lower().startswith(start)]
        found[model] = LOOKS[max(fitting, key=len)] if fitting else next(others)
    return found


def marker_style(marker: str) -> dict[str, object]:
    """Size of a marker: strokes alone are larger and thicker, or none sees them."""
    if marker in STROKES:
        return {"marker": marker, "markersize": 5.5, "markeredgewidth": 1.2}
    return {"marker": marker, "markersize": 3.8}


# --- true against predicted -----------------------------------------------------------------------


def plot_true_predicted(table: pd.DataFrame, ax: Axes, *, unit: str = "ln(TPM + 1)") -> Axes:
    """True against predicted expression of one tissue, a point per promoter; dotted: equal.

    `table` has `tissue` (one), `true`, `predicted` on the scale named by `unit`
    (`regression.true_predicted_table`). r2 and R2 stand in the corner.
    """
    ax.scatter(
        table["true"], table["predicted"], s=5, alpha=0.3, lw=0, color=OKABE_ITO["blue"],
        rasterized=True,
    )  # fmt: skip
    both = table[["true", "predicted"]].to_numpy(float)
    low, high = (np.nanmin(both), np.nanmax(both)) if np.isfinite(both).any() else (0.0, 1.0)
    ax.plot([low, high], [low, high], ls=":", lw=0.8, color=OKABE_ITO["grey"], zorder=0)
    r2, big_r2, n = _fit_of(table)
    ax.text(
        0.03, 0.97, f"r² {_number(r2)}\nR² {_number(big_r2)}\nn {n:,}", transform=ax.transAxes,
        va="top", fontsize=6,
    )  # fmt: skip
    ax.set_title(str(table["tissue"].iloc[0]))
    ax.set(xlabel=f"measured, {unit}", ylabel=f"predicted, {unit}")
    return ax


def plot_true_predicted_panels(
    table: pd.DataFrame, axes: np.ndarray, *, unit: str = "ln(TPM + 1)"
) -> np.ndarray:
    """`plot_true_predicted` for every tissue of the table, in its order; spare axes are hidden.

    All panels have the same scales; only the outer ones are named.
    """
    tissues = table["tissue"].unique()
    if axes.size < len(tissues):
        raise ValueError(f"{axes.size} axes for {len(tissues)} tissues, expected one per tissue")
    limits = table[["true", "predicted"]].to_numpy(float)
    low, high = np.nanmin(limits), np.nanmax(limits)
    margin = 0.04 * (high - low)
    _n_rows, n_cols = axes.shape
    for i, ax in enumerate(axes.flat):
        if i >= len(tissues):
            ax.set_visible(False)
            continue
        plot_true_predicted(table[table["tissue"] == tissues[i]], ax, unit=unit)
        ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
        ax.set_aspect("equal")
        if i + n_cols < len(tissues):
            ax.set_xlabel("")
        if i % n_cols:
            ax.set_ylabel("")
    return axes


def describe_true_predicted(table: pd.DataFrame) -> str:
    """Sentences: r2 of the best and the worst tissue, and how much predictions are drawn in."""
    rows = [(tissue, *_fit_of(part)) for tissue, part in table.groupby("tissue", sort=False)]
    known = table.dropna(subset=["true", "predicted"])
    ratio = known["predicted"].std() / known["true"].std() if len(known) > 1 else float("nan")
    defined = [row for row in rows if np.isfinite(row[1])]
    if not defined:
        return (
            f"{len(rows)} tissues, {len(known):,} labels; no tissue has predictions that vary, so "
            "r² is not defined."
        )
    best, worst = max(defined, key=lambda row: row[1]), min(defined, key=lambda row: row[1])
    return (
        f"{len(rows)} tissues, {len(known):,} labels: r² from {worst[1]:.3f} ({worst[0]}) to "
        f"{best[1]:.3f} ({best[0]}). Predictions spread {ratio:.2f} times as far as measured "
        "values: a regression that explains little stays near the mean."
    )


# --- all methods ----------------------------------------------------------------------------------


def plot_r2_bars(table: pd.DataFrame, ax: Axes, *, metric: str = "r2") -> Axes:
    """A metric of every method in every tissue with 95 % intervals, tissues from left to right.

    `table` is that of `regression.evaluate` (model, tissue, metric, mean, low, high) and may have
    `label`. Methods stand beside each other in the order of the table; 'pooled' and 'mean of
    tissues' come last, apart. A method whose score is undefined (NaN) leaves its place empty.
    """
    part = _of_metric(table, metric)
    models, tissues = part["model"].unique().tolist(), order_tissues(part)
    looks, labels = method_looks(models), _labels(part)
    shifts = np.linspace(-0.36, 0.36, len(models)) if len(models) > 1 else [0.0]
    place = {tissue: i + 0.35 * (tissue in SUMMARIES) for i, tissue in enumerate(tissues)}
    for model, shift in zip(models, shifts, strict=True):
        rows = part[part["model"] == model]
        x = rows["tissue"].map(place) + shift
        bars = np.vstack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]]).clip(min=0)
        colour, marker = looks[model]
        ax.errorbar(
            x, rows["mean"], yerr=bars, ls="none", color=colour, label=labels[model],
            elinewidth=0.8, **marker_style(marker),
        )  # fmt: skip
    for left, right in pairwise(tissues):
        ax.axvline((place[left] + place[right]) / 2, color="#DDDDDD", lw=0.5, zorder=0)
    ax.axhline(NOTHING.get(metric, 0), color=OKABE_ITO["grey"], lw=0.6, zorder=0)
    ax.set_xticks(
        list(place.values()), [SUMMARIES.get(t, t).replace(" of ", "\nof ") for t in place]
    )
    ax.tick_params(axis="x", length=0, rotation=90 if len(place) > MAX_LEVEL else 0)
    ax.set_xlim(-0.55, max(place.values()) + 0.55)
    ax.set_ylabel(R2 if metric == "r2" else METRIC_NAMES.get(metric, metric.replace("_", " ")))
    n_below = int((part["mean"] < LOWEST_SHOWN).sum())
    if n_below:  # R2 has no lower end: one bad method would flatten all others
        shown = part[part["mean"] >= LOWEST_SHOWN]
        low, high = np.nanmin([0, *shown["low"].fillna(shown["mean"])]), part["high"].max()
        bottom, top = max(low, LOWEST_SHOWN), np.nanmax([0, part["mean"].max(), high])
        margin = 0.08 * (top - bottom)
        ax.set_ylim(bottom - margin, top + margin)
        text = f"{n_below} values below {LOWEST_SHOWN:g} are not drawn"
        ax.text(0.01, 0.02, text, transform=ax.transAxes, fontsize=6)
    return ax


def describe_r2_bars(table: pd.DataFrame, *, metric: str = "r2", tissue: str = "mean") -> str:
    """A sentence: every method with its interval, the highest first; undefined ones are named."""
    part = _of_metric(table, metric)
    part = part[part["tissue"] == tissue]
    labels = _labels(part)
    rows = part.dropna(subset=["mean"]).sort_values("mean", ascending=False, kind="stable")
    parts = [f"{labels[row.model]} {tell_interval(row)}" for row in rows.itertuples()]
    undefined = part.loc[part["mean"].isna(), "model"].map(labels).tolist()
    names = {"r2": "r²", "R2": "R²", "auc": "AUC", "auprc": "AUPRC"}
    name = names.get(metric, metric.replace("_", " "))
    where = SUMMARIES.get(tissue, tissue)
    text = f"{name}, {where} (95 % intervals over clusters): {', '.join(parts) or 'none defined'}."
    if undefined:
        text += f" Not defined for a constant prediction: {', '.join(undefined)}."
    return text


# --- training -------------------------------------------------------------------------------------


def plot_losses(history: pd.DataFrame, ax: Axes, *, constant: float | None = None) -> Axes:
    """Training (dashed) and validation loss (full) by optimiser step, a colour per run.

    `history` has `step`, `train_loss`, `valid_loss`, and `run` where it holds several. constant:
    loss of the best constant prediction on the validation rows, dotted. The lowest validation loss
    is ringed: those weights are kept.
    """
    runs = history["run"] if "run" in history else pd.Series("", index=history.index)
    looks = method_looks(list(dict.fromkeys(runs)))
    for run, rows in history.groupby(runs, sort=False):
        rows, (colour, marker) = rows.sort_values("step"), looks[run]
        trained, valid = rows.dropna(subset="train_loss"), rows.dropna(subset="valid_loss")
        name = f"{run}, " if run else ""
        ax.plot(trained["step"], trained["train_loss"], color=colour, ls="--", lw=0.8, alpha=0.7,
                label=f"{name}training")  # fmt: skip
        ax.plot(valid["step"], valid["valid_loss"], color=colour, marker=marker, markersize=3,
                label=f"{name}validation")  # fmt: skip
        if len(valid):
            best = valid.loc[valid["valid_loss"].idxmin()]
            ax.plot(best["step"], best["valid_loss"], marker="o", markersize=8, color=colour,
                    markerfacecolor="none", ls="none")  # fmt: skip
    if constant is not None:
        ax.axhline(constant, color=OKABE_ITO["grey"], ls=":", lw=0.9, label="tissue means")
    ax.set(xlabel="optimiser step", ylabel="loss per measured label")
    return ax


def describe_losses(history: pd.DataFrame, *, constant: float | None = None) -> str:
    """A sentence per run: validation loss before and at its lowest, and what a constant has."""
    runs = history["run"] if "run" in history else pd.Series("", index=history.index)
    parts = []
    for run, rows in history.groupby(runs, sort=False):
        valid = rows.dropna(subset="valid_loss").sort_values("step")
        if valid.empty:
            parts.append(f"{run or 'The run'} has no validation loss.")
            continue
        best = valid.loc[valid["valid_loss"].idxmin()]
        parts.append(
            f"{run or 'The run'}: validation loss from {valid['valid_loss'].iloc[0]:.3f} to "
            f"{best['valid_loss']:.3f} at step {best['step']:.0f} of {rows['step'].max():.0f}."
        )
    if constant is not None:
        parts.append(f"Tissue means alone have {constant:.3f}.")
    return " ".join(parts)


# --- parts ----------------------------------------------------------------------------------------


def _of_metric(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    part = table[table["metric"] == metric]
    if part.empty:
        raise ValueError(
            f"no metric {metric!r} in the table, expected one of: "
            f"{', '.join(table['metric'].unique())}"
        )
    return part


def order_tissues(table: pd.DataFrame) -> list[str]:
    names = table["tissue"].unique().tolist()
    return [t for t in names if t not in SUMMARIES] + [t for t in SUMMARIES if t in names]


def _labels(table: pd.DataFrame) -> dict[str, str]:
    names = table["label"] if "label" in table else table["model"]
    return dict(zip(table["model"], names, strict=True))


def _fit_of(table: pd.DataFrame) -> tuple[float, float, int]:
    """r2, R2 and the number of points; NaN where undefined, without a warning."""
    known = table.dropna(subset=["true", "predicted"])
    y, p = known["true"].to_numpy(float), known["predicted"].to_numpy(float)
    if len(y) < 2 or np.ptp(y) == 0:
        return float("nan"), float("nan"), len(y)
    big_r2 = 1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    r2 = float("nan") if np.ptp(p) == 0 else np.corrcoef(y, p)[0, 1] ** 2
    return float(r2), float(big_r2), len(y)


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not defined"


def tell_interval(row) -> str:
    if np.isfinite(row.low) and np.isfinite(row.high):
        return f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"
    return f"{row.mean:.3f}"
