"""Labelled sequences in which a class is known by planted words, and every planted base is known.

Shape suffixes: S sequences, L bases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomelm_utils.sequences.background import draw_transitions, sample_background
from genomelm_utils.sequences.planting import Motif, check_fit, plant_motif
from genomelm_utils.sequences.shuffle import shuffle_bases

# Words: AP-1 Angel et al. 1987, Cell 49:729 (TGAGTCA); NRF1 Virbasius et al. 1993, Genes Dev.
# 7:2431 (core GCGCATGCGC). Places and shares are chosen: anywhere but at the ends, AP-1 in all
# positive sequences and NRF1 in half of them, so that AP-1 alone tells the class.
LENGTH_BP = 60
MOTIFS = (
    Motif("AP-1", "TGAGTCA", 4, 21, either_strand=True),
    Motif("NRF1", "GCGCATGCGC", 32, 46, presence=0.5, either_strand=True),
)


@dataclass(frozen=True)
class PlantedSet:
    """codes_SL: uint8. labels: int64 [S], 1 = the words are there. truth_SL: bool, bases of a
    planted word (class 0: nowhere, although words with the same bases in another order are there).
    """

    codes_SL: np.ndarray
    labels: np.ndarray
    truth_SL: np.ndarray


def simulate_planted(
    rng: np.random.Generator,
    n: int,
    *,
    length_bp: int = LENGTH_BP,
    motifs: Sequence[Motif] = MOTIFS,
    order: int = 2,
    gc: float = 0.45,
) -> PlantedSet:
    """`n` sequences of `length_bp`, every other one of class 1, in random order.

    Background: a Markov chain of `order`. Class 1 gets each motif with its `presence`, first base
    at `first` to `last`. Class 0 gets, as often and in the same places, the same words with their
    bases shuffled: composition tells nothing, the order of bases does. Raises: ValueError for a
    motif that does not fit, or fewer than two sequences.
    """
    if n < 2:
        raise ValueError(f"{n} sequences, expected at least 2: one of each class")
    check_fit(motifs, length_bp)
    transitions = draw_transitions(rng, order=order, gc=gc, concentration=10.0)
    codes_SL = sample_background(transitions, (n, length_bp), rng)
    labels = rng.permutation(np.arange(n) % 2)
    truth_SL = np.zeros(codes_SL.shape, dtype=bool)
    zeros_S = np.zeros(n, dtype=np.int64)
    for motif in motifs:
        width = len(motif.consensus)
        present_S, start_S, _ = plant_motif(codes_SL, zeros_S, motif, 1.0, rng)
        place_SW = start_S[:, None] + np.arange(width)
        rows = np.arange(n)[:, None]
        false_S = present_S & (labels == 0)
        words_SW = codes_SL[rows, place_SW]
        mixed_SW = np.where(false_S[:, None], shuffle_bases(words_SW, rng), words_SW)
        codes_SL[rows, place_SW] = mixed_SW
        true_S = present_S & (labels == 1)
        truth_SL[rows[true_S], place_SW[true_S]] = True
    return PlantedSet(codes_SL, labels.astype(np.int64), truth_SL)
