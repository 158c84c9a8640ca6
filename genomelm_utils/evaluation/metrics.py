"""How good are predicted class probabilities? Full precision, degenerate cases defined.

Shapes: S sequences, C classes, P pairs of classes.
Only numpy is used, so the numbers can be had on a machine without scikit-learn (the tests compare
with it).
"""

from itertools import combinations

import numpy as np


def classification_metrics(probs_SC: np.ndarray, labels: np.ndarray) -> dict[str, float | bool]:
    """Accuracy, macro precision, recall and F1, MCC, ROC-AUC, AUPRC and a collapse flag.

    Keys: `accuracy, precision, recall, f1, mcc, auc, auprc` (floats) and `collapsed` (bool).

    probs_SC: float [S, C], C >= 2, each row a distribution; the predicted class is the largest
    entry, the first one at a tie (0.5/0.5 is class 0).
    labels: int [S], values in 0..C-1.

    Degenerate cases, so that a table never misses a row:
    - precision, recall and F1 are averaged over the classes that occur among labels or predictions;
      a class that is never predicted has precision 0, one that never occurs has recall 0;
    - MCC is 0 when only one class is predicted or only one is present;
    - AUC with C = 2 is NaN when only one class is present; with C > 2 it is the mean over the
      pairs of classes that are both present (one against one), NaN when there is no such pair;
    - AUPRC (average precision of class 1) is for C = 2 only, NaN for C > 2; it is 0 when no row is
      positive. Its chance level is the share of positives, not 0.5.
    `collapsed` is True when the same class is predicted for every row: accuracy then only says
    how frequent that class is.

    Errors: ValueError for wrong shapes, labels out of range, rows that are not distributions.

    Source: the set of metrics is the one of the GeneMask and DNABERT fine-tuning scripts (there cut
    to five characters); one against one: Hand and Till 2001, Machine Learning 45:171; MCC for
    several classes: Gorodkin 2004, Comput Biol Chem 28:367; average precision: the step-wise sum
    over distinct thresholds, without interpolation.
    """
    probs_SC, labels_S = check_predictions(probs_SC, labels)
    n_classes = probs_SC.shape[1]
    predicted_S = probs_SC.argmax(axis=1)
    confusion_CC = confusion_matrix(labels_S, predicted_S, n_classes)
    precision, recall, f1 = macro_scores(confusion_CC)
    binary = n_classes == 2
    return {
        "accuracy": float(np.trace(confusion_CC) / len(labels_S)),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "mcc": matthews(confusion_CC),
        "auc": roc_auc(probs_SC[:, 1], labels_S) if binary else auc_one_vs_one(probs_SC, labels_S),
        "auprc": average_precision(probs_SC[:, 1], labels_S) if binary else float("nan"),
        "collapsed": bool((predicted_S == predicted_S[0]).all()),
    }


def check_predictions(probs_SC: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictions as float64 [S, C] and int64 [S]; ValueError says what is wrong with them."""
    probs_SC = np.asarray(probs_SC, dtype=np.float64)
    labels_S = np.asarray(labels)
    if probs_SC.ndim != 2 or probs_SC.shape[1] < 2 or len(probs_SC) == 0:
        raise ValueError(
            f"probabilities have shape {probs_SC.shape}, expected (sequences, classes) with at "
            "least one sequence and two classes; give one column per class"
        )
    if labels_S.shape != (len(probs_SC),):
        raise ValueError(
            f"labels have shape {labels_S.shape}, expected ({len(probs_SC)},): one per prediction"
        )
    if not np.array_equal(labels_S, labels_S.astype(np.int64)):
        raise ValueError(f"labels must be whole numbers, found {labels_S[:5].tolist()}")
    labels_S = labels_S.astype(np.int64)
    outside = labels_S[(labels_S < 0) | (labels_S >= probs_SC.shape[1])]
    if len(outside):
        raise ValueError(
            f"label {outside[0]} found, expected 0..{probs_SC.shape[1] - 1}: the predictions have "
            f"{probs_SC.shape[1]} columns"
        )
    wrong = ~(np.isfinite(probs_SC).all(1) & (np.abs(probs_SC.sum(1) - 1) < 1e-3))
    wrong |= (probs_SC < 0).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"row {row} of the probabilities is {probs_SC[row].tolist()}, expected numbers >= 0 "
            f"that sum to 1 ({int(wrong.sum())} such rows); apply softmax to logits first"
        )
    return probs_SC, labels_S


def confusion_matrix(labels_S: np.ndarray, predicted_S: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts int64 [C, C]: row = true class, column = predicted class."""
    flat = np.bincount(labels_S * n_classes + predicted_S, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes)


def macro_scores(confusion_CC: np.ndarray) -> tuple[float, float, float]:
    """Unweighted mean precision, recall and F1 over the classes that occur (see above)."""
    hits_C = np.diag(confusion_CC).astype(np.float64)
    true_C, predicted_C = confusion_CC.sum(1), confusion_CC.sum(0)
    occurs_C = (true_C + predicted_C) > 0
    scores = (
        hits_C / np.maximum(predicted_C, 1),
        hits_C / np.maximum(true_C, 1),
        2 * hits_C / np.maximum(true_C + predicted_C, 1),
    )
    precision, recall, f1 = (float(score[occurs_C].mean()) for score in scores)
    return precision, recall, f1


def matthews(confusion_CC: np.ndarray) -> float:
    """Correlation between true and predicted class in [-1, 1]; 0 when either is constant.

    Source: Gorodkin 2004, Comput Biol Chem 28:367 (for two classes Matthews 1975).
    """
    true_C, predicted_C = (confusion_CC.sum(axis).astype(np.float64) for axis in (1, 0))
    total = true_C.sum()
    covariance = np.trace(confusion_CC) * total - true_C @ predicted_C
    spread = (total**2 - predicted_C @ predicted_C) * (total**2 - true_C @ true_C)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


def roc_auc(scores_S: np.ndarray, positive_S: np.ndarray) -> float:
    """Probability that a positive scores above a negative, a tie as one half; NaN without both.

    Source: Mann-Whitney form, Hanley and McNeil 1982, Radiology 143:29.
    """
    positive_S = np.asarray(positive_S).astype(bool)
    n_positive = int(positive_S.sum())
    n_negative = len(positive_S) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, inverse_S, counts = np.unique(scores_S, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = mean_rank[inverse_S][positive_S].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def auc_one_vs_one(probs_SC: np.ndarray, labels_S: np.ndarray) -> float:
    """Mean AUC over the pairs of classes present, each pair in both directions.

    Rows of other classes are left out of a pair, and the two columns are not rescaled.
    Source: Hand and Till 2001, Machine Learning 45:171.
    """
    pair_auc_P = []
    for first, second in combinations(np.unique(labels_S).tolist(), 2):
        in_pair_S = (labels_S == first) | (labels_S == second)
        is_first = labels_S[in_pair_S] == first
        one = roc_auc(probs_SC[in_pair_S, first], is_first)
        other = roc_auc(probs_SC[in_pair_S, second], ~is_first)
        pair_auc_P.append((one + other) / 2)
    return float(np.mean(pair_auc_P)) if pair_auc_P else float("nan")


def average_precision(scores_S: np.ndarray, positive_S: np.ndarray) -> float:
    """Area under the precision-recall steps: sum of precision x gain in recall; 0 if no positives.

    Rows with the same score enter together, so their order does not matter.
    Source: Buckley and Voorhees 2000, as in scikit-learn's `average_precision_score`.
    """
    positive_S = np.asarray(positive_S).astype(bool)
    if not positive_S.any():
        return 0.0
    order_S = np.argsort(-np.asarray(scores_S), kind="stable")
    sorted_S = np.asarray(scores_S)[order_S]
    last_of_tie = np.append(np.flatnonzero(np.diff(sorted_S)), len(sorted_S) - 1)
    hits = np.cumsum(positive_S[order_S])[last_of_tie]
    precision = hits / (last_of_tie + 1)
    recall_gain = np.diff(hits, prepend=0) / positive_S.sum()
    return float(precision @ recall_gain)
