"""Several kinds of numbers for one sequence, side by side: late fusion, nothing is trained.

    fused = fuse_features([embeddings, tnf_k, coverage_rows(depths)], weights=[1, 1, 0.5])

Shapes: S sequences, D width of a block of features, F width of all, N samples.
"""

from collections.abc import Sequence

import numpy as np

from genomelm_utils.evaluation.feature_rows import BLOCK_ROWS, check_features, unit_rows


def fuse_features(
    blocks: Sequence[np.ndarray],
    weights: Sequence[float] | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Unit rows of all blocks side by side, each times its weight, float32 [S, F].

    The cosine of two rows is then the mean of their cosines in the blocks with weights squared:
    neither width nor scale of a block counts. Rows are read and written in parts, so blocks and
    `out` may be memory maps.

    Args:
        weights: above 0; all 1 by default. out: float32 [S, F] to write to.
    Errors: ValueError for blocks of different length, rows that are all zero, other weights.
    Source: DCVBin and other hybrids, which put a language model's vectors beside 4-mer frequencies;
    weights: ours.
    """
    weights = [1.0] * len(blocks) if weights is None else list(weights)
    if len(weights) != len(blocks) or not all(np.isfinite(w) and w > 0 for w in weights):
        raise ValueError(
            f"weights are {weights}, expected a number above 0 for each of {len(blocks)} blocks"
        )
    blocks = [check_features(block) for block in blocks]
    if len({len(block) for block in blocks}) > 1:
        rows = ", ".join(str(len(block)) for block in blocks)
        raise ValueError(f"blocks have {rows} rows, expected a row per sequence in each")
    if out is None:
        out = np.empty((len(blocks[0]), sum(b.shape[1] for b in blocks)), dtype=np.float32)
    for begin in range(0, len(out), BLOCK_ROWS):
        part = slice(begin, begin + BLOCK_ROWS)
        column = 0
        for block, weight in zip(blocks, weights, strict=True):
            unit_BD = unit_rows(block[part], first_row=begin)
            out[part, column : column + block.shape[1]] = unit_BD * np.float32(weight)
            column += block.shape[1]
    return out


def coverage_rows(depth_SN: np.ndarray) -> np.ndarray:
    """Coverage as a direction: float64 [S, N + 1], rows of any length.

    For each sample log(1 + depth), less its mean over contigs, divided by its standard deviation
    (0 where all contigs are alike); behind these a 1. Contigs of one genome go up and down together
    over samples. The 1 keeps how far a contig is from the mean when rows are made of length one:
    without it a single sample would only say above or below, and contigs near the mean would point
    anywhere.

    depth_SN: mean depth of S contigs in N samples, 0 or more.
    Errors: ValueError when no sample tells contigs apart.
    Source: logarithm and z-scores over contigs as VAMB takes them of the abundance (Nissen et al.
    2021; there of the total, beside the shares of samples); log(1 + depth) bends where MetaBAT 2
    stops trusting a depth (`--minCV 1`); the 1: ours.
    """
    log_SN = np.log1p(check_features(depth_SN).astype(np.float64))
    centred_SN = log_SN - log_SN.mean(0)
    spread_N = log_SN.std(0)
    told_N = spread_N > 1e-9
    if not told_N.any():
        raise ValueError(
            f"all {len(log_SN)} contigs have the same coverage in every sample, so coverage does "
            "not tell them apart; leave it out"
        )
    scores_SN = np.where(told_N, centred_SN / np.where(told_N, spread_N, 1), 0)
    return np.hstack([scores_SN, np.ones((len(scores_SN), 1))])
