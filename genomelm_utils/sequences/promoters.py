"""Promoters of annotated genes: the bases upstream of a gene's start that no gene covers.

The rules are those of FloraBERT: a flank of 1000 bases upstream of the annotated start, clipped at
the contig's ends; minus all genes of the file, on both strands; of what is left the piece nearest
the start; read 5' to 3' on the gene's strand, so that the start (the "TSS"; the 5' UTR is not in
the promoter) is at the right end. The nearest piece need not touch the start: `gap_bp` says how far
away it is, and by default pieces that do not touch it are left out, named.

Source: FloraBERT, released `gene_db_io.py` (bedtools flank, subtract, getfasta); the same intervals
and sequences come out, computed here on sorted arrays. Shape suffixes: S genes, U merged intervals.
"""

import gzip
import logging
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import COMPLEMENT_TABLE, DECODE_TABLE
from genomelm_utils.sequences.annotation import Annotation, read_genes
from genomelm_utils.sequences.fasta import Records, read_fasta, suggest
from genomelm_utils.sequences.genome import BaseStore

logger = logging.getLogger(__name__)

FLANK_BP = 1000  # Source: FloraBERT, section "Data"; released regulatory_len
COLUMNS = ("gene_id", "name", "contig", "start", "end", "strand", "gap_bp", "sequence")
SKIPPED_COLUMNS = ("gene_id", "contig", "start", "end", "strand", "line", "gap_bp", "reason")
NO_RECORD = "its contig is no record of the FASTA file"
OUTSIDE = "coordinates outside the contig"
NO_STRAND = "no strand"
NO_ID = "no gene id"
REPEATED_ID = "an earlier gene has the same id"
NO_UPSTREAM = "no base upstream, the gene starts at the contig's end"
COVERED = "the flank lies wholly inside other genes"
NOT_TOUCHING = "the nearest piece does not touch the TSS"
_NAME = r"^(?P<gene_id>.*)::(?P<contig>.+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>[+-])\)$"
_SHOWN = 10  # names in a message


@dataclass(frozen=True)
class Promoters:
    """Promoters of one genome.

    table: one row per promoter in the order of the annotation, with the columns gene_id; name
    (`ID::contig:start-end(strand)`, as in FASTA headers); contig, start, end (int64, 0-based
    half-open, of the promoter); strand; gap_bp (Int64, bases between its right end and the gene's
    start, <NA> unknown); sequence (str, 5' to 3', TSS at its right end). skipped: genes without a
    promoter: gene_id, contig, start, end (of the gene), strand, line of the annotation, gap_bp,
    reason. n_genes: both together. source, why: whose id rule was used, and why.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame
    source: str
    why: str

    @property
    def n_genes(self) -> int:
        """Genes of the annotation, with and without a promoter."""
        return len(self.table) + len(self.skipped)

    def count(self) -> pd.DataFrame:
        """What became of the genes: columns outcome, genes; the sum is `n_genes`."""
        rows = [
            ("with a promoter", len(self.table)),
            *self.skipped["reason"].value_counts().items(),
        ]
        return pd.DataFrame(rows, columns=["outcome", "genes"])


def extract_promoters(
    fasta: str | Path | Records | BaseStore,
    annotation: str | Path | Annotation,
    *,
    flank_bp: int = FLANK_BP,
    fragment_rule: str = "corrected",
    case: str = "corrected",
    source: str = "auto",
    id_rule: str = "corrected",
) -> Promoters:
    """The promoters of all genes of an annotation, and the genes without one by reason.

    fasta: a file (plain or gzipped, read whole), or a genome in memory or in a store of bases.
    annotation: a GFF3 or GTF file, or genes already read; `source` and `id_rule` as in
    `annotation.read_genes` (not used for genes already read). flank_bp: longest promoter, >= 1.
    fragment_rule: `corrected` keeps a promoter only if it touches the TSS; `reference` keeps the
    nearest piece wherever it lies. case: `corrected` gives upper case; `reference` lower case where
    the genome is soft-masked.

    Left out, and counted and named in `skipped` and in the log: genes on contigs that are no record
    of the FASTA file, with coordinates outside the contig, without strand or id, of an id that an
    earlier gene has, without bases upstream, with a flank wholly inside genes, and (corrected) not
    touching. Their bases are subtracted from other flanks all the same. A circular contig is taken
    as linear. IUPAC letters stay; U reads as T.

    Memory: the genome at one byte per base (not for a store), the genes, the sequences.
    Raises ValueError when no gene lies on any record of the FASTA file and when no promoter is
    left, and what `read_fasta` and `read_genes` raise.
    """
    _check_options(flank_bp, fragment_rule, case)
    genes = annotation
    if not isinstance(genes, Annotation):
        genes = read_genes(annotation, source=source, id_rule=id_rule)
    records = _as_records(fasta)
    place = _place_genes(genes, records)
    start_S, end_S, gap_S = locate_promoters(place, flank_bp)
    reason_S = _find_reasons(genes.genes, place, start_S, end_S, gap_S, fragment_rule)
    kept = np.flatnonzero(reason_S == "")
    skipped = genes.genes.assign(gap_bp=_as_gap(gap_S, start_S < end_S), reason=reason_S)
    skipped = skipped.loc[reason_S != "", list(SKIPPED_COLUMNS)].reset_index(drop=True)
    _report(genes.path, skipped)
    if not len(kept):
        counts = skipped["reason"].value_counts()
        found = "; ".join(f"{n:,} {reason}" for reason, n in counts.items())
        raise ValueError(f"{genes.path}: no gene has a promoter: {found}")
    lower = case == "reference"
    minus_S = place.minus_S
    table = genes.genes.iloc[kept][["gene_id", "contig", "strand"]].reset_index(drop=True)
    table["start"] = start_S[kept] - place.first_S[kept]
    table["end"] = end_S[kept] - place.first_S[kept]
    table["gap_bp"] = pd.array(gap_S[kept], dtype="Int64")
    table["name"] = make_names(table)
    table["sequence"] = _cut(records, start_S[kept], end_S[kept], minus_S[kept], lower)
    return Promoters(table[list(COLUMNS)], skipped, genes.source, genes.why)


@dataclass(frozen=True)
class Places:
    """Where genes lie when all contigs are laid end to end, int64 [S] each.

    start_S, end_S: the gene, clipped to its contig; first_S, last_S: its contig (both -1 when it
    is no record of the genome). minus_S, outside_S: bool, on the minus strand; past its contig.
    """

    start_S: np.ndarray
    end_S: np.ndarray
    first_S: np.ndarray
    last_S: np.ndarray
    minus_S: np.ndarray
    outside_S: np.ndarray


def locate_promoters(
    place: Places, flank_bp: int = FLANK_BP
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and gap of every gene's promoter, int64 [S] each, contigs end to end.

    start == end where nothing is left. O(S log S): genes are merged into disjoint intervals that
    do not touch each other; upstream of a start, at most one of them has to be stepped over.
    """
    known = place.first_S >= 0
    merged_U2 = merge_intervals(place.start_S[known], place.end_S[known])
    plus = _locate_left(place.start_S, place.first_S, merged_U2, flank_bp)
    # The minus strand is the plus strand of the genome read from its right end.
    minus = _locate_left(-place.end_S, -place.last_S, -merged_U2[::-1, ::-1], flank_bp)
    start_S = np.where(place.minus_S, -minus[1], plus[0])
    end_S = np.where(place.minus_S, -minus[0], plus[1])
    gap_S = np.where(place.minus_S, minus[2], plus[2])
    start_S[~known] = end_S[~known] = 0
    return start_S, end_S, gap_S


def _locate_left(
    tss_S: np.ndarray, first_S: np.ndarray, merged_U2: np.ndarray, flank_bp: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end, gap of the uncovered piece nearest to the left of a position, int64 [S] each."""
    low_S = np.maximum(tss_S - flank_bp, first_S)
    far = np.iinfo(np.int64).min // 2
    begins = np.concatenate([[far], merged_U2[:, 0]])  # a sentinel: nothing lies before it
    ends = np.concatenate([[far], merged_U2[:, 1]])
    before = np.searchsorted(begins, tss_S, side="left") - 1  # the last that starts left of the TSS
    covered = ends[before] >= tss_S
    end_S = np.where(covered, begins[before], tss_S)
    previous = np.where(covered, before - 1, before)
    start_S = np.maximum(low_S, ends[previous])
    end_S = np.maximum(end_S, low_S)
    return np.minimum(start_S, end_S), end_S, tss_S - end_S


def merge_intervals(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The union of half-open intervals as int64 [U, 2], sorted, none touching the next."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.append(True, start[1:] > reach[:-1])[: len(start)]
    last = np.append(first[1:], True)[: len(start)]
    return np.stack([start[first], reach[last]], axis=1)


def make_names(table: pd.DataFrame) -> list[str]:
    """FASTA names `ID::contig:start-end(strand)` (start 0-based, as `bedtools getfasta -name+`)."""
    columns = [table[name].tolist() for name in ("gene_id", "contig", "start", "end", "strand")]
    return [f"{i}::{c}:{s}-{e}({d})" for i, c, s, e, d in zip(*columns, strict=True)]


def write_promoters(path: str | Path, table: pd.DataFrame) -> None:
    """Promoters as FASTA, one line per sequence; gzipped if named *.gz; letters as they are.

    table: columns name and sequence. The file appears under its name when it is complete.
    """
    path = Path(path)
    pairs = zip(table["name"], table["sequence"], strict=True)
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in pairs).encode()
    if path.suffix == ".gz":
        text = gzip.compress(text, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(text)
    partial.replace(path)


def read_promoters(path: str | Path) -> pd.DataFrame:
    """Promoters of a FASTA file whose names are `ID::contig:start-end(strand)`, upper case.

    The table of `Promoters`, with gap_bp <NA>: a name does not say it. Raises ValueError for other
    names and for a length that is not that of the interval, and what `read_fasta` raises.
    """
    path = Path(path)
    records = read_fasta(path)
    names = pd.Series(records.names)
    table = names.str.extract(_NAME)
    wrong = table["contig"].isna().to_numpy()
    if wrong.any():
        raise ValueError(
            f"{path}: {wrong.sum():,} of {len(names):,} names are not "
            f"ID::contig:start-end(strand), the first is {names[int(np.argmax(wrong))]!r}"
        )
    table = table.astype({"start": np.int64, "end": np.int64})
    wrong = (table["end"] - table["start"]).to_numpy() != np.diff(records.starts)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: {names[at]!r} holds {np.diff(records.starts)[at]} bases, not as many as its "
            "name says; was the file cut by hand?"
        )
    text = DECODE_TABLE[records.codes].tobytes().decode("ascii")
    bounds = zip(records.starts[:-1].tolist(), records.starts[1:].tolist(), strict=True)
    table = table.assign(name=names, gap_bp=pd.array([pd.NA] * len(names), dtype="Int64")).assign(
        sequence=[text[start:end] for start, end in bounds]
    )
    return table[list(COLUMNS)]


def _check_options(flank_bp: int, fragment_rule: str, case: str) -> None:
    if flank_bp < 1:
        raise ValueError(f"flank_bp is {flank_bp}, expected at least 1 base")
    for name, value in (("fragment_rule", fragment_rule), ("case", case)):
        if value not in ("corrected", "reference"):
            raise ValueError(f"{name} is {value!r}, expected corrected or reference")


def _as_records(fasta: str | Path | Records | BaseStore) -> Records:
    if isinstance(fasta, Records):
        return fasta
    if isinstance(fasta, BaseStore):
        starts = np.append(fasta.records["start"].to_numpy(np.int64), fasta.n_bases)
        nothing = pd.DataFrame({"name": [], "reason": []})
        return Records(fasta.records["name"].tolist(), fasta.codes, starts, fasta.soft, nothing)
    return read_fasta(fasta)


def _place_genes(found: Annotation, records: Records) -> Places:
    """Genes in the coordinates of `records.codes`; ValueError when none is on any record."""
    genes = found.genes
    row_of = {name: row for row, name in enumerate(records.names)}
    row_S = genes["contig"].map(row_of).fillna(-1).to_numpy(np.int64)
    known = row_S >= 0
    if not known.any():
        name = genes["contig"].iloc[0]
        contigs = ", ".join(map(repr, genes["contig"].unique()[:3]))
        names = ", ".join(map(repr, records.names[:3]))
        raise ValueError(
            f"{found.path}: none of its {genes['contig'].nunique():,} contigs ({contigs}, ...) "
            f"is a record of the FASTA file ({names}, ...){suggest(name, row_of)}; are both files "
            "of one assembly, with the same names?"
        )
    first_S = np.where(known, records.starts[row_S], -1)
    last_S = np.where(known, records.starts[row_S + 1], -1)
    start_S = first_S + genes["start"].to_numpy()
    end_S = first_S + genes["end"].to_numpy()
    return Places(
        start_S=np.minimum(start_S, last_S),
        end_S=np.minimum(end_S, last_S),
        first_S=first_S,
        last_S=last_S,
        minus_S=(genes["strand"] == "-").to_numpy(),
        outside_S=known & (end_S > last_S),
    )


def _find_reasons(
    genes: pd.DataFrame,
    place: Places,
    start_S: np.ndarray,
    end_S: np.ndarray,
    gap_S: np.ndarray,
    fragment_rule: str,
) -> np.ndarray:
    """Object [S]: why a gene has no promoter, the first reason that holds; "" where it has one."""
    at_end_S = np.where(place.minus_S, place.end_S == place.last_S, place.start_S == place.first_S)
    ids = genes["gene_id"]
    reasons = {
        NO_RECORD: place.first_S < 0,
        OUTSIDE: place.outside_S,
        NO_STRAND: ~genes["strand"].isin(["+", "-"]).to_numpy(),
        NO_ID: (ids == "").to_numpy(),
        REPEATED_ID: ids.duplicated().to_numpy(),
        NO_UPSTREAM: at_end_S,
        COVERED: start_S == end_S,
        NOT_TOUCHING: (gap_S > 0) & (fragment_rule == "corrected"),
    }
    return np.select(list(reasons.values()), list(reasons), default="").astype(object)


def _as_gap(gap_S: np.ndarray, exists_S: np.ndarray) -> pd.arrays.IntegerArray:
    """Int64 [S]: the gap where there is a piece, else <NA>."""
    return pd.arrays.IntegerArray(gap_S.copy(), ~exists_S)


def _cut(
    records: Records, start_S: np.ndarray, end_S: np.ndarray, minus_S: np.ndarray, lower: bool
) -> list[str]:
    """The sequences, read 5' to 3' on their strands; `lower`: soft-masked bases in lower case."""
    from genomelm_utils.sequences.cut import copy_pieces

    codes = np.asarray(records.codes)  # of a store: the mapped array, not copied
    tables = (DECODE_TABLE, DECODE_TABLE[COMPLEMENT_TABLE])
    letters = copy_pieces(codes, start_S, end_S, minus_S, *tables)
    offset_S = np.concatenate([[0], np.cumsum(end_S - start_S)])
    if lower:
        for begin, end in _find_soft(records.soft, start_S, end_S, minus_S, offset_S[:-1]):
            letters[begin:end] |= ord(" ")  # the bit of lower case in ASCII
    text = letters.tobytes().decode("ascii")
    bounds = offset_S.tolist()
    return [text[begin:end] for begin, end in pairwise(bounds)]


def _find_soft(
    soft: np.ndarray,
    start_S: np.ndarray,
    end_S: np.ndarray,
    minus_S: np.ndarray,
    offset_S: np.ndarray,
) -> list[list[int]]:
    """Soft-masked intervals [begin, end) of pieces that are laid end to end from `offset_S`."""
    first = np.searchsorted(soft[:, 1], start_S, side="right")
    n_S = np.searchsorted(soft[:, 0], end_S, side="left") - first
    piece = np.repeat(np.arange(len(start_S)), n_S)
    within = np.arange(n_S.sum()) - np.repeat(np.cumsum(n_S) - n_S, n_S)
    found = soft[first[piece] + within]
    begin = np.maximum(found[:, 0], start_S[piece])
    end = np.minimum(found[:, 1], end_S[piece])
    plus = np.stack([begin - start_S[piece], end - start_S[piece]], axis=1)
    minus = np.stack([end_S[piece] - end, end_S[piece] - begin], axis=1)
    place = np.where(minus_S[piece, None], minus, plus) + offset_S[piece, None]
    return place.tolist()


def _report(path: Path, skipped: pd.DataFrame) -> None:
    """What was left out, in the log: counted by reason, the first names."""
    for reason, group in skipped.groupby("reason", sort=False):
        names = group["gene_id"].where(group["gene_id"] != "", "line " + group["line"].astype(str))
        shown = ", ".join(names.head(_SHOWN)) + (", ..." if len(group) > _SHOWN else "")
        logger.warning("%s: left out %d genes: %s: %s", path, len(group), reason, shown)
