"""Where known motifs stand in sequences (FIMO), and how many places that is by chance.

The scan is memelite's FIMO (Grant et al. 2011, Bioinformatics 27:1017): log odds against equal
bases, exact p-values.

Shape suffixes: S sequences, L bases of the longest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import SITE_COLUMNS, Motif
from genomelm_utils.motifs.records import SearchSet, Sequences, collect, count_definite
from genomelm_utils.sequences.alphabet import N_BASES, decode, reverse_complement

HIT_COLUMNS = ["motif", *SITE_COLUMNS, "q_value"]
DEFAULT_P = 1e-4  # Source: FIMO's default output threshold


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
    found = fimo(matrices, one_hot(data), threshold=p_value)
    parts = [_as_sites(motif, hits, data, left) for motif, hits in zip(motifs, found, strict=True)]
    return pd.concat(parts, ignore_index=True)[HIT_COLUMNS]


def one_hot(data: SearchSet) -> np.ndarray:
    """int8[S, 4, L]: ambiguous bases and what lies behind the end are zeros."""
    lengths = np.diff(data.starts)
    hot = np.zeros((len(data), N_BASES, int(lengths.max())), dtype=np.int8)
    row = np.repeat(np.arange(len(data)), lengths)
    column = np.arange(len(data.codes)) - np.repeat(data.starts[:-1], lengths)
    definite = data.codes < N_BASES
    hot[row[definite], data.codes[definite], column[definite]] = 1
    return hot


def _as_sites(motif: Motif, hits: pd.DataFrame, data: SearchSet, left: np.ndarray) -> pd.DataFrame:
    """memelite's hits of one motif as a table of sites."""
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
    p_value = hits["p-value"].to_numpy().astype(np.float64)
    columns = [
        [data.names[i] for i in row],
        data.index[row],
        start,
        start + width,
        strand,
        hits["score"].to_numpy().astype(np.float64),
        p_value,
        [decode(word) for word in words],
    ]
    table = pd.DataFrame(dict(zip(SITE_COLUMNS, columns, strict=True)))
    n_places = 2 * int((left >= width).sum())
    table = table.assign(motif=motif.name, q_value=q_values(p_value, n_places))
    return table.sort_values(["index", "start", "strand"], ignore_index=True)


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
