"""Toy species for the tests of baselines: one Markov chain each, contigs from either strand."""

from types import SimpleNamespace

import numpy as np

from genomelm_utils.sequences.alphabet import encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_codes

EXAMPLE = [encode(text) for text in ("ACGTACGT", "aaaaacc", "ACGTNNACGTTNACG")]


def make_contigs(
    rng: np.random.Generator, *, n_species: int = 8, n_contigs: int = 20, length_bp: int = 3000
) -> tuple[list[np.ndarray], np.ndarray]:
    """Contigs of third-order Markov species, strand by chance; species label of each."""
    codes, labels = [], []
    for species in range(n_species):
        table = rng.dirichlet(np.full(4, 8.0), 64).cumsum(1)
        for _ in range(n_contigs):
            contig = draw_chain(rng, table, length_bp)
            codes.append(contig if rng.random() < 0.5 else reverse_complement(contig))
            labels.append(species)
    return codes, np.array(labels)


def draw_chain(rng: np.random.Generator, table: np.ndarray, length_bp: int) -> np.ndarray:
    """One sequence of a third-order chain with cumulative probabilities [64, 4]."""
    bases = np.zeros(length_bp, dtype=np.uint8)
    state = int(rng.integers(64))
    for i, u in enumerate(rng.random(length_bp)):
        base = min(int(np.searchsorted(table[state], u)), 3)
        bases[i] = base
        state = (state * 4 + base) % 64
    return bases


class ToyPairs:
    """Pairs of contigs of one species: pure in (seed, step)."""

    def __init__(self, codes: list[np.ndarray], labels: np.ndarray, seed: int = 0) -> None:
        self.codes, self.labels, self.seed = codes, labels, seed

    def pairs(self, step: int, start: int, stop: int) -> SimpleNamespace:
        rng = np.random.default_rng([self.seed, step])
        first = rng.integers(len(self.codes), size=stop)[start:]
        second = [rng.choice(np.flatnonzero(self.labels == self.labels[i])) for i in first]
        return SimpleNamespace(
            first=[self.codes[i] for i in first],
            second=[self.codes[i] for i in second],
            species=self.labels[first],
        )


def naive_tnf(codes: np.ndarray, k: int = 4) -> np.ndarray:
    """Frequencies by one k-mer code at a time."""
    words = kmer_codes(codes, k)
    counts = np.zeros(4**k)
    for word in words[words >= 0]:
        counts[word] += 1
    return counts / counts.sum()


def cluster_ari(features: np.ndarray, labels: np.ndarray) -> float:
    """Adjusted Rand index of K-means on unit rows."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = KMeans(len(np.unique(labels)), n_init=5, random_state=0).fit_predict(unit)
    return float(adjusted_rand_score(labels, found))
