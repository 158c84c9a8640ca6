"""Known kinds of defect in few-shot files, looked for in any collection of them.

Every detector goes through all files by itself: nothing it reports is looked up. What had
been found in the published files by hand stands beside it (`EXPECTED`), so that both a defect that
is not there and a record that is wrong show.

Shape suffixes: S sequences, L bases, N blocks.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.datasets.audit import STAND_IN, audit_overlaps
from genomelm_utils.datasets.identity import count_repeats, is_first, sequence_keys
from genomelm_utils.datasets.labelled import LabelledSet
from genomelm_utils.sequences.alphabet import N_BASES, encode
from genomelm_utils.sequences.kmers import kmer_codes, kmer_index

Sets = Mapping[str, LabelledSet]


class Finding(NamedTuple):
    """One measured defect: kind, place, number, and words about it."""

    defect: str
    where: str
    measured: float
    detail: str


class Expected(NamedTuple):
    """A number on record, how far off it may be (its last digit), and where it stands."""

    value: float
    tolerance: float
    source: str


_BY_HAND = "found by hand in the published files"
EXPECTED = {
    ("quoted train, bare test", "Prom-core"): Expected(5, 0, _BY_HAND),
    ("quoted train, bare test", "Splice-40"): Expected(4, 0, _BY_HAND),
    ("rows per class and shot", "Splice-40/10"): Expected(10, 0, _BY_HAND),
    ("rows per class and shot", "Splice-40/50"): Expected(10, 0, _BY_HAND),
    ("rows per class and shot", "Splice-40/100"): Expected(10, 0, _BY_HAND),
    ("rows per class and shot", "Splice-40/500"): Expected(10, 0, _BY_HAND),
    ("dev rows in test", "Splice-40/dev"): Expected(2700, 0, _BY_HAND),
    ("dev is test from row", "Splice-40/dev"): Expected(300, 0, _BY_HAND),
    ("both strands", "Splice-40/500 class 1 GT at 20"): Expected(0.41, 0.01, _BY_HAND),
    ("both strands", "Splice-40/500 class 1 CT at 20"): Expected(0.40, 0.01, _BY_HAND),
    ("both strands", "Splice-40/500 class 2 AG at 17"): Expected(0.40, 0.01, _BY_HAND),
    ("both strands", "Splice-40/500 class 2 AC at 17"): Expected(0.42, 0.01, _BY_HAND),
    ("repeated rows", "Splice-40/500"): Expected(29, 0, _BY_HAND),
    ("repeated rows", "Prom-core/test"): Expected(2, 0, _BY_HAND),
    ("train rows in test", "Splice-40/500"): Expected(8, 0, _BY_HAND),
    ("train rows in test", "Prom-core/1000"): Expected(1, 0, _BY_HAND),
    ("train rows in test", "Prom-300/1000 in the stand-in"): Expected(116, 0, _BY_HAND),
    ("shared by two draws", "Prom-core/500 and Prom-core/1000"): Expected(39, 0, _BY_HAND),
    ("shared by two draws", "Prom-300/500 and Prom-300/1000"): Expected(42, 0, _BY_HAND),
    ("holds sequences of", "Prom-300/1000: Prom-core/test at 215"): Expected(95, 0, _BY_HAND),
    ("negatives made of positives", "Prom-300"): Expected(94, 0, _BY_HAND),
    ("GC of a class", "Cohn-enh/500 class 0"): Expected(0.388, 0.001, _BY_HAND),
    ("GC of a class", "Cohn-enh/500 class 1"): Expected(0.464, 0.001, _BY_HAND),
}
CONSEQUENCES = {
    "quoted train, bare test": "a reader that keeps quotes adds an unknown token at both ends in "
    "training only and shifts every position by one",
    "rows per class and shot": "an N-shot result on the whole file has used that many times N rows",
    "dev rows in test": "choosing a model on dev is choosing it on the test set",
    "dev is test from row": "dev is a slice of test, not an independent sample",
    "both strands": "a class mixes a splice site with the reverse complement of the other kind",
    "repeated rows": "some sequences weigh twice; in a test set accuracy is over fewer sequences",
    "train rows in test": "leakage: drop them from one side",
    "shared by two draws": "the N-shot files are independent draws, neither nested nor disjoint",
    "holds sequences of": "never train on one set and test on the other",
    "negatives made of positives": "negatives are partly randomised promoters: block boundaries "
    "tell the classes apart",
    "GC of a class": "base composition alone separates much: show a GC baseline",
}
# Thresholds above which something is reported. Ours, except the number of blocks: negatives of the
# promoter sets were made by replacing 12 of 20 blocks of a promoter (released notebook), so that
# relatives should share 8; 5 of 15 bp or more are far from chance (15 bp agree once in 10^9).
GC_DIFFERENCE = 0.05
STRAND_SHARE = 0.25  # a dinucleotide has 1/16 by chance
N_BLOCKS, MIN_BLOCK_BP, MIN_SHARED_BLOCKS = 20, 15, 5
MIN_HELD = 50  # rows of one file that hold sequences of another at one offset


def find_defects(sets: Sets, overlaps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Table of defects: defect, where, measured, expected, agrees, detail, consequence, source.

    `sets` as from `audit.read_published_sets` or `audit.read_folder`, `overlaps` as from
    `audit.audit_overlaps` (computed here when it is not given). `expected` is on record for
    the published files and NaN otherwise; `agrees` within the last digit on record (None
    where nothing is). A record for a file that is there but shows nothing is listed with
    0 measured.
    """
    overlaps = audit_overlaps(sets) if overlaps is None else overlaps
    findings = [finding for detect in DETECTORS for finding in detect(sets)]
    findings += find_nested_sets(sets, overlaps)
    found = {(one.defect, one.where) for one in findings}
    findings += [
        Finding(defect, where, 0, "not found")
        for defect, where in EXPECTED
        if (defect, where) not in found and _is_there(where, sets)
    ]
    rows = []
    for one in findings:
        record = EXPECTED.get((one.defect, one.where))
        agrees = None if record is None else _agrees(one.measured, record)
        rows.append(
            {
                **one._asdict(),
                "expected": np.nan if record is None else record.value,
                "agrees": agrees,
                "consequence": CONSEQUENCES[one.defect],
                "source": "" if record is None else record.source,
            }
        )
    columns = ["defect", "where", "measured", "expected", "agrees", "detail", "consequence"]
    return pd.DataFrame(rows, columns=[*columns, "source"])


def find_quote_skew(sets: Sets) -> Iterator[Finding]:
    """Sets whose training files are quoted while the test file is not: how many files."""
    for name, parts in _by_set(sets).items():
        train = [part for part in parts if part.isdigit()]
        quoted = [part for part in train if parts[part].quoted]
        if "test" in parts and quoted and not parts["test"].quoted:
            detail = f"{len(quoted)} of {len(train)} training files"
            yield Finding("quoted train, bare test", name, len(quoted), detail)


def find_row_multiples(sets: Sets) -> Iterator[Finding]:
    """Training files of N shots that do not hold N rows per class: the mean multiple."""
    for name, one in sets.items():
        shots = name.rpartition("/")[2]
        if shots.isdigit() and (one.class_counts != int(shots)).any():
            counts = "/".join(map(str, one.class_counts))
            multiple = float(one.class_counts.mean() / int(shots))
            yield Finding("rows per class and shot", name, multiple, f"rows per class {counts}")


def find_dev_in_test(sets: Sets) -> Iterator[Finding]:
    """Dev files made of test rows: how many, and from which row (0-based) if they are one slice."""
    for name, parts in _by_set(sets).items():
        if not {"dev", "test"} <= parts.keys():
            continue
        dev, test = (sequence_keys(parts[part].codes) for part in ("dev", "test"))
        inside = np.isin(dev, test)
        if inside.any():
            detail = f"of {len(dev)} rows"
            yield Finding("dev rows in test", f"{name}/dev", int(inside.sum()), detail)
        starts = np.flatnonzero(test[: max(len(test) - len(dev) + 1, 0)] == dev[0])
        for start in starts:
            stop = start + len(dev)
            labels = parts["test"].labels[start:stop]
            if (test[start:stop] == dev).all() and (labels == parts["dev"].labels).all():
                detail = f"dev == test[{start}:{stop}], labels too"
                yield Finding("dev is test from row", f"{name}/dev", int(start), detail)


def find_strand_mixing(sets: Sets) -> Iterator[Finding]:
    """Classes in which a splice site and the reverse complement of the other kind share a place.

    A donor (intron starts with GT) seen from the other strand ends in AC, an acceptor (AG) in CT:
    GT and CT at one place are both ends of exons, AG and AC both starts. Reported is the share of
    rows of each, in the largest training file of a set, where both have a quarter or more.
    """
    for name, parts in _by_set(sets).items():
        train = [part for part in parts if part.isdigit()]
        if not train or not isinstance(parts[max(train, key=int)].codes, np.ndarray):
            continue
        file = f"{name}/{max(train, key=int)}"
        pairs_SL = kmer_codes(sets[file].codes, 2)
        for label in np.unique(sets[file].labels):
            rows = pairs_SL[sets[file].labels == label]
            for both in (("GT", "CT"), ("AG", "AC")):
                shares = np.stack([(rows == kmer_index(word)).mean(axis=0) for word in both])
                for at in np.flatnonzero((shares >= STRAND_SHARE).all(axis=0)):
                    for word, share in zip(both, shares[:, at], strict=True):
                        where = f"{file} class {label} {word} at {at}"
                        yield Finding("both strands", where, float(share), "share of rows")


def find_repeats(sets: Sets) -> Iterator[Finding]:
    """Files with sequences (either strand) that stood in an earlier row: how many rows."""
    for name, one in sets.items():
        n_repeats = count_repeats(sequence_keys(one.codes))
        if n_repeats:
            yield Finding("repeated rows", name, n_repeats, f"of {len(one)} rows")


def find_shared_rows(sets: Sets) -> Iterator[Finding]:
    """Training rows that are in the test file, and rows that two training files share."""
    for name, parts in _by_set(sets).items():
        keys = {part: sequence_keys(one.codes) for part, one in parts.items()}
        train = [part for part in parts if part.isdigit()]
        for part in train:
            for test, suffix in (("test", ""), ("stand-in", " in the stand-in")):
                n_shared = int(np.isin(keys[part], keys[test]).sum()) if test in parts else 0
                if n_shared:
                    detail = f"of {len(keys[part])} rows"
                    yield Finding("train rows in test", f"{name}/{part}{suffix}", n_shared, detail)
        for i, a in enumerate(train):
            for b in train[i + 1 :]:
                n_shared = len(np.intersect1d(keys[a], keys[b]))
                if n_shared:
                    where = f"{name}/{a} and {name}/{b}"
                    yield Finding("shared by two draws", where, n_shared, "sequences")


def find_nested_sets(sets: Sets, overlaps: pd.DataFrame) -> Iterator[Finding]:
    """Files that hold whole sequences of another set at one and the same offset: how many rows."""
    for pair in overlaps.itertuples():
        if pair.contained_at < MIN_HELD or pair.a.split("/")[0] == pair.b.split("/")[0]:
            continue
        short, long = pair.a, pair.b
        if sets[short].lengths_bp.max() > sets[long].lengths_bp.max():
            short, long = long, short
        where = f"{long}: {short} at {pair.at_bp}"
        detail = f"of {len(sets[long])} rows; {pair.contained} at any offset"
        yield Finding("holds sequences of", where, int(pair.contained_at), detail)


def find_shuffled_negatives(sets: Sets) -> Iterator[Finding]:
    """Two-class sets whose negatives share aligned blocks with a positive: how many negatives.

    All training files together, each sequence once, cut into 20 blocks. Counted are negatives with
    at least one block that is the same, at the same place, as in a positive, and those with 5.
    """
    for name, parts in _by_set(sets).items():
        train = [one for part, one in parts.items() if part.isdigit()]
        labels = np.concatenate([one.labels for one in train]) if train else np.empty(0, int)
        lengths = {int(bp) for one in train for bp in one.lengths_bp}
        block_bp, rest = divmod(max(lengths, default=0), N_BLOCKS)
        if len(lengths) != 1 or rest or block_bp < MIN_BLOCK_BP or set(labels) != {0, 1}:
            continue
        codes = np.concatenate([one.codes for one in train])
        once = is_first(sequence_keys(codes))
        shared = count_shared_blocks(codes[once & (labels == 0)], codes[once & (labels == 1)])
        if shared.max() >= MIN_SHARED_BLOCKS:
            detail = f"of {len(shared)} share a block, at most {shared.max()} of {N_BLOCKS}"
            yield Finding("negatives made of positives", name, int((shared > 0).sum()), detail)
            where = f"{name}, {MIN_SHARED_BLOCKS} blocks"
            n_related = int((shared >= MIN_SHARED_BLOCKS).sum())
            yield Finding("negatives made of positives", where, n_related, f"of {len(shared)}")


def count_shared_blocks(a_SL: np.ndarray, b_SL: np.ndarray) -> np.ndarray:
    """Per row of a the most aligned blocks that it shares with any one row of b: int64[S].

    Each sequence is cut into 20 blocks; a block is shared if it is the same at the same place.
    """
    tables = []
    for codes in (a_SL, b_SL):
        blocks = codes.reshape(len(codes) * N_BLOCKS, -1)
        row, block = np.divmod(np.arange(len(blocks)), N_BLOCKS)
        keys = sequence_keys(blocks, both_strands=False)
        table = pd.DataFrame({"block": block, "key": keys, "row": row})
        tables.append(table[(blocks < N_BASES).all(axis=1)])
    pairs = tables[0].merge(tables[1], on=["block", "key"])
    per_pair = pairs.groupby(["row_x", "row_y"]).size()
    best = per_pair.groupby(level="row_x").max()
    return best.reindex(range(len(a_SL)), fill_value=0).to_numpy()


def find_gc_difference(sets: Sets) -> Iterator[Finding]:
    """Two-class sets whose classes differ in GC by 5 points or more: GC of either class.

    In the largest training file.
    """
    gc_codes = encode("GC")
    for name, parts in _by_set(sets).items():
        train = [part for part in parts if part.isdigit()]
        if not train or len(parts[max(train, key=int)].class_counts) != 2:
            continue
        one = parts[max(train, key=int)]
        groups = [one.take(one.labels == label).codes for label in (0, 1)]
        bases = [np.concatenate(list(group)) for group in groups]
        gc = [np.isin(each, gc_codes).sum() / (each < N_BASES).sum() for each in bases]
        if abs(gc[1] - gc[0]) >= GC_DIFFERENCE:
            for label in (0, 1):
                where = f"{name}/{max(train, key=int)} class {label}"
                yield Finding("GC of a class", where, float(gc[label]), "share of bases")


DETECTORS: tuple[Callable[[Sets], Iterator[Finding]], ...] = (
    find_quote_skew,
    find_row_multiples,
    find_dev_in_test,
    find_strand_mixing,
    find_repeats,
    find_shared_rows,
    find_shuffled_negatives,
    find_gc_difference,
)


def _agrees(measured: float, record: Expected) -> bool:
    return bool(abs(measured - record.value) <= record.tolerance)


def _by_set(sets: Sets) -> dict[str, dict[str, LabelledSet]]:
    """set -> part -> file; training files in order of shots."""
    grouped: dict[str, dict[str, LabelledSet]] = {}
    for name in sorted(sets, key=lambda name: (not name.rpartition("/")[2].isdigit(), len(name))):
        group, _, part = name.rpartition("/")
        grouped.setdefault(group, {})[part] = sets[name]
    return grouped


def _is_there(where: str, sets: Sets) -> bool:
    """Whether the file (or the set) that a record is about is among those looked at."""
    file = where.split(" ")[0].rstrip(":")
    names = set(sets) | {name.rpartition("/")[0] for name in sets}
    return file in names and (" in the stand-in" not in where or STAND_IN in sets)
