"""Scores, their distribution and E-values, against enumeration and other libraries."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2

from genomelm_utils.motifs.records import count_definite
from genomelm_utils.motifs.scores import (
    STEPS_PER_BIT,
    best_f_cut,
    log_chi2_tail,
    log_e_value,
    make_score_table,
    pick_disjoint,
    score_windows,
)
from genomelm_utils.sequences.alphabet import encode

SHARES = np.array([0.3, 0.2, 0.2, 0.3])


@pytest.fixture
def table(rng):
    matrix = rng.dirichlet(np.ones(4), 6)
    return make_score_table(np.log2(matrix / SHARES), SHARES)


def test_distribution_equals_enumeration(table):
    chances = {}
    for word in product(range(4), repeat=6):
        score = int(table.scores[np.arange(6), word].sum())
        chances[score] = chances.get(score, 0) + np.prod(SHARES[list(word)])
    for score in list(chances)[::97]:
        expected = sum(p for other, p in chances.items() if other >= score)
        assert table.p_value(score) == pytest.approx(expected, rel=1e-9)
    assert table.p_value(min(chances)) == pytest.approx(1)
    assert table.p_value(min(chances) - 5) == pytest.approx(1)


@pytest.mark.parametrize("p_value", [0.5, 0.05, 2e-3])
def test_cutoff_is_the_lowest_score_that_is_rare_enough(table, p_value):
    cutoff = table.cutoff(p_value)
    assert table.p_value(cutoff) <= p_value < table.p_value(cutoff - 1)


def test_the_best_word_always_counts(table):
    best = int(table.scores.max(axis=1).sum())
    assert table.cutoff(1e-9) == best
    assert 0 < table.p_value(best) < 1


def test_windows_on_both_strands():
    matrix = np.full((6, 4), 0.01)
    matrix[np.arange(6), [0, 1, 2, 3, 3, 0]] = 0.97  # ACGTTA, reversed TAACGT
    scores = make_score_table(np.log2(matrix / 0.25), np.full(4, 0.25)).scores
    codes = encode("CACGTTAC" + "GTAACGTN" + "ACGTT" + "AACGTNA")
    starts = np.array([0, 8, 16, 21, 28])
    left = count_definite(codes, starts)
    place, strand, score = score_windows(codes, starts, left, scores, 6 * STEPS_PER_BIT)
    assert place.tolist() == [1, 9] and strand.tolist() == [0, 1]  # none across two sequences
    assert (score == scores.max(axis=1).sum()).all()
    place, strand, score = score_windows(codes, starts, left, scores, -(10**6))
    assert len(place) == 2 * (3 + 2 + 0 + 0)
    by_hand = scores[np.arange(6), codes[0:6]].sum()
    assert score[(place == 0) & (strand == 0)] == by_hand
    by_hand = scores[np.arange(6), 3 - codes[0:6][::-1]].sum()
    assert score[(place == 0) & (strand == 1)] == by_hand


def test_many_windows_fit(rng):
    codes = rng.integers(0, 4, 5000).astype(np.uint8)
    starts = np.array([0, 5000])
    scores = np.ones((6, 4), np.int32)
    place, *_ = score_windows(codes, starts, count_definite(codes, starts), scores, 0)
    np.testing.assert_array_equal(place, np.repeat(np.arange(4995), 2))


def test_better_windows_push_others_out():
    place = np.array([0, 3, 5, 9, 12])
    taken = pick_disjoint(place, 4, np.array([1, 0, 2, 4, 3]))
    assert taken.tolist() == [False, True, False, False, True]
    assert pick_disjoint(np.zeros(0, np.int64), 4, np.zeros(0, np.int64)).tolist() == []


def test_cut_for_f_by_brute_force(rng):
    chance = np.sort(rng.random(30))[::-1] ** 2
    for weight in (1.0, 2.0):
        hits = np.cumsum(chance)
        f = [(1 + weight) * hits[n - 1] / (n + weight * chance.sum()) for n in range(1, 31)]
        n = best_f_cut(chance, weight)
        assert f[n - 1] == max(f)
        # the best cut lies where the chance falls to F / (1 + weight)
        assert chance[n - 1] >= max(f) / (1 + weight) >= chance[n]
    assert best_f_cut(np.zeros(0)) == 0
    assert best_f_cut(np.full(7, 0.5)) == 7


def test_chi2_tail_equals_scipy_and_goes_on():
    x = np.array([0.5, 10, 80, 150, 400, 900, 1200])
    for df in (1, 19, 40, 61):
        expected = chi2.logsf(x, df)
        known = np.isfinite(expected)
        np.testing.assert_allclose(
            log_chi2_tail(x, np.array(df))[known], expected[known], rtol=1e-9
        )
    far = log_chi2_tail(np.array([1e4, 1e5]), np.array(31))
    assert np.isfinite(far).all()
    # one degree more for the same value makes it likelier, and -x/2 leads
    assert far[0] == pytest.approx(-5000 + 14.5 * np.log(5000), rel=0.02)


def test_e_values():
    assert log_e_value(-1.0, 8, 10.0) == 10.0
    assert log_e_value(100.0, 8, 10.0) == pytest.approx(10 + chi2.logsf(200, 25))
    assert log_e_value(1e4, 8, 10.0) < log_e_value(5e3, 8, 10.0) < -4000
