"""Where known motifs stand in sequences (FIMO), and how many places that is by chance.

The scan is memelite's FIMO (Grant et al. 2011, Bioinformatics 27:1017): log odds against equal
bases. Its p-values round every position to a tenth of a bit, in the table but not in the window: of
a motif with few different scores a word with one mismatch can get the p-value of the exact word. So
memelite proposes windows, with room for that, and what counts is the exact p-value of `scores`.

Shape suffixes: S sequences, L bases of the longest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import SITE_COLUMNS, Motif
from genomelm_utils.motifs.records import SearchSet, Sequences, collect, count_definite
from genomelm_utils.motifs.scores import STEPS_PER_BIT, ScoreTable, make_score_table
from genomelm_utils.sequences.alphabet import N_BASES, decode, reverse_complement

HIT_COLUMNS = ["motif", *SITE_COLUMNS, "q_value"]
DEFAULT_P = 1e-4  # Source: FIMO's default output threshold
_EPS = 1e-4  # memelite's default, added to every probability
_BIN_BITS = 0.01  # of memelite's table of scores


def scan_sequences(
    motifs: Sequence[Motif], sequences: Sequences, p_value: float = DEFAULT_P
) -> pd.DataFrame:
    """All windows of either strand whose score has a p-value of at most `p_value`.

    Columns: motif, those of sites (`motifs.motif.SITE_COLUMNS`), q_value (Benjamini and Hochberg
    over all places of all sequences, one motif at a time). Ordered by motif as given, then by
    place. Windows with an ambiguous base are no places. Windows may overlap.

    Raises: ValueError for no motif, two of one name, a p-value outside (0, 1), or what `collect`
        raises.
    """
    from memelite import fimo

    names = [motif.name for motif in motifs]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{len(names)} motifs, expected at least one and names that differ")
    if not 0 < p_value < 1:
        raise ValueError(f"p_value is {p_value}, expected a chance in (0, 1), such as {DEFAULT_P}")
    data = collect(sequences)
    left = count_definite(data.codes, data.starts)
    matrices = {motif.name: motif.probabilities.T for motif in motifs}
    tables = [fimo_table(motif) for motif in motifs]
    loose = max(_loose_p(table, p_value) for table in tables)
    found = fimo(matrices, one_hot(data), bin_size=_BIN_BITS, eps=_EPS, threshold=loose)
    parts = [
        _as_sites(motif, table, hits, data, left, p_value)
        for motif, table, hits in zip(motifs, tables, found, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)[HIT_COLUMNS]


def fimo_table(motif: Motif) -> ScoreTable:
    """FIMO's scores of a motif, in hundredths of a bit, with their exact distribution."""
    log_odds_W4 = np.log2(motif.probabilities + _EPS) - np.log2(1 / N_BASES)
    return make_score_table(log_odds_W4, np.full(N_BASES, 1 / N_BASES))


def _loose_p(table: ScoreTable, p_value: float) -> float:
    """A threshold at which memelite, for all its rounding, misses no window of `p_value`."""
    room = (len(table.scores) + 2) * _BIN_BITS * STEPS_PER_BIT
    chance = float(table.p_value(table.cutoff(p_value) - int(np.ceil(room))))
    return min(1.01 * max(chance, p_value), 0.999)


def one_hot(data: SearchSet) -> np.ndarray:
    """int8[S, 4, L]: ambiguous bases and what lies behind the end are zeros."""
    lengths = np.diff(data.starts)
    hot = np.zeros((len(data), N_BASES, int(lengths.max())), dtype=np.int8)
    row = np.repeat(np.arange(len(data)), lengths)
    column = np.arange(len(data.codes)) - np.repeat(data.starts[:-1], lengths)
    definite = data.codes < N_BASES
    hot[row[definite], data.codes[definite], column[definite]] = 1
    return hot


def _as_sites(
    motif: Motif,
    table: ScoreTable,
    hits: pd.DataFrame,
    data: SearchSet,
    left: np.ndarray,
    p_value: float,
) -> pd.DataFrame:
    """Those of memelite's hits of one motif that are unlikely enough, as a table of sites."""
    width = motif.width
    row = hits["sequence_name"].to_numpy().astype(np.int64)
    start = hits["start"].to_numpy().astype(np.int64)
    place = data.starts[row] + start
    inside = place + width <= data.starts[row + 1]
    whole = inside & (left[np.minimum(place, len(left) - 1)] >= width)
    hits, row, start, place = hits[whole], row[whole], start[whole], place[whole]
    strand = hits["strand"].to_numpy().astype(str)
    words = data.codes[place[:, None] + np.arange(width)]
    words[strand == "-"] = reverse_complement(words[strand == "-"])
    score = table.scores[np.arange(width), words].sum(axis=1)
    chance = table.p_value(score)
    columns = [
        [data.names[i] for i in row],
        data.index[row],
        start,
        start + width,
        strand,
        score / STEPS_PER_BIT,
        chance,
        [decode(word) for word in words],
    ]
    sites = pd.DataFrame(dict(zip(SITE_COLUMNS, columns, strict=True)))[chance <= p_value]
    n_places = 2 * int((left >= width).sum())
    q_value = q_values(sites["p_value"].to_numpy(), n_places)
    sites = sites.assign(motif=motif.name, q_value=q_value)
    return sites.sort_values(["index", "start", "strand"], ignore_index=True)


def q_values(p_values: np.ndarray, n_tests: int) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values of the smallest of `n_tests` p-values.

    The tests that are not given have larger p-values than those that are. Source: Benjamini &
    Hochberg 1995, J. R. Stat. Soc. B 57:289.
    """
    order = np.argsort(p_values, kind="stable")
    raw = p_values[order] * n_tests / np.arange(1, len(order) + 1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return adjusted
