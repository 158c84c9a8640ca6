"""Figures of few-shot results."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.schemes import BASELINES, scheme_style
from genomelm_utils.figures.style import OKABE_ITO, draw_intervals


def plot_fewshot(table: pd.DataFrame, ax: Axes, *, metric: str = "accuracy") -> Axes:
    """Few-shot curves of one data set: mean and 95 % interval by shots, models and baselines.

    `table` has `model`, `shots`, `metric`, `mean`, `low`, `high`.
    """
    part = table[table["metric"] == metric]
    models = [m for m in part["model"].unique() if m not in BASELINES and m != "majority"]
    shots = sorted(part["shots"].unique())
    # A small shift on the log axis keeps intervals of different models from covering each other.
    shifts = dict(zip(models, np.linspace(-0.05, 0.05, len(models)), strict=True))
    for model in models:
        rows = part[part["model"] == model].sort_values("shots")
        label, colour, marker = scheme_style(model)
        draw_intervals(
            ax, rows["shots"] * 10 ** shifts[model], rows["mean"], rows["low"], rows["high"],
            colour=colour, label=label, marker=marker,
        )  # fmt: skip
    for name, (label, style) in BASELINES.items():
        rows = part[part["model"] == name].sort_values("shots")
        if len(rows):
            ax.plot(rows["shots"], rows["mean"], color=OKABE_ITO["grey"], ls=style, label=label)
            ax.fill_between(
                rows["shots"], rows["low"], rows["high"], color=OKABE_ITO["grey"], alpha=0.12, lw=0
            )
    ax.set_xscale("log")
    ax.set_xticks(shots, [str(s) for s in shots])
    ax.minorticks_off()
    ax.set(xlabel="examples per class (shots)", ylabel=metric.replace("_", " "))
    return ax


def plot_paired(table: pd.DataFrame, ax: Axes) -> Axes:
    """Paired differences between models with 95 % intervals; zero means no difference.

    `table` has `label`, `difference`, `low`, `high` and `p_holm`.
    """
    y = np.arange(len(table))[::-1]
    sure = table["p_holm"] < 0.05
    for keep, colour in ((sure, OKABE_ITO["vermilion"]), (~sure, OKABE_ITO["grey"])):
        rows = table[keep]
        bars = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        ax.errorbar(rows["difference"], y[keep], xerr=bars, fmt="o", color=colour, elinewidth=0.8)
    ax.axvline(0, color="black", lw=0.6)
    ax.set_yticks(y, table["label"])
    ax.set(xlabel="difference in accuracy (paired)")
    return ax
