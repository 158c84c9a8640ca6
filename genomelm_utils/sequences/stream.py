"""FASTA and FASTQ as a stream of blocks: base codes of any number of records in bounded memory.

For files that need not fit into memory and are read once, front to back, such as contigs and reads
to embed; `fasta.read_fasta` is for genomes that stay. Shapes: R records of a block, L bases.
"""

import gzip
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    ENCODE_TABLE,
    INVALID,
    N_BASES,
    explain_character,
)

if TYPE_CHECKING:
    import dnaio

logger = logging.getLogger(__name__)

BLOCK_BASES = 1 << 25
BLOCK_RECORDS = 1 << 16
FORMATS = {b">": "fasta", b"@": "fastq"}  # first character of a file -> what it is
_BLANKS = str.maketrans("", "", " \t")


@dataclass(frozen=True)
class Block:
    """Some consecutive records. names: str [R]; codes: R arrays uint8 [L]."""

    names: list[str]
    codes: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bases(self) -> int:
        """Bases of all records together."""
        return sum(len(one) for one in self.codes)


def iter_records(path: str | Path, **options: Any) -> Iterator[Block]:
    """The blocks of a file, see `RecordStream`; take that class to learn what was skipped."""
    return iter(RecordStream(path, **options))


class RecordStream:
    """Blocks of records of a FASTA or FASTQ file, plain or compressed (both told by content).

    The name of a record is the first word of its header, the rest of the header is dropped (with
    `whole_header` all of it is the name, blanks as `_`: for files whose first words repeat). Case
    is ignored, U reads as T, other IUPAC letters stay ambiguity codes. Left out, and counted and
    named in `skipped` and once in the log: empty records, records without a single A, C, G or T (N
    only), and records shorter than `min_bp`. Qualities of a FASTQ are not used.

    Memory: up to `block_bases` bases or `block_records` records at a time (or the longest record,
    where that is longer), at about three bytes per base, and 8 bytes per name read, because names
    must be unique.

    Raises FileNotFoundError; ValueError for a file that is neither, truncated or damaged files, a
    character that is no IUPAC nucleotide letter, a record without a name, two records of one name,
    and a file in which no record is left.

    skipped: table (name, reason), complete when the stream is at its end.
    n_records, n_bases: what was given out so far.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        min_bp: int = 1,
        block_bases: int = BLOCK_BASES,
        block_records: int = BLOCK_RECORDS,
        whole_header: bool = False,
    ) -> None:
        if min(min_bp, block_bases, block_records) < 1:
            raise ValueError(
                f"min_bp = {min_bp}, block_bases = {block_bases}, block_records = "
                f"{block_records}: expected at least 1 each"
            )
        self.path = Path(path)
        self.min_bp = min_bp
        self.block_bases = block_bases
        self.block_records = block_records
        self.whole_header = whole_header
        self.format = tell_format(self.path)
        self._reported = False
        self._reset()

    def _reset(self) -> None:
        self.n_records = self.n_bases = 0
        self._seen = np.empty(0, np.int64)
        self._skipped: list[tuple[str, str]] = []

    @property
    def skipped(self) -> pd.DataFrame:
        """Records left out so far: name and reason."""
        return pd.DataFrame(self._skipped, columns=["name", "reason"])

    def __iter__(self) -> Iterator[Block]:
        self._reset()
        for names, texts in self._read_blocks():
            self._check_names(names)
            block = self._encode_block(names, texts)
            if len(block):
                self.n_records += len(block)
                self.n_bases += block.n_bases
                yield block
        self._report()

    def _read_blocks(self) -> Iterator[tuple[list[str], list[str]]]:
        names, texts, n_bases = [], [], 0
        for record in _read_records(self.path, self.format):
            names.append(_name_of(record, self.whole_header))
            texts.append(record.sequence)
            n_bases += len(record.sequence)
            if n_bases >= self.block_bases or len(names) >= self.block_records:
                yield names, texts
                names, texts, n_bases = [], [], 0
        if names:
            yield names, texts

    def _check_names(self, names: list[str]) -> None:
        """Names are remembered as 64-bit hashes; only when two agree is the file read again."""
        if "" in names:
            number = self.n_records + len(self._skipped) + names.index("") + 1
            raise ValueError(
                f"{self.path}: record {number} has no name, expected a word after "
                f"{'>' if self.format == 'fasta' else '@'!r}"
            )
        hashes = np.sort(np.fromiter(map(hash, names), np.int64, len(names)))
        merged = np.sort(np.concatenate([self._seen, hashes]), kind="stable")
        twice = set(merged[1:][merged[1:] == merged[:-1]].tolist())
        for name in dict.fromkeys(name for name in names if twice and hash(name) in twice):
            _raise_if_repeated(self.path, self.format, name, self.whole_header)
        self._seen = merged

    def _encode_block(self, names: list[str], texts: list[str]) -> Block:
        joined = "".join(texts).encode("ascii", errors="replace")
        codes = ENCODE_TABLE[np.frombuffer(joined, np.uint8)]
        if len(codes) and codes.max() == INVALID:
            texts = [text.translate(_BLANKS) for text in texts]
            joined = "".join(texts).encode("ascii", errors="replace")
            codes = ENCODE_TABLE[np.frombuffer(joined, np.uint8)]
        ends = np.cumsum([len(text) for text in texts])
        if len(codes) and codes.max() == INVALID:
            self._raise_wrong_character(codes, ends, names, joined)
        pieces = np.split(codes, ends[:-1])
        reasons = [self._reason_to_skip(piece) for piece in pieces]
        self._skipped += [(n, why) for n, why in zip(names, reasons, strict=True) if why]
        kept = [i for i, reason in enumerate(reasons) if reason is None]
        return Block([names[i] for i in kept], [pieces[i] for i in kept])

    def _reason_to_skip(self, codes: np.ndarray) -> str | None:
        if not len(codes):
            return "empty record"
        if codes.min() >= N_BASES:
            return "no definite base (N only)"
        if len(codes) < self.min_bp:
            return f"shorter than {self.min_bp} bp"
        return None

    def _raise_wrong_character(
        self, codes: np.ndarray, ends: np.ndarray, names: list[str], joined: bytes
    ) -> None:
        at = int(np.argmax(codes == INVALID))
        record = int(np.searchsorted(ends, at, side="right"))
        position = at - (int(ends[record - 1]) if record else 0)
        raise ValueError(
            f"{self.path}: record {names[record]!r} holds {explain_character(joined[at])} at base "
            f"{position} (0-based), expected the IUPAC nucleotide letters {ALPHABET} or U"
        )

    def _report(self) -> None:
        counts = self.skipped["reason"].value_counts()
        if not self.n_records:
            found = ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no records"
            raise ValueError(f"{self.path}: nothing to read: {found}")
        if self._reported:
            return
        self._reported = True
        for reason, count in counts.items():
            first = islice((name for name, why in self._skipped if why == reason), 10)
            shown = ", ".join(first) + (", ..." if count > 10 else "")
            logger.warning("%s: left out %d records: %s: %s", self.path, count, reason, shown)


def tell_format(path: Path) -> str:
    """'fasta' or 'fastq', from the first character of the (uncompressed) content.

    Raises: FileNotFoundError; ValueError for damaged files and files that are neither.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, expected FASTA or FASTQ (plain or compressed)"
        )
    from xopen import xopen

    with explained(path), xopen(path, "rb", threads=0) as file:
        head = file.read(1 << 12).lstrip()
    if head[:1] in FORMATS:
        return FORMATS[head[:1]]
    found = f"found {head[:20]!r}" if head else "the file is empty"
    raise ValueError(
        f"{path}: not a sequence file: expected '>' (FASTA) or '@' (FASTQ) as the first character, "
        f"{found}"
    )


def _read_records(path: Path, file_format: str) -> "Iterator[dnaio.SequenceRecord]":
    import dnaio

    with explained(path), dnaio.open(path, fileformat=file_format) as reader:
        yield from reader


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Inside, what readers of sequence files raise becomes a ValueError that names the file."""
    import dnaio

    try:
        yield
    except _unpacking_errors() as error:
        raise ValueError(
            f"{path}: truncated or damaged compressed file ({error}); fetch or compress it again"
        ) from error
    except (dnaio.FileFormatError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _unpacking_errors() -> tuple[type[BaseException], ...]:
    """Errors of the decompressors in use; isal exists for some processors only."""
    errors = (EOFError, gzip.BadGzipFile, zlib.error)
    try:
        from isal import igzip_lib
    except ImportError:
        return errors
    return (*errors, igzip_lib.error)


def _name_of(record: "dnaio.SequenceRecord", whole_header: bool) -> str:
    return "_".join(record.name.split()) if whole_header else record.id


def _raise_if_repeated(path: Path, file_format: str, name: str, whole_header: bool) -> None:
    """Two equal hashes: is it really the same name? For the message of an error only."""
    numbers = [
        i
        for i, record in enumerate(_read_records(path, file_format), 1)
        if _name_of(record, whole_header) == name
    ]
    if len(numbers) > 1:
        raise ValueError(
            f"{path}: two records are named {name!r}, the {numbers[0]}. and the {numbers[1]}. of "
            f"the file; the {'header' if whole_header else 'first word of a header'} is the name "
            "and has to be unique: rename one"
        )
