"""k-mer vectors from the company k-mers keep (DNA2Vec-style), and sequences as their mean vectors.

Vectors come from a factorised table of co-occurrences, not from sampled skip-gram steps: that is
what skip-gram with negative sampling factorises (Levy & Goldberg 2014), in a second instead of
hours, and without a seed.

Shapes: S sequences, K = 4**k words in A, C, G, T order, D dimensions.
"""

from pathlib import Path

import numpy as np
from numba import njit

from genomelm_utils.baselines.tetranucleotide import K_TNF, published_rows, tnf
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import revcomp_codes
from genomelm_utils.tasks.windows import Codes

DIM = 100  # Source: dna2vec (Ng 2017, arXiv:1701.06279), and the array that DNABERT-S ships
CONTEXT_WORDS = 10  # Source: dna2vec: words looked at on each side
MAX_K = 6  # the table of pairs has 16**k cells


def train_kmer_vectors(
    codes: np.ndarray,
    runs: np.ndarray,
    *,
    k: int = K_TNF,
    dim: int = DIM,
    context_words: int = CONTEXT_WORDS,
) -> np.ndarray:
    """Vectors of all k-mers from their contexts in a genome: float32 [4**k, dim].

    Context of a word are the `context_words` words before and after it that overlap neither it nor
    each other (offsets k, 2k, ...); overlapping words would only tell that they overlap. Both
    strands are read. Vectors are U sqrt(Sigma) of the positive pointwise mutual information; the
    sign of each dimension makes its largest entry positive. No randomness. A word that the genome
    does not hold has a zero vector.

    Args:
        codes, runs: base codes uint8 [L] and definite runs int64 [R, 2] (half-open), such as the
            `.codes` and `.runs` of a `BaseStore`. No pair crosses a run's end.
        k: 1..6. dim: 1..4**k. context_words: at least 1.

    Raises:
        ValueError: an argument out of range, an ambiguous base inside a run, or no pair at all.

    Source: Ng 2017 (arXiv:1701.06279) for the task; Levy & Goldberg 2014, "Neural word embedding as
    implicit matrix factorization" (no shift, symmetric factors); dna2vec's words vary in length,
    here they do not.
    """
    pairs_KK = count_contexts(codes, runs, k=k, context_words=context_words)
    if not 1 <= dim <= len(pairs_KK):
        raise ValueError(f"dim is {dim}, expected 1..{len(pairs_KK)} (the number of {k}-mers)")
    if not pairs_KK.any():
        raise ValueError(
            f"no two {k}-mers side by side in {len(runs)} definite runs of {len(codes)} bases, "
            "expected a genome"
        )
    left_KK, weights_K, _ = np.linalg.svd(positive_pmi(pairs_KK))
    vectors_KD = left_KK[:, :dim] * np.sqrt(weights_K[:dim])
    vectors_KD[~pairs_KK.any(1)] = 0.0  # not what rounding leaves there
    largest_D = np.abs(vectors_KD).argmax(0)
    signs_D = np.where(vectors_KD[largest_D, np.arange(dim)] < 0, -1.0, 1.0)
    return (vectors_KD * signs_D).astype(np.float32)


def count_contexts(
    codes: np.ndarray, runs: np.ndarray, *, k: int = K_TNF, context_words: int = CONTEXT_WORDS
) -> np.ndarray:
    """How often two k-mers are in each other's context, both strands: int64 [4**k, 4**k].

    Symmetric, and the same for the pair of reverse complements. Arguments and errors as in
    `train_kmer_vectors`.
    """
    if not 1 <= k <= MAX_K or context_words < 1:
        raise ValueError(
            f"k is {k} and context_words {context_words}, expected 1..{MAX_K} and at least 1"
        )
    runs = np.asarray(runs, dtype=np.int64).reshape(-1, 2)
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}, expected uint8 [L]")
    if len(runs) and (runs[:, 0].min() < 0 or runs[:, 1].max() > len(codes)):
        raise ValueError(f"runs reach beyond the {len(codes)} codes; were they made from others?")
    pairs_KK = np.zeros((N_BASES**k, N_BASES**k), dtype=np.int64)
    if _count_pairs(codes, runs, k, context_words, pairs_KK) >= N_BASES:
        raise ValueError(
            "an ambiguous base inside a run, expected definite bases (0..3) only; use "
            "sequences.alphabet.definite_runs of the same codes"
        )
    pairs_KK += pairs_KK.T.copy()
    partner_K = revcomp_codes(k)
    return pairs_KK + pairs_KK[partner_K][:, partner_K]


def positive_pmi(pairs_KK: np.ndarray) -> np.ndarray:
    """max(0, log(p(a, b) / (p(a) p(b)))) of a table of pairs, 0 where a pair is never seen."""
    total = pairs_KK.sum()
    expected_KK = np.outer(pairs_KK.sum(1) / total, pairs_KK.sum(0).astype(np.float64))
    ratio_KK = np.ones_like(expected_KK)
    np.divide(pairs_KK, expected_KK, out=ratio_KK, where=expected_KK > 0)
    return np.log(np.maximum(ratio_KK, 1.0))


def read_published_vectors(path: str | Path) -> np.ndarray:
    """DNABERT-S's array of 4-mer vectors, float32 [256, 100], rows put in A, C, G, T order.

    The file has its rows in A, T, C, G order and does not say so.
    """
    vectors = np.load(path, allow_pickle=False)
    if vectors.shape != (N_BASES**K_TNF, DIM):
        raise ValueError(
            f"{path}: an array of shape {vectors.shape}, expected ({N_BASES**K_TNF}, {DIM}), the "
            "4mer_embedding.npy of DNABERT-S"
        )
    return vectors[published_rows(K_TNF)].astype(np.float32)


def kmer_vector_features(codes: Codes, vectors_KD: np.ndarray) -> np.ndarray:
    """Mean vector of the k-mers of each sequence: float32 [S, D]. k follows from the vectors.

    Depends on the strand, as in DNABERT-S's baseline. Errors: `ValueError` as in `tnf`, and for
    vectors whose number is no power of four.
    """
    k = max(round(np.log2(len(vectors_KD)) / 2), 1)
    if vectors_KD.ndim != 2 or len(vectors_KD) != N_BASES**k:
        raise ValueError(f"vectors have shape {vectors_KD.shape}, expected (4**k, D)")
    return tnf(codes, k) @ vectors_KD.astype(np.float32)


@njit(cache=True, nogil=True)
def _count_pairs(codes, runs, k, context_words, pairs_KK):  # pragma: no cover
    """Counts (earlier word, later word) into `pairs_KK`; returns the OR of all codes read.

    The last k * context_words words are kept in a ring, so a chromosome needs no array of words.
    Ambiguous codes are cut to two bits here and reported by the caller.
    """
    n_ring = k * context_words
    ring = np.zeros(n_ring, np.uint32)
    mask = np.uint32((1 << (2 * k)) - 1)
    seen = np.uint8(0)
    for r in range(len(runs)):
        word, place = np.uint32(0), 0
        for i in range(runs[r, 0], runs[r, 1]):
            seen |= codes[i]
            word = ((word << np.uint32(2)) | np.uint32(codes[i] & 3)) & mask
            n_before = i - runs[r, 0] - k + 1  # words of this run before this one
            if n_before < 0:
                continue
            at = place
            for _ in range(min(context_words, n_before // k)):
                at -= k
                if at < 0:
                    at += n_ring
                pairs_KK[ring[at], word] += 1
            ring[place] = word
            place += 1
            if place == n_ring:
                place = 0
    return seen
