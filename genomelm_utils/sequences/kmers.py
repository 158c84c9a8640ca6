"""k-mers as integers: base-4 numbers in A, C, G, T order, first base most significant.

So AAAAAA is 0, AAAAAC is 1, and the codes of a given k sort as the words do. A window that holds an
ambiguous base has no code (-1).

Shape suffixes: L bases, K = 4 ** k words.
"""

from itertools import product

import numpy as np

from genomelm_utils.sequences.alphabet import N_BASES, encode

BASES = "ACGT"
MAX_K = 15  # 4 ** 15 - 1 is the largest code that an int32 holds
_BLOCK = 1 << 16  # bases per block: all temporary arrays together stay in the level-2 cache


def kmer_codes(codes: np.ndarray, k: int) -> np.ndarray:
    """The code of the k-mer that starts at every base: `int32[..., L - k + 1]`, -1 if ambiguous.

    `codes` are base codes, `uint8[L]` or with leading axes (windows lie along the last one); k is
    1..15. Fewer than k bases give an empty last axis.
    """
    _check_k(k)
    *leading, length = codes.shape
    n_windows = max(length - k + 1, 0)
    out = np.empty((*leading, n_windows), dtype=np.int32)
    if not out.size:
        return out
    rows_in, rows_out = codes.reshape(-1, length), out.reshape(-1, n_windows)
    step = min(n_windows, _BLOCK)
    n_rows = max(_BLOCK // length, 1)
    for row in range(0, len(rows_in), n_rows):
        for begin in range(0, n_windows, step):
            block = rows_in[row : row + n_rows, begin : begin + step + k - 1]
            target = rows_out[row : row + n_rows, begin : begin + step]
            target[...] = _roll(block, k, _shift_and_or)
            if block.max() >= N_BASES:
                target[_roll(block >= N_BASES, k, _either)] = -1
    return out


def _roll(values: np.ndarray, k: int, join) -> np.ndarray:
    """Windows of width k put together from windows of width 1, 2, 4, ... (binary digits of k)."""
    result, width = None, 0
    power, power_width = values, 1
    while True:
        if k & power_width:
            result = power if result is None else join(result, width, power, power_width)
            width += power_width
        if 2 * power_width > k:
            return result
        power = join(power, power_width, power, power_width)
        power_width *= 2


def _shift_and_or(left: np.ndarray, n_left: int, right: np.ndarray, n_right: int) -> np.ndarray:
    """Codes of the words of n_left + n_right bases, in the smallest integers that hold them.

    Ambiguity codes spill into their neighbours here; their windows are overwritten afterwards.
    """
    n_bits = 2 * (n_left + n_right)
    dtype = np.uint8 if n_bits <= 8 else np.uint16 if n_bits <= 16 else np.uint32
    n_windows = right.shape[-1] - n_left
    joined = left[..., :n_windows].astype(dtype)
    joined <<= 2 * n_right
    joined |= right[..., n_left:]
    return joined


def _either(left: np.ndarray, n_left: int, right: np.ndarray, n_right: int) -> np.ndarray:
    """Whether the left or the right part of a window is flagged."""
    return left[..., : right.shape[-1] - n_left] | right[..., n_left:]


def _check_k(k: int) -> None:
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k is {k}, expected 1 to {MAX_K} (codes are 32-bit integers)")


def kmer_string(code: int, k: int) -> str:
    """The word of a k-mer code."""
    _check_k(k)
    if not 0 <= code < N_BASES**k:
        raise ValueError(f"k-mer code {code}, expected 0 to {N_BASES**k - 1} for k = {k}")
    return "".join(BASES[(code >> 2 * i) & 3] for i in reversed(range(k)))


def kmer_strings(k: int) -> list[str]:
    """All 4 ** k words in code order (which is alphabetical order)."""
    _check_k(k)
    return ["".join(word) for word in product(BASES, repeat=k)]


def kmer_index(text: str) -> int:
    """The code of one word of 1 to 15 definite bases; case is ignored."""
    _check_k(len(text))
    codes = encode(text, where=f"k-mer {text!r}")
    if codes.max() >= N_BASES:
        raise ValueError(f"k-mer {text!r} holds an ambiguous base, expected A, C, G and T only")
    return int(kmer_codes(codes, len(text))[0])


def revcomp_codes(k: int) -> np.ndarray:
    """The code of the reverse complement of every k-mer: `int32[4 ** k]`, its own inverse."""
    _check_k(k)
    left = np.arange(N_BASES**k, dtype=np.int32)
    reverse = np.zeros_like(left)
    for _ in range(k):  # take bases from the right, complement (3 - base), append
        reverse = (reverse << 2) | (3 - (left & 3))
        left >>= 2
    return reverse
