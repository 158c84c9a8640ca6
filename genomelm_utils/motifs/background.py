"""What sequences without motifs are like: a Markov chain of bases, alike on both strands.

Shape suffixes: P bases of all sequences, C = 4 ** order contexts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import kmer_codes, kmer_index, revcomp_codes

#: Order of the chain made from the sequences themselves: neighbours, so that CpG and runs of one
#: base are no news. Higher ones would learn the motifs. Chosen.
ORDER = 1


@dataclass(frozen=True)
class Background:
    """Chances of bases: shares float64[4]; transitions float64[C, 4], the base after a context."""

    shares: np.ndarray
    transitions: np.ndarray

    @property
    def order(self) -> int:
        """Bases that the next one depends on."""
        return (len(self.transitions).bit_length() - 1) // 2

    def running_cost(self, codes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Log chances of the bases, added up: float64[P + 1], first 0.

        A base after an ambiguous one, or among the first `order` of its sequence, has its plain
        share; an ambiguous base costs nothing.
        """
        definite = codes < N_BASES
        log_P = np.zeros(len(codes))
        log_P[definite] = np.log(self.shares)[codes[definite]]
        if self.order and len(codes) > self.order:
            words = kmer_codes(codes, self.order + 1)
            for shift in range(1, self.order + 1):  # words that begin in the sequence before
                words[(starts[1:-1] - shift)[starts[1:-1] - shift < len(words)]] = -1
            known = words >= 0
            log_P[self.order :][known] = np.log(self.transitions).ravel()[words[known]]
        return np.concatenate([[0.0], np.cumsum(log_P)])


def fit_background(codes: np.ndarray, order: int = ORDER) -> Background:
    """The chain of base codes, with every word counted on both strands and once more on top."""
    counts = np.ones(N_BASES ** (order + 1))
    words = kmer_codes(codes, order + 1)
    counts += np.bincount(words[words >= 0], minlength=len(counts))
    counts += counts[revcomp_codes(order + 1)]
    table_C4 = counts.reshape(-1, N_BASES)
    shares = counts.reshape(N_BASES, -1).sum(axis=1)
    shares = shares + shares[::-1]  # the ends of the sequences made them differ a little
    return Background(shares / shares.sum(), table_C4 / table_C4.sum(axis=1, keepdims=True))


def read_background(path: str | Path) -> Background:
    """A file in MEME's Markov format: a word and its chance per line, words of 1 to n bases.

    Source: MEME suite manual, "Markov Background Model Format".
    Raises: FileNotFoundError; ValueError for a line that is not that, or words that are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a background in MEME's format")
    chance: dict[str, float] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = re.fullmatch(r"\s*([ACGT]+)\s+([0-9.]+(?:e[-+]?\d+)?)\s*", line, re.IGNORECASE)
        if not found or not float(found[2]) > 0:
            raise ValueError(
                f"{path}, line {number}: found {line[:60]!r}, expected a word of A, C, G, T and a "
                "chance above 0"
            )
        chance[found[1].upper()] = float(found[2])
    longest = max(map(len, chance), default=0)
    if not longest or len(chance) != sum(N_BASES**n for n in range(1, longest + 1)):
        raise ValueError(
            f"{path}: {len(chance)} words of up to {longest} bases, expected all of them (4 for "
            "single bases, 20 with pairs, ...)"
        )
    table = np.empty(N_BASES**longest)
    for word, value in chance.items():
        if len(word) == longest:
            table[kmer_index(word)] = value
    table_C4 = table.reshape(-1, N_BASES)
    shares = np.array([chance[base] for base in "ACGT"])
    return Background(shares / shares.sum(), table_C4 / table_C4.sum(axis=1, keepdims=True))


def draw_background(
    background: Background, lengths: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of those lengths from the chain: codes uint8[P] and starts int64[S + 1]."""
    from genomelm_utils.sequences.background import sample_background

    lengths_S = np.asarray(lengths, dtype=np.int64)
    rows_SL = sample_background(background.transitions, (len(lengths_S), int(lengths_S.max())), rng)
    inside_SL = np.arange(rows_SL.shape[1]) < lengths_S[:, None]
    return rows_SL[inside_SL], np.concatenate([[0], np.cumsum(lengths_S)])
