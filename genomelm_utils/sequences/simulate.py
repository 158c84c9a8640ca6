"""Simulated genomes with known truth, and the classification sets cut from them.

A genome is laid out in slots of SLOT_BP bases. Each slot is background (a Markov chain of its own
species) and holds at most one thing: a promoter, a row of splice sites, a copy of an interspersed
repeat, a tandem repeat, or an assembly gap of N. So features never overlap, every feature has its
whole neighbourhood to itself, and the truth table says where everything is.

Genes, exons and selection are not simulated: a promoter is followed by no transcript, and donors
and acceptors alternate at a fixed spacing.

Shape suffixes: S slots or windows, L bases of each.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import CODE_N, definite_runs, encode, reverse_complement
from genomelm_utils.sequences.background import draw_transitions, mutate, sample_background
from genomelm_utils.sequences.genome import lay_windows
from genomelm_utils.sequences.planting import (
    SLOT_BP,
    Canvas,
    add_gaps,
    add_interspersed,
    add_promoters,
    add_splice_sites,
    add_tandem,
)

# Where the first invariant base stands in a window of 40: G of GT, A of AG.
# Source: the published Splice-40 files of GeneMask (GT at index 20, AG at index 17).
SPLICE_BP, DONOR_INDEX, ACCEPTOR_INDEX = 40, 20, 17
# How far windows of class 0 keep from features, on either side.
_CLEARANCE_BP = {"promoter": SLOT_BP // 2, "donor": SPLICE_BP // 2, "acceptor": SPLICE_BP // 2}


@dataclass(frozen=True)
class SimulatedGenome:
    """Records end to end, as `store_from_codes` takes them, and the truth about them.

    truth: one feature per row, 0-based half-open in the record: kind (promoter: the TSS base;
    donor, acceptor: the two invariant bases; the promoter motifs by name; interspersed, tandem,
    gap), record, start, end, strand, detail (motifs present, repeat family, unit).
    """

    names: list[str]
    codes: np.ndarray
    starts: np.ndarray
    soft: np.ndarray
    truth: pd.DataFrame


def simulate_genome(
    rng: np.random.Generator,
    *,
    n_bases: int,
    name: str = "sim",
    n_records: int = 2,
    order: int = 3,
    gc: float = 0.42,
    concentration: float = 10.0,
    strength: float = 0.75,
    island_weight: float = 0.25,
    promoter_share: float = 0.3,
    splice_share: float = 0.15,
    repeat_share: float = 0.15,
    tandem_share: float = 0.05,
    gap_share: float = 0.01,
    n_families: int = 8,
) -> SimulatedGenome:
    """A genome of `n_bases` in `n_records` records of falling size, named `<name>_chr1` and so on.

    Composition: a Markov chain of `order` (0..8) with a random table around `gc` (see
    `draw_transitions`): two calls are two species. Around a TSS the table is mixed with another one
    (`island_weight`, 0..1). `strength` (0..1) is the chance of every motif base to be written. With
    both defaults a logistic regression on 4-mers gets about 0.7 to 0.9 of promoter windows (70 to
    500 bp) and 0.8 of splice windows right, after training on 1,000. The *_share arguments are
    shares of slots; `n_families` counts interspersed repeats. Repeats are soft-masked.

    Equal arguments and generator state give the same genome. Raises ValueError when a record would
    be shorter than a slot, or the shares exceed 1.
    """
    lengths = _divide(n_bases, n_records)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    transitions = draw_transitions(rng, order=order, gc=gc, concentration=concentration)
    pieces = sample_background(transitions, (-(-n_bases // SLOT_BP), SLOT_BP), rng)
    genome = Canvas(pieces.ravel()[:n_bases], [])
    slots = lay_windows(np.stack([starts[:-1], starts[1:]], axis=1), SLOT_BP, SLOT_BP)
    shares = [promoter_share, splice_share, repeat_share, tandem_share, gap_share]
    promoters, splices, repeats, tandems, gaps = _deal_slots(slots, shares, rng)
    families = sample_background(transitions, (n_families, SLOT_BP), rng)
    other = draw_transitions(rng, order=order, gc=gc, concentration=concentration)
    mixture = (1 - island_weight) * transitions + island_weight * other
    islands = sample_background(mixture, (len(promoters), SLOT_BP), rng)
    add_promoters(genome, promoters, islands, strength, rng)
    add_splice_sites(genome, splices, strength, rng)
    add_interspersed(genome, repeats, families, rng)
    add_tandem(genome, tandems, rng)
    add_gaps(genome, gaps, rng)
    names = [f"{name}_chr{i + 1}" for i in range(n_records)]
    truth = pd.concat(genome.truth, ignore_index=True).sort_values(["start", "end", "kind"])
    masked = truth["kind"].isin(["interspersed", "tandem"])
    soft = truth.loc[masked, ["start", "end"]].to_numpy(dtype=np.int64)
    return SimulatedGenome(names, genome.codes, starts, soft, _to_records(truth, names, starts))


def _divide(n_bases: int, n_records: int) -> np.ndarray:
    """Record lengths that fall linearly and sum to n_bases."""
    weights = np.arange(n_records, 0, -1)
    lengths = n_bases * weights // max(weights.sum(), 1)
    if n_records < 1 or lengths.min() < SLOT_BP:
        raise ValueError(
            f"{n_bases} bases in {n_records} records leave a record below {SLOT_BP} bases; "
            "simulate more bases in fewer records, at least one"
        )
    lengths[0] += n_bases - lengths.sum()
    return lengths


def _deal_slots(slots: np.ndarray, shares: list[float], rng) -> list[np.ndarray]:
    """Slots dealt at random, one sorted array per share; the rest stays background."""
    if min(shares) < 0 or sum(shares) > 1:
        raise ValueError(f"shares of slots are {shares}, expected 0 or more with a sum up to 1")
    ends = np.cumsum(np.array(shares) * len(slots)).round().astype(int)
    return [np.sort(part) for part in np.split(rng.permutation(slots), ends)[:-1]]


def _to_records(truth: pd.DataFrame, names: list[str], starts: np.ndarray) -> pd.DataFrame:
    """The truth table in coordinates of its records."""
    record = np.searchsorted(starts, truth["start"], side="right") - 1
    local = {"start": truth["start"] - starts[record], "end": truth["end"] - starts[record]}
    return truth.assign(record=np.array(names)[record], **local).reset_index(drop=True)


def simulate_classification(
    genome: SimulatedGenome,
    rng: np.random.Generator,
    task: str = "promoter",
    *,
    length_bp: int,
    n_per_class: int,
    tss_index: int | None = None,
    noise: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Labelled windows `(codes uint8[S, L], labels int64[S])` in random order, classes balanced.

    task "promoter": 1 = window on the promoter's strand with its TSS at `tss_index` (middle by
    default; the published sets have 34 of 70 and 249 of 300), 0 = elsewhere. task "splice": 1 =
    donor (exon end, GT), 2 = acceptor (exon start, AG), 0 = neither, with GT or AG in the same
    place, half and half, so that the two bases alone do not tell class 0.

    Windows of class 0 come from tiles that keep clear of all promoters, splice sites and gaps
    (repeats are allowed), on either strand, and are picked to have the GC counts of the other
    classes: GC content alone does not tell class 0. No window is used twice. `noise` is the share
    of bases changed at random, in windows of every class.

    Raises ValueError when the genome holds too few windows of a class.
    """
    if task == "promoter":
        index = length_bp // 2 if tss_index is None else tss_index
        anchors = [("promoter", index, "")]
    elif task == "splice":
        shift = length_bp // 2 - SPLICE_BP // 2
        anchors = [("donor", DONOR_INDEX + shift, "GT"), ("acceptor", ACCEPTOR_INDEX + shift, "AG")]
    else:
        raise ValueError(f"task is {task!r}, expected 'promoter' or 'splice'")
    found = []
    for kind, index, _ in anchors:
        windows_SL = _cut_features(genome, kind, index, length_bp)
        _check_enough(len(windows_SL), n_per_class, f"{kind} windows of {length_bp} bp")
        found.append(rng.permutation(windows_SL)[:n_per_class])
    tiles_SL = _cut_tiles(genome, length_bp, rng)
    classes = [_match_tiles(tiles_SL, found, anchors, rng), *found]
    labels = np.repeat(np.arange(len(classes)), n_per_class)
    order = rng.permutation(len(labels))
    return mutate(np.concatenate(classes)[order], noise, rng), labels[order]


def _check_enough(n_found: int, n_wanted: int, what: str) -> None:
    if n_found < n_wanted:
        raise ValueError(
            f"the simulated genome holds {n_found} {what}, {n_wanted} are asked for: simulate more "
            "bases, or a larger share of such slots, or ask for fewer"
        )


def _cut_features(genome: SimulatedGenome, kind: str, index: int, length_bp: int) -> np.ndarray:
    """Windows `uint8[S, L]` on the strand of the features, with their first base at `index`."""
    if not 0 <= index < length_bp:
        raise ValueError(f"index {index} lies outside of windows of {length_bp} bp")
    rows = _locate(genome, kind)
    minus = (rows["strand"] == "-").to_numpy()
    start = np.where(minus, rows["end"] + index - length_bp, rows["start"] - index)
    runs = definite_runs(genome.codes, genome.starts)
    run = np.searchsorted(runs[:, 0], start, side="right") - 1
    inside = (run >= 0) & (start + length_bp <= runs[run, 1])
    return _cut(genome.codes, start[inside], minus[inside], length_bp)


def _cut_tiles(genome: SimulatedGenome, length_bp: int, rng: np.random.Generator) -> np.ndarray:
    """Windows side by side, clear of every feature, each on a random strand: `uint8[S, L]`."""
    borders = np.zeros(len(genome.codes) + 1, dtype=np.int64)
    for kind, clearance in _CLEARANCE_BP.items():
        rows = _locate(genome, kind)
        np.add.at(borders, np.maximum(rows["start"] - clearance, 0), 1)
        np.add.at(borders, np.minimum(rows["end"] + clearance, len(genome.codes)), -1)
    taken = np.cumsum(borders[:-1]) > 0
    free = definite_runs(np.where(taken, CODE_N, genome.codes), genome.starts)
    start = lay_windows(free, length_bp, length_bp)
    return _cut(genome.codes, start, rng.random(len(start)) < 0.5, length_bp)


def _locate(genome: SimulatedGenome, kind: str) -> pd.DataFrame:
    """The truth rows of one kind, with start and end in the joined array."""
    rows = genome.truth[genome.truth["kind"] == kind]
    begin_of = dict(zip(genome.names, genome.starts[:-1], strict=True))
    begin = rows["record"].map(begin_of).astype(np.int64)
    return rows.assign(start=rows["start"] + begin, end=rows["end"] + begin)


def _cut(codes: np.ndarray, start_S: np.ndarray, minus_S: np.ndarray, length_bp: int) -> np.ndarray:
    windows_SL = codes[start_S[:, None] + np.arange(length_bp)]
    windows_SL[minus_S] = reverse_complement(windows_SL[minus_S])
    return windows_SL


def _match_tiles(
    tiles_SL: np.ndarray,
    classes: list[np.ndarray],
    anchors: list[tuple[str, int, str]],
    rng: np.random.Generator,
) -> np.ndarray:
    """As many tiles as one class has windows: an equal part of them matched to each class."""
    n_tiles, length_bp = tiles_SL.shape
    unused, picked = np.ones(n_tiles, dtype=bool), []
    for i, (windows_SL, (_, index, word)) in enumerate(zip(classes, anchors, strict=True)):
        target_SL = windows_SL[i :: len(classes)]
        holds_word = (tiles_SL[:, index : index + len(word)] == encode(word)).all(axis=1)
        candidates = np.flatnonzero(unused & holds_word)
        what = f"windows of {length_bp} bp without features" + (f", with {word}" if word else "")
        _check_enough(len(candidates), len(target_SL), what)
        chosen = _match_counts(_count_gc(tiles_SL[candidates]), _count_gc(target_SL), rng)
        picked.append(candidates[chosen])
        unused[candidates[chosen]] = False
    return tiles_SL[np.concatenate(picked)]


def _count_gc(codes_SL: np.ndarray) -> np.ndarray:
    return ((codes_SL == 1) | (codes_SL == 2)).sum(axis=1)


def _match_counts(counts: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices into `counts`, all different, whose values are those of `wanted` or the nearest left.

    Exact matches are dealt first, then neighbours at distance 1, 2 and so on.
    """
    free = rng.permutation(len(counts))
    picked = []
    missing = np.bincount(wanted)
    distance = 0
    while missing.any():
        for value in np.flatnonzero(missing):
            fits = np.flatnonzero(np.abs(counts[free] - value) <= distance)[: missing[value]]
            picked.append(free[fits])
            free = np.delete(free, fits)
            missing[value] -= len(fits)
        distance += 1
    return np.concatenate(picked)
