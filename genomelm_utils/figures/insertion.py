"""Figures of motif insertion: strongest motifs, agreement with measured sequences, logos.

Tables come from `interpretation.motif_ranking`, matrices from `models.motif_scan.motif_matrices`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.figures.motifs import plot_logo
from genomelm_utils.figures.style import OKABE_ITO

SIDE_LOOKS = {"up": (OKABE_ITO["vermilion"], "o"), "down": (OKABE_ITO["blue"], "D")}
MAX_NAMED = 8  # motifs named in a scatter plot; more names would cover each other


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
    ax.set(xlabel=f"change of the prediction, {output}", ylim=(-0.7, len(shown) - 0.3))
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
        xlabel=f"measured, with less without the motif, {output}",
        ylabel="effect of insertion (bars: one standard error)",
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
    return part.iloc[order[:MAX_NAMED]]
