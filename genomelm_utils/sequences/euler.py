"""Compiled random Euler trails: the walk behind `shuffle.shuffle_dinucleotides`."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def shuffle_trails(
    codes_SL: np.ndarray, trees: np.ndarray, rng: np.random.Generator, out_SL: np.ndarray
) -> None:
    """Write to each row of `out_SL` a random sequence of the same dinucleotides as in `codes_SL`.

    Both uint8[S, L], L > 1. trees: int64[4, 16, 4], for each root the parent of each base in each
    of the 16 trees that lead all bases to the root (see shuffle.py). A result is uniform over all
    sequences with the same dinucleotide counts and the same first base.
    """
    for row in range(codes_SL.shape[0]):
        _shuffle_trail(codes_SL[row], trees, rng, out_SL[row])


@njit(cache=True, nogil=True)
def _shuffle_trail(codes, trees, rng, out):
    n_edges = codes.shape[0] - 1
    counts = np.zeros((4, 4), np.int64)
    for i in range(n_edges):
        counts[codes[i], codes[i + 1]] += 1
    root = codes[n_edges]
    parents = trees[root, _choose_tree(counts, trees[root], root, rng)]
    ends = np.cumsum(counts.sum(axis=1))
    begins = ends - counts.sum(axis=1)
    successors = np.empty(n_edges, np.uint8)
    for base in range(4):
        _lay_successors(counts[base], parents[base], base != root, rng, successors[begins[base] :])
    out[0] = codes[0]
    for i in range(n_edges):
        base = out[i]
        out[i + 1] = successors[begins[base]]
        begins[base] += 1


@njit(cache=True, nogil=True)
def _choose_tree(counts, trees, root, rng):
    """One of the trees, with a chance proportional to how many choices of edges make it."""
    weights = np.ones(trees.shape[0])
    for tree in range(trees.shape[0]):
        for base in range(4):
            if base == root:
                continue
            if counts[base].sum() > 0:
                weights[tree] *= counts[base, trees[tree, base]]
            elif trees[tree, base] != root:  # an absent base hangs on the root, in one way only
                weights[tree] = 0.0
    position = rng.random() * weights.sum()
    for tree in range(trees.shape[0]):
        position -= weights[tree]
        if position < 0.0 and weights[tree] > 0.0:
            return tree
    return np.argmax(weights)  # only when rounding left a rest of nothing


@njit(cache=True, nogil=True)
def _lay_successors(counts, parent, has_parent, rng, target):
    """The bases that follow one base, in random order; the one towards the root comes last."""
    n = 0
    for base in range(4):
        for _ in range(counts[base]):
            target[n] = base
            n += 1
    if n == 0:
        return
    if has_parent:
        last = counts[: parent + 1].sum() - 1
        target[last], target[n - 1] = target[n - 1], target[last]
        n -= 1
    for i in range(n - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        target[i], target[j] = target[j], target[i]
