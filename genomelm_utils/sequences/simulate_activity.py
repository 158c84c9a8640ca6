"""Simulated promoters whose activity in several cells follows a known grammar of motifs.

A promoter is background with motifs planted at random places and strands. A cell's activity is the
sum of its effects of the motifs that are there, a bonus where a pair of them stands together, and
noise, the mean of two replicates. Assays differ in their cells, lengths and amount of data, not in
the motifs: what is learned on one helps on another, as pretraining on other reporter assays is
meant to.

Shapes: S promoters, L bases, M motifs, C cells, R = 2 replicates.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.sequences.background import draw_transitions, sample_background
from genomelm_utils.sequences.planting import draw_words

_CONCENTRATION = 20.0  # of the background's table: nearer to uniform than a genome's


@dataclass(frozen=True)
class GrammarMotif:
    """A word and what it does: name, consensus (IUPAC), presence (share of promoters that have it),
    effects (cell -> effect on activity; 'all' for cells that are not named)."""

    name: str
    consensus: str
    presence: float
    effects: dict[str, float] = field(default_factory=dict)

    def effect(self, cell: str) -> float:
        """What it adds to the activity in a cell."""
        return self.effects.get(cell, self.effects.get("all", 0.0))


# Consensus of vertebrate factors: JASPAR 2022 (Castro-Mondragon et al. 2022, Nucleic Acids Res.
# 50:D165): SP1 MA0079, CREB1 MA0018, NRF1 MA0506, GABPA MA0062, GATA1 MA0035, RUNX1 MA0002, HNF4A
# MA0114, REST (a half) MA0138. Shares and effects are ours: three act everywhere, GATA1, RUNX1 and
# HNF4A in one kind of cell, REST represses.
GRAMMAR = (
    GrammarMotif("SP1", "GGGGCGGGGC", 0.35, {"all": 0.7}),
    GrammarMotif("CREB1", "TGACGTCA", 0.35, {"all": 1.0}),
    GrammarMotif("NRF1", "GCGCATGCGC", 0.35, {"all": 1.2}),
    GrammarMotif("GABPA", "ACCGGAAGTG", 0.35, {"all": 0.8}),
    GrammarMotif("GATA1", "AGATAAGA", 0.3, {"K562": 1.6, "all": 0.1}),
    GrammarMotif("RUNX1", "TGTGGTTT", 0.3, {"JURKAT": 1.6, "THP1": 0.8, "all": 0.1}),
    GrammarMotif("HNF4A", "CAAAGTCCA", 0.3, {"HepG2": 1.6, "all": 0.0}),
    GrammarMotif("REST", "TTCAGCACCACGG", 0.3, {"all": -1.3}),
)
#: Of both motifs together, in every cell.
PAIR, PAIR_EFFECT = ("CREB1", "NRF1"), 0.6


@dataclass(frozen=True)
class SimulatedActivity:
    """codes_SL uint8; cells; activity_SC float32, the mean of replicates_RSC; present_SM bool, what
    was planted; truth: one row per planted motif (row, motif, start, strand); effects_MC."""

    codes_SL: np.ndarray
    cells: tuple[str, ...]
    activity_SC: np.ndarray
    replicates_RSC: np.ndarray
    present_SM: np.ndarray
    truth: pd.DataFrame
    effects_MC: np.ndarray
    motifs: tuple[GrammarMotif, ...]


def simulate_activity(
    rng: np.random.Generator,
    *,
    n: int,
    cells: tuple[str, ...],
    length_bp: int = 120,
    motifs: tuple[GrammarMotif, ...] = GRAMMAR,
    signal_share: float = 0.8,
    gc: float = 0.45,
) -> SimulatedActivity:
    """n promoters with their activity in `cells`. signal_share: of the variance that the grammar
    explains in each cell, in (0, 1]; the square root of it is the highest correlation there can be.

    Each motif is planted at most once, at a random place of its own slot (promoters are divided
    into as many slots as there are motifs, dealt anew for each), so that none overwrites another.
    Raises ValueError for slots that are shorter than a motif, or a share out of range.
    """
    slot_bp = length_bp // len(motifs)
    widest = max(len(one.consensus) for one in motifs)
    if slot_bp < widest or not 0 < signal_share <= 1:
        raise ValueError(
            f"{length_bp} bp give {len(motifs)} slots of {slot_bp}, expected at least {widest}; "
            f"signal_share is {signal_share}, expected in (0, 1]"
        )
    table = draw_transitions(rng, order=1, gc=gc, concentration=_CONCENTRATION)
    codes_SL = sample_background(table, (n, length_bp), rng)
    present_SM = rng.random((n, len(motifs))) < [one.presence for one in motifs]
    slot_SM = rng.permuted(np.tile(np.arange(len(motifs)), (n, 1)), axis=1)
    tables = []
    for m, one in enumerate(motifs):
        rows = np.flatnonzero(present_SM[:, m])
        width = len(one.consensus)
        start = slot_SM[rows, m] * slot_bp + rng.integers(0, slot_bp - width + 1, len(rows))
        words = draw_words(one.consensus, len(rows), rng)
        minus = rng.random(len(rows)) < 0.5
        words[minus] = reverse_complement(words[minus])
        codes_SL[rows[:, None], start[:, None] + np.arange(width)] = words
        strand = np.where(minus, "-", "+")
        tables.append(
            pd.DataFrame({"row": rows, "motif": one.name, "start": start, "strand": strand})
        )
    effects_MC = np.array([[one.effect(cell) for cell in cells] for one in motifs])
    signal_SC = present_SM @ effects_MC
    names = [one.name for one in motifs]
    if set(PAIR) <= set(names):
        both_S = present_SM[:, [names.index(name) for name in PAIR]].all(axis=1)
        signal_SC = signal_SC + PAIR_EFFECT * both_S[:, None]
    noise_sd_C = signal_SC.std(0) * np.sqrt((1 - signal_share) / signal_share)
    # noise of its own in each replicate, by their mean and half their difference
    mean_SC, gap_SC = noise_sd_C * rng.standard_normal((2, *signal_SC.shape))
    activity_SC = signal_SC + mean_SC
    replicates_RSC = np.stack([activity_SC + gap_SC, activity_SC - gap_SC]).astype(np.float32)
    truth = pd.concat(tables, ignore_index=True).sort_values(["row", "start"], ignore_index=True)
    return SimulatedActivity(
        *(codes_SL, tuple(cells), activity_SC.astype(np.float32), replicates_RSC),
        *(present_SM, truth, effects_MC, tuple(motifs)),
    )
