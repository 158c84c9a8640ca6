"""Splits by cluster: the shares asked for, nothing torn, and what the released code does."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.cluster_splits import (
    SHARES,
    PromoterSplit,
    assign_folds,
    split_corpus,
    split_promoters,
)
from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes


def names_of(n):
    return [f"p{i}" for i in range(n)]


def split(clusters, **options):
    return split_promoters(names_of(len(clusters)), np.asarray(clusters), **options)


def share(found, part):
    return found.shares().set_index("part").loc[part, "share"]


@pytest.mark.parametrize(("size", "reference"), [(1, 0.15), (2, 0.20), (5, 0.25)])
def test_the_double_count_shrinks_the_test_part(size, reference):
    """Golden fact: clusters of s give 0.3 s / (s + 1) instead of 0.3, up to one cluster."""
    clusters = np.repeat(np.arange(600 // size), size)
    wrong = split(clusters, seed=47, counting="reference", folds="reference")
    assert share(wrong, "test") == pytest.approx(reference, abs=1.01 * size / 600)
    for folds in ("corrected", "reference"):
        right = split(clusters, seed=47, folds=folds)
        assert share(right, "test") == pytest.approx(0.30, abs=1.01 * size / 600)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("counting", ["corrected", "reference"])
@pytest.mark.parametrize("folds", ["corrected", "reference"])
def test_no_cluster_is_torn(seed, counting, folds):
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.repeat(np.arange(60), rng.geometric(0.2, 60)))
    found = split(clusters, seed=seed, counting=counting, folds=folds)
    assert found.table.groupby("cluster")["part"].nunique().max() == 1
    assert found.table["name"].tolist() == names_of(len(clusters))
    again = split(clusters, seed=seed, counting=counting, folds=folds)
    pd.testing.assert_frame_equal(found.table, again.table)
    if counting == folds == "corrected":
        largest = np.bincount(clusters).max() / len(clusters)
        for part, wanted in SHARES.items():
            assert share(found, part) == pytest.approx(wanted, abs=largest)


def test_other_seeds_give_other_splits():
    clusters = np.arange(200)
    assert not split(clusters, seed=1).table.equals(split(clusters, seed=2).table)


def test_the_released_split_by_hand():
    """Four clusters of two in the order numpy's legacy shuffle gives them for this seed."""
    order = list(range(4))
    np.random.RandomState(47).shuffle(order)
    shares = {"train": 0.4, "valid": 0.1, "test": 0.5}
    clusters = np.repeat(np.arange(4), 2)
    found = split(clusters, seed=47, shares=shares, counting="reference", folds="reference")
    # counted as three each, two clusters reach 0.5 x 8 = 4; the others are folds 0 and 1
    part_of = dict(zip(order, ["test", "test", "train", "train"], strict=True))
    assert found.table["part"].tolist() == [part_of[c] for c in clusters.tolist()]


def test_round_robin_folds_ignore_sizes():
    clusters = np.repeat(np.arange(11), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 90])
    shares = {"train": 0.8, "valid": 0.2, "test": 0.0}
    found = split(clusters, seed=3, shares=shares, folds="reference")
    by_cluster = found.table.drop_duplicates("cluster")["part"].value_counts()
    assert by_cluster.to_dict() == {"train": 9, "valid": 2}  # every fifth, whatever its size


def test_shares_hold_among_promoters_with_expression():
    """A corpus of 900 promoters, 300 of them with labels; every cluster has both or neither."""
    clusters = np.concatenate([np.arange(300), np.arange(300), np.arange(300, 600)])
    labelled = np.arange(900) < 300
    found = split(clusters, seed=5, has_label_S=labelled)
    parts = found.table["part"].to_numpy()
    assert np.mean(parts[labelled] == "test") == pytest.approx(0.30, abs=0.004)
    assert np.mean(parts[600:] == "test") == pytest.approx(0.30, abs=0.004)
    assert (parts[:300] == parts[300:600]).all()


def test_one_split_serves_language_model_and_regressor(tmp_path):
    clusters = np.repeat(np.arange(50), 2)
    found = split(clusters, seed=1)
    found.save(tmp_path / "split.tsv")
    again = PromoterSplit.load(tmp_path / "split.tsv")
    pd.testing.assert_frame_equal(again.table, found.table, check_dtype=False)
    genes = make_genes(["a", "b"], "B73", ["ACGT", "GGGG"])
    whole = ExpressionSet(genes, ("ear",), np.ones((2, 1), np.float32), "TPM")
    used = again.apply(whole, ["p9", "p2"])
    assert used.genes["cluster"].tolist() == [4, 1]
    assert used.genes["part"].tolist() == found.look_up(["p9", "p2"])["part"].tolist()


def test_the_language_model_sees_no_relative_of_a_tested_promoter():
    clusters = np.repeat(np.arange(400), 2)
    found = split(clusters, seed=1)
    names = names_of(800)
    parts = found.table["part"].to_numpy()
    assert (split_corpus(found, names, seed=1) == (parts == "train")).all()
    by_row = split_corpus(found, names, mode="reference", seed=1)
    assert by_row.mean() == pytest.approx(0.8, abs=0.05)
    assert by_row[parts == "test"].mean() == pytest.approx(0.8, abs=0.08)  # most of the test part


def test_folds_are_whole_and_about_equal(rng):
    clusters = rng.integers(0, 80, 1000)
    fold_S = assign_folds(clusters, 5, seed=3)
    assert np.bincount(fold_S, minlength=5).tolist() == pytest.approx([200] * 5, abs=12)
    assert pd.Series(fold_S).groupby(clusters).nunique().max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counting": "both"}, "counting is 'both', expected one of corrected, reference"),
        ({"folds": "round"}, "folds is 'round'"),
        ({"shares": {"train": 1.0}}, "shares name train, expected train, valid, test"),
        ({"shares": {"train": 1, "valid": 1, "test": 1}}, "expected numbers from 0 to 1 that sum"),
        ({"has_label_S": np.array([True])}, "4 names, 4 clusters and 1 marks of labels"),
    ],
)
def test_splits_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        split([0, 1, 2, 3], seed=1, **options)


def test_names_and_tables_that_do_not_fit(tmp_path):
    found = split([0, 1, 2, 3], seed=1)
    with pytest.raises(ValueError, match=r"1 of 2 promoters are not in the split, such as 'p9'"):
        found.look_up(["p1", "p9"])
    with pytest.raises(ValueError, match="mode is 'x'"):
        split_corpus(found, ["p1"], mode="x", seed=1)
    with pytest.raises(ValueError, match="promoter 'a' stands twice"):
        split_promoters(["a", "a"], np.array([0, 1]), seed=1)
    path = tmp_path / "split.tsv"
    path.write_text("name\tcluster\tpart\na\t1\ttrain\nb\t1\ttest\n")
    with pytest.raises(ValueError, match="cluster 1 lies in two parts"):
        PromoterSplit.load(path)
    path.write_text("name\tcluster\tpart\na\t1\teval\n")
    with pytest.raises(ValueError, match="promoter 'a' has part 'eval'"):
        PromoterSplit.load(path)
