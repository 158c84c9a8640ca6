"""The floor for every sequence classifier: logistic regression on k-mer counts or on single bases.

Shapes: S sequences, L bases, C classes, K = 4**k words, F features.
"""

from functools import partial

import numpy as np

from genomelm_utils.baselines.composition import (
    gc_logistic,
    majority,
    sequence_lengths,
    stack_codes,
)
from genomelm_utils.baselines.word_counts import count_words
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import revcomp_codes
from genomelm_utils.tasks.linear import logistic_probs
from genomelm_utils.tasks.windows import Codes

BASELINES = ("kmer4", "kmer6", "onehot", "gc", "majority")


def kmer_counts(codes: Codes, k: int, *, both_strands: bool = False) -> np.ndarray:
    """How often each k-mer occurs in each sequence: float32 [S, 4**k], words in A, C, G, T order.

    codes: uint8 [S, L] or a list of uint8 arrays of any lengths. k: 1..8. Windows overlap; those
    that hold an ambiguous base are not counted. Counts are raw, so longer sequences have larger
    rows. both_strands: add the counts of the reverse complement, which makes rows independent of
    strand.
    """
    lengths_S = sequence_lengths(codes)
    if len(lengths_S) and lengths_S.min() == 0:
        raise ValueError(f"sequence {int(lengths_S.argmin())} (0-based) is empty")
    counts_SK = count_words(codes, k)[0]
    return counts_SK + counts_SK[:, revcomp_codes(k)] if both_strands else counts_SK


def one_hot(codes: Codes, length_bp: int | None = None) -> np.ndarray:
    """Each base as four zeros and ones: float32 [S, 4 * length_bp]; an ambiguous base is all zeros.

    length_bp: by default the longest sequence. Shorter sequences end in zeros; what lies beyond
    `length_bp` is cut off, so position i must mean the same in every sequence (aligned windows).
    """
    matrix_SL = stack_codes(codes)
    length_bp = length_bp or matrix_SL.shape[1]
    hot = np.zeros((len(matrix_SL), length_bp, N_BASES), dtype=np.float32)
    kept_SL = matrix_SL[:, :length_bp]
    hot[:, : kept_SL.shape[1]] = kept_SL[:, :, None] == np.arange(N_BASES)
    return hot.reshape(len(matrix_SL), -1)


def kmer_logistic(
    train: tuple[Codes, np.ndarray],
    test: Codes,
    k: int = 4,
    C: float = 0.1,
    *,
    both_strands: bool = False,
    n_classes: int | None = None,
) -> np.ndarray:
    """Class probabilities float64 [S, C] of a logistic regression on raw k-mer counts.

    train: (codes, labels); test: codes. The defaults are the floor that the project prints beside
    every few-shot table: on Prom-core AUC 0.648 with 10 rows per class to 0.795 with 1000.
    """
    codes, labels = train
    count = partial(kmer_counts, k=k, both_strands=both_strands)
    return logistic_probs(count(codes), labels, count(test), C, n_classes)


def one_hot_logistic(
    train: tuple[Codes, np.ndarray], test: Codes, C: float = 0.1, n_classes: int | None = None
) -> np.ndarray:
    """Class probabilities float64 [S, C] of a logistic regression on the base at each position.

    Strong where windows are aligned to a site (splice sites), useless where they are not.
    """
    codes, labels = train
    length_bp = stack_codes(codes).shape[1]
    return logistic_probs(one_hot(codes, length_bp), labels, one_hot(test, length_bp), C, n_classes)


def baseline_probs(
    name: str, train: tuple[Codes, np.ndarray], test: Codes, n_classes: int | None = None
) -> np.ndarray:
    """Class probabilities float64 [S, C] of one of the baselines in `BASELINES`.

    kmer4, kmer6: k-mer counts; onehot: base at each position; gc: GC content and length; majority:
    class shares. train: (codes, labels 0..C-1); n_classes: columns, by default largest label + 1.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline {name!r} is unknown, expected one of {', '.join(BASELINES)}")
    if name == "majority":
        return majority(train[1], len(test), n_classes)
    if name == "gc":
        return gc_logistic(train, test, n_classes=n_classes)
    if name == "onehot":
        return one_hot_logistic(train, test, n_classes=n_classes)
    return kmer_logistic(train, test, int(name.removeprefix("kmer")), n_classes=n_classes)
