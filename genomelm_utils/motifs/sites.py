"""Sites of a motif: windows that are unlikely in background, and likelier sites than not.

Shape suffixes: P bases of all sequences, S sequences, W positions of a motif, R windows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.motifs.background import Background
from genomelm_utils.motifs.motif import SITE_COLUMNS
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import count_definite
from genomelm_utils.motifs.scores import (
    STEPS_PER_BIT,
    ScoreTable,
    best_f_cut,
    count_places,
    make_score_table,
    pick_disjoint,
    score_windows,
)
from genomelm_utils.sequences.alphabet import N_BASES, decode, reverse_complement

_SHARE_STEPS = 50


class Scanned:
    """Sequences to look for sites in. codes: uint8[P]; starts: int64[S + 1]."""

    def __init__(self, codes: np.ndarray, starts: np.ndarray) -> None:
        self.codes, self.starts = codes, starts
        self.left = count_definite(codes, starts)


class Called(NamedTuple):
    """Sites of one motif.

    table: `SITE_COLUMNS` in order of places, `record` not filled in. words: uint8[R, W], their
    bases as the motif reads them. counts: int64[W, 4]. covered: bool[P], bases of all windows as
    unlikely as a site has to be, sites or not. scores: what the sites were found with. lowest_bits:
    the weakest site's log2 odds against the background.
    """

    table: pd.DataFrame
    words: np.ndarray
    counts: np.ndarray
    covered: np.ndarray
    scores: ScoreTable
    lowest_bits: float


def call_sites(
    scanned: Scanned,
    matrix_W4: np.ndarray,
    background: Background,
    parameters: Parameters,
    rivals: Sequence[np.ndarray] = (),
) -> Called:
    """Sites of a matrix of chances.

    A site's score has a chance of at most `p_value` at one place (or is the highest there is, where
    even that one is likelier), it overlaps no better site, and the windows that are called are,
    most probable first, as many as give the best F to be expected, a missed site weighing twice a
    false one. rivals: matrices of the same width; a window that one of them reads better is neither
    a site nor covered.
    """
    table = make_score_table(log_odds_of(matrix_W4, background.shares), background.shares)
    others = [
        make_score_table(log_odds_of(one, background.shares), background.shares).scores
        for one in rivals
    ]
    return _scan(scanned, table, background, parameters, others)


def log_odds_of(probabilities_W4: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Bits [W, 4] against independent bases."""
    return np.log2(np.maximum(probabilities_W4, 1e-9) / shares)


def _scan(
    scanned: Scanned,
    table: ScoreTable,
    background: Background,
    parameters: Parameters,
    rivals: Sequence[np.ndarray],
) -> Called:
    width = len(table.scores)
    place, strand, score, bits = _windows(scanned, table, background, parameters)
    for rival in rivals:
        better = score > _scores_at(scanned, place, strand, rival)
        place, strand, score, bits = (one[better] for one in (place, strand, score, bits))
    covered = np.zeros(len(scanned.codes), dtype=bool)
    for shift in range(width):
        covered[place + shift] = True
    chosen = _disjoint(place, bits, width)
    chance = posterior(bits[chosen], 2 * count_places(scanned.left, width))
    chosen = chosen[: best_f_cut(chance)]
    lowest_bits = float(bits[chosen[-1]]) if len(chosen) else np.inf
    chosen = np.sort(chosen)
    minus = strand[chosen] == 1
    words = _read(scanned, place[chosen], strand[chosen], width)
    counts = (words[:, :, None] == np.arange(N_BASES)).sum(axis=0)
    index = np.searchsorted(scanned.starts, place[chosen], side="right") - 1
    start = place[chosen] - scanned.starts[index]
    columns = [
        pd.Series("", index=range(len(chosen)), dtype=str),
        index,
        start,
        start + width,
        np.where(minus, "-", "+"),
        score[chosen] / STEPS_PER_BIT,
        table.p_value(score[chosen]),
        [decode(word) for word in words],
    ]
    sites = pd.DataFrame(dict(zip(SITE_COLUMNS, columns, strict=True)))
    return Called(sites, words, counts, covered, table, lowest_bits)


def trim_sites(called: Called, begin: int, end: int) -> Called:
    """The same sites cut to positions begin to end; what they were found with stays."""
    table = called.table.copy()
    width = called.words.shape[1]
    minus = (table["strand"] == "-").to_numpy()
    table["start"] += np.where(minus, width - end, begin)
    table["end"] = table["start"] + (end - begin)
    table["word"] = [decode(word) for word in called.words[:, begin:end]]
    return called._replace(
        table=table, words=called.words[:, begin:end], counts=called.counts[begin:end]
    )


def count_sites(
    scanned: Scanned, called: Called, background: Background, parameters: Parameters
) -> int:
    """Sites that the cut of `called` finds in other sequences, such as background."""
    place, _, _, bits = _windows(scanned, called.scores, background, parameters)
    enough = bits >= called.lowest_bits
    return len(_disjoint(place[enough], bits[enough], len(called.scores.scores)))


def _windows(
    scanned: Scanned, table: ScoreTable, background: Background, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Windows unlikely enough: place, strand, score, and log2 odds against the chain."""
    cutoff = table.cutoff(parameters.p_value)
    place, strand, score = score_windows(
        scanned.codes, scanned.starts, scanned.left, table.scores, cutoff
    )
    bits = score / STEPS_PER_BIT
    bits = bits + _background_bits(scanned, background, place, len(table.scores))
    return place, strand, score, bits


def _read(scanned: Scanned, place: np.ndarray, strand: np.ndarray, width: int) -> np.ndarray:
    """The bases of windows as the motif reads them, uint8[R, W]."""
    words = scanned.codes[place[:, None] + np.arange(width)]
    words[strand == 1] = reverse_complement(words[strand == 1])
    return words


def _scores_at(
    scanned: Scanned, place: np.ndarray, strand: np.ndarray, scores_W4: np.ndarray
) -> np.ndarray:
    width = len(scores_W4)
    return scores_W4[np.arange(width), _read(scanned, place, strand, width)].sum(axis=1)


def _disjoint(place: np.ndarray, bits: np.ndarray, width: int) -> np.ndarray:
    """Windows that overlap no better one, best first."""
    order = np.lexsort((place, -bits))
    return order[pick_disjoint(place, width, order)[order]]


def _background_bits(
    scanned: Scanned, background: Background, place: np.ndarray, width: int
) -> np.ndarray:
    """What is to be added to bits against independent bases to have them against the chain."""
    if background.order == 0:
        return np.zeros(len(place))
    plain = Background(background.shares, background.shares[None])
    both = [one.running_cost(scanned.codes, scanned.starts) for one in (plain, background)]
    single, chain = (cost[place + width] - cost[place] for cost in both)
    return (single - chain) / np.log(2)


def posterior(bits: np.ndarray, n_places: int) -> np.ndarray:
    """Chance of being a site for windows of those log2 odds; float64[R].

    The share of sites among all `n_places` windows is the one that EM settles on; windows that are
    not given hold none.
    """
    odds, n_places = np.exp2(np.minimum(bits, 1000.0)), max(n_places, 1)
    share = max(len(bits), 1) / n_places
    for _ in range(_SHARE_STEPS):
        chance = share * odds / (1 - share + share * odds)
        share = min(max(chance.sum(), 0.5) / n_places, 0.5)
    return share * odds / (1 - share + share * odds)
