"""Counts of k-mers per sequence, in one pass over sequences of any lengths; nothing is padded.

Words are in A, C, G, T order. Windows that hold an ambiguous base are not counted.

Shapes: S sequences, K = 4**k words.
"""

import numpy as np
from numba import njit

from genomelm_utils.sequences.alphabet import CODE_N, N_BASES
from genomelm_utils.tasks.windows import Codes

MAX_K = 8  # a row has 4**k numbers
BLOCK_BASES = 2**25  # bases joined at a time: bounds the copy to 32 MiB (or one sequence)


def count_words(codes: Codes, k: int, *, as_shares: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """How often each k-mer occurs: float32 [S, 4**k]; and windows counted in all: int64 [S].

    Windows overlap. Counts above 2**24 are rounded (float32).

    Args:
        codes: base codes, uint8 [S, L] or a list of uint8 arrays of any lengths. k: 1..8.
        as_shares: counts divided by the windows counted, zeros where there are none.

    Raises:
        ValueError: k out of range, no sequence, or not base codes (the sequence's index is named).
    """
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k is {k}, expected 1..{MAX_K}: a row has 4**k numbers")
    lengths_S = _checked_lengths(codes)
    counts_SK = np.zeros((len(lengths_S), N_BASES**k), dtype=np.float32)
    n_windows_S = np.zeros(len(lengths_S), dtype=np.int64)
    ends_S = np.cumsum(lengths_S)
    begin = 0
    while begin < len(lengths_S):
        before = ends_S[begin] - lengths_S[begin]
        end = max(begin + 1, int(np.searchsorted(ends_S, before + BLOCK_BASES, side="right")))
        joined = np.concatenate(codes[begin:end])
        starts = np.concatenate([[0], ends_S[begin:end] - before])
        if joined.max(initial=0) > CODE_N:
            at = int(joined.argmax())
            i = begin + int(np.searchsorted(starts, at, side="right")) - 1
            raise _not_codes(i, f"an array that holds {joined[at]}")
        block = slice(begin, end)
        _fill_counts(joined, starts, k, as_shares, counts_SK[block], n_windows_S[block])
        begin = end
    return counts_SK, n_windows_S


def _checked_lengths(codes: Codes) -> np.ndarray:
    """Bases of each sequence, int64 [S]; ValueError for what is not base codes."""
    if len(codes) == 0:
        raise ValueError("there is no sequence, expected at least one")
    for i, one in enumerate(codes):
        if not isinstance(one, np.ndarray) or one.dtype != np.uint8 or one.ndim != 1:
            found = f"{one.dtype} {one.shape}" if isinstance(one, np.ndarray) else type(one)
            raise _not_codes(i, found)
    return np.array([len(one) for one in codes], dtype=np.int64)


def _not_codes(i: int, found: object) -> ValueError:
    return ValueError(
        f"sequence {i} (0-based) is {found}, expected an array of uint8 base codes 0..{CODE_N}; "
        "encode text with sequences.alphabet.encode"
    )


@njit(cache=True, nogil=True)
def _fill_counts(codes, starts, k, as_shares, counts_SK, n_windows_S):  # pragma: no cover
    """Rolls one word through each sequence; an ambiguous base empties it.

    One thread, without the interpreter lock: batches are made in a background thread, where the
    thread pools of a parallel loop are not safe.
    """
    mask = np.uint32((1 << (2 * k)) - 1)
    table = np.zeros(counts_SK.shape[1], np.int64)
    for s in range(len(starts) - 1):
        table[:] = 0
        word, n_definite, n_windows = np.uint32(0), 0, 0
        for i in range(starts[s], starts[s + 1]):
            base = codes[np.uint64(i)]
            if base > 3:
                n_definite = 0
            else:
                word = ((word << np.uint32(2)) | np.uint32(base)) & mask
                n_definite += 1
                if n_definite >= k:
                    table[np.uint64(word)] += 1
                    n_windows += 1
        n_windows_S[s] = n_windows
        if n_windows:
            divisor = n_windows if as_shares else 1
            for w in range(len(table)):
                counts_SK[s, w] = table[w] / divisor
