"""The store of bases: genomes as one memory-mapped array of base codes beside small tables.

A store is a folder:

    codes.npy    uint8[n_bases], base codes of all records end to end
    records.csv  name, start, length, n_definite, gc (share of G and C among definite bases)
    runs.npy     int64[R, 2], runs of definite bases, never crossing a record
    soft.npy     int64[M, 2], soft-masked (lower-case) intervals, never crossing a record
    store.json   sources with hashes, hashes of the files above, totals; written last

All coordinates are 0-based half-open; those of runs and soft are global (in codes.npy). The same
input gives the same bytes. Shape suffixes: R runs, M intervals, W windows.
"""

import gzip
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import ALPHABET, N_BASES, split_intervals
from genomelm_utils.sequences.fasta import Records, check_range, is_gzip, read_fasta, suggest

FORMAT = 1
_RECORD_COLUMNS = ["name", "start", "length", "n_definite", "gc"]
_SMALL_FILES = ("records.csv", "runs.npy", "soft.npy")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class BaseStore:
    """Bases of one or several genomes, opened with `open_store`; the array stays on disk."""

    folder: Path
    codes: np.ndarray
    runs: np.ndarray
    soft: np.ndarray
    records: pd.DataFrame
    info: dict

    @property
    def n_bases(self) -> int:
        """All bases, ambiguous ones included."""
        return len(self.codes)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.records["name"])}

    def fetch(self, name: str, start: int, end: int) -> np.ndarray:
        """Base codes of one region of one record, `uint8[end - start]` (a copy).

        Raises ValueError for an unknown name or a region that leaves the record.
        """
        if name not in self._row_of:
            raise ValueError(f"{self.folder}: no record {name!r}{suggest(name, self._row_of)}")
        row = self.records.iloc[self._row_of[name]]
        check_range(name, start, end, int(row["length"]), where=str(self.folder))
        return np.array(self.codes[row["start"] + start : row["start"] + end])

    def windows(self, width: int, step: int) -> np.ndarray:
        """Global starts `int64[W]` of windows that hold definite bases of one record only.

        Windows are laid from the start of every run of definite bases, `step` apart; what is left
        at the end of a run is shorter than a window and is not covered.
        """
        return lay_windows(self.runs, width, step)


def build_store(fasta_paths: str | Path | Sequence[str | Path], folder: str | Path) -> BaseStore:
    """A new store of all records of one or several FASTA files, plain or gzipped, in order.

    The store appears under `folder` when it is complete; an older store there is replaced. One
    file is in memory at a time. Empty records are left out, named in the log and in store.json.
    Raises what `read_fasta` raises, and ValueError for a record name found in two files.
    """
    paths = [fasta_paths] if isinstance(fasta_paths, str | Path) else list(fasta_paths)
    if not paths:
        raise ValueError(f"{folder}: a store needs at least one FASTA file, got none")
    parts = (
        (read_fasta(path), {"file": Path(path).name, "content_sha256": hash_content(path)})
        for path in paths
    )
    return _write_store(parts, Path(folder))


def store_from_codes(
    names: Sequence[str],
    codes: np.ndarray,
    starts: np.ndarray,
    soft: np.ndarray,
    folder: str | Path,
) -> BaseStore:
    """A store of sequences made in memory, such as simulated genomes.

    codes uint8[total]; starts int64[n + 1] record boundaries; soft int64[M, 2] sorted disjoint
    intervals (may be empty). Raises ValueError for empty records and doubled names.
    """
    starts = np.asarray(starts, dtype=np.int64)
    if len(starts) != len(names) + 1 or starts[0] != 0 or starts[-1] != len(codes):
        raise ValueError(
            f"{folder}: {len(names)} names need {len(names) + 1} boundaries from 0 to {len(codes)} "
            f"(the number of bases), got {starts[:3].tolist()}...{starts[-1:].tolist()}"
        )
    if not len(names) or (np.diff(starts) < 1).any():
        raise ValueError(f"{folder}: a store needs records, each of at least one base")
    soft = split_intervals(np.asarray(soft, dtype=np.int64).reshape(-1, 2), starts)
    nothing = pd.DataFrame({"name": [], "reason": []})
    codes = np.ascontiguousarray(codes, dtype=np.uint8)
    source = {"file": None, "content_sha256": hashlib.sha256(codes.data).hexdigest()}
    return _write_store(
        [(Records(list(names), codes, starts, soft, nothing), source)], Path(folder)
    )


def open_store(folder: str | Path) -> BaseStore:
    """The store in a folder; the bases are mapped, not read.

    Raises FileNotFoundError or ValueError naming the file when one is missing or damaged. Of the
    bases only the number is checked (hashing them would read them all).
    """
    folder = Path(folder)
    info = _read_info(folder)
    for name in _SMALL_FILES:
        if _hash_file(_present(folder / name)) != info["sha256"][name]:
            raise ValueError(f"{folder / name}: damaged (hash differs from store.json); {_REBUILD}")
    path = _present(folder / "codes.npy")
    try:
        codes = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: damaged ({error}); {_REBUILD}") from error
    if codes.shape != (info["n_bases"],) or codes.dtype != np.uint8:
        raise ValueError(
            f"{path}: holds {codes.dtype}{codes.shape}, "
            f"expected uint8({info['n_bases']},); {_REBUILD}"
        )
    records = pd.read_csv(folder / "records.csv", keep_default_na=False, dtype={"name": str})
    records["gc"] = pd.to_numeric(records["gc"], errors="coerce")
    return BaseStore(
        folder, codes, np.load(folder / "runs.npy"), np.load(folder / "soft.npy"), records, info
    )


_REBUILD = "build the store again"


def _present(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing, the store is not complete; {_REBUILD}")
    return path


def _read_info(folder: Path) -> dict:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, expected a store of bases")
    path = _present(folder / "store.json")
    try:
        info = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); {_REBUILD}") from error
    if info.get("format") != FORMAT:
        raise ValueError(
            f"{path}: store format {info.get('format')}, expected {FORMAT}; {_REBUILD}"
        )
    return info


def hash_content(path: str | Path) -> str:
    """SHA-256 of a file's uncompressed content, as the data registry keeps it.

    Errors: ValueError for a gzip file that is truncated or damaged.
    """
    path = Path(path)
    try:
        return _hash_file(path, gzip.open if is_gzip(path) else open)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: truncated or damaged gzip file ({error}): copy or download it again"
        ) from error


def _hash_file(path: Path, opener=open) -> str:
    with opener(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block succeeds."""
    if folder.exists() and not (folder / "store.json").is_file() and any(folder.iterdir()):
        raise ValueError(
            f"{folder}: is not empty and holds no store; give an empty or a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _write_store(parts, folder: Path) -> BaseStore:
    """Write the parts (records, source) one after the other and open the result."""
    tables, runs, soft, sources = [], [], [], []
    total = 0
    with _replaced(folder) as new:
        with (new / "codes.npy").open("wb") as file:
            _write_header(file, 0)
            for records, source in parts:
                tables.append(_describe(records).assign(source=len(sources)))
                tables[-1]["start"] += total
                runs.append(records.runs() + total)
                soft.append(records.soft + total)
                lost = records.skipped["name"].tolist()
                sources.append(source | {"n_records": len(records), "skipped": lost})
                file.write(records.codes.data)
                total += len(records.codes)
            file.seek(0)
            _write_header(file, total)
        table = pd.concat(tables, ignore_index=True)
        _check_unique(table, sources)
        table[_RECORD_COLUMNS].to_csv(new / "records.csv", index=False)
        np.save(new / "runs.npy", np.concatenate(runs))
        np.save(new / "soft.npy", np.concatenate(soft))
        info = {"format": FORMAT, "alphabet": ALPHABET, "n_bases": total, "sources": sources}
        info["sha256"] = {name: _hash_file(new / name) for name in _SMALL_FILES}
        (new / "store.json").write_text(json.dumps(info, indent=1) + "\n")
    return open_store(folder)


def _write_header(file, total: int) -> None:
    """The .npy header of uint8[total]; numpy leaves room in it for the final number."""
    description = {"descr": "|u1", "fortran_order": False, "shape": (total,)}
    np.lib.format.write_array_header_1_0(file, description)


def lay_windows(runs: np.ndarray, width: int, step: int) -> np.ndarray:
    """Starts `int64[W]` of windows inside runs int64[R, 2], `step` apart from each run's start."""
    if width < 1 or step < 1:
        raise ValueError(f"width {width} and step {step} have to be at least 1 base")
    lengths = runs[:, 1] - runs[:, 0]
    n_windows = np.maximum((lengths - width) // step + 1, 0)
    within = np.arange(n_windows.sum()) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    return np.repeat(runs[:, 0], n_windows) + within * step


def _check_unique(table: pd.DataFrame, sources: list[dict]) -> None:
    doubled = table[table["name"].duplicated(keep=False)]
    if len(doubled):
        name = doubled["name"].iloc[0]
        files = [sources[i]["file"] for i in doubled.loc[doubled["name"] == name, "source"]]
        raise ValueError(
            f"record name {name!r} is used more than once ({files}); names have to be unique in a "
            "store: rename one, or build two stores"
        )


def _describe(records: Records) -> pd.DataFrame:
    """One row per record: name, start, length, n_definite, gc."""
    is_definite = _count_where(records, lambda block: block < N_BASES)
    is_gc = _count_where(records, lambda block: (block == 1) | (block == 2))
    with np.errstate(invalid="ignore"):
        gc = np.where(is_definite > 0, is_gc / is_definite, np.nan)
    columns = [records.names, records.starts[:-1], np.diff(records.starts), is_definite, gc]
    return pd.DataFrame(dict(zip(_RECORD_COLUMNS, columns, strict=True)))


def _count_where(records: Records, test) -> np.ndarray:
    """Per record, how many of its bases pass `test` (codes -> bool): int64[n]."""
    counts = np.zeros(len(records), dtype=np.int64)
    for begin in range(0, len(records.codes), _BLOCK):
        passed = test(records.codes[begin : begin + _BLOCK])
        end = begin + len(passed)
        first = np.searchsorted(records.starts, begin, side="right") - 1
        last = np.searchsorted(records.starts, end, side="left")
        cuts = np.maximum(records.starts[first:last], begin) - begin
        counts[first:last] += np.add.reduceat(passed, cuts, dtype=np.int64)
    return counts
