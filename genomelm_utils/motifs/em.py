"""Expectation maximisation of a matrix on sequences that hold at most one site, on either strand.

The model of a sequence (zero or one occurrence per sequence, ZOOPS): with chance gamma one window,
any of them and of either strand, is drawn from the matrix, everything else from the background.
Source: Bailey & Elkan 1995, Machine Learning 21:51 (ZOOPS); GADEM runs EM from matrices made of
spaced dyads (Li 2009, J. Comput. Biol. 16:317).

A window's odds are looked up five bases at a time: a table holds the product over five positions of
the matrix for each of 4 ** 5 words, for both strands side by side.

Shape suffixes: P bases of all sequences, W positions of a motif, F flanking positions on each side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from genomelm_utils.sequences.alphabet import N_BASES

BLOCK_BP = 5
N_WORDS = N_BASES**BLOCK_BP
#: Sites of pure background that each position of a matrix gets on top: keeps chances above 0.
#: Chosen: half a site.
PSEUDO_SITES = 0.5
#: EM ends when no chance of the matrix moved by more than that. Chosen.
MOVED = 1e-3
_NEGLIGIBLE = 1e-3  # of a site: shares below are not counted


class Fit(NamedTuple):
    """What EM ends with.

    probabilities: float64[W, 4]; gamma: share of sequences with a site; llr: log likelihood ratio
    against the background, nats; counts: expected bases float64[W + 2 F, 4], flanks included.
    """

    probabilities: np.ndarray
    gamma: float
    llr: float
    counts: np.ndarray


@dataclass(frozen=True)
class EmData:
    """What EM needs to know of sequences.

    codes: uint8[P]. starts: int64[S + 1]. left: int32[P], definite bases from here on. words:
    uint16[P], the five bases from here on as a number. cost: float64[P + 1], running sum of log
    chances of the background, base by base. weight: float32[P], weight of a window that has its
    middle here, or an empty array where all count the same. records: int64, those to use.
    shares: float64[4], the background's bases.
    """

    codes: np.ndarray
    starts: np.ndarray
    left: np.ndarray
    words: np.ndarray
    cost: np.ndarray
    weight: np.ndarray
    records: np.ndarray
    shares: np.ndarray

    def inverse_background(self, width: int) -> np.ndarray:
        """float32[P]: 1 / (chance of the window of that width from here on in units of 4^-width).

        Of places where no such window fits, any number.
        """
        sums = self.cost[width:] - self.cost[:-width]
        inverse = np.ones(len(self.codes), dtype=np.float32)
        inverse[: len(sums)] = np.exp(-width * np.log(N_BASES) - sums)
        return inverse


def run_em(
    data: EmData,
    probabilities_W4: np.ndarray,
    gamma: float,
    n_steps: int,
    flank: int = 0,
    inverse: np.ndarray | None = None,
    moved: float = MOVED,
) -> Fit:
    """At most `n_steps` EM steps from a matrix; `n_steps` 0 only takes the likelihood.

    flank: positions on each side for which bases are counted too. inverse: what
    `inverse_background` gives for this width, where it is at hand. moved: EM ends when no chance of
    the matrix moved by more.
    """
    matrix = np.array(probabilities_W4, dtype=np.float64)
    width = len(matrix)
    if inverse is None:
        inverse = data.inverse_background(width)
    counts = np.zeros((width + 2 * flank, N_BASES))
    gamma, llr = _run_em(
        data.codes,
        data.starts,
        data.left,
        data.words,
        inverse,
        data.weight,
        data.records,
        data.shares,
        matrix,
        gamma,
        n_steps,
        moved,
        flank,
        counts,
    )
    return Fit(matrix, gamma, llr, counts)


def word_numbers(codes: np.ndarray) -> np.ndarray:
    """The five bases from each place on as a number, uint16[P]; ambiguous ones and the end as A."""
    padded = np.concatenate([np.where(codes < N_BASES, codes, 0), np.zeros(BLOCK_BP - 1, np.uint8)])
    numbers = np.zeros(len(codes), dtype=np.uint16)
    for shift in range(BLOCK_BP):
        numbers = numbers * N_BASES + padded[shift : shift + len(codes)]
    return numbers.astype(np.uint16)


@njit(cache=True, nogil=True)
def fill_tables(matrix_W4, tables, offsets):
    """Products of a matrix (in units of 1/4) for all five-base words.

    tables: float32[B * 1024 * 2], for each block and word the product as the word is read on the
    plus and on the minus strand. offsets: int64[B], where the blocks begin: 0, 5, 10 ..., and the
    last one ends with the window; positions it shares with the one before count there.
    """
    width = matrix_W4.shape[0]
    level = np.empty((1024, 2))
    for block in range(offsets.shape[0]):
        begin = min(block * 5, width - 5)
        offsets[block] = begin
        first = block * 5 - begin
        level[0] = 1.0
        n = 1
        for i in range(5):
            at = begin + i
            for word in range(n - 1, -1, -1):
                plus, minus = level[word, 0], level[word, 1]
                for base in range(3, -1, -1):
                    if i < first:
                        level[word * 4 + base, 0] = plus
                        level[word * 4 + base, 1] = minus
                    else:
                        level[word * 4 + base, 0] = plus * matrix_W4[at, base] * 4.0
                        level[word * 4 + base, 1] = (
                            minus * matrix_W4[width - 1 - at, 3 - base] * 4.0
                        )
            n *= 4
        for word in range(1024):
            tables[(block * 1024 + word) * 2] = level[word, 0]
            tables[(block * 1024 + word) * 2 + 1] = level[word, 1]


@njit(cache=True, nogil=True)
def _fill_odds(n_windows, width, left, words, inverse, weight, tables, offsets, odds):
    """Odds of the windows of one sequence into `odds` [L, 2]; their sum, and that of the weights.

    left, words, inverse, weight: the parts that belong to the sequence.
    """
    total, places = 0.0, 0.0
    weighted = weight.shape[0] > 0
    n_blocks = offsets.shape[0]
    for j in range(n_windows):
        plus = np.float32(0.0)
        minus = np.float32(0.0)
        if left[j] >= width:
            plus = inverse[j]
            if weighted:
                plus *= weight[j + width // 2]
                places += 2.0 * weight[j + width // 2]
            else:
                places += 2.0
            minus = plus
            for block in range(n_blocks):
                at = (block << 11) | (np.int64(words[j + offsets[block]]) << 1)
                plus *= tables[at]
                minus *= tables[at + 1]
            total += plus + minus
        odds[j, 0] = plus
        odds[j, 1] = minus
    return total, places


@njit(cache=True, nogil=True)
def _run_em(
    codes, starts, left, words, inverse, weight, records, shares, matrix, gamma, n_steps, moved_min,
    flank, counts,
):  # fmt: skip
    width = matrix.shape[0]
    offsets = np.empty((width + 4) // 5, np.int64)
    tables = np.empty(offsets.shape[0] * 2048, np.float32)
    longest = 0
    for r in range(records.shape[0]):
        longest = max(longest, starts[records[r] + 1] - starts[records[r]])
    odds = np.empty((longest, 2), np.float32)
    llr = 0.0
    step = 0
    while True:
        fill_tables(matrix, tables, offsets)
        counts[:] = 0.0
        llr, n_with, n_used = 0.0, 0.0, 0
        for r in range(records.shape[0]):
            begin, last = starts[records[r]], starts[records[r] + 1]
            n_windows = max(last - begin - width + 1, 0)
            part = slice(begin, last)
            total, places = _fill_odds(
                n_windows, width, left[part], words[part], inverse[part], weight[part], tables,
                offsets, odds,
            )  # fmt: skip
            if places == 0.0:
                continue
            n_used += 1
            scale = gamma / places
            likelihood = 1.0 - gamma + scale * total
            llr += np.log(likelihood)
            scale /= likelihood
            n_with += scale * total
            enough = _NEGLIGIBLE / scale
            for j in range(n_windows):
                plus, minus = odds[j, 0], odds[j, 1]
                if plus > enough:
                    _count(codes, begin, last, begin + j, width, flank, False, scale * plus, counts)
                if minus > enough:
                    _count(codes, begin, last, begin + j, width, flank, True, scale * minus, counts)
        if step >= n_steps or n_used == 0:
            break
        step += 1
        moved = 0.0
        for i in range(width):
            n = counts[flank + i].sum()
            for base in range(4):
                new = (counts[flank + i, base] + PSEUDO_SITES * shares[base]) / (n + PSEUDO_SITES)
                moved = max(moved, abs(new - matrix[i, base]))
                matrix[i, base] = new
        gamma = min(max(n_with / n_used, 1.0 / n_used), 1.0 - 1e-3)
        if moved < moved_min:
            n_steps = 0  # once more for the likelihood of what was reached
    return gamma, llr


@njit(cache=True, nogil=True)
def _count(codes, begin, last, j, width, flank, turned, share, counts):
    """Add a share of a site at j to the counts, flanks as far as the sequence reaches."""
    if flank == 0:
        if turned:
            for i in range(width):
                counts[width - 1 - i, 3 - codes[j + i]] += share
        else:
            for i in range(width):
                counts[i, codes[j + i]] += share
        return
    for i in range(-flank, width + flank):
        at = j + width - 1 - i if turned else j + i
        if begin <= at < last and codes[at] < 4:
            base = 3 - codes[at] if turned else codes[at]
            counts[flank + i, base] += share
