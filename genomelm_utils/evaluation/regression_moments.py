"""Scores of a regression from sums: any weights on the rows, many resamples at once, or a stream.

Every score but Spearman's is a function of ten sums per tissue, so a bootstrap over clusters is one
matrix product, and a set of any size is scored while it is predicted.

Shapes: S sequences, T tissues, K clusters, R resamples, N values of one tissue.
"""

from dataclasses import dataclass, field

import numpy as np

#: Sums per tissue, in this order. y: label, p: prediction, x: label in TPM, q: prediction in TPM,
#: b: the constant of the baseline.
SUMS = ("n", "y", "p", "yy", "pp", "yp", "ee", "|x-q|", "(y-b)2")
CONSTANT = 1e-12  # a variance below this share of the mean square is rounding in float32
VALUES_PER_BLOCK = 1 << 22  # resamples x values held at a time


def row_sums(
    y_ST: np.ndarray,
    p_ST: np.ndarray,
    x_ST: np.ndarray | None = None,
    q_ST: np.ndarray | None = None,
    baseline_T: np.ndarray | None = None,
) -> np.ndarray:
    """float64 [S, T, len(SUMS)]: what every label adds to the sums; zeros where y is NaN.

    Without x and q (TPM), or without a baseline, those sums are 0.
    Raises: ValueError for other shapes, or a prediction that is not finite where a label is.
    """
    y_ST, p_ST = np.asarray(y_ST, np.float64), np.asarray(p_ST, np.float64)
    if y_ST.shape != p_ST.shape or y_ST.ndim != 2:
        raise ValueError(
            f"labels have shape {list(y_ST.shape)} and predictions {list(p_ST.shape)}, expected "
            "the same [sequences, tissues]"
        )
    known_ST = ~np.isnan(y_ST)
    wrong_ST = known_ST & ~np.isfinite(p_ST)
    if wrong_ST.any():
        row, column = np.argwhere(wrong_ST)[0]
        raise ValueError(
            f"prediction of row {row}, tissue {column} (0-based) is {p_ST[row, column]}, expected "
            f"a finite number wherever a label is measured ({int(wrong_ST.sum())} such values)"
        )
    y, p = np.where(known_ST, y_ST, 0), np.where(known_ST, p_ST, 0)
    error = y - p
    tpm = 0 * y if x_ST is None else np.where(known_ST, np.abs(x_ST - q_ST), 0)
    base = 0 * y if baseline_T is None else np.where(known_ST, (y - baseline_T) ** 2, 0)
    return np.stack([known_ST, y, p, y * y, p * p, y * p, error * error, tpm, base], axis=-1)


def scores_of(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of sums [..., len(SUMS)]: r, r2, R2, mse, mae_tpm, skill; NaN where one is undefined.

    r, r2: Pearson correlation and its square, NaN for a constant prediction or label. R2: 1 -
    residual sum / sum of squares about the labels' own mean. skill: the same about a given
    baseline.
    """
    n, y, p, yy, pp, yp, ee, tpm, base = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_y, mean_p = y / n, p / n
        var_y, var_p = yy / n - mean_y**2, pp / n - mean_p**2
        flat_y, flat_p = var_y <= CONSTANT * yy / n, var_p <= CONSTANT * pp / n
        covariance = yp / n - mean_y * mean_p
        r = np.where(flat_y | flat_p, np.nan, covariance / np.sqrt(var_y * var_p))
        r2 = np.where(flat_y | flat_p, np.nan, covariance**2 / (var_y * var_p))
        big_r2 = np.where(flat_y, np.nan, 1 - ee / n / var_y)
        skill = np.where(base > 0, 1 - ee / base, np.nan)
        errors = {"mse": ee / n, "mae_tpm": tpm / n, "skill": skill}
        return {"r": r, "r2": r2, "R2": big_r2, **errors}


@dataclass
class RunningScores:
    """Scores of predictions that come batch by batch: memory does not grow with their number.

    No Spearman and no intervals, which need all values at once. `add` takes labels and predictions
    [B, T] on the transformed scale, with `x_BT`, `q_BT` in TPM for `mae_tpm`.
    """

    n_tissues: int
    baseline_T: np.ndarray | None = None
    sums_T: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.sums_T = np.zeros((self.n_tissues, len(SUMS)))

    def add(
        self,
        y_BT: np.ndarray,
        p_BT: np.ndarray,
        x_BT: np.ndarray | None = None,
        q_BT: np.ndarray | None = None,
    ) -> None:
        """Count a batch in."""
        self.sums_T += row_sums(y_BT, p_BT, x_BT, q_BT, self.baseline_T).sum(0)

    def scores(self) -> dict[str, np.ndarray]:
        """Score -> float64 [T + 2]: the tissues, pooled, and the mean over tissues."""
        return with_summaries(self.sums_T)


def with_summaries(sums_T: np.ndarray) -> dict[str, np.ndarray]:
    """Score -> [..., T + 2] of sums [..., T, len(SUMS)]: tissues, pooled, mean over tissues.

    The mean is over the tissues where the score is defined.
    """
    per_tissue, pooled = scores_of(sums_T), scores_of(sums_T.sum(-2))
    return {
        name: np.concatenate(
            [values, pooled[name][..., None], mean_defined(values)[..., None]], axis=-1
        )
        for name, values in per_tissue.items()
    }


def mean_defined(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis without NaN; NaN where nothing is left, without a warning."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, values, 0).sum(-1) / np.maximum(count, 1), np.nan)


def cluster_codes(clusters_S: np.ndarray, unclustered: int = -1) -> tuple[np.ndarray, int]:
    """int64 [S] cluster numbers 0..K-1, and K; `unclustered` rows stand for themselves."""
    clusters_S = np.asarray(clusters_S, np.int64)
    alone_S = clusters_S == unclustered
    names_S = np.where(alone_S, np.arange(len(clusters_S)), clusters_S)
    _, code_S = np.unique(np.stack([alone_S, names_S]), axis=1, return_inverse=True)
    code_S = code_S.reshape(-1)
    return code_S, int(code_S.max(initial=-1)) + 1


def draw_clusters(n_clusters: int, n_resamples: int, seed: int) -> np.ndarray:
    """int32 [R, K]: how often each cluster stands in each resample (K draws with replacement).

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap; whole clusters, because
    promoters of one cluster are near copies and no independent evidence.
    """
    rng = np.random.default_rng(seed)
    counts = [
        rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters)).astype(np.int32)
        for _ in range(n_resamples)
    ]
    return np.array(counts, np.int32).reshape(n_resamples, n_clusters)


def resample_scores(
    sums_ST: np.ndarray, code_S: np.ndarray, counts_RK: np.ndarray
) -> dict[str, np.ndarray]:
    """Score -> [R, T + 2] of every resample, from the rows' sums [S, T, len(SUMS)]."""
    n_clusters, (_, n_tissues, n_sums) = counts_RK.shape[1], sums_ST.shape
    flat_SM = sums_ST.reshape(len(sums_ST), -1)
    order_S = np.argsort(code_S, kind="stable")
    starts_K = np.searchsorted(code_S[order_S], np.arange(n_clusters))
    sums_KM = np.add.reduceat(flat_SM[order_S], starts_K, axis=0)
    sums_RM = counts_RK.astype(np.float64) @ sums_KM
    return with_summaries(sums_RM.reshape(-1, n_tissues, n_sums))


def rank_correlations(y_N: np.ndarray, p_N: np.ndarray, weight_RN: np.ndarray) -> np.ndarray:
    """Spearman's rho [R] of values that stand `weight` times each; NaN for a constant.

    Ranks are recomputed for every resample, ties share their mean rank.
    Source: Spearman 1904, Am J Psychol 15:72.
    """
    weight_RN = np.asarray(weight_RN, np.float64)
    a_RN, b_RN = mid_ranks(y_N, weight_RN), mid_ranks(p_N, weight_RN)
    total_R1 = weight_RN.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        for ranks_RN in (a_RN, b_RN):
            ranks_RN -= (weight_RN * ranks_RN).sum(1, keepdims=True) / total_R1
        products = [(weight_RN * u * v).sum(1) for u, v in ((a_RN, a_RN), (b_RN, b_RN))]
        flat_R = np.minimum(*products) <= CONSTANT * total_R1[:, 0] ** 3
        rho_R = (weight_RN * a_RN * b_RN).sum(1) / np.sqrt(products[0] * products[1])
    return np.where(flat_R, np.nan, rho_R)


def mid_ranks(values_N: np.ndarray, weight_RN: np.ndarray) -> np.ndarray:
    """Ranks [R, N] of values that stand `weight` times each; ties share their mean rank."""
    order_N = np.argsort(values_N, kind="stable")
    sorted_N = values_N[order_N]
    first_N = np.append(True, sorted_N[1:] != sorted_N[:-1])
    tied_RG = np.add.reduceat(weight_RN[:, order_N], np.flatnonzero(first_N), axis=1)
    rank_RG = np.cumsum(tied_RG, axis=1) - tied_RG / 2 + 0.5
    ranks_RN = np.empty_like(weight_RN)
    ranks_RN[:, order_N] = rank_RG[:, np.cumsum(first_N) - 1]
    return ranks_RN


def resample_ranks(
    y_ST: np.ndarray, p_ST: np.ndarray, code_S: np.ndarray, counts_RK: np.ndarray
) -> np.ndarray:
    """Spearman's rho [R, T + 2] of every resample: tissues, pooled, mean over tissues."""
    n_tissues = y_ST.shape[1]
    known_ST = ~np.isnan(y_ST)
    rho_RT = np.full((len(counts_RK), n_tissues + 1), np.nan)
    for column in range(n_tissues + 1):
        chosen = slice(None) if column == n_tissues else slice(column, column + 1)
        rows_N = np.nonzero(known_ST[:, chosen])[0]
        if not len(rows_N):
            continue
        y_N, p_N = (table[:, chosen][known_ST[:, chosen]] for table in (y_ST, p_ST))
        block = max(1, VALUES_PER_BLOCK // len(rows_N))
        for begin in range(0, len(counts_RK), block):
            weight_RN = counts_RK[begin : begin + block][:, code_S[rows_N]]
            rho_RT[begin : begin + block, column] = rank_correlations(y_N, p_N, weight_RN)
    return np.concatenate([rho_RT, mean_defined(rho_RT[:, :-1])[:, None]], axis=1)


def quantile_interval(values_RC: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """(low [C], high [C]): percentile limits over the resamples where the score is defined.

    NaN, without a warning, where none is or where there are no resamples.
    """
    low_C, high_C = np.full((2, values_RC.shape[1]), np.nan)
    for column, values_R in enumerate(values_RC.T):
        known_R = values_R[~np.isnan(values_R)]
        if len(known_R):
            limits = np.quantile(known_R, [(1 - level) / 2, (1 + level) / 2])
            low_C[column], high_C[column] = limits
    return low_C, high_C
