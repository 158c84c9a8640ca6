"""Pairs of sequences in the published CSV format: written from a sampler, read onto disk.

The format: comma-separated, two columns, no header, one pair per line, no quotes. A file of two
million pairs of 10 kb is 40 GB of text: it is read in blocks into base codes on disk, from where
pairs are mapped; neither reading nor training holds it in memory.

A folder of pairs:

    codes.npy    uint8[total], first and second sequence of every pair end to end
    starts.npy   int64[2 P + 1], where each sequence begins
    skipped.csv  name (the line), reason
    pairs.json   format, number of pairs, source; written last

Shape suffixes: P pairs, B pairs of a batch.
"""

import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from genomelm_utils.datasets.species_pairs import NO_SPECIES, Pairs, PairSampler
from genomelm_utils.sequences.alphabet import (
    DECODE_TABLE,
    ENCODE_TABLE,
    INVALID,
    N_BASES,
    explain_character,
)
from genomelm_utils.sequences.fasta import is_gzip

logger = logging.getLogger(__name__)

FORMAT = 1
PAIRS_PER_STEP = 48  # Source: the published training script, global batch
_BLOCK_BYTES = 1 << 20
_WRITE_PAIRS = 256  # pairs in memory while writing
_COMMA, _NEWLINE = b",\n"
_ENCODE = ENCODE_TABLE.tobytes()
_IS_DEFINITE = (ENCODE_TABLE < N_BASES).tobytes()
_LETTERS = np.flatnonzero(ENCODE_TABLE != INVALID).astype(np.uint8).tobytes()


@dataclass
class PairFile:
    """The pairs of one file, opened with `open_pairs`; the bases stay on disk.

    `.pairs(step, start, stop)` deals them as `PairSampler` does: a shuffle per epoch that depends
    on the seed and the epoch only; step s takes rows s * pairs_per_step and following.
    """

    folder: Path
    codes: np.ndarray
    starts: np.ndarray
    skipped: pd.DataFrame
    seed: int
    pairs_per_step: int
    _order: tuple[int, np.ndarray] = field(default=(-1, np.empty(0)), repr=False)

    def __len__(self) -> int:
        return len(self.starts) // 2

    def pairs(self, step: int, start: int, stop: int) -> Pairs:
        """The pairs of rows `start` to `stop` of a step; species are unknown (`NO_SPECIES`)."""
        if step < 0 or not 0 <= start <= stop <= self.pairs_per_step:
            raise ValueError(
                f"step {step}, rows {start} to {stop}: expected 0 <= start <= stop <= "
                f"pairs_per_step, {self.pairs_per_step}"
            )
        position_B = step * self.pairs_per_step + np.arange(start, stop)
        rows = [self._row(*divmod(position, len(self))) for position in position_B.tolist()]
        views = [[self._sequence(2 * row + view) for row in rows] for view in (0, 1)]
        return Pairs(*views, np.full(len(rows), NO_SPECIES, dtype=np.int64))

    def pair(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Both sequences of a row of the file (0-based, skipped rows not counted)."""
        return self._sequence(2 * row), self._sequence(2 * row + 1)

    def _sequence(self, index: int) -> np.ndarray:
        return np.array(self.codes[self.starts[index] : self.starts[index + 1]])

    def _row(self, epoch: int, position: int) -> int:
        if self._order[0] != epoch:  # 16 MB for two million pairs
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
            self._order = (epoch, order)
        return int(self._order[1][position])


def write_pairs_csv(path: str | Path, sampler: PairSampler, n: int) -> None:
    """Write the first `n` pairs of a sampler's step 0; gzipped if the path ends in .gz.

    The file appears under its name when it is complete. The same sampler gives the same bytes.
    """
    path = Path(path)
    if n < 1:
        raise ValueError(f"{path}: {n} pairs are asked for, expected at least one")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _open_for_writing(partial, path.suffix == ".gz") as file:
        for start in range(0, n, _WRITE_PAIRS):
            pairs = sampler.pairs(0, start, min(start + _WRITE_PAIRS, n))
            for first, second in zip(pairs.first, pairs.second, strict=True):
                file.write(DECODE_TABLE[first].tobytes() + b",")
                file.write(DECODE_TABLE[second].tobytes() + b"\n")
    partial.replace(path)


@contextmanager
def _open_for_writing(path: Path, zipped: bool) -> Iterator[BinaryIO]:
    with path.open("wb") as raw:
        if not zipped:
            yield raw
            return
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
            yield file


# --- reading -------------------------------------------------------------------------------


def read_pairs_csv(
    path: str | Path, folder: str | Path, *, seed: int = 0, pairs_per_step: int = PAIRS_PER_STEP
) -> PairFile:
    """The pairs of a CSV file in the published format, kept as base codes under `folder`.

    The file is plain or gzipped (told by content). Case is ignored, ambiguity codes stay. A pair
    with a sequence that is empty or holds no definite base is left out: named by its line in
    `.skipped` and counted in the log. Blank lines do not count.

    Raises FileNotFoundError, or ValueError naming the line for: a header, one column or more than
    two, a character that is no nucleotide letter, a truncated gzip file, no pairs at all.
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected pairs of sequences (CSV)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.json").unlink(missing_ok=True)
    lengths, skipped, line, total = [], [], 1, 0
    with (folder / "codes.npy").open("wb") as file:
        _write_header(file, 0)
        for text in _read_lines(path):
            block = _parse_block(text, line, path)
            file.write(block.codes.data)
            lengths.append(block.lengths)
            skipped.append(block.skipped)
            total += len(block.codes)
            line += block.n_lines
        file.seek(0)
        _write_header(file, total)
    if not total:
        n_lost = sum(len(table) for table in skipped)
        raise ValueError(f"{path}: no pairs ({n_lost} lines left out), expected one per line")
    table = pd.concat(skipped, ignore_index=True)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    np.save(folder / "starts.npy", starts)
    table.to_csv(folder / "skipped.csv", index=False, lineterminator="\n")
    info = {"format": FORMAT, "n_pairs": len(starts) // 2, "source": path.name}
    (folder / "pairs.json").write_text(json.dumps(info, indent=1) + "\n")
    if len(table):
        shown = ", ".join(f"{name} ({reason})" for name, reason in table.head(5).to_numpy())
        logger.warning("%s: left out %d of the pairs: %s", path, len(table), shown)
    return open_pairs(folder, seed=seed, pairs_per_step=pairs_per_step)


def open_pairs(
    folder: str | Path, *, seed: int = 0, pairs_per_step: int = PAIRS_PER_STEP
) -> PairFile:
    """The pairs that `read_pairs_csv` left in a folder.

    Raises FileNotFoundError when the folder is not complete, ValueError when it is damaged.
    """
    folder = Path(folder)
    if not (folder / "pairs.json").is_file():
        raise FileNotFoundError(f"{folder}: no pairs.json, read the CSV file of pairs again")
    info = json.loads((folder / "pairs.json").read_text())
    starts = np.load(folder / "starts.npy")
    codes = np.load(folder / "codes.npy", mmap_mode="r")
    if len(starts) != 2 * info["n_pairs"] + 1 or starts[-1] != len(codes):
        raise ValueError(f"{folder}: damaged, its files differ; read the CSV file of pairs again")
    if pairs_per_step < 1:
        raise ValueError(f"pairs_per_step is {pairs_per_step}, expected at least 1")
    skipped = pd.read_csv(folder / "skipped.csv")
    return PairFile(folder, codes, starts, skipped, seed, pairs_per_step)


def _write_header(file: BinaryIO, total: int) -> None:
    """The .npy header of uint8[total]; numpy leaves room in it for the final number."""
    description = {"descr": "|u1", "fortran_order": False, "shape": (total,)}
    np.lib.format.write_array_header_1_0(file, description)


def _read_lines(path: Path) -> Iterator[bytes]:
    """Blocks of whole lines, each ending with a line feed."""
    rest = b""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
            while piece := file.read(_BLOCK_BYTES):
                whole, feed, piece = piece.rpartition(b"\n")
                if feed:
                    yield rest + whole + feed
                    rest = piece
                else:
                    rest += piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: truncated or damaged gzip file ({error}); fetch or compress it again"
        ) from error
    if rest:
        yield rest + b"\n"


@dataclass(frozen=True)
class _Block:
    codes: np.ndarray
    lengths: np.ndarray
    skipped: pd.DataFrame
    n_lines: int


def _parse_block(text: bytes, line: int, path: Path) -> _Block:
    """Base codes of a block of whole lines; `line` is the number of its first line.

    Goes through `bytes.translate`, which is several times faster than indexing with numpy.
    """
    text = text.replace(b"\r", b"")
    data = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    n_lines = len(ends)
    begins, lines = np.concatenate([[0], ends[:-1] + 1]), np.arange(line, line + n_lines)
    begins, ends, lines = (values[begins < ends] for values in (begins, ends, lines))
    commas = np.flatnonzero(data == _COMMA)
    _check_lines(text, begins, ends, lines, commas, path)
    lengths_P2 = np.stack([commas - begins, ends - commas - 1], axis=1)
    # no comma or line feed is a base: look from where a sequence or its comma begins to the next
    is_definite = np.frombuffer(text.translate(_IS_DEFINITE), dtype=bool)
    marks = np.stack([begins, commas], axis=1).ravel()
    keep = np.logical_or.reduceat(is_definite, marks).reshape(-1, 2).all(axis=1)
    reason = np.where((lengths_P2 == 0).any(axis=1), "empty sequence", "no definite base")[~keep]
    skipped = pd.DataFrame({"name": [f"line {i}" for i in lines[~keep]], "reason": reason})
    if not keep.all():
        text = b"".join(text[i:j] for i, j in zip(begins[keep], ends[keep], strict=True))
    codes = np.frombuffer(text.translate(_ENCODE, b",\n"), dtype=np.uint8)
    return _Block(codes, lengths_P2[keep].ravel(), skipped, n_lines)


def _check_lines(
    text: bytes,
    begins: np.ndarray,
    ends: np.ndarray,
    lines: np.ndarray,
    commas: np.ndarray,
    path: Path,
) -> None:
    """ValueError for the first line that is not two sequences with a comma between them."""
    n_commas = np.searchsorted(commas, ends) - np.searchsorted(commas, begins)
    columns_row = np.flatnonzero(n_commas != 1)[:1]
    wrong = text.translate(None, _LETTERS + b",\n")[:1]
    wrong_at = np.array([text.index(wrong)] if wrong else [], dtype=np.int64)
    wrong_row = np.searchsorted(begins, wrong_at, side="right") - 1
    rows = np.concatenate([wrong_row, columns_row])
    if not len(rows):
        return
    row = int(rows.min())
    where = f"{path}, line {lines[row]}"
    found = text[begins[row] : min(ends[row], begins[row] + 40)].decode("latin-1")
    expected = "expected two nucleotide sequences with one comma between them on every line"
    if row in columns_row:
        raise ValueError(f"{where}: {n_commas[row] + 1} column(s), {expected}; found {found!r}")
    if lines[row] == 1:
        raise ValueError(f"{where}: looks like a header ({found!r}); remove it: {expected}")
    raise ValueError(f"{where}: found {explain_character(wrong[0])}, {expected}")
