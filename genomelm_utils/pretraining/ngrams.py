"""Counts of all n-grams up to a length, in one pass over base codes.

Shapes: L bases of the concatenated codes, R definite runs; a table of order n has 4**n cells in A,
C, G, T order, the first base most significant, as in `sequences.kmers`.

Only the longest words are counted base by base. Shorter ones follow exactly: every n-gram but the
last of a run is the head of exactly one (n+1)-gram of that run, so
`count_n(w) = sum over x of count_(n+1)(wx) + number of runs that end in w`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from genomelm_utils.sequences.kmers import revcomp_codes

MAX_ORDER = 12  # a table of 4**12 uint32 is 64 MiB per thread; beyond, hashing is the right tool
_WINDOWS_PER_TABLE = 2**31  # so that no uint32 cell can overflow within one table
_WINDOWS_WORTH_A_THREAD = 2**20  # below, starting a thread costs more than the counting


@dataclass(frozen=True)
class NgramCounts:
    """Counts of every word of length 1..n_max.

    Args:
        counts: for each n an int64[4**n] table in A, C, G, T order.
        n_bases: definite bases that were read, once each whatever `strands` is.
        strands: "forward", or "both" when every word was also counted as its reverse complement.
    """

    counts: dict[int, np.ndarray]
    n_bases: int
    strands: str

    @property
    def n_max(self) -> int:
        """The length of the longest words counted."""
        return max(self.counts)

    def merge_strands(self, n_max: int | None = None) -> "NgramCounts":
        """The counts of both strands: `count(w) + count(reverse complement of w)`.

        `n_max` leaves out longer words, which costs less where only short ones are asked for.

        A word that is its own reverse complement counts twice, once per strand, so that every order
        keeps the total it would have if the other strand had been read. Counts of both strands come
        back as they are.
        """
        if self.strands == "both":
            return self
        merged = {
            n: table + table[revcomp_codes(n)]
            for n, table in self.counts.items()
            if n_max is None or n <= n_max
        }
        return NgramCounts(merged, self.n_bases, "both")


def count_ngrams(
    codes: np.ndarray,
    runs: np.ndarray,
    n_max: int = 10,
    *,
    strands: str = "forward",
    threads: int | None = None,
) -> NgramCounts:
    """Counts of all words of length 1..n_max that lie within one definite run.

    No word crosses a run's end, so none crosses a record boundary or an N. Overlapping occurrences
    all count. A run shorter than n counts nothing at order n, and exactly at the orders it can
    hold. Besides `codes`, which may be a memory map and is not copied, the pass takes 4 MiB per
    thread at n_max = 10.

    Args:
        codes: uint8[L], 0..3 for A, C, G, T wherever a run lies.
        runs: int64[R, 2] half-open intervals as `definite_runs` returns them, not overlapping.
        n_max: longest word, 1..12 bases.
        strands: "forward" counts what is written; "both" adds every word's reverse complement.
        threads: workers; by default as many as this process may use CPUs.

    Raises:
        ValueError: runs outside the codes, ambiguous bases inside a run, an argument out of range.
    """
    _check_arguments(codes, runs, n_max, strands, threads)
    runs = np.asarray(runs, dtype=np.int64).reshape(-1, 2)
    _check_runs(codes, runs)
    counts = {n_max: _count_longest(codes, runs, n_max, threads or _available_cpus())}
    run_ends = _count_run_ends(codes, runs, n_max - 1)
    for n in range(n_max - 1, 0, -1):
        counts[n] = _sum_extensions(counts[n + 1]) + run_ends[n]
    n_bases = int((runs[:, 1] - runs[:, 0]).sum())
    assert int(counts[1].sum()) == n_bases, "marginal counts lost or invented bases"
    forward = NgramCounts(dict(sorted(counts.items())), n_bases, "forward")
    return forward.merge_strands() if strands == "both" else forward


def infer_ngrams(word_counts: np.ndarray) -> NgramCounts:
    """Counts of all orders from those of the longest words alone, when the sequence is not at hand.

    The last n - 1 bases of every run head no word and are missing from the lower orders: a few
    bases per run, so nearly nothing in a genome and much in short reads.

    Args:
        word_counts: int64[4**k] counts on the forward strand.
    """
    k = round(np.log2(len(word_counts)) / 2)
    if len(word_counts) != 4**k:
        raise ValueError(f"infer_ngrams: {len(word_counts)} counts, expected 4**k of them")
    counts = {k: np.asarray(word_counts, dtype=np.int64)}
    for n in range(k - 1, 0, -1):
        counts[n] = _sum_extensions(counts[n + 1])
    return NgramCounts(dict(sorted(counts.items())), int(counts[k].sum()), "forward")


def _sum_extensions(longer: np.ndarray) -> np.ndarray:
    """int64[4**n] sum over the four words of n + 1 bases that each n-gram heads.

    Four strided additions are several times faster than a sum over an axis of length four.
    """
    return longer[0::4] + longer[1::4] + longer[2::4] + longer[3::4]


def _count_longest(codes: np.ndarray, runs: np.ndarray, n: int, threads: int) -> np.ndarray:
    """int64[4**n] counts of the n-grams in the runs, windows shared out evenly to threads."""
    windows_R = np.maximum(runs[:, 1] - runs[:, 0] - n + 1, 0)
    first_window_R = np.concatenate([[0], np.cumsum(windows_R)]).astype(np.int64)
    n_windows = int(first_window_R[-1])
    workers = min(threads, 1 + n_windows // _WINDOWS_WORTH_A_THREAD)
    n_parts = max(workers, -(-n_windows // _WINDOWS_PER_TABLE))
    bounds = [n_windows * part // n_parts for part in range(n_parts + 1)]

    def count_part(part: int) -> np.ndarray:
        table = np.zeros(4**n, dtype=np.uint32)
        start, end = bounds[part], bounds[part + 1]
        if _count_windows(codes, runs, first_window_R, start, end, n, table) > 3:
            _raise_ambiguous(codes, runs)
        return table

    total = np.zeros(4**n, dtype=np.int64)
    with ThreadPoolExecutor(workers) as pool:
        for table in pool.map(count_part, range(n_parts)):
            total += table
    return total


@njit(cache=True, nogil=True)
def _count_windows(codes, runs, first_window_R, start, end, n, table):  # pragma: no cover
    """Counts the windows start..end-1, numbered along the runs; returns the OR of all codes.

    Unsigned types throughout spare the loop numba's test for negative indices (a third of its
    time). The OR replaces a test per base: a code above 3 is reported after the loop, and until
    then the mask keeps the index legal.
    """
    two, one = np.uint32(2), np.uint32(1)
    mask = np.uint32((1 << (2 * n)) - 1)
    seen = np.uint8(0)
    run = np.searchsorted(first_window_R, start, side="right") - 1
    while start < end:
        while first_window_R[run + 1] == start:  # a run too short for a window
            run += 1
        stop = min(end, first_window_R[run + 1])
        left = runs[run, 0] + start - first_window_R[run]
        word = np.uint32(0)
        for i in range(left, left + n - 1):
            seen |= codes[i]
            word = (word << two) | np.uint32(codes[i])
        for i in range(left + n - 1, left + n - 1 + stop - start):
            base = codes[np.uint64(i)]
            seen |= base
            word = ((word << two) | np.uint32(base)) & mask
            table[np.uint64(word)] += one
        start = stop
    return seen


def _count_run_ends(codes: np.ndarray, runs: np.ndarray, n_max: int) -> dict[int, np.ndarray]:
    """For n = 1..n_max the int64[4**n] number of runs that end in each word."""
    runs = runs[runs[:, 1] > runs[:, 0]]
    word = np.zeros(len(runs), dtype=np.int64)
    ends = {}
    for n in range(1, n_max + 1):
        long_enough = runs[:, 1] - runs[:, 0] >= n
        runs, word = runs[long_enough], word[long_enough]
        base = codes[runs[:, 1] - n].astype(np.int64)
        if (base > 3).any():
            _raise_ambiguous(codes, runs)
        word = word + base * 4 ** (n - 1)
        ends[n] = np.bincount(word, minlength=4**n)
    return ends


def _check_arguments(
    codes: np.ndarray, runs: np.ndarray, n_max: int, strands: str, threads: int | None
) -> None:
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise ValueError(
            f"count_ngrams: codes are {codes.dtype} of shape {codes.shape}, expected one uint8 per "
            "base; use sequences.alphabet.encode or sequences.genome.open_store"
        )
    if np.size(runs) and np.shape(runs)[1:] != (2,):
        raise ValueError(
            f"count_ngrams: runs have shape {np.shape(runs)}, expected (R, 2) half-open intervals; "
            "use sequences.alphabet.definite_runs"
        )
    if not 1 <= n_max <= MAX_ORDER:
        raise ValueError(f"count_ngrams: n_max is {n_max}, expected 1..{MAX_ORDER} bases")
    if strands not in ("forward", "both"):
        raise ValueError(f"count_ngrams: strands is {strands!r}, expected 'forward' or 'both'")
    if threads is not None and threads < 1:
        raise ValueError(f"count_ngrams: threads is {threads}, expected at least 1")


def _check_runs(codes: np.ndarray, runs: np.ndarray) -> None:
    """The kernel reads where the runs say, so they must lie inside the codes."""
    bad = (runs[:, 0] < 0) | (runs[:, 1] > len(codes)) | (runs[:, 1] < runs[:, 0])
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"count_ngrams: run {row} is {runs[row].tolist()}, expected 0 <= start <= end <= "
            f"{len(codes)} (the number of codes); were the runs made from other codes?"
        )


def _raise_ambiguous(codes: np.ndarray, runs: np.ndarray) -> None:
    for start, end in runs:
        ambiguous = np.flatnonzero(codes[start:end] > 3)
        if len(ambiguous):
            where = int(start + ambiguous[0])
            raise ValueError(
                f"count_ngrams: code {codes[where]} at position {where} inside run "
                f"[{start}, {end}), expected only A, C, G, T (0..3); use "
                "sequences.alphabet.definite_runs of the same codes"
            )


def _available_cpus() -> int:
    """CPUs this process may use: in a container or a batch job fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
