"""Markov backgrounds: the chain asked for comes out, on both strands."""

import numpy as np
import pytest

from genomelm_utils.sequences.background import draw_transitions, mutate, sample_background
from genomelm_utils.sequences.kmers import kmer_codes, revcomp_codes


def word_shares(pieces, k):
    counts = np.bincount(kmer_codes(pieces, k).ravel(), minlength=4**k)
    return counts / counts.sum()


def test_transitions_are_distributions_around_gc(rng):
    table = draw_transitions(rng, order=5, gc=0.6, concentration=10)
    assert table.shape == (4**5, 4)
    assert np.allclose(table.sum(axis=1), 1)
    assert table[:, 1:3].sum(axis=1).mean() == pytest.approx(0.6, abs=0.02)


def test_a_certain_chain_by_hand(rng):
    """A -> C -> G -> T -> A without choice, the same on the other strand."""
    table = np.roll(np.eye(4), 1, axis=1)
    pieces = sample_background(table, (200, 8), rng)
    steps = np.diff(pieces.astype(int), axis=1) % 4
    assert set(np.unique(steps)) == {1}
    assert set(pieces[:, 0]) == {0, 1, 2, 3}


def test_shares_follow_the_table_on_both_strands(rng):
    table = draw_transitions(rng, order=1, gc=0.4, concentration=3)
    pieces = sample_background(table, (2000, 200), rng)
    stationary = np.linalg.matrix_power(table, 200)[0]
    forward = (stationary[:, None] * table).ravel()
    expected = (forward + forward[revcomp_codes(2)]) / 2
    assert word_shares(pieces, 2) == pytest.approx(expected, abs=0.003)


def test_mutations_change_the_asked_share_and_spare_n(rng):
    codes = np.tile(np.array([0, 1, 2, 3, 14], np.uint8), 4000)
    changed = mutate(codes, 0.25, rng)
    assert (changed[codes == 14] == 14).all()
    definite = codes < 4
    assert (changed[definite] != codes[definite]).mean() == pytest.approx(0.25, abs=0.015)
    assert np.array_equal(mutate(codes, 0.0, rng), codes)
    assert (mutate(codes, 1.0, rng)[definite] != codes[definite]).all()
