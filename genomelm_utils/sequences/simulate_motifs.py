"""Sequences in which motifs are planted for a search to find, and every site is known.

Shape suffixes: S sequences, L bases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.background import draw_transitions, sample_background
from genomelm_utils.sequences.planting import Motif, check_fit, plant_motif

TRUTH_COLUMNS = ["motif", "index", "start", "end", "strand"]
#: Words: AP-1 Angel et al. 1987, Cell 49:729; GRE (two halves, three bases between) Beato 1989,
#: Cell 56:335; NRF1 Virbasius et al. 1993, Genes Dev. 7:2431. Shares and places are chosen: three
#: stretches that keep the motifs apart, the frequent motif around the middle as at a peak's summit.
LENGTH_BP = 200
PEAK_MOTIFS = (
    Motif("AP-1", "TGAGTCA", 75, 118, presence=0.6, either_strand=True),
    Motif("GRE", "GGTACANNNTGTTCT", 5, 60, presence=0.4, either_strand=True),
    Motif("NRF1", "GCGCATGCGC", 130, 185, presence=0.25, either_strand=True),
)


@dataclass(frozen=True)
class Peaks:
    """codes_SL: uint8. truth: motif, index (of the sequence), start, end (0-based half-open),
    strand; one row per planted site."""

    codes_SL: np.ndarray
    truth: pd.DataFrame


def simulate_peaks(
    rng: np.random.Generator,
    n: int,
    *,
    length_bp: int = LENGTH_BP,
    motifs: Sequence[Motif] = PEAK_MOTIFS,
    strength: float = 0.95,
    gc: float = 0.45,
) -> Peaks:
    """`n` sequences of `length_bp` with motifs, as peaks of an experiment have them.

    Background: neighbours as a random table around `gc` has them, alike on both strands within
    every sequence. So a background of neighbours explains it, and shuffling dinucleotides leaves it
    what it is: what is found in it beside the motifs is luck. Each motif is in its
    `presence` of the sequences, first base at `first` to `last`; each of its bases is written with
    chance `strength`, otherwise the background's stays. Raises: ValueError for a motif that does
    not fit, or places at which two motifs could overwrite each other.
    """
    check_fit(motifs, length_bp)
    taken_L = np.zeros(length_bp + 1, dtype=np.int64)
    for motif in motifs:
        taken_L[motif.first : motif.last + len(motif.consensus)] += 1
    if taken_L.max() > 1:
        raise ValueError(
            f"places of motifs overlap at base {int(taken_L.argmax())}; a site could be overwritten"
        )
    transitions = balance_strands(draw_transitions(rng, order=1, gc=gc, concentration=10.0))
    codes_SL = sample_background(transitions, (n, length_bp), rng)
    parts = []
    for motif in motifs:
        zeros_S = np.zeros(n, dtype=np.int64)
        present_S, start_S, turned_S = plant_motif(codes_SL, zeros_S, motif, strength, rng)
        start = start_S[present_S]
        strand = np.where(turned_S[present_S], "-", "+")
        columns = (motif.name, np.flatnonzero(present_S), start, start + len(motif.consensus))
        table = pd.DataFrame(dict(zip(TRUTH_COLUMNS, (*columns, strand), strict=True)))
        parts.append(table)
    return Peaks(codes_SL, pd.concat(parts, ignore_index=True))


def balance_strands(transitions_44: np.ndarray) -> np.ndarray:
    """The chain of neighbours in which a dinucleotide is as frequent as its reverse complement.

    Both tables, of the chain and of its other strand, are averaged as joint chances.
    """
    joint_44 = stationary_shares(transitions_44)[:, None] * transitions_44
    joint_44 = (joint_44 + joint_44[::-1, ::-1].T) / 2
    return joint_44 / joint_44.sum(axis=1, keepdims=True)


def stationary_shares(transitions_44: np.ndarray) -> np.ndarray:
    """Shares of bases that one more step of the chain leaves as they are, float64[4]."""
    values, vectors = np.linalg.eig(transitions_44.T)
    share = np.real(vectors[:, np.argmax(values.real)])
    return share / share.sum()
