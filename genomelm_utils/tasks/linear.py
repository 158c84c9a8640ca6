"""Logistic regression on ready-made features: the common end of all linear classifiers here.

Shapes: S sequences, F features, C classes.
"""

import numpy as np


def logistic_probs(
    features_SF: np.ndarray,
    labels: np.ndarray,
    test_SF: np.ndarray,
    C: float,
    n_classes: int | None = None,
    *,
    class_weight: str | None = None,
) -> np.ndarray:
    """Class probabilities float64 [S, C] of an L2-regularised (multinomial) logistic regression.

    features_SF, test_SF: arrays, or sparse matrices.
    C: inverse strength of the regularisation, > 0. n_classes: columns of the result, by default the
    largest label + 1; a class without training rows gets probability 0.
    class_weight: 'balanced' weighs rows by the rarity of their class, None all alike.
    Errors: ValueError when the training rows hold one class only. A fit that does not converge
    warns (scikit-learn's ConvergenceWarning).
    Source: scikit-learn `LogisticRegression` (lbfgs), its defaults otherwise.
    """
    from sklearn.linear_model import LogisticRegression

    labels, n_classes = check_labels(labels, n_classes, n_rows=features_SF.shape[0])
    present = np.unique(labels)
    if len(present) < 2:
        raise ValueError(
            f"all {len(labels)} training labels are {present[0]}, expected at least two classes"
        )
    model = LogisticRegression(C=C, max_iter=1000, class_weight=class_weight).fit(
        features_SF, labels
    )
    probs_SC = np.zeros((test_SF.shape[0], n_classes))
    probs_SC[:, present] = model.predict_proba(test_SF)
    return probs_SC


def standardise(features_SF: np.ndarray, test_SF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets scaled to mean 0, variance 1 of the first; a feature constant there becomes 0."""
    spread_F = features_SF.std(0)
    scale_F = np.where(spread_F > 1e-8, 1 / np.maximum(spread_F, 1e-8), 0.0)
    center_F = features_SF.mean(0)
    return (features_SF - center_F) * scale_F, (test_SF - center_F) * scale_F


def check_labels(
    labels: np.ndarray, n_classes: int | None = None, n_rows: int | None = None
) -> tuple[np.ndarray, int]:
    """Labels as int64 [S] and the number of classes, or a ValueError that says what is wrong."""
    found = np.asarray(labels)
    if found.ndim != 1 or len(found) == 0 or (n_rows is not None and len(found) != n_rows):
        wanted = "one or more" if n_rows is None else n_rows
        raise ValueError(f"labels have shape {found.shape}, expected {wanted}: one per sequence")
    whole = found.astype(np.int64)
    if (whole != found).any() or whole.min() < 0:
        raise ValueError(f"labels must be 0, 1, 2, ..., found {np.unique(found)[:5].tolist()}")
    needed = max(int(whole.max()) + 1, 2)
    if n_classes is not None and n_classes < needed:
        raise ValueError(f"label {needed - 1} found, but n_classes is {n_classes}")
    return whole, n_classes or needed
