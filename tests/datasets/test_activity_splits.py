"""Splits: sizes of strata, no copies across parts, chromosomes, cut-down validation."""

import numpy as np
import pytest

from genomelm_utils.datasets.activity_splits import (
    deal_stratum,
    drop_contained,
    first_copies,
    gc_bins,
    join_groups,
    measure_overlap,
    measure_similar,
    shrink_valid,
    split_by_chromosome,
    split_by_stratum,
    split_set,
)
from genomelm_utils.datasets.activity_task import TaskSpec, make_set
from genomelm_utils.sequences.alphabet import encode, reverse_complement
from tests.datasets.activity_toys import toy_set


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        *((1, (1, 0, 0)), (2, (2, 0, 0)), (3, (3, 0, 0)), (5, (4, 0, 1)), (7, (5, 0, 2))),
        *((10, (7, 1, 2)), (33, (24, 3, 6)), (100, (70, 10, 20))),
    ],
)
def test_sizes_of_strata(n, sizes):
    """Source: golden facts of the released split."""
    assert deal_stratum(n) == sizes


def test_gc_of_one_is_lost_in_the_reference_only():
    codes = [encode(text) for text in ("AAAA", "ACAA", "GGCC")]
    assert gc_bins(codes).tolist() == [0, 5, 19]
    assert gc_bins(codes, "reference").tolist() == [0, 5, 20]
    assert split_by_stratum(["x"] * 3, codes, rule="reference")[2] == ""
    assert split_by_stratum(["x"] * 3, codes)[2] == "train"


@pytest.mark.parametrize("rule", ["corrected", "reference"])
def test_strata_keep_their_shares(rule):
    rng = np.random.default_rng(0)
    codes = list(rng.integers(0, 4, (400, 50), dtype=np.uint8))
    classes = np.where(np.arange(400) % 4 == 0, "rare", "common")
    part_S = split_by_stratum(classes, codes, 97, rule)
    bins_S = gc_bins(codes)
    for name in ("rare", "common"):
        for gc_bin in np.unique(bins_S):
            rows = (classes == name) & (bins_S == gc_bin)
            found = tuple(int((part_S[rows] == p).sum()) for p in ("train", "valid", "test"))
            assert found == deal_stratum(int(rows.sum()))
    assert part_S.tolist() != split_by_stratum(classes, codes, 98, rule).tolist()
    assert part_S.tolist() == split_by_stratum(classes, codes, 97, rule).tolist()


def test_copies_and_other_strands_stay_together_when_corrected():
    rng = np.random.default_rng(0)
    once = rng.integers(0, 4, (150, 30), dtype=np.uint8)
    data = make_set(TaskSpec("t", "regression", ("a",)), [*once, *reverse_complement(once)],
                    np.arange(300.0), {"class": ["x"] * 300})  # fmt: skip
    assert first_copies(data.codes)[150:].tolist() == list(range(150))
    good = split_set(data, "stratum", column="class")
    bad = split_set(data, "stratum", column="class", mode="reference")
    assert good.overlap["n_copies"].sum() == 0
    assert bad.overlap["n_copies"].sum() > 50


def test_similar_sequences_stay_together_by_cluster():
    rng = np.random.default_rng(0)
    parents = rng.integers(0, 4, (30, 120), dtype=np.uint8)
    codes = []
    for parent in parents:
        for _ in range(4):
            child = parent.copy()
            child[rng.integers(0, 120, 5)] = rng.integers(0, 4, 5)
            codes.append(child)
    data = make_set(TaskSpec("t", "regression", ("a",)), codes, np.arange(120.0))
    split = split_set(data, "cluster", seed=1, engine="builtin")
    assert measure_similar(split)["n_pairs"].sum() == 0
    at_random = make_set(
        data.spec, codes, data.labels_ST, part_S=split.part_S[rng.permutation(120)]
    )
    assert measure_similar(at_random)["n_pairs"].sum() > 20


def test_groups_are_joined_over_both_labels():
    assert len(set(join_groups(["a", "a", "b", "c"], [0, 1, 1, 2]))) == 2


def test_chromosomes():
    names = ["chr1", "chr2", "4", "chrX", "chr13_alt"]
    assert split_by_chromosome(names).tolist() == ["train", "test", "valid", "train", "train"]
    kept = split_by_chromosome(names, train=("1", "3"))
    assert kept.tolist() == ["train", "test", "valid", "", ""]
    with pytest.raises(ValueError, match="both test and valid"):
        split_by_chromosome(names, test=("2",), valid=("2",))


def test_cut_down_validation_keeps_all_classes_and_the_test_part():
    n = 4000
    data = make_set(
        TaskSpec("t", "binned", ("x",), classes=("0", "1", "2", "3")),
        [np.zeros(4, np.uint8)] * n,
        np.sort(np.arange(n) % 4),  # a file in order of its bins
        part_S=np.array(["train", "valid", "valid", "test"], object)[np.arange(n) % 4],
    )
    good = shrink_valid(data, n_rows=100, seed=3)
    rows = good.rows("valid")
    assert np.bincount(good.labels_ST[rows, 0].astype(int)).tolist() == [25, 25, 25, 25]
    assert len(good.rows("test")) == 1000
    bad = shrink_valid(data, mode="reference")
    assert len(bad.rows("valid")) == len(bad.rows("test")) == 10
    assert set(bad.labels_ST[bad.rows("valid"), 0]) == {0.0}


def test_pretraining_rows_that_hold_held_out_sequence_are_dropped():
    target = toy_set(20, length=60)
    held = target.codes[target.rows("test")[0]]
    rng = np.random.default_rng(5)
    clean = list(rng.integers(0, 4, (8, 80), dtype=np.uint8))
    flank = rng.integers(0, 4, 20, dtype=np.uint8)
    dirty = [np.concatenate([flank, held[10:50]]), reverse_complement(held)]
    spec = TaskSpec("p", "regression", ("a",))
    data = drop_contained(make_set(spec, [*clean, *dirty], np.arange(10.0)), target)
    assert len(data) == 8
    assert data.skipped["n"].tolist() == [2]


def test_overlap_counts_rows():
    data = make_set(TaskSpec("t", "regression", ("a",)), ["ACGGT", "ACCGT", "AAAAA"], np.arange(3),
                    part_S=["train", "test", "valid"])  # fmt: skip
    found = measure_overlap(data).set_index(["part", "other"])["n_copies"]
    assert found[("test", "train")] == 1
    assert found[("valid", "train")] == 0
