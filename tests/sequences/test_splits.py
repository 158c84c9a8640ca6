"""Splits: every row once, sizes as asked, no group on two sides."""

from itertools import combinations

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import encode, reverse_complement
from genomelm_utils.sequences.splits import (
    canonical_groups,
    split_by_group,
    split_random,
    split_stratified,
)

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def all_rows(parts):
    return sorted(np.concatenate(list(parts.values())).tolist())


@pytest.mark.parametrize(("n", "sizes"), [(10, [8, 1, 1]), (17, [13, 2, 2]), (0, [0, 0, 0])])
def test_random_split_sizes(rng, n, sizes):
    parts = split_random(n, SHARES, rng)
    assert [len(part) for part in parts.values()] == sizes
    assert all_rows(parts) == list(range(n))


def test_random_split_is_seeded():
    first, again, other = (
        split_random(100, SHARES, np.random.default_rng(seed))["test"] for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("n_groups", [3, 30, 300, 3000])
def test_groups_never_cross(rng, n_groups):
    groups = rng.integers(0, n_groups, 1000)
    parts = split_by_group(groups, SHARES, rng)
    assert all_rows(parts) == list(range(1000))
    seen = [set(groups[rows]) for rows in parts.values()]
    assert sum(map(len, seen)) == len(set(groups))


def test_group_sizes_come_close_to_the_shares(rng):
    groups = np.repeat(np.arange(200), rng.integers(1, 12, 200))
    for seed in range(5):
        parts = split_by_group(groups, SHARES, np.random.default_rng(seed))
        for name, share in SHARES.items():
            assert len(parts[name]) == pytest.approx(share * len(groups), abs=1)


def test_singles_fill_exactly(rng):
    groups = np.array(["big"] * 30 + [f"g{i}" for i in range(70)])
    parts = split_by_group(groups, {"a": 0.5, "b": 0.5}, rng)
    assert [len(part) for part in parts.values()] == [50, 50]


def test_a_group_larger_than_its_part(rng):
    groups = np.array([0] * 90 + list(range(1, 11)))
    parts = split_by_group(groups, {"a": 0.5, "b": 0.5}, rng)
    assert sorted(len(part) for part in parts.values()) == [10, 90]


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_bad_shares(rng, shares):
    for split in (split_random, split_by_group):
        with pytest.raises(ValueError, match="expected numbers from 0 to 1 that sum to 1"):
            split(10 if split is split_random else np.arange(10), shares, rng)


def test_canonical_groups_by_hand():
    texts = ["AACG", "CGTT", "AACG", "TTTT", "ACGT", "AAAA", "CGTA"]
    assert canonical_groups(np.stack([encode(text) for text in texts])).tolist() == [
        0,
        0,
        0,
        1,
        2,
        1,
        3,
    ]


def test_canonical_groups_do_not_see_the_strand(rng):
    codes_SL = rng.integers(0, 4, (50, 6), dtype=np.uint8)
    both = canonical_groups(np.concatenate([codes_SL, reverse_complement(codes_SL)]))
    assert both[:50].tolist() == both[50:].tolist()


def test_stratified_parts_have_the_classes_in_equal_shares_and_whole_groups(rng):
    groups = np.repeat(np.arange(300), rng.integers(1, 4, 300))
    labels = (groups % 3 == 0).astype(int)
    shares = {"train": 0.8, "test": 0.1, "valid": 0.1}
    parts = split_stratified(groups, labels, shares, rng)
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(len(groups)))
    for name, rows in parts.items():
        assert len(rows) / len(groups) == pytest.approx(shares[name], abs=0.01)
        assert labels[rows].mean() == pytest.approx(labels.mean(), abs=0.03)
    for a, b in combinations(parts.values(), 2):
        assert not set(groups[a]) & set(groups[b])


def test_a_group_of_several_classes_stays_whole(rng):
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    for _ in range(20):
        parts = split_stratified(groups, labels, {"train": 0.5, "test": 0.5}, rng)
        for rows in parts.values():
            assert not set(groups[rows]) & set(groups[np.setdiff1d(np.arange(8), rows)])
    none = split_stratified(groups[:0], labels[:0], {"train": 1.0}, rng)
    assert none["train"].tolist() == []
