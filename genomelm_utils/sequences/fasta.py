"""FASTA in bulk: whole files into base codes, regions by coordinates, and back to text.

Shape suffixes: M soft-mask intervals; `total` bases of all records together.
"""

import gzip
import logging
import os
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    DECODE_TABLE,
    definite_runs,
    encode,
    explain_character,
    split_intervals,
)

logger = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"  # Source: RFC 1952, section 2.3.1
_CHUNK_BYTES = 1 << 21  # work per thread and turn: the level-2 cache keeps what is read twice


@dataclass(frozen=True)
class Records:
    """The records of one FASTA file, end to end in one array.

    names: one per record. codes: uint8[total]. starts: int64[n + 1], record i is
    codes[starts[i]:starts[i + 1]]. soft: int64[M, 2] lower-case intervals in coordinates of
    `codes`, never crossing a record. skipped: table (name, reason) of records left out.
    """

    names: list[str]
    codes: np.ndarray
    starts: np.ndarray
    soft: np.ndarray
    skipped: pd.DataFrame

    def __len__(self) -> int:
        return len(self.names)

    def runs(self) -> np.ndarray:
        """Runs of definite bases, int64[R, 2], never crossing a record."""
        return definite_runs(self.codes, self.starts)


def read_fasta(path: str | Path) -> Records:
    """All records of a FASTA file, plain or gzipped (told by content, not by name).

    The name of a record is the first word of its header. Line ends may be LF or CRLF; blanks at the
    ends of lines and blank lines do not count; lower case is kept as soft-mask intervals; U reads
    as T. Empty records are left out, named in `skipped` and in the log. A record of N only stays.
    Memory: about one byte per base (the file's own bytes are overwritten by the codes).

    Raises FileNotFoundError, or ValueError for: no FASTA, truncated or damaged gzip, a character
    that is no IUPAC nucleotide letter, a record without a name, two records of one name, no bases.
    """
    path = Path(path)
    data = _read_bytes(path)
    _check_start(path, data)
    chunks = _parse_chunks(data)
    names, header_offsets, starts = _join_headers(chunks)
    wrong = [chunk for chunk in chunks if chunk.wrong >= 0]
    if wrong:
        _raise_wrong_character(path, wrong[0], names, starts)
    _check_names(path, names, header_offsets)
    codes = _close_gaps(data, chunks)
    return _drop_empty(path, names, codes, starts, _join_soft(chunks, starts))


def _read_bytes(path: Path) -> np.ndarray:
    """The uncompressed content as a writable uint8 array."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a FASTA file (plain or gzipped)")
    if not is_gzip(path):
        return np.fromfile(path, dtype=np.uint8)
    content = bytearray()
    try:
        with gzip.open(path, "rb") as file:
            while piece := file.read(1 << 22):
                content += piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: truncated or damaged gzip file after {len(content):,} uncompressed bytes "
            f"({error}); fetch or compress it again"
        ) from error
    return np.frombuffer(content, dtype=np.uint8)


def is_gzip(path: Path) -> bool:
    """Whether the content starts as a gzip file does, whatever the name says."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def _check_start(path: Path, data: np.ndarray) -> None:
    text = data[: 1 << 16].tobytes().lstrip()
    if not text:
        raise ValueError(f"{path}: the file is empty, expected FASTA records")
    if not text.startswith(b">"):
        raise ValueError(
            f"{path}: not a FASTA file: expected '>' as the first character, found {text[:20]!r}"
        )


@dataclass
class _Chunk:
    """What parsing one chunk found; `offset` is where its bases go in the joined array."""

    begin: int
    n_kept: int
    headers: np.ndarray
    names: bytes
    changes: np.ndarray
    wrong: int
    wrong_byte: int
    offset: int = 0


def _parse_chunks(data: np.ndarray) -> list[_Chunk]:
    """Compact every chunk in place, in threads, and say where its bases belong."""
    from genomelm_utils.sequences.parse import CLASS_TABLE, compact_chunk, take_case

    def parse(bounds: tuple[int, int]) -> _Chunk:
        begin, end = bounds
        n_kept, has_lower, headers, names, wrong = compact_chunk(data, begin, end, CLASS_TABLE)
        changes = np.empty(0, np.int64)
        if has_lower:
            changes = take_case(data, begin, begin + n_kept)
        byte = int(data[wrong]) if wrong >= 0 else 0
        return _Chunk(begin, n_kept, headers, names.tobytes(), changes, wrong, byte)

    bounds = _line_aligned_chunks(data)
    with ThreadPoolExecutor(_count_cores()) as pool:
        chunks = list(pool.map(parse, bounds))
    offsets = np.cumsum([0] + [chunk.n_kept for chunk in chunks])
    for chunk, offset in zip(chunks, offsets, strict=False):
        chunk.offset = int(offset)
    return chunks


def _count_cores() -> int:
    """Cores this process may use (the affinity mask exists on Linux only)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _line_aligned_chunks(data: np.ndarray) -> list[tuple[int, int]]:
    """Bounds of about _CHUNK_BYTES each; every chunk starts at the start of a line."""
    begins = [0]
    while (target := begins[-1] + _CHUNK_BYTES) < len(data):
        begin = _next_line(data, target)
        if begin >= len(data):
            break
        begins.append(begin)
    return list(pairwise([*begins, len(data)]))


def _next_line(data: np.ndarray, position: int) -> int:
    """Where the first line after `position` starts; the length of the data when there is none."""
    window = 1 << 12
    for begin in range(position, len(data), window):
        feeds = np.flatnonzero(data[begin : begin + window] == ord("\n"))
        if len(feeds):
            return begin + int(feeds[0]) + 1
    return len(data)


def _join_headers(chunks: list[_Chunk]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, byte offsets of the headers, and record boundaries int64[n + 1]."""
    text = b"".join(chunk.names for chunk in chunks).decode("utf-8", errors="replace")
    offsets = np.concatenate([chunk.headers[:, 0] for chunk in chunks])
    starts = [chunk.headers[:, 1] + chunk.offset for chunk in chunks]
    total = chunks[-1].offset + chunks[-1].n_kept
    return text.split("\n")[:-1], offsets, np.concatenate([*starts, [total]])


def _join_soft(chunks: list[_Chunk], starts: np.ndarray) -> np.ndarray:
    """Lower-case intervals of the joined array: whole across chunks, cut between records."""
    soft = np.concatenate([chunk.changes + chunk.offset for chunk in chunks]).reshape(-1, 2)
    goes_on = soft[1:, 0] == soft[:-1, 1]
    first, last = np.append(True, ~goes_on)[: len(soft)], np.append(~goes_on, True)[: len(soft)]
    return split_intervals(np.stack([soft[first, 0], soft[last, 1]], axis=1), starts)


def _close_gaps(data: np.ndarray, chunks: list[_Chunk]) -> np.ndarray:
    """Move the kept bases of all chunks together; a view on the front of `data`."""
    for chunk in chunks:
        kept = data[chunk.begin : chunk.begin + chunk.n_kept]
        data[chunk.offset : chunk.offset + chunk.n_kept] = kept
    return data[: chunks[-1].offset + chunks[-1].n_kept]


def _raise_wrong_character(
    path: Path, chunk: _Chunk, names: list[str], starts: np.ndarray
) -> NoReturn:
    position = chunk.offset + chunk.n_kept
    record = max(int(np.searchsorted(starts[:-1], position, side="right")) - 1, 0)
    raise ValueError(
        f"{path}, line {_line_number(path, chunk.wrong)}: record {names[record]!r} holds "
        f"{explain_character(chunk.wrong_byte)} at base {position - int(starts[record])} "
        f"(0-based), expected the IUPAC nucleotide letters {ALPHABET} or U"
    )


def _check_names(path: Path, names: list[str], header_offsets: np.ndarray) -> None:
    first_of: dict[str, int] = {}
    if len(set(names)) == len(names) and "" not in names:
        return
    for record, name in enumerate(names):
        line = _line_number(path, int(header_offsets[record]))
        if not name:
            raise ValueError(
                f"{path}, line {line}: record {record + 1} has no name, expected a word after '>'"
            )
        if name in first_of:
            first = _line_number(path, int(header_offsets[first_of[name]]))
            raise ValueError(
                f"{path}: two records are named {name!r}, at lines {first} and {line}; the first "
                "word of a header is the name and has to be unique: rename one of them"
            )
        first_of[name] = record


def _line_number(path: Path, offset: int) -> int:
    """The 1-based line of a byte; reads the file again, for the message of an error only."""
    return 1 + int(np.count_nonzero(_read_bytes(path)[:offset] == ord("\n")))


def _drop_empty(
    path: Path, names: list[str], codes: np.ndarray, starts: np.ndarray, soft: np.ndarray
) -> Records:
    empty = starts[1:] == starts[:-1]
    lost = [name for name, is_empty in zip(names, empty, strict=True) if is_empty]
    if len(lost) == len(names):
        raise ValueError(f"{path}: no record holds any base ({len(lost)} headers, all empty)")
    if lost:
        shown = ", ".join(lost[:10]) + (", ..." if len(lost) > 10 else "")
        logger.warning("%s: left out %d empty records: %s", path, len(lost), shown)
        names = [name for name, is_empty in zip(names, empty, strict=True) if not is_empty]
        starts = starts[np.append(~empty, True)]
    skipped = pd.DataFrame({"name": lost, "reason": "empty record"}, columns=["name", "reason"])
    return Records(names, codes, starts.astype(np.int64), soft, skipped)


def write_fasta(
    path: str | Path, names: Sequence[str], sequences: Sequence[np.ndarray], width: int = 80
) -> None:
    """Write base codes as upper-case FASTA with lines of `width` bases; gzipped if named *.gz.

    The same input gives the same bytes. The file appears under its name when it is complete.
    """
    path = Path(path)
    if len(names) != len(sequences):
        raise ValueError(f"{path}: got {len(names)} names for {len(sequences)} sequences")
    text = b"".join(
        f">{name}\n".encode() + _wrap(codes, width)
        for name, codes in zip(names, sequences, strict=True)
    )
    if path.suffix == ".gz":
        text = gzip.compress(text, mtime=0)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(text)
    partial.replace(path)


def _wrap(codes: np.ndarray, width: int) -> bytes:
    letters = DECODE_TABLE[codes]
    n_full = len(letters) // width
    lines = np.full((n_full, width + 1), ord("\n"), dtype=np.uint8)
    lines[:, :width] = letters[: n_full * width].reshape(n_full, width)
    rest = letters[n_full * width :].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")


def fetch_regions(path: str | Path, regions: Iterable[tuple[str, int, int]]) -> list[np.ndarray]:
    """Base codes of (name, start, end) regions of a FASTA on disk, 0-based half-open.

    For a few pieces of a file too large to read whole; goes through pyfaidx. The .fai index beside
    the file is used when it is there; otherwise one is made in a temporary folder, because raw
    files and their folders are read-only. Regions of a gzipped file come from a store of bases.
    """
    import pyfaidx

    path = Path(path)
    _check_plain(path)
    beside = path.with_name(path.name + ".fai")
    with tempfile.TemporaryDirectory() as folder:
        index = beside if beside.is_file() else Path(folder) / beside.name
        try:
            fasta = pyfaidx.Fasta(
                str(path), indexname=str(index), as_raw=True, sequence_always_upper=True
            )
        except pyfaidx.FastaIndexingError as error:
            raise ValueError(
                f"{path}: cannot be read by coordinates ({error}); expected lines of one length "
                "per record, or read it whole into a store of bases"
            ) from error
        with fasta:
            return [_fetch_region(fasta, path, *region) for region in regions]


def _check_plain(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a FASTA file")
    if is_gzip(path):
        raise ValueError(
            f"{path}: a gzipped file cannot be read by coordinates; decompress it, or read it "
            "whole into a store of bases (build_store) and fetch regions from there"
        )


def _fetch_region(fasta: Any, path: Path, name: str, start: int, end: int) -> np.ndarray:
    if name not in fasta:
        raise ValueError(f"{path}: no record {name!r}{suggest(name, fasta.keys())}")
    check_range(name, start, end, len(fasta[name]), where=str(path))
    return encode(str(fasta[name][start:end]), where=f"{path}, record {name!r}")


def check_range(name: str, start: int, end: int, length: int, where: str) -> None:
    """Raise ValueError unless 0 <= start <= end <= length."""
    if not 0 <= start <= end <= length:
        raise ValueError(
            f"{where}: region {name}:{start}-{end} (0-based half-open), "
            f"expected 0 <= start <= end <= {length}, the length of {name!r}"
        )


def suggest(name: str, known: Iterable[str]) -> str:
    """The tail of an error message that names the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
