"""Parts of a task's rows: by class and GC, by chromosome, by cluster of similar sequences.

Every split comes back with a table of what its parts still share, so that nobody has to take it on
trust. Shapes: S rows.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_task import PARTS, ActivitySet, check_mode
from genomelm_utils.datasets.promoter_repeats import find_leaks
from genomelm_utils.sequences.alphabet import decode, reverse_complement
from genomelm_utils.sequences.clusters import cluster_sequences, link_clusters
from genomelm_utils.sequences.splits import split_by_group

logger = logging.getLogger(__name__)

RULES = ("given", "stratum", "chromosome", "cluster", "group")
#: Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code: fractions and seed of the split.
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
REFERENCE_SEED = 97
GC_BINS = 20  # of 0.05 each. Source: the same
#: Validation and test chromosomes of RNA-seq, ChIP-seq, STARR-seq and lentiMPRA. Source: the same.
TEST_CHROMOSOMES = ("2", "9", "10", "13", "20", "21")
VALID_CHROMOSOMES = ("4", "17")
TRAIN_CHROMOSOMES = ("1", "3", "5", "6", "7", "8", "11", "12", "14", "15", "16", "18", "19", "22")
SEX_CHROMOSOMES = ("X", "Y")  # train too in STARR-seq and lentiMPRA
#: Of Malinois. Source: Gosai et al. 2024, Nature 634:1211; Reddy et al., code.
MALINOIS_TEST, MALINOIS_VALID = ("7", "13"), ("19", "21", "X")
#: Rows of a validation set that is cut down, and what the released code keeps. Source: ours; code.
VALID_ROWS, REFERENCE_VALID_ROWS = 2000, 10


def gc_bins(codes: Sequence[np.ndarray], rule: str = "corrected") -> np.ndarray:
    """floor(GC share / 0.05) of each sequence, int64 [S], over all its bases.

    'corrected' puts sequences of only G and C into the last of the twenty bins; with 'reference'
    they have bin 20, which no stratum of the released code holds, so they are in no part.
    """
    check_mode("rule", rule)
    gc_S = np.array([int(((one == 1) | (one == 2)).sum()) for one in codes])
    bins_S = gc_S * GC_BINS // np.array([max(len(one), 1) for one in codes])
    return np.minimum(bins_S, GC_BINS - 1) if rule == "corrected" else bins_S


def deal_stratum(n: int) -> tuple[int, int, int]:
    """(train, valid, test) rows of a stratum of n: ceil(0.7 n), floor(0.1 n), the rest.

    Small strata go to training: 5 -> (4, 0, 1). Source: Reddy et al., code.
    """
    n_train = -(-7 * n // 10)
    n_valid = min(n // 10, n - n_train)
    return n_train, n_valid, n - n_train - n_valid


def split_by_stratum(
    classes_S: Sequence[str] | np.ndarray,
    codes: Sequence[np.ndarray],
    seed: int = REFERENCE_SEED,
    rule: str = "corrected",
) -> np.ndarray:
    """A part for every row, object [S], dealt at random inside each class and GC bin.

    'reference' deals rows, in the order of the released code for that seed; a copy of a training
    promoter, or its reverse complement, may be a test row. 'corrected' deals them alike, but all
    copies (either strand) follow the first of them.
    """
    bins_S, classes_S = gc_bins(codes, rule), np.asarray(classes_S, dtype=object)
    if len(classes_S) != len(codes):
        raise ValueError(f"{len(classes_S)} classes for {len(codes)} sequences, expected one each")
    first_S = np.arange(len(codes)) if rule == "reference" else first_copies(codes)
    leads = first_S == np.arange(len(codes))
    generator = np.random.RandomState(seed)  # the released code's, so that its split comes out
    part_S = np.full(len(codes), "", dtype=object)
    for name in sorted(set(classes_S.tolist())):
        for gc_bin in range(GC_BINS):
            rows = np.flatnonzero((classes_S == name) & (bins_S == gc_bin) & leads)
            order = generator.permutation(rows)
            n_train, n_valid, _ = deal_stratum(len(rows))
            part_S[order[:n_train]] = "train"
            part_S[order[n_train : n_train + n_valid]] = "valid"
            part_S[order[n_train + n_valid :]] = "test"
    return part_S[first_S]


def split_by_chromosome(
    chromosome_S: Sequence[str] | np.ndarray,
    *,
    test: Sequence[str] = TEST_CHROMOSOMES,
    valid: Sequence[str] = VALID_CHROMOSOMES,
    train: Sequence[str] | None = None,
) -> np.ndarray:
    """A part for every row by its chromosome ('chr2' is '2'), object [S].

    train: None = all others; rows of chromosomes that are in no list get ''.
    """
    names = pd.Series(chromosome_S, dtype=object).astype(str).str.removeprefix("chr")
    both = sorted(set(test) & set(valid))
    if both:
        raise ValueError(f"chromosome {both[0]} is in both test and valid, expected one part each")
    part_S = np.full(len(names), "train", dtype=object)
    if train is not None:
        part_S[~names.isin(train).to_numpy()] = ""
    part_S[names.isin(valid).to_numpy()] = "valid"
    part_S[names.isin(test).to_numpy()] = "test"
    return part_S


def split_by_groups(group_S: Sequence[Any], seed: int, shares: Mapping[str, float] = SHARES):
    """A part for every row, object [S]: rows of one group (gene, cluster, TSS) stay together."""
    group_S = np.asarray(group_S)
    part_S = np.full(len(group_S), "", dtype=object)
    parts = split_by_group(group_S, dict(shares), np.random.default_rng(seed))
    for name, rows in parts.items():
        part_S[rows] = name
    return part_S


def join_groups(*labels: Sequence[Any]) -> np.ndarray:
    """A group number per row, int64 [S]: rows that share any of the labels are in one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, offset, rows, nodes = len(labels[0]), len(labels[0]), [], []
    for one in labels:
        number_S, names = pd.factorize(pd.Series(np.asarray(one)))
        rows.append(np.arange(n))
        nodes.append(number_S + offset)
        offset += len(names)
    edges = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(offset, offset))
    return connected_components(graph, directed=False)[1][:n].astype(np.int64)


def find_groups(codes: Sequence[np.ndarray], **options: Any) -> tuple[np.ndarray, str]:
    """(a group of similar sequences for each row, int64 [S], how they were found).

    MMseqs2 or CD-HIT-EST where installed, else our own search by minimal words; then groups that
    hold similar members are joined. options: of `sequences.clusters.cluster_sequences`.
    """
    names = [str(row) for row in range(len(codes))]
    found = cluster_sequences(names, codes, **options)
    linked = link_clusters(found, codes)
    return linked.numbers, f"{linked.engine}: {linked.reason}"


def split_set(
    data: ActivitySet,
    rule: str,
    *,
    seed: int = REFERENCE_SEED,
    shares: Mapping[str, float] = SHARES,
    column: str = "",
    mode: str = "corrected",
    measure: bool = True,
    **options: Any,
) -> ActivitySet:
    """The set with parts by `rule`, and `overlap`: what its parts share.

    rule: 'given' keeps them; 'stratum' (column: the class); 'chromosome' (column: its name, options
    as `split_by_chromosome`); 'cluster' (similar sequences together, options as `find_groups`);
    'group' (column: what stays together, and so
    do copies on either strand). mode: of 'stratum'. measure: False leaves the overlap out.
    Raises ValueError for an unknown rule or column.
    """
    if rule not in RULES:
        raise ValueError(f"split is {rule!r}, expected one of {', '.join(RULES)}")
    if rule in ("stratum", "chromosome", "group") and column not in data.columns:
        raise ValueError(
            f"{data.spec.name}: split {rule!r} needs a column, found {column!r} among "
            f"{', '.join(data.columns) or 'none'}"
        )
    part_S = data.part_S
    if rule == "stratum":
        part_S = split_by_stratum(data.columns[column].to_numpy(), data.codes, seed, mode)
    elif rule == "chromosome":
        part_S = split_by_chromosome(data.columns[column], **options)
    elif rule == "group":
        groups_S = join_groups(data.columns[column], first_copies(data.codes))
        part_S = split_by_groups(groups_S, seed, shares)
    elif rule == "cluster":
        groups_S, how = find_groups(data.codes, **options)
        logger.info("%s: %d groups by %s", data.spec.name, len(np.unique(groups_S)), how)
        part_S = split_by_groups(groups_S, seed, shares)
    made = replace(data, part_S=part_S)
    return replace(made, overlap=measure_overlap(made)) if measure else made


def measure_overlap(data: ActivitySet) -> pd.DataFrame:
    """How many rows of one part have a copy (either strand) in another.

    Columns: task, part, other, n_rows, n_copies, copy_share. Similar but unequal sequences are
    counted by `measure_similar`, which takes longer.
    """
    first_S = first_copies(data.codes)
    rows = []
    for part, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
        mine, theirs = data.part_S == part, data.part_S == other
        n_copies = int(np.isin(first_S[mine], first_S[theirs]).sum())
        n_rows = int(mine.sum())
        share = n_copies / n_rows if n_rows else np.nan
        counts = {"n_rows": n_rows, "n_copies": n_copies, "copy_share": share}
        rows.append({"task": data.spec.name, "part": part, "other": other, **counts})
    return pd.DataFrame(rows)


def measure_similar(data: ActivitySet) -> pd.DataFrame:
    """Pairs of similar sequences (80 % identity over 80 %) in two parts, see `find_leaks`."""
    kept = np.flatnonzero(data.part_S != "")
    texts = [decode(data.codes[row]) for row in kept]
    return find_leaks(texts, data.part_S[kept].tolist()).assign(task=data.spec.name)


def first_copies(codes: Sequence[np.ndarray]) -> np.ndarray:
    """The first row with the same sequence or its reverse complement, int64 [S]."""
    seen: dict[bytes, int] = {}
    first_S = np.empty(len(codes), dtype=np.int64)
    for row, one in enumerate(codes):
        key = min(one.tobytes(), reverse_complement(one).tobytes())
        first_S[row] = seen.setdefault(key, row)
    return first_S


def drop_contained(data: ActivitySet, target: ActivitySet, k: int = 30) -> ActivitySet:
    """A pretraining set without rows that share a word of k bases with held-out target rows.

    Words of either strand; held out are the target's valid and test rows. What was left out is
    counted in `skipped`. k: 30 is met by chance once in 10^18 bases.
    """
    held = [target.codes[row] for row in np.flatnonzero(np.isin(target.part_S, PARTS[1:]))]
    words = {word for one in held for word in _words(one, k)}
    words |= {word for one in held for word in _words(reverse_complement(one), k)}
    kept = [row for row, one in enumerate(data.codes) if words.isdisjoint(_words(one, k))]
    n = len(data) - len(kept)
    note = {"reason": f"shares {k} bases with held-out rows of {target.spec.name}", "n": n}
    skipped = pd.concat([data.skipped, pd.DataFrame([note])], ignore_index=True)
    return replace(data.take(np.array(kept, dtype=np.int64)), skipped=skipped)


def shrink_valid(
    data: ActivitySet, *, n_rows: int = VALID_ROWS, seed: int = 0, mode: str = "corrected"
) -> ActivitySet:
    """Fewer validation rows, so that an epoch of pretraining is not mostly validation.

    'corrected': `n_rows` of them (all, if there are fewer), drawn in proportion to the values of
    the first measured output (its quantile tenths, or its classes); the test part stays whole.
    'reference': the first ten rows of the validation and of the test part as they stand in the
    file, which in a file sorted by label are of one class.
    """
    check_mode("mode", mode)
    part_S = data.part_S.copy()
    if mode == "reference":
        for part in ("valid", "test"):
            part_S[np.flatnonzero(part_S == part)[REFERENCE_VALID_ROWS:]] = ""
        return replace(data, part_S=part_S)
    rows = np.flatnonzero(part_S == "valid")
    if len(rows) <= n_rows:
        return data
    stratum_R = _label_strata(data, rows)
    # the same share of every stratum: rows shuffled, then taken evenly along the sorted strata
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[np.argsort(stratum_R[order], kind="stable")]
    kept = rows[order[(np.arange(n_rows) * len(rows)) // n_rows]]
    part_S[np.setdiff1d(rows, kept)] = ""
    return replace(data, part_S=part_S)


def _label_strata(data: ActivitySet, rows: np.ndarray) -> np.ndarray:
    known_RT = np.isfinite(data.labels_ST[rows])
    first_R = np.where(known_RT.any(1), known_RT.argmax(1), 0)
    value_R = np.nan_to_num(data.labels_ST[rows, first_R], nan=-1)
    if data.spec.kind != "regression":
        n = max(len(data.spec.classes), 2)
        return first_R * n + value_R.astype(np.int64)
    return (value_R[:, None] > np.quantile(value_R, np.arange(0.1, 1, 0.1))).sum(1)


def _words(one: np.ndarray, k: int) -> set[bytes]:
    text = one.tobytes()
    return {text[i : i + k] for i in range(len(text) - k + 1)}
