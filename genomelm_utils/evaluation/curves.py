"""ROC and precision-recall curves from probabilities, with pointwise intervals.

The released code draws both from predicted classes, which leaves three points.

Shapes: S sequences, P points of a curve, R resamples.
"""

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.class_scores import resample_groups

N_POINTS = 101
N_RESAMPLES = 200


def roc_points(scores_S: np.ndarray, positive_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of every threshold, from (0, 0) to (1, 1); ties enter together.

    Raises: ValueError unless there are positives and negatives.
    Source: Fawcett 2006, Pattern Recognition Letters 27:861, algorithm 1.
    """
    hits_P, taken_P, n_positive, n_negative = _count_hits(scores_S, positive_S)
    true_P = np.append(0, hits_P) / n_positive
    false_P = np.append(0, taken_P - hits_P) / n_negative
    return false_P, true_P


def pr_points(scores_S: np.ndarray, positive_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of every threshold; starts at recall 0 with the first precision.

    Steps, not lines, join the points. Source: Davis and Goadrich 2006 (ICML).
    """
    hits_P, taken_P, n_positive, _ = _count_hits(scores_S, positive_S)
    precision_P = hits_P / taken_P
    return np.append(0, hits_P / n_positive), np.append(precision_P[0], precision_P)


def curve_table(
    scores_S: np.ndarray,
    positive_S: np.ndarray,
    rng: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    n_points: int = N_POINTS,
    n_resamples: int = N_RESAMPLES,
    level: float = 0.95,
) -> pd.DataFrame:
    """Columns curve ('roc', 'pr'), x, y, low, high, chance: both curves on a grid of x.

    x: false positive rate, or recall. y: true positive rate, or precision. low, high: pointwise
    percentile bootstrap over groups of rows (None: over rows); resamples of one class do not count.
    chance: y of a model that knows nothing (x itself, or the share of positives).
    """
    scores_S, positive_S = np.asarray(scores_S, float), np.asarray(positive_S, bool)
    grid_P = np.linspace(0, 1, n_points)
    curves = {"roc": _roc_at(scores_S, positive_S, grid_P)}
    curves["pr"] = _pr_at(scores_S, positive_S, grid_P)
    drawn = [
        rows
        for rows in resample_groups(len(scores_S), groups, rng, n_resamples)
        if 0 < positive_S[rows].sum() < len(rows)
    ]
    parts = []
    for name, read in (("roc", _roc_at), ("pr", _pr_at)):
        low_P, high_P = np.full((2, n_points), np.nan)
        if drawn:
            found_RP = np.array([read(scores_S[rows], positive_S[rows], grid_P) for rows in drawn])
            low_P, high_P = np.quantile(found_RP, [(1 - level) / 2, (1 + level) / 2], axis=0)
        chance = grid_P if name == "roc" else np.full(n_points, positive_S.mean())
        parts.append(
            pd.DataFrame(
                {
                    "curve": name,
                    "x": grid_P,
                    "y": curves[name],
                    "low": low_P,
                    "high": high_P,
                    "chance": chance,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _count_hits(scores_S, positive_S) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Positives and rows above each distinct threshold, highest first; and how many of both."""
    scores_S, positive_S = np.asarray(scores_S, float), np.asarray(positive_S, bool)
    n_positive = int(positive_S.sum())
    if not 0 < n_positive < len(positive_S):
        raise ValueError(
            f"{n_positive} of {len(positive_S)} rows are positive, expected both classes"
        )
    order_S = np.argsort(-scores_S, kind="stable")
    last_P = np.append(np.flatnonzero(np.diff(scores_S[order_S])), len(scores_S) - 1)
    hits_P = np.cumsum(positive_S[order_S])[last_P]
    return hits_P, last_P + 1, n_positive, len(positive_S) - n_positive


def _roc_at(scores_S, positive_S, grid_P) -> np.ndarray:
    false_P, true_P = roc_points(scores_S, positive_S)
    # of several points with one false positive rate the highest counts, from x = 0 on
    last = np.append(np.flatnonzero(np.diff(false_P)), len(false_P) - 1)
    return np.interp(grid_P, false_P[last], true_P[last])


def _pr_at(scores_S, positive_S, grid_P) -> np.ndarray:
    recall_P, precision_P = pr_points(scores_S, positive_S)
    return precision_P[np.minimum(np.searchsorted(recall_P, grid_P), len(recall_P) - 1)]
