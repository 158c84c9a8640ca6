"""Is a gene expressed, or not? AUC and AUPRC per tissue, with intervals over clusters.

For classification mode. Only the order of predictions counts, so methods that predict labels can
stand beside one that predicts probabilities.

Shapes: S sequences, T tissues, R resamples, K clusters, N measured rows of a tissue, G groups of
equal predictions.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.regression_moments import (
    cluster_codes,
    draw_clusters,
    quantile_interval,
)

METRICS = ("auc", "auprc")
MEAN = "mean"
VALUES_PER_BLOCK = 1 << 22  # weights held at a time: resamples x rows


def evaluate_expressed(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    tissues: Sequence[str],
    *,
    theta_tpm: float,
    clusters_S: Sequence[int] | np.ndarray,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Columns model, tissue, metric (auc, auprc), mean, low, high, n, share.

    Is expression of at least `theta_tpm` told from less? Tissue 'mean': mean over the tissues where
    the score is defined (both kinds of genes measured). share: of expressed genes, which is the
    auprc of chance. auprc: average precision, equal predictions taken together. Intervals:
    percentile bootstrap over whole clusters, the same resamples for every method.

    tpm_ST: NaN = not measured. predictions: method -> [S, T], larger = rather expressed.
    clusters_S: -1 = on its own. Raises: ValueError for shapes that do not fit, predictions that are
    not finite, or a tissue without any measured row.
    """
    counts_RK, code_S = _draw(tpm_ST, predictions, tissues, clusters_S, n_resamples, seed)
    known_ST = ~np.isnan(tpm_ST)
    share_T = (np.where(known_ST, tpm_ST, 0) >= theta_tpm).sum(0) / known_ST.sum(0)
    names = [*tissues, MEAN]
    n_C = [*known_ST.sum(0), known_ST.sum()]
    share_C = [*share_T, share_T.mean()]
    parts = []
    for model, p_ST in predictions.items():
        found = resample_expressed(tpm_ST, p_ST, theta_tpm, code_S, counts_RK)
        for metric, values_RC in found.items():
            low_C, high_C = quantile_interval(values_RC[1:], level)
            columns = {"mean": values_RC[0], "low": low_C, "high": high_C, "n": n_C}
            rows = {"model": model, "tissue": names, "metric": metric, **columns, "share": share_C}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def compare_expressed(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    tissues: Sequence[str],
    *,
    theta_tpm: float,
    clusters_S: Sequence[int] | np.ndarray,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """All pairs of methods on the same resamples: columns as of `regression.compare_models`."""
    counts_RK, code_S = _draw(tpm_ST, predictions, tissues, clusters_S, n_resamples, seed)
    found = {
        name: resample_expressed(tpm_ST, p_ST, theta_tpm, code_S, counts_RK)
        for name, p_ST in predictions.items()
    }
    n_T = (~np.isnan(tpm_ST)).sum(0)
    rows = []
    for a, b in combinations(found, 2):
        for metric in METRICS:
            gap_RC = found[a][metric] - found[b][metric]
            low_C, high_C = quantile_interval(gap_RC[1:], level)
            columns = ([*tissues, MEAN], gap_RC[0], low_C, high_C, [*n_T, n_T.sum()])
            rows += [(a, b, t, metric, *rest) for t, *rest in zip(*columns, strict=True)]
    return pd.DataFrame(
        rows, columns=["a", "b", "tissue", "metric", "difference", "low", "high", "n"]
    )


def resample_expressed(
    tpm_ST: np.ndarray,
    p_ST: np.ndarray,
    theta_tpm: float,
    code_S: np.ndarray,
    counts_RK: np.ndarray,
) -> dict[str, np.ndarray]:
    """Metric -> [R, T + 1] of every resample (a row of counts_RK): tissues, mean over tissues."""
    n_tissues = tpm_ST.shape[1]
    found = {name: np.full((len(counts_RK), n_tissues + 1), np.nan) for name in METRICS}
    for column in range(n_tissues):
        rows_N = np.flatnonzero(~np.isnan(tpm_ST[:, column]))
        expressed_N = tpm_ST[rows_N, column] >= theta_tpm
        p_N = np.asarray(p_ST, np.float64)[rows_N, column]
        block = max(1, VALUES_PER_BLOCK // len(rows_N))
        for begin in range(0, len(counts_RK), block):
            weight_RN = counts_RK[begin : begin + block][:, code_S[rows_N]]
            scores = weighted_areas(expressed_N, p_N, weight_RN)
            for name, values_R in zip(METRICS, scores, strict=True):
                found[name][begin : begin + block, column] = values_R
    for values_RC in found.values():
        known_RT = ~np.isnan(values_RC[:, :-1])
        sums_R = np.where(known_RT, values_RC[:, :-1], 0).sum(1)
        n_R = known_RT.sum(1)
        values_RC[:, -1] = np.where(n_R > 0, sums_R / np.maximum(n_R, 1), np.nan)
    return found


def weighted_areas(
    expressed_N: np.ndarray, p_N: np.ndarray, weight_RN: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(AUC [R], average precision [R]) of rows that stand `weight` times each.

    NaN where one of the two kinds is missing. Source: AUC as the share of pairs in the right order,
    ties half (Hanley & McNeil 1982, Radiology 143:29); average precision as scikit-learn defines
    it, the sum of precision times gain in recall over falling thresholds.
    """
    order_N = np.argsort(-p_N, kind="stable")
    sorted_N = p_N[order_N]
    first_G = np.flatnonzero(np.append(True, sorted_N[1:] != sorted_N[:-1]))
    weight_RN = np.asarray(weight_RN, np.float64)[:, order_N]
    positive_N = expressed_N[order_N]
    hit_RG = np.add.reduceat(weight_RN * positive_N, first_G, axis=1)
    miss_RG = np.add.reduceat(weight_RN * ~positive_N, first_G, axis=1)
    hits_RG, misses_RG = hit_RG.cumsum(1), miss_RG.cumsum(1)
    n_hits_R, n_misses_R = hits_RG[:, -1], misses_RG[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auc_R = (miss_RG * (hits_RG - hit_RG / 2)).sum(1) / (n_hits_R * n_misses_R)
        precision_RG = np.nan_to_num(hits_RG / (hits_RG + misses_RG))
        auprc_R = (hit_RG * precision_RG).sum(1) / n_hits_R
    both_R = (n_hits_R > 0) & (n_misses_R > 0)
    return np.where(both_R, auc_R, np.nan), np.where(both_R, auprc_R, np.nan)


def _draw(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    tissues: Sequence[str],
    clusters_S: Sequence[int] | np.ndarray,
    n_resamples: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(counts of every cluster, the rows as they are first, code of every row's cluster)."""
    if np.shape(tpm_ST) != (len(clusters_S), len(tissues)) or not len(clusters_S):
        raise ValueError(
            f"a table of shape {list(np.shape(tpm_ST))}, {len(clusters_S)} clusters, "
            f"{len(tissues)} tissues; expected a row per cluster entry and a column per tissue"
        )
    empty = np.flatnonzero(np.isnan(tpm_ST).all(0))
    if len(empty):
        raise ValueError(f"tissue {tissues[empty[0]]!r} has no measured row, expected at least one")
    for model, p_ST in predictions.items():
        if np.shape(p_ST) != np.shape(tpm_ST) or not np.isfinite(p_ST).all():
            raise ValueError(
                f"predictions of {model!r} have shape {list(np.shape(p_ST))}, expected finite "
                f"numbers of shape {list(np.shape(tpm_ST))}"
            )
    code_S, n_clusters = cluster_codes(np.asarray(clusters_S))
    counts_RK = np.ones((1, n_clusters), np.int32)
    if n_resamples:
        counts_RK = np.concatenate([counts_RK, draw_clusters(n_clusters, n_resamples, seed)])
    return counts_RK, code_S
