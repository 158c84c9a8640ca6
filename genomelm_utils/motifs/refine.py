"""From a candidate to a motif: fitted to all sequences, ends extended and trimmed.

Shape suffixes: W positions of a motif, F flanking positions on each side.
"""

import numpy as np

from genomelm_utils.motifs.em import PSEUDO_SITES, EmData, Fit, run_em
from genomelm_utils.motifs.parameters import MIN_MOTIF_BP, Parameters
from genomelm_utils.sequences.alphabet import N_BASES

FLANK_BP = 6  # positions looked at beyond each end in one go. Chosen.
MAX_ROUNDS = 8  # extensions in a row: 12 positions each
MAX_WIDTH = 40  # Chosen: longer ones are repeats, not sites
#: Bits of a position below which it does not end a motif, whatever the number of sites. Chosen.
MIN_BITS = 0.1
#: Two matrices agree where the chances of a position differ by no more (half the sum of the
#: differences), in the mean weighted by information. Chosen: less than one other base in six.
MAX_DIFFERENCE = 0.12


def extend_and_trim(data: EmData, fit: Fit, parameters: Parameters) -> Fit:
    """EM to the end, with the ends moved to where the information is (`ext_trim`).

    A position is worth the nats that it adds beyond `MIN_BITS` per site, less what a free position
    costs (3/2 ln(sites), Schwarz 1978, Ann. Stat. 6:461); the stretch of positions that is worth
    most is kept, between 6 and 40 long.
    """
    steps = parameters.num_em
    flank = FLANK_BP if parameters.ext_trim else 0
    fit = run_em(data, fit.probabilities, fit.gamma, steps, flank)
    for _ in range(MAX_ROUNDS if parameters.ext_trim else 0):
        begin, end = best_stretch(fit.counts, data.shares, flank)
        if (begin, end) == (flank, flank + len(fit.probabilities)):
            break
        chosen = fit.counts[begin:end] + PSEUDO_SITES * data.shares
        matrix = chosen / chosen.sum(axis=1, keepdims=True)
        fit = run_em(data, matrix, fit.gamma, steps, flank)
    return fit


def log_n_ends(parameters: Parameters) -> float:
    """ln of the pairs of ends that `extend_and_trim` can choose from in one go.

    Counted among the candidates of an E-value: without it the best motif of random sequences had
    ln(E) from -5 to 6 (24 sets of 49 to 1,000 sequences), half of them below 0.
    """
    return 2 * float(np.log(2 * FLANK_BP + 1)) if parameters.ext_trim else 0.0


def best_stretch(counts: np.ndarray, shares: np.ndarray, flank: int) -> tuple[int, int]:
    """Half-open range of the rows of counts, flanks included, that is worth most.

    counts: float64[W + 2 F, 4].
    """
    n = counts.sum(axis=1)
    chances = (counts + 1e-9) / (n[:, None] + N_BASES * 1e-9)
    nats = (chances * np.log(chances / shares)).sum(axis=1)
    worth = n * (nats - MIN_BITS * np.log(2)) - 1.5 * np.log(np.maximum(n, 1))
    sums = np.concatenate([[0.0], np.cumsum(worth)])
    best, found = -np.inf, (flank, len(counts) - flank)
    for begin in range(len(counts)):
        for end in range(begin + MIN_MOTIF_BP, min(len(counts), begin + MAX_WIDTH) + 1):
            if sums[end] - sums[begin] > best:
                best, found = sums[end] - sums[begin], (begin, end)
    return found


def same_motif(one_W4: np.ndarray, other_W4: np.ndarray, window: int) -> bool:
    """Whether two matrices agree over `window` positions in a row, on either strand.

    Positions count by their information; a window with less of it than usual in the poorer of the
    two (by a tenth) does not count: gaps alone are no agreement.
    """
    if min(len(one_W4), len(other_W4)) < window:
        window = min(len(one_W4), len(other_W4))
    bits_one, bits_other = _bits(one_W4), _bits(other_W4)
    usual = 0.9 * window * min(bits_one.mean(), bits_other.mean())
    for turned, bits_turned in ((other_W4, bits_other), (other_W4[::-1, ::-1], bits_other[::-1])):
        for i in range(len(one_W4) - window + 1):
            for j in range(len(turned) - window + 1):
                a, b = slice(i, i + window), slice(j, j + window)
                if (bits_one[a] + bits_turned[b]).sum() / 2 < usual:
                    continue
                if weighted_difference(one_W4[a], turned[b]) <= MAX_DIFFERENCE:
                    return True
    return False


def weighted_difference(one_W4: np.ndarray, other_W4: np.ndarray) -> float:
    """Half the sum of differences of a position's chances, mean weighted by information: 0 to 1."""
    weight = _bits(one_W4) + _bits(other_W4)
    off = np.abs(one_W4 - other_W4).sum(axis=1) / 2
    return float((weight * off).sum() / max(weight.sum(), 1e-9))


def _bits(matrix_W4: np.ndarray) -> np.ndarray:
    safe = np.maximum(matrix_W4, 1e-9)
    return 2 + (safe * np.log2(safe)).sum(axis=1)
