"""Two motifs in one matrix: found by the sites that it has, and divided.

Two motifs that share some bases make a matrix together that explains more sequences than each does
alone; EM of a single matrix ends there. The sites tell: two matrices describe them far better.

Shape suffixes: R sites, W positions of a motif.
"""

from typing import NamedTuple

import numpy as np

from genomelm_utils.motifs.em import PSEUDO_SITES
from genomelm_utils.motifs.refine import weighted_difference
from genomelm_utils.sequences.alphabet import N_BASES

#: Two parts are two motifs if their matrices differ by that in the mean, weighted by information: a
#: quarter of the bases. Less are variants of one motif. Chosen.
MIN_DIFFERENCE = 0.25
_STEPS = 40
_MIN_SECOND = 0.1  # share of a position's second base from which it may tell two motifs apart


class Parts(NamedTuple):
    """Two matrices float64[W, 4], that of more sites first, and its share of the sites."""

    larger: np.ndarray
    smaller: np.ndarray
    share: float


def split_sites(words_RW: np.ndarray, shares: np.ndarray, fewest: int) -> Parts | None:
    """The two motifs that aligned sites belong to, or None if they are one.

    words_RW: base codes of the sites, as the motif reads them. A mixture of two matrices is fitted
    by EM, from every position that has two frequent bases; it stands if it is worth its 3 W + 1
    parameters (Bayesian information criterion, Schwarz 1978, Ann. Stat. 6:461), if the matrices
    differ by `MIN_DIFFERENCE`, and if each has `fewest` sites.
    """
    n, width = words_RW.shape
    if n < 2 * fewest:
        return None
    hot = (words_RW[:, :, None] == np.arange(N_BASES)).astype(np.float64)
    best, found = -np.inf, None
    for position in range(width):
        counts = hot[:, position].sum(axis=0)
        if np.sort(counts)[-2] < _MIN_SECOND * n:
            continue
        start = np.where(words_RW[:, position] == counts.argmax(), 0.9, 0.1)
        llr, chance = _mix(hot, start, shares)
        if llr > best:
            best, found = llr, chance
    if found is None:
        return None
    single = _log_chances(hot, _matrix(hot, np.ones(n), shares)).sum()
    if best - single <= (3 * width + 1) / 2 * np.log(n):
        return None
    if found.sum() < n / 2:
        found = 1 - found
    if min(found.sum(), n - found.sum()) < fewest:
        return None
    parts = [_matrix(hot, weight, shares) for weight in (found, 1 - found)]
    if weighted_difference(*parts) < MIN_DIFFERENCE:
        return None
    return Parts(*parts, float(found.mean()))


def _matrix(hot: np.ndarray, weight_R: np.ndarray, shares: np.ndarray) -> np.ndarray:
    counts = np.tensordot(weight_R, hot, axes=1) + PSEUDO_SITES * shares
    return counts / counts.sum(axis=1, keepdims=True)


def _log_chances(hot: np.ndarray, matrix_W4: np.ndarray) -> np.ndarray:
    return np.tensordot(hot, np.log(matrix_W4), axes=2)


def _mix(hot: np.ndarray, chance_R: np.ndarray, shares: np.ndarray) -> tuple[float, np.ndarray]:
    """Log likelihood of the mixture and the chance of each site to belong to the first part."""
    likelihood = -np.inf
    for _ in range(_STEPS):
        share = np.clip(chance_R.mean(), 1e-6, 1 - 1e-6)
        one = np.log(share) + _log_chances(hot, _matrix(hot, chance_R, shares))
        other = np.log(1 - share) + _log_chances(hot, _matrix(hot, 1 - chance_R, shares))
        both = np.logaddexp(one, other)
        chance_R = np.exp(one - both)
        before, likelihood = likelihood, both.sum()
        if likelihood - before < 1e-3:
            break
    return float(likelihood), chance_R
