"""Which sequences are the same? Keys that are equal for equal sequences, on either strand.

Shape suffixes: S sequences, L bases of the longest, W words.
"""

import numpy as np

from genomelm_utils.sequences.alphabet import ALPHABET, COMPLEMENT_TABLE
from genomelm_utils.sequences.kmers import kmer_codes

# Long enough that 30 bases are shared by descent rather than by chance (4^30 words), short enough
# for the shortest published sequences (40 bp); two 15-mers of 30 bits each make one exact key.
WORD_BP = 30
NO_WORD = np.iinfo(np.int64).max  # a window with an ambiguous base
PAD = len(ALPHABET)  # behind the end of a shorter sequence
_COMPLEMENT = np.append(COMPLEMENT_TABLE, np.uint8(PAD))
_BLOCK = 1 << 20  # bases at once
_SEED = 0  # of the random numbers that make the keys: any will do


def pad_codes(codes: np.ndarray | list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Base codes as one matrix uint8[S, L], filled up with PAD, and the lengths int64[S]."""
    if isinstance(codes, np.ndarray):
        return codes, np.full(len(codes), codes.shape[1], dtype=np.int64)
    lengths = np.array([len(one) for one in codes], dtype=np.int64)
    padded = np.full((len(codes), lengths.max(initial=0)), PAD, dtype=np.uint8)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(codes)
    return padded, lengths


def reverse_complement_padded(padded_SL: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The other strand of every row, again starting in column 0."""
    index = lengths[:, None] - 1 - np.arange(padded_SL.shape[1])
    flipped = _COMPLEMENT[np.take_along_axis(padded_SL, np.maximum(index, 0), axis=1)]
    flipped[index < 0] = PAD
    return flipped


def sequence_keys(codes: np.ndarray | list[np.ndarray], *, both_strands: bool = True) -> np.ndarray:
    """One 64-bit key per sequence, uint64[S], equal if and (all but surely) only if it is the same.

    With `both_strands` a sequence and its reverse complement have the same key. The key is the sum
    of one random number per (position, base), so two different sequences of any fixed pair collide
    with probability 2^-64; among 10^5 sequences that is 3e-10 altogether.
    Source: Zobrist 1970, Univ. of Wisconsin technical report 88 (with sums for exclusive or).
    """
    padded, lengths = pad_codes(codes)
    rng = np.random.default_rng(_SEED)
    numbers = rng.integers(0, 2**64, (padded.shape[1], PAD + 1), dtype=np.uint64)
    numbers[:, PAD] = 0
    keys = _sum_numbers(padded, numbers)
    if not both_strands:
        return keys
    return np.minimum(keys, _sum_numbers(reverse_complement_padded(padded, lengths), numbers))


def _sum_numbers(padded_SL: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    columns = np.arange(padded_SL.shape[1])
    n_rows = max(_BLOCK // max(padded_SL.shape[1], 1), 1)
    keys = np.empty(len(padded_SL), dtype=np.uint64)
    for row in range(0, len(padded_SL), n_rows):
        block = slice(row, row + n_rows)
        keys[block] = numbers[columns, padded_SL[block]].sum(axis=1, dtype=np.uint64)
    return keys


def word_keys(codes: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """The 30-mer at every position as an exact number, the same for both strands: int64[S, W].

    NO_WORD where the window holds an ambiguous base or reaches over the sequence's end.
    """
    padded, _ = pad_codes(codes)
    forward = _forward_words(padded)
    backward = _forward_words(_COMPLEMENT[padded[:, ::-1]])[:, ::-1]
    return np.minimum(forward, backward)


def _forward_words(padded_SL: np.ndarray) -> np.ndarray:
    half = WORD_BP // 2
    if padded_SL.shape[1] < WORD_BP:
        return np.empty((len(padded_SL), 0), dtype=np.int64)
    halves = kmer_codes(padded_SL, half)
    left, right = halves[:, :-half].astype(np.int64), halves[:, half:]
    words = (left << 2 * half) | right
    words[(left < 0) | (right < 0)] = NO_WORD
    return words


def distinct(values: np.ndarray) -> np.ndarray:
    """The sorted distinct values (numpy's own `unique` hashes, at ten times the price here)."""
    ordered = np.sort(values, axis=None)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def is_among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which values are found among sorted ones: bool, in the shape of `values`."""
    if not len(ordered):
        return np.zeros(values.shape, dtype=bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


def count_repeats(keys: np.ndarray) -> int:
    """How many of the keys have been seen before."""
    return len(keys) - len(distinct(keys))


def is_first(keys: np.ndarray) -> np.ndarray:
    """Which keys are seen for the first time: bool, in the order given."""
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first
