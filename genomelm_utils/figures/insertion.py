"""Figures of motif insertion: strongest motifs, agreement with measured sequences, logos.

Tables come from `interpretation.motif_ranking`, matrices from `models.motif_scan.motif_matrices`.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genomelm_utils.figures.motifs import plot_logo
from genomelm_utils.figures.style import DOUBLE_MM, OKABE_ITO, new_figure

SIDE_LOOKS = {"up": (OKABE_ITO["vermilion"], "o"), "down": (OKABE_ITO["blue"], "D")}
MAX_NAMED = 8  # motifs named in a scatter plot; more names would cover each other
NAME_WIDTH, NAME_HEIGHT = 0.14, 0.05  # shares of the axes that a name takes
PANEL_LETTERS = 34  # of a line above a panel, three in a row
PLANTED_COLOURS = ("blue", "vermilion", "green", "purple", "sky", "orange")


def grid_of(table: pd.DataFrame, *, height_mm: float = 62) -> tuple[Figure, np.ndarray]:
    """A figure with a row of axes per method of a table and a column per output."""
    shape = table["method"].nunique(), table["output"].nunique()
    return new_figure(*shape, width_mm=DOUBLE_MM, height_mm=10 + height_mm * shape[0])


def draw_grid(
    table: pd.DataFrame, axes: np.ndarray, plot: Callable[..., Axes], **options
) -> np.ndarray:
    """`plot(rows of the method, output, ax)` on axes of `grid_of`, titled with the method.

    Legends are left to the figure (`legend_of`).
    """
    for (method, part), row in zip(table.groupby("method", sort=False), axes, strict=True):
        for output, ax in zip(table["output"].unique(), row, strict=True):
            plot(part, output, ax, **options)
            if ax.get_legend() is not None:
                ax.get_legend().remove()
        for ax in row[1:]:
            ax.set_ylabel("")
        row[0].set_title("\n".join(textwrap.wrap(str(method), PANEL_LETTERS)), loc="left")
    return axes


def plot_top_effects(table: pd.DataFrame, output: str, ax: Axes, n_top: int = 10) -> Axes:
    """The motifs that raise and that lower one output most, with intervals; grey: the control.

    table: rows of one subset of `effect_table`. The control is the shuffled motif at the same
    places, where there is one.
    """
    part = _rows(table, output).sort_values("mean", kind="stable")
    n_side = min(n_top, len(part) // 2)
    shown = pd.concat([part.head(n_side), part.tail(n_side)]) if n_side else part
    y = np.arange(len(shown))
    for side, (colour, marker) in SIDE_LOOKS.items():
        own = (shown["mean"] > 0) == (side == "up")
        rows = shown[own]
        bars = np.vstack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        ax.errorbar(
            rows["mean"], y[own], xerr=np.nan_to_num(bars), fmt=marker, color=colour,
            elinewidth=0.7, capsize=1.5, label=f"{side}, 95 %" if own.any() else None,
        )  # fmt: skip
    if shown["control"].notna().any():
        ax.plot(shown["control"], y, "|", color=OKABE_ITO["grey"], ms=6, label="shuffled motif")
    ax.axvline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.set_yticks(y, shown["motif"])
    ax.set(
        xlabel=f"change of predicted activity (units of the labels), {output}",
        ylim=(-0.7, len(shown) - 0.3),
    )
    ax.legend(loc="lower right")
    return ax


def describe_top_effects(table: pd.DataFrame, max_q: float = 0.05) -> str:
    """A sentence for each output: its strongest motifs, and how many stand out."""
    told = []
    for output in table["output"].unique():
        part = _rows(table, output)
        best, worst = (part.loc[part["mean"].agg(pick)] for pick in ("idxmax", "idxmin"))
        q = "q_excess" if part["q_excess"].notna().any() else "q"
        against = "their shuffled control" if q == "q_excess" else "no change"
        told.append(
            f"{output}: {best['motif']} raises the prediction most ({best['mean']:+.3g} "
            f"[{best['low']:.3g}, {best['high']:.3g}]), {worst['motif']} is at the other end "
            f"({worst['mean']:+.3g} [{worst['low']:.3g}, {worst['high']:.3g}]); "
            f"{int((part[q] < max_q).sum())} of {len(part)} motifs differ from {against} "
            f"(q < {max_q:g}) over {int(part['n'].max())} backgrounds."
        )
    return " ".join(told)


def plot_planted(ranks: pd.DataFrame, output: str, ax: Axes) -> Axes:
    """What insertion finds in one output (y) against what is planted (x), a point per motif.

    ranks: rows of one method of `activity_insertion.rank_planted`. Found is the change beyond that
    of the shuffled motif; bars are 1.96 standard errors over backgrounds.
    """
    rows = ranks[ranks["output"] == output].sort_values("planted", kind="stable")
    sure = rows["q_excess"] < 0.05
    for chosen, face, label in (
        (sure, OKABE_ITO["blue"], "q < 0.05"),
        (~sure, "white", "other motifs"),
    ):
        part = rows[chosen]
        ax.errorbar(
            part["planted"], part["excess"], yerr=1.96 * part["excess_se"], fmt="o", mfc=face,
            color=OKABE_ITO["blue"], mew=0.7, elinewidth=0.7, capsize=1.5, label=label,
        )  # fmt: skip
    sides = _label_sides(rows)
    for row, (dx, align) in zip(rows.itertuples(), sides, strict=True):
        ax.annotate(
            row.motif, (row.planted, row.excess), (dx, 3), textcoords="offset points",
            fontsize=5.5, ha=align,
        )  # fmt: skip
    ax.axhline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.axvline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.margins(x=0.15)
    ax.set(
        xlabel=f"planted effect (units of the labels), {output}",
        ylabel="found, beyond the shuffled motif",
    )
    return ax


def _label_sides(rows: pd.DataFrame) -> list[tuple[int, str]]:
    """Where a motif's name stands: to the left where another point is close on the right."""
    x, y = rows["planted"].to_numpy(), rows["excess"].to_numpy()
    wide, high = np.ptp(x) or 1, np.ptp(y) or 1
    found = []
    for i in range(len(rows)):
        right = (x > x[i]) | ((x == x[i]) & (y > y[i]))
        near = right & (x - x[i] < 0.28 * wide) & (np.abs(y - y[i]) < 0.1 * high)
        found.append((-4, "right") if near.any() else (4, "left"))
    return found


def describe_recovery(recovery: pd.DataFrame, ranks: pd.DataFrame) -> str:
    """A sentence for each network: rank correlation with what is planted, AUC, the first motifs."""
    told = []
    for method, part in recovery.groupby("method", sort=False):
        value = {row.measure: row for row in part.itertuples()}
        own = ranks[ranks["method"] == method]
        sure = own.groupby("motif", sort=False)["q_excess"].min() < 0.05
        first = own[own["rank"] == 1].drop_duplicates("motif")["motif"]
        none = own.groupby("motif")["planted"].apply(lambda one: (one == 0).all())
        silent = ", ".join(none[none].index)
        more = f" {silent} does nothing in these cells." if silent else ""
        rho, auc = value["rho"], value["auc"]
        told.append(
            f"{method}: rho of planted and found effects {rho.value:.2f} [{rho.low:.2f}, "
            f"{rho.high:.2f}] over {rho.n} motifs; a motif with a strong effect moves the "
            f"prediction more than a shuffled one with a chance of {auc.value:.2f} "
            f"[{auc.low:.2f}, {auc.high:.2f}]. First of {int(own['of'].max())} motifs and "
            f"controls: {', '.join(first) or 'a control'}; {int(sure.sum())} of {len(sure)} motifs "
            f"do more than their shuffled control in at least one cell (q < 0.05).{more}"
        )
    return " ".join(told)


def plot_effect_occurrence(
    joined: pd.DataFrame, output: str, ax: Axes, *, max_q: float = 0.05
) -> Axes:
    """Effect of insertion (y) against the measured difference of sequences with the motif (x).

    joined: of `join_occurrence`. Filled: the difference is significant (q_occurrence < max_q).
    Motifs farthest from the middle are named.
    """
    part = joined[(joined["output"] == output) & joined["dfe"].notna() & joined["mean"].notna()]
    if part.empty:
        raise ValueError(
            f"no row of output {output!r}, expected one of: {', '.join(joined['output'].unique())}"
        )
    sure = part["q_occurrence"] < max_q
    for chosen, face, label in (
        (sure, OKABE_ITO["blue"], f"q < {max_q:g}"),
        (~sure, "none", "other motifs"),
    ):
        rows = part[chosen]
        ax.errorbar(
            rows["dfe"], rows["mean"], yerr=rows["se"].fillna(0), fmt="o", mfc=face, ms=3,
            color=OKABE_ITO["blue"], mew=0.6, elinewidth=0.5, label=label,
        )  # fmt: skip
    ax.axhline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.axvline(0, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    for row in _farthest(part).itertuples():
        ax.annotate(
            row.motif, (row.dfe, row.mean), (3, 2), textcoords="offset points", fontsize=5.5
        )
    ax.set(
        xlabel=f"with the motif less without it (units of the labels), {output}",
        ylabel="change of predicted activity\n(units of the labels; bars: 1 SE)",
    )
    ax.legend()
    return ax


def describe_agreement(table: pd.DataFrame) -> str:
    """A sentence for each row of `agreement_table`."""
    told = [
        f"{row.output}, {row.motifs} motifs: rho of insertion and occurrence {row.rho:.2f} "
        f"[{row.low:.2f}, {row.high:.2f}] over {row.n}."
        if np.isfinite(row.rho)
        else f"{row.output}, {row.motifs} motifs: {row.n}, too few for a rank correlation."
        for row in table.itertuples()
    ]
    return " ".join(told)


def describe_networks(table: pd.DataFrame, describe: Callable[[pd.DataFrame], str]) -> str:
    """The sentences of each network, with its name in front."""
    return " ".join(
        f"{method}: {describe(part)}" for method, part in table.groupby("method", sort=False)
    )


def logo_names(table: pd.DataFrame, n: int = 8) -> pd.DataFrame:
    """The n motifs with the largest mean effect over outputs and networks, on either side, the
    most positive first: motif, mean.

    table: rows of one subset of `effect_table`.
    """
    means = table.groupby("motif", sort=False)["mean"].mean().reset_index()
    order = means["mean"].abs().sort_values(ascending=False, kind="stable").index[:n]
    return means.loc[order].sort_values("mean", ascending=False, ignore_index=True)


def describe_logos(best: pd.DataFrame) -> str:
    """A sentence on `logo_names`: which motifs raise and which lower predictions."""
    up, down = best[best["mean"] > 0], best[best["mean"] <= 0]
    parts = [
        f"{word} on average: {', '.join(f'{r.motif} ({r.mean:+.2g})' for r in part.itertuples())}"
        for word, part in (("raise predictions", up), ("lower them", down))
        if len(part)
    ]
    return f"Of the {len(best)} motifs with the largest effects, these {'; these '.join(parts)}."


def plot_motif_logos(
    names: Sequence[str],
    matrices: Mapping[str, np.ndarray],
    axes: np.ndarray,
    means: Sequence[float] | None = None,
) -> np.ndarray:
    """Logos of motifs in bits, in the order of the names; axes that are left over are hidden.

    means: mean effects, told above each logo. Raises: ValueError for fewer axes than names.
    """
    if axes.size < len(names):
        raise ValueError(f"{axes.size} axes for {len(names)} motifs, expected one for each")
    for i, ax in enumerate(axes.flat):
        if i >= len(names):
            ax.set_visible(False)
            continue
        more = "" if means is None else f" ({means[i]:+.2g})"
        plot_logo(np.asarray(matrices[names[i]]), ax, f"{names[i]}{more}")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if i % axes.shape[-1]:
            ax.set_ylabel("")
    return axes


def _rows(table: pd.DataFrame, output: str) -> pd.DataFrame:
    part = table[table["output"] == output]
    if part.empty or part["motif"].duplicated().any():
        raise ValueError(
            f"output {output!r} has {len(part)} rows for {part['motif'].nunique()} motifs, "
            "expected one for each: choose rows of one subset"
        )
    return part


def _farthest(part: pd.DataFrame) -> pd.DataFrame:
    scaled = part[["dfe", "mean"]] / part[["dfe", "mean"]].abs().max().replace(0, 1)
    order = np.argsort(-np.hypot(scaled["dfe"], scaled["mean"]).to_numpy(), kind="stable")
    x, y = (part[name].to_numpy() / (np.ptp(part[name]) or 1) for name in ("dfe", "mean"))
    named: list[int] = []
    for i in order:
        # a name beside another would cover it
        if all(abs(x[i] - x[j]) > NAME_WIDTH or abs(y[i] - y[j]) > NAME_HEIGHT for j in named):
            named.append(int(i))
        if len(named) == MAX_NAMED:
            break
    return part.iloc[named]
