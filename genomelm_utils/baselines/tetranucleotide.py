"""Species from composition: frequencies of 4-mers (TNF), folded over strands, or projected (TNF-K).

What the model has to beat. Words are in A, C, G, T order throughout. Windows that hold an ambiguous
base are not counted; a sequence without a single countable window has no frequencies and is named
in an error, never a row of NaN.

Shapes: S sequences, K = 4**k words, C canonical words (136 for k = 4), F kernel dimensions (103).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from genomelm_utils.baselines.word_counts import count_words
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import revcomp_codes
from genomelm_utils.tasks.windows import Codes
from genomelm_utils.tokenizers.kmer import N_SPECIAL, token_of_code

K_TNF = 4
KERNEL_ORDERS = ("acgt", "reference")
_TOLERANCE = 1e-9  # of unit vectors: rank decisions in float64, true residues are above 0.3


def tnf(codes: Codes, k: int = K_TNF) -> np.ndarray:
    """Frequencies of the k-mers of each sequence as written: float32 [S, 4**k], rows sum to 1.

    Rows of a sequence and of its reverse complement differ: use `canonical_tnf` where the strand is
    chance, as it is in contigs and reads.

    Args:
        codes: base codes, uint8 [S, L] or a list of uint8 arrays of any lengths; nothing is padded.
        k: 1..8.

    Raises:
        ValueError: no sequence, not base codes, or a sequence without k definite bases in a row
            (its index, 0-based, is named; `find_countable` tells them apart beforehand).
    """
    freq_SK, n_windows_S = count_words(codes, k, as_shares=True)
    empty = np.flatnonzero(n_windows_S == 0)
    if len(empty):
        raise ValueError(
            f"sequence {empty[0]} (0-based; {len(empty)} of {len(freq_SK)} in all) has no {k} "
            "definite bases in a row, so it has no k-mer frequencies; leave such sequences out "
            "(baselines.tetranucleotide.find_countable)"
        )
    return freq_SK


def canonical_tnf(codes: Codes, k: int = K_TNF) -> np.ndarray:
    """Frequencies of k-mers with their reverse complements: float32 [S, C], rows sum to 1.

    A sequence and its reverse complement have the same row. C is 136 for k = 4, 512 for k = 5, 2080
    for k = 6. A word that is its own reverse complement counts once, as written. Errors as `tnf`.
    """
    return fold_strands(tnf(codes, k), k)


def fold_strands(freq_SK: np.ndarray, k: int = K_TNF) -> np.ndarray:
    """[S, C] sums over each word and its reverse complement, columns in `canonical_codes` order."""
    kept_C = canonical_codes(k)
    partner_C = revcomp_codes(k)[kept_C]
    return freq_SK[:, kept_C] + freq_SK[:, partner_C] * (partner_C != kept_C)


def canonical_codes(k: int) -> np.ndarray:
    """int64 [C]: codes of the words that do not come after their reverse complement."""
    return np.flatnonzero(np.arange(N_BASES**k) <= revcomp_codes(k))


def tnf_k(codes: Codes, order: str = "acgt") -> np.ndarray:
    """TNF in the 103 dimensions that are free to vary: float32 [S, 103].

    (frequencies - 1/256) times `tnf_kernel(order)`. With the corrected order a sequence and its
    reverse complement have nearly the same row (what is left is their two ends). Errors as `tnf`.
    """
    kernel_KF = tnf_kernel(order).astype(np.float32)
    return (tnf(codes) - np.float32(N_BASES**-K_TNF)) @ kernel_KF


@cache
def tnf_kernel(order: str = "acgt") -> np.ndarray:
    """Orthonormal basis float64 [256, 103] of the 4-mer frequencies that carry information.

    The null space of: frequencies sum to a constant; f(w) = f(reverse complement of w); every 3-mer
    is left as often as it is entered, sum_x f(x abc) = sum_x f(abc x). Any basis gives the same
    distances; this one (Gram-Schmidt over the projector's columns in word order) does not depend on
    the linear algebra library. Read-only.

    Args:
        order: "acgt", or "reference": the rows as DNABERT-S reads them, multiplied with words in
            A, T, C, G order. That undoes the folding of the strands; kept to reproduce its
            published TNF-K (distances do not depend on the basis in this order either).

    Source: VAMB (Nissen et al. 2021, doi 10.1038/s41587-020-00777-4); Kislyuk et al. 2009
    (doi 10.1186/1471-2105-10-316) for the constraints.
    """
    if order not in KERNEL_ORDERS:
        raise ValueError(f"order is {order!r}, expected one of {', '.join(KERNEL_ORDERS)}")
    if order == "reference":
        kernel_KF = tnf_kernel("acgt")[published_rows(K_TNF)]
    else:
        constraints = _constraints()
        identity = np.eye(constraints.shape[1])
        kernel_KF = _orthonormalise(identity - np.linalg.pinv(constraints) @ constraints)
    kernel_KF.setflags(write=False)
    return kernel_KF


def published_rows(k: int) -> np.ndarray:
    """int64 [4**k]: for each word in A, C, G, T order its row in an array in A, T, C, G order.

    DNABERT-S orders its words like the vocabulary files of DNABERT.
    """
    return token_of_code(k).astype(np.int64) - N_SPECIAL


def find_countable(
    codes: Codes, names: Sequence[str] | None = None, k: int = K_TNF
) -> tuple[np.ndarray, pd.DataFrame]:
    """(kept bool [S], skipped): which sequences have k-mer frequencies, and the others with reason.

    skipped: DataFrame(name, reason), names are indices (0-based) where none are given.
    """
    kept_S = count_words(codes, k)[1] > 0
    if names is not None and len(names) != len(kept_S):
        raise ValueError(f"{len(names)} names for {len(kept_S)} sequences, expected one for each")
    rows = [
        {
            "name": names[i] if names is not None else str(i),
            "reason": f"no {k} definite bases in a row among {len(codes[i])} bp",
        }
        for i in np.flatnonzero(~kept_S)
    ]
    return kept_S, pd.DataFrame(rows, columns=["name", "reason"])


def _constraints() -> np.ndarray:
    """One row per linear condition on 4-mer frequencies, [1 + 256 + 64, 256]."""
    n_words, n_cores = N_BASES**K_TNF, N_BASES ** (K_TNF - 1)
    identity, cores = np.eye(n_words), np.arange(n_cores)
    flow = np.zeros((n_cores, n_words))
    for base in range(N_BASES):
        flow[cores, base * n_cores + cores] += 1
        flow[cores, cores * N_BASES + base] -= 1
    return np.vstack([np.ones((1, n_words)), identity - identity[revcomp_codes(K_TNF)], flow])


def _orthonormalise(projector_KK: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the projector's columns, taken from left to right."""
    basis_KF = np.empty((len(projector_KK), 0))
    for column_K in projector_KK.T:
        for _ in range(2):  # the second pass removes what rounding left of the first
            column_K = column_K - basis_KF @ (basis_KF.T @ column_K)
        norm = np.linalg.norm(column_K)
        if norm > _TOLERANCE:
            basis_KF = np.column_stack([basis_KF, column_K / norm])
    return basis_KF
