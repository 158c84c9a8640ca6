"""How good are the bins? The reference's score, and one that counts what was left out.

Shapes: S contigs, C species, B bins.

Compare two binnings of the same contigs by species: `statistics.compare_paired(a.species["f1"],
b.species["f1"], rng=rng)`.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.feature_rows import label_codes
from genomelm_utils.evaluation.statistics import bootstrap_interval

F1_THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))
COMPLETENESS = (
    0.5,
    0.9,
)  # medium and high quality drafts: Bowers et al. 2017, Nat Biotechnol 35:725
CONTAMINATION = (0.1, 0.05)
ROUNDING = 1e-9


class HonestScores(NamedTuple):
    """One number per question, one row per species, one row per bin (see `honest_scores`)."""

    summary: dict[str, float]
    species: pd.DataFrame
    bins: pd.DataFrame


def match_bins(overlap_CB: np.ndarray) -> np.ndarray:
    """Bin of each species, int64 [C], -1 without one: one to one, largest total overlap.

    overlap_CB: contigs, or base pairs, of species C in bin B. A pair without overlap is no match.
    Source: Kuhn 1955, Nav Res Logist Q 2:83 (`scipy.optimize.linear_sum_assignment`).
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(overlap_CB, maximize=True)
    bin_of_C = np.full(overlap_CB.shape[0], -1, dtype=np.int64)
    shared = overlap_CB[rows, columns] > 0
    bin_of_C[rows[shared]] = columns[shared]
    return bin_of_C


def reference_scores(
    labels: Sequence[Hashable] | np.ndarray, bins: Sequence[int] | np.ndarray
) -> pd.DataFrame:
    """F1 and recall per species over the binned contigs only, as in the published counts.

    Columns: species, f1, recall, n_contigs, n_binned. Contigs left unbinned (-1) do not count, in
    any way: 10 pure contigs of 100 score 1. Beside it: `honest_scores`. Species without a binned
    contig have 0.
    Source: released evaluation of DNABERT-S.
    """
    codes_S, names, bins_S, _ = check_bins(labels, bins)
    binned_S = bins_S >= 0
    overlap_CB = overlap(codes_S, bins_S, np.ones(len(bins_S)), len(names))
    table = score_pairs(overlap_CB, overlap_CB.sum(1))
    return pd.DataFrame(
        {
            "species": names,
            "f1": table["f1"],
            "recall": table["completeness"],
            "n_contigs": np.bincount(codes_S, minlength=len(names)),
            "n_binned": np.bincount(codes_S[binned_S], minlength=len(names)),
        }
    )


def honest_scores(
    labels: Sequence[Hashable] | np.ndarray,
    bins: Sequence[int] | np.ndarray,
    lengths_bp: Sequence[int] | np.ndarray,
) -> HonestScores:
    """Scores in base pairs, in which what was not binned is missing from its species.

    `species`: species, n_contigs, total_bp, n_binned, bin (its match, -1 without), completeness,
    purity and f1 of the match in base pairs, f1_contigs the same in contigs with its own match.
    `bins`: bin, n_contigs, total_bp, species (the one with most base pairs), purity,
    contamination (1 - purity; of the bin, not of the genome as in CheckM), completeness (share of
    that species' base pairs).
    `summary`: n_species, n_bins, binned_bp and binned_contigs (shares), purity_bp (base pairs of
    each bin's first species / binned ones), completeness_bp (each species' largest piece in one
    bin / all), f1 and f1_contigs (means over species), ari_binned, and bins by quality, such as
    `bins_90_5`: completeness >= 90 %, contamination <= 5 %.

    Source: AMBER, Meyer et al. 2018, GigaScience 7:giy069; levels: Bowers et al. 2017.
    """
    codes_S, names, bins_S, bin_names = check_bins(labels, bins)
    lengths_S = np.asarray(lengths_bp, dtype=np.float64)
    if lengths_S.shape != bins_S.shape or not (lengths_S > 0).all():
        raise ValueError(
            f"lengths_bp have shape {lengths_S.shape}, expected {bins_S.shape} numbers above 0: "
            "one per contig"
        )
    n_species = len(names)
    total_C = np.bincount(codes_S, weights=lengths_S, minlength=n_species)
    bp_CB = overlap(codes_S, bins_S, lengths_S, n_species)
    contigs_CB = overlap(codes_S, bins_S, np.ones(len(bins_S)), n_species)
    n_contigs_C = np.bincount(codes_S, minlength=n_species)
    matched = score_pairs(bp_CB, total_C)
    species = pd.DataFrame(
        {
            "species": names,
            "n_contigs": n_contigs_C,
            "total_bp": total_C.astype(np.int64),
            "n_binned": contigs_CB.sum(1).astype(np.int64),
            "bin": [bin_names[b] if b >= 0 else -1 for b in matched["bin"]],
            "completeness": matched["completeness"],
            "purity": matched["purity"],
            "f1": matched["f1"],
            "f1_contigs": score_pairs(contigs_CB, n_contigs_C)["f1"],
        }
    )
    table = describe_bins(bp_CB, contigs_CB, total_C, names, bin_names)
    return HonestScores(summarise(species, table, bp_CB, codes_S, bins_S), species, table)


def recovered_curve(
    f1: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    thresholds: Sequence[float] = F1_THRESHOLDS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Species whose F1 exceeds each threshold: threshold, n_species, share, low, high.

    f1: one value per species, of `honest_scores` or `reference_scores`. The interval is of the
    share, over resamples of species with this one binning: how other species of the same kind would
    fare. It has width 0 where all or no species pass, which is no certainty.
    """
    f1_C = np.asarray(f1, dtype=np.float64)
    rows = []
    for threshold in thresholds:
        passed_C = f1_C > threshold + ROUNDING
        interval = bootstrap_interval(passed_C, rng, level=level)
        limits = {"share": interval.mean, "low": interval.low, "high": interval.high}
        rows.append({"threshold": threshold, "n_species": int(passed_C.sum())} | limits)
    return pd.DataFrame(rows)


def check_bins(
    labels: Sequence[Hashable] | np.ndarray, bins: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Species codes [S] and names [C], bin indices [S] (-1 unbinned) and ids [B]."""
    codes_S, names = label_codes(labels)
    bins_S = np.asarray(bins)
    if bins_S.shape != codes_S.shape or not np.issubdtype(bins_S.dtype, np.integer):
        raise ValueError(
            f"bins are {bins_S.dtype} of shape {bins_S.shape}, expected whole numbers of shape "
            f"{codes_S.shape}: one per contig, -1 for unbinned"
        )
    bin_names = np.unique(bins_S[bins_S >= 0])
    index_S = np.where(bins_S >= 0, np.searchsorted(bin_names, bins_S), -1)
    return codes_S, names, index_S, bin_names


def overlap(
    codes_S: np.ndarray, bins_S: np.ndarray, weights_S: np.ndarray, n_species: int
) -> np.ndarray:
    """Weight of species C in bin B, float64 [C, B]; unbinned contigs are left out."""
    overlap_CB = np.zeros((n_species, int(bins_S.max()) + 1))
    binned_S = bins_S >= 0
    np.add.at(overlap_CB, (codes_S[binned_S], bins_S[binned_S]), weights_S[binned_S])
    return overlap_CB


def score_pairs(overlap_CB: np.ndarray, total_C: np.ndarray) -> dict[str, np.ndarray]:
    """bin, completeness, purity and f1 of every species with its matched bin; 0 without one."""
    bin_C = match_bins(overlap_CB)
    has_C = bin_C >= 0
    hit_C, size_C = np.zeros(len(bin_C)), np.zeros(len(bin_C))
    hit_C[has_C] = overlap_CB[has_C, bin_C[has_C]]
    size_C[has_C] = overlap_CB.sum(0)[bin_C[has_C]]
    return {
        "bin": bin_C,
        "completeness": hit_C / np.maximum(total_C, 1),
        "purity": hit_C / np.maximum(size_C, 1),
        "f1": 2 * hit_C / np.maximum(total_C + size_C, 1),
    }


def describe_bins(
    bp_CB: np.ndarray,
    contigs_CB: np.ndarray,
    total_C: np.ndarray,
    names: np.ndarray,
    bin_names: np.ndarray,
) -> pd.DataFrame:
    """One row per bin (see `honest_scores`)."""
    first_B = bp_CB.argmax(0) if bp_CB.shape[1] else np.zeros(0, dtype=np.int64)
    most_B = bp_CB[first_B, np.arange(len(first_B))]
    purity_B = most_B / bp_CB.sum(0)
    return pd.DataFrame(
        {
            "bin": bin_names,
            "n_contigs": contigs_CB.sum(0).astype(np.int64),
            "total_bp": bp_CB.sum(0).astype(np.int64),
            "species": names[first_B],
            "purity": purity_B,
            "contamination": 1 - purity_B,
            "completeness": most_B / total_C[first_B],
        }
    )


def summarise(
    species: pd.DataFrame,
    table: pd.DataFrame,
    bp_CB: np.ndarray,
    codes_S: np.ndarray,
    bins_S: np.ndarray,
) -> dict[str, float]:
    """The summary of `honest_scores`."""
    from sklearn.metrics import adjusted_rand_score

    binned_S, total_bp, binned_bp = bins_S >= 0, float(species["total_bp"].sum()), bp_CB.sum()
    largest_bp = bp_CB.max(1).sum() if bp_CB.size else 0.0
    most_bp = bp_CB.max(0).sum() if bp_CB.size else 0.0
    summary = {
        "n_species": len(species),
        "n_bins": len(table),
        "binned_bp": float(binned_bp / total_bp),
        "binned_contigs": float(binned_S.mean()),
        "purity_bp": float(most_bp / binned_bp) if binned_bp else 0.0,
        "completeness_bp": float(largest_bp / total_bp),
        "f1": float(species["f1"].mean()),
        "f1_contigs": float(species["f1_contigs"].mean()),
        "ari_binned": float(adjusted_rand_score(codes_S[binned_S], bins_S[binned_S]))
        if binned_S.any()
        else 0.0,
    }
    for complete in COMPLETENESS:
        for contaminated in CONTAMINATION:
            good = (table["completeness"] >= complete - ROUNDING) & (
                table["contamination"] <= contaminated + ROUNDING
            )
            summary[f"bins_{complete:.0%}_{contaminated:.0%}".replace("%", "")] = int(good.sum())
    return summary
