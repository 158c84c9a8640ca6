"""The figures of the GeneMask companion: tidy table and axes in, axes out."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.style import OKABE_ITO, draw_intervals

#: Name, colour and marker of each masking scheme, the same in every figure.
SCHEMES = {
    "contiguous": ("contiguous (DNABERT)", OKABE_ITO["blue"], "o"),
    "span11": ("random 11-token spans", OKABE_ITO["green"], "s"),
    "genemask": ("GeneMask, by content", OKABE_ITO["vermilion"], "D"),
    "genemask_reference": ("GeneMask, as released", OKABE_ITO["orange"], "^"),
    "genemask_worst": ("GeneMask, worst ranks", OKABE_ITO["purple"], "v"),
    "curriculum": ("PMI curriculum", OKABE_ITO["sky"], "P"),
}
#: Line style of each baseline: grey, so that models stand out against them.
BASELINES = {
    "kmer4": ("4-mer logistic regression", (0, (1, 1))),
    "kmer6": ("6-mer logistic regression", (0, (3, 1, 1, 1))),
    "onehot": ("one-hot logistic regression", (0, (4, 2))),
    "gc": ("GC content", (0, (6, 2))),
    "scratch": ("same network, not pretrained", (0, (5, 1, 1, 1, 1, 1))),
}


def scheme_style(model: str) -> tuple[str, str, str]:
    """Label, colour and marker of a model named after its masking scheme."""
    return SCHEMES.get(model, (model, OKABE_ITO["black"], "x"))


def plot_ranking(table: pd.DataFrame, ax: Axes) -> Axes:
    """Scores of two rankings of the same k-mers against each other, words with CpG apart.

    `table` has `ngram`, `score_x`, `score_y` and the names of the axes in `name_x`, `name_y`.
    """
    cpg = table["ngram"].str.contains("CG")
    for part, colour, label in (
        (table[~cpg], OKABE_ITO["sky"], f"without CpG ({(~cpg).sum():,})"),
        (table[cpg], OKABE_ITO["vermilion"], f"with CpG ({cpg.sum():,})"),
    ):
        ax.scatter(
            part["score_x"], part["score_y"], s=3, c=colour, alpha=0.5, lw=0, label=label,
            rasterized=True,
        )  # fmt: skip
    name_x, name_y = table["name_x"].iloc[0], table["name_y"].iloc[0]
    ax.set(xlabel=name_x, ylabel=name_y)
    ax.legend(loc="upper left", markerscale=2.5, handletextpad=0.1)
    return ax


def plot_score_distribution(table: pd.DataFrame, ax: Axes) -> Axes:
    """Histogram of NPMI scores (`score`), words with CpG apart."""
    cpg = table["ngram"].str.contains("CG")
    bins = np.histogram_bin_edges(table["score"], bins=60)
    ax.hist(table.loc[~cpg, "score"], bins, color=OKABE_ITO["sky"], label="without CpG")
    ax.hist(
        table.loc[cpg, "score"], bins, color=OKABE_ITO["vermilion"], alpha=0.8, label="with CpG"
    )
    ax.set(xlabel="NPMI score (nats, discounted)", ylabel="6-mers")
    ax.legend()
    return ax


def plot_masked_hidden(table: pd.DataFrame, ax: Axes) -> Axes:
    """Masked share of tokens against hidden share of bases, one point per scheme.

    `table` has `scheme`, `masked_share`, `hidden_share` (fractions) and their 95 % intervals
    `*_low`, `*_high`. The diagonal is where masking a token hides a base.
    """
    top = 100 * max(table["masked_share"].max(), table["hidden_share"].max()) * 1.15
    ax.plot([0, top], [0, top], color=OKABE_ITO["grey"], lw=0.6, ls=":", zorder=0)
    for row in table.itertuples():
        label, colour, marker = scheme_style(row.scheme)
        x, y = 100 * row.masked_share, 100 * row.hidden_share
        ax.errorbar(
            x, y,
            xerr=[[x - 100 * row.masked_share_low], [100 * row.masked_share_high - x]],
            yerr=[[y - 100 * row.hidden_share_low], [100 * row.hidden_share_high - y]],
            color=colour, marker=marker, label=label, ls="none", elinewidth=0.7,
        )  # fmt: skip
    ax.set(xlabel="masked tokens (%)", ylabel="hidden bases (%)", xlim=(0, top), ylim=(0, top))
    ax.legend(loc="upper left")
    return ax


def plot_pretraining(table: pd.DataFrame, baselines: pd.DataFrame, ax: Axes) -> Axes:
    """Validation bits per hidden base over the optimiser steps, a line per scheme.

    `table` has `scheme`, `step`, `bits_per_base`; `baselines` has `name`, `bits_per_base`. All are
    measured on the same frozen masks, so the lines can be compared; lower is better.
    """
    for scheme, part in table.groupby("scheme", sort=False):
        label, colour, marker = scheme_style(scheme)
        part = part.dropna(subset="bits_per_base").sort_values("step")
        ax.plot(part["step"], part["bits_per_base"], color=colour, marker=marker, label=label)
    for row, style in zip(baselines.itertuples(), [":", "--", "-."], strict=False):
        ax.axhline(row.bits_per_base, color=OKABE_ITO["grey"], ls=style, lw=0.8, label=row.name)
    ax.set(xlabel="optimiser step", ylabel="bits per hidden base")
    ax.legend(fontsize=5.5, handlelength=2.6)
    return ax


def plot_fewshot(table: pd.DataFrame, ax: Axes, *, metric: str = "accuracy") -> Axes:
    """Few-shot curves of one data set: mean and 95 % interval by shots, models and baselines.

    `table` has `model`, `shots`, `metric`, `mean`, `low`, `high`.
    """
    part = table[table["metric"] == metric]
    models = [m for m in part["model"].unique() if m not in BASELINES and m != "majority"]
    shots = sorted(part["shots"].unique())
    # A small shift on the log axis keeps intervals of different models from covering each other.
    shifts = dict(zip(models, np.linspace(-0.05, 0.05, max(len(models), 1)), strict=True))
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


def plot_token_usage(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rank-frequency curves of k-mer tokens, one per k; dotted is even use of the vocabulary."""
    colours = [
        OKABE_ITO[name] for name in ("sky", "green", "orange", "blue", "purple", "vermilion")
    ]
    for (k, part), colour in zip(table.groupby("k"), colours, strict=False):
        ax.loglog(part["rank"], part["frequency"], color=colour, label=f"{k}-mers")
        ax.axhline(1 / 4**k, color=colour, ls=":", lw=0.7)
    ax.set(xlabel="rank of the token", ylabel="share of all tokens")
    ax.legend()
    return ax
