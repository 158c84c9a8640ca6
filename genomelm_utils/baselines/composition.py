"""What can be told from composition alone: GC content, length, class frequencies.

A language model that does not beat these has learned nothing about the order of bases.

Shapes: S sequences, L bases, C classes, F features.
"""

from collections.abc import Sequence

import numpy as np

from genomelm_utils.sequences.alphabet import ALPHABET, CODE_N, N_BASES

Codes = np.ndarray | Sequence[np.ndarray]  # uint8 [S, L], or one uint8 [L] per sequence

IS_GC = np.array([letter in "CG" for letter in ALPHABET])


def stack_codes(codes: Codes) -> np.ndarray:
    """Base codes uint8 [S, L]; shorter sequences are filled up with N on the right.

    codes: a matrix (returned as it is) or a list of uint8 arrays of any lengths.
    Errors: ValueError for no sequence or for arrays that are not base codes.
    """
    if isinstance(codes, np.ndarray) and codes.ndim == 2:
        matrix_SL = codes
    else:
        lengths_S = sequence_lengths(codes)
        if len(lengths_S) and lengths_S.min() == 0:
            raise ValueError(f"sequence {int(lengths_S.argmin())} (0-based) is empty")
        matrix_SL = np.full((len(lengths_S), lengths_S.max(initial=0)), CODE_N, dtype=np.uint8)
        if len(lengths_S):
            inside_SL = np.arange(matrix_SL.shape[1]) < lengths_S[:, None]
            matrix_SL[inside_SL] = np.concatenate([np.asarray(one) for one in codes])
    if matrix_SL.size == 0 or matrix_SL.dtype != np.uint8 or matrix_SL.max() > CODE_N:
        raise ValueError(
            f"sequences of shape {matrix_SL.shape} and type {matrix_SL.dtype}, expected uint8 base "
            f"codes 0..{CODE_N}, at least one sequence; encode text with sequences.alphabet"
        )
    return matrix_SL


def sequence_lengths(codes: Codes) -> np.ndarray:
    """Number of bases of each sequence, int64 [S]."""
    return np.array([len(one) for one in codes], dtype=np.int64)


def gc_content(codes: Codes) -> np.ndarray:
    """Share of G and C among the definite bases (0..1, float64 [S]); 0.5 where there are none."""
    matrix_SL = stack_codes(codes)
    n_gc_S = IS_GC[matrix_SL].sum(1)
    n_definite_S = (matrix_SL < N_BASES).sum(1)
    return np.where(n_definite_S > 0, n_gc_S / np.maximum(n_definite_S, 1), 0.5)


def composition_features(codes: Codes) -> np.ndarray:
    """GC content and natural logarithm of the length: float64 [S, 2]."""
    return np.column_stack([gc_content(codes), np.log(sequence_lengths(codes))])


def gc_logistic(
    train: tuple[Codes, np.ndarray], test: Codes, C: float = 1.0, n_classes: int | None = None
) -> np.ndarray:
    """Class probabilities [S, C] of a logistic regression on GC content and log length.

    Both features are scaled to mean 0 and variance 1 on the training rows; one that does not vary
    there (equal lengths) is left out by the scaling.
    """
    codes, labels = train
    features_SF, test_SF = composition_features(codes), composition_features(test)
    spread_F = features_SF.std(0)
    scale_F = np.where(spread_F > 1e-12, 1 / np.maximum(spread_F, 1e-12), 0.0)
    center_F = features_SF.mean(0)
    return logistic_probs(
        (features_SF - center_F) * scale_F, labels, (test_SF - center_F) * scale_F, C, n_classes
    )


def majority(labels: np.ndarray, n_test: int, n_classes: int | None = None) -> np.ndarray:
    """The class shares of the training rows for every test row: [S, C]."""
    labels, n_classes = check_labels(labels, n_classes)
    shares_C = np.bincount(labels, minlength=n_classes) / len(labels)
    return np.tile(shares_C, (n_test, 1))


def logistic_probs(
    features_SF: np.ndarray,
    labels: np.ndarray,
    test_SF: np.ndarray,
    C: float,
    n_classes: int | None = None,
) -> np.ndarray:
    """Class probabilities float64 [S, C] of an L2-regularised (multinomial) logistic regression.

    C: inverse strength of the regularisation, > 0. n_classes: columns of the result, by default the
    largest label + 1; a class without training rows gets probability 0.
    Errors: ValueError when the training rows hold one class only. A fit that does not converge
    warns (scikit-learn's ConvergenceWarning).
    Source: scikit-learn `LogisticRegression` (lbfgs), its defaults otherwise.
    """
    from sklearn.linear_model import LogisticRegression

    labels, n_classes = check_labels(labels, n_classes, n_rows=len(features_SF))
    present = np.unique(labels)
    if len(present) < 2:
        raise ValueError(
            f"all {len(labels)} training labels are {present[0]}, expected at least two classes"
        )
    model = LogisticRegression(C=C, max_iter=1000).fit(features_SF, labels)
    probs_SC = np.zeros((len(test_SF), n_classes))
    probs_SC[:, present] = model.predict_proba(test_SF)
    return probs_SC


def check_labels(
    labels: np.ndarray, n_classes: int | None, n_rows: int | None = None
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
