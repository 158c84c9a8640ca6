"""Scores of predicted classes as genomeNLP names them, with intervals over groups of sequences.

`f1`, `precision` and `recall` are means weighted by the frequency of the classes (a model that
always predicts a class of share p has f1 = 2 p**2 / (1 + p)); the unweighted means are `macro_*`.
Intervals resample groups, not rows: relatives are no independent evidence.

Shapes: S sequences, C classes, G groups, R resamples.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.metrics import (
    check_predictions,
    classification_metrics,
    confusion_matrix,
    roc_auc,
)

SCORES = ("accuracy", "f1", "precision", "recall", "macro_f1", "mcc", "auc", "auprc")
NEARLY_ALL = 0.99  # of the predictions in one class: collapsed
N_RESAMPLES = 1000


def score_classes(probs_SC: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """All of `SCORES`, `loss` (mean cross entropy, nats) and `largest_share`.

    `largest_share`: of the predictions, in the class that is predicted most. See
    `evaluation.metrics.classification_metrics` for what degenerate cases give, and errors.
    """
    probs_SC, labels_S = check_predictions(probs_SC, labels)
    metrics = classification_metrics(probs_SC, labels_S)
    predicted_S = probs_SC.argmax(1)
    weighted = weighted_scores(confusion_matrix(labels_S, predicted_S, probs_SC.shape[1]))
    likelihood = np.clip(probs_SC[np.arange(len(labels_S)), labels_S], 1e-12, 1)
    return {
        "accuracy": metrics["accuracy"],
        "f1": weighted[2],
        "precision": weighted[0],
        "recall": weighted[1],
        "macro_f1": metrics["f1"],
        "mcc": metrics["mcc"],
        "auc": metrics["auc"],
        "auprc": metrics["auprc"],
        "loss": float(-np.log(likelihood).mean()),
        "largest_share": float(np.bincount(predicted_S).max() / len(predicted_S)),
    }


def is_collapsed(scores: dict[str, float], labels: np.ndarray) -> bool:
    """Whether nearly all predictions are of one class although the labels are not."""
    shares = np.bincount(labels) / len(labels)
    return bool(scores["largest_share"] >= NEARLY_ALL > shares.max())


def weighted_scores(confusion_CC: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall, F1: means over the classes, weighted by their true frequency."""
    hits_C = np.diag(confusion_CC).astype(np.float64)
    true_C, predicted_C = confusion_CC.sum(1), confusion_CC.sum(0)
    share_C = true_C / true_C.sum()
    precision = hits_C / np.maximum(predicted_C, 1)
    recall = hits_C / np.maximum(true_C, 1)
    f1 = 2 * hits_C / np.maximum(true_C + predicted_C, 1)
    return float(share_C @ precision), float(share_C @ recall), float(share_C @ f1)


def class_table(
    probs_SC: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> pd.DataFrame:
    """A row per class: class, n_true, n_predicted, precision, recall, f1, auc (one against all)."""
    probs_SC, labels_S = check_predictions(probs_SC, labels)
    confusion_CC = confusion_matrix(labels_S, probs_SC.argmax(1), probs_SC.shape[1])
    rows = []
    for c, name in enumerate(class_names):
        hits, true, predicted = confusion_CC[c, c], confusion_CC[c].sum(), confusion_CC[:, c].sum()
        rows.append(
            {
                "class": name,
                "n_true": int(true),
                "n_predicted": int(predicted),
                "precision": hits / predicted if predicted else 0.0,
                "recall": hits / true if true else 0.0,
                "f1": 2 * hits / (true + predicted) if true + predicted else 0.0,
                "auc": roc_auc(probs_SC[:, c], labels_S == c),
            }
        )
    return pd.DataFrame(rows)


def confusion_table(
    probs_SC: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> pd.DataFrame:
    """Columns true, predicted, n, share (of the true class); a row per pair of classes."""
    probs_SC, labels_S = check_predictions(probs_SC, labels)
    confusion_CC = confusion_matrix(labels_S, probs_SC.argmax(1), probs_SC.shape[1])
    true_C = confusion_CC.sum(1)
    return pd.DataFrame(
        [
            (a, b, int(confusion_CC[i, j]), confusion_CC[i, j] / max(true_C[i], 1))
            for i, a in enumerate(class_names)
            for j, b in enumerate(class_names)
        ],
        columns=["true", "predicted", "n", "share"],
    )


def score_intervals(
    probs_SC: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    scores: Sequence[str] = SCORES,
    n_resamples: int = N_RESAMPLES,
    level: float = 0.95,
) -> pd.DataFrame:
    """Columns metric, value, low, high, n_groups: percentile bootstrap over groups of rows.

    groups: [S], None takes every row for itself. A resample in which a score is not defined (one
    class only) does not count. The model is taken as given: the interval says nothing about another
    training of it.
    """
    probs_SC, labels_S = check_predictions(probs_SC, labels)
    value = score_classes(probs_SC, labels_S)
    found = [
        score_classes(probs_SC[rows], labels_S[rows])
        for rows in resample_groups(len(labels_S), groups, rng, n_resamples)
    ]
    n_groups = len(labels_S) if groups is None else len(np.unique(groups))
    table = []
    for name in scores:
        values = np.array([one[name] for one in found])
        values = values[np.isfinite(values)]
        bounds = [np.nan, np.nan]
        if len(values):
            bounds = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
        table.append((name, value[name], *bounds, n_groups))
    return pd.DataFrame(table, columns=["metric", "value", "low", "high", "n_groups"])


def resample_groups(
    n_rows: int, groups: np.ndarray | None, rng: np.random.Generator, n_resamples: int
) -> list[np.ndarray]:
    """Row numbers of each resample: groups drawn with replacement, with all their rows."""
    if groups is None:
        return [rng.integers(0, n_rows, n_rows) for _ in range(n_resamples)]
    if len(groups) != n_rows:
        raise ValueError(f"{len(groups)} groups for {n_rows} rows, expected one per row")
    _, number = np.unique(groups, return_inverse=True)
    order = np.argsort(number, kind="stable")
    size_G = np.bincount(number)
    begin_G = np.cumsum(size_G) - size_G
    out = []
    for _ in range(n_resamples):
        drawn = rng.integers(0, len(size_G), len(size_G))
        size = size_G[drawn]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        out.append(order[np.repeat(begin_G[drawn], size) + within])
    return out
