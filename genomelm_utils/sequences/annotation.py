"""Genes of a GFF3 or GTF file: the lines of type `gene`, in bounded memory, with their ids.

Coordinates are 0-based half-open in the table (GFF's are 1-based inclusive). Read for promoter
extraction (`promoters`), so transcripts, exons and children of any kind are not looked at.

Source: Sequence Ontology, GFF3 specification 1.26; Ensembl, GTF file format description.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from genomelm_utils.sequences.fasta import is_gzip

GENE = b"gene"  # exactly: not ncRNA_gene, not pseudogene. Source: FloraBERT, released gene_db_io.py
N_COLUMNS = 9
#: Where the id of a gene stands. Corrected: the attribute of that name, wherever it is.
#: Source of the places: FloraBERT, released `remove_split_fragments`; GTF is ours.
ID_PATTERNS = {
    "gtf": r'(?:^|;)\s*gene_id "?([^";]+)',
    "ensembl": r"(?:^|;)\s*ID=gene:([^;]+)",
    "maizegdb": r"(?:^|;)\s*ID=gene:([^;]+)",
    "refseq": r"(?:^|;)\s*Dbxref=(?:[^;]*,)?GeneID:([^;,]+)",
    "nam": r"(?:^|;)\s*ID=([^;]+)",
}
#: Reference: by the place of the attribute and the first separator in it, as released.
REFERENCE_PATTERNS = {
    "ensembl": r"^[^;:]*:([^;:]*)",
    "maizegdb": r"^[^;:]*:([^;:]*)",
    "refseq": r"^[^;]*;[^;:]*:([^;:]*)",
    "nam": r"^[^;=]*=([^;=]*)",
}
#: Without this in it no text matches the pattern: most are told apart without a search.
_MARKS = {
    "gtf": "gene_id",
    "ensembl": "ID=gene:",
    "maizegdb": "ID=gene:",
    "refseq": "GeneID:",
    "nam": "ID=",
}
SOURCES = ("auto", *ID_PATTERNS)
_GUESSES = ("gtf", "ensembl", "refseq", "nam")  # from the most to the least particular
_BLOCK_BYTES = 1 << 22
_FASTA = (b"##FASTA", b">")  # either starts the sequences. Source: GFF3 specification, directives
_TAB, _FEED = ord("\t"), ord("\n")


@dataclass(frozen=True)
class Annotation:
    """Genes of one file.

    genes: one row per line of type `gene`, in file order: gene_id (str, "" where the file gives
    none), contig, start and end (int64, 0-based half-open), strand (as it stands), line (1-based,
    of the file). source: whose id rule was used; why: how it was chosen.
    """

    path: Path
    genes: pd.DataFrame
    source: str
    why: str

    def __len__(self) -> int:
        return len(self.genes)


def read_genes(path: str | Path, *, source: str = "auto", id_rule: str = "corrected") -> Annotation:
    """The genes of a GFF3 or GTF file, plain or gzipped (told by content, not by name).

    source: whose file it is, which decides where the gene's id stands: `ensembl` and `maizegdb`
    (`ID=gene:X`), `refseq` (`GeneID:n` among the Dbxref), `nam` (MaizeGDB's NAM lines, and any
    other plain `ID=X`), `gtf` (`gene_id "X"`), or `auto`: the first of gtf, ensembl, refseq, nam
    that finds an id in at least half of the genes. id_rule: `corrected` looks for the attribute by
    name and decodes %XX; `reference` takes the text behind the first separator of the first
    (RefSeq: second) attribute, as the released code does: there `Dbxref=ASAP:A1,GeneID:7` gives
    "A1,GeneID".

    Comments, blank lines and sequences behind `##FASTA` are not looked at; contig names stay as
    they are. Memory: the genes, and some 20 MB for the block being read.

    Raises FileNotFoundError, or ValueError for: a damaged gzip file, a line of fewer than nine
    columns, coordinates that are no numbers or out of order, no line of type `gene` (with the types
    there are), and no id in any gene.
    """
    path = Path(path)
    _check_choice(path, source, id_rule)
    lines = [
        found for block, line in _iter_blocks(path) for found in _find_genes(path, block, line)
    ]
    if not lines:
        raise ValueError(_explain_no_gene(path))
    numbers, fields = zip(*lines, strict=True)
    columns = [list(column) for column in zip(*fields, strict=True)]
    start, end = _parse_coordinates(path, columns[3], columns[4], numbers)
    attributes = columns[8]
    ids, source, why = _choose_ids(path, attributes, source, id_rule)
    if not (ids != "").any():
        raise ValueError(
            f"{path}: no gene has an id where {source} files have it ({id_rule} rule); the first "
            f"of {len(ids)} genes has the attributes {attributes[0][:120]!r}; choose another "
            f"source ({', '.join(SOURCES[1:])})"
        )
    genes = pd.DataFrame(
        {
            "gene_id": ids,
            "contig": columns[0],
            "start": start - 1,
            "end": end,
            "strand": columns[6],
            "line": np.array(numbers, np.int64),
        }
    )
    return Annotation(path, genes, source, why)


def _check_choice(path: Path, source: str, id_rule: str) -> None:
    if source not in SOURCES:
        raise ValueError(f"source is {source!r}, expected one of {', '.join(SOURCES)}")
    if id_rule not in ("corrected", "reference"):
        raise ValueError(f"id_rule is {id_rule!r}, expected corrected or reference")
    if id_rule == "reference" and source in ("auto", "gtf"):
        raise ValueError(
            f"{path}: the reference id rule belongs to a source, got {source!r}; expected one of "
            f"{', '.join(REFERENCE_PATTERNS)} (the released code neither guesses nor reads GTF)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected GFF3 or GTF (plain or gzipped)")


def _iter_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Whole lines of the file in blocks, each with the 1-based number of its first line.

    Ends where sequences start. Every block ends with a line feed.
    """
    opener = gzip.open if is_gzip(path) else open
    rest, line, n_read = b"", 1, 0
    with opener(path, "rb") as file:
        while True:
            try:
                piece = file.read(_BLOCK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(
                    f"{path}: truncated or damaged gzip file after {n_read:,} uncompressed bytes "
                    f"({error}); fetch or compress it again"
                ) from error
            n_read += len(piece)
            text = rest + piece
            cut = text.rfind(b"\n") + 1 if piece else len(text)
            block, rest = text[:cut], text[cut:]
            if block and not block.endswith(b"\n"):
                block += b"\n"
            n_annotation = _find_sequences(block)
            at_end, block = n_annotation < len(block), block[:n_annotation]
            if block:
                yield block, line
            if at_end or not piece:
                return
            line += block.count(b"\n")


def _find_sequences(block: bytes) -> int:
    """Where FASTA starts in a block of whole lines; the block's length if it does not."""
    found = [0 if block.startswith(mark) else block.find(b"\n" + mark) + 1 for mark in _FASTA]
    return min(
        [at for at, mark in zip(found, _FASTA, strict=True) if block.startswith(mark, at)],
        default=len(block),
    )


def _find_genes(path: Path, block: bytes, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, its nine columns) of every line of type gene."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _FEED)
    starts = np.concatenate([[0], ends[:-1] + 1])
    rows = np.flatnonzero((data[starts] != ord("#")) & (ends > starts))
    tabs = np.flatnonzero(data == _TAB)
    first = np.searchsorted(tabs, starts[rows])
    n_tabs = np.searchsorted(tabs, ends[rows]) - first
    for row in rows[n_tabs < N_COLUMNS - 1].tolist():
        text = block[starts[row] : ends[row]]
        if text.strip():
            raise ValueError(
                f"{path}, line {first_line + row}: expected {N_COLUMNS} columns separated by tabs "
                f"(GFF3 or GTF), found {text.count(bytes([_TAB])) + 1}: {text[:60]!r}"
            )
    whole = n_tabs >= N_COLUMNS - 1
    rows, first = rows[whole], first[whole]
    before, after = tabs[first + 1], tabs[first + 2]  # the tabs around the third column
    rows = rows[after - before - 1 == len(GENE)]
    before = before[after - before - 1 == len(GENE)]
    letters = data[before[:, None] + 1 + np.arange(len(GENE))]
    for row in rows[(letters == np.frombuffer(GENE, np.uint8)).all(axis=1)].tolist():
        text = block[starts[row] : ends[row]].decode("utf-8", errors="replace").rstrip("\r")
        yield first_line + row, text.split("\t", N_COLUMNS - 1)


def _parse_coordinates(
    path: Path, start: list[str], end: list[str], numbers: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """First and last base, 1-based, int64 each."""
    values = [pd.to_numeric(pd.Series(texts), errors="coerce") for texts in (start, end)]
    whole = [(value == value.round()).to_numpy() for value in values]
    right = whole[0] & whole[1] & ((values[0] >= 1) & (values[0] <= values[1])).to_numpy()
    if not right.all():
        wrong = int(np.argmin(right))
        raise ValueError(
            f"{path}, line {numbers[wrong]}: the gene's start is {start[wrong]!r} and its end "
            f"{end[wrong]!r}, expected whole numbers with 1 <= start <= end"
        )
    return values[0].to_numpy(np.int64), values[1].to_numpy(np.int64)


def _choose_ids(
    path: Path, attributes: list[str], source: str, id_rule: str
) -> tuple[np.ndarray, str, str]:
    """Ids (object [S], "" where there is none), the source whose rule is used, and why."""
    if source != "auto":
        return _find_ids(attributes, source, id_rule), source, f"asked for ({id_rule} rule)"
    for guess in _GUESSES:
        ids = _find_ids(attributes, guess, id_rule)
        n_found = int((ids != "").sum())
        if 2 * n_found >= len(ids):
            return ids, guess, f"{n_found:,} of {len(ids):,} genes have an id as {guess} files do"
    raise ValueError(
        f"{path}: no rule finds an id in half of the {len(attributes)} genes; the first has the "
        f"attributes {attributes[0][:120]!r}; expected ID=X, Dbxref=GeneID:n (GFF3) or "
        'gene_id "X" (GTF), or name the source'
    )


def _find_ids(attributes: list[str], source: str, id_rule: str) -> np.ndarray:
    """Object [S]: the id of every gene, "" where there is none."""
    mark = _MARKS[source] if id_rule == "corrected" else ""
    patterns = ID_PATTERNS if id_rule == "corrected" else REFERENCE_PATTERNS
    search = re.compile(patterns[source]).search
    matches = [search(text) if mark in text else None for text in attributes]
    ids = [match[1].strip() if match else "" for match in matches]
    if id_rule == "corrected" and source != "gtf":  # GFF3 writes , ; = and tabs in values as %XX
        ids = [unquote(text) if "%" in text else text for text in ids]
    return np.array(ids, object)


def _explain_no_gene(path: Path) -> str:
    """Why a file without genes is of no use; reads it again, to name the types there are."""
    types: Counter[str] = Counter()
    for block, _ in _iter_blocks(path):
        lines = (line.split(b"\t", 3) for line in block.splitlines() if line[:1] != b"#")
        types.update(parts[2].decode(errors="replace") for parts in lines if len(parts) > 3)
    found = ", ".join(f"{name} ({n:,})" for name, n in types.most_common(8))
    return (
        f"{path}: no line has the type `gene` (third column, exactly); found "
        f"{found or 'no annotation lines at all'}. Expected a GFF3 or GTF file with gene lines"
    )
