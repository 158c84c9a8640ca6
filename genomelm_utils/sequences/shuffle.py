"""Shuffled sequences: backgrounds that keep the composition and lose the words.

Shape suffixes: S sequences, L bases.
"""

from itertools import product

import numpy as np

from genomelm_utils.sequences.alphabet import N_BASES


def shuffle_bases(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every sequence with its bases in random order, `uint8[..., L]`: keeps base counts only."""
    return rng.permuted(codes, axis=-1)


def shuffle_dinucleotides(codes_SL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every sequence shuffled with exactly the same dinucleotide counts: `uint8[S, L]`.

    Read bases as places and dinucleotides as one-way roads: a sequence is a trail over all roads.
    Every such trail starts and ends where the original did, so the first and the last base stay.
    Each result is drawn uniformly from all sequences with these counts; short or repetitive ones
    have few (AAAA has only itself). A row (`uint8[L]`) gives a row.

    Raises ValueError for ambiguous bases: they have no place in a background.

    Source: Altschul & Erickson 1985, Mol. Biol. Evol. 2:526. A trail is fixed by the order in which
    the roads out of each base are used, and the last roads have to form a tree that leads to the
    last base (the BEST theorem). With four bases there are 16 such trees, so one is drawn by its
    weight, where the original draws until a tree comes out.
    """
    from genomelm_utils.sequences.euler import shuffle_trails

    codes = np.atleast_2d(codes_SL)
    if codes.size and codes.max() >= N_BASES:
        row, position = np.argwhere(codes >= N_BASES)[0].tolist()
        raise ValueError(
            f"sequence {row} holds an ambiguous base at position {position} (0-based); shuffling "
            "needs definite bases: take windows inside definite runs"
        )
    out = np.array(codes)
    if codes.shape[1] > 2:  # two bases are one dinucleotide
        shuffle_trails(codes, _TREES, rng, out)
    return out.reshape(codes_SL.shape)


def _make_trees() -> np.ndarray:
    """int64[root, tree, base] -> parent: all ways to lead the other three bases to the root.

    Source: Cayley's formula: 4 ** 2 labelled trees on four vertices.
    """
    return np.array([_trees_to(root) for root in range(N_BASES)], dtype=np.int64)


def _trees_to(root: int) -> list[tuple[int, ...]]:
    maps = product(range(N_BASES), repeat=N_BASES)
    return [parents for parents in maps if parents[root] == root and _all_reach(parents, root)]


def _all_reach(parents: tuple[int, ...], root: int) -> bool:
    """Whether following the parents three times leads from every base to the root."""
    return all(parents[parents[parents[base]]] == root for base in range(N_BASES))


_TREES = _make_trees()
