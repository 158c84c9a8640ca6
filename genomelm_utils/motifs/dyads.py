"""Spaced dyads: two words with a gap, proposed by over-representation, crossed and mutated.

A dyad counts once per sequence, whatever the strand. How many sequences should hold it follows
from the shares of its words in the same sequences, as if they met by chance. Source: spaced dyads
as candidates of a genetic search: Li 2009, J. Comput. Biol. 16:317; their over-representation: van
Helden et al. 2000, Nucleic Acids Res. 28:1808.

Shape suffixes: P bases of all sequences, S sequences, K = 4 ** k words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import kmer_codes, kmer_string, revcomp_codes

#: Chance of a dyad's own base in the matrix that EM starts from. Chosen.
START_CHANCE = 0.8
_MIN_SEQUENCES = 2  # a dyad of one sequence is no motif


class Dyad(NamedTuple):
    """Two words of `left_k` and `right_k` bases as k-mer codes, `gap` bases apart."""

    left: int
    left_k: int
    gap: int
    right: int
    right_k: int

    @property
    def width(self) -> int:
        """Bases from the first to the last."""
        return self.left_k + self.gap + self.right_k

    @property
    def text(self) -> str:
        """The dyad in letters, gap as n, such as TGTnnACA."""
        left, right = kmer_string(self.left, self.left_k), kmer_string(self.right, self.right_k)
        return left + "n" * self.gap + right

    def turned(self) -> "Dyad":
        """The same dyad read from the other strand."""
        left = int(revcomp_codes(self.right_k)[self.right])
        right = int(revcomp_codes(self.left_k)[self.left])
        return Dyad(left, self.right_k, self.gap, right, self.left_k)

    def canonical(self) -> "Dyad":
        """Of the two strands' readings the one that sorts first."""
        return min(self, self.turned())

    def matrix(self, shares: np.ndarray) -> np.ndarray:
        """float64[W, 4] for EM to start from: the gap is background."""
        matrix = np.tile(shares, (self.width, 1))
        rest = (1 - START_CHANCE) / (N_BASES - 1)
        for i, letter in enumerate(self.text):
            if letter != "n":
                matrix[i] = rest
                matrix[i, "ACGT".index(letter)] = START_CHANCE
        return matrix


@dataclass(frozen=True)
class Words:
    """Words of each length, best first: k -> k-mer codes; and their shares: k -> float64[K]."""

    top: dict[int, np.ndarray]
    shares: dict[int, np.ndarray]

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """(word, k): a length at random, then one of its top words at random."""
        k = int(rng.choice(list(self.top)))
        return int(rng.choice(self.top[k])), k


def rank_words(codes: np.ndarray, parameters: Parameters, shares: np.ndarray) -> Words:
    """The most over-represented words of each length, counted on both strands.

    Over-representation: (seen - expected) / sqrt(expected), expected from `shares` of bases. A word
    and its reverse complement have the same score; both are in.
    """
    n_top = (parameters.num_top_3mer, parameters.num_top_4mer, parameters.num_top_5mer)
    top, found = {}, {}
    for k, n in zip(parameters.word_lengths, n_top, strict=False):
        words = kmer_codes(codes, k)
        counts_K = np.bincount(words[words >= 0], minlength=N_BASES**k).astype(np.float64)
        counts_K += counts_K[revcomp_codes(k)]
        total = max(counts_K.sum(), 1.0)
        chance_K = np.ones(1)
        for _ in range(k):
            chance_K = np.outer(chance_K, shares).ravel()
        chance_K = (chance_K + chance_K[revcomp_codes(k)]) / 2
        z_K = (counts_K - total * chance_K) / np.sqrt(total * chance_K)
        top[k] = np.argsort(-z_K, kind="stable")[:n]
        found[k] = counts_K / total
    return Words(top, found)


def propose(
    codes: np.ndarray, left: np.ndarray, starts: np.ndarray, words: Words, parameters: Parameters,
    n: int,
) -> list[Dyad]:  # fmt: skip
    """The n most over-represented dyads of two words of one length, best first.

    The score of a dyad is what it gives against chance: S times the divergence of the share of
    sequences that hold it from the expected share (the exponent of a binomial tail).
    """
    lengths_S = np.diff(starts)
    four_K = _junctions(codes)
    found: list[tuple[float, Dyad]] = []
    for k in parameters.word_lengths:
        numbers = kmer_codes(codes, k)
        numbers = np.concatenate([numbers, np.full(k - 1, -1, np.int32)])
        back_K = revcomp_codes(k).astype(np.int64)
        for gap in range(parameters.min_space_width, parameters.max_space_width + 1):
            counts = np.zeros(N_BASES ** (2 * k), np.int32)
            last = np.full(len(counts), -1, np.int32)
            count_dyads(numbers, left, starts, k, gap, back_K, counts, last)
            seen = np.flatnonzero(counts >= _MIN_SEQUENCES)
            share = words.shares[k]
            first, second = np.divmod(seen, N_BASES**k)
            chance = share[first] * share[second]
            if gap == 0:  # neighbours depend on each other over the junction too
                chance *= four_K[(first % 16) * 16 + second // N_BASES ** (k - 2)]
            palindrome = (back_K[second] == first) & (back_K[first] == second)
            chance = np.where(palindrome, chance, 2 * chance)
            places = np.maximum(lengths_S - (2 * k + gap) + 1, 0).mean()
            expected = -np.expm1(-places * chance)
            score = _divergence(counts[seen] / len(lengths_S), expected) * len(lengths_S)
            best = np.argsort(-score, kind="stable")[:n]
            found += [
                (float(score[i]), Dyad(int(first[i]), k, gap, int(second[i]), k)) for i in best
            ]
    found.sort(key=lambda pair: -pair[0])
    return [dyad for _, dyad in found[:n]]


def _junctions(codes: np.ndarray) -> np.ndarray:
    """float64[256]: how much more often four bases follow each other than their halves would."""
    four = kmer_codes(codes, 4)
    counts = np.bincount(four[four >= 0], minlength=256) + 1.0
    counts += counts[revcomp_codes(4)]
    counts /= counts.sum()
    table = counts.reshape(16, 16)
    return (table / np.outer(table.sum(axis=1), table.sum(axis=0))).ravel()


def _divergence(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Nats by which a share seen diverges from a smaller expected one; 0 where it is not larger."""
    expected = np.clip(expected, 1e-12, 1 - 1e-12)
    seen = np.clip(seen, 1e-12, 1 - 1e-12)
    nats = seen * np.log(seen / expected) + (1 - seen) * np.log((1 - seen) / (1 - expected))
    return np.where(seen > expected, nats, 0.0)


@njit(cache=True, nogil=True)
def count_dyads(numbers, left, starts, k, gap, back_K, counts, last):
    """Sequences that hold each pair of k-mers so far apart, on either strand; adds to `counts`.

    numbers: int32[P], k-mer codes by place. left: definite bases from each place on. back_K: the
    reverse complements. counts: int32[K * K]; of the two readings of a dyad the lower number
    counts. last: int32[K * K], the last sequence that held it, -1 at first.
    """
    size = back_K.shape[0]
    width = 2 * k + gap
    for s in range(starts.shape[0] - 1):
        for j in range(starts[s], starts[s + 1] - width + 1):
            if left[j] < width:
                continue
            first, second = np.int64(numbers[j]), np.int64(numbers[j + k + gap])
            number = min(first * size + second, back_K[second] * size + back_K[first])
            if last[number] != s:
                last[number] = s
                counts[number] += 1


def breed(
    parents: Sequence[Dyad], n: int, words: Words, parameters: Parameters, rng: np.random.Generator
) -> list[Dyad]:
    """n children: half of them crossed, half of them with one part changed at random.

    parents: best first; the better ones are taken more often (linear in the rank). Crossing takes
    the left word of one and the right word of another, and the gap of one of the two. A change
    replaces a word by one of the top words, or the gap by another.
    """
    chance = np.arange(len(parents), 0, -1, dtype=np.float64)
    chance /= chance.sum()
    gaps = np.arange(parameters.min_space_width, parameters.max_space_width + 1)
    children = []
    for _ in range(n):
        one, other = (parents[i] for i in rng.choice(len(parents), 2, p=chance))
        if rng.random() < 0.5:
            other = other.turned()
        if rng.random() < 0.5:
            gap = one.gap if rng.random() < 0.5 else other.gap
            child = Dyad(one.left, one.left_k, gap, other.right, other.right_k)
        else:
            part = rng.integers(0, 3)
            word, k = words.draw(rng)
            if part == 0:
                child = one._replace(left=word, left_k=k)
            elif part == 1:
                child = one._replace(right=word, right_k=k)
            else:
                child = one._replace(gap=int(rng.choice(gaps)))
        children.append(child.canonical())
    return children


def draw_dyads(
    n: int, words: Words, parameters: Parameters, rng: np.random.Generator
) -> list[Dyad]:
    """n dyads of two top words, gap at random."""
    dyads = []
    for _ in range(n):
        (left, left_k), (right, right_k) = words.draw(rng), words.draw(rng)
        gap = int(rng.integers(parameters.min_space_width, parameters.max_space_width + 1))
        dyads.append(Dyad(left, left_k, gap, right, right_k).canonical())
    return dyads


def log_n_dyads(dyad: Dyad, parameters: Parameters) -> float:
    """ln of the dyads that could have been proposed in its place: all of its word lengths, times
    the pairs of word lengths that there are; the two readings of a dyad count once."""
    n_gaps = parameters.max_space_width - parameters.min_space_width + 1
    pairs = len(parameters.word_lengths) ** 2
    bases = dyad.left_k + dyad.right_k
    return float(bases * np.log(N_BASES) + np.log(n_gaps * pairs / 2))
