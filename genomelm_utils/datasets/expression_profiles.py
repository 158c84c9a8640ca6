"""Promoters and their expression before any model: tables to look at first.

Shapes: S promoters, T tissues, D distances.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import BASES
from genomelm_utils.sequences.tss import Gaps, distance_of, fill_gaps, index_of

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MIN_PAIRS = 3  # promoters measured in both tissues, below which a correlation is left NaN
_Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


def base_composition(
    codes: Sequence[np.ndarray], gap_bp: Gaps = None, *, span_bp: int = 1000, bin_bp: int = 1
) -> pd.DataFrame:
    """Share of each base by distance from the TSS, with its interval; tidy.

    Columns: distance_bp (of the bin's last base), base, share (of the definite bases
    there), low, high (Wilson's 95 % interval), n. Distances that no promoter reaches are left out.
    Neighbouring bases are not independent: intervals of bins wider than 1 bp are too narrow.

    Args:
        codes: base codes, any lengths. span_bp: how far upstream. bin_bp: bases per bin, counted
            from the TSS.
    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209.
    """
    if span_bp < 1 or bin_bp < 1 or not len(codes):
        raise ValueError(
            f"span_bp {span_bp}, bin_bp {bin_bp}, {len(codes)} promoters; expected at least 1 each"
        )
    gaps_S = fill_gaps(gap_bp, len(codes))
    lengths_S = np.array([len(one) for one in codes])
    nearest = int(distance_of(lengths_S - 1, lengths_S, gaps_S).max())
    counts_D4 = np.zeros((span_bp + nearest + 1, N_BASES), dtype=np.int64)
    for one, gap in zip(codes, gaps_S, strict=True):
        first = max(int(index_of(-span_bp, len(one), gap)), 0)
        kept = one[first:]
        rows = span_bp + distance_of(first + np.arange(len(kept)), len(one), gap)
        definite = kept < N_BASES
        # a promoter has one base per distance, so no pair comes twice
        counts_D4[rows[definite], kept[definite]] += 1
    distances_D = np.arange(-span_bp, nearest + 1)
    bins_D = distances_D + (-distances_D - 1) % bin_bp
    table = pd.DataFrame(counts_D4, columns=list(BASES)).groupby(bins_D).sum()
    table = table.rename_axis("distance_bp").reset_index()
    table = table.melt("distance_bp", var_name="base", value_name="count")
    table["n"] = table.groupby("distance_bp")["count"].transform("sum")
    table = table[table["n"] > 0].sort_values(["distance_bp", "base"], ignore_index=True)
    share, n = table["count"] / table["n"], table["n"]
    middle = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * np.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2))
    table = table.assign(share=share, low=middle - half, high=middle + half)
    return table[["distance_bp", "base", "share", "low", "high", "n"]]


def expression_values(labels_ST: np.ndarray, tissues: Sequence[str]) -> pd.DataFrame:
    """All labels that were measured, one per row: tissue, value. NaN are left out."""
    _check(labels_ST, tissues)
    row, column = np.nonzero(np.isfinite(labels_ST))
    names = np.asarray(tissues, dtype=object)
    return pd.DataFrame({"tissue": names[column], "value": labels_ST[row, column]})


def expression_quantiles(tpm_ST: np.ndarray, tissues: Sequence[str]) -> pd.DataFrame:
    """One row per tissue: n, n_missing, zeros (share of the measured), q05, q25, q50, q75, q95."""
    _check(tpm_ST, tissues)
    rows = []
    for name, values_S in zip(tissues, tpm_ST.T, strict=True):
        known = values_S[np.isfinite(values_S)]
        quantiles = np.quantile(known, QUANTILES) if len(known) else [np.nan] * len(QUANTILES)
        named = {f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, quantiles, strict=True)}
        zeros = float((known == 0).mean()) if len(known) else np.nan
        counts = {"n": len(known), "n_missing": len(values_S) - len(known), "zeros": zeros}
        rows.append({"tissue": name} | counts | named)
    return pd.DataFrame(rows)


def tissue_correlations(labels_ST: np.ndarray, tissues: Sequence[str]) -> pd.DataFrame:
    """Pearson correlation of each pair of tissues, neighbours beside each other; tidy.

    Columns: tissue_a, tissue_b, r, n (promoters measured in both). Both follow one order: the
    leaves of an average-linkage tree of 1 - r. NaN where fewer than `MIN_PAIRS` promoters or no
    spread are there; it counts as no correlation in the tree.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    _check(labels_ST, tissues)
    frame = pd.DataFrame(labels_ST.astype(np.float64))
    r_TT = frame.corr(min_periods=MIN_PAIRS).to_numpy()
    known_ST = np.isfinite(labels_ST).astype(np.int64)
    n_TT = known_ST.T @ known_ST
    order = np.arange(len(tissues))
    if len(tissues) > 2:
        away = 1 - np.nan_to_num(r_TT)
        away = np.clip((away + away.T) / 2, 0, None)
        np.fill_diagonal(away, 0)
        condensed = squareform(away, checks=False)
        order = leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))
    a, b = np.repeat(order, len(order)), np.tile(order, len(order))
    names = np.asarray(tissues, dtype=object)
    return pd.DataFrame(
        {"tissue_a": names[a], "tissue_b": names[b], "r": r_TT[a, b], "n": n_TT[a, b]}
    )


def _check(values_ST: np.ndarray, tissues: Sequence[str]) -> None:
    if values_ST.ndim != 2 or values_ST.shape[1] != len(tissues) or not values_ST.size:
        raise ValueError(
            f"values of shape {values_ST.shape} for {len(tissues)} tissues, expected [S, T], S >= 1"
        )
