"""Simulated genomes of several species, told apart by composition that local variation blurs.

A genome is laid out in pieces of PIECE_BP bases. Every piece is a Markov chain whose table is that
of its species, moved by a mode that all species share (as genes, islands and mobile elements move
composition the same way everywhere), and read on either strand. So a few thousand bases differ
from the next few thousand of the same genome, and what separates species has to be told from what
does not: this is what contrastive training on pairs of windows can learn.

Shape suffixes: S species, P pieces, L bases of a piece, C contexts, M modes, T tables.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement
from genomelm_utils.sequences.background import mutate

PIECE_BP = 500
ORDER = 3  # of the chains: tables of 4-mers
N_MODES = 4
SEGMENT_BP = 4000  # mean length of a segment of one mode and one strand
TRANSFERRED_SHARE, REPEAT_SHARE = 0.05, 0.03  # of pieces
# How much of the variation is in GC content, as a share of the log odds' standard deviation. GC
# moves all contexts at once: with more of it in the modes, 4-mers tell nothing but the mode.
_GC_OF_SPECIES, _GC_OF_MODE = 0.8, 1 / 3
_BURN_IN_BP = 16  # bases thrown away until a chain has forgotten the context it started from
_REPEAT_DIVERGENCE = 0.1  # share of bases that differ between a shared repeat and its copies
_N_DONORS, _N_FAMILIES = 3, 6  # sources of transferred islands; shared repeat families


@dataclass(frozen=True)
class SimulatedSpecies:
    """Records end to end, as `store_from_codes` takes them, and the truth about them.

    names: one per record. codes: uint8[total]. starts: int64[n + 1]. table: one record per row,
    with the columns record, genome, species; records of a genome follow each other. truth: one
    segment per row, 0-based half-open in its record: record, start, end, kind (native,
    transferred, repeat), mode, strand.
    """

    names: list[str]
    codes: np.ndarray
    starts: np.ndarray
    table: pd.DataFrame
    truth: pd.DataFrame


def simulate_species(
    rng: np.random.Generator,
    *,
    n_species: int,
    bases_per_species: int,
    n_records: int = 2,
    spread: float = 0.25,
    mode_spread: float = 0.15,
) -> SimulatedSpecies:
    """Genomes of `n_species` species, one each, of about `bases_per_species` bases.

    All species descend from one Markov chain: each has a table of its own, `spread` away (standard
    deviation of the log odds of a base after a context). Segments of SEGMENT_BP on average have a
    strand and one of N_MODES modes, which move every table by `mode_spread` in the same way. Some
    pieces follow tables of donors from outside, and some are mutated copies of repeats: both the
    same for all species. Records have equal length, a multiple of PIECE_BP: `bases_per_species` is
    rounded down to that.

    With the defaults and 14 species, K-means on canonical 4-mer frequencies of contigs of 2 to 3 kb
    gives an ARI of 0.37 to 0.61 over eight seeds (mean 0.52), on plain 4-mer frequencies 0.21 to
    0.28. Six of the species, whitened by the covariance within the other eight, give 0.84 to 0.96:
    what blurs species can be learned from others than those clustered.
    Equal arguments and generator state give the same bases.

    Raises ValueError when a record would be shorter than a piece, or a spread is below 0.
    """
    n_pieces = bases_per_species // (PIECE_BP * max(n_records, 1))
    if n_species < 1 or n_records < 1 or n_pieces < 1:
        raise ValueError(
            f"{n_species} species of {bases_per_species} bases in {n_records} records: expected at "
            f"least one species, one record, and {PIECE_BP} bases per record"
        )
    if spread < 0 or mode_spread < 0:
        raise ValueError(f"spread {spread} and mode_spread {mode_spread} have to be at least 0")
    thresholds = _draw_tables(rng, n_species, spread, mode_spread)
    pieces = _draw_pieces(rng, n_species * n_records, n_pieces)
    species_P = np.repeat(np.arange(n_species), n_records * n_pieces)
    donor_P = n_species + rng.integers(_N_DONORS, size=len(pieces))
    source_P = np.where(pieces["kind"] == "transferred", donor_P, species_P)
    codes_PL = _run_chains(rng, thresholds, source_P * N_MODES + pieces["mode"].to_numpy())
    _put_repeats(rng, pieces, codes_PL)
    turned = (pieces["strand"] == "-").to_numpy()
    codes_PL[turned] = reverse_complement(codes_PL[turned])
    table = _name_records(n_species, n_records)
    starts = np.arange(len(table) + 1) * n_pieces * PIECE_BP
    truth = _join_pieces(pieces, table["record"].to_numpy(), n_pieces)
    return SimulatedSpecies(table["record"].tolist(), codes_PL.ravel(), starts, table, truth)


def _draw_tables(
    rng: np.random.Generator, n_species: int, spread: float, mode_spread: float
) -> np.ndarray:
    """Thresholds between bases float64[T, C, 3]; T runs over species and donors, then modes."""
    shape = (N_BASES**ORDER, N_BASES)
    is_gc = np.array([-1.0, 1.0, 1.0, -1.0])

    def draw(n: int, spread: float, gc_spread: float) -> np.ndarray:
        # evenly spaced with that standard deviation, so that no seed is much harder than another
        steps = rng.permutation(np.linspace(-np.sqrt(3), np.sqrt(3), n))
        return rng.normal(0, spread, (n, *shape)) + gc_spread * steps[:, None, None] * is_gc

    parent = rng.normal(0, 2 * spread, (1, *shape))
    sources = parent + np.concatenate(
        [draw(n, spread, _GC_OF_SPECIES * spread) for n in (n_species, _N_DONORS)]
    )
    modes = draw(N_MODES, mode_spread, _GC_OF_MODE * mode_spread)
    odds = np.exp(sources[:, None] + modes[None]).reshape(-1, *shape)
    return np.cumsum(odds / odds.sum(axis=2, keepdims=True), axis=2)[:, :, :-1]


def _draw_pieces(rng: np.random.Generator, n_records: int, n_pieces: int) -> pd.DataFrame:
    """Kind, mode and strand of every piece; they change where a segment ends."""
    begins = rng.random(n_records * n_pieces) < PIECE_BP / SEGMENT_BP
    begins[::n_pieces] = True
    segment = np.cumsum(begins) - 1
    n_segments = segment[-1] + 1
    transferred = (rng.random(n_segments) < TRANSFERRED_SHARE)[segment]
    return pd.DataFrame(
        {
            "kind": np.where(transferred, "transferred", "native"),
            "mode": rng.integers(N_MODES, size=n_segments)[segment],
            "strand": np.where(rng.random(n_segments) < 0.5, "-", "+")[segment],
        }
    )


def _run_chains(rng: np.random.Generator, thresholds: np.ndarray, table_P: np.ndarray):
    """One chain per piece, uint8[P, L]; all advance together, one base at a time."""
    n_contexts = thresholds.shape[1]
    flat = np.ascontiguousarray(thresholds.reshape(-1, N_BASES - 1).T)
    context = rng.integers(n_contexts, size=len(table_P))
    offset = table_P * n_contexts
    codes = np.empty((PIECE_BP, len(table_P)), dtype=np.uint8)
    for i in range(-_BURN_IN_BP, PIECE_BP):
        draw = rng.random(len(table_P))
        row = offset + context
        base = np.zeros(len(table_P), dtype=np.int64)
        for column in flat:
            base += draw > column[row]
        context = (context * N_BASES + base) % n_contexts
        if i >= 0:
            codes[i] = base
    return np.ascontiguousarray(codes.T)


def _put_repeats(rng: np.random.Generator, pieces: pd.DataFrame, codes_PL: np.ndarray) -> None:
    """Some pieces become mutated copies of repeats that are the same for all species."""
    families = rng.integers(N_BASES, size=(_N_FAMILIES, PIECE_BP), dtype=np.uint8)
    at = np.flatnonzero(rng.random(len(pieces)) < REPEAT_SHARE)
    copies = families[rng.integers(_N_FAMILIES, size=len(at))]
    codes_PL[at] = mutate(copies, _REPEAT_DIVERGENCE, rng)
    pieces.loc[at, "kind"] = "repeat"


def _name_records(n_species: int, n_records: int) -> pd.DataFrame:
    """Names sort in their own order; a species' name is one word, so that no two share a genus."""
    width = len(str(n_species))
    species = [f"species{i + 1:0{width}d}" for i in range(n_species)]
    rows = [(f"{name}_chr{i + 1}", name, name) for name in species for i in range(n_records)]
    return pd.DataFrame(rows, columns=["record", "genome", "species"])


def _join_pieces(pieces: pd.DataFrame, records: np.ndarray, n_pieces: int) -> pd.DataFrame:
    """Neighbouring pieces of one kind, mode and strand become one row of the truth."""
    record_P = np.arange(len(pieces)) // n_pieces
    marks = pieces.assign(record=record_P)
    begins = (marks != marks.shift()).any(axis=1).to_numpy()
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(pieces))
    truth = marks.iloc[first].reset_index(drop=True)
    start = (first - truth["record"] * n_pieces) * PIECE_BP
    end = (last - truth["record"] * n_pieces) * PIECE_BP
    truth = truth.assign(record=records[truth["record"]], start=start, end=end)
    return truth[["record", "start", "end", "kind", "mode", "strand"]]
