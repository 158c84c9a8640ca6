"""What a data set is made of, before anything is learned from it: rows, balance, repeats, leaks.

Files of a few-shot collection are called `<set>/<part>`: the part is a number of shots for a
training file, or `test`, or `dev` (`Prom-core/50`, `Splice-40/test`).

Shape suffixes: S sequences, L bases of the longest, W words.
"""

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.fewshot import SETS
from genomelm_utils.datasets.identity import (
    NO_WORD,
    PAD,
    WORD_BP,
    count_repeats,
    distinct,
    is_among,
    pad_codes,
    reverse_complement_padded,
    sequence_keys,
    word_keys,
)
from genomelm_utils.datasets.labelled import NO_LABEL, LabelledSet, read_labelled
from genomelm_utils.datasets.registry import fetch_file, load_registry
from genomelm_utils.sequences.alphabet import ALPHABET, N_BASES
from genomelm_utils.sequences.genome import BaseStore

_GC = [ALPHABET.index(base) for base in "GC"]
STAND_IN = "Prom-300/stand-in"  # GUE's test file, which takes the place of the one not published


def read_published_sets(data_dir: Path | None = None) -> dict[str, LabelledSet]:
    """All few-shot files of the registry as `<set>/<part>`, the Prom-300 stand-in included."""
    names = {f"{name}/{n}": file for name, spec in SETS.items() for n, file in spec.train.items()}
    for name in SETS:
        for part in ("test", "dev"):
            file = f"classification/genemask/{name}/{part}.tsv.gz"
            if file in load_registry():
                names[f"{name}/{part}"] = file
    names[STAND_IN] = SETS["Prom-300"].test
    return {name: read_labelled(fetch_file(file, data_dir)) for name, file in names.items()}


def read_folder(folder: Path) -> dict[str, LabelledSet]:
    """All tables of a folder laid out as `<set>/<shots>/train*.tsv`, `<set>/.../test.tsv`.

    TSV or CSV, plain or gzip. Where two files have the same role, the later one (by path) gets its
    path as its name.
    """
    sets: dict[str, LabelledSet] = {}
    for path in sorted(folder.rglob("*")):
        stem, _, suffix = path.name.partition(".")
        if path.is_file() and suffix in ("tsv", "csv", "tsv.gz", "csv.gz"):
            inner = path.relative_to(folder)
            shots = next((part for part in inner.parts[1:-1] if part.isdigit()), None)
            part = shots if shots and stem.startswith("train") else stem
            name = f"{inner.parts[0]}/{part}" if len(inner.parts) > 1 else stem
            sets[str(inner) if name in sets else name] = read_labelled(path)
    if not sets:
        raise FileNotFoundError(f"{folder}: no .tsv or .csv files (.gz or plain) in it")
    return sets


def audit_set(name: str, labelled: LabelledSet) -> pd.DataFrame:
    """One row that describes a file: size, balance, lengths, form, repeats, conflicts, GC.

    `repeats_identical` counts rows whose sequence was in the file before; `repeats_reverse` those
    that are only the reverse complement of an earlier one. `conflicts` counts sequences (either
    strand) with two labels. `balance` is smallest over largest class. GC is over definite bases.
    """
    keys = sequence_keys(labelled.codes)
    identical = count_repeats(sequence_keys(labelled.codes, both_strands=False))
    lengths, counts = labelled.lengths_bp, labelled.class_counts
    definite, gc = _count_bases(labelled)
    pairs = pd.DataFrame({"key": keys, "label": labelled.labels}).drop_duplicates()
    row = {
        "file": name,
        "rows": len(labelled),
        "skipped": len(labelled.skipped),
        "classes": len(counts),
        "rows_per_class": "/".join(map(str, counts)),
        "balance": counts.min() / counts.max() if len(counts) else np.nan,
        "length_min_bp": lengths.min(),
        "length_max_bp": lengths.max(),
        "quoted": labelled.quoted,
        "k": labelled.k,
        "repeats_identical": identical,
        "repeats_reverse": count_repeats(keys) - identical,
        "conflicts": int(pairs.duplicated("key").sum()),
        "ambiguous_bases": int(lengths.sum() - definite.sum()),
    }
    for label in np.unique(labelled.labels[labelled.labels != NO_LABEL]):
        rows = labelled.labels == label
        row[f"gc_class_{label}"] = gc[rows].sum() / max(definite[rows].sum(), 1)
    return pd.DataFrame([row])


def audit_sets(sets: Mapping[str, LabelledSet]) -> pd.DataFrame:
    """`audit_set` of every file, one row each."""
    return pd.concat([audit_set(*item) for item in sets.items()], ignore_index=True)


def audit_overlaps(sets: Mapping[str, LabelledSet]) -> pd.DataFrame:
    """Pairs of files that share sequence, one row per pair that does.

    Columns: `a`, `b`; `identical`: rows of a whose sequence is in b; `reverse`: rows of a of which
    only the reverse complement is; `contained`: rows of the file with longer sequences in which a
    whole sequence of the other one lies, on either strand; `at_bp`: where it begins most often
    (-1 = nowhere), `contained_at`: rows in which it begins there; `share_30mer_a`,
    `share_30mer_b`: rows of a (of b) that have a 30-mer of the other file, on either strand; not
    by leaks alone, repeats (Alu, microsatellites) share 30-mers too.
    """
    forward = {n: sequence_keys(one.codes, both_strands=False) for n, one in sets.items()}
    either = {name: sequence_keys(one.codes) for name, one in sets.items()}
    forward_set = {name: distinct(keys) for name, keys in forward.items()}
    either_set = {name: distinct(keys) for name, keys in either.items()}
    words = _shared_words(sets)
    own_words = {name: distinct(table["word"].to_numpy()) for name, table in words.items()}
    rows = []
    for a, b in itertools.combinations(sets, 2):
        same = is_among(forward[a], forward_set[b])
        reverse = is_among(either[a], either_set[b]) & ~same
        common = own_words[a][is_among(own_words[a], own_words[b])]
        if not len(common) and not same.any() and not reverse.any():
            continue
        in_a, in_b = (one[is_among(one["word"].to_numpy(), common)] for one in (words[a], words[b]))
        short, long = (b, a) if _longest(sets[a]) > _longest(sets[b]) else (a, b)
        n_contained, at_bp, n_there = 0, -1, 0
        if _longest(sets[short]) < _longest(sets[long]):
            rows_in_long, offsets = find_contained(
                sets[short], sets[long], in_b if long == b else in_a
            )
            n_contained = len(distinct(rows_in_long))
            if n_contained:
                at_bp = int(np.bincount(offsets).argmax())
                n_there = len(distinct(rows_in_long[offsets == at_bp]))
        rows.append(
            {
                "a": a,
                "b": b,
                "identical": int(same.sum()),
                "reverse": int(reverse.sum()),
                "contained": n_contained,
                "at_bp": at_bp,
                "contained_at": n_there,
                "share_30mer_a": in_a["row"].nunique(),
                "share_30mer_b": in_b["row"].nunique(),
            }
        )
    columns = ["a", "b", "identical", "reverse", "contained", "at_bp", "contained_at"]
    return pd.DataFrame(rows, columns=[*columns, "share_30mer_a", "share_30mer_b"])


def find_contained(
    short: LabelledSet, long: LabelledSet, words_of_long: pd.DataFrame | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where whole sequences of `short` lie in sequences of `long`: (rows of long, offsets in bp).

    On either strand; one entry per occurrence. Sequences under 30 bp are not looked for. Found by
    the first 30-mer of each short sequence and of its reverse complement, then compared in full.
    """
    if words_of_long is None:
        words_of_long = _word_table(word_keys(long.codes))
    short_SL, lengths = pad_codes(short.codes)
    long_SL, _ = pad_codes(long.codes)
    found = []
    for query_SL in (short_SL, reverse_complement_padded(short_SL, lengths)):
        first = word_keys(np.ascontiguousarray(query_SL[:, :WORD_BP]))
        if not first.shape[1]:
            continue
        query = pd.DataFrame({"word": first[:, 0], "query": np.arange(len(first))})
        hits = query[query["word"] != NO_WORD].merge(words_of_long, on="word")
        hits = hits[hits["at"] + lengths[hits["query"]] <= long_SL.shape[1]]
        row, at, one = (hits[column].to_numpy() for column in ("row", "at", "query"))
        columns = at[:, None] + np.arange(query_SL.shape[1])
        target = long_SL[row[:, None], np.minimum(columns, long_SL.shape[1] - 1)]
        equal = ((target == query_SL[one]) | (query_SL[one] == PAD)).all(axis=1)
        found.append(np.stack([row[equal], at[equal]]))
    rows, offsets = np.unique(np.concatenate(found, axis=1), axis=1)
    return rows, offsets


def audit_genome(name: str, store: BaseStore) -> pd.DataFrame:
    """One row that describes a genome: records, bases, shares of N, GC and soft mask, repeats.

    `n_share` counts every base that is not A, C, G or T; GC is over definite bases;
    `repeated_records` are records identical to an earlier one; `skipped_records` those of the
    FASTA files that were left out because they are empty, named in `skipped_names`.
    """
    records = store.records
    skipped = [name for source in store.info["sources"] for name in source["skipped"]]
    digests = [
        hashlib.sha256(np.ascontiguousarray(store.codes[start : start + length])).digest()
        for start, length in zip(records["start"], records["length"], strict=True)
    ]
    n_definite = int(records["n_definite"].sum())
    soft_bp = int((store.soft[:, 1] - store.soft[:, 0]).sum())
    row = {
        "genome": name,
        "records": len(records),
        "bases": store.n_bases,
        "longest_bp": int(records["length"].max()),
        "n_share": 1 - n_definite / store.n_bases,
        "gc": (records["gc"] * records["n_definite"]).sum() / max(n_definite, 1),
        "soft_masked_share": soft_bp / store.n_bases,
        "definite_runs": len(store.runs),
        "repeated_records": len(digests) - len(set(digests)),
        "skipped_records": len(skipped),
        "skipped_names": ", ".join(skipped),
    }
    return pd.DataFrame([row])


def _count_bases(labelled: LabelledSet) -> tuple[np.ndarray, np.ndarray]:
    """Definite bases and G or C per sequence, int64[S] each."""
    padded, _ = pad_codes(labelled.codes)
    return (padded < N_BASES).sum(axis=1), np.isin(padded, _GC).sum(axis=1)


def _longest(labelled: LabelledSet) -> int:
    return int(labelled.lengths_bp.max())


def _shared_words(sets: Mapping[str, LabelledSet]) -> dict[str, pd.DataFrame]:
    """Per file the 30-mers that another file has too: columns word, row, at (bp)."""
    keys = {name: word_keys(one.codes) for name, one in sets.items()}
    every = np.sort(np.concatenate([distinct(one) for one in keys.values()]))
    shared = distinct(every[1:][every[1:] == every[:-1]])  # in two files or more
    shared = shared[shared != NO_WORD]
    return {name: _word_table(one, shared) for name, one in keys.items()}


def _word_table(keys_SW: np.ndarray, among: np.ndarray | None = None) -> pd.DataFrame:
    kept = keys_SW != NO_WORD if among is None else is_among(keys_SW, among)
    row, at = np.nonzero(kept)
    return pd.DataFrame({"word": keys_SW[kept], "row": row, "at": at})
