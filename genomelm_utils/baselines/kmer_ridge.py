"""Bags of k-mers for promoters, and linear or ridge regression on them: the floor for expression.

A bag says which words a promoter holds, not where. Position-binned bags say roughly where: counts
are taken apart for stretches at given distances upstream of the TSS. Promoters are read 5' to 3',
with the TSS at (or `gap_bp` beyond) their right end.

Shapes: S promoters, L bases, F features, T tissues, K words.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numba import njit

from genomelm_utils.baselines.masked_ridge import ALPHAS, LinearFit, fit_linear, fit_ridge
from genomelm_utils.baselines.word_counts import count_words
from genomelm_utils.sequences.alphabet import ALPHABET, CODE_N, N_BASES, encode
from genomelm_utils.sequences.kmers import kmer_strings
from genomelm_utils.sequences.tss import Gaps, fill_gaps, index_of
from genomelm_utils.tasks.windows import Codes

COUNTS = ("overlapping", "reference")
#: Letters of the words in FloraBERT, in their order. Source: its released `nlp.py`.
REFERENCE_LETTERS = "ATCGN"
#: Ends of the stretches upstream of the TSS in bp: proximal 0-100, 100-300, and the rest.
#: Chosen where k-mer importance lies: brightest within 100 bp of the TSS, weak beyond 300 bp.
#: Source: FloraBERT (Levy et al. 2022, doi 10.21203/rs.3.rs-1927200/v1), figure 2.
BIN_ENDS_BP = (100, 300)
BLOCK_PROMOTERS = 4096  # counted at a time
MAX_REFERENCE_K = 6  # a row has 5**k numbers


def _letter_digits() -> np.ndarray:
    """The place of each base code among `REFERENCE_LETTERS`; -1 for the other ambiguity codes."""
    digits = np.full(256, -1, dtype=np.int8)
    for digit, letter in enumerate(REFERENCE_LETTERS):
        digits[ALPHABET.index(letter)] = digit
    return digits


_DIGITS = _letter_digits()


@dataclass(frozen=True)
class KmerFeatures:
    """How promoters become rows of k-mer counts.

    ks: word lengths, 1..6. counts: 'overlapping' counts every window of four-letter words, in A, C,
    G, T order, windows with N left out; 'reference' repeats FloraBERT's text search: words of A, T,
    C, G, N, found one after the other without overlap. bin_ends_bp: none for plain bags, such as
    `BIN_ENDS_BP` for bags by distance from the TSS; each word is counted in the bin of its base
    nearest the TSS, so that bins sum to the plain bag.
    """

    ks: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    counts: str = "overlapping"
    bin_ends_bp: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.counts not in COUNTS:
            raise ValueError(f"counts is {self.counts!r}, expected one of {', '.join(COUNTS)}")
        if not self.ks or min(self.ks) < 1 or max(self.ks) > MAX_REFERENCE_K:
            raise ValueError(f"ks is {self.ks}, expected word lengths from 1 to {MAX_REFERENCE_K}")
        ends = self.bin_ends_bp
        if any(b <= a for a, b in zip((0, *ends), ends, strict=False)):
            raise ValueError(f"bin_ends_bp is {ends}, expected rising numbers above 0")
        if ends and self.counts == "reference":
            raise ValueError("reference counts know no positions; leave bin_ends_bp empty")

    def rows(self, codes: Codes, gap_bp: Gaps = None) -> np.ndarray:
        """Counts, float32 [S, F]: bin after bin from the TSS, in each k after k, words in order.

        codes: base codes, such as `encode_promoters` gives. gap_bp: bases between the right end and
        the TSS, see `sequences.tss`. Only bins look at it.
        Four bytes per number and a block of promoters are all that is held; `blocks` holds less.
        Raises: ValueError where the rows would not fit into the machine's memory.
        """
        n_bytes = 4 * len(codes) * self.n_features
        if n_bytes > (room := _memory_bytes()):
            raise ValueError(
                f"{len(codes):,} promoters have {n_bytes / 1024**3:.0f} GiB of counts of "
                f"{self.n_features:,} words, and this machine {room / 1024**3:.0f} GiB of memory; "
                f"take shorter words than {max(self.ks)}, fewer promoters, or `blocks`"
            )
        out_SF = np.empty((len(codes), self.n_features), np.float32)
        begin = 0
        for rows_SF in self.blocks(codes, gap_bp):
            out_SF[begin : begin + len(rows_SF)] = rows_SF
            begin += len(rows_SF)
        return out_SF

    def blocks(self, codes: Codes, gap_bp: Gaps = None) -> Iterator[np.ndarray]:
        """The same rows, `BLOCK_PROMOTERS` at a time; ValueError for no promoter."""
        if not len(codes):
            raise ValueError("there is no sequence, expected at least one")
        gaps_S = fill_gaps(gap_bp, len(codes))
        for begin in range(0, len(codes), BLOCK_PROMOTERS):
            part = slice(begin, begin + BLOCK_PROMOTERS)
            if not self.bin_ends_bp:
                counts = [self._count(codes[part], k) for k in self.ks]
            else:
                counts = [
                    self._count(_cut_bin(codes[part], gaps_S[part], near_bp, far_bp, k), k)
                    for near_bp, far_bp in self._bins()
                    for k in self.ks
                ]
            yield np.concatenate(counts, axis=1)

    @property
    def n_features(self) -> int:
        """Numbers in a row."""
        n_letters = len(REFERENCE_LETTERS) if self.counts == "reference" else N_BASES
        return (1 + len(self.bin_ends_bp)) * sum(n_letters**k for k in self.ks)

    def names(self) -> list[str]:
        """What each feature counts: 'TATA', or 'TATA 0-100' for a word in a bin (bp upstream)."""
        words = [word for k in self.ks for word in self._words(k)]
        if not self.bin_ends_bp:
            return words
        labels = [f"{near}-{'' if far is None else far}" for near, far in self._bins()]
        return [f"{word} {label}" for label in labels for word in words]

    def _count(self, codes: Codes, k: int) -> np.ndarray:
        return (
            reference_counts(codes, k) if self.counts == "reference" else count_words(codes, k)[0]
        )

    def _words(self, k: int) -> list[str]:
        return reference_words(k) if self.counts == "reference" else kmer_strings(k)

    def _bins(self) -> list[tuple[int, int | None]]:
        return list(zip((0, *self.bin_ends_bp), (*self.bin_ends_bp, None), strict=True))


@dataclass(frozen=True)
class KmerRegression:
    """A linear model on k-mer counts: promoters in, predictions float32 [S, T] out."""

    features: KmerFeatures
    fit: LinearFit

    def predict(self, codes: Codes, gap_bp: Gaps = None) -> np.ndarray:
        """Predictions float32 [S, T], on the scale of the labels that the model was fitted on.

        Memory is that of a block of promoters, however many there are.
        """
        return np.concatenate([self.fit.predict(r) for r in self.features.blocks(codes, gap_bp)])


def fit_kmer_linear(codes: Codes, labels_ST: np.ndarray, features: KmerFeatures) -> KmerRegression:
    """Plain least squares on raw counts, as FloraBERT's bag of words is scored.

    labels_ST: float [S, T], NaN = not measured. Errors as `masked_ridge.fit_linear`.
    """
    return KmerRegression(features, fit_linear(features.rows(codes), labels_ST))


def fit_kmer_ridge(
    codes: Codes,
    labels_ST: np.ndarray,
    clusters_S: np.ndarray,
    features: KmerFeatures,
    seed: int,
    *,
    gap_bp: Gaps = None,
    alphas: Sequence[float] = ALPHAS,
) -> KmerRegression:
    """Ridge on standardised counts, its penalty chosen inside the training clusters.

    Arguments and errors as `masked_ridge.fit_ridge`; gap_bp as `KmerFeatures.rows`.
    """
    rows_SF = features.rows(codes, gap_bp)
    return KmerRegression(features, fit_ridge(rows_SF, labels_ST, clusters_S, seed, alphas=alphas))


def encode_promoters(sequences: Sequence[str]) -> list[np.ndarray]:
    """Base codes of each promoter; ValueError names the first (0-based) with another letter."""
    return [encode(text, f"promoter {i}") for i, text in enumerate(sequences)]


def reference_words(k: int) -> list[str]:
    """All 5**k words over A, T, C, G, N, in FloraBERT's order."""
    return ["".join(word) for word in product(REFERENCE_LETTERS, repeat=_checked_k(k))]


def reference_counts(codes: Codes, k: int) -> np.ndarray:
    """How often a text search finds each word without overlap: float32 [S, 5**k].

    AA is found twice in AAAA (three windows hold it). One pass with a rolling index, in place of
    one search of all promoters for each of the words. Other ambiguity codes are in no word.

    Source: FloraBERT's released `nlp.get_kmer_counts`; equal to `str.count`.
    """
    n_words = len(REFERENCE_LETTERS) ** _checked_k(k)
    if not len(codes):
        raise ValueError("there is no sequence, expected at least one")
    for i, one in enumerate(codes):
        if not isinstance(one, np.ndarray) or one.dtype != np.uint8 or one.ndim != 1:
            raise ValueError(
                f"sequence {i} (0-based) is no array of uint8 base codes 0..{CODE_N}; encode text "
                "with sequences.alphabet.encode"
            )
    counts_SK = np.zeros((len(codes), n_words), dtype=np.float32)
    ends_S = np.cumsum([len(one) for one in codes])
    digits = _DIGITS[np.concatenate(list(codes))]
    _count_apart(digits, np.concatenate([[0], ends_S]), k, counts_SK)
    return counts_SK


@njit(cache=True, nogil=True)
def _count_apart(digits, starts, k, counts_SK):  # pragma: no cover
    """A word counts where it starts at or after the end of its last counted occurrence."""
    n_words = counts_SK.shape[1]
    high = n_words // 5
    free_from = np.zeros(n_words, np.int64)
    for s in range(len(starts) - 1):
        free_from[:] = 0
        word, n_known = 0, 0
        for i in range(starts[s], starts[s + 1]):
            digit = digits[i]
            if digit < 0:
                word, n_known = 0, 0
                continue
            word = (word % high) * 5 + digit
            n_known += 1
            if n_known >= k and i - k + 1 >= free_from[word]:
                counts_SK[s, word] += 1
                free_from[word] = i + 1


def _cut_bin(
    codes: Codes, gaps_S: np.ndarray, near_bp: int, far_bp: int | None, k: int
) -> list[np.ndarray]:
    """The bases whose k-mers end `near_bp` + 1 to `far_bp` bases upstream of the TSS.

    The first bin holds what lies past the TSS too. A slice reaches k - 1 bases further up, so that
    each k-mer is in the slice of one bin only.
    """
    cut = []
    for one, gap in zip(codes, gaps_S, strict=True):
        end = min(max(index_of(-near_bp, len(one), gap), 0), len(one)) if near_bp else len(one)
        begin = 0
        if far_bp is not None:
            begin = min(max(index_of(-far_bp, len(one), gap), 0), len(one))
        cut.append(one[max(begin - (k - 1), 0) : end] if end > begin else one[:0])
    return cut


def _memory_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _checked_k(k: int) -> int:
    if not 1 <= k <= MAX_REFERENCE_K:
        raise ValueError(f"k is {k}, expected 1 to {MAX_REFERENCE_K}: a row has 5**k numbers")
    return k
