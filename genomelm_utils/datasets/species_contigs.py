"""Contigs and reads of known species, to embed, cluster, classify and bin.

Shape suffixes: S sequences, R regions.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.datasets.labelled import decode_texts
from genomelm_utils.datasets.species import GenomeSet, read_tsv
from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement
from genomelm_utils.sequences.fasta import read_fasta

logger = logging.getLogger(__name__)

READ_MARK = "_HiSeq"  # between species and number in the names of the HiSeq accuracy reads
UNKNOWN = ""  # genome of sequences whose file does not tell it


def no_sequences_skipped() -> pd.DataFrame:
    """An empty table of skipped sequences: name, reason."""
    return pd.DataFrame({"name": [], "reason": []}, dtype=object)


@dataclass(frozen=True)
class Contigs:
    """Sequences with their species. codes: list of uint8 arrays; genome: "" where unknown.

    skipped: sequences left out, each with its reason.
    """

    names: list[str]
    codes: list[np.ndarray]
    species: list[str]
    genome: list[str]
    skipped: pd.DataFrame = field(default_factory=no_sequences_skipped)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """Bases of every sequence, int64[S]."""
        return np.array([len(codes) for codes in self.codes], dtype=np.int64)

    def labels(self) -> tuple[np.ndarray, list[str]]:
        """Species as numbers int64[S], and their names in alphabetical order."""
        known, labels_S = np.unique(self.species, return_inverse=True)
        return labels_S, known.tolist()

    def take(self, index: np.ndarray) -> "Contigs":
        """The sequences at `index` (or where a mask is true), in that order."""
        index = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
        lists = {
            name: [getattr(self, name)[i] for i in index.tolist()]
            for name in ("names", "codes", "species", "genome")
        }
        return replace(self, **lists)

    def drop(self, lost: np.ndarray, reason: Sequence[str] | str) -> "Contigs":
        """Without the sequences where `lost` (bool[S]) is true: named, counted and logged."""
        if not lost.any():
            return self
        names = [self.names[i] for i in np.flatnonzero(lost)]
        rows = pd.DataFrame({"name": names, "reason": np.broadcast_to(reason, len(self))[lost]})
        logger.warning("left out %d sequences: %s", len(names), _show(rows))
        skipped = pd.concat([self.skipped, rows], ignore_index=True) if len(self.skipped) else rows
        return replace(self.take(~lost), skipped=skipped)

    def of_species(self, species: Sequence[str]) -> "Contigs":
        """The sequences of some species; the others are not wanted, not skipped.

        Raises ValueError when none is left.
        """
        found = self.take(np.isin(self.species, list(species)))
        if not len(found):
            raise ValueError(
                f"no sequence is of one of {', '.join(sorted(species))}; species here: "
                f"{', '.join(sorted(set(self.species)))}"
            )
        return found

    def drop_rare(self, n_min: int = 2) -> "Contigs":
        """Without species of fewer than `n_min` sequences, which no cluster measure can place.

        Raises ValueError when fewer than two species are left.
        """
        labels_S, known = self.labels()
        n_S = np.bincount(labels_S)[labels_S] if len(self) else labels_S
        reasons = [
            f"{known[i]} has {n} of {n_min} sequences" for i, n in zip(labels_S, n_S, strict=True)
        ]
        if len(set(labels_S[n_S >= n_min].tolist())) < 2:
            raise ValueError(
                f"{len(self)} sequences of {len(known)} species: fewer than two species have "
                f"{n_min} sequences or more; give more sequences per species"
            )
        return self.drop(n_S < n_min, reasons)


def _show(rows: pd.DataFrame) -> str:
    shown = "; ".join(f"{name} ({reason})" for name, reason in rows.head(5).to_numpy())
    return shown + ("; ..." if len(rows) > 5 else "")


# --- cutting -------------------------------------------------------------------------------


def cut_contigs(
    genomes: GenomeSet,
    part: str,
    *,
    n_per_genome: int,
    length_bp: int = 2500,
    spread: float = 0.0,
    min_bp: int = 500,
    max_bp: int = 20_000,
    seed: int,
    strands: str = "both",
) -> Contigs:
    """Contigs of every genome of a part that do not overlap and hold definite bases only.

    Lengths are log-normal with median `length_bp` and standard deviation `spread` of the log,
    between `min_bp` and `max_bp`; with spread 0 all are `length_bp`. Long contigs are placed first,
    each into a stretch drawn by the bases still free in it; then the free bases of a stretch are
    shared at random between its contigs. Contigs that find no room are skipped, named and counted.
    Names carry no species. strands: `both` turns each contig with chance 1/2, `forward` never.
    """
    if strands not in ("both", "forward"):
        raise ValueError(f"strands is {strands!r}, expected both or forward")
    if n_per_genome < 1 or length_bp < 1 or spread < 0 or not 1 <= min_bp <= max_bp:
        raise ValueError(
            f"n_per_genome {n_per_genome}, length_bp {length_bp}, spread {spread}, {min_bp} to "
            f"{max_bp} bp: expected positive numbers, a spread of 0 or more, min_bp <= max_bp"
        )
    rng = np.random.default_rng(seed)
    regions, genome_R = genomes.regions(part)
    store_codes = np.asarray(genomes.store.codes)
    found, lost = [], []
    for row in np.unique(genome_R).tolist():
        lengths = np.full(n_per_genome, length_bp)
        if spread:
            drawn = np.round(length_bp * np.exp(spread * rng.standard_normal(n_per_genome)))
            lengths = np.clip(drawn, min_bp, max_bp).astype(np.int64)
        places = _place(regions[genome_R == row], lengths, rng)
        turned = rng.random(n_per_genome) < (0.5 if strands == "both" else 0)
        for i, (begin, length) in enumerate(zip(places.tolist(), lengths.tolist(), strict=True)):
            name = f"{part}_contig_{row * n_per_genome + i + 1:06d}"
            if begin < 0:
                lost.append((name, f"no room for {length} bp in {genomes.table['genome'][row]}"))
                continue
            codes = store_codes[begin : begin + length]
            found.append((name, reverse_complement(codes) if turned[i] else codes.copy(), row))
    if not found:
        raise ValueError(f"{genomes.folder}: no contig of {length_bp} bp fits into part {part}")
    if lost:
        logger.warning("part %s: no room for %d contigs, such as %s", part, len(lost), lost[0])
    names, codes, rows = (list(column) for column in zip(*found, strict=True))
    species, genome = (genomes.table[name].iloc[rows].tolist() for name in ("species", "genome"))
    skipped = pd.DataFrame(lost, columns=["name", "reason"])
    return Contigs(names, codes, species, genome, skipped)


def _place(regions_R2: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A start for every length, inside the regions and without overlap; -1 where none is left."""
    free_R = regions_R2[:, 1] - regions_R2[:, 0]
    region_of = np.full(len(lengths), -1)
    for i in np.argsort(-lengths, kind="stable"):
        weight_R = np.where(free_R >= lengths[i], free_R, 0)
        if weight_R.any():
            region_of[i] = rng.choice(len(free_R), p=weight_R / weight_R.sum())
            free_R[region_of[i]] -= lengths[i]
    starts = np.full(len(lengths), -1)
    for region in np.unique(region_of[region_of >= 0]):
        inside = rng.permutation(np.flatnonzero(region_of == region))
        gaps = np.sort(rng.integers(free_R[region] + 1, size=len(inside)))
        before = np.cumsum(lengths[inside]) - lengths[inside]
        starts[inside] = regions_R2[region, 0] + gaps + before
    return starts


# --- reading -------------------------------------------------------------------------------


def read_contigs(fasta: str | Path, truth: str | Path) -> Contigs:
    """The contigs of a FASTA file with the species a table gives them.

    truth: TSV (plain or gzipped) with the columns contig and species, and optionally genome or
    accession. Contigs that are empty, hold no definite base, or have no species in the table are
    skipped, named and counted. Raises ValueError for missing columns, a contig twice in the table,
    no contig with a species, and what `read_fasta` raises (repeated names among others).
    """
    table = _read_truth(Path(truth))
    records = read_fasta(fasta)
    codes = np.split(records.codes, records.starts[1:-1])
    known = [name in table.index for name in records.names]
    rows = table.reindex(records.names)
    contigs = Contigs(
        records.names,
        codes,
        rows["species"].fillna("").tolist(),
        rows["genome"].fillna("").tolist(),
        records.skipped,
    )
    contigs = contigs.drop(~np.array(known), f"not in {Path(truth).name}")
    return _need_some(_drop_indefinite(contigs), f"{fasta} with {truth}")


def _read_truth(path: Path) -> pd.DataFrame:
    """Columns species and genome, by contig."""
    table = read_tsv(path, ("contig", "species"), "a table of contigs and species")
    doubled = table.loc[table["contig"].duplicated(), "contig"]
    if len(doubled):
        raise ValueError(f"{path}: {doubled.iloc[0]!r} stands in more than one row")
    given = next((name for name in ("genome", "accession") if name in table), None)
    genome = table[given] if given else UNKNOWN
    return table.assign(genome=genome).set_index("contig")[["species", "genome"]]


def read_species_reads(fasta: str | Path) -> Contigs:
    """Reads whose names begin with their species, as `B_cereus_HiSeq.17`.

    Reads without that mark are skipped, as are empty ones and those without a definite base.
    """
    records = read_fasta(fasta)
    codes = np.split(records.codes, records.starts[1:-1])
    labels = [name.partition(READ_MARK)[0] for name in records.names]
    unmarked = np.array([READ_MARK not in name for name in records.names])
    reads = Contigs(records.names, codes, labels, [UNKNOWN] * len(codes), records.skipped)
    reads = reads.drop(unmarked, f"no {READ_MARK} in the name")
    return _need_some(_drop_indefinite(reads), str(fasta))


def read_labelled_tsv(path: str | Path) -> Contigs:
    """Sequences of a published evaluation file: tab-separated sequence and species, with a header.

    The first line is a header and is not read, whatever it says; further columns are ignored.
    Names are the lines' numbers. Rows with an empty sequence, without a definite base or without
    a species are skipped, named and counted.

    Raises ValueError for one column, a first line that is data, a character that is no nucleotide
    letter (each with its line), and no rows. Plain or gzipped.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected sequences and species (TSV)")
    rows = [line.split("\t") for line in read_content(path).decode("utf-8").splitlines()]
    lines = [i for i, row in enumerate(rows) if row != [""]]
    for i in lines:
        if len(rows[i]) < 2:
            raise ValueError(
                f"{path}, line {i + 1}: one column, expected a sequence, a tab and its species"
            )
    if lines and len(rows[lines[0]][0]) >= 20 and set(rows[lines[0]][0].upper()) <= set("ACGTN"):
        raise ValueError(f"{path}, line 1: a sequence, expected a header; add one: it is not read")
    lines = lines[1:]
    texts = [rows[i][0].strip() for i in lines]
    flat, starts, _ = decode_texts(texts, np.array(lines) + 1, str(path))
    species = [rows[i][1].strip() for i in lines]
    names = [f"line {i + 1}" for i in lines]
    codes = np.split(flat, starts[1:-1]) if lines else []
    contigs = Contigs(names, codes, species, [UNKNOWN] * len(names))
    contigs = contigs.drop(np.array(species, dtype=object) == "", "no species")
    return _need_some(_drop_indefinite(contigs), str(path))


def _drop_indefinite(contigs: Contigs) -> Contigs:
    """Without sequences that are empty or hold no definite base."""
    n_definite = np.array([np.count_nonzero(codes < N_BASES) for codes in contigs.codes])
    reason = np.where(contigs.lengths == 0, "empty sequence", "no definite base")
    return contigs.drop(n_definite == 0, reason)


def _need_some(contigs: Contigs, where: str) -> Contigs:
    if not len(contigs):
        why = f"; left out: {_show(contigs.skipped)}" if len(contigs.skipped) else ""
        raise ValueError(f"{where}: no sequence with a species{why}")
    return contigs
