"""Distances from the TSS by hand."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.sequences.tss import distance_of, fill_gaps, index_of


def test_distances_by_hand():
    assert distance_of(np.arange(4), 4, 0).tolist() == [-4, -3, -2, -1]
    assert distance_of(np.arange(4), 4, 10).tolist() == [-14, -13, -12, -11]
    assert distance_of(np.arange(4), 4, -2).tolist() == [-2, -1, 0, 1]  # 0 is transcribed first


def test_index_is_the_inverse(rng):
    index, length, gap = rng.integers(0, 50, 20), rng.integers(50, 90, 20), rng.integers(-9, 9, 20)
    assert (index_of(distance_of(index, length, gap), length, gap) == index).all()


def test_unknown_gaps_are_zero():
    assert fill_gaps(pd.Series([3, pd.NA, -2], dtype="Int64"), 3).tolist() == [3, 0, -2]
    assert fill_gaps(None, 2).tolist() == [0, 0]
    assert fill_gaps([1, 2], 2).dtype == np.int64
    with pytest.raises(ValueError, match=r"gap_bp has shape \(2,\), expected one per promoter: 3"):
        fill_gaps([1, 2], 3)
