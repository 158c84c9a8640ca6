"""What can be told from composition alone: GC content, length, class frequencies.

A language model that does not beat these has learned nothing about the order of bases.

Shapes: S sequences, L bases, C classes, F features.
"""

import numpy as np

from genomelm_utils.sequences.alphabet import ALPHABET, CODE_N, N_BASES
from genomelm_utils.tasks.linear import check_labels, logistic_probs, standardise
from genomelm_utils.tasks.windows import Codes

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
    features_SF, test_SF = standardise(features_SF, test_SF)
    return logistic_probs(features_SF, labels, test_SF, C, n_classes)


def majority(labels: np.ndarray, n_test: int, n_classes: int | None = None) -> np.ndarray:
    """The class shares of the training rows for every test row: [S, C]."""
    labels, n_classes = check_labels(labels, n_classes)
    shares_C = np.bincount(labels, minlength=n_classes) / len(labels)
    return np.tile(shares_C, (n_test, 1))
