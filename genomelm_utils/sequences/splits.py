"""Splits into training, validation and test rows, seeded, with groups that never cross.

`shares` names the parts and says how large each is: {"train": 0.8, "valid": 0.1, "test": 0.1}. The
result maps each name to the sorted row numbers `int64[...]` of its part; parts are disjoint and
together hold every row. Shape suffixes: S sequences, L bases.
"""

import numpy as np

from genomelm_utils.sequences.alphabet import reverse_complement

Parts = dict[str, np.ndarray]


def split_random(n: int, shares: dict[str, float], rng: np.random.Generator) -> Parts:
    """Rows 0..n-1 dealt at random; sizes are the shares of n, rounded by largest remainder."""
    sizes = _round_to_total(_check_shares(shares) * n, n)
    parts = np.split(rng.permutation(n), np.cumsum(sizes)[:-1])
    return {name: np.sort(part) for name, part in zip(shares, parts, strict=True)}


def split_by_group(groups: np.ndarray, shares: dict[str, float], rng: np.random.Generator) -> Parts:
    """Rows dealt by group: all rows of a group come into the same part.

    groups: one label per row, numbers or text. Large groups go first, each to the part that lacks
    most rows; groups of one row then fill up what is missing. Sizes come as close to the shares as
    the groups allow: a group larger than a part overfills it, and a part may stay empty when there
    are fewer groups than parts.
    """
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    missing = _check_shares(shares) * len(group_of_row)
    order = rng.permutation(len(sizes))  # ties between equal sizes fall at random
    order = order[np.argsort(-sizes[order], kind="stable")]
    part_of_group = np.empty(len(sizes), dtype=np.int64)
    n_large = int(np.count_nonzero(sizes > 1))
    for group in order[:n_large]:
        part = int(np.argmax(missing))
        part_of_group[group] = part
        missing[part] -= sizes[group]
    single = order[n_large:]
    part_of_group[single] = np.repeat(np.arange(len(shares)), _fill(missing, len(single)))
    part_of_row = part_of_group[group_of_row]
    return {name: np.flatnonzero(part_of_row == part) for part, name in enumerate(shares)}


def split_stratified(
    groups: np.ndarray, labels: np.ndarray, shares: dict[str, float], rng: np.random.Generator
) -> Parts:
    """Rows dealt by group within every class, so that each part has the same shares of classes.

    groups, labels: one per row, numbers or text. A group whose rows are of several classes goes
    with the class of most of them (the first in order on a tie). Otherwise as `split_by_group`.
    """
    _, group_of_row = np.unique(groups, return_inverse=True)
    _, label_of_row = np.unique(labels, return_inverse=True)
    n_labels = int(label_of_row.max(initial=-1)) + 1
    counts = np.zeros((int(group_of_row.max(initial=-1)) + 1, max(n_labels, 1)), np.int64)
    np.add.at(counts, (group_of_row, label_of_row), 1)
    class_of_row = counts.argmax(axis=1)[group_of_row]
    dealt: dict[str, list[np.ndarray]] = {name: [] for name in shares}
    for label in range(n_labels):
        rows = np.flatnonzero(class_of_row == label)
        for name, part in split_by_group(group_of_row[rows], shares, rng).items():
            dealt[name].append(rows[part])
    empty = np.empty(0, np.int64)
    return {name: np.sort(np.concatenate([empty, *rows])) for name, rows in dealt.items()}


def canonical_groups(codes_SL: np.ndarray) -> np.ndarray:
    """A group number per sequence, `int64[S]`: equal for equal and reverse-complement sequences.

    Numbers follow the first appearance of each group. Use with `split_by_group`, so that a
    sequence and its other strand never lie on two sides of a split.
    """
    reverse_SL = reverse_complement(codes_SL)
    first = np.argmax(codes_SL != reverse_SL, axis=1)[:, None]
    reverse_is_less = np.take_along_axis(reverse_SL < codes_SL, first, axis=1)
    canonical = np.ascontiguousarray(np.where(reverse_is_less, reverse_SL, codes_SL))
    rows = canonical.view(np.dtype((np.void, canonical.shape[1]))).ravel()
    _, first_row, group = np.unique(rows, return_index=True, return_inverse=True)
    number = np.empty(len(first_row), dtype=np.int64)
    number[np.argsort(first_row)] = np.arange(len(first_row))
    return number[group]


def _check_shares(shares: dict[str, float]) -> np.ndarray:
    values = np.array(list(shares.values()), dtype=float)
    if not len(values) or (values < 0).any() or not np.isclose(values.sum(), 1):
        raise ValueError(f"shares are {shares}, expected numbers from 0 to 1 that sum to 1")
    return values


def _round_to_total(sizes: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers nearest to `sizes` that sum to `total` (largest remainders round up)."""
    whole = np.floor(sizes).astype(np.int64)
    remainders = sizes - whole
    whole[np.argsort(-remainders, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _fill(missing: np.ndarray, n_rows: int) -> np.ndarray:
    """How many of n_rows each part gets, given how many rows each lacks (below 0: too many)."""
    wanted = np.maximum(missing, 0)
    if wanted.sum() == 0:
        return _round_to_total(np.full(len(missing), n_rows / len(missing)), n_rows)
    return _round_to_total(wanted * (n_rows / wanted.sum()), n_rows)
