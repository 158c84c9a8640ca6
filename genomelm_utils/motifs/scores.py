"""Scores of windows, their exact distribution in background, sites, and E-values.

Shape suffixes: P bases of all sequences, W positions of a motif, R scores.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from genomelm_utils.sequences.alphabet import N_BASES

#: Steps of a bit in whole-number scores. Chosen: rounding moves a score of 20 positions by at most
#: 0.1 bits, by 0.03 in the mean square.
STEPS_PER_BIT = 100
#: Below the lowest whole-number score of any window: a base that the motif never has.
_LOWEST_BITS = -20.0


class ScoreTable(NamedTuple):
    """Whole-number scores of a matrix and how likely each is in background.

    scores: int32[W, 4], in 1 / `STEPS_PER_BIT` bits. lowest: the lowest sum. tail: float64[R],
    chance at one place of a score of lowest + i or more.
    """

    scores: np.ndarray
    lowest: int
    tail: np.ndarray

    def p_value(self, score: np.ndarray | int) -> np.ndarray:
        """Chance of that score or a higher one at one place of one strand."""
        return self.tail[np.clip(np.asarray(score) - self.lowest, 0, len(self.tail) - 1)]

    def cutoff(self, p_value: float) -> int:
        """The lowest score that is as unlikely as `p_value`; the highest score where none is."""
        enough = np.flatnonzero(self.tail <= p_value)
        reachable = np.flatnonzero(self.tail > 0)[-1]
        return self.lowest + int(min(enough[0] if len(enough) else reachable, reachable))


def make_score_table(log_odds_W4: np.ndarray, shares: np.ndarray) -> ScoreTable:
    """The table of a matrix of bits; bases of the background are independent with `shares`.

    The distribution of the sum over positions is exact for the rounded scores. Source: Staden 1989,
    Comput. Appl. Biosci. 5:89.
    """
    bits_W4 = np.maximum(log_odds_W4, _LOWEST_BITS)
    scores_W4 = np.rint(bits_W4 * STEPS_PER_BIT).astype(np.int32)
    lowest = int(scores_W4.min(axis=1).sum())
    chance = np.ones(1)
    for row in scores_W4 - scores_W4.min(axis=1, keepdims=True):
        longer = np.zeros(len(chance) + int(row.max()))
        for base in range(N_BASES):
            longer[row[base] : row[base] + len(chance)] += shares[base] * chance
        chance = longer
    tail = np.cumsum(chance[::-1])[::-1]
    return ScoreTable(scores_W4, lowest, np.minimum(tail, 1.0))


@njit(cache=True, nogil=True)
def score_windows(codes, starts, left, scores_W4, cutoff):
    """Windows with at least that score: (place int64, strand uint8 0 plus 1 minus, score int32).

    In the order of places, plus before minus.
    """
    width = scores_W4.shape[0]
    room = 1024
    place, strand = np.empty(room, np.int64), np.empty(room, np.uint8)
    score = np.empty(room, np.int32)
    n = 0
    for s in range(starts.shape[0] - 1):
        for j in range(starts[s], starts[s + 1] - width + 1):
            if left[j] < width:
                continue
            plus, minus = np.int32(0), np.int32(0)
            for i in range(width):
                base = codes[j + i]
                plus += scores_W4[i, base]
                minus += scores_W4[width - 1 - i, 3 - base]
            for side in range(2):
                value = plus if side == 0 else minus
                if value >= cutoff:
                    if n == room:
                        room *= 2
                        place = np.concatenate((place, np.empty(n, np.int64)))
                        strand = np.concatenate((strand, np.empty(n, np.uint8)))
                        score = np.concatenate((score, np.empty(n, np.int32)))
                    place[n], strand[n], score[n] = j, side, value
                    n += 1
    return place[:n], strand[:n], score[:n]


def count_places(left: np.ndarray, width: int) -> int:
    """Windows of that width without an ambiguous base."""
    return int((left >= width).sum())


@njit(cache=True)
def pick_disjoint(place, width, order):
    """bool: windows that overlap no window before them in `order`; the first ones win."""
    taken = np.zeros(place.shape[0], np.bool_)
    if place.shape[0] == 0:
        return taken
    used = np.zeros(place.max() + width + 1, np.bool_)
    for i in order:
        begin = place[i]
        if not used[begin : begin + width].any():
            used[begin : begin + width] = True
            taken[i] = True
    return taken


def best_f_cut(posterior: np.ndarray, recall_weight: float = 2.0) -> int:
    """How many of the windows, most probable first, to call sites: most F to be expected.

    posterior: chances of being a site, falling; their sum is the number of sites expected.
    recall_weight: beta squared of F, what a missed site weighs against a false one. Source:
    Lipton et al. 2014, ECML PKDD 8725:225 (the best cut lies at the chance F / (1 + beta^2)).
    """
    if not len(posterior):
        return 0
    hits = np.cumsum(posterior)
    f = (1 + recall_weight) * hits / (np.arange(1, len(hits) + 1) + recall_weight * hits[-1])
    return int(np.argmax(f)) + 1


def log_chi2_tail(x: np.ndarray, df: np.ndarray) -> np.ndarray:
    """ln of the chance that chi squared with `df` degrees of freedom is x or more.

    For values far out too, where the chance itself is below what a float holds. Source: continued
    fraction of the upper incomplete gamma function, Abramowitz & Stegun 1964, 6.5.31.
    """
    from scipy.special import gammaln
    from scipy.stats import chi2

    x, df = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(df, np.float64))
    near = x < 2 * df + 100
    tail = np.array(chi2.logsf(np.where(near, x, 1.0), df))
    a, z = df[~near] / 2, x[~near] / 2
    fraction = np.zeros_like(z)
    for step in range(60, 0, -1):  # from the inside out
        fraction = step * (step - a) / (z + 2 * step + 1 - a - fraction)
    tail[~near] = -z + a * np.log(z) - gammaln(a) - np.log(z + 1 - a - fraction)
    return tail


def log_e_value(llr: float, width: int, log_n_starts: float) -> float:
    """ln of the E-value of a matrix that EM made from one of exp(log_n_starts) candidates.

    Twice the log likelihood ratio of a matrix without meaning is about chi squared, with three
    degrees of freedom per position and one for the share of sequences (Wilks 1938, Ann. Math. Stat.
    9:60); the E-value is its tail times the candidates. At most ln(candidates).
    """
    if llr <= 0:
        return log_n_starts
    return log_n_starts + float(log_chi2_tail(np.array([2 * llr]), np.array([3 * width + 1]))[0])
