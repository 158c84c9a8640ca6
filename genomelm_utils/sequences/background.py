"""The ground a genome is simulated on: Markov chains with a composition of their own.

Shape suffixes: L bases of a piece.
"""

import numpy as np

from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement


def draw_transitions(
    rng: np.random.Generator, *, order: int, gc: float, concentration: float
) -> np.ndarray:
    """A species' own composition: `float64[4 ** order, 4]`, the next base after each context.

    Every row is a Dirichlet draw around the base frequencies that `gc` gives; the smaller the
    `concentration`, the more the contexts differ.
    """
    if not (0 < gc < 1 and concentration > 0 and 0 <= order <= 8):
        raise ValueError(
            f"gc {gc}, concentration {concentration}, order {order}: expected gc in (0, 1), "
            "concentration above 0, order 0 to 8"
        )
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    return rng.dirichlet(concentration * base, size=N_BASES**order)


def sample_background(
    transitions: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Independent Markov pieces `uint8[pieces, L]`, half of them turned to the other strand.

    Turning makes both strands alike, as they are in genomes (Chargaff's second rule). All pieces
    advance together, one base at a time. Contexts start from the chain's stationary distribution.
    """
    n_pieces, length = shape
    n_contexts = len(transitions)
    thresholds = np.cumsum(transitions, axis=1)[:, :-1]
    context = rng.choice(n_contexts, n_pieces, p=_find_stationary(transitions))
    codes = np.empty((length, n_pieces), dtype=np.uint8)
    for i in range(length):
        draw = rng.random(n_pieces)
        base = (draw[:, None] > thresholds[context]).sum(axis=1)
        context = (context * N_BASES + base) % n_contexts
        codes[i] = base
    pieces = np.ascontiguousarray(codes.T)
    turned = rng.random(n_pieces) < 0.5
    pieces[turned] = reverse_complement(pieces[turned])
    return pieces


def _find_stationary(transitions: np.ndarray) -> np.ndarray:
    """The distribution of contexts that one more step leaves as it is (power iteration)."""
    n_contexts = len(transitions)
    share = np.full(n_contexts, 1 / n_contexts)
    target = (np.arange(n_contexts)[:, None] * N_BASES + np.arange(N_BASES)) % n_contexts
    for _ in range(1000):
        flow = np.bincount(target.ravel(), (share[:, None] * transitions).ravel(), n_contexts)
        if np.abs(flow - share).max() < 1e-12:
            break
        share = flow
    return share / share.sum()


def mutate(codes: np.ndarray, share: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy in which each definite base became another one with chance `share` (broadcast)."""
    changed = (rng.random(codes.shape) < share) & (codes < N_BASES)
    other = (codes + rng.integers(1, N_BASES, codes.shape, dtype=np.uint8)) % N_BASES
    return np.where(changed, other, codes).astype(np.uint8)
