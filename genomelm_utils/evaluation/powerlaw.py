"""Power laws in the tails of spectra, fitted by maximum likelihood and Kolmogorov-Smirnov distance.

A heavy tail of the eigenvalues of a weight matrix is a sign of training: their density falls as
lambda ** -alpha above some lambda_min. Random weights have no such tail, and what is fitted to them
is steep (alpha of 8 and more).

The fit is our own: the package `powerlaw` from 2.0 on keeps alpha below 3 without saying so, which
makes untrained matrices look well trained.

Shapes: N values.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

MIN_VALUES = 50  # Source: weightwatcher's default `min_evals` as genomeNLP uses it
SMALLEST = 1e-5  # eigenvalues below are rounding. Source: weightwatcher's threshold
OVER_TRAINED, UNDER_TRAINED = 2.0, 6.0  # Source: weightwatcher's flags on alpha


class PowerLaw(NamedTuple):
    """A fitted tail: density (alpha - 1) / xmin * (x / xmin) ** -alpha for x >= xmin.

    `distance`: Kolmogorov-Smirnov distance between tail and fit. `n_tail`: values >= xmin.
    `sigma`: standard error of alpha, (alpha - 1) / sqrt(n_tail), for independent values and a known
    xmin: neither holds for eigenvalues, so it is a lower bound of the uncertainty.
    """

    alpha: float
    xmin: float
    xmax: float
    distance: float
    n_tail: int
    sigma: float


def fit_power_law(values: np.ndarray, *, min_tail: int = 2) -> PowerLaw:
    """The power law that fits the largest values best, over every possible start of the tail.

    values: [N], positive; values of `SMALLEST` and below are left out. Each distinct value but the
    largest is tried as xmin: alpha = 1 + n / sum(ln(x / xmin)) over the n values >= xmin, and the
    xmin with the smallest Kolmogorov-Smirnov distance wins, the smallest of them at a tie. Takes
    N**2 steps: 10,000 values half a second.

    min_tail: the fewest values a tail may have. The method as published has no bound (2), and may
    then fit a handful of values.

    Raises: ValueError for fewer than `min_tail` distinct values.
    Source: Clauset, Shalizi and Newman 2009, SIAM Review 51:661, equations 3.1 and 3.9.
    """
    kept = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not np.isfinite(kept).all():
        raise ValueError("values are not all finite: a power law needs numbers above 0")
    kept = kept[kept > SMALLEST]
    begins = np.flatnonzero(np.diff(kept, prepend=-1.0) > 0)[:-1]
    begins = begins[len(kept) - begins >= max(min_tail, 2)]
    if not len(begins):
        raise ValueError(
            f"{len(kept)} values above {SMALLEST:g}, expected at least {max(min_tail, 2)} and two "
            "that differ"
        )
    logs = np.log(kept)
    # sum of ln(x / xmin) over the tail of each start, from the right
    sums = np.cumsum(logs[::-1])[::-1][begins]
    n_tail = len(kept) - begins
    alphas = 1 + n_tail / (sums - n_tail * logs[begins])
    distances = _distances(logs, begins, alphas)
    best = int(np.argmin(distances))
    alpha, n = float(alphas[best]), int(n_tail[best])
    return PowerLaw(
        alpha=alpha,
        xmin=float(kept[begins[best]]),
        xmax=float(kept[-1]),
        distance=float(distances[best]),
        n_tail=n,
        sigma=(alpha - 1) / n**0.5,
    )


def alpha_interval(
    values: np.ndarray, rng: np.random.Generator, *, n_resamples: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of alpha; the start of the tail is sought anew every time.

    As if the values were independent draws (eigenvalues repel each other, so it is wide).
    Source: Clauset et al. 2009, section 3.3 (uncertainty by resampling).
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    found = [
        fit_power_law(values[rng.integers(0, len(values), len(values))]).alpha
        for _ in range(n_resamples)
    ]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def random_eigenvalues(
    n_rows: int, n_columns: int, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Squared singular values, ascending, of a matrix of independent N(0, scale**2) entries.

    [N] with N the smaller side. The matrix itself is never made: its bidiagonal form has the same
    singular values and 2 N random entries, so a vocabulary of any size costs nothing.

    Source: Dumitriu and Edelman 2002, J Math Phys 43:5830 (beta = 1 Laguerre ensemble).
    """
    from scipy.linalg import eigvalsh_tridiagonal

    small, large = sorted((n_rows, n_columns))
    diagonal = np.sqrt(rng.chisquare(large - np.arange(small)))
    below = np.sqrt(rng.chisquare(np.arange(small - 1, 0, -1)))
    # B B^T of the lower bidiagonal B is tridiagonal
    main = diagonal**2 + np.append(0, below**2)
    return np.maximum(eigvalsh_tridiagonal(main, diagonal[:-1] * below), 0) * scale**2


@njit(cache=True, nogil=True)
def _distances(logs, begins, alphas):  # pragma: no cover
    """Largest gap between the fitted and the empirical distribution function of each tail."""
    out = np.empty(len(begins))
    for b in range(len(begins)):
        begin, slope, n = begins[b], 1 - alphas[b], len(logs) - begins[b]
        worst = 0.0
        for i in range(n):
            fitted = 1 - np.exp(slope * (logs[begin + i] - logs[begin]))
            gap = abs(fitted - i / n)
            if gap > worst:
                worst = gap
        out[b] = worst
    return out
