"""The sequences that motifs are looked for in: from a file or from memory, checked, end to end.

Shape suffixes: S sequences, L bases of one, P bases of all together.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.motifs.parameters import MIN_MOTIF_BP
from genomelm_utils.sequences.alphabet import CODE_N, N_BASES, definite_runs, encode
from genomelm_utils.sequences.fasta import Records
from genomelm_utils.sequences.stream import RecordStream

logger = logging.getLogger(__name__)

MIN_RECORDS = 3  # what two sequences share is no motif yet

#: Anything that sequences come in: a FASTA or FASTQ file, records of one, texts or base codes, with
#: names (mapping) or without.
Sequences = str | Path | Records | Mapping[str, object] | Sequence[object]


@dataclass(frozen=True)
class SearchSet:
    """Sequences end to end. names: S; codes: uint8[P]; starts: int64[S + 1].

    index: int64[S], the number of each in the input. skipped: table (name, reason).
    """

    names: list[str]
    codes: np.ndarray
    starts: np.ndarray
    index: np.ndarray
    skipped: pd.DataFrame

    def __len__(self) -> int:
        return len(self.names)

    def mask(self, intervals: np.ndarray) -> "SearchSet":
        """A copy in which the intervals int64[R, 2] of `codes` are N."""
        codes = self.codes.copy()
        for begin, end in intervals:
            codes[begin:end] = CODE_N
        return replace(self, codes=codes)


def collect(sequences: Sequences) -> SearchSet:
    """Sequences ready for a search; those that cannot hold a motif are left out and named.

    Left out: sequences without six definite bases in a row (the shortest motif). A file's names are
    whole headers, blanks as `_`, since peak files often repeat the first word. Sequences without
    names are called `1`, `2`, ...

    Raises: ValueError for fewer than three sequences that are left, for letters that are no
        nucleotides, two of one name, or a type that is none of `Sequences`; FileNotFoundError.
    """
    names, codes_S, skipped = _read(sequences)
    kept = []
    for i, (name, codes) in enumerate(zip(names, codes_S, strict=True)):
        reason = _reason_to_skip(codes)
        if reason:
            skipped.append((name, reason))
        else:
            kept.append(i)
    table = pd.DataFrame(skipped, columns=["name", "reason"])
    _report(table, len(kept))
    starts = np.cumsum([0] + [len(codes_S[i]) for i in kept])
    codes = np.concatenate([codes_S[i] for i in kept])
    return SearchSet([names[i] for i in kept], codes, starts, np.array(kept), table)


def _read(sequences: Sequences) -> tuple[list[str], list[np.ndarray], list[tuple[str, str]]]:
    if isinstance(sequences, str | Path):
        return _read_file(sequences)
    if isinstance(sequences, Records):
        pieces = np.split(sequences.codes, sequences.starts[1:-1])
        skipped = list(sequences.skipped.itertuples(index=False, name=None))
        return list(sequences.names), pieces, skipped
    if isinstance(sequences, Mapping):
        names, given = [str(name) for name in sequences], list(sequences.values())
    elif isinstance(sequences, Sequence | np.ndarray):
        names, given = [str(i + 1) for i in range(len(sequences))], list(sequences)
    else:
        raise ValueError(
            f"sequences are a {type(sequences).__name__}, expected a file, Records, a mapping of "
            "names to sequences, or a list of texts or base codes"
        )
    codes_S = [_as_codes(one, f"sequence {name!r}") for name, one in zip(names, given, strict=True)]
    return names, codes_S, []


def _read_file(path: str | Path) -> tuple[list[str], list[np.ndarray], list[tuple[str, str]]]:
    stream = RecordStream(path, whole_header=True)
    names, codes_S = [], []
    for block in stream:
        names += block.names
        codes_S += block.codes
    return names, codes_S, list(stream.skipped.itertuples(index=False, name=None))


def _as_codes(one: object, where: str) -> np.ndarray:
    if isinstance(one, str | bytes):
        return encode(one, where)
    if isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim == 1:
        return one
    raise ValueError(f"{where} is a {type(one).__name__}, expected a text or base codes (uint8)")


def _reason_to_skip(codes: np.ndarray) -> str:
    if len(codes) < MIN_MOTIF_BP:
        return f"shorter than {MIN_MOTIF_BP} bp, the shortest motif"
    if codes.min() >= N_BASES:
        return "no definite base (N only)"
    runs = definite_runs(codes)
    if (runs[:, 1] - runs[:, 0]).max() < MIN_MOTIF_BP:
        return f"no {MIN_MOTIF_BP} definite bases in a row"
    return ""


def _report(skipped: pd.DataFrame, n_kept: int) -> None:
    counts = skipped["reason"].value_counts()
    told = "; ".join(f"{n} left out, {reason}" for reason, n in counts.items())
    if n_kept < MIN_RECORDS:
        raise ValueError(
            f"{n_kept} sequences to search{f' ({told})' if told else ''}, expected at least "
            f"{MIN_RECORDS}: a motif is what several sequences share"
        )
    for reason, n in counts.items():
        names = skipped.loc[skipped["reason"] == reason, "name"]
        shown = ", ".join(names[:10]) + (", ..." if n > 10 else "")
        logger.warning("left out %d sequences, %s: %s", n, reason, shown)


def count_definite(codes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Definite bases from each place on to the next N or the end of its sequence: int32[P]."""
    left = np.zeros(len(codes), dtype=np.int32)
    for begin, end in definite_runs(codes, starts):
        left[begin:end] = np.arange(end - begin, 0, -1)
    return left


#: Units of simple repeats and the bases of the shortest run that is masked: eight of one base, or
#: four units of two, or four of three bases. Chosen: by chance (uniform bases) once in 16,000,
#: 4,000 and 262,144 places.
REPEAT_BP = {1: 8, 2: 8, 3: 12}


def find_simple_repeats(codes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Runs of one unit of 1 to 3 bases without error, at least `REPEAT_BP` long: int64[R, 2]."""
    runs = []
    for unit, shortest in REPEAT_BP.items():
        same = np.zeros(len(codes), dtype=bool)  # as the base one unit before, in one sequence
        same[unit:] = (codes[unit:] == codes[:-unit]) & (codes[unit:] < N_BASES)
        for shift in range(unit):
            same[np.minimum(starts[:-1] + shift, len(codes) - 1)] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        found = edges.reshape(-1, 2)
        found[:, 0] -= unit
        runs.append(found[found[:, 1] - found[:, 0] >= shortest])
    return np.concatenate(runs)
