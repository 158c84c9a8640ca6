"""Figures of motifs: logos, a found motif above the known one, where sites lie, ranked words.

Tables come from `motifs.motif`, `motifs.compare` and `motifs.ranked_words`.

Shape suffixes: W positions of a motif, U positions that two aligned motifs have together.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils.figures.style import DOUBLE_MM, OKABE_ITO, new_figure
from genomelm_utils.motifs.compare import align_pair
from genomelm_utils.motifs.motif import Motif

#: A, C, G, T stay apart under colour-blindness.
BASE_COLOURS = {
    "A": OKABE_ITO["green"],
    "C": OKABE_ITO["blue"],
    "G": OKABE_ITO["orange"],
    "T": OKABE_ITO["vermilion"],
}
MAX_BITS = 2
CONTROL_LOOKS = {"none": ("o", "all orders"), "composition": ("s", "equal GC and CpG")}


def letter_heights(probabilities_W4: np.ndarray) -> pd.DataFrame:
    """Bits of each letter, columns A, C, G, T: its probability times the position's information.

    Positions of NaN (where an aligned motif does not reach) have height 0. Source: Schneider &
    Stephens 1990, Nucleic Acids Res. 18:6097; without the correction for few sites.
    """
    p_W4 = np.nan_to_num(probabilities_W4, nan=0.25)
    logs_W4 = np.log2(p_W4, out=np.zeros_like(p_W4), where=p_W4 > 0)
    bits_W = MAX_BITS + (p_W4 * logs_W4).sum(axis=1)
    return pd.DataFrame(p_W4 * bits_W[:, None], columns=list("ACGT"))


def plot_logo(probabilities_W4: np.ndarray, ax: Axes, title: str = "") -> Axes:
    """The logo of a matrix [W, 4] in bits; positions are numbered from 1."""
    from logomaker import Logo

    heights = letter_heights(probabilities_W4)
    heights.index = heights.index + 1
    Logo(heights, ax=ax, color_scheme=BASE_COLOURS, show_spines=False)
    ax.spines["left"].set_visible(True)
    ax.set(ylim=(0, MAX_BITS), yticks=(0, 1, 2), ylabel="bits", title=title)
    ax.set_xlim(0.4, len(heights) + 0.6)
    ax.set_xticks(range(1, len(heights) + 1, 1 + len(heights) // 10))
    return ax


def grid_for_logos(n: int, row_mm: float = 32) -> tuple[Figure, np.ndarray]:
    """A figure with a place for each of n logos, two in a row; one alone has half the width."""
    n_columns = min(n, 2)
    n_rows = -(-n // n_columns)
    width_mm = DOUBLE_MM * n_columns / 2
    return new_figure(n_rows, n_columns, width_mm=width_mm, height_mm=row_mm * n_rows)


def plot_logos(motifs: Sequence[Motif], axes: np.ndarray) -> np.ndarray:
    """A logo per motif in reading order, with its sites and E-value; axes left over are empty.

    All logos have the scale of the widest: a position is as wide in each.
    """
    widest = max((motif.width for motif in motifs), default=1)
    for ax in axes.flat:
        ax.set_axis_off()
    for motif, ax in zip(motifs, axes.flat, strict=False):
        ax.set_axis_on()
        sure = "" if np.isnan(motif.log10_e) else f", E = {e_text(motif.log10_e)}"
        plot_logo(motif.probabilities, ax, f"{motif.name}: {len(motif.sites):,} sites{sure}")
        ax.set_xlim(0.4, widest + 0.6)
    return axes


def e_text(log10_e: float) -> str:
    """An E-value to be read: $10^{-249}$, or plain from 0.001 up."""
    return f"{10**log10_e:.2g}" if log10_e > -3 else f"$10^{{{log10_e:.0f}}}$"


def plot_pairs(pairs: Sequence[tuple[Motif, Motif, pd.Series]], axes: np.ndarray) -> np.ndarray:
    """Found motifs side by side, each above the known one that it matches; axes [2, n].

    pairs: (found, known, row of `match_motifs`). Columns without a pair are empty.
    """
    for ax in axes.flat:
        ax.set_axis_off()
    for column, (found, known, match) in enumerate(pairs[: axes.shape[1]]):
        for ax in axes[:, column]:
            ax.set_axis_on()
        plot_pair(found, known, match, axes[:, column])
        if column:
            for ax in axes[:, column]:
                ax.set_ylabel("")
    return axes


def plot_pair(found: Motif, known: Motif, match: pd.Series, axes: Sequence[Axes]) -> Sequence[Axes]:
    """A found motif and, on the second axes, the known one below it, position by position.

    match: their row of `match_motifs`. The known motif is turned where it matches reversed, and
    says so.
    """
    upper, lower = align_pair(found, known, match)
    plot_logo(upper, axes[0], f"{found.name}, {len(found.sites):,} sites")
    turned = ["reversed"] if match["strand"] == "-" else []
    aside = ", ".join(([known.name] if known.alt_name else []) + turned)
    name = (known.alt_name or known.name) + (f" ({aside})" if aside else "")
    plot_logo(lower, axes[1], f"{name}, q = {match['q_value']:.1g}")
    return axes


def plot_site_places(sites: pd.DataFrame, lengths_bp: np.ndarray, ax: Axes) -> Axes:
    """How far the middles of sites lie from the middles of their sequences, one line per motif.

    sites: of `Discovery.sites`. lengths_bp: int64, length of each sequence of the input by its
    `index`.
    """
    bins = np.linspace(-0.5, 0.5, 21)
    middle = (sites["start"] + sites["end"]) / 2
    place = (middle / lengths_bp[sites["index"]]) - 0.5
    colours = [OKABE_ITO[name] for name in ("blue", "vermilion", "green", "purple", "sky")]
    for (name, part), colour in zip(
        place.groupby(sites["motif"], sort=False), colours, strict=False
    ):
        share, _ = np.histogram(part, bins)
        ax.stairs(share / len(part), bins, color=colour, label=name)
    ax.axhline(1 / (len(bins) - 1), color=OKABE_ITO["grey"], lw=0.6, ls=":", label="evenly spread")
    ax.set(
        xlabel="place in the sequence (share of its length, 0: middle)",
        ylabel="share of sites",
        xlim=(-0.5, 0.5),
    )
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def describe_site_places(sites: pd.DataFrame, lengths_bp: np.ndarray, middle: float = 0.2) -> str:
    """A sentence: what share of each motif's sites lies in the middle fifth of the sequences."""
    if sites.empty:
        return "No sites to place."
    centre = (sites["start"] + sites["end"]) / 2 / lengths_bp[sites["index"]] - 0.5
    inside = (centre.abs() <= middle / 2).groupby(sites["motif"], sort=False).mean()
    told = ", ".join(f"{share:.0%} of those of {name}" for name, share in inside.items())
    return f"In the middle {middle:.0%} of their sequences lie {told}."


def plot_ranking_test(table: pd.DataFrame, ax: Axes) -> Axes:
    """AUC of each ranking with its interval; open marks: what permuted words give.

    table: of `compare_rankings_with_motifs`.
    """
    names = list(dict.fromkeys(table["ranking"]))
    for row in table.itertuples():
        marker, label = CONTROL_LOOKS[row.control]
        y = names.index(row.ranking)
        shift = 0.15 if row.control == "composition" else -0.15
        first = y == 0
        ax.plot(
            row.expected, y + shift, marker, mfc="none", color=OKABE_ITO["grey"],
            label=f"permuted, {label}" if first else None,
        )  # fmt: skip
        if row.control == "none":
            ax.errorbar(
                row.auc, y, xerr=[[row.auc - row.low], [row.high - row.auc]], fmt="D", capsize=2,
                color=OKABE_ITO["blue"], label="observed, 95 %" if first else None,
            )  # fmt: skip
    ax.axvline(0.5, color=OKABE_ITO["grey"], lw=0.6, ls=":")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("AUC of words that match known motifs")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2))
    return ax


def describe_discovery(table: pd.DataFrame, n_records: int) -> str:
    """A sentence on `Discovery.table`: how many motifs, and the first one."""
    if table.empty:
        return f"No motif was found in {n_records:,} sequences."
    first = table.iloc[0]
    sure = "" if np.isnan(first["log10_e"]) else f", E = 10^{first['log10_e']:.0f}"
    return (
        f"{len(table)} motif{'s' * (len(table) > 1)} in {n_records:,} sequences; the first, "
        f"{first['consensus']}, has {int(first['n_sites']):,} sites in "
        f"{100 * first['share']:.0f} % of them{sure}."
    )
