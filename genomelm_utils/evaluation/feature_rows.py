"""Are these vectors fit to be compared? Checks, and rows of length one.

Shapes: S sequences, D width of a vector.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

BLOCK_ROWS = 8192
SHOWN = 5


def check_features(features_SD: np.ndarray, n_rows: int | None = None) -> np.ndarray:
    """The features as an array [S, D] of finite numbers; nothing is copied that is one already.

    n_rows: rows expected, where there is a label per row.
    Errors: ValueError naming the shape, or the first rows that hold NaN or infinity.
    """
    features_SD = np.asarray(features_SD)
    if features_SD.ndim != 2 or 0 in features_SD.shape:
        raise ValueError(
            f"features have shape {features_SD.shape}, expected (sequences, width) with at least "
            "one of each"
        )
    if n_rows is not None and len(features_SD) != n_rows:
        raise ValueError(
            f"{len(features_SD)} feature rows for {n_rows} labels, expected one row per label"
        )
    if not np.issubdtype(features_SD.dtype, np.number):
        raise ValueError(f"features are of type {features_SD.dtype}, expected numbers")
    bad = [
        begin + np.flatnonzero(~np.isfinite(features_SD[begin : begin + BLOCK_ROWS]).all(1))
        for begin in range(0, len(features_SD), BLOCK_ROWS)
    ]
    refuse_rows(np.concatenate(bad), "hold NaN or infinity")
    return features_SD


def unit_rows(features_SD: np.ndarray, n_rows: int | None = None, first_row: int = 0) -> np.ndarray:
    """A copy float32 [S, D] whose rows have Euclidean length one.

    Lengths are taken in float64, rows in blocks: memory is the result plus a few MiB. `first_row`:
    the number of the first of these rows, for the message, when they are part of more.
    Errors: ValueError as `check_features`, and for rows that are all zero: they have no direction.
    """
    features_SD = check_features(features_SD, n_rows)
    unit_SD = np.empty(features_SD.shape, dtype=np.float32)
    zero = []
    for begin in range(0, len(features_SD), BLOCK_ROWS):
        block_BD = features_SD[begin : begin + BLOCK_ROWS].astype(np.float64)
        largest_B = np.abs(block_BD).max(1)
        zero.append(begin + np.flatnonzero(largest_B == 0))
        block_BD /= np.where(largest_B > 0, largest_B, 1)[:, None]  # squares neither vanish nor
        length_B = np.sqrt(np.einsum("bd,bd->b", block_BD, block_BD))  # overflow
        unit_SD[begin : begin + BLOCK_ROWS] = block_BD / np.maximum(length_B, 1)[:, None]
    refuse_rows(first_row + np.concatenate(zero), "are all zero and have no direction")
    return unit_SD


def refuse_rows(rows: np.ndarray, why: str) -> None:
    """ValueError naming the first few of the rows, when there are any."""
    if len(rows):
        shown = ", ".join(map(str, rows[:SHOWN])) + (", ..." if len(rows) > SHOWN else "")
        raise ValueError(
            f"{len(rows)} feature rows {why} (rows {shown}, counted from 0); leave these sequences "
            "out, or look at what they were made from: empty or N-only sequences do this"
        )


def label_codes(labels: Sequence[Hashable] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as codes int64 [S] and the names, sorted: the same whatever the order of the rows."""
    labels_S = np.asarray(labels)
    if labels_S.ndim != 1 or len(labels_S) == 0:
        raise ValueError(f"labels have shape {labels_S.shape}, expected (sequences,), at least one")
    missing = np.flatnonzero(pd.isna(labels_S))
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {len(labels_S)} sequences have no label (the first: row "
            f"{missing[0]}, counted from 0); leave them out"
        )
    names, codes_S = np.unique(labels_S, return_inverse=True)
    return codes_S.astype(np.int64), names
