"""Sequencing errors of long reads: bases substituted, inserted and deleted at given rates.

Shape suffixes: L bases of the template, N of them with an error of a kind, M bases of the read.
"""

from typing import NamedTuple

import numpy as np

from genomelm_utils.sequences.alphabet import N_BASES

#: Of a hundred errors of a nanopore read, those of each kind. Source: PBSIM3 (Ono, Hamada and Asai
#: 2022, NAR Genom Bioinform 4:lqac092), whose --difference-ratio for ONT reads is 39:24:36.
NANOPORE_RATIO = {"substitution": 39, "insertion": 24, "deletion": 36}


class ErrorRates(NamedTuple):
    """Share of a template's bases with each kind of error."""

    substitution: float
    insertion: float
    deletion: float

    @property
    def total(self) -> float:
        """Share of bases with an error."""
        return sum(self)


def split_error_rate(error_rate: float) -> ErrorRates:
    """The rate of each kind of error in reads of which this share of bases is wrong.

    error_rate: [0, 1). Long reads before polishing have 0.10 to 0.15 (PBSIM3's paper).
    Raises: ValueError for another value.
    """
    if not 0 <= error_rate < 1:
        raise ValueError(
            f"error_rate is {error_rate}, expected a share of bases in [0, 1), such as 0.1"
        )
    total = sum(NANOPORE_RATIO.values())
    return ErrorRates(**{kind: error_rate * n / total for kind, n in NANOPORE_RATIO.items()})


def add_errors(codes_L: np.ndarray, rates: ErrorRates, rng: np.random.Generator) -> np.ndarray:
    """A read of a sequence, uint8[M]: every base has at most one error, whatever its neighbours.

    A base is deleted, replaced by one of the three others (each alike), or followed by one base
    more (all four alike). So M is L + insertions - deletions: its mean is L (1 + insertion -
    deletion), its variance L (insertion + deletion - (insertion - deletion)^2). At least one base
    is left. Real reads err more in runs of one base and in stretches; that is not modelled.

    Args:
        codes_L: uint8[L], definite bases. It is not changed.
        rates: each in [0, 1], together at most 1. All 0: a copy, and no number is drawn.
    Raises: ValueError for other rates, or ambiguous bases.
    """
    if min(rates) < 0 or rates.total > 1:
        raise ValueError(f"{rates}: expected rates in [0, 1], together at most 1")
    if len(codes_L) and codes_L.max() >= N_BASES:
        place = int(np.argmax(codes_L >= N_BASES))
        raise ValueError(
            f"an ambiguous base at position {place} (0-based); errors need definite bases: take "
            "windows inside definite runs"
        )
    if not len(codes_L) or not rates.total:
        return codes_L.copy()
    draw_L = rng.random(len(codes_L))
    borders = np.cumsum([rates.deletion, rates.substitution, rates.insertion])
    kind_L = np.searchsorted(borders, draw_L, side="right")  # deleted, replaced, followed, right
    replaced_N = np.flatnonzero(kind_L == 1)
    read_L = codes_L.copy()
    read_L[replaced_N] += rng.integers(1, N_BASES, len(replaced_N), dtype=np.uint8)
    read_L[replaced_N] %= N_BASES
    n_copies_L = np.array([0, 1, 2, 1], dtype=np.int64)[kind_L]
    if not n_copies_L.any():
        n_copies_L[rng.integers(len(codes_L))] = 1
    read_M = np.repeat(read_L, n_copies_L)
    inserted_N = np.cumsum(n_copies_L)[kind_L == 2] - 1  # the second of two copies
    read_M[inserted_N] = rng.integers(0, N_BASES, len(inserted_N), dtype=np.uint8)
    return read_M
