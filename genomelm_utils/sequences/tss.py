"""Distances from the transcription start site (TSS): one rule for all that looks at promoters.

A promoter reads 5' to 3' with the TSS towards its right end. `distance_bp` of a base is its offset
from the first transcribed base: 0 is that base, -1 the one before it. The last base of a promoter
of L bases is at -1 - gap_bp, its first at -L - gap_bp. gap_bp is the number of bases between the
right end and the TSS; below 0 where the sequence reaches past the TSS.

Shapes: S promoters.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

Gaps = Sequence[int] | np.ndarray | pd.Series | None


def fill_gaps(gap_bp: Gaps, n: int) -> np.ndarray:
    """gap_bp of n promoters as int64 [S]; 0 where it is unknown (<NA>), or for all if None.

    Raises: ValueError for another number of them.
    """
    if gap_bp is None:
        return np.zeros(n, dtype=np.int64)
    gaps_S = pd.array(gap_bp, dtype="Int64").to_numpy(dtype=np.int64, na_value=0)
    if gaps_S.shape != (n,):
        raise ValueError(f"gap_bp has shape {gaps_S.shape}, expected one per promoter: {n}")
    return gaps_S


def distance_of(index: np.ndarray | int, length: np.ndarray | int, gap_bp: np.ndarray | int):
    """distance_bp of the base at `index` (0-based, from the 5' end) of promoters; any shapes."""
    return index - length - gap_bp


def index_of(distance_bp: np.ndarray | int, length: np.ndarray | int, gap_bp: np.ndarray | int):
    """The index of the base at `distance_bp`; outside 0..length - 1 the promoter has none there."""
    return distance_bp + length + gap_bp
