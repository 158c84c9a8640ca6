"""The modified K-medoid binning written down plainly, with its N x N matrix: what ours must equal.

Written from the description of the algorithm, step by step, in NumPy float32. Peer of
`bench_binning.py` and of the tests of `genomelm_utils.evaluation.binning`.
"""

import warnings

import numpy as np


def bin_dense(
    unit_SD: np.ndarray, gamma: float, min_bin_size: int = 10, max_iterations: int = 1000
) -> np.ndarray:
    """Bin ids int64 [S], from 1, gaps where a bin was too small or empty; -1 is unbinned."""
    unit_SD = np.asarray(unit_SD, dtype=np.float32)
    gamma = np.float32(gamma)
    similar_SS = unit_SD @ unit_SD.T
    similar_SS[similar_SS < gamma] = 0
    density_S = similar_SS.sum(axis=1)
    labels_S = np.full(len(unit_SD), -1, dtype=np.int64)
    iteration = 0
    while (labels_S == -1).any():
        iteration += 1
        if iteration > max_iterations:
            break
        seed = density_S.argmax()
        density_S[seed] = -100
        centre_D = unit_SD[seed]
        for _ in range(3):
            members = np.flatnonzero((unit_SD @ centre_D >= gamma) & (labels_S == -1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
                centre_D = unit_SD[members].mean(axis=0)
        labels_S[members] = iteration
        density_S -= similar_SS[:, members].sum(axis=1)
        density_S[members] = -100
    bins, sizes = np.unique(labels_S, return_counts=True)
    labels_S[np.isin(labels_S, bins[sizes < min_bin_size])] = -1
    return labels_S
