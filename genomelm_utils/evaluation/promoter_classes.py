"""How well are promoters classified? Yes or no for each output, or bins of counts; intervals.

Shapes: S sequences, C outputs, K clusters, R resamples, J cells, B bins, N rows of one output.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.promoter_activity import (
    COLUMNS,
    check_values,
    keep_subset,
    make_resamples,
    tidy_scores,
)
from genomelm_utils.evaluation.regression_moments import (
    mean_defined,
    mid_ranks,
    rank_correlations,
)

BINARY_METRICS = ("accuracy", "precision", "recall", "f1", "mcc", "auc", "auprc")
BINNED_METRICS = ("accuracy", "f1", "rho")
THRESHOLD = 0.5  # of a probability; 0.5 itself is 'no', as in `evaluation.metrics`
RULES = ("corrected", "reference")
_VALUES_PER_BLOCK = 1 << 22  # resamples x rows held at a time


def binary_scores(
    labels_SC: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    numbers_SC: np.ndarray | None = None,
    clusters_S: Sequence[int] | np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy, precision, recall, F1, MCC, AUC, AUPRC of every model: as `activity_scores`.

    Columns: model, output, subset, metric, mean, low, high, n, share (of positives, the chance
    level of AUPRC). Precision, recall and F1 are those of class 1; degenerate cases as in
    `evaluation.metrics`. Output 'mean': mean over outputs.

    Args:
        labels_SC: 0 or 1, NaN = unknown. predictions: model -> probabilities [S, C] of class 1 (not
            logits: whether a batch of logits looks like probabilities is chance).
        numbers_SC: what the labels were made from; then also for its 'top' and 'bottom' tenth.
    Raises: ValueError for labels that are not 0, 1 or NaN, or probabilities outside [0, 1].
    """
    labels_SC = check_values(labels_SC, outputs)
    odd_SC = ~np.isnan(labels_SC) & (labels_SC != 0) & (labels_SC != 1)
    if odd_SC.any():
        row, column = np.argwhere(odd_SC)[0]
        raise ValueError(
            f"label of row {row}, {outputs[column]!r} is {labels_SC[row, column]}, expected 0, 1 "
            "or NaN"
        )
    code_S, counts_RK = make_resamples(len(labels_SC), clusters_S, n_resamples, seed)
    masks = {"all": labels_SC}
    if numbers_SC is not None:
        numbers_SC = check_values(numbers_SC, outputs)
        for subset in ("top", "bottom"):
            kept_SC = ~np.isnan(keep_subset(numbers_SC, subset))
            masks[subset] = np.where(kept_SC, labels_SC, np.nan)
    parts = []
    for model, p_SC in predictions.items():
        p_SC = np.asarray(p_SC, np.float64)
        if p_SC.shape != labels_SC.shape or not ((p_SC >= 0) & (p_SC <= 1)).all():
            raise ValueError(
                f"model {model!r}: probabilities of shape {list(p_SC.shape)} from "
                f"{np.min(p_SC):g} to {np.max(p_SC):g}, expected {list(labels_SC.shape)} from 0 "
                "to 1; take the sigmoid of logits"
            )
        for subset, y_SC in masks.items():
            scores = _per_output(
                BINARY_METRICS,
                [(y_SC[:, c], p_SC[:, c]) for c in range(len(outputs))],
                code_S,
                counts_RK,
                _binary_metrics,
            )
            table = tidy_scores(scores, y_SC, outputs, model, subset, level)
            known_SC = ~np.isnan(y_SC)
            share_C = np.where(known_SC, y_SC, 0).sum(0) / np.maximum(known_SC.sum(0), 1)
            table["share"] = np.tile([*share_C, share_C.mean()], len(BINARY_METRICS))
            parts.append(table)
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "share"])
    )


def binned_scores(
    bins_SJ: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    cells: Sequence[str],
    *,
    clusters_S: Sequence[int] | np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy, macro F1 over bins that occur, and rho of the expected bin: as `activity_scores`.

    bins_SJ: bin of each cell, NaN = unknown. predictions: model -> probabilities [S, J, B].
    Raises: ValueError for bins out of range, or rows that are no distribution.
    """
    bins_SJ = check_values(bins_SJ, cells)
    code_S, counts_RK = make_resamples(len(bins_SJ), clusters_S, n_resamples, seed)
    parts = []
    for model, p_SJB in predictions.items():
        p_SJB = np.asarray(p_SJB, np.float64)
        n_bins = p_SJB.shape[-1]
        known = bins_SJ[~np.isnan(bins_SJ)]
        whole = p_SJB.shape[:2] == bins_SJ.shape and np.allclose(p_SJB.sum(-1), 1, atol=1e-3)
        if not whole or (known != known.astype(int)).any() or not (known < n_bins).all():
            raise ValueError(
                f"model {model!r}: probabilities of shape {list(p_SJB.shape)} for bins "
                f"{known.min():g} to {known.max():g} of {len(cells)} cells, expected distributions "
                "[sequences, cells, bins] (expected_bins and split_bins take logits)"
            )
        scores = _per_output(
            BINNED_METRICS,
            [(bins_SJ[:, j], p_SJB[:, j]) for j in range(len(cells))],
            code_S,
            counts_RK,
            _binned_metrics,
        )
        parts.append(tidy_scores(scores, bins_SJ, cells, model, "all", level))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def split_bins(logits_SX: np.ndarray, n_cells: int, rule: str = "corrected") -> np.ndarray:
    """Probabilities [S, J, B] of logits [S, J x B] of several cells beside each other.

    rule: 'corrected' is a distribution for each cell. 'reference' takes one softmax over the logits
    of all cells: a cell's numbers then sum to less than 1 and fall when another cell's logits rise.
    Source: Reddy et al. 2023, code, `eval_transfer_performance`.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")
    logits_SX = np.asarray(logits_SX, np.float64)
    if logits_SX.ndim != 2 or logits_SX.shape[1] % n_cells:
        raise ValueError(
            f"logits have shape {list(logits_SX.shape)}, expected [sequences, {n_cells} cells x "
            "bins]"
        )
    logits_SJB = logits_SX.reshape(len(logits_SX), n_cells, -1)
    axes = -1 if rule == "corrected" else (1, 2)
    raised_SJB = np.exp(logits_SJB - logits_SJB.max(axis=axes, keepdims=True))
    return raised_SJB / raised_SJB.sum(axis=axes, keepdims=True)


def expected_bins(
    logits: Sequence[np.ndarray], n_cells: int, rule: str = "corrected"
) -> np.ndarray:
    """Expected bin [S, J], sum of b p_b, of the mean distribution of several heads.

    logits: one [S, J x B] for each head (SuRE has one for each genome). rule: see `split_bins`.
    """
    p_SJB = np.mean([split_bins(one, n_cells, rule) for one in logits], axis=0)
    return p_SJB @ np.arange(p_SJB.shape[-1])


def _per_output(
    metrics: Sequence[str],
    columns: Sequence[tuple[np.ndarray, np.ndarray]],
    code_S: np.ndarray,
    counts_RK: np.ndarray,
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Metric -> [R, C + 1] of (labels, predictions) of each output, then their mean."""
    found = {name: np.full((len(counts_RK), len(columns)), np.nan) for name in metrics}
    for c, (y_S, p_S) in enumerate(columns):
        rows_N = np.flatnonzero(~np.isnan(y_S))
        if not len(rows_N):
            continue
        y_N, p_N = y_S[rows_N].astype(int), p_S[rows_N]
        block = max(1, _VALUES_PER_BLOCK // len(rows_N))
        for begin in range(0, len(counts_RK), block):
            weight_RN = counts_RK[begin : begin + block][:, code_S[rows_N]].astype(np.float64)
            for name, values_R in measure(y_N, p_N, weight_RN).items():
                found[name][begin : begin + block, c] = values_R
    return {
        name: np.concatenate([values_RC, mean_defined(values_RC)[:, None]], axis=1)
        for name, values_RC in found.items()
    }


def _binary_metrics(
    y_N: np.ndarray, p_N: np.ndarray, weight_RN: np.ndarray
) -> dict[str, np.ndarray]:
    said_N = p_N > THRESHOLD
    tp, fp = weight_RN @ (said_N & (y_N == 1)), weight_RN @ (said_N & (y_N == 0))
    fn, tn = weight_RN @ (~said_N & (y_N == 1)), weight_RN @ (~said_N & (y_N == 0))
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "accuracy": (tp + tn) / weight_RN.sum(1),
        "precision": tp / np.maximum(tp + fp, 1),
        "recall": tp / np.maximum(tp + fn, 1),
        "f1": 2 * tp / np.maximum(2 * tp + fp + fn, 1),
        "mcc": np.where(spread > 0, (tp * tn - fp * fn) / np.sqrt(np.maximum(spread, 1)), 0),
        "auc": _auc(y_N, p_N, weight_RN),
        "auprc": _average_precision(y_N, p_N, weight_RN),
    }


def _auc(y_N: np.ndarray, p_N: np.ndarray, weight_RN: np.ndarray) -> np.ndarray:
    """As `metrics.roc_auc`, of rows that stand `weight` times each."""
    positive_RN = weight_RN * (y_N == 1)
    n_positive = positive_RN.sum(1)
    n_negative = weight_RN.sum(1) - n_positive
    rank_sum = (positive_RN * mid_ranks(p_N, weight_RN)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _average_precision(y_N: np.ndarray, p_N: np.ndarray, weight_RN: np.ndarray) -> np.ndarray:
    """As `metrics.average_precision`, of rows that stand `weight` times each."""
    order_N = np.argsort(-p_N, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(p_N[order_N])), len(p_N) - 1)
    total_RG = weight_RN[:, order_N].cumsum(1)[:, last_of_tie]
    hits_RG = (weight_RN * (y_N == 1))[:, order_N].cumsum(1)[:, last_of_tie]
    gain_RG = np.diff(hits_RG, axis=1, prepend=0)
    n_positive = np.maximum(hits_RG[:, -1], 1)
    return (hits_RG / np.maximum(total_RG, 1) * gain_RG).sum(1) / n_positive


def _binned_metrics(
    y_N: np.ndarray, p_NB: np.ndarray, weight_RN: np.ndarray
) -> dict[str, np.ndarray]:
    n_bins = p_NB.shape[1]
    bins = np.arange(n_bins)
    said_N = p_NB.argmax(1)
    true_RB, said_RB = (weight_RN @ (labels[:, None] == bins) for labels in (y_N, said_N))
    hit_RB = weight_RN @ ((y_N[:, None] == bins) & (said_N[:, None] == bins))
    occurs_RB = true_RB + said_RB > 0
    f1_RB = 2 * hit_RB / np.maximum(true_RB + said_RB, 1)
    return {
        "accuracy": hit_RB.sum(1) / weight_RN.sum(1),
        "f1": (f1_RB * occurs_RB).sum(1) / occurs_RB.sum(1),
        "rho": rank_correlations(y_N.astype(np.float64), p_NB @ bins, weight_RN),
    }
