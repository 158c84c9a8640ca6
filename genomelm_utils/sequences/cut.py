"""Compiled copying of many pieces of a genome, on either strand, into one run of letters.

The one loop behind `promoters`; it releases the interpreter lock.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def copy_pieces(
    codes: np.ndarray,
    start_S: np.ndarray,
    end_S: np.ndarray,
    minus_S: np.ndarray,
    plus_table: np.ndarray,
    minus_table: np.ndarray,
) -> np.ndarray:
    """uint8: codes[start:end] of every piece, one after the other.

    Codes are looked up in `plus_table`; of pieces on the minus strand in `minus_table`, and these
    are written from right to left.
    """
    out = np.empty((end_S - start_S).sum(), np.uint8)
    at = 0
    for piece in range(start_S.shape[0]):
        start, end = start_S[piece], end_S[piece]
        if minus_S[piece]:
            for position in range(end - 1, start - 1, -1):
                out[at] = minus_table[codes[position]]
                at += 1
        else:
            for position in range(start, end):
                out[at] = plus_table[codes[position]]
                at += 1
    return out
